#ifndef PGCOFFER_SRC_REPO_WAL_INTERNAL_H
#define PGCOFFER_SRC_REPO_WAL_INTERNAL_H

#include "pgcoffer/repo/wal_archive.h"

/* What the files of the WAL archive share: paths, the header of a compressed segment, and a reader of plain bytes. */

/* BASE/SERVER/SYSTEMID/wal[/name] */
char *wal_path(const struct wal_archive *archive, const char *name);
/* .../wal/TTTTTTTT/LLLLLLLL */
char *wal_folder_path(const struct wal_archive *archive, struct wal_segment segment);
/* .../SEGMENT and a suffix: "", ".zst", ".partial" */
char *wal_segment_path(const struct wal_archive *archive, struct wal_segment segment, const char *suffix);
/* The folders of a segment to be written, and wal/segment_size.json. */
bool wal_prepare_folders(const struct wal_archive *archive, struct wal_segment segment, struct error *err) NODISCARD;
/* SEGMENT or SEGMENT.zst is there. */
bool wal_is_finished(const struct wal_archive *archive, struct wal_segment segment);
/* Renames to "PATH.suspect-1", or "-2", whose former file gives way: nobody reads it again. */
bool wal_set_aside(const char *path, char **ret_new_path, struct error *err) NODISCARD;
/*
 * After a failed fdatasync, of which *err tells: set aside, and where there was no room for it, removed. The detail of
 * *err says what was done.
 */
void wal_give_up_file(const char *path, struct error *err);
/* INTEGRITY with errnum EILSEQ. */
bool wal_fail_difference(const struct wal_archive *archive, struct wal_segment segment, uint32_t offset,
                         struct error *err);

/*
 * The header every SEG.zst begins with: known to the last bit, so that a flipped one is seen even where zstd itself
 * would not mind (the window's size). The window is fixed for that and for the reader's memory.
 */
#define WAL_WINDOW_LOG      21
#define WAL_ZST_HEADER_MOST 10
size_t wal_zst_header(struct wal_segment_size size, uint8_t ret_header[WAL_ZST_HEADER_MOST]);

/* Plain bytes of a segment from its first byte, whichever state it is in, piece by piece. */
struct wal_reader;
/* NULL in *ret_reader when the segment is missing. */
bool wal_reader_open(const struct wal_archive *archive, struct wal_segment segment, struct wal_reader **ret_reader,
                     struct error *err) NODISCARD;
/* At most `room` bytes; 0 at the end, and then everything has been checked. A partial one ends where it ends. */
bool wal_reader_next(struct wal_reader *reader, void *bytes, size_t room, size_t *ret_size,
                     struct error *err) NODISCARD;
/* Goes forward to `offset` of the segment, at most to its end. */
bool wal_reader_skip(struct wal_reader *reader, uint32_t offset, struct error *err) NODISCARD;
const struct wal_file *wal_reader_file(const struct wal_reader *reader);
void wal_reader_free(struct wal_reader *reader);
static inline void scoped_wal_reader(struct wal_reader **reader)
{
    wal_reader_free(*reader);
}

/* Which segments have a file, each once, sorted by timeline and number; no look at the files themselves. */
struct wal_names {
    struct wal_segment *segments;
    size_t count;
};
bool wal_names_read(const struct wal_archive *archive, struct wal_names *ret_names, struct error *err) NODISCARD;
void wal_names_done(struct wal_names *names);
static inline void scoped_wal_names(struct wal_names *names)
{
    wal_names_done(names);
}
/* Adds to the sorted `files` what reading the folders has missed because it moved on meanwhile. */
bool wal_files_look_again(const struct wal_archive *archive, struct wal_files *files, struct error *err) NODISCARD;
/* Folders in wal/ named by eight hex digits, and in those. */
bool wal_is_folder_name(const char *name);

/* Both SEG and SEG.zst are there: a sound SEG.zst stays, else SEG. */
bool wal_settle_pair(const struct wal_archive *archive, struct wal_segment segment, struct error *err) NODISCARD;

#endif
