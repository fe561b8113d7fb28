#ifndef PGCOFFER_SRC_DAEMON_JOB_TABLE_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_JOB_TABLE_INTERNAL_H

#include <sys/types.h>

#include "daemon/caller_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/control/stream.h"

/*
 * The jobs that run and the last JOB_MOST_ENDED that ended, in memory. A running one has a child, or a client that
 * reports it because it runs there (reports_internal.h); the table itself starts nothing.
 *
 * Reported ones come and go as clients like: they have ceilings of their own, so that they neither keep the daemon's
 * jobs from running nor drive them out of what is remembered.
 */
#define JOB_MOST_ENDED              100
#define JOB_MOST_RUNNING            64
#define JOB_ID_SIZE                 24
#define JOB_MOST_REPORTED           64
#define JOB_MOST_REPORTED_OF_SERVER 16
#define JOB_MOST_REPORTED_ENDED     30

/* Gone: reported by a client that went away without a word of how it ended. */
enum job_state { JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED, JOB_GONE };

struct client;

struct job_entry {
    char id[JOB_ID_SIZE];
    enum command_id command;
    bool is_resume; /* the daemon's own: a backup worker that sweeps and completes what an earlier daemon left */
    char server[64];
    enum job_state state;
    struct timestamp started_at, ended_at;
    int64_t started_monotonic, ended_monotonic;
    char caller[CALLER_TEXT_SIZE];
    char cancelled_by[CALLER_TEXT_SIZE]; /* "": nobody */
    bool has_reported;                   /* any event before the last word */
    json_t *progress;                    /* the last progress event, or NULL */
    json_t *last_word;                   /* result or error event; NULL while there is none */
    struct child *child;                 /* NULL when ended, and while `slot drop` waits for the receiver to end */
    bool is_reported;                    /* it runs in a client, which tells of it */
    struct client *reporter;             /* that one, while it is there */
    bool is_wal_pending;                 /* a receiver's report waits until the child has taken the former */
    struct job_entry *next;
};

struct job_table {
    struct job_entry *running; /* oldest first */
    struct job_entry *ended;   /* newest first */
    size_t running_count, ended_count;
    uint64_t last_id;
};

/* BUSY when too many run. */
bool job_table_add(struct job_table *table, enum command_id command, bool is_resume, const char *server,
                   const char *caller, struct job_entry **ret_entry, struct error *err) NODISCARD;
/* BUSY when too many are reported, in all or of that server. */
bool job_table_add_reported(struct job_table *table, enum command_id command, const char *server, const char *caller,
                            struct job_entry **ret_entry, struct error *err) NODISCARD;
struct job_entry *job_table_find(const struct job_table *table, const char *id);
/* The running one that this client reports, or NULL. */
struct job_entry *job_table_reported_by(const struct job_table *table, const struct client *client);
/* The running backup or resume of that server, or NULL. */
struct job_entry *job_table_backup_of(const struct job_table *table, const char *server);
/* The running `slot create` or `slot drop` of that server, or NULL. */
struct job_entry *job_table_slot_change_of(const struct job_table *table, const char *server);
/* BUSY with who changes it, if there is one. */
bool job_table_demand_no_slot_change(const struct job_table *table, const char *server, struct error *err) NODISCARD;
/* BUSY with who holds it and since when, if a backup or resume of that server runs. */
bool job_table_demand_no_backup(const struct job_table *table, const char *server, struct error *err) NODISCARD;
/*
 * The job's process is gone: takes it from running to ended; the oldest ended one falls off. Without a last word
 * `failure` becomes it, and a reported job is gone; a cancelled job that did not finish gets one that says so.
 */
void job_table_end(struct job_table *table, struct job_entry *entry, const struct error *failure);
void job_table_remove(struct job_table *table, struct job_entry *entry); /* never started */
void job_table_done(struct job_table *table);

const char *job_state_word(enum job_state state);
const char *job_entry_command(const struct job_entry *entry); /* "backup", "resume", "slot show" */
double job_entry_seconds(const struct job_entry *entry);      /* so far, or in all */
json_t *job_entry_to_json(const struct job_entry *entry);     /* JOB of doc/control-protocol.md */

#endif
