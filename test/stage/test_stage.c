#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "pgcoffer/stage/stages.h"
#include "stage/capture.h"
#include "support/suite.h"

static const size_t pieces[] = {1, 7, 4096, 0};
#define PIECES (int)(sizeof pieces / sizeof pieces[0])

START_TEST(a_compressed_stream_decompresses_to_the_same_bytes_whatever_the_piece_size)
{
    static uint8_t restored[100000];
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
    struct stage *chain SCOPED(scoped_stage) = stage_compress_new(capture_new(&capture), 3);
    uint8_t *original SCOPED(scoped_free) = make_bytes(sizeof restored, 1);

    ck_assert_works(send_object(chain, original, sizeof restored, pieces[_i], err));
    ck_assert(capture.is_finished);
    ck_assert_str_eq(capture.object_name, "base.tar.zst");
    ck_assert_uint_eq(ZSTD_decompress(restored, sizeof restored, capture.bytes.bytes, capture.bytes.used),
                      sizeof restored);
    ck_assert_mem_eq(restored, original, sizeof restored);
}
END_TEST

START_TEST(nothing_compresses_to_one_empty_frame)
{
    char restored[1];
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
    struct stage *chain SCOPED(scoped_stage) = stage_compress_new(capture_new(&capture), 3);

    ck_assert_works(send_object(chain, "", 0, 0, err));
    ck_assert_uint_gt(capture.bytes.used, 0);
    ck_assert_uint_eq(ZSTD_decompress(restored, 1, capture.bytes.bytes, capture.bytes.used), 0);
}
END_TEST

START_TEST(the_digest_of_abc_is_the_published_one_whatever_the_piece_size)
{
    struct digest_result result;
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
    struct stage *chain SCOPED(scoped_stage) = stage_digest_new(capture_new(&capture), &result);

    ck_assert_works(send_object(chain, "abc", 3, pieces[_i], err));
    ck_assert_str_eq(result.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ck_assert_uint_eq(result.size, 3);
    ck_assert_mem_eq(capture.bytes.bytes, "abc", 3);
}
END_TEST

START_TEST(a_digest_is_written_only_when_what_follows_has_finished)
{
    struct digest_result result = {.sha256 = "untouched"};
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
    struct stage *chain SCOPED(scoped_stage) = stage_digest_new(capture_new(&capture), &result);
    struct error err;

    capture.fail_at_finish = true;
    ck_assert(!send_object(chain, "abc", 3, 0, &err));
    ck_assert_str_eq(result.sha256, "untouched");
}
END_TEST

START_TEST(a_failure_at_the_end_arrives_unchanged_and_marks_every_stage_it_passed)
{
    struct digest_result result;
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;
    struct stage *chain SCOPED(scoped_stage) = stage_digest_new(capture_new(&capture), &result);
    struct error err;

    capture.fail_at_write = 1;
    ck_assert(!send_object(chain, "x", 1, 0, &err));
    ck_assert_str_eq(err.message, "no space left");
    ck_assert_int_eq(error_exit_status(&err), 9);
    ck_assert_int_eq(chain->state, STAGE_FAILED);
    ck_assert_int_eq(chain->next->state, STAGE_FAILED);
}
END_TEST

START_TEST(a_chain_that_was_never_opened_can_be_freed)
{
    struct digest_result result;
    struct capture capture SCOPED(capture_done) = CAPTURE_UNLIMITED;

    stage_free(stage_digest_new(stage_compress_new(capture_new(&capture), 3), &result));
    stage_free(stage_digest_new(stage_store_new("/nowhere", 0600), &result));
    stage_free(NULL);
}
END_TEST

static char directory[64];

static void make_directory(void)
{
    snprintf(directory, sizeof directory, "/tmp/stage-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

START_TEST(a_finished_object_is_there_with_its_bytes_and_its_mode)
{
    char path[128], found[16] = "";
    struct stat status;
    struct stage *chain SCOPED(scoped_stage) = NULL;

    make_directory();
    snprintf(path, sizeof path, "%s/base.tar", directory);
    chain = stage_store_new(directory, 0640);
    ck_assert_works(send_object(chain, "whole", 5, 1, err));
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0640);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(found, 1, sizeof found, file), 5);
    fclose(file);
    ck_assert_str_eq(found, "whole");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

START_TEST(an_unfinished_object_leaves_nothing_behind)
{
    struct error err;

    make_directory();
    struct stage *chain = stage_store_new(directory, 0600);
    ck_assert(stage_open(chain, "base.tar", &err));
    ck_assert(stage_write(chain, "half", 4, &err));
    stage_free(chain);
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

START_TEST(a_missing_directory_is_told_with_its_path)
{
    struct stage *chain SCOPED(scoped_stage) = stage_store_new("/nowhere/at/all", 0600);
    struct error err;

    ck_assert(!stage_open(chain, "base.tar", &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    ck_assert_ptr_nonnull(strstr(err.message, "/nowhere/at/all/base.tar"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("stage");

    tcase_add_loop_test(tests, a_compressed_stream_decompresses_to_the_same_bytes_whatever_the_piece_size, 0, PIECES);
    tcase_add_test(tests, nothing_compresses_to_one_empty_frame);
    tcase_add_loop_test(tests, the_digest_of_abc_is_the_published_one_whatever_the_piece_size, 0, PIECES);
    tcase_add_test(tests, a_digest_is_written_only_when_what_follows_has_finished);
    tcase_add_test(tests, a_failure_at_the_end_arrives_unchanged_and_marks_every_stage_it_passed);
    tcase_add_test(tests, a_chain_that_was_never_opened_can_be_freed);
    tcase_add_test(tests, a_finished_object_is_there_with_its_bytes_and_its_mode);
    tcase_add_test(tests, an_unfinished_object_leaves_nothing_behind);
    tcase_add_test(tests, a_missing_directory_is_told_with_its_path);
    return suite_run("stage", tests);
}
