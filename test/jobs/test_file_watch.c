#include "support/suite.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs/file_watch_internal.h"
#include "jobs/receive/tls_set_internal.h"
#include "pgcoffer/base/clock.h"
#include "support/scratch.h"

/*
 * Time is the test's own: it passes only where a test lets it. Events come from the kernel at once, so a change that
 * makes none would not be seen.
 */
static struct file_watch *watch;
static int64_t now;

static void put(const char *name, const char *text)
{
    int fd SCOPED(scoped_close) = open(scratch_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void make_folder(const char *name)
{
    ck_assert_int_eq(mkdir(scratch_path(name), 0700), 0);
}

static void make_link(const char *target, const char *name)
{
    ck_assert_int_eq(symlink(target, scratch_path(name)), 0);
}

static void move(const char *from, const char *to)
{
    ck_assert_int_eq(rename(scratch_path(from), scratch_path(to)), 0);
}

static void begin(const char *first, const char *second)
{
    const char *paths[] = {scratch_path(first), second == NULL ? "" : scratch_path(second)};

    now = 1000000000;
    file_watch_free(watch);
    watch = file_watch_new(paths, 2, now);
    ck_assert_int_eq(file_watch_due(watch), INT64_MAX);
    ck_assert_int_ge(file_watch_descriptor(watch, now), 0);
}

static bool has_event(void)
{
    struct pollfd events = {.fd = file_watch_descriptor(watch, now), .events = POLLIN};

    return poll(&events, 1, 0) == 1;
}

/* Lets time pass from one thing that is due to the next. */
static unsigned turns_until(int64_t until)
{
    unsigned told = 0;

    for (unsigned turns = 0; turns < 1000; turns++) {
        told += file_watch_turn(watch, now);
        int64_t due = file_watch_due(watch);
        if (due > until)
            break;
        ck_assert_int_ge(due, now);
        now = due;
    }
    now = until;
    return told;
}

static void expect_told_once(void)
{
    ck_assert_msg(has_event(), "no event");
    ck_assert_uint_eq(turns_until(now + FILE_WATCH_SETTLED - 1), 0);
    ck_assert_uint_eq(turns_until(now + 2 * FILE_WATCH_SETTLED), 1);
    ck_assert(!has_event());
    ck_assert_int_eq(file_watch_due(watch), INT64_MAX);
    ck_assert_uint_eq(turns_until(now + 3600 * FILE_WATCH_SETTLED), 0);
}

static void watch_make(void)
{
    scratch_make();
    make_folder("tls");
    put("tls/a.crt", "one");
    put("tls/a.key", "one");
    watch = NULL;
    now = 1000000000;
}

static void watch_remove(void)
{
    file_watch_free(watch);
    scratch_remove();
}

START_TEST(nothing_costs_nothing)
{
    begin("tls/a.crt", "tls/a.key");
    ck_assert(!file_watch_turn(watch, now));
    ck_assert_int_eq(file_watch_due(watch), INT64_MAX);
    ck_assert(!has_event());
}
END_TEST

START_TEST(a_file_renamed_into_place_is_told)
{
    begin("tls/a.crt", "tls/a.key");
    put("new", "two");
    move("new", "tls/a.crt");
    expect_told_once();
    put("tls/other", "two");
    move("tls/other", "tls/a.key");
    expect_told_once();
}
END_TEST

START_TEST(writing_in_place_is_told)
{
    begin("tls/a.crt", "tls/a.key");
    put("tls/a.crt", "two");
    expect_told_once();
    put("tls/a.crt", "");
    expect_told_once();
}
END_TEST

START_TEST(a_key_and_its_certificate_are_one_change)
{
    begin("tls/a.crt", "tls/a.key");
    put("tls/a.crt", "two");
    ck_assert_uint_eq(turns_until(now + FILE_WATCH_SETTLED / 2), 0);
    put("tls/a.key", "two");
    ck_assert_uint_eq(turns_until(now + FILE_WATCH_SETTLED - 1), 0);
    ck_assert_uint_eq(turns_until(now + FILE_WATCH_SETTLED), 1);
}
END_TEST

START_TEST(files_that_never_rest_are_told_about_all_the_same)
{
    unsigned told = 0;

    begin("tls/a.crt", NULL);
    int64_t began = now;
    while (told == 0 && now < began + 2 * FILE_WATCH_UNSETTLED) {
        put("tls/new", "two");
        move("tls/new", "tls/a.crt");
        told += turns_until(now + FILE_WATCH_SETTLED / 2);
    }
    ck_assert_uint_eq(told, 1);
    ck_assert_int_ge(now, began + FILE_WATCH_UNSETTLED);
    ck_assert_uint_eq(turns_until(now + 2 * FILE_WATCH_SETTLED), 0);
}
END_TEST

START_TEST(a_link_that_leads_elsewhere_is_told)
{
    make_folder("live");
    make_folder("archive");
    put("archive/cert1.pem", "one");
    make_link("../archive/cert1.pem", "live/cert.pem");
    begin("live/cert.pem", NULL);
    put("archive/cert2.pem", "two");
    make_link("../archive/cert2.pem", "live/new.pem");
    move("live/new.pem", "live/cert.pem");
    expect_told_once();
    /* and the folder of the target counts as well, the new one too */
    put("archive/cert2.pem", "three");
    expect_told_once();
    ck_assert_int_eq(unlink(scratch_path("archive/cert2.pem")), 0);
    expect_told_once();
    put("archive/cert2.pem", "four");
    expect_told_once();
}
END_TEST

START_TEST(links_to_absolute_paths_and_through_folders_are_followed)
{
    char target[PATH_MAX];

    make_folder("tls/..2026_1");
    make_folder("tls/..2026_2");
    put("tls/..2026_1/tls.crt", "one");
    put("tls/..2026_2/tls.crt", "two");
    make_link("..2026_1", "tls/..data");
    make_link("..data/./tls.crt", "tls/tls.crt");
    snprintf(target, sizeof target, "%s", scratch_path("tls"));
    make_link(target, "outer");
    begin("outer/tls.crt", NULL);
    make_link("..2026_2", "tls/..data_new");
    move("tls/..data_new", "tls/..data");
    expect_told_once();
    make_folder("tls2");
    put("tls2/tls.crt", "three");
    make_link("tls2", "outer_new");
    move("outer_new", "outer");
    expect_told_once();
    put("tls2/tls.crt", "four");
    expect_told_once();
}
END_TEST

START_TEST(a_folder_that_is_exchanged_is_told)
{
    begin("tls/a.crt", "tls/a.key");
    make_folder("new");
    put("new/a.crt", "two");
    put("new/a.key", "two");
    move("tls", "old");
    ck_assert(has_event());
    ck_assert(!file_watch_turn(watch, now));
    move("new", "tls");
    ck_assert_uint_eq(turns_until(now + 3 * FILE_WATCH_SETTLED), 1);
    put("tls/a.crt", "three");
    expect_told_once();
}
END_TEST

START_TEST(a_missing_folder_that_comes_back_piece_by_piece_is_told)
{
    ck_assert_int_eq(unlink(scratch_path("tls/a.crt")), 0);
    ck_assert_int_eq(unlink(scratch_path("tls/a.key")), 0);
    ck_assert_int_eq(rmdir(scratch_path("tls")), 0);
    begin("tls/deep/a.crt", NULL);
    make_folder("tls");
    ck_assert(has_event());
    ck_assert_uint_eq(turns_until(now + FILE_WATCH_SETTLED), 0);
    make_folder("tls/deep");
    ck_assert_uint_eq(turns_until(now + FILE_WATCH_SETTLED), 0);
    put("tls/deep/a.crt", "one");
    expect_told_once();
}
END_TEST

START_TEST(a_change_of_mode_is_told)
{
    begin("tls/a.crt", "tls/a.key");
    ck_assert_int_eq(chmod(scratch_path("tls/a.key"), 0644), 0);
    expect_told_once();
}
END_TEST

START_TEST(other_files_of_the_folder_are_passed_over_and_looked_at_now_and_then)
{
    unsigned looks = 0;

    begin("tls/a.crt", "tls/a.key");
    for (int i = 0; i < 100; i++) {
        put("tls/log", "line");
        looks += has_event();
        ck_assert(!file_watch_turn(watch, now));
        now += FILE_WATCH_EVENTS_APART / 10;
    }
    ck_assert_uint_le(looks, 11);
    ck_assert_uint_eq(turns_until(now + 10 * FILE_WATCH_SETTLED), 0);
    ck_assert_int_eq(file_watch_due(watch), INT64_MAX);
}
END_TEST

START_TEST(a_ring_of_links_ends)
{
    make_link("y", "x");
    make_link("x", "y");
    begin("x/a.crt", NULL);
    ck_assert_int_eq(unlink(scratch_path("x")), 0);
    make_link("tls", "x");
    expect_told_once();
}
END_TEST

START_TEST(a_look_can_be_asked_for)
{
    begin("tls/a.crt", "tls/a.key");
    file_watch_look_now(watch);
    ck_assert_int_le(file_watch_due(watch), now);
    ck_assert_uint_eq(turns_until(now + 10 * FILE_WATCH_SETTLED), 0);
    ck_assert_int_eq(file_watch_due(watch), INT64_MAX);
}
END_TEST

/* A folder that may be searched but not listed; root may list everything. */
START_TEST(without_events_it_looks_now_and_then)
{
    const char *paths[] = {scratch_path("tls/a.crt")};
    bool is_root = geteuid() == 0;

    ck_assert_int_eq(chmod(scratch_directory, 0755), 0);
    ck_assert_int_eq(chmod(scratch_path("tls"), 0300), 0);
    if (is_root) {
        ck_assert_int_eq(chown(scratch_path("tls"), 65534, 65534), 0);
        ck_assert_int_eq(chown(paths[0], 65534, 65534), 0);
        ck_assert_int_eq(seteuid(65534), 0);
    }
    watch = file_watch_new(paths, 1, now);
    ck_assert_int_eq(file_watch_due(watch), now + FILE_WATCH_BLIND_LOOKS);
    put("tls/a.crt", "three");
    ck_assert_uint_eq(turns_until(now + FILE_WATCH_BLIND_LOOKS + FILE_WATCH_SETTLED), 1);
    ck_assert_uint_eq(turns_until(now + 10 * FILE_WATCH_BLIND_LOOKS), 0);
    ck_assert_int_eq(chmod(scratch_path("tls"), 0700), 0);
    ck_assert(!is_root || seteuid(0) == 0);
}
END_TEST

START_TEST(a_folder_that_is_shut_and_opened_is_told)
{
    const char *paths[] = {scratch_path("tls/a.crt")};
    bool is_root = geteuid() == 0;

    ck_assert_int_eq(chmod(scratch_directory, 0755), 0);
    if (is_root) {
        ck_assert_int_eq(chown(scratch_path("tls"), 65534, 65534), 0);
        ck_assert_int_eq(seteuid(65534), 0);
    }
    watch = file_watch_new(paths, 1, now);
    ck_assert_int_eq(chmod(scratch_path("tls"), 0000), 0);
    ck_assert(has_event());
    ck_assert_uint_eq(turns_until(now + 2 * FILE_WATCH_SETTLED), 1);
    ck_assert_int_eq(chmod(scratch_path("tls"), 0700), 0);
    expect_told_once();
    ck_assert(!is_root || seteuid(0) == 0);
}
END_TEST

START_TEST(the_content_decides_and_names_the_files)
{
    struct settings settings = {.port = 1};
    struct tls_set first, second;
    char names[TLS_SET_NAMES_SIZE];

    snprintf(settings.tls_cert_file, sizeof settings.tls_cert_file, "%s", scratch_path("tls/a.crt"));
    snprintf(settings.tls_key_file, sizeof settings.tls_key_file, "%s", scratch_path("tls/a.key"));
    tls_set_read(&settings, &first);
    put("tls/new", "one");
    move("tls/new", "tls/a.crt");
    ck_assert_int_eq(utimensat(AT_FDCWD, scratch_path("tls/a.key"), NULL, 0), 0);
    tls_set_read(&settings, &second);
    ck_assert(tls_set_is_same(&first, &second));

    ck_assert_int_eq(chmod(scratch_path("tls/a.key"), 0644), 0);
    tls_set_read(&settings, &second);
    ck_assert(!tls_set_is_same(&first, &second));
    ck_assert(tls_set_has_same_content(&first, &second));

    put("tls/a.crt", "onf");
    put("tls/a.key", "onf");
    tls_set_read(&settings, &second);
    ck_assert(!tls_set_has_same_content(&first, &second));
    tls_set_name_changed(&first, &second, names);
    ck_assert_str_eq(names, "tls_cert_file, tls_key_file");

    /* what is empty, missing and no file are three things */
    put("tls/a.crt", "");
    tls_set_read(&settings, &first);
    ck_assert_int_eq(unlink(scratch_path("tls/a.crt")), 0);
    tls_set_read(&settings, &second);
    ck_assert(!tls_set_has_same_content(&first, &second));
    ck_assert_int_eq(mkfifo(scratch_path("tls/a.crt"), 0600), 0);
    tls_set_read(&settings, &first);
    ck_assert(!tls_set_has_same_content(&first, &second));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive file watch");

    tcase_add_checked_fixture(tests, watch_make, watch_remove);
    tcase_add_test(tests, nothing_costs_nothing);
    tcase_add_test(tests, a_file_renamed_into_place_is_told);
    tcase_add_test(tests, writing_in_place_is_told);
    tcase_add_test(tests, a_key_and_its_certificate_are_one_change);
    tcase_add_test(tests, files_that_never_rest_are_told_about_all_the_same);
    tcase_add_test(tests, a_link_that_leads_elsewhere_is_told);
    tcase_add_test(tests, links_to_absolute_paths_and_through_folders_are_followed);
    tcase_add_test(tests, a_folder_that_is_exchanged_is_told);
    tcase_add_test(tests, a_missing_folder_that_comes_back_piece_by_piece_is_told);
    tcase_add_test(tests, a_change_of_mode_is_told);
    tcase_add_test(tests, other_files_of_the_folder_are_passed_over_and_looked_at_now_and_then);
    tcase_add_test(tests, a_ring_of_links_ends);
    tcase_add_test(tests, a_look_can_be_asked_for);
    tcase_add_test(tests, without_events_it_looks_now_and_then);
    tcase_add_test(tests, a_folder_that_is_shut_and_opened_is_told);
    tcase_add_test(tests, the_content_decides_and_names_the_files);
    return suite_run("file_watch", tests);
}
