#ifndef PGCOFFER_SRC_JOBS_RECEIVE_REPORT_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_REPORT_INTERNAL_H

#include "pgcoffer/base/clock.h"
#include "pgcoffer/control/stream.h"
#include "pgcoffer/pg/connection.h"
#include "pgcoffer/pg/sync_names.h"
#include "pgcoffer/repo/layout.h"
#include "pgcoffer/repo/wal_complete.h"
#include "pgcoffer/repo/wal_gaps.h"
#include "pgcoffer/tls/certificate.h"

/*
 * What the receiver tells the supervisor: the `receiver` object of doc/control-protocol.md. A change of state goes out
 * at once, moving positions at most every RECEIVE_REPORT_MILLISECONDS.
 */
#define RECEIVE_REPORT_MILLISECONDS 200

/* A server that has nothing to say answers every ten seconds: one that says nothing for so long cannot be heard, and
 * nobody knows what it has. In microseconds. */
#define RECEIVE_SILENCE INT64_C(30000000)

enum receive_state {
    RECEIVE_STARTING,
    RECEIVE_CONNECTING,
    RECEIVE_STREAMING,
    RECEIVE_WAITING, /* after a fault, until the next try */
    RECEIVE_ALARM,   /* a fault that a retry cannot mend; tried again all the same */
};

/* Whoever warns has a place of its own; `warning` of the report is the first one that is taken. */
enum receive_warning {
    RECEIVE_WARNING_CERTIFICATES,
    RECEIVE_WARNING_SYNC,
    RECEIVE_WARNING_ROOM,
    RECEIVE_WARNING_HOSTS,
    RECEIVE_WARNING_COUNT,
};

/* Whether PostgreSQL let us in when it was last asked. */
enum receive_answer { RECEIVE_NOT_ASKED, RECEIVE_LET_IN, RECEIVE_NOT_LET_IN };

/* The `room` object: of the repository's disk. */
struct receive_report_room {
    bool is_known;
    uint64_t free_bytes, reserve_bytes;
    uint64_t bytes_per_hour;              /* of WAL as it is stored; 0: too little was seen */
    struct timestamp reserve_at, full_at; /* 0: not to be foreseen */
    char disk[512];
};

struct receive_report {
    struct control_stream *channel; /* borrowed */
    enum receive_state state;
    struct timestamp since;
    struct timeline timeline;
    struct wal_position received, flushed, server_position;
    struct timestamp last_message_at; /* 0: never */
    struct timestamp caught_up_at;    /* all that the server had then is flushed here; 0: it never was */
    struct {
        struct timestamp at; /* 0: none is set */
        struct wal_position position;
    } mark; /* what the server had at some later moment: once that is flushed, all was here then */
    enum receive_answer answer;
    /* Since this process began. */
    uint64_t received_bytes, handshakes_ok, handshakes_refused;
    const char *slot; /* borrowed */
    char host[256];   /* of the session */
    long port;
    enum pg_role role;
    json_t *hosts; /* owned; NULL: there is one only */
    unsigned reconnects;
    char tls_version[16], tls_cipher[64];
    struct pg_certificate certificate;             /* ours, of the last session; before the first one of the file */
    struct pg_certificate server_certificate;      /* as it was served last */
    struct timestamp authorities_not_after;        /* the first end of the CA certificates in use; 0: not known */
    struct error *warnings[RECEIVE_WARNING_COUNT]; /* owned: the stream goes on, and yet something is to be done */
    bool is_sync_wanted;                           /* the setting `synchronous` */
    enum sync_state sync_state;                    /* by synchronous_standby_names */
    char *sync_names;                              /* owned; NULL: the server does not tell */
    struct system_id system;                       /* "" until it is known */
    struct timeline complete_timeline;
    struct wal_complete complete; /* as it was noted last; at 0: it was not */
    struct receive_report_room room;
    json_t *gaps; /* owned; NULL: not looked at yet */
    bool has_error;
    struct error error;
    int64_t error_kept_until; /* monotonic: a gap stays visible for a while after streaming goes on */
    bool is_changed;
    int64_t sent_at; /* monotonic */
};

void receive_report_done(struct receive_report *report);
/* `failure` NULL clears the error, unless it is kept. Sent at once. */
void receive_report_state(struct receive_report *report, enum receive_state state, const struct error *failure);
/* The error stays in the report for so long, whatever the state. */
void receive_report_keep_error(struct receive_report *report, const struct error *failure, int64_t microseconds);
void receive_report_session(struct receive_report *report, const struct pg_session *session);
/* No connection could be made. */
void receive_report_refused(struct receive_report *report, const struct error *failure);
/* It may be promoted while it streams. */
void receive_report_role(struct receive_report *report, enum pg_role role);
/* Takes the reference: what is known of each of several hosts. */
void receive_report_hosts(struct receive_report *report, json_t *hosts);
/* Of our file, while there was no session. */
void receive_report_client(struct receive_report *report, const struct certificate_text *certificate);
void receive_report_served(struct receive_report *report, const struct pg_certificate *certificate);
void receive_report_authorities(struct receive_report *report, struct timestamp not_after);
/* NULL: there is nothing to warn of. */
void receive_report_warning(struct receive_report *report, enum receive_warning source, const struct error *warning);
/* `names` NULL: the server does not tell; copied. */
void receive_report_sync(struct receive_report *report, enum sync_state state, const char *names);
void receive_report_room(struct receive_report *report, const struct receive_report_room *room);
/* The `gaps` object: how many there are, and the newest. */
void receive_report_gaps(struct receive_report *report, const struct wal_gaps *gaps, struct wal_segment_size size);
void receive_report_positions(struct receive_report *report, struct timeline timeline, struct wal_position received,
                              struct wal_position flushed);
/* What was noted on the disk, so that whoever plans a restore knows it, too. */
void receive_report_complete(struct receive_report *report, struct timeline timeline,
                             const struct wal_complete *complete);
void receive_report_server(struct receive_report *report, struct wal_position server_position);
/* Sends what has changed if enough time has passed since the last one. */
void receive_report_turn(struct receive_report *report);
/* When receive_report_turn() has something to send next (monotonic), or INT64_MAX. */
int64_t receive_report_due(const struct receive_report *report);
/* The receiver event; new reference. */
json_t *receive_report_to_json(const struct receive_report *report);

#endif
