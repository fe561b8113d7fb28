#ifndef PGCOFFER_REPO_INDEX_H
#define PGCOFFER_REPO_INDEX_H

#include <stdio.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/error.h"
#include "pgcoffer/base/json.h"

/*
 * index.jsonl.zst: what lies where in a backup's archives. One JSON object a line, each archive's
 * frames and members in the order of the tar stream, frames and members interleaved:
 *
 *   {"format":1}                                                        first line
 *   {"frame":"base","offset":0,"length":N,"at":0,"stored":N,"sha256":"..."}          plus "backup":ID when
 *                                                                         it lies in another backup's archive
 *   {"member":"base","path":"PG_VERSION","type":"file","mode":384,"size":3,"data":512,"checksum":"..."}
 *   {"end":true,"frames":N,"members":N}                                 last line
 *
 * "offset" and "data" count bytes of the plain tar stream of that archive; "at" and "stored" bytes of
 * the stored archive. A path that is not UTF-8 is given as "path_hex". Directories have size 0.
 */
#define INDEX_MOST_LINE (16 * 1024)

enum member_type { MEMBER_FILE, MEMBER_DIRECTORY };

struct index_frame {
    char archive[16]; /* "base" or a tablespace's oid: "16389" */
    char backup[24];  /* "" : this backup */
    uint64_t offset;
    uint32_t length;
    uint64_t stored_at;
    uint32_t stored_length;
    char sha256[65]; /* of the plain content */
};

struct index_member {
    char archive[16];
    char *path; /* relative, raw bytes, no leading "./" and no trailing '/' */
    enum member_type type;
    uint32_t mode; /* permission bits */
    uint64_t size;
    uint64_t data_offset;
    char checksum[129]; /* hex as in the server's manifest; "" without an algorithm */
};

/* Lines as they are to be compressed: appended to `lines`. */
bool index_write_begin(struct buffer *lines, struct error *err) NODISCARD;
bool index_write_frame(struct buffer *lines, const struct index_frame *frame, struct error *err) NODISCARD;
bool index_write_member(struct buffer *lines, const struct index_member *member, struct error *err) NODISCARD;
bool index_write_end(struct buffer *lines, uint64_t frames, uint64_t members, struct error *err) NODISCARD;

/*
 * A push reader: feed it plain bytes in any pieces; it calls back for every frame and member and holds
 * one line at a time. It enforces the rules: format known, frames of an archive contiguous from 0,
 * data inside frames already known to come, safe paths, the end line with the right counts. INTEGRITY.
 */
struct index_handler {
    bool (*frame)(void *context, const struct index_frame *frame, struct error *err);
    bool (*member)(void *context, const struct index_member *member, struct error *err); /* path lives for the call */
    void *context;
};
struct index_reader;
struct index_reader *index_reader_new(const struct index_handler *handler);
bool index_reader_feed(struct index_reader *reader, const void *bytes, size_t size, struct error *err) NODISCARD;
bool index_reader_finish(struct index_reader *reader, struct error *err) NODISCARD; /* the end line was seen */
void index_reader_free(struct index_reader *reader);

/* The whole index in memory, as restore and verify use it: members sorted as in the stream. */
struct index {
    struct index_frame *frames;
    size_t frame_count;
    struct index_member *members;
    size_t member_count;
};
/* Reads the compressed bytes of index.jsonl.zst. */
bool index_read_compressed(const void *stored, size_t size, struct index *ret_index, struct error *err) NODISCARD;
void index_done(struct index *index);

#endif
