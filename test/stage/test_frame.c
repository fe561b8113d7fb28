#include <string.h>
#include <zstd.h>

#include "pgcoffer/stage/frame.h"
#include "pgcoffer/stage/stages.h"
#include "stage/capture.h"
#include "support/suite.h"

static struct frame_decoder *decoder;
static struct capture capture;
static struct frame_info info;
static uint8_t *plain;
static uint8_t *restored;

static bool keep_info(void *context, const struct frame_info *frame, struct error *err)
{
    (void)context, (void)err;
    info = *frame;
    return true;
}

/* One frame of `size` bytes in capture.bytes at 0, as the archive has it. */
static void make_frame(size_t size)
{
    struct frames_options options = {.level = 3, .without_threads = true, .on_frame = keep_info};

    decoder = frame_decoder_new();
    capture = CAPTURE_UNLIMITED;
    plain = make_bytes(size, 29);
    restored = malloc(size + 1);
    struct stage *frames SCOPED(scoped_stage) = stage_frames_new(capture_new(&capture), &options);
    ck_assert_works(send_object(frames, plain, size, 0, err));
}

static void drop_frame(void)
{
    frame_decoder_free(decoder);
    capture_done(&capture);
    free(plain);
    free(restored);
}

static bool decode(size_t stored_size, size_t length, const char *sha256, struct error *err)
{
    return frame_decode(decoder, capture.bytes.bytes, stored_size, restored, length, sha256, err);
}

static void expect_failure(size_t stored_size, size_t length, const char *sha256, const char *words)
{
    struct error err;

    ck_assert(!decode(stored_size, length, sha256, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
}

START_TEST(a_frame_comes_back_with_and_without_a_digest_to_compare)
{
    make_frame(70000);
    ck_assert_works(decode(info.stored_length, 70000, info.sha256, err));
    ck_assert_mem_eq(restored, plain, 70000);
    memset(restored, 0, 70000);
    ck_assert_works(decode(info.stored_length, 70000, "", err));
    ck_assert_mem_eq(restored, plain, 70000);
    drop_frame();
}
END_TEST

START_TEST(every_flipped_bit_is_noticed)
{
    unsigned harmless = 0;

    make_frame(3000);
    for (size_t bit = 0; bit < (size_t)info.stored_length * 8; bit++) {
        struct error err;
        capture.bytes.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (decode(info.stored_length, 3000, info.sha256, &err)) {
            /* A few bits of the format mean nothing: then nothing but the right bytes may come. */
            ck_assert(memcmp(restored, plain, 3000) == 0);
            harmless++;
        } else {
            ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        }
        capture.bytes.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_uint_le(harmless, 8);
    ck_assert_works(decode(info.stored_length, 3000, info.sha256, err));
    drop_frame();
}
END_TEST

START_TEST(every_shortened_frame_is_noticed)
{
    make_frame(3000);
    for (size_t size = 0; size < info.stored_length; size++)
        expect_failure(size, 3000, info.sha256, "could not decompress");
    drop_frame();
}
END_TEST

START_TEST(another_length_than_promised_is_noticed)
{
    make_frame(3000);
    expect_failure(info.stored_length, 2999, info.sha256, "holds 3000 bytes instead of 2999");
    expect_failure(info.stored_length, 3001, info.sha256, "holds 3000 bytes instead of 3001");
    expect_failure(info.stored_length, 0, info.sha256, "holds 3000 bytes instead of 0");
    drop_frame();
}
END_TEST

START_TEST(a_length_that_the_frame_does_not_tell_is_checked_all_the_same)
{
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    uint8_t stored[4096];

    make_frame(3000);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
    size_t size = ZSTD_compress2(zstd, stored, sizeof stored, plain, 3000);
    ck_assert(!ZSTD_isError(size));
    memcpy(capture.bytes.bytes, stored, size);
    ck_assert_works(decode(size, 3000, info.sha256, err));
    expect_failure(size, 2999, info.sha256, "could not decompress");
    expect_failure(size, 3001, info.sha256, "holds 3000 bytes instead of 3001");
    ZSTD_freeCCtx(zstd);
    drop_frame();
}
END_TEST

START_TEST(another_digest_than_promised_is_noticed)
{
    char other[DIGEST_HEX_SIZE];

    make_frame(3000);
    memcpy(other, info.sha256, sizeof other);
    other[63] = other[63] == '0' ? '1' : '0';
    expect_failure(info.stored_length, 3000, other, "its SHA-256 is");
    drop_frame();
}
END_TEST

START_TEST(what_is_not_exactly_one_frame_is_refused)
{
    make_frame(3000);
    /* With the seek table behind it, and the seek table alone. */
    expect_failure(capture.bytes.used, 3000, "", "the frame has");
    struct error err;
    ck_assert(!frame_decode(decoder, capture.bytes.bytes + info.stored_length, capture.bytes.used - info.stored_length,
                            restored, 0, "", &err));
    ck_assert_ptr_nonnull(strstr(err.message, "not a zstd frame"));
    ck_assert(!frame_decode(decoder, "garbage", 7, restored, 3000, "", &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    drop_frame();
}
END_TEST

START_TEST(an_empty_frame_comes_back_empty)
{
    uint8_t stored[32];
    struct error err;
    size_t size = ZSTD_compress(stored, sizeof stored, "", 0, 3);

    decoder = frame_decoder_new();
    ck_assert_msg(frame_decode(decoder, stored, size, NULL, 0, "", &err), "%s", err.message);
    ck_assert(frame_decode(decoder, stored, size, NULL, 0,
                           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", &err));
    frame_decoder_free(decoder);
    frame_decoder_free(NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("frame");

    tcase_add_test(tests, a_frame_comes_back_with_and_without_a_digest_to_compare);
    tcase_add_test(tests, every_flipped_bit_is_noticed);
    tcase_add_test(tests, every_shortened_frame_is_noticed);
    tcase_add_test(tests, another_length_than_promised_is_noticed);
    tcase_add_test(tests, a_length_that_the_frame_does_not_tell_is_checked_all_the_same);
    tcase_add_test(tests, another_digest_than_promised_is_noticed);
    tcase_add_test(tests, what_is_not_exactly_one_frame_is_refused);
    tcase_add_test(tests, an_empty_frame_comes_back_empty);
    return suite_run("frame", tests);
}
