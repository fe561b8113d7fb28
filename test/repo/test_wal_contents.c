#include "pgcoffer/repo/wal_contents.h"

#include <jansson.h>

#include "pgcoffer/repo/wal_packer.h"

#include "repo/repository.h"
#include "wal/wal_builder.h"

/*
 * A server's WAL of several segments of 1 MB, from segment 3 on, and what is noted of it. Times are seconds since 2000;
 * in the results they are those since 1970.
 */
#define SECOND     INT64_C(1000000)
#define SINCE_1970 INT64_C(946684800)

static struct wal_builder wal;
static struct wal_packer *packer;
static struct wal_noted noted;
static struct wal_file file;
static bool was_read;
static struct error err;

static void make(void)
{
    repository_make();
    builder_begin(&wal);
    packer = wal_packer_new(&archive);
}

static void drop(void)
{
    wal_packer_free(packer);
    builder_end(&wal);
    repository_remove();
}

static uint64_t commit(uint32_t transaction, int64_t second)
{
    uint8_t data[10] = {255, 8};

    builder_number(&wal, data + 2, 8, (uint64_t)(second * SECOND));
    wal.transaction = transaction;
    return builder_raw_record(&wal, 1, 0x00, data, sizeof data, sizeof data + 24);
}

static uint64_t restore_point(const char *name, int64_t second)
{
    uint8_t data[74] = {255, 72};

    builder_number(&wal, data + 2, 8, (uint64_t)(second * SECOND));
    snprintf((char *)data + 10, 64, "%s", name);
    return builder_raw_record(&wal, 0, 0x70, data, sizeof data, sizeof data + 24);
}

/* Noise up to `left` bytes before the segment's end. */
static void fill(uint32_t left)
{
    builder_fill(&wal, BUILDER_SEGMENT, left);
}

static const uint8_t *bytes_of(uint64_t number)
{
    return wal.bytes + (number - wal.first_segment) * BUILDER_SEGMENT;
}

static void hold(uint32_t timeline, uint64_t number, uint32_t size)
{
    struct wal_partial *partial = NULL;

    MUST(wal_partial_open(&archive, segment_of(timeline, number), &partial, &err));
    MUST(wal_partial_write(partial, 0, bytes_of(number), size, &err));
    MUST(wal_partial_sync(partial, &err));
    if (size == BUILDER_SEGMENT)
        MUST(wal_partial_finish(partial, &err));
    wal_partial_free(partial);
}

static void compress(uint64_t number)
{
    MUST(wal_packer_pack(packer, segment_of(1, number), 3, UINT64_MAX, &err));
}

static void hold_and_compress(uint64_t number)
{
    hold(1, number, BUILDER_SEGMENT);
    compress(number);
}

static const char *note_name(uint64_t number)
{
    static char name[96];

    snprintf(name, sizeof name, "wal/00000001/00000000/00000001000000000000%04X.contents.json", (unsigned)number);
    return name;
}

static const struct wal_contents *contents_of(uint64_t number)
{
    MUST(wal_archive_contents(&archive, segment_of(1, number), &noted, &was_read, &file, &err));
    return &noted.contents;
}

static int64_t second_of(struct timestamp time)
{
    return time.microseconds / SECOND - SINCE_1970;
}

/* Two segments: a commit in each, and one whose record runs from the first into the second. */
static void make_two(void)
{
    commit(100, 1000);
    fill(64);
    commit(101, 2000); /* takes 40 bytes */
    commit(102, 3000); /* runs over, behind its header */
    commit(103, 4000);
    restore_point("here", 4500);
    fill(40);
    builder_record(&wal, 500);
}

START_TEST(a_compressed_segment_is_noted_with_what_ends_in_it)
{
    make_two();
    hold_and_compress(3);
    hold_and_compress(4);
    const struct wal_contents *contents = contents_of(3);
    ck_assert(!was_read && !noted.lacks_start);
    ck_assert_uint_eq(contents->commits, 2);
    ck_assert_int_eq(second_of(contents->first_commit_at), 1000);
    ck_assert_int_eq(second_of(contents->last_commit_at), 2000);
    ck_assert_uint_eq(contents->highest_transaction, 101);
    contents = contents_of(4);
    ck_assert(!was_read && !noted.lacks_start);
    ck_assert_uint_eq(contents->commits, 2);
    ck_assert_uint_eq(contents->lowest_transaction, 102);
    ck_assert_uint_eq(contents->highest_transaction, 103);
    ck_assert_uint_eq(contents->point_count, 1);
    ck_assert_str_eq(contents->points[0].name, "here");
    ck_assert_int_eq(second_of(contents->points[0].time), 4500);
}
END_TEST

START_TEST(the_note_and_the_segment_say_the_same)
{
    struct wal_contents from_note[2];

    make_two();
    for (uint64_t number = 3; number <= 4; number++) {
        hold_and_compress(number);
        from_note[number - 3] = *contents_of(number);
        ck_assert(!was_read);
        unlink(repository_path(note_name(number)));
    }
    for (uint64_t number = 4; number >= 3; number--) {
        const struct wal_contents *contents = contents_of(number);
        ck_assert(was_read && !noted.lacks_start);
        ck_assert(wal_contents_is_same(contents, &from_note[number - 3]));
    }
}
END_TEST

START_TEST(noting_begins_anywhere_with_the_record_that_runs_in)
{
    make_two();
    hold_and_compress(3);
    wal_packer_free(packer); /* as after a restart */
    packer = wal_packer_new(&archive);
    hold_and_compress(4);
    ck_assert_uint_eq(contents_of(4)->commits, 2);
    ck_assert(!was_read && !noted.lacks_start);
}
END_TEST

START_TEST(a_record_without_its_beginning_is_left_out_until_that_is_held)
{
    make_two();
    hold_and_compress(4);
    ck_assert_uint_eq(contents_of(4)->commits, 1);
    ck_assert(!was_read && noted.lacks_start);
    hold(1, 3, BUILDER_SEGMENT);
    ck_assert_uint_eq(contents_of(4)->commits, 2);
    ck_assert(was_read && !noted.lacks_start);
}
END_TEST

/* Of a record larger than segments the last part is in the fourth one. */
START_TEST(a_record_larger_than_segments_is_followed_to_its_beginning)
{
    static uint8_t data[3 * BUILDER_SEGMENT];

    data[0] = 254;
    builder_number(&wal, data + 1, 4, sizeof data - 5);
    builder_number(&wal, data + 5, 8, 1234 * SECOND);
    wal.transaction = 555;
    builder_record(&wal, 100);
    builder_raw_record(&wal, 1, 0x20, data, sizeof data, sizeof data + 24);
    fill(64);
    builder_record(&wal, 500);
    for (uint64_t number = 3; number <= 6; number++)
        hold(1, number, BUILDER_SEGMENT);
    ck_assert_uint_eq(contents_of(5)->aborts, 0);
    ck_assert(!noted.lacks_start);
    const struct wal_contents *contents = contents_of(6);
    ck_assert(was_read && !noted.lacks_start);
    ck_assert_uint_eq(contents->aborts, 1);
    ck_assert_uint_eq(contents->commits, 0);
    ck_assert(wal_contents_may_have(contents, 555));
    ck_assert_int_eq(second_of(contents->last_end_at), 1234);
    ck_assert_int_eq(contents->last_commit_at.microseconds, 0);
}
END_TEST

START_TEST(an_unfinished_segment_is_read_as_far_as_it_goes)
{
    static const uint32_t sizes[] = {0, 1, 7, 40, 41, 4096};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        drop();
        make();
        for (uint32_t number = 0; number < 50; number++)
            commit(200 + number, 1000 + number);
        hold(1, 3, sizes[i]);
        const struct wal_contents *contents = contents_of(3);
        ck_assert(was_read);
        ck_assert_int_eq(file.state, WAL_FILE_PARTIAL);
        /* Each takes 40 bytes with its padding, the last one 34. */
        ck_assert_uint_eq(contents->commits, sizes[i] < 40                   ? 0
                                             : (sizes[i] - 40 + 6) / 40 < 50 ? (sizes[i] - 40 + 6) / 40
                                                                             : 50);
    }
    MUST(wal_archive_contents(&archive, segment_of(1, 9), &noted, &was_read, &file, &err));
    ck_assert_int_eq(file.state, WAL_FILE_MISSING);
}
END_TEST

/* With a checksum that is right again. */
static void damage_note(uint64_t number, const char *key, json_t *value)
{
    struct buffer text = repository_get(note_name(number));
    json_t *document = json_loadb((const char *)text.bytes, text.used, 0, NULL);
    char checksum[9];

    ck_assert_ptr_nonnull(document);
    json_object_set_new(document, key, value);
    json_object_del(document, "checksum");
    char *rest = json_dumps(document, JSON_COMPACT);
    snprintf(checksum, sizeof checksum, "%08x", crc32c_update(0, rest, strlen(rest)));
    json_object_set_new(document, "checksum", json_string(checksum));
    char *line = json_dumps(document, JSON_COMPACT);
    char *stored = memory_text("%s\n", line);
    repository_put(note_name(number), stored, strlen(stored));
    free(rest);
    free(line);
    free(stored);
    json_decref(document);
    buffer_done(&text);
}

START_TEST(a_flipped_bit_of_a_note_is_found)
{
    bool is_noted;

    make_two();
    hold_and_compress(3);
    hold_and_compress(4);
    struct buffer note = repository_get(note_name(4));
    for (size_t at = 0; at < note.used; at++) {
        note.bytes[at] ^= (uint8_t)(1 << at % 8);
        repository_put(note_name(4), note.bytes, note.used);
        ck_assert_msg(!wal_archive_read_note(&archive, segment_of(1, 4), &noted, &is_noted, &err) || !is_noted,
                      "byte %zu", at);
        note.bytes[at] ^= (uint8_t)(1 << at % 8);
    }
    repository_put(note_name(4), note.bytes, note.used - 1);
    ck_assert(!wal_archive_read_note(&archive, segment_of(1, 4), &noted, &is_noted, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    repository_put(note_name(4), note.bytes, note.used);
    ck_assert(wal_archive_read_note(&archive, segment_of(1, 4), &noted, &is_noted, &err) && is_noted);
    buffer_done(&note);
}
END_TEST

START_TEST(a_note_about_other_bytes_is_not_believed)
{
    make_two();
    hold_and_compress(3);
    struct buffer stale = repository_get(note_name(3));
    repository_put(note_name(4), stale.bytes, stale.used); /* of another segment */
    hold(1, 4, BUILDER_SEGMENT);
    MUST(wal_archive_compress(&archive, segment_of(1, 4), 3, &err));
    ck_assert_uint_eq(contents_of(4)->highest_transaction, 103);
    ck_assert(was_read);

    char digest[65];
    memset(digest, '0', 64);
    digest[64] = '\0';
    damage_note(3, "sha256", json_string(digest)); /* of the same segment, compressed otherwise */
    damage_note(3, "commits", json_integer(99));
    ck_assert_uint_eq(contents_of(3)->commits, 2);
    ck_assert(was_read);

    repository_put(note_name(3), stale.bytes, stale.used);
    ck_assert(contents_of(3)->commits == 2 && !was_read);
    unlink(repository_path("wal/00000001/00000000/000000010000000000000003.zst"));
    hold(1, 3, BUILDER_SEGMENT);
    ck_assert_uint_eq(contents_of(3)->commits, 2);
    ck_assert(was_read); /* not compressed */
    buffer_done(&stale);
}
END_TEST

START_TEST(a_damaged_note_is_an_error_for_who_asks_for_it_and_none_for_others)
{
    static const struct {
        const char *key, *value;
    } rows[] = {{"commits", "-1"},
                {"commits", "\"many\""},
                {"first_commit_at", "\"whenever\""},
                {"highest_xid", "4294967296"},
                {"restore_points", "[{\"lsn\":\"0/1\"}]"},
                {"restore_points", "[{\"name_hex\":\"zz\",\"lsn\":\"0/1\"}]"},
                {"restore_points", "[{\"name\":\"x\",\"lsn\":\"there\"}]"},
                {"timelines", "[{\"timeline\":1}]"},
                {"lacks_start", "0"},
                {"sha256", "7"},
                {"format", "2"}};
    bool is_noted;

    make_two();
    hold_and_compress(3);
    struct buffer right = repository_get(note_name(3));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        damage_note(3, rows[i].key, json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        ck_assert_msg(!wal_archive_read_note(&archive, segment_of(1, 3), &noted, &is_noted, &err), "%s", rows[i].value);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_uint_eq(contents_of(3)->commits, 2);
        ck_assert(was_read);
        repository_put(note_name(3), right.bytes, right.used);
    }
    damage_note(3, "added_later", json_true());
    ck_assert(wal_archive_read_note(&archive, segment_of(1, 3), &noted, &is_noted, &err) && is_noted);
    buffer_done(&right);
}
END_TEST

START_TEST(names_in_any_encoding_are_kept)
{
    char many[64];

    restore_point("caf\xE9 \x01", 10);
    restore_point("caf\xC3\xA9 \"quoted\"", 20);
    for (int i = 0; i < 70; i++) {
        snprintf(many, sizeof many, "%d", i);
        restore_point(many, 30 + i);
    }
    fill(64);
    builder_record(&wal, 500);
    hold_and_compress(3);
    const struct wal_contents *contents = contents_of(3);
    ck_assert(!was_read && contents->has_more_points);
    ck_assert_uint_eq(contents->point_count, WAL_CONTENTS_MOST_POINTS);
    ck_assert_str_eq(contents->points[0].name, "caf\xE9 \x01");
    ck_assert_str_eq(contents->points[1].name, "caf\xC3\xA9 \"quoted\"");
    ck_assert_str_eq(contents->points[63].name, "61");
}
END_TEST

START_TEST(what_is_no_wal_is_compressed_without_a_note)
{
    hold_segment(1, 3);
    repository_put(note_name(3), "{}", 2);
    compress(3);
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
    ck_assert(!wal_archive_has_note(&archive, segment_of(1, 3)));
    ck_assert(!wal_archive_contents(&archive, segment_of(1, 3), &noted, &was_read, &file, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

START_TEST(a_note_without_its_segment_is_removed_at_the_start)
{
    struct wal_segment *raw = NULL;
    size_t count;

    make_two();
    hold_and_compress(3);
    hold_and_compress(4);
    hold(1, 5, 100);
    repository_put(note_name(5), "{}", 2); /* of before: not believed, and written anew */
    repository_put("wal/00000001/00000000/mine.contents.json", "{}", 2);
    unlink(repository_path("wal/00000001/00000000/000000010000000000000003.zst"));
    MUST(wal_archive_recover(&archive, &raw, &count, &err));
    free(raw);
    ck_assert(!wal_archive_has_note(&archive, segment_of(1, 3)));
    ck_assert(wal_archive_has_note(&archive, segment_of(1, 4)));
    ck_assert(wal_archive_has_note(&archive, segment_of(1, 5)));
    ck_assert(repository_has("wal/00000001/00000000/mine.contents.json"));
}
END_TEST

START_TEST(every_key_of_a_note_is_explained)
{
    struct buffer page = BUFFER_WITH_LIMIT((size_t)1 << 20);
    char *explained = NULL;
    const char *key;
    json_t *value;

    make_two();
    hold_and_compress(3);
    struct buffer text = repository_get(note_name(3));
    json_t *note = json_loadb((const char *)text.bytes, text.used, 0, NULL);
    MUST(file_read_whole(TEST_SOURCE_DIRECTORY "/doc/repository-format.md", &page, &err));
    explained = memory_text("%.*s", (int)page.used, (const char *)page.bytes);
    const char *part = strstr(explained, "**SEGMENT.contents.json**");
    ck_assert_ptr_nonnull(part);
    json_object_foreach(note, key, value)
    {
        char *quoted SCOPED(scoped_free) = memory_text("\"%s\":", key);
        ck_assert_msg(strstr(part, quoted) != NULL, "\"%s\" is not in the example", key);
    }
    json_decref(note);
    free(explained);
    buffer_done(&text);
    buffer_done(&page);
}
END_TEST

START_TEST(notes_are_no_segments)
{
    struct wal_files files;

    make_two();
    hold_and_compress(3);
    repository_put(note_name(9), "{}", 2);
    MUST(wal_archive_list(&archive, &files, &err));
    ck_assert_uint_eq(files.count, 1);
    wal_files_done(&files);
}
END_TEST

START_TEST(the_last_record_before_an_end_is_found_across_segments)
{
    static const uint32_t held[] = {BUILDER_SEGMENT, 4096, 60, 41, 40, 7};
    struct wal_position found;

    builder_record(&wal, 100);
    fill(40);
    uint64_t last_of_first = commit(1, 1);
    uint64_t second = builder_next(&wal);
    ck_assert_uint_eq(second, 0x400000 + 40);
    commit(2, 2);
    uint64_t third = commit(3, 3);
    fill(64);
    builder_record(&wal, 500);
    hold(1, 3, BUILDER_SEGMENT);
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++) {
        struct wal_position end = {0x400000 + held[i]};
        unlink(repository_path("wal/00000001/00000000/000000010000000000000004"));
        hold(1, 4, held[i]);
        MUST(wal_archive_last_record(&archive, (struct timeline){1}, end, &found, &err));
        if (held[i] < 60)
            ck_assert_uint_eq(found.value, last_of_first);
        if (held[i] == 4096)
            ck_assert_uint_eq(found.value, third);
        unlink(repository_path("wal/00000001/00000000/000000010000000000000004.partial"));
    }
    hold(1, 4, BUILDER_SEGMENT);
    MUST(wal_archive_last_record(&archive, (struct timeline){1}, (struct wal_position){third}, &found, &err));
    ck_assert_uint_eq(found.value, second);
}
END_TEST

START_TEST(the_last_commit_is_looked_for_backwards)
{
    const struct history history = {.timeline = {1}};
    const struct timeline timeline = {1};

    commit(1, 1000);
    uint64_t second = commit(2, 2000);
    fill(64);
    builder_record(&wal, 2 * BUILDER_SEGMENT);
    fill(64);
    builder_record(&wal, 500);
    for (uint64_t number = 3; number <= 5; number++)
        hold_and_compress(number);
    hold(1, 6, 4096);
    struct timestamp last =
        wal_archive_last_commit(&archive, &history, timeline, (struct wal_position){0x600000 + 4096});
    ck_assert_int_eq(second_of(last), 2000);
    last = wal_archive_last_commit(&archive, &history, timeline, (struct wal_position){second});
    ck_assert_int_eq(second_of(last), 1000);
    last = wal_archive_last_commit(&archive, &history, timeline, (struct wal_position){0x300028});
    ck_assert_int_eq(last.microseconds, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal_contents");

    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, a_compressed_segment_is_noted_with_what_ends_in_it);
    tcase_add_test(tests, the_note_and_the_segment_say_the_same);
    tcase_add_test(tests, noting_begins_anywhere_with_the_record_that_runs_in);
    tcase_add_test(tests, a_record_without_its_beginning_is_left_out_until_that_is_held);
    tcase_add_test(tests, a_record_larger_than_segments_is_followed_to_its_beginning);
    tcase_add_test(tests, an_unfinished_segment_is_read_as_far_as_it_goes);
    tcase_add_test(tests, a_flipped_bit_of_a_note_is_found);
    tcase_add_test(tests, a_note_about_other_bytes_is_not_believed);
    tcase_add_test(tests, a_damaged_note_is_an_error_for_who_asks_for_it_and_none_for_others);
    tcase_add_test(tests, names_in_any_encoding_are_kept);
    tcase_add_test(tests, what_is_no_wal_is_compressed_without_a_note);
    tcase_add_test(tests, a_note_without_its_segment_is_removed_at_the_start);
    tcase_add_test(tests, every_key_of_a_note_is_explained);
    tcase_add_test(tests, notes_are_no_segments);
    tcase_add_test(tests, the_last_record_before_an_end_is_found_across_segments);
    tcase_add_test(tests, the_last_commit_is_looked_for_backwards);
    return suite_run("wal_contents", tests);
}
