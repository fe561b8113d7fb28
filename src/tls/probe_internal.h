#ifndef PGCOFFER_TLS_PROBE_INTERNAL_H
#define PGCOFFER_TLS_PROBE_INTERNAL_H

#include <sys/types.h>

#include "pgcoffer/tls/probe.h"

/*
 * The socket, with what the peer may cost us: a deadline that holds even while data never stops, and a ceiling for all
 * it sends. A write into a connection the peer has closed is no failure here: what it said before, an alert for
 * instance, is still to be read, and OpenSSL would never come to that.
 */
struct probe_channel {
    int fd;
    int64_t deadline;
    size_t received;
    bool is_at_end;       /* the peer closed */
    bool is_write_broken; /* what we wrote did not arrive */
    bool is_unbounded;    /* neither deadline nor ceiling hold any more: the peer is who it should be */
    int failure;          /* errno of the last receive or send that failed, but for EAGAIN */
};

/* As recv(2) and send(2), never waiting; fails with ETIMEDOUT at the deadline and EFBIG at the ceiling. */
ssize_t probe_channel_receive(struct probe_channel *channel, void *ret_bytes, size_t size);
ssize_t probe_channel_send(struct probe_channel *channel, const void *bytes, size_t size);
/* Waits for poll(2) events, until `until` or the deadline; false, with failure ETIMEDOUT, when none came. */
bool probe_channel_wait(struct probe_channel *channel, short events, int64_t until);
/* Why nothing more comes; false when neither the peer's end nor a failure is known. */
bool probe_channel_describe(const struct probe_channel *channel, char *ret_words, size_t size);
/* For both directions of an SSL; NULL when there is no memory. The channel outlives it. */
BIO *probe_channel_new_bio(struct probe_channel *channel);

/* Connects to request->address, or to each address of the host in turn. Fills address and words of the probe. */
bool probe_socket_open(const struct tls_probe_request *request, struct tls_probe *probe, int *ret_fd);
/* Sends SSLRequest; true when the answer is yes. Otherwise outcome, answer and words of the probe tell it. */
bool probe_socket_ask_for_tls(struct probe_channel *channel, struct tls_probe *probe);

/* The talk of a probe, for those of this layer. */
struct tls_talk {
    SSL *ssl; /* NULL: in the clear */
    struct probe_channel *channel;
    struct tls_probe *probe;
    bool has_heard;
};
/* Puts into the words of the probe why OpenSSL or the channel went on no further. */
void tls_talk_describe_failure(const struct tls_talk *talk);

/* What the request says of trust, certificate, versions and ciphers, as libpq would have it; `words` on failure. */
bool probe_context_new(const struct tls_probe_request *request, SSL_CTX **ret_context, char *ret_words, size_t size);

#endif
