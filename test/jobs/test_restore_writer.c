#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "support/scratch.h"
#include "support/suite.h"

#define BIG_SIZE     10000
#define CONTROL_SIZE 8192
#define STREAM_SIZE  24576

static uint8_t stream[STREAM_SIZE];

/* As a tar lays them out: a header of 512 bytes in front of each, data padded to 512. */
static struct index_member members[] = {
    {"base", (char *)"base", MEMBER_DIRECTORY, 0700, 0, 512, ""},
    {"base", (char *)"base/5", MEMBER_DIRECTORY, 0700, 0, 1024, ""},
    {"base", (char *)"base/5/1", MEMBER_FILE, 0600, BIG_SIZE, 1536, ""},
    {"base", (char *)"base/5/empty", MEMBER_FILE, 0600, 0, 12288, ""},
    {"base", (char *)"global", MEMBER_DIRECTORY, 0700, 0, 12800, ""},
    {"base", (char *)"global/pg_control", MEMBER_FILE, 0600, CONTROL_SIZE, 13312, ""},
    {"base", (char *)"last", MEMBER_FILE, 0600, 0, 22016, ""},
};
#define MEMBER_COUNT (sizeof members / sizeof members[0])

static struct restore_place place;
static struct restore restore;

static void begin(void)
{
    scratch_make();
    for (size_t i = 0; i < STREAM_SIZE; i++)
        stream[i] = (uint8_t)(i * 7 + i / 256);
    place = (struct restore_place){.archive = "base", .path = scratch_directory};
    place.fd = open(scratch_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    restore = (struct restore){.places = &place,
                               .place_count = 1,
                               .plan = {.backup = "20261122T013000Z", .folder_mode = 0700, .file_mode = 0600},
                               .index = {.members = members, .member_count = MEMBER_COUNT},
                               .pg_control = BUFFER_WITH_LIMIT(1 << 16)};
}

static void end(void)
{
    buffer_done(&restore.pg_control);
    close(place.fd);
    scratch_remove();
}

static bool write_in_frames(size_t frame_size, struct error *err)
{
    struct writer *writer = writer_new(&restore);
    bool ok = true;

    for (size_t offset = 0; ok && offset < STREAM_SIZE; offset += frame_size) {
        size_t left = STREAM_SIZE - offset;
        struct index_frame frame = {
            .archive = "base", .offset = offset, .length = (uint32_t)(left < frame_size ? left : frame_size)};
        ok = writer_take(writer, &frame, stream + offset, err);
    }
    ok = ok && writer_finish(writer, err);
    writer_free(writer);
    return ok;
}

static void check_file(const char *name, const void *bytes, size_t size)
{
    struct buffer content = BUFFER_WITH_LIMIT(1 << 16);
    struct stat status;
    struct error err;

    ck_assert_msg(file_read_whole(scratch_path(name), &content, &err), "%s", err.message);
    ck_assert_uint_eq(content.used, size);
    if (size > 0)
        ck_assert_mem_eq(content.bytes, bytes, size);
    ck_assert_int_eq(stat(scratch_path(name), &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0600);
    buffer_done(&content);
}

START_TEST(members_come_whole_out_of_frames_of_any_size)
{
    static const size_t sizes[] = {1, 7, 512, 4096, 8191, STREAM_SIZE};
    struct error err;

    ck_assert_msg(write_in_frames(sizes[_i], &err), "%s", err.message);
    check_file("base/5/1", stream + 1536, BIG_SIZE);
    check_file("base/5/empty", NULL, 0);
    check_file("last", NULL, 0);
    ck_assert_uint_eq(restore.file_count, 4);
}
END_TEST

START_TEST(pg_control_is_kept_back)
{
    struct error err;

    ck_assert(write_in_frames(777, &err));
    ck_assert_int_ne(access(scratch_path("global/pg_control"), F_OK), 0);
    ck_assert_uint_eq(restore.pg_control.used, CONTROL_SIZE);
    ck_assert_mem_eq(restore.pg_control.bytes, stream + 13312, CONTROL_SIZE);
}
END_TEST

START_TEST(a_member_that_no_frame_brings_is_damage)
{
    struct index_member more[MEMBER_COUNT];
    struct error err;

    memcpy(more, members, sizeof members);
    more[MEMBER_COUNT - 1].data_offset = STREAM_SIZE - 10;
    more[MEMBER_COUNT - 1].size = 11;
    restore.index.members = more;
    ck_assert(!write_in_frames(4096, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

START_TEST(unsafe_names_go_nowhere)
{
    static const char *const names[] = {"../outside", "/tmp/outside", "base/../../outside", "", ".", "base//x"};
    struct index_member one = {"base", (char *)names[_i], MEMBER_FILE, 0600, 0, 512, ""};
    struct error err;

    restore.index = (struct index){.members = &one, .member_count = 1};
    ck_assert_msg(!write_in_frames(STREAM_SIZE, &err), "%s", names[_i]);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_int_eq(scratch_count_entries(), 0);
}
END_TEST

START_TEST(a_link_in_the_way_is_not_followed)
{
    struct index_member one = {"base", (char *)"away/file", MEMBER_FILE, 0600, 0, 512, ""};
    struct error err;

    ck_assert_int_eq(mkdir(scratch_path("elsewhere"), 0700), 0);
    ck_assert_int_eq(symlink("elsewhere", scratch_path("away")), 0);
    restore.index = (struct index){.members = &one, .member_count = 1};
    ck_assert(!write_in_frames(STREAM_SIZE, &err));
    ck_assert_int_ne(access(scratch_path("elsewhere/file"), F_OK), 0);
}
END_TEST

START_TEST(the_same_file_twice_is_refused)
{
    struct index_member twice[] = {{"base", (char *)"x", MEMBER_FILE, 0600, 0, 512, ""},
                                   {"base", (char *)"x", MEMBER_FILE, 0600, 0, 1024, ""}};
    struct error err;

    restore.index = (struct index){.members = twice, .member_count = 2};
    ck_assert(!write_in_frames(STREAM_SIZE, &err));
}
END_TEST

START_TEST(an_archive_without_a_place_is_refused)
{
    struct writer *writer = writer_new(&restore);
    struct index_frame frame = {.archive = "16389", .length = 512};
    struct error err;

    ck_assert(!writer_take(writer, &frame, stream, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    writer_free(writer);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("restore_writer");

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_loop_test(tests, members_come_whole_out_of_frames_of_any_size, 0, 6);
    tcase_add_test(tests, pg_control_is_kept_back);
    tcase_add_test(tests, a_member_that_no_frame_brings_is_damage);
    tcase_add_loop_test(tests, unsafe_names_go_nowhere, 0, 6);
    tcase_add_test(tests, a_link_in_the_way_is_not_followed);
    tcase_add_test(tests, the_same_file_twice_is_refused);
    tcase_add_test(tests, an_archive_without_a_place_is_refused);
    return suite_run("restore_writer", tests);
}
