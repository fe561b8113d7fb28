#include "pgcoffer/tls/probe.h"

#include <openssl/err.h>
#include <poll.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "tls/probe_internal.h"

/* So long a server may take for its verdict on our certificate; PostgreSQL needs a round trip. */
#define VERDICT_MICROSECONDS INT64_C(2000000)

static void scoped_ssl(SSL **ssl)
{
    SSL_free(*ssl);
}

/* ---- what OpenSSL tells on the way ---- */

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
    /* A warning changes nothing; in TLS 1.3, once it is agreed on, the level says nothing. */
    bool is_agreed_on = SSL_get_current_cipher(ssl) != NULL && SSL_version(ssl) >= TLS1_3_VERSION;
    bool is_final = value >> 8 == SSL3_AL_FATAL || is_agreed_on;

    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && is_final && description != SSL3_AD_CLOSE_NOTIFY &&
        description != SSL_AD_USER_CANCELLED)
        probe->alert = description;
}

static int note_certificate_request(SSL *ssl, void *context)
{
    struct tls_probe *probe = context;
    const STACK_OF(X509_NAME) *names = SSL_get0_peer_CA_list(ssl);

    for (int i = 0; i < sk_X509_NAME_num(names) && !probe->is_certificate_wanted; i++) {
        X509_NAME *copy = X509_NAME_dup(sk_X509_NAME_value(names, i));
        if (probe->accepted == NULL)
            probe->accepted = sk_X509_NAME_new_null();
        if (copy != NULL && (probe->accepted == NULL || !sk_X509_NAME_push(probe->accepted, copy)))
            X509_NAME_free(copy);
    }
    probe->is_certificate_wanted = true;
    return 1;
}

/* ---- one step of OpenSSL ---- */

void tls_talk_describe_failure(const struct tls_talk *talk)
{
    struct tls_probe *probe = talk->probe;
    bool has_words = talk->channel->failure == 0 && !talk->channel->is_at_end && ERR_peek_error() != 0;

    probe->is_cut = !has_words && probe_channel_describe(talk->channel, probe->words, sizeof probe->words);
    if (probe->is_cut)
        return;
    certificate_openssl_words(probe->words, sizeof probe->words);
}

/* Waits as OpenSSL wishes, until `until`. True when the step should be taken again. */
static bool wait_as_wished(struct tls_talk *talk, int result, int64_t until)
{
    int wish = SSL_get_error(talk->ssl, result);
    bool is_waiting = wish == SSL_ERROR_WANT_READ || wish == SSL_ERROR_WANT_WRITE;

    if (is_waiting && probe_channel_wait(talk->channel, wish == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until))
        return true;
    tls_talk_describe_failure(talk);
    return false;
}

static size_t read_some(struct tls_talk *talk, void *ret_bytes, size_t size, int64_t until)
{
    for (;;) {
        ERR_clear_error();
        int got = SSL_read(talk->ssl, ret_bytes, size > INT_MAX ? INT_MAX : (int)size);
        if (got > 0)
            return (size_t)got;
        if (SSL_get_error(talk->ssl, got) == SSL_ERROR_ZERO_RETURN) {
            talk->channel->is_at_end = true;
            tls_talk_describe_failure(talk);
            return 0;
        }
        if (!wait_as_wished(talk, got, until))
            return 0;
    }
}

/* ---- talking ---- */

static size_t read_in_clear(struct tls_talk *talk, void *ret_bytes, size_t size)
{
    struct probe_channel *channel = talk->channel;

    for (;;) {
        ssize_t got = probe_channel_receive(channel, ret_bytes, size);
        if (got > 0)
            return (size_t)got;
        if (got == 0 || channel->failure != 0 || !probe_channel_wait(channel, POLLIN, channel->deadline)) {
            tls_talk_describe_failure(talk);
            return 0;
        }
    }
}

size_t tls_talk_read(struct tls_talk *talk, void *ret_bytes, size_t size)
{
    size_t got = talk->ssl == NULL ? read_in_clear(talk, ret_bytes, size)
                                   : read_some(talk, ret_bytes, size, talk->channel->deadline);

    talk->has_heard = talk->has_heard || got > 0;
    return got;
}

bool tls_talk_write(struct tls_talk *talk, const void *bytes, size_t size)
{
    struct probe_channel *channel = talk->channel;

    for (size_t sent = 0; sent < size;) {
        const char *rest = (const char *)bytes + sent;
        size_t most = size - sent > INT_MAX ? INT_MAX : size - sent;
        ERR_clear_error();
        ssize_t put =
            talk->ssl == NULL ? probe_channel_send(channel, rest, most) : SSL_write(talk->ssl, rest, (int)most);
        if (put > 0)
            sent += (size_t)put;
        else if (talk->ssl != NULL ? !wait_as_wished(talk, (int)put, channel->deadline)
                                   : channel->failure != 0 || !probe_channel_wait(channel, POLLOUT, channel->deadline))
            return false;
    }
    return !channel->is_write_broken;
}

static void converse(const struct tls_probe_request *request, struct tls_talk *talk)
{
    struct tls_probe *probe = talk->probe;

    probe->words[0] = '\0';
    request->converse(request->context, talk);
    if (probe->alert >= 0)
        probe->outcome = TLS_PROBE_REFUSED_BY_PEER;
    else
        probe->outcome = talk->has_heard || probe->words[0] == '\0' ? TLS_PROBE_ACCEPTED : TLS_PROBE_BROKEN;
}

/* ---- the handshake ---- */

/*
 * Of TLS 1.3 the server has our certificate only now, and is silent when it is content: it waits for us. So we say
 * good-bye, which PostgreSQL does not log, and see whether it answers by closing or by an alert.
 */
static void await_verdict(struct tls_talk *talk)
{
    int64_t until = clock_monotonic() + VERDICT_MICROSECONDS;
    struct tls_probe *probe = talk->probe;
    char ignored[512];

    probe->outcome = TLS_PROBE_ACCEPTED;
    ERR_clear_error();
    SSL_shutdown(talk->ssl);
    if (SSL_version(talk->ssl) < TLS1_3_VERSION)
        return;
    while (read_some(talk, ignored, sizeof ignored, until) > 0)
        continue;
    if (probe->alert >= 0)
        probe->outcome = TLS_PROBE_REFUSED_BY_PEER;
    else if (talk->channel->failure == EFBIG)
        probe->outcome = TLS_PROBE_BROKEN;
    else
        probe->words[0] = '\0';
}

static bool shake_hands(struct tls_talk *talk)
{
    for (;;) {
        ERR_clear_error();
        int result = SSL_connect(talk->ssl);
        if (result > 0)
            return true;
        if (!wait_as_wished(talk, result, talk->channel->deadline))
            return false;
    }
}

static bool is_name_wrong(const struct tls_probe_request *request, const struct tls_probe *probe)
{
    const char *host = request->server->settings.host;

    return sk_X509_num(probe->chain) > 0 && !text_is_empty(host) &&
           !tls_name_matches(sk_X509_value(probe->chain, 0), host);
}

static void finish(const struct tls_probe_request *request, struct tls_talk *talk)
{
    struct tls_probe *probe = talk->probe;

    snprintf(probe->cipher, sizeof probe->cipher, "%s", SSL_get_cipher_name(talk->ssl));
    if (request->converse == NULL)
        await_verdict(talk);
    else if (request->server->is_gateway && (sk_X509_num(probe->chain) <= 0 || is_name_wrong(request, probe))) {
        probe->outcome = TLS_PROBE_ACCEPTED; /* by OpenSSL; not one byte is said to a stranger */
        SSL_shutdown(talk->ssl);
    } else {
        converse(request, talk);
        ERR_clear_error();
        SSL_shutdown(talk->ssl);
    }
}

static SSL *new_ssl(const struct tls_probe_request *request, SSL_CTX *context, struct probe_channel *channel,
                    struct tls_probe *probe)
{
    const char *host = request->server->settings.host;
    SSL *ssl = SSL_new(context);
    BIO *bio = probe_channel_new_bio(channel);

    if (ssl == NULL || bio == NULL) {
        SSL_free(ssl);
        BIO_free(bio);
        return NULL;
    }
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, probe);
    SSL_set_verify(ssl, SSL_get_verify_mode(ssl), note_verdict);
    SSL_set_info_callback(ssl, note_alert);
    SSL_set_cert_cb(ssl, note_certificate_request, probe);
    if (!text_is_empty(host) && !tls_host_is_address(host))
        SSL_set_tlsext_host_name(ssl, host);
    return ssl;
}

static void speak_tls(const struct tls_probe_request *request, SSL_CTX *context, struct probe_channel *channel,
                      struct tls_probe *probe)
{
    SSL *ssl SCOPED(scoped_ssl) = new_ssl(request, context, channel, probe);
    struct tls_talk talk = {.ssl = ssl, .channel = channel, .probe = probe};

    probe->outcome = TLS_PROBE_BROKEN;
    if (ssl == NULL) {
        snprintf(probe->words, sizeof probe->words, "no memory");
        return;
    }
    bool is_done = shake_hands(&talk);
    snprintf(probe->version, sizeof probe->version, "%s", SSL_get_version(ssl));
    if (is_done)
        finish(request, &talk);
    else if (probe->verify_error != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        probe->outcome = TLS_PROBE_REFUSED_BY_US;
    else if (probe->alert >= 0)
        probe->outcome = TLS_PROBE_REFUSED_BY_PEER;
}

static void run(const struct tls_probe_request *request, struct tls_probe *probe)
{
    SSL_CTX *context SCOPED(scoped_context) = NULL;
    struct probe_channel channel = {.fd = -1, .deadline = request->deadline};
    int fd SCOPED(scoped_close) = -1;

    /* Before the server hears of us: half a handshake leaves a line in its log. */
    if (!request->is_plain && !probe_context_new(request, &context, probe->words, sizeof probe->words)) {
        probe->outcome = TLS_PROBE_BROKEN;
        probe->is_unprepared = true;
        return;
    }
    if (!probe_socket_open(request, probe, &fd))
        return;
    channel.fd = fd;
    if (request->is_plain)
        converse(request, &(struct tls_talk){.channel = &channel, .probe = probe});
    else if (request->server->is_gateway || probe_socket_ask_for_tls(&channel, probe))
        speak_tls(request, context, &channel, probe);
}

void tls_probe_run(const struct tls_probe_request *request, struct tls_probe *ret_probe)
{
    *ret_probe = (struct tls_probe){.alert = -1, .answer = -1};
    run(request, ret_probe);
    ret_probe->is_name_wrong = is_name_wrong(request, ret_probe);
    ERR_clear_error();
}

void tls_probe_done(struct tls_probe *probe)
{
    X509_free(probe->culprit);
    sk_X509_pop_free(probe->chain, X509_free);
    sk_X509_NAME_pop_free(probe->accepted, X509_NAME_free);
    *probe = (struct tls_probe){.alert = -1, .answer = -1};
}
