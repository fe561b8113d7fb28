#ifndef PGCOFFER_SRC_JOBS_RECEIVE_GAPS_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_GAPS_INTERNAL_H

#include "jobs/receive/filler_internal.h"
#include "pgcoffer/stage/pool.h"

struct receiver;

/*
 * WAL that was lost, on the receiver's side: it is recorded before streaming goes on behind it, told for as long as it
 * is missing, and fetched when some host of the list has it after all. Everything that waits for the disk or the
 * network is done in a thread (filler.c), so that neither a commit that waits for us nor a shutdown of the server is
 * held up.
 */
struct receive_gaps {
    struct pool *thread; /* one, for the task; NULL: it could not be had */
    struct filler_task task;
    bool is_busy; /* with it */
    int cancel_fd;
    int finished_fd;    /* written to by the task */
    size_t handed_over; /* of the segments it has finished: those that wait for their compression */

    struct wal_gaps known;
    struct wal_ranges held; /* of the same moment */
    bool is_known;          /* they were looked at */
    bool is_settle_due;
    bool has_failed;   /* to settle: tried again later */
    bool is_round_due; /* each gap is to be tried once more */
    size_t next_gap;   /* of this round; those before were tried */
    int64_t round_at;  /* monotonic, or INT64_MAX */
    int64_t told_at;   /* all that is missing was logged; monotonic */
    bool was_lost;     /* the stream is to go on behind a loss and has not yet */
    char told[sizeof(((struct error *)0)->message)];

    bool is_slot_lost; /* and that is why WAL will be found removed */
    char slot_words[WAL_GAP_WORDS_SIZE];
};

/* Another host may have come back, and WAL may have been put there by hand. */
#define GAPS_TRIED_AGAIN_AFTER INT64_C(600000000)
/* In the log, for as long as it is missing. */
#define GAPS_TOLD_AGAIN_AFTER INT64_C(86400000000)

/* A thread that cannot be had is logged: then gaps are recorded, but never closed or filled. */
void receive_gaps_begin(struct receiver *receiver);
/* The task is told to end; then wait for the descriptor before receive_gaps_end(). Another one may begin later. */
void receive_gaps_cancel(struct receive_gaps *gaps);
/* Ends the task, so that nobody else is at the archive; BUSY when it does not end soon. */
bool receive_gaps_rest(struct receiver *receiver, struct error *err) NODISCARD;
void receive_gaps_end(struct receive_gaps *gaps);

/* ---- the loop of the receiver ---- */
void receive_gaps_turn(struct receiver *receiver);
int64_t receive_gaps_due(const struct receiver *receiver);
int receive_gaps_descriptor(const struct receive_gaps *gaps); /* -1: nothing to wait for */
/* The same while the task goes on: something is to be compressed. */
int receive_gaps_finished_descriptor(const struct receive_gaps *gaps);
/* A session has begun, or somebody says that something may be new: all are looked at and tried. */
void receive_gaps_look_now(struct receive_gaps *gaps);

/* ---- sessions ---- */
/* The slot was invalidated, in the server's words. What is found removed next is so for that reason. */
void receive_gaps_note_slot_lost(struct receive_gaps *gaps, const char *words);
/*
 * The server has removed what this timeline needs from `position` on, in its words. Durable when it returns; only then
 * may streaming go on behind it.
 */
bool receive_gaps_note_loss(struct receiver *receiver, struct timeline timeline, struct wal_position position,
                            const char *words, struct error *err) NODISCARD;
/*
 * Received bytes of the segment at `position` were not those held (*err says so). When what is held is damaged in
 * itself it is recorded, set aside and can be received again; then *err says that. Otherwise nothing is touched: false.
 */
bool receive_gaps_give_up_damaged(struct receiver *receiver, struct timeline timeline, struct wal_position position,
                                  struct error *err) NODISCARD;

#endif
