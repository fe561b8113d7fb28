#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "pgcoffer/stage/frame.h"
#include "pgcoffer/stage/stages.h"
#include "stage/capture.h"
#include "support/suite.h"

#define MOST_SEEN 64

/* What on_frame() told, to be compared with the bytes that were captured. */
struct seen {
    struct frame_info frames[MOST_SEEN];
    unsigned count;
    unsigned fail_at;
};

static bool see_frame(void *context, const struct frame_info *frame, struct error *err)
{
    struct seen *seen = context;

    ck_assert_uint_lt(seen->count, MOST_SEEN);
    seen->frames[seen->count++] = *frame;
    return seen->count != seen->fail_at || error_set(err, ERROR_FAILED, "the index is full");
}

static uint32_t little_endian(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* The published layout of the seek table, read from the end of the file as its readers do. */
static void check_seek_table(const struct capture *capture, const struct seen *seen)
{
    const uint8_t *bytes = capture->bytes.bytes;
    size_t size = capture->bytes.used;

    ck_assert_uint_ge(size, 17);
    ck_assert_uint_eq(little_endian(bytes + size - 4), 0x8F92EAB1);
    ck_assert_uint_eq(bytes[size - 5], 0x80);
    ck_assert_uint_eq(little_endian(bytes + size - 9), seen->count);
    size_t table_size = 8 + 12 * (size_t)seen->count + 9;
    const uint8_t *table = bytes + size - table_size;
    ck_assert_uint_eq(little_endian(table), 0x184D2A5E);
    ck_assert_uint_eq(little_endian(table + 4), table_size - 8);

    uint64_t stored_at = 0;
    for (unsigned i = 0; i < seen->count; i++) {
        const uint8_t *entry = table + 8 + 12 * (size_t)i;
        const struct frame_info *frame = &seen->frames[i];
        ck_assert_uint_eq(frame->stored_at, stored_at);
        ck_assert_uint_eq(little_endian(entry), frame->stored_length);
        ck_assert_uint_eq(little_endian(entry + 4), frame->length);
        stored_at += frame->stored_length;
        ck_assert_uint_eq(little_endian(entry + 8), little_endian(bytes + stored_at - 4));
    }
    ck_assert_uint_eq(stored_at + table_size, size);
}

static void check_frames(const struct capture *capture, const struct seen *seen, const uint8_t *plain, size_t size)
{
    struct frame_decoder *decoder = frame_decoder_new();
    uint8_t *restored SCOPED(scoped_free) = malloc(FRAME_SIZE);
    uint64_t offset = 0;

    for (unsigned i = 0; i < seen->count; i++) {
        const struct frame_info *frame = &seen->frames[i];
        ck_assert_uint_eq(frame->offset, offset);
        ck_assert_uint_gt(frame->length, 0);
        ck_assert_uint_le(frame->length, FRAME_SIZE);
        ck_assert_works(frame_decode(decoder, capture->bytes.bytes + frame->stored_at, frame->stored_length, restored,
                                     frame->length, frame->sha256, err));
        ck_assert(memcmp(restored, plain + offset, frame->length) == 0);
        offset += frame->length;
    }
    ck_assert_uint_eq(offset, size);
    frame_decoder_free(decoder);
}

static struct stage *frames_new(struct capture *capture, struct seen *seen, unsigned workers)
{
    struct frames_options options = {
        .level = 1,
        .workers = workers,
        .without_threads = workers == 0,
        .on_frame = see_frame,
        .context = seen,
    };
    return stage_frames_new(capture_new(capture), &options);
}

static const unsigned worker_counts[] = {0, 1, 2, 8};
#define WORKER_COUNTS (int)(sizeof worker_counts / sizeof worker_counts[0])

START_TEST(frames_hold_the_stream_in_order_whatever_its_size_and_the_number_of_workers)
{
    static const size_t sizes[] = {
        1, 7, 4096, FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, 3 * (size_t)FRAME_SIZE, 21 * (size_t)FRAME_SIZE / 2};

    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
        struct seen seen = {.count = 0};
        struct stage *frames SCOPED(scoped_stage) = frames_new(&capture, &seen, worker_counts[_i]);
        uint8_t *plain SCOPED(scoped_free) = make_bytes(sizes[s], 5);

        ck_assert_works(send_object(frames, plain, sizes[s], 30001, err));
        ck_assert(capture.is_finished);
        ck_assert_str_eq(capture.object_name, "base.tar.zst");
        ck_assert_uint_eq(seen.count, (sizes[s] + FRAME_SIZE - 1) / FRAME_SIZE);
        check_frames(&capture, &seen, plain, sizes[s]);
        check_seek_table(&capture, &seen);
    }
}
END_TEST

START_TEST(the_piece_size_changes_nothing_in_the_result)
{
    static const size_t pieces[] = {7, 4096, FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, 0};
    size_t size = 3 * (size_t)FRAME_SIZE + 12345;
    uint8_t *plain SCOPED(scoped_free) = make_bytes(size, 9);
    struct capture first SCOPED(capture_done) = CAPTURE_UNLIMITED;

    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
        struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
        struct seen seen = {.count = 0};
        struct stage *frames SCOPED(scoped_stage) = frames_new(&capture, &seen, 2);

        ck_assert_works(send_object(frames, plain, size, pieces[p], err));
        if (p == 0)
            ck_assert_works(buffer_append(&first.bytes, capture.bytes.bytes, capture.bytes.used, err));
        ck_assert_uint_eq(capture.bytes.used, first.bytes.used);
        ck_assert(memcmp(capture.bytes.bytes, first.bytes.bytes, first.bytes.used) == 0);
    }
}
END_TEST

START_TEST(a_cut_starts_a_new_frame_and_an_idle_one_makes_none)
{
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
    struct seen seen = {.count = 0};
    struct stage *frames SCOPED(scoped_stage) = frames_new(&capture, &seen, worker_counts[_i]);
    static const size_t parts[] = {1, 100, FRAME_SIZE, FRAME_SIZE + 5, 7};
    static const size_t lengths[] = {1, 100, FRAME_SIZE, FRAME_SIZE, 5, 7};
    size_t size = 0;

    for (size_t i = 0; i < 5; i++)
        size += parts[i];
    uint8_t *plain SCOPED(scoped_free) = make_bytes(size, 11);

    ck_assert_works(stage_open(frames, "x", err));
    for (size_t i = 0, at = 0; i < 5; at += parts[i++]) {
        ck_assert_works(stage_frames_cut(frames, err));
        ck_assert_works(write_in_pieces(frames, plain + at, parts[i], 4096, err));
        ck_assert_works(stage_frames_cut(frames, err));
    }
    ck_assert_works(stage_finish(frames, err));
    ck_assert_uint_eq(seen.count, 6);
    for (unsigned i = 0; i < 6; i++)
        ck_assert_uint_eq(seen.frames[i].length, lengths[i]);
    check_frames(&capture, &seen, plain, size);
    check_seek_table(&capture, &seen);
}
END_TEST

START_TEST(an_empty_stream_is_a_seek_table_without_frames)
{
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
    struct seen seen = {.count = 0};
    struct stage *frames SCOPED(scoped_stage) = frames_new(&capture, &seen, worker_counts[_i]);
    char nothing[1];

    ck_assert_works(send_object(frames, "", 0, 0, err));
    ck_assert_uint_eq(seen.count, 0);
    check_seek_table(&capture, &seen);
    ck_assert_uint_eq(ZSTD_decompress(nothing, 1, capture.bytes.bytes, capture.bytes.used), 0);
}
END_TEST

START_TEST(a_failure_of_any_write_ends_the_stream_and_nothing_hangs_or_is_lost)
{
    size_t size = 9 * (size_t)FRAME_SIZE / 2;
    uint8_t *plain SCOPED(scoped_free) = make_bytes(size, 13);
    unsigned fail_at = 0;

    /* Five frames and the seek table: the seventh write never comes. */
    for (bool is_finished = false; !is_finished;) {
        struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
        struct seen seen = {.count = 0};
        struct stage *frames SCOPED(scoped_stage) = frames_new(&capture, &seen, worker_counts[_i]);
        struct error err;

        capture.fail_at_write = ++fail_at;
        is_finished = send_object(frames, plain, size, 100000, &err);
        ck_assert_int_eq(is_finished, capture.is_finished);
        if (!is_finished) {
            ck_assert_str_eq(err.message, "no space left");
            ck_assert_int_eq(err.kind, ERROR_STORAGE);
            ck_assert_int_eq(frames->state, STAGE_FAILED);
            ck_assert_uint_eq(seen.count, fail_at <= 5 ? fail_at - 1 : 5);
        }
    }
    ck_assert_uint_eq(fail_at, 7);
}
END_TEST

START_TEST(a_failure_at_open_finish_or_in_the_callback_is_handed_out)
{
    size_t size = 3 * (size_t)FRAME_SIZE;
    uint8_t *plain SCOPED(scoped_free) = make_bytes(size, 17);
    static const char *const expected[] = {"no place", "no fsync", "the index is full"};

    for (unsigned i = 0; i < 3; i++) {
        struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
        struct seen seen = {.fail_at = i == 2 ? 2 : 0};
        struct stage *frames SCOPED(scoped_stage) = frames_new(&capture, &seen, worker_counts[_i]);
        struct error err;

        capture.fail_at_open = i == 0;
        capture.fail_at_finish = i == 1;
        ck_assert(!send_object(frames, plain, size, 0, &err));
        ck_assert_str_eq(err.message, expected[i]);
    }
}
END_TEST

START_TEST(a_cut_that_fails_marks_the_stage)
{
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
    struct seen seen = {.count = 0};
    struct stage *frames SCOPED(scoped_stage) = frames_new(&capture, &seen, 0);
    struct error err;

    capture.fail_at_write = 1;
    ck_assert(stage_open(frames, "x", &err));
    ck_assert(stage_write(frames, "x", 1, &err));
    ck_assert(!stage_frames_cut(frames, &err));
    ck_assert_int_eq(frames->state, STAGE_FAILED);
}
END_TEST

START_TEST(a_stream_given_up_half_way_frees_everything)
{
    size_t size = 5 * (size_t)FRAME_SIZE + 100;
    uint8_t *plain SCOPED(scoped_free) = make_bytes(size, 19);
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
    struct seen seen = {.count = 0};
    struct stage *frames = frames_new(&capture, &seen, worker_counts[_i]);

    ck_assert_works(stage_open(frames, "x", err));
    ck_assert_works(stage_write(frames, plain, size, err));
    stage_free(frames);
    ck_assert(!capture.is_finished);
}
END_TEST

static bool has_program(const char *name)
{
    char command[128];

    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", name);
    return system(command) == 0;
}

static bool run_in(const char *directory, const char *command)
{
    char line[512];

    snprintf(line, sizeof line, "cd %s && { %s; }", directory, command);
    return system(line) == 0;
}

START_TEST(the_zstd_program_accepts_the_archive)
{
    char directory[] = "/tmp/frames-test-XXXXXX";
    static const size_t sizes[] = {0, 1, 5 * (size_t)FRAME_SIZE / 2};

    if (!has_program("zstd"))
        return;
    ck_assert_ptr_nonnull(mkdtemp(directory));
    for (size_t s = 0; s < 3; s++) {
        uint8_t *plain SCOPED(scoped_free) = make_bytes(sizes[s], 23);
        char path[64];
        struct frames_options options = {.level = 3, .workers = 2};
        struct stage *frames SCOPED(scoped_stage) = stage_frames_new(stage_store_new(directory, 0600), &options);

        ck_assert_works(send_object(frames, plain, sizes[s], 4096, err));
        snprintf(path, sizeof path, "%s/original", directory);
        FILE *file = fopen(path, "w");
        ck_assert_ptr_nonnull(file);
        ck_assert_uint_eq(fwrite(plain, 1, sizes[s], file), sizes[s]);
        fclose(file);
        ck_assert(run_in(directory, "zstd -tq base.tar.zst && zstd -dqf base.tar.zst && cmp base.tar original"));
    }
    ck_assert(run_in(directory, "rm base.tar base.tar.zst original"));
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("frames");

    tcase_add_loop_test(tests, frames_hold_the_stream_in_order_whatever_its_size_and_the_number_of_workers, 0,
                        WORKER_COUNTS);
    tcase_add_test(tests, the_piece_size_changes_nothing_in_the_result);
    tcase_add_loop_test(tests, a_cut_starts_a_new_frame_and_an_idle_one_makes_none, 0, WORKER_COUNTS);
    tcase_add_loop_test(tests, an_empty_stream_is_a_seek_table_without_frames, 0, WORKER_COUNTS);
    tcase_add_loop_test(tests, a_failure_of_any_write_ends_the_stream_and_nothing_hangs_or_is_lost, 0, WORKER_COUNTS);
    tcase_add_loop_test(tests, a_failure_at_open_finish_or_in_the_callback_is_handed_out, 0, WORKER_COUNTS);
    tcase_add_test(tests, a_cut_that_fails_marks_the_stage);
    tcase_add_loop_test(tests, a_stream_given_up_half_way_frees_everything, 0, WORKER_COUNTS);
    tcase_add_test(tests, the_zstd_program_accepts_the_archive);
    return suite_run("frames", tests);
}
