#ifndef PGCOFFER_SRC_JOBS_FILE_WATCH_INTERNAL_H
#define PGCOFFER_SRC_JOBS_FILE_WATCH_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Tells that one of a few files was replaced, by any of the ways that renewals take: a new file renamed into place, a
 * link that points elsewhere (of the file or of a folder above it), writing in place, a folder that is exchanged, a
 * change of mode or owner. It waits for events of the kernel and costs nothing while nothing happens; where those
 * cannot be had (a folder that may not be listed, a file system of the network) it looks every 30 seconds.
 *
 * A key and its certificate are two files: a change is told once nothing has changed for a second. Whether the content
 * is another one is not asked here. Times are those of clock_monotonic().
 */
#define FILE_WATCH_MOST         4
#define FILE_WATCH_SETTLED      INT64_C(1000000)
#define FILE_WATCH_UNSETTLED    INT64_C(30000000) /* files that never come to rest are told about all the same */
#define FILE_WATCH_BLIND_LOOKS  INT64_C(30000000)
#define FILE_WATCH_EVENTS_APART INT64_C(200000) /* a folder may be busy with other files */

struct file_watch;

/* Paths are absolute; an empty one is passed over. Copies them. */
struct file_watch *file_watch_new(const char *const *paths, size_t count, int64_t now);
void file_watch_free(struct file_watch *watch); /* NULL is fine */
/* True once for each change, when it has settled. */
bool file_watch_turn(struct file_watch *watch, int64_t now);
/* For poll(2): readable when file_watch_turn() has something to see; -1 while it rests, and where there are no events.
 */
int file_watch_descriptor(const struct file_watch *watch, int64_t now);
/* When to call file_watch_turn() even without an event, or INT64_MAX. */
int64_t file_watch_due(const struct file_watch *watch);
/* The next turn looks at the files, whatever the kernel said. */
void file_watch_look_now(struct file_watch *watch);

#endif
