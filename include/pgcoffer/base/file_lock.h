#ifndef PGCOFFER_BASE_FILE_LOCK_H
#define PGCOFFER_BASE_FILE_LOCK_H

#include "pgcoffer/base/error.h"

/*
 * flock(2) on a file made for the purpose. The lock goes with the process that
 * holds it, however it ends, so there is nothing stale to clean up. The holder
 * of an exclusive lock writes one line about itself ("pid 12, backup 2026...")
 * into the file; it serves messages only.
 */
struct file_lock {
    int fd; /* -1: not held */
};

#define FILE_LOCK_NONE ((struct file_lock){.fd = -1})

/* Never waits: an ERROR_BUSY that quotes the holder's line when somebody has it. `holder` may be NULL. */
bool file_lock_exclusive(const char *path, const char *holder, struct file_lock *ret_lock, struct error *err) NODISCARD;
/* For a lock that nobody has for longer than it takes to write a small file: waits for it, BUSY after seconds. It
 * leaves no line about the holder. */
bool file_lock_await(const char *path, struct file_lock *ret_lock, struct error *err) NODISCARD;
/* `path` must exist; opened for reading only. */
bool file_lock_shared(const char *path, struct file_lock *ret_lock, struct error *err) NODISCARD;
void file_lock_done(struct file_lock *lock); /* releases; fine when not held */

#endif
