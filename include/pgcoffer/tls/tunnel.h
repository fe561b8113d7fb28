#ifndef PGCOFFER_TLS_TUNNEL_H
#define PGCOFFER_TLS_TUNNEL_H

#include "pgcoffer/config/config.h"

/*
 * The way to a gateway: outside TLS with a client certificate, inside a stream of bytes that is the control protocol,
 * as on the Unix socket. It needs a process of its own, which carries the bytes between the two.
 *
 * The gateway is who it should be before the first byte is said: its chain leads to tls_ca_file, is not revoked by
 * tls_crl_file, and it carries the name `host` as libpq's verify-full would have it.
 */

/*
 * The client's files, then the connection, then `opened`, and from there on bytes both ways until one side has ended.
 * `local` is the end of a stream socket; the descriptor stays the caller's. Whatever is sent waits for nobody: at most
 * a buffer each way is held.
 *
 * False when nothing came of it: the connection could not be made (`opened` was not called), or the gateway refused us
 * after the handshake and before its first byte, as TLS 1.3 has it (`opened` was called). Kind DAEMON when the network
 * or the other side's end did it, so that another attempt may help; else TLS, in the words of `check`.
 */
bool tls_tunnel_run(const struct server_config *gateway, int local, void (*opened)(void *context), void *context,
                    struct error *err) NODISCARD;

#endif
