#ifndef PGCOFFER_SRC_JOBS_GATEWAY_PUMP_INTERNAL_H
#define PGCOFFER_SRC_JOBS_GATEWAY_PUMP_INTERNAL_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bytes both ways between a TLS session and a local socket, neither of which ever blocks. Each way has one buffer of
 * fixed size: it is filled only when it has room, so who does not read is not read from, and memory does not grow with
 * what passes. An end of one side is passed on once everything before it has been; the other way goes on.
 */
#define PUMP_BUFFER_SIZE 65536

struct pump_way {
    uint8_t bytes[PUMP_BUFFER_SIZE];
    size_t start, end;   /* bytes[start..end) are on their way */
    bool is_source_over; /* nothing more will come */
    bool is_over;        /* and the sink has been told */
};

enum pump_state {
    PUMP_WAITS,  /* for one of the wants */
    PUMP_RUNS,   /* it could go on at once; others first */
    PUMP_OVER,   /* both ways, or the local side has ended and the network has all it said */
    PUMP_BROKEN, /* one side went away */
};

struct pump {
    SSL *tls;
    int local;
    struct pump_way in;  /* network to local */
    struct pump_way out; /* local to network */
    uint64_t moves;      /* grows with whatever is moved */
    bool wants_network_read, wants_network_write, wants_local_read, wants_local_write;
    bool is_network_dry; /* asked in this turn: a client that is being sent much says little */
};

/* Small enough to be done in one turn of an event loop. */
enum pump_state pump_turn(struct pump *pump);

#endif
