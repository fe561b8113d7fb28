#include "pgcoffer/tls/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"
#include "tls/probe_internal.h"

#define VERDICT_MICROSECONDS INT64_C(2000000)

static void scoped_context(SSL_CTX **context)
{
    SSL_CTX_free(*context);
}

static void scoped_ssl(SSL **ssl)
{
    SSL_free(*ssl);
}

static int refuse_passphrase(char *buffer, int size, int is_for_writing, void *context)
{
    (void)is_for_writing;
    (void)context;
    if (size > 0)
        buffer[0] = '\0';
    return 0;
}

/* OpenSSL calls this for each certificate, good or bad: the first bad one is the cause, what follows are echoes. */
static int note_verdict(int is_good, X509_STORE_CTX *context)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_probe *probe = SSL_get_app_data(ssl);

    if (probe->chain == NULL)
        probe->chain = X509_chain_up_ref(X509_STORE_CTX_get0_untrusted(context));
    if (!is_good && probe->verify_error == X509_V_OK) {
        probe->verify_error = X509_STORE_CTX_get_error(context);
        probe->verify_depth = X509_STORE_CTX_get_error_depth(context);
        probe->culprit = X509_STORE_CTX_get_current_cert(context);
        if (probe->culprit != NULL)
            X509_up_ref(probe->culprit);
    }
    /* Without a CA there is nothing to judge by; the handshake goes on as libpq's would. */
    return is_good || SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE;
}

static void note_alert(const SSL *ssl, int where, int value)
{
    struct tls_probe *probe = SSL_get_app_data(ssl);
    int description = value & 0xff;

    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && description != SSL3_AD_CLOSE_NOTIFY)
        probe->alert = description;
}

static int note_certificate_request(SSL *ssl, void *context)
{
    struct tls_probe *probe = context;
    const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(ssl);

    probe->is_certificate_wanted = true;
    for (int i = 0; i < sk_X509_NAME_num(names); i++) {
        X509_NAME *copy = X509_NAME_dup(sk_X509_NAME_value(names, i));
        if (probe->accepted == NULL)
            probe->accepted = sk_X509_NAME_new_null();
        if (copy != NULL && (probe->accepted == NULL || !sk_X509_NAME_push(probe->accepted, copy)))
            X509_NAME_free(copy);
    }
    return 1;
}

/* As libpq does it: a CA file switches verification on, a CRL file the check of the whole chain. */
static bool load_trust(SSL_CTX *context, const struct settings *settings)
{
    const char *authorities = tls_files_ca_path(settings);

    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, note_verdict);
    if (text_is_empty(authorities))
        return true;
    if (SSL_CTX_load_verify_locations(context, authorities, NULL) != 1)
        return false;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, note_verdict);
    if (text_is_empty(settings->tls_crl_file))
        return true;
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    return X509_STORE_load_locations(store, settings->tls_crl_file, NULL) == 1 &&
           X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
}

static bool load_certificate(SSL_CTX *context, const struct tls_probe_request *request)
{
    const struct settings *settings = &request->server->settings;
    bool is_own = request->certificate_path == NULL;
    const char *certificate = is_own ? settings->tls_cert_file : request->certificate_path;
    const char *key = is_own ? settings->tls_key_file : request->key_path;

    if (text_is_empty(certificate))
        return true;
    SSL_CTX_set_default_passwd_cb(context, refuse_passphrase);
    return SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1;
}

static bool prepare(const struct tls_probe_request *request, struct tls_probe *probe, SSL_CTX **ret_context)
{
    SSL_CTX *context SCOPED(scoped_context) = SSL_CTX_new(TLS_client_method());
    int least = request->least_version == 0 ? TLS1_2_VERSION : request->least_version;

    if (context == NULL || SSL_CTX_set_min_proto_version(context, least) != 1 ||
        SSL_CTX_set_max_proto_version(context, request->most_version) != 1 ||
        !load_trust(context, &request->server->settings) || !load_certificate(context, request) ||
        (request->is_weak_allowed && SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0") != 1)) {
        certificate_openssl_words(probe->words, sizeof probe->words);
        return false;
    }
    SSL_CTX_set_info_callback(context, note_alert);
    SSL_CTX_set_cert_cb(context, note_certificate_request, probe);
    *ret_context = TAKE(context);
    return true;
}

static bool is_address(const char *host)
{
    struct in6_addr binary;

    return inet_pton(AF_INET, host, &binary) == 1 || inet_pton(AF_INET6, host, &binary) == 1;
}

/* One step of OpenSSL, waiting as it wishes. True when it succeeded. */
static bool complete(SSL *ssl, int (*step)(SSL *), int64_t deadline, struct tls_probe *probe)
{
    for (;;) {
        errno = 0;
        ERR_clear_error();
        int result = step(ssl);
        if (result > 0)
            return true;
        int reason = SSL_get_error(ssl, result);
        if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
            if (ERR_peek_error() != 0)
                certificate_openssl_words(probe->words, sizeof probe->words);
            else
                snprintf(probe->words, sizeof probe->words, "%s",
                         errno == 0 ? "the server closed the connection" : strerror(errno));
            return false;
        }
        if (!probe_socket_wait(SSL_get_fd(ssl), reason == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline)) {
            snprintf(probe->words, sizeof probe->words, "no answer in time");
            return false;
        }
    }
}

static int read_one(SSL *ssl)
{
    char byte;

    return SSL_read(ssl, &byte, 1);
}

/* TLS 1.3: the server has our certificate only now. It says nothing when it is content, since it waits for us. */
static void wait_for_verdict(SSL *ssl, int64_t deadline, struct tls_probe *probe)
{
    int64_t soon = clock_monotonic() + VERDICT_MICROSECONDS;

    probe->outcome = TLS_PROBE_ACCEPTED;
    if (SSL_version(ssl) < TLS1_3_VERSION || !probe->is_certificate_wanted)
        return;
    bool has_spoken = complete(ssl, read_one, soon < deadline ? soon : deadline, probe);
    if (probe->alert >= 0)
        probe->outcome = TLS_PROBE_REFUSED_BY_PEER;
    else if (!has_spoken && clock_monotonic() < soon && clock_monotonic() < deadline)
        probe->outcome = TLS_PROBE_BROKEN;
}

static void shake_hands(const struct tls_probe_request *request, int fd, struct tls_probe *probe)
{
    SSL_CTX *context SCOPED(scoped_context) = NULL;
    SSL *ssl SCOPED(scoped_ssl) = NULL;
    const char *host = request->server->settings.host;

    probe->outcome = TLS_PROBE_BROKEN;
    if (!prepare(request, probe, &context))
        return;
    ssl = SSL_new(context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
        return;
    SSL_set_app_data(ssl, probe);
    if (!text_is_empty(host) && !is_address(host))
        SSL_set_tlsext_host_name(ssl, host);

    bool is_done = complete(ssl, SSL_connect, request->deadline, probe);
    snprintf(probe->version, sizeof probe->version, "%s", SSL_get_version(ssl));
    if (is_done)
        wait_for_verdict(ssl, request->deadline, probe);
    else if (probe->verify_error != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        probe->outcome = TLS_PROBE_REFUSED_BY_US;
    else if (probe->alert >= 0)
        probe->outcome = TLS_PROBE_REFUSED_BY_PEER;
}

static bool has_name(X509 *certificate, const char *host)
{
    if (is_address(host))
        return X509_check_ip_asc(certificate, host, 0) == 1 || X509_check_host(certificate, host, 0, 0, NULL) == 1;
    return X509_check_host(certificate, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

void tls_probe_run(const struct tls_probe_request *request, struct tls_probe *ret_probe)
{
    struct tls_probe probe = {.alert = -1};
    int fd SCOPED(scoped_close) = -1;
    sigset_t pipe_signal, before;

    /* OpenSSL writes with write(2): a server that hangs up must not end this process. */
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);

    if (!probe_socket_open(request->server, request->deadline, &fd, probe.words, sizeof probe.words))
        probe.outcome = TLS_PROBE_UNREACHABLE;
    else {
        probe.answer = probe_socket_ask_for_tls(fd, request->deadline, probe.words, sizeof probe.words);
        if (probe.answer < 0)
            probe.outcome = TLS_PROBE_UNREACHABLE;
        else if (probe.answer == 'S')
            shake_hands(request, fd, &probe);
        else
            probe.outcome = probe.answer == 'N' ? TLS_PROBE_NO_TLS : TLS_PROBE_NOT_POSTGRES;
    }
    const char *host = request->server->settings.host;
    if (sk_X509_num(probe.chain) > 0 && !text_is_empty(host))
        probe.is_name_wrong = !has_name(sk_X509_value(probe.chain, 0), host);
    ERR_clear_error();

    if (!sigismember(&before, SIGPIPE))
        while (sigtimedwait(&pipe_signal, NULL, &(struct timespec){0}) > 0)
            continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    *ret_probe = probe;
}

void tls_probe_done(struct tls_probe *probe)
{
    X509_free(probe->culprit);
    sk_X509_pop_free(probe->chain, X509_free);
    sk_X509_NAME_pop_free(probe->accepted, X509_NAME_free);
    *probe = (struct tls_probe){.alert = -1};
}
