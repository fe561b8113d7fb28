#include "jobs/receive/tls_set_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/files.h"

#define READ_SIZE  16384
#define MOST_BYTES (16 << 20) /* what is larger is no certificate, and tls_files_check() says so */

static const char *const settings_names[TLS_SET_COUNT] = {
    [TLS_SET_CERTIFICATE] = "tls_cert_file",
    [TLS_SET_KEY] = "tls_key_file",
    [TLS_SET_AUTHORITIES] = "tls_ca_file",
    [TLS_SET_REVOCATIONS] = "tls_crl_file",
};

static void scoped_digest(EVP_MD_CTX **digest)
{
    EVP_MD_CTX_free(*digest);
}

const char *tls_set_path(const struct settings *settings, enum tls_set_file file)
{
    switch (file) {
    case TLS_SET_CERTIFICATE:
        return settings->tls_cert_file;
    case TLS_SET_KEY:
        return settings->tls_key_file;
    case TLS_SET_AUTHORITIES:
        return tls_files_ca_path(settings);
    case TLS_SET_REVOCATIONS:
        return settings->tls_crl_file;
    case TLS_SET_COUNT:
        break;
    }
    abort();
}

/* 0, or why it could not be read. A key passes through here, so the bytes are wiped. */
static int digest_file(int fd, EVP_MD_CTX *digest)
{
    char bytes[READ_SIZE];
    ssize_t got = 0;
    int failure = 0;

    for (size_t total = 0; total < MOST_BYTES; total += (size_t)got) {
        got = read(fd, bytes, sizeof bytes);
        if (got < 0)
            failure = errno;
        if (got <= 0)
            break;
        EVP_DigestUpdate(digest, bytes, (size_t)got);
    }
    explicit_bzero(bytes, sizeof bytes);
    return failure;
}

static void read_file(const char *path, struct tls_set *set, enum tls_set_file file)
{
    EVP_MD_CTX *digest SCOPED(scoped_digest) = EVP_MD_CTX_new();
    struct stat status = {.st_mode = 0};
    int failure = 0;

    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        abort(); /* no memory */
    /* O_NONBLOCK: a pipe in place of a file must not hold us up. */
    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) < 0)
        failure = errno;
    else if (!S_ISREG(status.st_mode))
        failure = EINVAL;
    else
        failure = digest_file(fd, digest);
    EVP_DigestUpdate(digest, &failure, sizeof failure);
    EVP_DigestFinal_ex(digest, set->content[file], NULL);
    set->access[file] = (uint32_t)status.st_mode;
    set->owner[file] = (uint32_t)status.st_uid;
}

void tls_set_read(const struct settings *settings, struct tls_set *ret_set)
{
    memset(ret_set, 0, sizeof *ret_set);
    for (enum tls_set_file file = 0; file < TLS_SET_COUNT; file++)
        if (!text_is_empty(tls_set_path(settings, file)))
            read_file(tls_set_path(settings, file), ret_set, file);
}

bool tls_set_has_same_content(const struct tls_set *left, const struct tls_set *right)
{
    return memcmp(left->content, right->content, sizeof left->content) == 0;
}

bool tls_set_is_same(const struct tls_set *left, const struct tls_set *right)
{
    return memcmp(left, right, sizeof *left) == 0;
}

void tls_set_name_changed(const struct tls_set *left, const struct tls_set *right, char ret_names[TLS_SET_NAMES_SIZE])
{
    ret_names[0] = '\0';
    for (enum tls_set_file file = 0; file < TLS_SET_COUNT; file++) {
        size_t used = strlen(ret_names);
        if (memcmp(left->content[file], right->content[file], sizeof left->content[file]) != 0)
            snprintf(ret_names + used, TLS_SET_NAMES_SIZE - used, "%s%s", used == 0 ? "" : ", ", settings_names[file]);
    }
}
