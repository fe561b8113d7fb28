#ifndef PGCOFFER_SRC_REPO_WAL_CONTENTS_INTERNAL_H
#define PGCOFFER_SRC_REPO_WAL_CONTENTS_INTERNAL_H

#include "pgcoffer/repo/wal_contents.h"
#include "pgcoffer/repo/wal_trailer.h"

/* The note beside a segment, and what the compression tells a noter. */

#define WAL_NOTE_SUFFIX ".contents.json"

/* "000000010000000000000003.contents.json" in the folder where it belongs. */
bool wal_is_note_name(const char *name);
bool wal_note_write(const struct wal_archive *archive, struct wal_segment segment, const struct wal_noted *noted,
                    const uint8_t trailer[WAL_TRAILER_SIZE], struct error *err) NODISCARD;

/* Goes along with the compression of segments, best of consecutive ones. NULL is fine everywhere. */
struct wal_noter;
struct wal_noter *wal_noter_new(const struct wal_archive *archive) NEVER_NULL;
void wal_noter_free(struct wal_noter *noter);
void wal_noter_begin(struct wal_noter *noter, struct wal_segment segment);
void wal_noter_feed(struct wal_noter *noter, const void *bytes, size_t size);
/* The compressed segment is durable, and ends with this trailer. */
void wal_noter_end(struct wal_noter *noter, const uint8_t trailer[WAL_TRAILER_SIZE]);

#endif
