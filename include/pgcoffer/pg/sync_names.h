#ifndef PGCOFFER_PG_SYNC_NAMES_H
#define PGCOFFER_PG_SYNC_NAMES_H

#include "pgcoffer/base/error.h"

/*
 * synchronous_standby_names, read as PostgreSQL reads it (syncrep_scanner.l and syncrep_gram.y of 13 to 18): do its
 * commits wait for a standby of our name? Pure: what else is connected, only the server knows.
 */
enum sync_method { SYNC_METHOD_NONE, SYNC_METHOD_FIRST, SYNC_METHOD_ANY };

/* What the server will call us in pg_stat_replication.sync_state once we stream, as far as the names alone tell. */
enum sync_state {
    SYNC_STATE_UNKNOWN,
    SYNC_STATE_ASYNC,     /* not listed */
    SYNC_STATE_POTENTIAL, /* listed behind those that are waited for: takes over when one of them is gone */
    SYNC_STATE_SYNC,      /* listed among the first */
    SYNC_STATE_QUORUM,    /* one of those of which ANY n are enough */
};

struct sync_match {
    enum sync_method method;
    unsigned needed;   /* n of FIRST n and ANY n; 1 for a plain list */
    unsigned listed;   /* how many names */
    unsigned position; /* ours, from 1; 0: not listed */
    bool has_star;     /* "*" stands in the list, which is everybody */
    bool is_by_star;   /* and it is what we match: nobody named us */
};

/* "" is a list too: nothing is synchronous. SERVER when PostgreSQL would not take the text either. */
bool sync_names_match(const char *names, const char *application_name, struct sync_match *ret_match,
                      struct error *err) NODISCARD;
enum sync_state sync_match_state(const struct sync_match *match);
/* No commit returns without us, whoever else is connected. */
bool sync_match_is_indispensable(const struct sync_match *match);
/* "sync", "potential", ... as in pg_stat_replication; "unknown". */
const char *sync_state_word(enum sync_state state);

#endif
