#ifndef PGCOFFER_TEST_STAGE_TAR_HARNESS_H
#define PGCOFFER_TEST_STAGE_TAR_HARNESS_H

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "pgcoffer/stage/tar_copy.h"
#include "stage/capture.h"
#include "stage/tar_builder.h"

#define MOST_SEEN 32

/* One copy: its source, its result, and what the callbacks told. */
struct copy {
    struct buffer tar;
    size_t piece;   /* 0: all at once */
    size_t fail_at; /* the source fails once this many bytes were given; 0: never */
    size_t given;
    struct capture capture;
    uint8_t *plain; /* what was stored, decompressed */
    uint64_t plain_size;
    struct tar_member members[MOST_SEEN];
    unsigned member_count;
    unsigned fail_at_member;
    struct frame_info frames[MOST_SEEN];
    unsigned frame_count;
    const char *const *tap_paths;
    struct buffer tapped; /* "path:piece" for every piece */
    enum checksum_algorithm algorithm;
    uint32_t mode_mask;
    struct error error;
};

#define COPY_NEW                                                                                                       \
    ((struct copy){.tar = BUFFER_WITH_LIMIT((size_t)64 << 20),                                                         \
                   .capture = CAPTURE_UNLIMITED,                                                                       \
                   .algorithm = CHECKSUM_CRC32C,                                                                       \
                   .mode_mask = 0700})

static inline void copy_done(struct copy *copy)
{
    buffer_done(&copy->tar);
    buffer_done(&copy->tapped);
    capture_done(&copy->capture);
    free(copy->plain);
    for (unsigned i = 0; i < copy->member_count; i++)
        free((char *)copy->members[i].path);
}

static inline bool read_tar(void *context, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    struct copy *copy = context;
    size_t left = copy->tar.used - copy->given;

    if (copy->fail_at > 0 && copy->given >= copy->fail_at)
        return error_set(err, ERROR_SERVER, "could not receive: connection lost");
    *ret_bytes = copy->tar.bytes + copy->given;
    *ret_size = copy->piece > 0 && copy->piece < left ? copy->piece : left;
    copy->given += *ret_size;
    return true;
}

static inline bool keep_member(void *context, const struct tar_member *member, struct error *err)
{
    struct copy *copy = context;

    ck_assert_uint_lt(copy->member_count, MOST_SEEN);
    copy->members[copy->member_count] = *member;
    copy->members[copy->member_count++].path = memory_copy_text(member->path);
    return copy->member_count != copy->fail_at_member || error_set(err, ERROR_FAILED, "the index is full");
}

static inline bool keep_frame(void *context, const struct frame_info *frame, struct error *err)
{
    struct copy *copy = context;

    (void)err;
    ck_assert_uint_lt(copy->frame_count, MOST_SEEN);
    copy->frames[copy->frame_count++] = *frame;
    return true;
}

static inline bool keep_data(void *context, const char *path, const void *bytes, size_t size, struct error *err)
{
    struct copy *copy = context;

    return buffer_append(&copy->tapped, path, strlen(path), err) && buffer_append(&copy->tapped, ":", 1, err) &&
           buffer_append(&copy->tapped, bytes, size, err);
}

static inline bool run_chain(struct copy *copy, struct stage *last)
{
    struct tar_copy_options options = {
        .read = read_tar,
        .member = keep_member,
        .data = copy->tap_paths != NULL ? keep_data : NULL,
        .tap_paths = copy->tap_paths,
        .context = copy,
        .algorithm = copy->algorithm,
        .mode_mask = copy->mode_mask,
    };
    struct frames_options frames_options = {
        .level = 1, .without_threads = true, .on_frame = keep_frame, .context = copy};
    struct stage *frames SCOPED(scoped_stage) = stage_frames_new(last, &frames_options);

    return stage_open(frames, "base.tar", &copy->error) &&
           tar_copy(&options, frames, &copy->plain_size, &copy->error) && stage_finish(frames, &copy->error);
}

static inline bool run(struct copy *copy)
{
    return run_chain(copy, capture_new(&copy->capture));
}

static inline void unpack(struct copy *copy)
{
    size_t size = 0;

    for (unsigned i = 0; i < copy->frame_count; i++)
        size += copy->frames[i].length;
    copy->plain = malloc(size);
    ck_assert_uint_eq(ZSTD_decompress(copy->plain, size, copy->capture.bytes.bytes, copy->capture.bytes.used), size);
}

static inline void expect_success(struct copy *copy)
{
    ck_assert_msg(run(copy), "%s", copy->error.message);
    unpack(copy);
}

static inline void expect_refusal(struct copy *copy, const char *name, const char *words)
{
    ck_assert_msg(!run(copy), "accepted: %s", words);
    ck_assert_int_eq(copy->error.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(copy->error.message, name) != NULL, "%s", copy->error.message);
    ck_assert_msg(strstr(copy->error.message, words) != NULL, "%s", copy->error.message);
    ck_assert(!copy->capture.is_finished);
}

static inline void add_file(struct copy *copy, const char *name, const char *text)
{
    tar_add(&copy->tar, (struct tar_entry){.name = name, .type = '0', .size = strlen(text), .data = text});
}

static inline void add_directory(struct copy *copy, const char *name)
{
    tar_add(&copy->tar, (struct tar_entry){.name = name, .type = '5', .mode = 0700});
}

/* A little of everything that a server sends. */
static inline void add_cluster(struct copy *copy)
{
    add_file(copy, "backup_label", "START WAL LOCATION: 0/2000028\n");
    add_directory(copy, "global/");
    add_file(copy, "global/1262", "123456789");
    add_file(copy, "empty", "");
    add_directory(copy, "./pg_wal/archive_status/");
    add_file(copy, "global/pg_control", "control");
    tar_end(&copy->tar);
}

#endif
