#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/atomic_file.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "support/scratch.h"
#include "support/suite.h"

static struct tablespace_mapping mappings[4];
static struct restore_options options;
static struct restore restore;

static void begin(void)
{
    scratch_make();
    options =
        (struct restore_options){.target_directory = memory_copy_text(scratch_path("data")), .mappings = mappings};
    restore = (struct restore){.options = &options, .plan = {.backup = "20261122T013000Z"}};
}

static void end(void)
{
    restore_places_done(&restore);
    json_decref(restore.plan.json);
    free((char *)options.target_directory);
    scratch_remove();
}

/* A backup whose tablespace 16389 was at scratch/space, and 16390 at a path that is not UTF-8. */
static void set_tablespaces(bool has_second)
{
    restore.plan.json =
        json_pack("{s:{s:[{s:i,s:s}]}}", "backup", "tablespaces", "oid", 16389, "path", scratch_path("space"));
    if (has_second)
        json_array_append_new(json_object_get(json_object_get(restore.plan.json, "backup"), "tablespaces"),
                              json_pack("{s:i,s:s}", "oid", 16390, "path_hex", "2fff"));
}

static void refuse(enum error_kind kind, const char *word)
{
    struct error err;

    ck_assert(!restore_choose_places(&restore, &err));
    ck_assert_int_eq(err.kind, kind);
    ck_assert_msg(strstr(err.message, word) != NULL || strstr(err.detail, word) != NULL ||
                      strstr(err.hint, word) != NULL,
                  "%s / %s / %s", err.message, err.detail, err.hint);
}

START_TEST(a_missing_or_an_empty_target_is_taken)
{
    struct error err;

    if (_i == 1)
        ck_assert_int_eq(mkdir(scratch_path("data"), 0755), 0);
    ck_assert_msg(restore_choose_places(&restore, &err), "%s", err.message);
    ck_assert_uint_eq(restore.place_count, 1);
    ck_assert_int_eq(restore.places[0].exists, _i == 1);
}
END_TEST

START_TEST(a_target_with_something_in_it_is_refused_and_named)
{
    struct error err;

    ck_assert_int_eq(mkdir(scratch_path("data"), 0700), 0);
    ck_assert(atomic_file_put(scratch_path("data/precious"), 0600, "x", 1, &err));
    refuse(ERROR_USAGE, "precious");
}
END_TEST

START_TEST(what_a_failed_restore_left_is_recognised)
{
    struct error err;

    ck_assert_int_eq(mkdir(scratch_path("data"), 0700), 0);
    ck_assert(atomic_file_put(scratch_path("data/" RESTORE_MARKER), 0600, "x", 1, &err));
    refuse(ERROR_USAGE, "rm -r");
}
END_TEST

/* Between the look and the first byte somebody else has written to the target or its parent. */
START_TEST(a_folder_filled_or_swapped_after_it_was_looked_at_is_left_alone)
{
    struct stat status;
    struct error err;

    restore.plan.server = "primary";
    restore.plan.folder_mode = 0700;
    restore.plan.file_mode = 0600;
    ck_assert_int_eq(mkdir(scratch_path("data"), 0755), 0);
    ck_assert_int_eq(mkdir(scratch_path("mine"), 0755), 0);
    ck_assert(atomic_file_put(scratch_path("mine/precious"), 0600, "x", 1, &err));
    ck_assert_msg(restore_choose_places(&restore, &err), "%s", err.message);
    ck_assert_int_eq(rmdir(scratch_path("data")), 0);
    char *mine SCOPED(scoped_free) = memory_copy_text(scratch_path("mine"));
    ck_assert_int_eq(symlink(mine, scratch_path("data")), 0);
    ck_assert(!restore_make_places(&restore, &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    ck_assert(!restore.places[0].is_begun);
    ck_assert_int_eq(stat(mine, &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0755);
    ck_assert_int_ne(access(scratch_path("mine/" RESTORE_MARKER), F_OK), 0);
}
END_TEST

static void tell_failure(struct error *err)
{
    error_set(err, ERROR_STORAGE, "the disk is full");
    ck_assert(!restore_fail_incomplete(&restore, err));
    ck_assert_str_eq(err->message, "the disk is full");
}

START_TEST(a_failure_names_every_folder_that_was_begun)
{
    struct restore_place places[] = {
        {.path = (char *)"/srv/data"}, {.path = (char *)"/srv/fast disk"}, {.path = (char *)"/srv/slow"}};
    struct error err;

    restore.places = places;
    restore.place_count = 3;
    tell_failure(&err);
    ck_assert_str_eq(err.detail, "");
    ck_assert_str_eq(err.hint, "");
    places[0].is_begun = true;
    tell_failure(&err);
    ck_assert_str_eq(err.detail, "\"/srv/data\" is incomplete and cannot be started; remove it.");
    ck_assert_str_eq(err.hint, "Before the next restore into it: rm -r /srv/data");
    places[1].is_begun = true;
    tell_failure(&err);
    ck_assert_str_eq(err.detail, "\"/srv/data\" is incomplete and cannot be started; remove it, and the folders of "
                                 "its tablespaces: \"/srv/fast disk\".");
    ck_assert_str_eq(err.hint, "Before the next restore into it: rm -r /srv/data '/srv/fast disk'");
    restore.places = NULL;
    restore.place_count = 0;
}
END_TEST

START_TEST(no_path_is_cut_in_a_command_that_removes)
{
    static const size_t sizes[] = {1, 7, 199, 599, 4095};
    struct restore_place places[102] = {{.path = (char *)"/srv/data", .is_begun = true}};
    char *path SCOPED(scoped_free) = memory_new(sizes[_i] + 2);
    struct error err;

    memset(path, 'x', sizes[_i] + 1);
    path[0] = '/';
    for (size_t i = 1; i < 102; i++)
        places[i] = (struct restore_place){.path = path, .is_begun = true};
    restore.places = places;
    restore.place_count = 102;
    tell_failure(&err);
    restore.places = NULL;
    restore.place_count = 0;
    char *word = strstr(err.hint, "rm -r /srv/data");
    ck_assert_ptr_nonnull(word);
    for (word = strchr(word + strlen("rm -r "), ' '); word != NULL; word = strchr(word + 1, ' '))
        ck_assert_uint_eq(strcspn(word + 1, " "), sizes[_i] + 1);
    if (sizes[_i] > 1)
        ck_assert_ptr_nonnull(strstr(err.detail, " more."));
}
END_TEST

START_TEST(a_file_or_a_dead_link_is_no_target)
{
    struct error err;

    if (_i == 0)
        ck_assert(atomic_file_put(scratch_path("data"), 0600, "x", 1, &err));
    else
        ck_assert_int_eq(symlink("nowhere", scratch_path("data")), 0);
    refuse(ERROR_USAGE, _i == 0 ? "not a folder" : "leads nowhere");
}
END_TEST

START_TEST(a_missing_parent_is_refused_with_the_command_that_makes_it)
{
    free((char *)options.target_directory);
    options.target_directory = memory_copy_text(scratch_path("no/data"));
    refuse(ERROR_USAGE, "mkdir -p");
}
END_TEST

START_TEST(a_relative_target_and_the_root_are_no_places)
{
    free((char *)options.target_directory);
    options.target_directory = memory_copy_text(_i == 0 ? "data" : "//");
    refuse(ERROR_USAGE, _i == 0 ? "absolute" : "no place");
}
END_TEST

START_TEST(tablespaces_need_a_place_and_the_error_says_what_to_type)
{
    set_tablespaces(false);
    refuse(ERROR_USAGE, "--tablespace-map 16389=");
}
END_TEST

START_TEST(tablespaces_are_mapped_by_path_or_by_oid)
{
    char *space SCOPED(scoped_free) = memory_copy_text(scratch_path("space"));
    char *first SCOPED(scoped_free) = memory_copy_text(scratch_path("one"));
    char *second SCOPED(scoped_free) = memory_copy_text(scratch_path("two/"));
    struct error err;

    set_tablespaces(true);
    mappings[0] = (struct tablespace_mapping){space, first};
    mappings[1] = (struct tablespace_mapping){"16390", second};
    options.mapping_count = 2;
    ck_assert_msg(restore_choose_places(&restore, &err), "%s", err.message);
    ck_assert_str_eq(restore.places[1].path, scratch_path("one"));
    ck_assert_str_eq(restore.places[2].path, scratch_path("two"));
    ck_assert_str_eq(restore.places[2].original_path, "/\xff");
    ck_assert_str_eq(restore.places[2].archive, "16390");
}
END_TEST

START_TEST(wrong_mappings_are_refused)
{
    static const struct tablespace_mapping wrong[] = {
        {"16389", "relative"}, {"16400", "/srv/x"}, {"/elsewhere", "/srv/x"}};
    static const char *const words[] = {"not absolute", "16389", "16389"};

    set_tablespaces(false);
    mappings[0] = wrong[_i];
    options.mapping_count = 1;
    refuse(ERROR_USAGE, words[_i]);
}
END_TEST

START_TEST(places_do_not_lie_inside_each_other)
{
    char *inside SCOPED(scoped_free) = memory_copy_text(scratch_path("data/space"));

    ck_assert_int_eq(mkdir(scratch_path("data"), 0700), 0);
    set_tablespaces(false);
    mappings[0] = (struct tablespace_mapping){"16389", inside};
    options.mapping_count = 1;
    refuse(ERROR_USAGE, "one inside the other");
}
END_TEST

START_TEST(an_original_path_that_is_in_use_is_refused)
{
    struct error err;

    set_tablespaces(false);
    options.use_original_tablespaces = true;
    ck_assert_int_eq(mkdir(scratch_path("space"), 0700), 0);
    ck_assert(atomic_file_put(scratch_path("space/PG_15"), 0600, "x", 1, &err));
    refuse(ERROR_USAGE, "PG_15");
}
END_TEST

START_TEST(too_little_room_is_refused_with_both_numbers)
{
    struct index_member member = {"base", (char *)"x", MEMBER_FILE, 0600, UINT64_C(1) << 60, 512, ""};
    struct error err;

    ck_assert(restore_choose_places(&restore, &err));
    ck_assert_msg(restore_check_room(&restore, &err), "%s", err.message);
    restore.index = (struct index){.members = &member, .member_count = 1};
    ck_assert(!restore_check_room(&restore, &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    ck_assert_ptr_nonnull(strstr(err.message, "EB are needed"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("restore_places");

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_loop_test(tests, a_missing_or_an_empty_target_is_taken, 0, 2);
    tcase_add_test(tests, a_target_with_something_in_it_is_refused_and_named);
    tcase_add_test(tests, what_a_failed_restore_left_is_recognised);
    tcase_add_test(tests, a_folder_filled_or_swapped_after_it_was_looked_at_is_left_alone);
    tcase_add_test(tests, a_failure_names_every_folder_that_was_begun);
    tcase_add_loop_test(tests, no_path_is_cut_in_a_command_that_removes, 0, 5);
    tcase_add_loop_test(tests, a_file_or_a_dead_link_is_no_target, 0, 2);
    tcase_add_test(tests, a_missing_parent_is_refused_with_the_command_that_makes_it);
    tcase_add_loop_test(tests, a_relative_target_and_the_root_are_no_places, 0, 2);
    tcase_add_test(tests, tablespaces_need_a_place_and_the_error_says_what_to_type);
    tcase_add_test(tests, tablespaces_are_mapped_by_path_or_by_oid);
    tcase_add_loop_test(tests, wrong_mappings_are_refused, 0, 3);
    tcase_add_test(tests, places_do_not_lie_inside_each_other);
    tcase_add_test(tests, an_original_path_that_is_in_use_is_refused);
    tcase_add_test(tests, too_little_room_is_refused_with_both_numbers);
    return suite_run("restore_places", tests);
}
