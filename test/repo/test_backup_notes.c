#include "repo/repository.h"

#include "pgcoffer/repo/backup_notes.h"

static const struct timestamp now = {INT64_C(1795311000000000)};
static struct backup_id id;
static struct error err;

static void make(void)
{
    repository_make();
    MUST(repo_create_backup(&repo, "primary", &system_id, now, &id, &err));
}

static const char *note(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "backup/%s/%s", id.text, name);
    return path;
}

static struct backup_pin read_pin(void)
{
    struct backup_pin pin;

    MUST(backup_pin_read(&repo, "primary", &system_id, &id, &pin, &err));
    return pin;
}

static void write_pin(const char *reason, int64_t until)
{
    struct backup_pin pin = {.pinned_at = now, .until = {until}};

    snprintf(pin.reason, sizeof pin.reason, "%s", reason);
    MUST(backup_pin_write(&repo, "primary", &system_id, &id, &pin, &err));
}

START_TEST(a_pin_holds_until_its_moment_or_for_ever)
{
    ck_assert(!read_pin().is_pinned);
    write_pin("before the \"move\" \xc3\xbc", now.microseconds + 10);
    struct backup_pin pin = read_pin();
    ck_assert(pin.is_pinned);
    ck_assert_str_eq(pin.reason, "before the \"move\" \xc3\xbc");
    ck_assert_int_eq(pin.pinned_at.microseconds, now.microseconds);
    ck_assert(backup_pin_holds(&pin, (struct timestamp){now.microseconds + 9}));
    ck_assert(!backup_pin_holds(&pin, (struct timestamp){now.microseconds + 10}));
    write_pin("", 0);
    pin = read_pin();
    ck_assert(backup_pin_holds(&pin, (struct timestamp){INT64_MAX}));
}
END_TEST

START_TEST(a_pin_is_taken_away_once)
{
    bool was_there = false;

    write_pin("", 0);
    MUST(backup_pin_remove(&repo, "primary", &system_id, &id, &was_there, &err));
    ck_assert(was_there);
    ck_assert(!read_pin().is_pinned);
    MUST(backup_pin_remove(&repo, "primary", &system_id, &id, &was_there, &err));
    ck_assert(!was_there);
}
END_TEST

/* A flipped bit must not make a pinned backup one that expire may remove. */
START_TEST(every_flipped_bit_of_a_pin_keeps_the_backup)
{
    struct backup_pin pin;
    char bytes[256];

    write_pin("keep", now.microseconds + 10);
    int fd = open(repository_path(note("pin.json")), O_RDWR);
    ssize_t size = pread(fd, bytes, sizeof bytes, 0);
    ck_assert_int_gt(size, 60);
    for (ssize_t i = 0; i < size * 8; i++) {
        char flipped = (char)(bytes[i / 8] ^ (1 << (i % 8)));
        ck_assert_int_eq(pwrite(fd, &flipped, 1, i / 8), 1);
        ck_assert(!backup_pin_read(&repo, "primary", &system_id, &id, &pin, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert(backup_pin_holds(&pin, (struct timestamp){INT64_MAX}));
        ck_assert_int_eq(pwrite(fd, bytes + i / 8, 1, i / 8), 1);
    }
    close(fd);
    ck_assert_int_eq(read_pin().until.microseconds, now.microseconds + 10);
}
END_TEST

START_TEST(a_note_that_is_too_large_or_newer_is_refused)
{
    static char large[BACKUP_NOTE_MOST_BYTES + 1];
    static const char newer[] = "{\"format\":2}\n";
    struct backup_pin pin;

    memset(large, ' ', sizeof large);
    repository_put(note("pin.json"), large, sizeof large);
    ck_assert(!backup_pin_read(&repo, "primary", &system_id, &id, &pin, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    repository_put(note("pin.json"), newer, strlen(newer));
    ck_assert(!backup_pin_read(&repo, "primary", &system_id, &id, &pin, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "has format 2"));
    ck_assert(pin.is_pinned);
}
END_TEST

START_TEST(a_reason_with_control_characters_is_refused)
{
    struct backup_pin pin = {.pinned_at = now, .reason = "one\ntwo"};

    ck_assert(!backup_pin_write(&repo, "primary", &system_id, &id, &pin, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    snprintf(pin.reason, sizeof pin.reason, "\xff");
    ck_assert(!backup_pin_write(&repo, "primary", &system_id, &id, &pin, &err));
    snprintf(pin.reason, sizeof pin.reason,
             "\xc2\x9b"
             "2J"); /* a terminal clears its screen */
    ck_assert(!backup_pin_write(&repo, "primary", &system_id, &id, &pin, &err));
    ck_assert(!repository_has(note("pin.json")));
}
END_TEST

static void store_annotations(const struct backup_annotations *annotations)
{
    MUST(backup_annotations_write(&repo, "primary", &system_id, &id, annotations, &err));
}

START_TEST(annotations_are_kept_sorted_and_replaced_and_removed)
{
    struct backup_annotations written SCOPED(scoped_backup_annotations) = {.count = 0};
    struct backup_annotations annotations SCOPED(scoped_backup_annotations) = {.count = 0};

    MUST(backup_annotations_set(&written, "ticket", "OPS-1", &err));
    MUST(backup_annotations_set(&written, "by", "m\xc3\xbcller = \"dba\"", &err));
    MUST(backup_annotations_set(&written, "ticket", "OPS-2", &err));
    MUST(backup_annotations_set(&written, "old", "x", &err));
    MUST(backup_annotations_set(&written, "old", "", &err));
    MUST(backup_annotations_set(&written, "never", "", &err));
    store_annotations(&written);
    MUST(backup_annotations_read(&repo, "primary", &system_id, &id, &annotations, &err));
    ck_assert_uint_eq(annotations.count, 2);
    ck_assert_str_eq(annotations.entries[0].key, "by");
    ck_assert_str_eq(annotations.entries[0].value, "m\xc3\xbcller = \"dba\"");
    ck_assert_str_eq(annotations.entries[1].value, "OPS-2");
    backup_annotations_done(&written);
    store_annotations(&written);
    ck_assert(!repository_has(note("annotations.json")));
}
END_TEST

static void assert_refused(struct backup_annotations *annotations, const char *key, const char *value,
                           const char *words)
{
    size_t count = annotations->count;

    ck_assert(!backup_annotations_set(annotations, key, value, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
    ck_assert_uint_eq(annotations->count, count);
}

START_TEST(bad_annotations_are_refused_by_name)
{
    struct backup_annotations annotations SCOPED(scoped_backup_annotations) = {.count = 0};
    char key[BACKUP_ANNOTATION_KEY_MOST + 2] = "", value[BACKUP_ANNOTATION_VALUE_MOST + 2] = "";

    memset(key, 'k', sizeof key - 1);
    memset(value, 'v', sizeof value - 1);
    assert_refused(&annotations, "", "x", "the key");
    assert_refused(&annotations, "a b", "x", "the key");
    assert_refused(&annotations, "a\n", "x", "the key");
    assert_refused(&annotations, key, "x", "the key");
    assert_refused(&annotations, "key", value, "longer than 1024");
    assert_refused(&annotations, "key", "\x1b[2J", "control characters");
    assert_refused(&annotations, "key", "a\x7f", "control characters");
    assert_refused(&annotations, "key", "\xc3", "not UTF-8");
    key[BACKUP_ANNOTATION_KEY_MOST] = '\0';
    value[BACKUP_ANNOTATION_VALUE_MOST] = '\0';
    MUST(backup_annotations_set(&annotations, key, value, &err));
}
END_TEST

START_TEST(too_many_annotations_are_refused_and_the_most_fit_into_the_file)
{
    struct backup_annotations annotations SCOPED(scoped_backup_annotations) = {.count = 0};
    struct backup_annotations read SCOPED(scoped_backup_annotations) = {.count = 0};
    char key[8], value[BACKUP_ANNOTATION_VALUE_MOST + 1] = "";

    /* The worst for the file: each byte of the values is escaped. */
    memset(value, '"', 125);
    for (int i = 0; i < BACKUP_ANNOTATIONS_MOST; i++) {
        snprintf(key, sizeof key, "%03d", i);
        MUST(backup_annotations_set(&annotations, key, value, &err));
    }
    assert_refused(&annotations, "one-more", "x", "at most 64 annotations");
    memset(value, '"', BACKUP_ANNOTATION_VALUE_MOST);
    assert_refused(&annotations, "000", value, "at most 16384 bytes");
    store_annotations(&annotations);
    MUST(backup_annotations_read(&repo, "primary", &system_id, &id, &read, &err));
    ck_assert_uint_eq(read.count, BACKUP_ANNOTATIONS_MOST);
}
END_TEST

START_TEST(a_verification_is_remembered_with_its_words)
{
    struct backup_proof proof = {.at = now, .milliseconds = 1234}, read;

    MUST(backup_verified_read(&repo, "primary", &system_id, &id, &read, &err));
    ck_assert_int_eq(read.at.microseconds, 0);
    memset(proof.words, 'w', sizeof proof.words - 1);
    memcpy(proof.words, "a\nb\xff", 4);
    proof.words[sizeof proof.words - 2] = '\xc3'; /* half a character, as a cut leaves it */
    MUST(backup_verified_write(&repo, "primary", &system_id, &id, &proof, &err));
    MUST(backup_verified_read(&repo, "primary", &system_id, &id, &read, &err));
    ck_assert_int_eq(read.at.microseconds, now.microseconds);
    ck_assert(!read.is_good);
    ck_assert_uint_eq(read.milliseconds, 1234);
    ck_assert_uint_eq(strlen(read.words), sizeof read.words - 1);
    ck_assert_int_eq(strncmp(read.words, "a?b?", 4), 0);
    proof = (struct backup_proof){.at = {now.microseconds + 1}, .is_good = true};
    MUST(backup_verified_write(&repo, "primary", &system_id, &id, &proof, &err));
    MUST(backup_verified_read(&repo, "primary", &system_id, &id, &read, &err));
    ck_assert(read.is_good);
    ck_assert_str_eq(read.words, "");
}
END_TEST

START_TEST(the_last_drill_of_the_server_outlives_its_backup)
{
    struct backup_drill drill = {.system = system_id, .server_version = 150018, .rows = 7}, read;

    drill.backup = id;
    drill.proof = (struct backup_proof){.at = now, .is_good = true, .milliseconds = 61000};
    drill.was_run[DRILL_RESTORE] = drill.was_run[DRILL_QUERY] = true;
    drill.phase_milliseconds[DRILL_RESTORE] = 50000;
    snprintf(drill.target, sizeof drill.target, "time 2026-11-22T01:30:00Z");
    MUST(server_drill_read(&repo, "primary", &read, &err));
    ck_assert_int_eq(read.proof.at.microseconds, 0);
    MUST(backup_drill_write(&repo, "primary", &drill, &err));
    MUST(backup_drill_read(&repo, "primary", &system_id, &id, &read, &err));
    ck_assert_uint_eq(read.phase_milliseconds[DRILL_RESTORE], 50000);
    ck_assert(read.was_run[DRILL_QUERY] && !read.was_run[DRILL_AMCHECK]);
    char *folder SCOPED(scoped_free) = repo_backup_path(&repo, "primary", &system_id, &id, "");
    MUST(file_remove_tree(folder, &err));
    MUST(server_drill_read(&repo, "primary", &read, &err));
    ck_assert_str_eq(read.backup.text, id.text);
    ck_assert_str_eq(read.target, "time 2026-11-22T01:30:00Z");
    ck_assert_uint_eq(read.proof.milliseconds, 61000);
    ck_assert_uint_eq(read.rows, 7);
    ck_assert_int_eq(read.server_version, 150018);
}
END_TEST

START_TEST(a_drill_told_over_the_wire_says_only_what_it_found)
{
    struct backup_drill told = {.server_version = 150018, .rows = 3}, drill = {.rows = 0};

    told.proof = (struct backup_proof){.at = now, .milliseconds = 7, .words = "frame 3 of \"base\" is\ndamaged"};
    told.was_run[DRILL_START] = true;
    snprintf(told.backup.text, sizeof told.backup.text, "20200101T000000Z");
    drill.backup = id;
    char *text SCOPED(scoped_free) = backup_drill_result_text(&told);
    MUST(backup_drill_parse_result(text, strlen(text), &drill, &err));
    ck_assert_str_eq(drill.backup.text, id.text);
    ck_assert_int_eq(drill.proof.at.microseconds, 0);
    ck_assert_str_eq(drill.proof.words, "frame 3 of \"base\" is?damaged");
    ck_assert(drill.was_run[DRILL_START] && !drill.was_run[DRILL_RESTORE] && !drill.proof.is_good);
}
END_TEST

static const struct {
    const char *text, *message;
} refused[] = {
    {"{}", "\"good\" is missing"},
    {"[]", "not an object"},
    {"{\"good\":1}", "\"good\" is neither"},
    {"{\"good\":true,\"milliseconds\":-1}", "\"milliseconds\" is -1"},
    {"{\"good\":true,\"milliseconds\":1,\"words\":\"\\u001b[2J\"}", "\"words\" is too long or has control"},
    {"{\"good\":true,\"milliseconds\":1,\"words\":\"\",\"phases\":[]}", "\"phases\" is no object"},
    {"{\"good\":true,\"milliseconds\":1,\"words\":\"\",\"phases\":{\"start\":\"1\"}}", "\"start\" is not a whole"},
    {"{\"good\":true,\"milliseconds\":1,\"words\":\"\",\"phases\":{},\"target\":7}", "\"target\" is not a text"},
    {"{\"good\":true,\"milliseconds\":1,\"words\":\"\",\"phases\":{},\"target\":\"\",\"rows\":0,"
     "\"server_version\":10000000}",
     "\"server_version\" is 10000000"},
};

START_TEST(a_drill_that_tells_nonsense_is_refused)
{
    struct backup_drill drill = {.rows = 5};

    ck_assert(!backup_drill_parse_result(refused[_i].text, strlen(refused[_i].text), &drill, &err));
    ck_assert_msg(strstr(err.message, refused[_i].message) != NULL, "%s", err.message);
    ck_assert_uint_eq(drill.rows, 5);
}
END_TEST

int main(void)
{
    TCase *group = tcase_create("notes");

    tcase_add_checked_fixture(group, make, repository_remove);
    tcase_add_test(group, a_pin_holds_until_its_moment_or_for_ever);
    tcase_add_test(group, a_pin_is_taken_away_once);
    tcase_add_test(group, every_flipped_bit_of_a_pin_keeps_the_backup);
    tcase_add_test(group, a_note_that_is_too_large_or_newer_is_refused);
    tcase_add_test(group, a_reason_with_control_characters_is_refused);
    tcase_add_test(group, annotations_are_kept_sorted_and_replaced_and_removed);
    tcase_add_test(group, bad_annotations_are_refused_by_name);
    tcase_add_test(group, too_many_annotations_are_refused_and_the_most_fit_into_the_file);
    tcase_add_test(group, a_verification_is_remembered_with_its_words);
    tcase_add_test(group, the_last_drill_of_the_server_outlives_its_backup);
    tcase_add_test(group, a_drill_told_over_the_wire_says_only_what_it_found);
    tcase_add_loop_test(group, a_drill_that_tells_nonsense_is_refused, 0, (int)(sizeof refused / sizeof refused[0]));
    return suite_run("backup notes", group);
}
