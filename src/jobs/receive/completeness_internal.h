#ifndef PGCOFFER_SRC_JOBS_RECEIVE_COMPLETENESS_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_COMPLETENESS_INTERNAL_H

#include "pgcoffer/pg/wal_stream.h"
#include "pgcoffer/repo/wal_complete.h"

/*
 * Up to when, by the server's clock, the stream of one timeline is complete. Two things prove it, and only on a
 * primary: a standby that has lost its own primary says the same.
 *
 * Data that ends where the server's WAL did when they were sent.
 *
 * Two keepalives with nothing between them. A keepalive tells where the server has sent up to, not where its WAL ends,
 * and it may overtake what it has yet to send. The second answers a question that was asked when the first had come,
 * and by then the server had looked for more to send: so nothing was written by the time of the first.
 */
struct receive_completeness {
    bool is_primary;
    bool has_caught_up; /* the last data ended where the server's WAL did; at the start: nothing is to be sent */

    unsigned unanswered;       /* questions that are under way */
    struct timestamp first_at; /* of the first of two keepalives; 0: none */
    bool is_asked;             /* since then */

    struct wal_complete proven; /* at 0: nothing since the last was noted */
    int64_t note_at;            /* monotonic: not before */
};

/* The data up to `end`, after they were taken. */
void receive_completeness_data(struct receive_completeness *completeness, const struct wal_message *message,
                               struct wal_position end);
/* All is taken up to `end`. True: a reply should be asked for, which can be the second one. */
bool receive_completeness_keepalive(struct receive_completeness *completeness, const struct wal_message *message,
                                    struct wal_position end) NODISCARD;
/* A reply was asked for. */
void receive_completeness_asked(struct receive_completeness *completeness);
/* Is there something to be noted, which is durable up to `durable`? */
bool receive_completeness_is_due(const struct receive_completeness *completeness, struct wal_position durable);
/* False: it is tried again later, and what was noted before is left. */
bool receive_completeness_note(struct receive_completeness *completeness, const struct wal_archive *archive,
                               struct timeline timeline, struct wal_complete *ret_noted) NODISCARD;

#endif
