#ifndef PGCOFFER_JOBS_RESTORE_INTERNAL_H
#define PGCOFFER_JOBS_RESTORE_INTERNAL_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "jobs/progress_meter_internal.h"
#include "pgcoffer/base/buffer.h"
#include "pgcoffer/jobs/restore.h"
#include "pgcoffer/repo/index.h"
#include "pgcoffer/stage/frame.h"

/* Stands in the target until every byte of it is durable. */
#define RESTORE_MARKER "pgcoffer.restore-incomplete"
/* Configuration files and the tablespace map, which are read and written as a whole. */
#define RESTORE_MOST_TEXT  ((size_t)16 << 20)
#define RESTORE_PG_CONTROL "global/pg_control"

/* ---- the plan, as the session made it ---- */
struct plan_file {
    const char *name; /* "base.tar.zst" */
    uint64_t size;
    const char *sha256;
};

struct restore_plan {
    json_t *json; /* owns every text here */
    const char *server, *system_id, *backup;
    const char *replay_to; /* a position that stands for the target; NULL: the target itself does */
    uint32_t timeline;
    int server_version; /* 150018 */
    mode_t folder_mode, file_mode;
    uint32_t segment_size;
    struct plan_file *files;
    size_t file_count;
    const char **wal_files; /* with --with-wal only */
    size_t wal_file_count;
};

/* ---- one archive of the backup and the folder it goes to ---- */
struct restore_place {
    char archive[16];    /* "base", or the tablespace's oid */
    uint32_t oid;        /* 0: the data directory */
    char *original_path; /* NULL for the data directory */
    char *path;          /* absolute */
    char *real_parent;   /* the folder that holds it, without links */
    bool exists;         /* an empty folder that was there before */
    int fd;              /* -1 until it is made */
    bool is_begun;       /* ours, and something was written */
};

struct restore {
    const struct restore_options *options;
    const struct connector *connector;
    struct control_stream *session; /* made the plan; holds the lock on the backup */
    int64_t session_opened_at;      /* when it was opened again, clock_monotonic(); 0: it never was */
    struct restore_plan plan;
    struct index index;
    struct restore_place *places; /* [0] is the data directory */
    size_t place_count;
    struct buffer pg_control;
    json_t *warnings;
    unsigned lease_days; /* so long the WAL is kept that is going to be replayed; 0: that was not promised */
    int64_t started_at;  /* clock_monotonic() */
    struct progress_meter meter;
    uint64_t phase_bytes;   /* done in this phase */
    uint64_t written_bytes; /* of the data directory and the tablespaces */
    uint64_t file_count;
    bool has_postgresql_conf; /* false: it lies elsewhere, as on Debian */
    atomic_bool is_ending;    /* threads that wait for a better connection need not */
    struct outage *outage;    /* NULL: nobody is told */
};

void restore_warn(struct restore *restore, const char *format, ...) PRINTF_LIKE(2, 3);
void restore_enter_phase(struct restore *restore, const char *phase, uint64_t total_bytes);
void restore_end_phase(struct restore *restore); /* the last one; a new one ends that before it */
void restore_advance(struct restore *restore, const char *item, uint64_t bytes);
/* FAILED, ECANCELED when the caller wants it to end. */
bool restore_may_go_on(const struct restore *restore, struct error *err) NODISCARD;
unsigned restore_jobs(const struct restore *restore);

/*
 * patience.c: connections break, over a network more than once in a large restore. Every request here may be repeated,
 * so one that failed is asked again over another connection, until nothing has come for the connector's patience.
 */
struct patience {
    int64_t since; /* clock_monotonic() of the first failure since something came */
    unsigned failures;
};
/* After a failure: is another attempt worth it? Waits before it, longer each time. */
bool patience_allows(struct patience *patience, const struct connector *connector, const struct error *failure);
/* Something came. */
void patience_renew(struct patience *patience);
/* A connection that breaks when a gateway has been silent for too long. */
bool connector_open(const struct connector *connector, struct control_stream **ret_stream, struct error *err) NODISCARD;

void connector_limit_silence(const struct connector *connector, struct control_stream *stream);

/* outage.c: one message when the gateway is away, whichever thread finds it, and one when it is there again. */
struct outage {
    pthread_mutex_t mutex;
    int64_t last_came; /* clock_monotonic() */
    int64_t told_at;   /* the same; 0: nothing is amiss, or nobody was told */
};
/* After an attempt that failed, when another one follows. */
void outage_goes_on(const struct restore *restore, const struct patience *patience, const struct error *failure);
/* Something came. Only a connection opened since an outage was told shows that it is over: others may not have broken
 * yet. */
void outage_ends(const struct restore *restore, int64_t opened_at);

/* restore_plan.c */
bool restore_plan_ask(struct restore *restore, struct error *err) NODISCARD;
void restore_plan_done(struct restore_plan *plan);
const struct plan_file *restore_plan_file(const struct restore_plan *plan, const char *name);

/* restore.c */
/* The index, with what makes it a backup. */
bool restore_read_index(struct restore *restore, struct error *err) NODISCARD;

/* session_read.c: the `read` request. Begin, the bytes with control_receive_bytes(), end. */
struct read_range {
    const char *server, *backup, *file;
    uint64_t offset, length;
};
bool session_read_begin(struct control_stream *stream, const struct read_range *range, struct error *err) NODISCARD;
bool session_read_end(struct control_stream *stream, struct error *err) NODISCARD;
/* A whole file of the backup in pieces, its size and SHA-256 compared with the metadata. */
typedef bool bytes_function(void *context, const void *bytes, size_t size, struct error *err);
bool session_read_file(struct restore *restore, const char *name, bytes_function *sink, void *context,
                       struct error *err) NODISCARD;

/* places.c: where everything goes, and every refusal before the first byte */
bool restore_choose_places(struct restore *restore, struct error *err) NODISCARD;
void restore_places_done(struct restore *restore);
/* room.c */
bool restore_check_room(struct restore *restore, struct error *err) NODISCARD;

/* tree.c: names below a folder, never leaving it and never following a link */
struct tree {
    const struct restore_place *place;
    char *parent_path; /* of parent_fd; "" is the place itself */
    int parent_fd;
};
struct tree tree_of(const struct restore_place *place);
void tree_done(struct tree *tree);
bool tree_make_folder(struct tree *tree, const char *path, mode_t mode, struct error *err) NODISCARD;
bool tree_create_file(struct tree *tree, const char *path, mode_t mode, int *ret_fd, struct error *err) NODISCARD;
/* -1 and errno. */
int tree_open(const struct restore_place *place, const char *path, int flags, mode_t mode);

/* member_stream.c: frame by frame, the members of each archive, one after the other */
struct member_sink {
    bool (*archive)(void *context, const char *archive, struct error *err); /* another one begins */
    bool (*begin)(void *context, const struct index_member *member, struct error *err);
    bool (*data)(void *context, const struct index_member *member, uint64_t offset, const void *bytes, size_t size,
                 struct error *err);
    bool (*end)(void *context, const struct index_member *member, struct error *err);
    void *context;
};
struct member_stream;
/* What is passed here outlives it. */
struct member_stream *member_stream_new(const struct index *index, const char *backup,
                                        const struct member_sink *sink) NEVER_NULL;
bool member_stream_take(struct member_stream *stream, const struct index_frame *frame, const void *plain,
                        struct error *err) NODISCARD;
/* Every member of every archive has passed. */
bool member_stream_finish(const struct member_stream *stream, struct error *err) NODISCARD;
void member_stream_free(struct member_stream *stream);
/* INTEGRITY: index and archive do not fit. False. */
bool member_stream_fail(const char *backup, const char *archive, struct error *err);

/* writer.c: the plain stream of each archive becomes folders and files. A frame_sink's functions: */
struct writer;
struct writer *writer_new(struct restore *restore) NEVER_NULL;
bool writer_take(void *writer, const struct index_frame *frame, const void *plain, struct error *err) NODISCARD;
/* Every member of every archive has been written. */
bool writer_finish(void *writer, struct error *err) NODISCARD;
void writer_free(struct writer *writer);

/* fetcher.c: what a thread of the pool has: a connection of its own, and a decoder */
struct fetcher {
    struct control_stream *stream;
    int64_t opened_at; /* the stream; clock_monotonic() */
    struct frame_decoder *decoder;
    uint8_t *stored;
    size_t capacity;
    struct patience patience;
};
bool fetcher_begin(void *shared_restore, unsigned number, void **ret_fetcher, struct error *err) NODISCARD;
void fetcher_end(void *shared_restore, void *worker);
/* `attempt`, and again over a new connection when one broke. It renews the patience whenever it got on. */
typedef bool fetcher_attempt(void *context, struct fetcher *fetcher, struct error *err);
bool fetcher_try(const struct restore *restore, struct fetcher *fetcher, fetcher_attempt *attempt, void *context,
                 struct error *err) NODISCARD;

/* copy.c: every frame of the backup, checked, in the order of the index */
struct frame_sink {
    bool (*take)(void *context, const struct index_frame *frame, const void *plain, struct error *err);
    bool (*finish)(void *context, struct error *err);
    void *context;
};
bool restore_copy(struct restore *restore, const struct frame_sink *sink, struct error *err) NODISCARD;

/* sync.c, wal_files.c */
bool restore_fetch_wal(struct restore *restore, struct error *err) NODISCARD;
bool restore_sync(struct restore *restore, struct error *err) NODISCARD;

/* wal_fetch.c: one WAL file of a session */
enum wal_fetched_kind {
    WAL_FETCHED_NOTHING,    /* it is not held */
    WAL_FETCHED_UNFINISHED, /* the newest segment, completed with zeros: there may be more of it by now */
    WAL_FETCHED_WHOLE,      /* a segment that never changes again */
    WAL_FETCHED_HISTORY
};
struct wal_fetched {
    enum wal_fetched_kind kind;
    uint64_t length;
};
struct wal_fetch {
    const char *server, *file, *system_id; /* system_id may be NULL */
    const char *path;
    mode_t mode;
    bool is_durable;
    bool is_to_target;                        /* the unfinished segment before a gap too */
    volatile sig_atomic_t *is_temporary_ours; /* while "<path>.tmp" is to go with this process; may be NULL */
};
/* Under `path`, by a temporary name; absent on failure. */
bool wal_fetch(struct control_stream *stream, const struct wal_fetch *fetch, struct wal_fetched *ret_fetched,
               struct error *err) NODISCARD;
/* Into the empty file `fd`, and only a whole segment: after any other answer the stream is of no more use. */
bool wal_fetch_whole(struct control_stream *stream, const struct wal_fetch *fetch, int fd,
                     struct wal_fetched *ret_fetched, struct error *err) NODISCARD;
/* Into the empty file `fd`, whatever it is. */
bool wal_fetch_into(struct control_stream *stream, const struct wal_fetch *fetch, int fd,
                    struct wal_fetched *ret_fetched, struct error *err) NODISCARD;

/* inflate.c: a zstd stream in pieces */
struct inflater;
struct inflater *inflater_new(bytes_function *sink, void *context) NEVER_NULL;
bool inflater_feed(struct inflater *inflater, const void *bytes, size_t size, struct error *err) NODISCARD;
/* It ended at the end of a frame. */
bool inflater_finish(struct inflater *inflater, struct error *err) NODISCARD;
void inflater_free(struct inflater *inflater);
static inline void scoped_inflater(struct inflater **inflater)
{
    inflater_free(*inflater);
}

/* ---- what PostgreSQL reads when it starts ---- */

/* recovery_conf.c: postgresql.auto.conf */
struct conf_setting {
    const char *name;
    char *value; /* plain; quoted when written */
};
/* Copies `old_text` without the settings of an earlier recovery and appends `settings`. Pure. */
bool recovery_conf_rewrite(const char *old_text, size_t size, const char *comment, const struct conf_setting *settings,
                           struct buffer *ret_text, struct error *err) NODISCARD;
/* The last value of `name` in the text of a configuration file; false when it does not set it. */
bool recovery_conf_find(const char *text, size_t size, const char *name, char *ret_value, size_t value_size);

/* recovery_settings.c: which settings this restore needs; the last element has no name. */
struct conf_setting *recovery_settings_make(const struct restore *restore, const char *postgresql_conf,
                                            size_t size) NEVER_NULL;
void recovery_settings_free(struct conf_setting *settings);
/* Then PostgreSQL opens only when it comes by it. */
bool recovery_settings_have_target(const struct request *request);
/* Options that exclude each other or mean nothing; USAGE. Before anything is asked or made. */
bool recovery_settings_check(const struct restore_options *options, struct error *err) NODISCARD;
/* primary_conninfo of a standby; malloc'd. */
char *recovery_conninfo(const struct server_config *server) NEVER_NULL;

/* advice.c: warnings about what the restored configuration will do on this host */
void restore_advise(struct restore *restore, const struct buffer *postgresql_conf, const struct buffer *auto_conf);

/* tablespace_map.c: the server's map with the paths of `places`. Pure. */
bool tablespace_map_rewrite(const char *text, size_t size, const struct restore_place *places, size_t count,
                            struct buffer *ret_text, struct error *err) NODISCARD;

/* quoting.c; all malloc'd */
char *quote_for_conf(const char *text) NEVER_NULL;     /* a value of postgresql.conf */
char *quote_for_conninfo(const char *text) NEVER_NULL; /* a value of a connection string */
char *quote_percent(const char *text) NEVER_NULL;      /* for restore_command */

/* finish.c */
bool restore_is_empty_folder(int fd);
/* The folders, empty but for the marker. */
bool restore_make_places(struct restore *restore, struct error *err) NODISCARD;
/* Early: the plan's session may have been idle for too long when a large copy is done. */
bool restore_write_manifest(struct restore *restore, struct error *err) NODISCARD;
/* Tablespace links and map, settings and signal file; then the warnings that follow from them. */
bool restore_write_recovery_files(struct restore *restore, struct error *err) NODISCARD;
/* Everything is durable: the marker goes, and pg_control comes, last of all. */
bool restore_release(struct restore *restore, struct error *err) NODISCARD;

/* report.c */
json_t *restore_result(const struct restore *restore);
/* Adds to the failure which folders were begun and how to remove them; none when nothing was written. False. */
bool restore_fail_incomplete(const struct restore *restore, struct error *err);

#endif
