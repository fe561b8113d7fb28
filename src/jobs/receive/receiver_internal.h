#ifndef PGCOFFER_SRC_JOBS_RECEIVE_RECEIVER_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_RECEIVER_INTERNAL_H

#include "jobs/receive/certificates_internal.h"
#include "jobs/receive/compressor_internal.h"
#include "jobs/receive/gaps_internal.h"
#include "jobs/receive/hosts_internal.h"
#include "jobs/receive/report_internal.h"
#include "jobs/receive/room_internal.h"
#include "jobs/receive/sync_standby_internal.h"
#include "pgcoffer/jobs/jobs.h"

/*
 * What outlives a connection. The files of this folder, from the outside in: receiver.c has the loop for ever,
 * session.c one connection from its start to its end, cluster.c the system identifier and the archive, start.c where to
 * begin, timelines.c histories and forks, stream.c the bytes, room.c what happens when the disk is full. certificates.c
 * looks after their renewal meanwhile.
 */
struct receiver {
    struct worker_context *worker;
    const struct server_config *server;
    const struct repo *repo;
    struct receive_report report;
    struct receive_certificates certificates;
    struct receive_sync sync;
    struct receive_hosts hosts;

    bool has_archive;
    struct wal_archive archive;
    struct receive_compressor *compressor; /* NULL until the archive is open */
    bool is_to_recover;                    /* a segment could not be finished: clean up before the next try */
    struct receive_room room;

    /* What was flushed at most, on that timeline; what a new connection is told begins anew (stream_status.c). */
    struct timeline acknowledged_timeline;
    struct wal_position acknowledged;

    bool is_lost; /* the server has removed what follows: the next session goes on behind it */
    struct wal_position lost_position;
    struct error lost_error;
    struct receive_doubt {
        int64_t since; /* monotonic; 0: none. Said to be removed, but perhaps not received yet */
        struct timeline timeline;
        struct wal_position position;
    } doubt;
    struct receive_gaps gaps;
    int64_t behind_since; /* monotonic; 0: the server is not behind what is held */
};

enum receive_wake {
    RECEIVE_WAKE_INTERRUPTED,
    RECEIVE_WAKE_SOCKET,
    RECEIVE_WAKE_TIME,
    RECEIVE_WAKE_RENEWED, /* while streaming only: end in order, and go on with renewed certificates or elsewhere */
};
/*
 * Waits for the socket (-1: none), until `until` (monotonic) or the end of the worker, and meanwhile compresses,
 * reports and looks after certificates. Looks at everything once even when `until` has passed.
 */
enum receive_wake receiver_wait(struct receiver *receiver, int socket, bool is_output_pending, int64_t until);

/* ---- cluster.c ---- */

/* Opens what server.json names, if it is there: leftovers are finished, raw segments queued. */
bool receive_cluster_open_stored(struct receiver *receiver, struct error *err) NODISCARD;
/* Would the next function refuse it? Nothing is written, nothing opened. */
bool receive_cluster_check(struct receiver *receiver, uint64_t system_identifier, int server_version,
                           struct error *err) NODISCARD;
/*
 * Is this the cluster whose WAL is held? The first contact and a pg_upgrade (of several hosts, of all of them) are
 * written down; anything else of another system identifier is INTEGRITY and touches nothing. Then the archive is open.
 */
bool receive_cluster_adopt(struct receiver *receiver, uint64_t system_identifier, int server_version,
                           struct wal_segment_size segment_size, struct error *err) NODISCARD;

/* ---- session.c ---- */

enum receive_verdict {
    RECEIVE_INTERRUPTED, /* end */
    RECEIVE_RENEWED,     /* no fault: at once again, with renewed certificates or from another host */
    RECEIVE_SHUTDOWN,    /* the server ended in order: it is likely to be back soon */
    RECEIVE_RETRY,       /* back-off, state waiting */
    RECEIVE_SLOT_BUSY,   /* the server has not noticed yet that the former connection is gone */
    RECEIVE_LOST_WAL,    /* removed by the server: at once again, behind it, with an alarm */
    RECEIVE_REFUSED,     /* back-off, state alarm */
};
/* One connection, until it ends; *err says why, except with INTERRUPTED and RENEWED. */
enum receive_verdict receive_session_run(struct receiver *receiver, struct error *err);

#endif
