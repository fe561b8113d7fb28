#include "pgcoffer/repo/index.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "pgcoffer/base/memory.h"
#include "support/suite.h"

#define MUST(call)  ck_assert_msg((call), "%s", err.message)
#define SOME_SHA256 "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

#define FORMAT "{\"format\":1}\n"
#define FRAME(offset, at)                                                                                              \
    "{\"frame\":\"base\",\"offset\":" #offset ",\"length\":1000,\"at\":" #at                                           \
    ",\"stored\":100,\"sha256\":\"" SOME_SHA256 "\"}\n"
#define MEMBER(path, data)                                                                                             \
    "{\"member\":\"base\",\"path\":\"" path "\",\"type\":\"file\",\"mode\":384,\"size\":3,"                            \
    "\"data\":" #data ",\"checksum\":\"8a744722\"}\n"
#define END(frames, members) "{\"end\":true,\"frames\":" #frames ",\"members\":" #members "}\n"

struct seen {
    size_t frames;
    size_t members;
    char last_path[5000];
    size_t fail_at_member;
};

static bool see_frame(void *context, const struct index_frame *frame, struct error *err)
{
    struct seen *seen = context;

    (void)err;
    ck_assert_uint_eq(strlen(frame->sha256), 64);
    seen->frames++;
    return true;
}

static bool see_member(void *context, const struct index_member *member, struct error *err)
{
    struct seen *seen = context;

    seen->members++;
    snprintf(seen->last_path, sizeof seen->last_path, "%s", member->path);
    return seen->members != seen->fail_at_member || error_set(err, ERROR_FAILED, "the handler had enough");
}

static bool read_lines(const void *lines, size_t size, size_t piece, struct seen *seen, struct error *err)
{
    const struct index_handler handler = {see_frame, see_member, seen};
    struct index_reader *reader = index_reader_new(&handler);
    bool read = true;

    for (size_t at = 0; read && at < size; at += piece)
        read = index_reader_feed(reader, (const char *)lines + at, size - at < piece ? size - at : piece, err);
    read = read && index_reader_finish(reader, err);
    index_reader_free(reader);
    return read;
}

static void assert_refused(const char *lines, const char *why)
{
    struct seen seen = {0};
    struct error err;

    ck_assert_msg(!read_lines(lines, strlen(lines), strlen(lines) + 1, &seen, &err), "accepted %s", lines);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(err.message, why) != NULL, "\"%s\" instead of \"%s\"", err.message, why);
}

static struct buffer write_sample(void)
{
    struct error err;
    struct buffer lines = BUFFER_WITH_LIMIT(1 << 20);
    struct index_frame frame = {"base", "", 0, 1000, 0, 300, SOME_SHA256};
    struct index_member file = {"base", (char *)(uintptr_t) "PG_VERSION", MEMBER_FILE, 0600, 3, 512, "8a744722"};
    struct index_member folder = {"base", (char *)(uintptr_t) "pg_wal/archive_status", MEMBER_DIRECTORY, 0700, 0, 1536,
                                  ""};

    MUST(index_write_begin(&lines, &err));
    MUST(index_write_member(&lines, &file, &err));
    MUST(index_write_frame(&lines, &frame, &err));
    MUST(index_write_member(&lines, &folder, &err));
    frame = (struct index_frame){"base", "", 1000, 2000, 300, 100, SOME_SHA256};
    MUST(index_write_frame(&lines, &frame, &err));
    frame = (struct index_frame){"16389", "20261121T013000Z", 0, 2048, 77, 100, SOME_SHA256};
    MUST(index_write_frame(&lines, &frame, &err));
    file = (struct index_member){"16389", (char *)(uintptr_t) "PG_15/5/na\xffme\n", MEMBER_FILE, 0640, 2000, 0, ""};
    MUST(index_write_member(&lines, &file, &err));
    MUST(index_write_end(&lines, 3, 3, &err));
    return lines;
}

static size_t compress(const struct buffer *lines, void **ret_stored)
{
    size_t room = ZSTD_compressBound(lines->used);

    *ret_stored = memory_new(room);
    return ZSTD_compress(*ret_stored, room, lines->bytes, lines->used, 3);
}

START_TEST(an_index_survives_a_round_trip)
{
    struct error err;
    struct index index;
    void *stored = NULL;
    struct buffer lines = write_sample();
    size_t size = compress(&lines, &stored);

    MUST(index_read_compressed(stored, size, &index, &err));
    ck_assert_uint_eq(index.frame_count, 3);
    ck_assert_uint_eq(index.member_count, 3);
    ck_assert_uint_eq(index.frames[1].offset, 1000);
    ck_assert_uint_eq(index.frames[1].length, 2000);
    ck_assert_uint_eq(index.frames[1].stored_at, 300);
    ck_assert_uint_eq(index.frames[1].stored_length, 100);
    ck_assert_str_eq(index.frames[2].backup, "20261121T013000Z");
    ck_assert_str_eq(index.frames[2].archive, "16389");
    ck_assert_str_eq(index.members[0].path, "PG_VERSION");
    ck_assert_str_eq(index.members[0].checksum, "8a744722");
    ck_assert_int_eq(index.members[1].type, MEMBER_DIRECTORY);
    ck_assert_uint_eq(index.members[1].mode, 0700);
    ck_assert_str_eq(index.members[2].path, "PG_15/5/na\xffme\n");
    ck_assert_uint_eq(index.members[2].size, 2000);
    index_done(&index);
    free(stored);
    buffer_done(&lines);
}
END_TEST

START_TEST(lines_may_come_in_any_pieces)
{
    static const size_t pieces[] = {1, 7, 4096, 1 << 20};
    struct error err;
    struct buffer lines = write_sample();

    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct seen seen = {0};
        MUST(read_lines(lines.bytes, lines.used, pieces[i], &seen, &err));
        ck_assert_uint_eq(seen.frames, 3);
        ck_assert_uint_eq(seen.members, 3);
    }
    buffer_done(&lines);
}
END_TEST

START_TEST(an_index_cut_off_anywhere_is_noticed)
{
    struct error err;
    struct index index;
    void *stored = NULL;
    struct buffer lines = write_sample();
    size_t size = compress(&lines, &stored);

    for (size_t left = 0; left < lines.used; left++) {
        struct seen seen = {0};
        ck_assert_msg(!read_lines(lines.bytes, left, 4096, &seen, &err), "%zu bytes", left);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    }
    for (size_t left = 0; left < size; left++) {
        ck_assert_msg(!index_read_compressed(stored, left, &index, &err), "%zu bytes", left);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    }
    ck_assert(!index_read_compressed("garbage", 7, &index, &err));
    free(stored);
    buffer_done(&lines);
}
END_TEST

START_TEST(frames_must_be_contiguous_and_apart)
{
    assert_refused(FORMAT FRAME(5, 0) END(1, 0), "line 2: a frame of \"base\" is at 5, expected 0");
    assert_refused(FORMAT FRAME(0, 0) FRAME(999, 100) END(2, 0), "expected 1000");
    assert_refused(FORMAT FRAME(0, 0) FRAME(1001, 100) END(2, 0), "expected 1000");
    assert_refused(FORMAT FRAME(0, 0) FRAME(1000, 99) END(2, 0), "overlap at byte 99");
}
END_TEST

START_TEST(members_must_be_apart_and_inside_the_frames)
{
    assert_refused(FORMAT MEMBER("a", 512) MEMBER("b", 514) FRAME(0, 0) END(1, 2), "overlap at 514");
    assert_refused(FORMAT FRAME(0, 0) MEMBER("a", 998) END(1, 1), "reach to 1001, and its frames end at 1000");
    assert_refused(FORMAT MEMBER("a", 0) END(0, 1), "frames end at 0");

    static const char good[] = FORMAT MEMBER("a", 512) MEMBER("b", 997) FRAME(0, 0) END(1, 2);
    struct seen seen = {0};
    struct error err;
    MUST(read_lines(good, strlen(good), 4096, &seen, &err));
}
END_TEST

START_TEST(only_paths_that_stay_inside_are_taken)
{
    static const char *const bad[] = {"",     "/",  "/etc/passwd", "..",  "../x", "a/../b", "a/..",
                                      "a//b", "a/", ".",           "./a", "a/.",  "a/./b",  "a\\u0000b"};
    struct seen seen = {0};
    struct error err;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *line SCOPED(scoped_free) = memory_text(FORMAT FRAME(0, 0) MEMBER("%s", 0) END(1, 1), bad[i]);
        assert_refused(line, "line 3");
    }
    char *name SCOPED(scoped_free) = memory_new(257);
    memset(name, 'n', 256);
    char *line SCOPED(scoped_free) = memory_text(FORMAT FRAME(0, 0) MEMBER("%s", 0) END(1, 1), name);
    assert_refused(line, "not allowed");
    name[255] = '\0';
    char *fits SCOPED(scoped_free) = memory_text(FORMAT FRAME(0, 0) MEMBER("%s", 0) END(1, 1), name);
    MUST(read_lines(fits, strlen(fits), 4096, &seen, &err));
    char *path SCOPED(scoped_free) = memory_new(4097);
    for (int i = 0; i < 4096; i++)
        path[i] = i % 2 == 0 ? 'd' : '/';
    path[4095] = 'd';
    char *deep SCOPED(scoped_free) = memory_text(FORMAT FRAME(0, 0) MEMBER("%s", 0) END(1, 1), path);
    assert_refused(deep, "not allowed");
    path[4095] = '\0';
    path[4094] = 'd';
    char *less_deep SCOPED(scoped_free) = memory_text(FORMAT FRAME(0, 0) MEMBER("%s", 0) END(1, 1), path);
    MUST(read_lines(less_deep, strlen(less_deep), 4096, &seen, &err));
    static const char good[] = FORMAT FRAME(0, 0) MEMBER("...", 0) MEMBER("a/..b/.c", 5) END(1, 2);
    MUST(read_lines(good, strlen(good), 4096, &seen, &err));
    ck_assert_str_eq(seen.last_path, "a/..b/.c");
}
END_TEST

START_TEST(the_longest_path_of_any_bytes_still_fits_into_a_line)
{
    struct error err;
    char path[4096];
    struct buffer lines = BUFFER_WITH_LIMIT(1 << 20);
    struct seen seen = {0};
    struct index_frame frame = {"base", "", 0, 1000, 0, 300, SOME_SHA256};
    struct index_member member = {"base", path, MEMBER_FILE, 0600, 3, 512, ""};

    for (size_t i = 0; i < sizeof path - 1; i++)
        path[i] = i % 200 == 199 ? '/' : (char)(1 + i % 31);
    path[sizeof path - 1] = '\0';
    MUST(index_write_begin(&lines, &err) && index_write_frame(&lines, &frame, &err));
    MUST(index_write_member(&lines, &member, &err) && index_write_end(&lines, 1, 1, &err));
    MUST(read_lines(lines.bytes, lines.used, 7, &seen, &err));
    ck_assert_str_eq(seen.last_path, path);
    buffer_done(&lines);
}
END_TEST

START_TEST(the_end_line_must_count_what_was_read)
{
    assert_refused(FORMAT FRAME(0, 0) END(2, 0), "1 frames and 0 members were read");
    assert_refused(FORMAT FRAME(0, 0) END(1, 1), "1 frames and 0 members were read");
    assert_refused(FORMAT FRAME(0, 0), "ends too early, after line 2");
    assert_refused(FORMAT END(0, 0) FRAME(0, 0), "line 3: lines follow the end line");
    assert_refused(FORMAT END(0, 0) "\n", "lines follow the end line");
    assert_refused(FORMAT END(0, 0) "x", "ends too early");
    assert_refused(FORMAT "{\"end\":false,\"frames\":0,\"members\":0}\n", "end line is damaged");
    assert_refused(FORMAT "{\"end\":true,\"frames\":0}\n", "end line is damaged");
}
END_TEST

START_TEST(a_line_longer_than_allowed_is_refused_before_it_is_stored)
{
    char *line = memory_new(INDEX_MOST_LINE + 2);
    struct seen seen = {0};
    struct error err;

    memset(line, ' ', INDEX_MOST_LINE + 1);
    ck_assert(!read_lines(line, INDEX_MOST_LINE + 1, 1 << 20, &seen, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "line 1 is longer than 16384 bytes"));
    for (size_t piece = 1; piece < 5000; piece += 1000)
        ck_assert(!read_lines(line, INDEX_MOST_LINE + 1, piece, &seen, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    memcpy(line + INDEX_MOST_LINE - 12, FORMAT, 12);
    char *whole SCOPED(scoped_free) = memory_text("%.*s\n" END(0, 0), INDEX_MOST_LINE, line);
    MUST(read_lines(whole, strlen(whole), 4096, &seen, &err));
    free(line);
}
END_TEST

START_TEST(garbled_lines_are_refused_with_their_number)
{
    assert_refused("\n", "line 1");
    assert_refused("{}\n", "line 1: the index is damaged");
    assert_refused("{\"format\":2}\n" END(0, 0), "has format 2");
    assert_refused(FRAME(0, 0) END(1, 0), "line 1");
    assert_refused(FORMAT "garbage\n", "line 2: could not parse JSON");
    assert_refused(FORMAT "[]\n", "line 2");
    assert_refused(FORMAT "{\"delta\":\"base\"}\n", "neither a frame nor a member");
    assert_refused(FORMAT "{\"frame\":\"base\"}\n", "\"offset\" is missing");
    assert_refused(FORMAT "{\"frame\":7}\n", "\"frame\" is not a text");
    assert_refused(FORMAT "{\"frame\":\"../base\"}\n", "not the name of an archive");
    assert_refused(FORMAT "{\"frame\":\"016389\"}\n", "not the name of an archive");
    assert_refused(FORMAT "{\"frame\":\"4294967296\"}\n", "not the name of an archive");
    assert_refused(FORMAT "{\"frame\":\"base\",\"backup\":\"x\"}\n", "\"backup\"");
    assert_refused(FORMAT "{\"frame\":\"\\u001b[31m\"}\n", "\"?[31m\"");
}
END_TEST

START_TEST(values_out_of_range_are_refused)
{
    static const char frame[] = FORMAT "{\"frame\":\"base\",\"offset\":%s,\"length\":%s,\"at\":%s,\"stored\":%s,"
                                       "\"sha256\":\"%s\"}\n" END(1, 0);
    static const char *const frames[][5] = {
        {"-1", "1", "0", "1", SOME_SHA256},
        {"0", "0", "0", "1", SOME_SHA256},
        {"0", "16777217", "0", "1", SOME_SHA256},
        {"0", "1", "-1", "1", SOME_SHA256},
        {"0", "1", "9223372036854775807", "1", SOME_SHA256},
        {"0", "1", "0", "0", SOME_SHA256},
        {"0", "1", "0", "33554433", SOME_SHA256},
        {"0", "1", "0", "1", "9f"},
        {"0", "1", "0", "1", "9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}};
    static const char member[] = FORMAT FRAME(0, 0) "{\"member\":\"base\",\"path\":\"a\",\"type\":\"%s\",\"mode\":%s,"
                                                    "\"size\":%s,\"data\":%s,\"checksum\":%s}\n" END(1, 1);
    static const char *const members[][5] = {{"link", "384", "3", "0", "\"\""},
                                             {"file", "-1", "3", "0", "\"\""},
                                             {"file", "4096", "3", "0", "\"\""},
                                             {"file", "384", "-3", "0", "\"\""},
                                             {"file", "384", "9223372036854775807", "0", "\"\""},
                                             {"file", "384", "3", "9223372036854775807", "\"\""},
                                             {"directory", "384", "3", "0", "\"\""},
                                             {"file", "384", "3", "0", "\"xyz\""},
                                             {"file", "384", "3", "0", "7"}};

    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        const char *const *f = frames[i];
        char *text SCOPED(scoped_free) = memory_text(frame, f[0], f[1], f[2], f[3], f[4]);
        assert_refused(text, "line 2");
    }
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const char *const *m = members[i];
        char *text SCOPED(scoped_free) = memory_text(member, m[0], m[1], m[2], m[3], m[4]);
        assert_refused(text, "line 3");
    }
}
END_TEST

START_TEST(a_handler_that_fails_ends_the_reading)
{
    static const char lines[] = FORMAT MEMBER("a", 0) MEMBER("b", 5) FRAME(0, 0) END(1, 2);
    struct seen seen = {.fail_at_member = 1};
    struct error err;

    ck_assert(!read_lines(lines, strlen(lines), 4096, &seen, &err));
    ck_assert_int_eq(err.kind, ERROR_FAILED);
    ck_assert_str_eq(err.message, "index line 2: the handler had enough");
    ck_assert_uint_eq(seen.members, 1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("index");

    tcase_add_test(tests, an_index_survives_a_round_trip);
    tcase_add_test(tests, lines_may_come_in_any_pieces);
    tcase_add_test(tests, an_index_cut_off_anywhere_is_noticed);
    tcase_add_test(tests, frames_must_be_contiguous_and_apart);
    tcase_add_test(tests, members_must_be_apart_and_inside_the_frames);
    tcase_add_test(tests, only_paths_that_stay_inside_are_taken);
    tcase_add_test(tests, the_longest_path_of_any_bytes_still_fits_into_a_line);
    tcase_add_test(tests, the_end_line_must_count_what_was_read);
    tcase_add_test(tests, a_line_longer_than_allowed_is_refused_before_it_is_stored);
    tcase_add_test(tests, garbled_lines_are_refused_with_their_number);
    tcase_add_test(tests, values_out_of_range_are_refused);
    tcase_add_test(tests, a_handler_that_fails_ends_the_reading);
    return suite_run("index", tests);
}
