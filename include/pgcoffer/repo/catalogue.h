#ifndef PGCOFFER_REPO_CATALOGUE_H
#define PGCOFFER_REPO_CATALOGUE_H

#include "pgcoffer/base/file_lock.h"
#include "pgcoffer/repo/backup_meta.h"

/* What backups a server has. Reading only, safe beside a running daemon. */
struct catalogue_entry {
    struct backup_meta *meta; /* NULL when unreadable */
    struct backup_id id;
    struct system_id system;
    struct error error; /* why it is unreadable: listed, never silently left out */
    bool is_suspect;    /* its last verification found it damaged */
};

struct catalogue {
    struct catalogue_entry *entries; /* oldest first, over all system identifiers */
    size_t count;
    struct system_id current; /* the one server.json names, else that of the newest complete backup; "" when neither */
};

/* Complete, damaged and (state COPIED) waiting backups; folders without metadata are not listed. A server
 * without a folder gives an empty catalogue. */
bool catalogue_read(const struct repo *repo, const char *server, struct catalogue *ret_catalogue,
                    struct error *err) NODISCARD;
void catalogue_done(struct catalogue *catalogue);
/* Complete, and not known to be damaged since: what may be counted on. */
bool catalogue_is_usable(const struct catalogue_entry *entry);
/* Is that the cluster of `current`? */
bool catalogue_is_current(const struct catalogue *catalogue, const struct system_id *system);
/* An id, "latest", "oldest" (both: usable ones of the current system identifier only) or a label (the newest
 * with it). Unknown: USAGE, naming what there is. Unreadable: INTEGRITY. Borrowed. */
bool catalogue_find(const struct catalogue *catalogue, const char *name, const struct catalogue_entry **ret_entry,
                    struct error *err) NODISCARD;

/* The same, but an id names its backup even when that is unreadable: damaged metadata must not make it undeletable. */
bool catalogue_find_any(const struct catalogue *catalogue, const char *name, const struct catalogue_entry **ret_entry,
                        struct error *err) NODISCARD;

/* Keeps a backup from being deleted while it is read. */
bool catalogue_lock_for_reading(const struct repo *repo, const char *server, const struct catalogue_entry *entry,
                                struct file_lock *ret_lock, struct error *err) NODISCARD;
/* FAILED, with the pin's words, when a pin holds the backup; one that cannot be read holds, too. */
bool catalogue_check_not_pinned(const struct repo *repo, const char *server, const struct catalogue_entry *entry,
                                struct error *err) NODISCARD;
/*
 * Renames the backup away, then removes it; BUSY when somebody reads it, FAILED when a pin holds it (looked at under
 * the lock, so that none is set meanwhile), unless `even_pinned`.
 */
bool catalogue_delete(const struct repo *repo, const char *server, const struct catalogue_entry *entry,
                      bool even_pinned, uint64_t *ret_freed_bytes, struct error *err) NODISCARD;
/* At start, with backup.lock held: removes folders that have neither backup.json nor copied.json, half deleted ones and
 * temporary files below them. Backups that only wait for WAL are left; *ret_removed counts what went. */
bool catalogue_sweep(const struct repo *repo, const char *server, unsigned *ret_removed, struct error *err) NODISCARD;
/* The same for temporary files in BASE/SERVER itself. The receiver writes there, so wal.lock must be held. */
bool catalogue_sweep_server(const struct repo *repo, const char *server, unsigned *ret_removed,
                            struct error *err) NODISCARD;
/* Removes what is half deleted, when nobody is deleting it now; at any time. *ret_bytes counts what was freed. */
bool catalogue_sweep_deleted(const struct repo *repo, const char *server, uint64_t *ret_bytes,
                             struct error *err) NODISCARD;

#endif
