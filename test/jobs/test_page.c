#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/exporter/exporter_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/jobs/stored_words.h"
#include "support/suite.h"

#define FOLDER TEST_SOURCE_DIRECTORY "/test/jobs/exporter/"
#define LIMIT  (4 << 20)

/* Server 0, "orders", has a gap, a damaged backup, a job and failures; server 1, "billing", is well. */
static json_t *state;
static char *page;

static void make(void)
{
    json_error_t error;

    state = json_load_file(FOLDER "page_two_servers.json", 0, &error);
    ck_assert_msg(state != NULL, "%s", error.text);
    page = NULL;
}

static void drop(void)
{
    json_decref(state);
    free(page);
}

static json_t *server(size_t number)
{
    return json_array_get(json_object_get(state, "servers"), number);
}

static json_t *at(json_t *object, const char *path)
{
    char *left = memory_copy_text(path), *rest = left;

    for (char *key; (key = strsep(&rest, "/")) != NULL;)
        object = json_is_array(object) ? json_array_get(object, strtoul(key, NULL, 10)) : json_object_get(object, key);
    free(left);
    return object;
}

static const char *show(void)
{
    struct buffer out = BUFFER_WITH_LIMIT(LIMIT);

    page_write(&out, state);
    ck_assert_uint_gt(out.used, 0);
    free(page);
    page = calloc(1, out.used + 1);
    memcpy(page, out.bytes, out.used);
    ck_assert_uint_eq(strlen(page), out.used);
    buffer_done(&out);
    return page;
}

static void keep_only(size_t number)
{
    json_t *only = json_pack("[O]", server(number));

    json_object_set_new(state, "servers", only);
}

static void expect(const char *words)
{
    ck_assert_msg(strstr(page, words) != NULL, "not on the page: %s", words);
}

static void expect_not(const char *words)
{
    ck_assert_msg(strstr(page, words) == NULL, "on the page: %s", words);
}

/* Expat takes it: every element is closed, every attribute quoted, no character is one that XML forbids. */
static void expect_well_formed(void)
{
    FILE *parser = popen("/usr/bin/env python3 -c 'import sys, xml.parsers.expat\n"
                         "xml.parsers.expat.ParserCreate().ParseFile(sys.stdin.buffer)'",
                         "w");

    ck_assert_ptr_nonnull(parser);
    ck_assert_uint_eq(fwrite(page, 1, strlen(page), parser), strlen(page));
    ck_assert_int_eq(pclose(parser), 0);
}

/* ---- what is told ---- */

START_TEST(the_first_sentence_says_what_can_be_restored_and_what_cannot)
{
    show();
    expect(
        "<p class=\"verdict\">Every moment from <time datetime=\"2026-11-13T21:20:06Z\">2026-11-13 21:20:06 UTC</time> "
        "to <time datetime=\"2026-11-22T19:30:04Z\">2026-11-22 19:30:04 UTC</time> can be restored<span "
        "class=\"but\">, but for after ");
    ck_assert(strstr(page, "class=\"verdict\"") < strstr(page, "<figure>"));
    expect("1 gap; 1 backup found damaged; the receiver warns; PostgreSQL&#39;s certificate ends in 12 days; the last "
           "verify failed");
    expect("<title>1 of 2: problem – pgcoffer</title>");
    expect_well_formed();
}
END_TEST

START_TEST(what_is_not_known_is_not_claimed)
{
    keep_only(1);
    json_object_set_new(server(0), "survey", json_null());
    show();
    expect("What can be restored is not known yet.");
    expect("<title>billing: not known yet – pgcoffer</title>");
    expect_not("very moment");
    expect_not("all well");
    expect_not("<figure>");
}
END_TEST

START_TEST(without_a_backup_nothing_can_be_restored)
{
    json_t *restorable = json_pack("{s:[], s:[], s:i, s:i}", "windows", "gaps", "gap_count", 0, "backups", 0);

    keep_only(1);
    json_object_set_new(json_object_get(server(0), "survey"), "restorable", restorable);
    show();
    expect("Nothing can be restored: there is no complete backup.");
    expect("billing: problem");
}
END_TEST

START_TEST(of_a_gap_without_end_it_is_said_that_nothing_later_can_be_restored)
{
    json_t *gap = json_pack("{s:s, s:n, s:s, s:s}", "from", "2026-11-22T10:00:00Z", "until", "loss", "wal", "words",
                            "WAL is missing");

    keep_only(1);
    json_array_append_new(at(server(0), "survey/restorable/gaps"), gap);
    json_object_set_new(at(server(0), "survey/restorable"), "gap_count", json_integer(1));
    show();
    expect("; nothing later (WAL is missing)");
    expect("nothing later than the last window can be restored");
    expect("class=\"gap\"");
    expect_not("1 gap;");
}
END_TEST

START_TEST(a_look_that_failed_makes_the_sentence_one_of_its_time)
{
    keep_only(1);
    json_object_set_new(
        json_object_get(server(0), "survey"), "error",
        json_pack("{s:s, s:s, s:s}", "kind", "storage", "message", "the disk is gone", "hint", "Mount it."));
    show();
    expect(" (as of <time datetime=\"2026-11-22T19:26:06Z\">");
    expect("billing: needs attention");
    expect("<b>What to do:</b> Mount it.");
}
END_TEST

START_TEST(a_receiver_that_does_not_stream_is_told_with_what_to_do)
{
    keep_only(1);
    json_t *receiver = json_object_get(server(0), "receiver");
    json_object_set_new(receiver, "state", json_string("waiting"));
    json_object_set_new(receiver, "error",
                        json_pack("{s:s, s:s, s:s, s:s}", "kind", "postgresql", "message", "connection refused", "hint",
                                  "Is it up?", "check", "server.port"));
    show();
    expect("no WAL comes in: the receiver is waiting");
    expect("connection refused");
    expect("<b>What to do:</b> Is it up?");
    expect("<code>server.port</code>");
    expect("72.2 kB when it was heard last");
    expect("billing: needs attention");
}
END_TEST

START_TEST(a_drill_that_failed_is_a_problem)
{
    keep_only(1);
    json_object_set_new(at(server(0), "survey/proofs/drill"), "good", json_false());
    json_object_set_new(at(server(0), "survey/proofs/drill"), "words", json_string("it did not start"));
    show();
    expect("WARNING: THE LAST PROOF FAILED");
    expect("it did not start");
    expect("billing: problem");
    expect("#mark-drill-failed");
    expect_not("href=\"#mark-drill\"");
}
END_TEST

START_TEST(a_certificate_that_ended_is_a_problem_in_words)
{
    keep_only(1);
    json_object_set_new(at(server(0), "receiver/certificate"), "not_after", json_string("2026-11-22T19:30:05Z"));
    show();
    expect("the client certificate has expired");
    expect("</svg>expired</span>");
    expect("billing: problem");
}
END_TEST

START_TEST(an_old_look_is_told_to_be_old)
{
    keep_only(1);
    json_object_set_new(json_object_get(server(0), "survey"), "at", json_string("2026-11-22T18:30:06Z"));
    show();
    expect("what is stored was not looked at for 60 min");
}
END_TEST

START_TEST(a_failure_that_went_well_since_is_a_fact_and_no_reason)
{
    json_t *good =
        json_pack("{s:s, s:s, s:s, s:s}", "job", "18", "command", "verify", "server", "orders", "state", "done");

    json_array_insert_new(json_object_get(state, "recent"), 0, good);
    show();
    expect("verify failed, job 16");
    expect_not("the last verify failed");
}
END_TEST

START_TEST(a_running_job_has_its_bar_and_numbers)
{
    show();
    expect("<title>46 %</title>");
    expect("copying, 46 %: 8.7 GB / 18.6 GB  29.6 MB/s  ETA 5m45s, running for 5m00s");
    expect("href=\"#mark-running\"");
}
END_TEST

START_TEST(a_backup_that_cannot_be_restored_has_the_mark_of_one)
{
    json_t *newest = at(server(1), "survey/backups/newest");
    json_t *unusable = at(server(1), "survey/restorable/unusable");

    keep_only(1);
    show();
    expect_not("href=\"#mark-damaged\"");
    json_array_append_new(json_object_get(unusable, "newest"),
                          json_pack("{s:O}", "backup", json_object_get(json_array_get(newest, 0), "id")));
    show();
    expect("href=\"#mark-damaged\"");
    expect("; not to be restored: 20261113T210006Z");
}
END_TEST

START_TEST(a_gap_in_the_wal_is_told_with_its_place)
{
    show();
    expect("1 gap</span> from 0/5000000 to 0/7000000 on timeline 1 (the slot was dropped)");
}
END_TEST

START_TEST(backups_that_are_not_drawn_are_counted)
{
    json_object_set_new(at(server(1), "survey/backups"), "count", json_integer(1000));
    show();
    expect("991 earlier backups are not drawn one by one.");
}
END_TEST

START_TEST(an_end_that_does_not_move_is_told)
{
    json_t *windows = at(server(1), "survey/restorable/windows");

    keep_only(1);
    show();
    expect_not("The last moment that can be restored");
    json_object_set_new(json_array_get(windows, json_array_size(windows) - 1), "until",
                        json_string("2026-11-22T17:30:06Z"));
    show();
    expect("The last moment that can be restored is <time datetime=\"2026-11-22T17:30:06Z\">2026-11-22 17:30:06 "
           "UTC</time> (2 h ago)");
}
END_TEST

START_TEST(any_span_of_time_has_a_few_dates)
{
    static const int64_t spans[] = {0, 1, 60, 3600, 86400, 604800, 2592000, 7776000, 31536000, 157680000, 1576800000};
    struct timestamp now;
    char text[TIMESTAMP_TEXT_SIZE];
    struct error err;

    keep_only(1);
    ck_assert(timestamp_parse("2026-11-22T19:30:06Z", &now, &err));
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        timestamp_format((struct timestamp){now.microseconds - spans[i] * 1000000}, text);
        json_object_set_new(at(server(0), "survey/room"), "wal_since", json_string(text));
        json_object_set_new(at(server(0), "survey"), "restorable", json_null());
        json_object_set_new(at(server(0), "survey"), "backups", json_null());
        size_t ticks = 0;
        for (const char *place = show(); (place = strstr(place, "class=\"tick\"")) != NULL; place++)
            ticks++;
        if (spans[i] == 0)
            ck_assert_uint_eq(ticks, 0); /* no picture */
        else
            ck_assert_msg(ticks >= 1 && ticks <= 9, "%zu dates for %lld s", ticks, (long long)spans[i]);
    }
}
END_TEST

START_TEST(times_are_rounded_so_that_no_more_is_claimed)
{
    static const struct {
        const char *time, *first, *last;
    } rows[] = {
        {"2026-11-22T01:30:00.000001Z", "2026-11-22 01:30:01 UTC", "2026-11-22 01:30:00 UTC"},
        {"2026-12-31T23:59:59.999999Z", "2027-01-01 00:00:00 UTC", "2026-12-31 23:59:59 UTC"},
        {"2026-11-22T01:30:00Z", "2026-11-22 01:30:00 UTC", "2026-11-22 01:30:00 UTC"},
        {"soon", "soon", "soon"},
        {NULL, "?", "?"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *first SCOPED(scoped_free) = moment_words(rows[i].time, MOMENTS_SECONDS, MOMENT_FIRST);
        char *last SCOPED(scoped_free) = moment_words(rows[i].time, MOMENTS_SECONDS, MOMENT_LAST);
        char *exact SCOPED(scoped_free) = moment_words(rows[i].time, MOMENTS_EXACT, MOMENT_LAST);
        ck_assert_str_eq(first, rows[i].first);
        ck_assert_str_eq(last, rows[i].last);
        ck_assert_str_eq(exact, rows[i].time != NULL ? rows[i].time : "?");
    }
}
END_TEST

START_TEST(a_span_without_a_whole_second_is_told_as_it_is)
{
    keep_only(1);
    json_t *windows = at(server(0), "survey/restorable/windows"), *window = json_array_get(windows, 0);
    while (json_array_size(windows) > 1)
        json_array_remove(windows, 1);
    json_object_set_new(window, "from", json_string("2026-11-22T01:30:00.250000Z"));
    json_object_set_new(window, "until", json_string("2026-11-22T01:30:00.750000Z"));
    show();
    expect("very moment from 2026-11-22T01:30:00.250000Z to 2026-11-22T01:30:00.750000Z can be restored");
    expect_not("01:30:01 UTC");
    json_object_set_new(window, "until", json_string("2026-11-22T01:30:01.750000Z"));
    show();
    expect("2026-11-22 01:30:01 UTC");
    expect_not("01:30:00.25");
}
END_TEST

/* ---- what is made of hostile and odd states ---- */

/* Every text becomes `words`; keys and times stay. */
static void replace_texts(json_t *value, const char *words)
{
    const char *key;
    json_t *member;
    size_t i;

    json_array_foreach(value, i, member)
    {
        replace_texts(member, words);
    }
    json_object_foreach(value, key, member)
    {
        const char *text = json_string_value(member);
        if (text == NULL)
            replace_texts(member, words);
        else if (strncmp(text, "2026-", 5) != 0 && strcmp(text, "failed") != 0 && strcmp(key, "server") != 0)
            json_string_set(member, words);
    }
}

START_TEST(nothing_that_comes_from_elsewhere_becomes_an_element)
{
    static const char hostile[] =
        "<script>alert(1)</script>\"'&amp;<!--]]>\x01\x1b[2J\x7f\xc2\x85\xe2\x80\xae\xef\xbf\xbe";

    replace_texts(state, hostile);
    json_object_set_new(server(0), "server", json_string(hostile));
    json_object_set_new(json_array_get(json_object_get(state, "jobs"), 0), "server", json_string(hostile));
    show();
    expect("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;amp;");
    expect_not("<script");
    expect_not("<!--");
    expect_not("\x1b");
    expect_not("\xe2\x80\xae");
    expect_well_formed();
}
END_TEST

START_TEST(it_needs_nothing_from_elsewhere_and_runs_nothing)
{
    static const char *const forbidden[] = {
        "<script", "javascript:", " onload", " onclick", "src=", "@import", "<iframe", "<link", "<form"};

    show();
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        expect_not(forbidden[i]);
    for (const char *place = page; (place = strstr(place, "://")) != NULL; place++)
        ck_assert(strncmp(place - 4, "http://www.w3.org/1999/xhtml", 28) == 0); /* the name of a namespace */
    expect("<html lang=\"en\"");
    expect("name=\"viewport\"");
    expect("http-equiv=\"refresh\" content=\"30\"");
    expect("role=\"img\"");
}
END_TEST

START_TEST(without_a_server_it_says_that_nothing_is_backed_up)
{
    json_object_set_new(state, "servers", json_array());
    show();
    expect("No server is configured: nothing is backed up.");
    expect("<title>no server – pgcoffer</title>");
    expect_well_formed();
}
END_TEST

START_TEST(a_hundred_servers_have_a_line_and_a_section_each)
{
    json_t *many = json_array();
    size_t sections = 0, lines = 0;
    char id[32];

    for (size_t i = 0; i < 100; i++)
        json_array_append_new(many, json_deep_copy(server(i % 2)));
    json_object_set_new(state, "servers", many);
    show();
    for (size_t i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "id=\"server-%zu\"", i);
        sections += strstr(page, id) != NULL;
        snprintf(id, sizeof id, "href=\"#server-%zu\"", i);
        lines += strstr(page, id) != NULL;
    }
    ck_assert_uint_eq(sections, 100);
    ck_assert_uint_eq(lines, 100);
    expect("<title>50 of 100: problem – pgcoffer</title>");
    expect_well_formed();
}
END_TEST

/* Each member of `value`, one after the other, is something else or gone. */
static void break_each(json_t *value)
{
    json_t *odd[] = {NULL, json_null(), json_integer(-7), json_string("odd"), json_array(), json_true()};
    json_t *whole = json_copy(value);
    const char *key;
    json_t *member;
    size_t i;

    json_object_foreach(whole, key, member)
    {
        for (size_t n = 0; n < sizeof odd / sizeof odd[0]; n++) {
            if (odd[n] == NULL)
                json_object_del(value, key);
            else
                json_object_set(value, key, odd[n]);
            ck_assert(strstr(show(), "</html>\n") != NULL);
        }
        json_object_set(value, key, member);
        break_each(member);
    }
    json_array_foreach(value, i, member)
    {
        if (i == 0)
            break_each(member);
    }
    for (size_t n = 1; n < sizeof odd / sizeof odd[0]; n++)
        json_decref(odd[n]);
    json_decref(whole);
}

START_TEST(a_part_that_is_missing_or_of_another_type_is_passed_over)
{
    keep_only(0);
    break_each(state);
}
END_TEST

START_TEST(a_page_that_is_too_large_is_none)
{
    struct buffer out = BUFFER_WITH_LIMIT(1000);

    page_write(&out, state);
    ck_assert_uint_eq(out.used, 0);
    buffer_done(&out);
}
END_TEST

START_TEST(it_is_the_page_of_the_golden_file)
{
    const char *path = FOLDER "page_two_servers.html";

    show();
    if (getenv("UPDATE_GOLDEN") != NULL) {
        FILE *golden = fopen(path, "w");
        ck_assert_ptr_nonnull(golden);
        fputs(page, golden);
        ck_assert_int_eq(fclose(golden), 0);
    }
    char *expected = calloc(1, LIMIT);
    FILE *golden = fopen(path, "r");
    ck_assert_ptr_nonnull(golden);
    ck_assert_uint_gt(fread(expected, 1, LIMIT - 1, golden), 0);
    fclose(golden);
    ck_assert_msg(strcmp(expected, page) == 0, "%s differs; run this test with UPDATE_GOLDEN=1 and look at it", path);
    free(expected);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("page");

    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, the_first_sentence_says_what_can_be_restored_and_what_cannot);
    tcase_add_test(tests, what_is_not_known_is_not_claimed);
    tcase_add_test(tests, without_a_backup_nothing_can_be_restored);
    tcase_add_test(tests, of_a_gap_without_end_it_is_said_that_nothing_later_can_be_restored);
    tcase_add_test(tests, a_look_that_failed_makes_the_sentence_one_of_its_time);
    tcase_add_test(tests, a_receiver_that_does_not_stream_is_told_with_what_to_do);
    tcase_add_test(tests, a_drill_that_failed_is_a_problem);
    tcase_add_test(tests, a_certificate_that_ended_is_a_problem_in_words);
    tcase_add_test(tests, an_old_look_is_told_to_be_old);
    tcase_add_test(tests, a_failure_that_went_well_since_is_a_fact_and_no_reason);
    tcase_add_test(tests, a_running_job_has_its_bar_and_numbers);
    tcase_add_test(tests, a_backup_that_cannot_be_restored_has_the_mark_of_one);
    tcase_add_test(tests, a_gap_in_the_wal_is_told_with_its_place);
    tcase_add_test(tests, backups_that_are_not_drawn_are_counted);
    tcase_add_test(tests, an_end_that_does_not_move_is_told);
    tcase_add_test(tests, any_span_of_time_has_a_few_dates);
    tcase_add_test(tests, times_are_rounded_so_that_no_more_is_claimed);
    tcase_add_test(tests, a_span_without_a_whole_second_is_told_as_it_is);
    tcase_add_test(tests, nothing_that_comes_from_elsewhere_becomes_an_element);
    tcase_add_test(tests, it_needs_nothing_from_elsewhere_and_runs_nothing);
    tcase_add_test(tests, without_a_server_it_says_that_nothing_is_backed_up);
    tcase_add_test(tests, a_hundred_servers_have_a_line_and_a_section_each);
    tcase_add_test(tests, a_part_that_is_missing_or_of_another_type_is_passed_over);
    tcase_add_test(tests, a_page_that_is_too_large_is_none);
    tcase_add_test(tests, it_is_the_page_of_the_golden_file);
    return suite_run("page", tests);
}
