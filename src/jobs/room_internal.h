#ifndef PGCOFFER_SRC_JOBS_ROOM_INTERNAL_H
#define PGCOFFER_SRC_JOBS_ROOM_INTERNAL_H

#include "pgcoffer/base/clock.h"
#include "pgcoffer/repo/layout.h"
#include "pgcoffer/wal/segment.h"

/*
 * The room of the repository's file system, and who may use it. From the last byte upwards:
 *
 *   ROOM_MARGIN_BYTES   names, folders, histories and metadata: what is whole can always be finished
 *   one compression     the temporary file of one segment, for compressing is what makes room again
 *   one segment         the next one; without it receiving pauses
 *   wal_reserve         all of the above and more WAL; a base backup ends before it touches this
 */
#define ROOM_MARGIN_BYTES ((uint64_t)1 << 20)
#define ROOM_MARGIN_FILES 16

/* Where the WAL and backups of the server lie, as far as it exists: its folder may be a link to another file system.
 * malloc'd. */
char *room_folder(const struct repo *repo, const char *server);

struct room {
    uint64_t free_bytes; /* for those who are not root */
    uint64_t free_files; /* UINT64_MAX where the file system does not count them */
};
bool room_read(const char *path, struct room *ret_room, struct error *err) NODISCARD;

/* "/srv" (/dev/sdb1, ext4): where the file system that holds `path` is mounted, and what it is. */
#define ROOM_PLACE_SIZE 256
struct room_disk {
    char place[ROOM_PLACE_SIZE]; /* the mount point; `path` itself where the kernel does not tell */
    char name[2 * ROOM_PLACE_SIZE];
};
void room_find_disk(const char *path, struct room_disk *ret_disk);

/* Is this a full disk, full quota or a lack of inodes? */
bool room_is_short(const struct error *err);

/* ---- decisions; pure ---- */

/* The temporary file of a segment's compression at worst. */
uint64_t room_for_compression(struct wal_segment_size size);
/* Free bytes without which the segment is not begun: its own, one compression, the margin. */
uint64_t room_for_segment(struct wal_segment_size size);
/* `unfinished`: what a compression under way has written already; that much of its room is not free any more. */
bool room_has_segment(const struct room *room, struct wal_segment_size size, uint64_t unfinished);
/* How large a temporary file of a compression may become; 0: none is begun. */
uint64_t room_budget(const struct room *room, struct wal_segment_size size);
/* May a base backup write so many bytes now? */
bool room_spares(const struct room *room, uint64_t reserve, uint64_t bytes);

#endif
