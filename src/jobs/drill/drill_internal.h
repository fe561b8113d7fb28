#ifndef PGCOFFER_JOBS_DRILL_INTERNAL_H
#define PGCOFFER_JOBS_DRILL_INTERNAL_H

#include <sys/types.h>

#include "jobs/progress_meter_internal.h"
#include "pgcoffer/base/buffer.h"
#include "pgcoffer/jobs/drill.h"

/* ---- program.c: another program, whose words are read and whose end is awaited ---- */
struct program_start {
    char *const *argv;        /* [0] is a path */
    char *const *environment; /* "NAME=VALUE", added to ours without what steers PostgreSQL's programs; NULL: nothing */
    int kept_fd;              /* stays open in it and in its children; -1: none */
    int death_signal;         /* it gets when this process ends, however that happens */
    /* NULL-ended: it and all it starts write nowhere else and make no links (worker_confine_writing()); NULL: no limits
     */
    const char *const *write_paths;
};
struct program {
    pid_t pid; /* 0: none runs */
    int out, error;
    int end_fd; /* readable when it has ended; -1 where the kernel has none */
    int status; /* of waitpid(), once it has ended */
};
#define PROGRAM_NONE ((struct program){.out = -1, .error = -1, .end_fd = -1})

/* What it wrote, in pieces as they come. */
typedef void program_words(void *context, bool is_error, const char *bytes, size_t size);
bool program_begin(const struct program_start *start, struct program *ret_program, struct error *err) NODISCARD;
/* Waits for words or its end, `milliseconds` at most. False once it has ended and everything is read. */
bool program_step(struct program *program, int milliseconds, program_words *words, void *context);
/* Kills it if it still runs. */
void program_done(struct program *program);
/* "exited with status 1", "was ended by signal 9" */
#define PROGRAM_END_SIZE 48
void program_format_end(const struct program *program, char ret_text[PROGRAM_END_SIZE]);

/* ---- binaries.c: the PostgreSQL that fits ---- */
#define BINARIES_MAJOR 10000 /* 150020 is of major version 15 */
struct binaries {
    char *postgres, *psql, *amcheck; /* paths; the last two NULL when nobody needs them */
    char version[64];                /* "15.20" */
    int number;                      /* 150020 */
};
/* Of that major version. CONFIG with what to install when there is none. */
bool binaries_find(const struct drill_options *options, int major, struct binaries *ret_binaries,
                   struct error *err) NODISCARD;
void binaries_done(struct binaries *binaries);
/* "postgres (PostgreSQL) 15.20 (...)" gives 150020 and "15.20"; 0: it is none. Pure. */
int binaries_read_version(const char *words, char *ret_version, size_t size);

/* ---- scratch.c: a folder of its own, which nobody else touches while anything of the drill lives ---- */
struct drill_scratch {
    char *path; /* NULL: none */
    int lock;   /* an flock(2) on the folder; PostgreSQL inherits it */
};
/* Sweeps what drills of this user that were killed have left there, then makes a folder. */
bool drill_scratch_make(const char *parent, struct drill_scratch *ret_scratch, struct error *err) NODISCARD;
/* Fine without one. */
bool drill_scratch_remove(struct drill_scratch *scratch, struct error *err) NODISCARD;

/* ---- control_file.c: pg_control ---- */
struct control_limits {
    uint32_t max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions;
    uint32_t max_locks_per_transaction;
};
/* What the server of the backup ran with: a recovery needs as much. INTEGRITY when it is no pg_control. Pure. */
bool control_limits_read(const uint8_t *bytes, size_t size, struct control_limits *ret_limits,
                         struct error *err) NODISCARD;

/* ---- settings.c ---- */
/* The files of the configuration for a PostgreSQL of that version (150020), all of them outside of the data directory.
 */
bool drill_write_settings(const char *scratch, const char *data, int version, struct error *err) NODISCARD;

/* ---- recovery_log.c: what PostgreSQL says while it recovers ---- */
#define RECOVERY_LINE_SIZE 512
struct recovery_log {
    char line[RECOVERY_LINE_SIZE]; /* begun */
    size_t used;
    bool is_recovering; /* it has taken the backup for one */
    bool has_redo_begun;
    bool is_open;         /* it accepts connections */
    unsigned file_count;  /* of WAL that came from the archive */
    char file[32];        /* the last of them */
    char replayed_to[24]; /* "" until it is known */
    char last_commit[64]; /* as PostgreSQL writes a time */
    char failure[512];    /* the message that ended it */
    char words[768];      /* of it and of restore_command, the last ones */
    int restore_command;  /* the status it ended with that ended the recovery; 0: none did */
};
/*
 * What `words` tell of a failure that is the host's and not the backup's: STORAGE for a full disk, SERVER for too
 * little memory or a signal from outside. `kind` when they tell nothing of the sort. Pure.
 */
enum error_kind recovery_log_kind(const char *words, enum error_kind kind);
/* The last words as the error's detail, on one line. */
void recovery_log_tell(const struct recovery_log *log, struct error *err);
/* A program_words function. */
void recovery_log_take(void *log, bool is_error, const char *bytes, size_t size);

/* ---- the drill ---- */
struct drill {
    const struct drill_options *options;
    const struct connector *connector;
    struct drill_result *result;
    json_t *lease; /* a text; NULL: none was left */
    struct restore_options restore;
    struct drill_scratch scratch;
    char *data; /* the copy's data directory */
    json_t *plan;
    json_t *restored; /* what restore_run() told */
    struct binaries binaries;
    struct program postgres;
    struct recovery_log log;
    struct progress_meter meter;
    uint64_t rows;
    struct buffer answer; /* of the query, as far as it is kept */
};
/* FAILED, ECANCELED when the caller wants it to end. */
bool drill_may_go_on(const struct drill *drill, struct error *err) NODISCARD;
/* Of a recovery that has ended by itself: not before the last record that the plan has seen. INTEGRITY. */
bool drill_check_end(const struct drill *drill, struct error *err) NODISCARD;
#define DRILL_TICK_MILLISECONDS 250    /* between two looks whether to go on */
#define DRILL_PORT              "5432" /* names the socket; nothing listens on a network */

/* postgres.c */
/* Until it accepts connections. */
bool drill_start(struct drill *drill, struct error *err) NODISCARD;
bool drill_replay(struct drill *drill, struct error *err) NODISCARD;
/* An orderly end, or a quick one after a failure. */
void drill_stop(struct drill *drill, bool is_orderly);

/* questions.c */
bool drill_run_amcheck(struct drill *drill, struct error *err) NODISCARD;
bool drill_run_query(struct drill *drill, struct error *err) NODISCARD;

#endif
