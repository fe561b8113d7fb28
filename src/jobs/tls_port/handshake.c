#include <openssl/err.h>
#include <string.h>

#include "jobs/tls_port/port_internal.h"

/* OpenSSL tells the alert; which certificate it was, and which of its chain is at fault, is known only here. */
static int on_verified(int is_good, X509_STORE_CTX *store)
{
    SSL *tls = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    char *fault = SSL_get_app_data(tls);
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    char subject[256] = "", clock[CERTIFICATE_CLOCK_SIZE] = "";

    if (is_good == 1 || fault[0] != '\0')
        return is_good;
    if (certificate != NULL) {
        certificate_name_format(X509_get_subject_name(certificate), subject, sizeof subject);
        certificate_clock_format(certificate, clock);
    }
    snprintf(fault, PORT_VERIFY_FAULT_SIZE, "certificate \"%s\": %s%s%s", subject,
             X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)), clock[0] != '\0' ? ": " : "", clock);
    return is_good;
}

SSL *port_handshake_new(SSL_CTX *context, int fd, char verify_fault[PORT_VERIFY_FAULT_SIZE])
{
    SSL *tls = SSL_new(context);

    if (tls == NULL || SSL_set_fd(tls, fd) != 1)
        abort();
    SSL_set_app_data(tls, verify_fault);
    SSL_set_verify(tls, SSL_get_verify_mode(tls), on_verified);
    return tls;
}

/* Why SSL_accept() failed. */
static void describe_fault(const char *verify_fault, char *ret_words, size_t size)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);

    if (verify_fault[0] != '\0')
        snprintf(ret_words, size, "%s", verify_fault);
    else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        snprintf(ret_words, size, "it has no certificate");
    else if (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST ||
             reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_RECORD_LENGTH_MISMATCH)
        snprintf(ret_words, size, "it does not speak TLS");
    else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING || code == 0)
        snprintf(ret_words, size, "it went away during the handshake");
    else
        certificate_openssl_words(ret_words, size);
    ERR_clear_error();
}

void port_log_handshake(struct port *port, const char *address, const char *verify_fault)
{
    char words[560], reason[640];

    describe_fault(verify_fault, words, sizeof words);
    snprintf(reason, sizeof reason, "no connection: %s", words);
    port_log_refusal(port, address, reason);
}
