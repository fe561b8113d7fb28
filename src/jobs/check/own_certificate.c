#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "jobs/check/files_internal.h"
#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/strength.h"

#define MOST_KEY_BYTES ((size_t)64 * 1024)
#define MOST_ENTRIES   512

static void scoped_directory(DIR **directory)
{
    if (*directory != NULL)
        closedir(*directory);
}

/* ---- key.strength ---- */

static void look_at_strength(struct check_run *run)
{
    struct finding finding = {0};
    char words[160];
    int weak = strength_find_weak(run->own, words, sizeof words);

    if (weak < 0) {
        strength_describe(sk_X509_value(run->own, 0), words, sizeof words);
        check_pass(run, CHECK_ID_key_strength, "%s", words);
        return;
    }
    struct certificate_text text;
    certificate_describe(sk_X509_value(run->own, weak), &text);
    finding_seen(&finding, "\"%s\": %s", text.subject, words);
    finding_cause(&finding, CHECK_ID_key_strength,
                  "The %s \"%s\" in tls_cert_file \"%s\" has %s, which OpenSSL 3 does not take (security level 2).",
                  weak == 0 ? "client certificate" : "intermediate", text.subject, run->server->settings.tls_cert_file,
                  words);
    if (strength_has_weak_key(sk_X509_value(run->own, weak)))
        finding_fix(&finding,
                    "Make a new key, openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW.key, have "
                    "a certificate issued for it, and replace both files.");
    else
        finding_fix(&finding, "Have it signed again with SHA-256: openssl x509 -req -sha256 ..., and replace \"%s\".",
                    run->server->settings.tls_cert_file);
    check_fail(run, &finding);
}

/* ---- key.authority ---- */

/* NULL for all that is no readable private key; nothing is asked for and nothing is told. */
static EVP_PKEY *read_private_key(const char *path)
{
    struct buffer bytes SCOPED(buffer_done) = BUFFER_WITH_LIMIT(MOST_KEY_BYTES);
    struct error ignored;
    struct stat status;
    EVP_PKEY *key = NULL;

    if (stat(path, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size <= 0 ||
        (size_t)status.st_size > MOST_KEY_BYTES || !file_read_whole(path, &bytes, &ignored))
        return NULL;
    BIO *bio SCOPED(scoped_bio) = BIO_new_mem_buf(bytes.bytes, (int)bytes.used);
    if (bio != NULL)
        key = PEM_read_bio_PrivateKey(bio, NULL, certificate_refuse_passphrase, NULL);
    explicit_bzero(bytes.bytes, bytes.used);
    ERR_clear_error();
    return key;
}

/* The CA whose key this is: one of tls_ca_file or of our chain, or, unknown itself, the one that signed our chain. Of a
 * CA that is the server's own certificate chain.ca tells. */
static bool names_authority(const struct check_run *run, EVP_PKEY *key, char *ret_subject, size_t size)
{
    STACK_OF(X509) * lists[] = {run->own, run->trusted};

    for (size_t list = 0; list < 2; list++)
        for (int i = 0; i < sk_X509_num(lists[list]); i++) {
            X509 *certificate = sk_X509_value(lists[list], i);
            if (EVP_PKEY_eq(X509_get0_pubkey(certificate), key) != 1 || !check_is_authority(certificate))
                continue;
            certificate_name_format(X509_get_subject_name(certificate), ret_subject, size);
            return !tls_name_matches(certificate, check_host(run));
        }
    for (int i = 0; i < sk_X509_num(run->own); i++) {
        X509 *certificate = sk_X509_value(run->own, i);
        if (EVP_PKEY_eq(X509_get0_pubkey(certificate), key) == 1)
            return false;
        if (X509_verify(certificate, key) == 1) {
            certificate_name_format(X509_get_issuer_name(certificate), ret_subject, size);
            return true;
        }
    }
    ERR_clear_error();
    return false;
}

static bool may_be_key(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && (strcasecmp(dot, ".key") == 0 || strcasecmp(dot, ".pem") == 0);
}

/* A self-signed certificate is a CA unless it says otherwise. */
static bool warn_of_own_authority(struct check_run *run)
{
    X509 *leaf = sk_X509_value(run->own, 0);
    struct finding finding = {0};
    char subject[256];

    if (check_has_failed(run, CHECK_ID_key_match) || !check_is_authority(leaf))
        return false;
    certificate_name_format(X509_get_subject_name(leaf), subject, sizeof subject);
    finding_seen(&finding, "\"%s\" in tls_cert_file is a CA", subject);
    finding_cause(
        &finding, CHECK_ID_key_authority,
        "The client certificate \"%s\" is itself a CA: where the server accepts it, whoever reads its key can "
        "sign certificates for any role.",
        subject);
    finding_fix(&finding, "Issue it anew with basicConstraints = critical,CA:FALSE.");
    check_warn(run, &finding);
    return true;
}

static void warn_of_authority(struct check_run *run, const char *path, const char *subject)
{
    struct finding finding = {0};

    finding_seen(&finding, "\"%s\" is the key of \"%s\"", path, subject);
    finding_cause(&finding, CHECK_ID_key_authority,
                  "\"%s\" is the private key of the CA \"%s\": whoever breaks in here can sign certificates for any "
                  "role and any server.",
                  path, subject);
    finding_fix(&finding,
                "Move the CA's key to another machine, one that serves nothing, and remove it here: shred -u "
                "\"%s\"",
                path);
    check_warn(run, &finding);
}

static void look_for_authority_key(struct check_run *run)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(run->server->settings.tls_cert_file);
    const char *folder = dirname(copy);
    DIR *directory SCOPED(scoped_directory) = opendir(folder);
    unsigned count = 0, keys = 0;

    if (warn_of_own_authority(run))
        return;
    if (directory == NULL) {
        check_skip(run, CHECK_ID_key_authority, "the folder \"%s\" may not be listed by this user", folder);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL && count < MOST_ENTRIES; count++) {
        char subject[256];
        if (!may_be_key(entry->d_name))
            continue;
        char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, entry->d_name);
        EVP_PKEY *key SCOPED(scoped_key) = read_private_key(path);
        keys += key != NULL;
        if (key != NULL && names_authority(run, key, subject, sizeof subject)) {
            warn_of_authority(run, path, subject);
            return;
        }
    }
    check_pass(run, CHECK_ID_key_authority, "%u private key%s in \"%s\", none of a CA of this connection", keys,
               keys == 1 ? "" : "s", folder);
}

/* ---- chain.order ---- */

static void warn_of_stranger(struct check_run *run, int at)
{
    const char *path = run->server->settings.tls_cert_file;
    struct certificate_text text, leaf;
    struct finding finding = {0};

    certificate_describe(sk_X509_value(run->own, at), &text);
    certificate_describe(sk_X509_value(run->own, 0), &leaf);
    finding_seen(&finding, "number 1 is \"%s\", number %d is \"%s\"", leaf.subject, at + 1, text.subject);
    finding_cause(&finding, CHECK_ID_chain_order,
                  "In tls_cert_file \"%s\" \"%s\", number %d there, signed none of the others: it does not belong "
                  "there, and what should stand there is perhaps missing.",
                  path, text.subject, at + 1);
    finding_fix(&finding, "Write \"%s\" anew: the client certificate, then the CA \"%s\" that signed it, and so on.",
                path, leaf.issuer);
    check_warn(run, &finding);
}

/* OpenSSL, and so PostgreSQL, finds its way through any order behind the first. */
static void look_at_order(struct check_run *run)
{
    int stranger = check_find_stranger(run->own);
    struct certificate_text text;

    if (stranger >= 0) {
        warn_of_stranger(run, stranger);
        return;
    }
    certificate_describe(sk_X509_value(run->own, 0), &text);
    check_pass(run, CHECK_ID_chain_order, "\"%s\", issued by \"%s\"%s", text.subject, text.issuer,
               sk_X509_num(run->own) <= 1    ? ""
               : check_is_in_order(run->own) ? ", then each issuer in turn"
                                             : ", then its issuers, not in turn; PostgreSQL finds its way");
}

/* ---- identity.usage, identity.common_name ---- */

static void fail_usage(struct check_run *run, int at)
{
    struct certificate_text text;
    struct finding finding = {0};

    certificate_describe(sk_X509_value(run->own, at), &text);
    finding_seen(&finding, "\"%s\", issued by \"%s\"", text.subject, text.issuer);
    if (at == 0)
        finding_cause(&finding, CHECK_ID_identity_usage,
                      "The client certificate \"%s\" may not be used by a client: its extended key usage lacks "
                      "clientAuth.",
                      text.subject);
    else
        finding_cause(&finding, CHECK_ID_identity_usage,
                      "The CA \"%s\" in tls_cert_file may not sign for clients: its extended key usage lacks "
                      "clientAuth.",
                      text.subject);
    finding_fix(&finding,
                "Issue it with extendedKeyUsage = clientAuth; public CAs such as Let's Encrypt no longer do, so let "
                "your own CA sign it, and replace \"%s\".",
                run->server->settings.tls_cert_file);
    check_fail(run, &finding);
}

static void look_at_usage(struct check_run *run)
{
    for (int i = 0; i < sk_X509_num(run->own); i++)
        if (!certificate_allows_usage(sk_X509_value(run->own, i), NID_client_auth)) {
            fail_usage(run, i);
            return;
        }
    uint32_t usage = X509_get_key_usage(sk_X509_value(run->own, 0));
    if (usage & (KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT)) {
        check_pass(run, CHECK_ID_identity_usage, "its usages let a client use it");
        return;
    }
    struct finding finding = {0};
    finding_seen(&finding, "key usage without digitalSignature");
    finding_cause(&finding, CHECK_ID_identity_usage,
                  "The client certificate may not be used by a client: its key usage lacks digitalSignature.");
    finding_fix(&finding, "Issue it with keyUsage = critical,digitalSignature and extendedKeyUsage = clientAuth.");
    check_fail(run, &finding);
}

/* Another name is no fault by itself: a map may tie it to the role. What pg_hba.conf makes of it the startup shows. */
static void look_at_common_name(struct check_run *run)
{
    struct certificate_text text;

    certificate_describe(sk_X509_value(run->own, 0), &text);
    if (strcmp(text.common_name, run->server->settings.user) == 0)
        check_pass(run, CHECK_ID_identity_common_name, "CN=%s", text.common_name);
}

void check_own_certificate(struct check_run *run)
{
    static const enum check_id of_leaf[] = {CHECK_ID_chain_order, CHECK_ID_identity_usage,
                                            CHECK_ID_identity_common_name};

    look_at_strength(run);
    look_for_authority_key(run);
    /* The usual reason is that another certificate stands first: what is said of it is not meant for it. */
    for (size_t i = 0; check_has_failed(run, CHECK_ID_key_match) && i < sizeof of_leaf / sizeof *of_leaf; i++)
        check_block(run, of_leaf[i], CHECK_ID_key_match);
    if (check_has_failed(run, CHECK_ID_key_match))
        return;
    look_at_order(run);
    look_at_usage(run);
    look_at_common_name(run);
}
