#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/probe.h"

/* A certificate as a server sends it (DER) or as a file holds it (PEM): whatever OpenSSL takes must become words. */
static void check_text(const char *text, size_t size)
{
    assert(strnlen(text, size) < size);
    for (; *text != '\0'; text++)
        assert((unsigned char)*text >= ' ' && *text != 0x7f);
}

static void describe(X509 *certificate)
{
    struct certificate_text text;
    char phrase[CERTIFICATE_PHRASE_SIZE], name[8];

    certificate_describe(certificate, &text);
    check_text(text.subject, sizeof text.subject);
    check_text(text.issuer, sizeof text.issuer);
    check_text(text.common_name, sizeof text.common_name);
    check_text(text.names, sizeof text.names);
    check_text(text.fingerprint, sizeof text.fingerprint);
    assert(strlen(text.fingerprint) == 95);
    check_text(text.not_after_text, sizeof text.not_after_text);
    certificate_phrase(certificate, phrase);
    check_text(phrase, sizeof phrase);
    certificate_name_format(X509_get_subject_name(certificate), name, sizeof name);
    check_text(name, sizeof name);
    certificate_is_current(certificate);
    certificate_allows_usage(certificate, NID_client_auth);
    tls_name_matches(certificate, "db1.example.com");
    tls_name_matches(certificate, "127.0.0.1");
}

/* As a file of the user's. */
static void read_file(const uint8_t *bytes, size_t size)
{
    int fd SCOPED(scoped_close) = memfd_create("certificate", MFD_CLOEXEC);
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = NULL;
    struct error err = {0};
    char path[32];

    assert(write(fd, bytes, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (!certificate_read_all(path, &certificates, &err)) {
        check_text(err.message, sizeof err.message);
        assert(err.message[0] != '\0' && certificates == NULL);
        return;
    }
    assert(sk_X509_num(certificates) > 0);
    for (int i = 0; i < sk_X509_num(certificates); i++)
        describe(sk_X509_value(certificates, i));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const unsigned char *next = bytes;
    X509 *certificate SCOPED(scoped_certificate) = d2i_X509(NULL, &next, (long)size);

    ERR_clear_error();
    if (certificate != NULL)
        describe(certificate);
    read_file(bytes, size);
    assert(ERR_peek_error() == 0);
    return 0;
}
