#include <stdlib.h>
#include <string.h>

#include "jobs/exporter/metrics_internal.h"
#include "pgcoffer/base/atomic_file.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "support/suite.h"

#define FOLDER     TEST_SOURCE_DIRECTORY "/test/jobs/metrics/"
#define MANUAL     TEST_SOURCE_DIRECTORY "/doc/man/pgcoffer-metrics.7.scd"
#define MOST_BYTES ((size_t)64 << 20)

static const struct {
    const char *name, *labels, *unit, *help;
    enum metric_type type;
    enum metric_basis basis;
} rows[] = {
#define METRIC(name, type, of, basis, unit, labels, help) {#name, labels, unit, help, METRIC_##type, METRIC_##basis},
#include "jobs/exporter/metrics.def"
#undef METRIC
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

static char *text_of(struct buffer *buffer)
{
    char *text = memory_text("%.*s", (int)buffer->used, (const char *)buffer->bytes);

    buffer_done(buffer);
    return text;
}

static char *read_file(const char *path)
{
    struct buffer bytes = BUFFER_WITH_LIMIT(MOST_BYTES);
    struct error err;

    ck_assert_msg(file_read_whole(path, &bytes, &err), "%s", err.message);
    return text_of(&bytes);
}

static json_t *read_state(void)
{
    char *text SCOPED(scoped_free) = read_file(FOLDER "state.json");
    struct error err;
    json_t *state = json_parse_object(text, strlen(text), &err);

    ck_assert_msg(state != NULL, "%s", err.message);
    return state;
}

static char *written(const json_t *state, enum metrics_format format)
{
    struct buffer out = BUFFER_WITH_LIMIT(MOST_BYTES);

    metrics_write(&out, state, format);
    return text_of(&out);
}

/* What stands behind `begin`, which is that of a line; "none". */
static char *number_of(const char *text, const char *begin)
{
    const char *at = strstr(text, begin);

    if (at == NULL)
        return memory_copy_text("none");
    at = strchr(at, ' ') + 1;
    return memory_text("%.*s", (int)strcspn(at, "\n"), at);
}

/* Takes `value`; `key` of the first server's receiver is another. */
static char *figure_with(const char *begin, const char *key, json_t *value, const char *now)
{
    json_t *state SCOPED(scoped_json) = read_state();
    json_t *receiver = json_object_get(json_array_get(json_object_get(state, "servers"), 0), "receiver");

    json_object_set_new(receiver, key, value);
    json_object_set_new(state, "now", json_string(now));
    char *all SCOPED(scoped_free) = written(state, METRICS_PROMETHEUS);
    return number_of(all, begin);
}

static void check_lag(const char *key, json_t *value, const char *now, const char *expected)
{
    char *lag SCOPED(scoped_free) = figure_with("\npgcoffer_wal_lag_seconds{server=\"primary\"} ", key, value, now);

    ck_assert_str_eq(lag, expected);
}

static void check_lag_bytes(const char *key, json_t *value, const char *now, const char *expected)
{
    char *lag SCOPED(scoped_free) =
        figure_with("\npgcoffer_wal_lag_bytes{server=\"primary\",stage=\"flushed\"} ", key, value, now);

    ck_assert_str_eq(lag, expected);
}

static void compare(const char *path, const char *text)
{
    struct error err;

    if (getenv("UPDATE_GOLDEN") != NULL)
        ck_assert_msg(atomic_file_put(path, 0644, text, strlen(text), &err), "%s", err.message);
    char *expected SCOPED(scoped_free) = read_file(path);
    ck_assert_msg(strcmp(expected, text) == 0, "%s differs from what is written; run this test with UPDATE_GOLDEN=1",
                  path);
}

START_TEST(a_state_gives_these_very_bytes_in_both_formats)
{
    json_t *state SCOPED(scoped_json) = read_state();
    char *prometheus SCOPED(scoped_free) = written(state, METRICS_PROMETHEUS);
    char *open SCOPED(scoped_free) = written(state, METRICS_OPENMETRICS);

    compare(FOLDER "state.prom", prometheus);
    compare(FOLDER "state.openmetrics", open);
    size_t size = strlen(open);
    ck_assert_str_eq(open + size - 6, "# EOF\n");
}
END_TEST

START_TEST(every_row_has_samples_where_all_is_known)
{
    char *text SCOPED(scoped_free) = read_file(FOLDER "state.prom");

    for (size_t i = 0; i < ROW_COUNT; i++) {
        char *begin SCOPED(scoped_free) = memory_text("\n%s%c", rows[i].name, rows[i].labels[0] != '\0' ? '{' : ' ');
        ck_assert_msg(strstr(text, begin) != NULL, "%s has no sample", rows[i].name);
    }
}
END_TEST

START_TEST(a_row_is_named_as_its_type_and_unit_say)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *name = rows[i].name;
        bool is_total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
        ck_assert_msg(is_total == (rows[i].type == METRIC_COUNTER), "%s", name);
        char *base SCOPED(scoped_free) = memory_text("%.*s", (int)(strlen(name) - (is_total ? 6 : 0)), name);
        char *ending SCOPED(scoped_free) = memory_text("_%s", rows[i].unit);
        if (rows[i].unit[0] != '\0')
            ck_assert_msg(strlen(base) > strlen(ending) && strcmp(base + strlen(base) - strlen(ending), ending) == 0,
                          "%s does not end with its unit", name);
        size_t size = strlen(rows[i].help);
        ck_assert_msg(rows[i].help[size - 1] == '.', "%s: the help is a sentence", name);
        for (size_t other = 0; other < i; other++)
            ck_assert_str_ne(name, rows[other].name);
    }
}
END_TEST

/* "{_server_,_state_}", as the page writes the labels. */
static char *labels_of(const char *labels)
{
    char *text = memory_copy_text("");

    for (const char *at = labels; *at != '\0'; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
        char *before SCOPED(scoped_free) = text;
        text = memory_text("%s%s_%.*s_", before, before[0] == '\0' ? "{" : ",", (int)strcspn(at, ","), at);
    }
    char *all SCOPED(scoped_free) = text;
    return memory_text("%s%s", all, all[0] != '\0' ? "}" : "");
}

START_TEST(the_manual_page_names_every_row_with_its_labels_type_and_basis)
{
    static const char *const types[] = {"gauge", "counter", "info"}, *const bases[] = {"now", "receiver", "survey"};
    char *page SCOPED(scoped_free) = read_file(MANUAL);
    size_t entries = 0;

    for (size_t i = 0; i < ROW_COUNT; i++) {
        char *labels SCOPED(scoped_free) = labels_of(rows[i].labels);
        char *entry SCOPED(scoped_free) =
            memory_text("\n*%s*%s (%s, %s)\n\t", rows[i].name, labels, types[rows[i].type], bases[rows[i].basis]);
        ck_assert_msg(strstr(page, entry) != NULL, "the page has no entry %s", entry);
    }
    for (const char *at = strstr(page, ")\n\t"); at != NULL; at = strstr(at + 1, ")\n\t"))
        entries++;
    ck_assert_uint_eq(entries, ROW_COUNT); /* and none that is gone */
}
END_TEST

START_TEST(nothing_known_is_nothing_said)
{
    static const char *const states[] = {
        "{}", "{\"servers\":null,\"jobs\":7,\"counts\":[]}", "{\"servers\":[7,null,{}],\"jobs\":[null,{}]}",
        "{\"servers\":[{\"server\":\"x\"},{\"server\":7,\"receiver\":{\"state\":\"streaming\"}}]}"};

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        struct error err;
        json_t *state SCOPED(scoped_json) = json_parse_object(states[i], strlen(states[i]), &err);
        char *prometheus SCOPED(scoped_free) = written(state, METRICS_PROMETHEUS);
        char *open SCOPED(scoped_free) = written(state, METRICS_OPENMETRICS);
        ck_assert_str_eq(prometheus, "");
        ck_assert_str_eq(open, "# EOF\n");
    }
}
END_TEST

/* Each part of STATE is once gone, and once of another type. */
static void break_and_write(json_t *state, json_t *object)
{
    json_t *members SCOPED(scoped_json) = json_copy(object);
    const char *key;
    json_t *value;

    json_object_foreach(members, key, value)
    {
        json_t *const others[] = {NULL, json_string("x"), json_integer(-1), json_pack("[{}]")};
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
            if (others[i] == NULL)
                json_object_del(object, key);
            else
                json_object_set_new(object, key, others[i]);
            char *text SCOPED(scoped_free) = written(state, METRICS_OPENMETRICS);
            ck_assert_ptr_nonnull(strstr(text, "# EOF\n"));
            ck_assert_ptr_null(strstr(text, "nan"));
            ck_assert_ptr_null(strstr(text, "inf\n"));
        }
        json_object_set(object, key, value);
        if (json_is_object(value))
            break_and_write(state, value);
    }
}

START_TEST(a_part_that_is_missing_or_of_another_type_is_passed_over)
{
    json_t *state SCOPED(scoped_json) = read_state();
    json_t *servers = json_object_get(state, "servers");

    break_and_write(state, state);
    break_and_write(state, json_array_get(servers, 0));
    break_and_write(state, json_array_get(json_object_get(state, "jobs"), 0));
}
END_TEST

START_TEST(lag_in_seconds_is_0_only_while_all_is_here_and_the_server_is_heard)
{
    /* 512 bytes behind: counted from when all was here */
    check_lag("port", json_integer(1), "2026-11-22T20:00:00Z", "2.5");
    check_lag("flushed", json_string("0/5000200"), "2026-11-22T20:00:00Z", "0");
    /* not heard for half a minute, in steps and no further than the clock */
    check_lag("flushed", json_string("0/5000200"), "2026-11-22T20:00:29Z", "0");
    check_lag("flushed", json_string("0/5000200"), "2026-11-22T20:00:30Z", "32.5");
    check_lag("flushed", json_string("0/5000200"), "2026-11-22T20:10:00Z", "602.5");
    check_lag("state", json_string("connecting"), "2026-11-22T20:00:00Z", "2.5");
    check_lag("caught_up_at", json_null(), "2026-11-22T20:00:00Z", "none");
    /* the clock was set back */
    check_lag("port", json_integer(1), "2026-11-22T19:00:00Z", "none");
    check_lag("flushed", json_string("0/5000200"), "2026-11-22T19:00:00Z", "none");
    check_lag("flushed", json_string("0/5000200"), "2026-11-22T19:59:40Z", "0");
}
END_TEST

START_TEST(lag_in_bytes_is_not_told_of_a_server_that_is_not_heard)
{
    check_lag_bytes("port", json_integer(1), "2026-11-22T20:00:29Z", "512");
    check_lag_bytes("flushed", json_string("0/5000200"), "2026-11-22T20:00:29Z", "0");
    check_lag_bytes("flushed", json_string("0/5000200"), "2026-11-22T20:00:30Z", "none");
    check_lag_bytes("port", json_integer(1), "2026-11-22T20:00:30Z", "none");
    check_lag_bytes("state", json_string("waiting"), "2026-11-22T20:00:00Z", "none");
    check_lag_bytes("last_message_at", json_null(), "2026-11-22T20:00:00Z", "none");
}
END_TEST

/* Two servers; takes their rooms. */
static json_t *state_with_rooms(const char *state, json_t *room, json_t *other_room)
{
    return json_pack("{s:s, s:[{s:s, s:{s:s, s:o}, s:{s:{s:i}}}, {s:s, s:{s:s, s:o}}]}", "now", "2026-11-22T20:00:00Z",
                     "servers", "server", "a", "receiver", "state", state, "room", room, "survey", "room", "free", 7,
                     "server", "b", "receiver", "state", "streaming", "room", other_room);
}

static json_t *room_on(const char *disk, json_int_t free_bytes, json_int_t rate, const char *full_at)
{
    return json_pack("{s:s, s:I, s:I, s:s?}", "disk", disk, "free", free_bytes, "rate", rate, "full_at", full_at);
}

static void check_room(json_t *state, const char *free_bytes, const char *full_at)
{
    char *text SCOPED(scoped_free) = written(state, METRICS_PROMETHEUS);
    char *has_free SCOPED(scoped_free) = number_of(text, "\npgcoffer_repository_free_bytes{server=\"a\"} ");
    char *has_end SCOPED(scoped_free) = number_of(text, "\npgcoffer_repository_full_timestamp_seconds{server=\"a\"} ");

    json_decref(state);
    ck_assert_str_eq(has_free, free_bytes);
    ck_assert_str_eq(has_end, full_at);
}

/* It is 1795377600. */
START_TEST(a_disk_is_full_when_all_servers_on_it_have_filled_it)
{
    const char *own = "2026-11-23T06:00:00Z";

    check_room(state_with_rooms("streaming", room_on("x", 1000, 100, own), room_on("y", 900, 900, NULL)), "1000",
               "1795413600");
    check_room(state_with_rooms("streaming", room_on("x", 1000, 100, own), room_on("x", 990, 900, NULL)), "1000",
               "1795381200");
    check_room(state_with_rooms("streaming", room_on("x", 1000, 0, NULL), room_on("x", 990, 500, own)), "1000",
               "1795384800");
    check_room(state_with_rooms("streaming", room_on("x", 1000, 0, NULL), room_on("x", 990, 0, NULL)), "1000", "none");
    check_room(state_with_rooms("streaming", room_on("x", INT64_C(1) << 50, 0, NULL), room_on("x", 990, 1, NULL)),
               "1125899906842624", "none");
    /* nobody looks any more: what the survey saw last */
    check_room(state_with_rooms("stopped", room_on("x", 1000, 100, own), room_on("x", 990, 900, NULL)), "7", "none");
    check_room(state_with_rooms("waiting", json_null(), room_on("x", 990, 900, NULL)), "7", "none");
}
END_TEST

static void check_failed(int count, const char *unreadable, const char *expected)
{
    json_t *state SCOPED(scoped_json) = json_pack("{s:[{s:s, s:{s:{s:i, s:s?}}}]}", "servers", "server", "a", "survey",
                                                  "proofs", "failed_count", count, "unreadable", unreadable);
    char *text SCOPED(scoped_free) = written(state, METRICS_PROMETHEUS);
    char *has SCOPED(scoped_free) = number_of(text, "\npgcoffer_verify_failed_backups{server=\"a\"} ");

    ck_assert_str_eq(has, expected);
}

START_TEST(no_damage_is_not_told_while_a_proof_cannot_be_read)
{
    check_failed(0, NULL, "0");
    check_failed(0, "verified.json is damaged", "none");
    check_failed(2, "verified.json is damaged", "2");
}
END_TEST

/* Of a name, whatever it is, the label is read back as it was. */
static void check_name(const char *name)
{
    json_t *state SCOPED(scoped_json) =
        json_pack("{s:[{s:s, s:{s:b}}]}", "servers", "server", name, "receiver", "up", 1);
    char *text SCOPED(scoped_free) = written(state, METRICS_OPENMETRICS);
    const char *at = strstr(text, "\npgcoffer_server_up{server=\"");
    char *back SCOPED(scoped_free) = memory_new(strlen(name) + 1);
    size_t size = 0;

    ck_assert_ptr_nonnull(at);
    for (at = strchr(at, '"') + 1; *at != '"'; at++) {
        ck_assert(*at != '\n' && size < strlen(name));
        if (*at == '\\')
            at++;
        back[size++] = at[-1] == '\\' && *at == 'n' ? '\n' : *at;
    }
    ck_assert_str_eq(back, name);
    ck_assert_int_eq(strncmp(at, "\"} 1\n", 5), 0);
}

START_TEST(a_label_may_be_any_text)
{
    check_name("a\"b");
    check_name("\"");
    check_name("back\\slash");
    check_name("two\nlines\n");
    check_name("<script>alert('&')</script>");
    check_name("{x=\"y\"} 7");
    check_name("gr\xc3\xbc\xc3\x9f");
    check_name("");
}
END_TEST

/* The next of the rows that the line begins the family of; true for every other line. */
static bool is_next_family(const char *line, size_t *next)
{
    const char *name = line + strlen("# TYPE ");

    if (strncmp(line, "# TYPE ", strlen("# TYPE ")) != 0)
        return true;
    return *next < ROW_COUNT && strncmp(name, rows[*next].name, strcspn(name, " ")) == 0 && ++*next > 0;
}

START_TEST(a_thousand_servers_are_told_family_by_family)
{
    json_t *state SCOPED(scoped_json) = read_state();
    json_t *servers = json_object_get(state, "servers");
    const json_t *first = json_array_get(servers, 0);
    size_t families = 0, gaps = 0;

    for (int i = 0; i < 1000; i++) {
        char *name SCOPED(scoped_free) = memory_text("server%d", i);
        json_t *server = json_copy((json_t *)first);
        json_object_set_new(server, "server", json_string(name));
        json_array_append_new(servers, server);
    }
    char *text SCOPED(scoped_free) = written(state, METRICS_PROMETHEUS);
    ck_assert_uint_lt(strlen(text), (size_t)8 << 20);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        ck_assert_msg(is_next_family(line, &families), "%.80s", line);
        gaps += strncmp(line, "pgcoffer_wal_gaps{server=\"server", 32) == 0;
    }
    ck_assert_uint_eq(families, ROW_COUNT);
    ck_assert_uint_eq(gaps, 1000);
}
END_TEST

START_TEST(what_does_not_fit_is_no_answer_rather_than_half_a_one)
{
    json_t *state SCOPED(scoped_json) = read_state();
    struct buffer out = BUFFER_WITH_LIMIT(4000);

    metrics_write(&out, state, METRICS_PROMETHEUS);
    ck_assert_uint_eq(out.used, 0);
    buffer_done(&out);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("metrics");

    tcase_add_test(tests, a_state_gives_these_very_bytes_in_both_formats);
    tcase_add_test(tests, every_row_has_samples_where_all_is_known);
    tcase_add_test(tests, a_row_is_named_as_its_type_and_unit_say);
    tcase_add_test(tests, the_manual_page_names_every_row_with_its_labels_type_and_basis);
    tcase_add_test(tests, nothing_known_is_nothing_said);
    tcase_add_test(tests, a_part_that_is_missing_or_of_another_type_is_passed_over);
    tcase_add_test(tests, lag_in_seconds_is_0_only_while_all_is_here_and_the_server_is_heard);
    tcase_add_test(tests, lag_in_bytes_is_not_told_of_a_server_that_is_not_heard);
    tcase_add_test(tests, a_disk_is_full_when_all_servers_on_it_have_filled_it);
    tcase_add_test(tests, no_damage_is_not_told_while_a_proof_cannot_be_read);
    tcase_add_test(tests, a_label_may_be_any_text);
    tcase_add_test(tests, a_thousand_servers_are_told_family_by_family);
    tcase_add_test(tests, what_does_not_fit_is_no_answer_rather_than_half_a_one);
    return suite_run("metrics", tests);
}
