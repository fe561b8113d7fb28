#ifndef PGCOFFER_TLS_INVENTORY_H
#define PGCOFFER_TLS_INVENTORY_H

#include "pgcoffer/config/config.h"
#include "pgcoffer/tls/certificate.h"

/*
 * Every certificate and revocation list that the connection to a server depends on: those of our files, and those the
 * server serves, seen in a handshake without a client certificate, so that the private key is not needed. It shows and
 * does not judge: whether the connection works is the business of `check`.
 */
enum inventory_kind {
    INVENTORY_CLIENT,
    INVENTORY_CLIENT_CHAIN, /* what follows the client certificate in its file */
    INVENTORY_AUTHORITY,    /* of tls_ca_file; of a bundle only those that the served chain leads to */
    INVENTORY_REVOCATION_LIST,
    INVENTORY_SERVED,
    INVENTORY_SERVED_CHAIN,
};

enum inventory_state {
    INVENTORY_VALID,
    INVENTORY_SOON,     /* fewer days left than expiry_warn_days */
    INVENTORY_CRITICAL, /* ... than expiry_critical_days */
    INVENTORY_EXPIRED,
    INVENTORY_NOT_YET_VALID,
    INVENTORY_UNKNOWN, /* not to be read, or not to be reached */
};

struct inventory_entry {
    enum inventory_kind kind;
    enum inventory_state state;
    char place[CONFIG_TEXT_SIZE + 128]; /* the file; of what is served "db1.example.com:5432" */
    struct certificate_text text;       /* of a revocation list: issuer and dates */
    bool is_endless;                    /* a revocation list that says no end */
    long revoked_count;                 /* certificates the list names */
    struct error fault;                 /* with INVENTORY_UNKNOWN */
};

struct inventory {
    struct inventory_entry *entries; /* in the order of enum inventory_kind */
    size_t count;
    size_t left_out_count; /* CA certificates of a bundle that had no part in it */
    char address[64];      /* what the host's name led to; "" when it was not reached */
};

/* Cannot fail: what could not be seen is an entry with its fault. Bounded by connect_timeout for each host. */
void inventory_take(const struct server_config *server, struct inventory *ret_inventory);
void inventory_done(struct inventory *inventory);

const char *inventory_kind_word(enum inventory_kind kind);    /* "served chain" */
const char *inventory_state_word(enum inventory_state state); /* "valid" */

#endif
