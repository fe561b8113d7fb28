#ifndef PGCOFFER_JOBS_SERVE_SESSION_INTERNAL_H
#define PGCOFFER_JOBS_SERVE_SESSION_INTERNAL_H

#include "jobs/serve/remote_log_internal.h"
#include "pgcoffer/base/file_lock.h"
#include "pgcoffer/jobs/jobs.h"
#include "pgcoffer/repo/catalogue.h"
#include "pgcoffer/repo/wal_archive.h"

/* Bulk bytes of one answer; a client that wants more asks again. */
#define SESSION_MOST_BYTES ((uint64_t)64 << 20)
/* Backups one session holds locked at a time. */
#define SESSION_MOST_BACKUPS 64

/* A backup the session reads: locked against deletion until the session ends. */
struct held_backup {
    char server[64];
    struct catalogue_entry entry; /* meta is owned */
    int folder;                   /* descriptor: files are opened beneath it */
    struct file_lock lock;
};

struct session {
    struct control_stream *client;
    const struct config *config;
    const struct repo *repo;
    enum right right;
    const json_t *servers; /* names the caller may see, from the start line; NULL: not told */
    bool is_bound;         /* below ADMIN: to `server`, "" when the first request named none */
    char server[64];
    struct held_backup *held[SESSION_MOST_BACKUPS];
    size_t held_count;
    struct remote_log log;
};

/* `servers` may be NULL. */
void session_begin(struct session *session, struct control_stream *client, const struct config *config,
                   const struct repo *repo, enum right right, const json_t *servers);
void session_done(struct session *session);
/* Answers until the client hangs up. False when the connection itself failed. */
bool session_run(struct session *session, const struct request *first, struct error *err) NODISCARD;

/* ---- held.c ---- */
/* The backup of that name (id, latest, label), held; an id that is held already costs nothing. */
bool held_find(struct session *session, const char *server, const char *name, const struct held_backup **ret_held,
               struct error *err) NODISCARD;
bool held_add(struct session *session, const char *server, const struct catalogue_entry *entry,
              const struct held_backup **ret_held, struct error *err) NODISCARD;
void held_free(struct held_backup *held);

/* ---- the answers: each sends its items, bytes and result, or returns an error to be sent ---- */
typedef bool session_answer(struct session *session, const struct request *request, struct error *err);
session_answer answer_list, answer_show, answer_wal_list, answer_wal_status, answer_restore, answer_read,
    answer_wal_get;

/* The archive of `system`, or of the server's current system with NULL. INTEGRITY when no WAL was ever stored. */
bool session_open_wal(const struct session *session, const char *server, const struct system_id *system,
                      struct wal_archive *ret_archive, struct error *err) NODISCARD;

static inline void scoped_catalogue(struct catalogue *catalogue)
{
    catalogue_done(catalogue);
}
static inline void scoped_wal_ranges(struct wal_ranges *ranges)
{
    wal_ranges_done(ranges);
}
static inline void scoped_wal_files(struct wal_files *files)
{
    wal_files_done(files);
}
static inline void scoped_history(struct history *history)
{
    history_done(history);
}
static inline void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

#endif
