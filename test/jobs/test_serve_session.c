#include "jobs/serving.h"

static struct error err;
static json_t *result;

static void ask(const char *request)
{
    json_decref(result);
    result = serving_ask(request, &err);
    ck_assert_msg(result != NULL, "%s: %s", request, err.message);
}

static void refused(const char *request, enum error_kind kind, const char *words)
{
    json_t *answer = serving_ask(request, &err);

    ck_assert_msg(answer == NULL, "%s was answered", request);
    ck_assert_msg(err.kind == kind, "%s: %s", error_kind_word(err.kind), err.message);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
}

static void drop(void)
{
    json_decref(result);
    json_decref(serving_items);
    serving_remove();
}

static const char *item_text(size_t i, const char *key)
{
    return json_text_or_null(json_array_get(serving_items, i), key);
}

/* ---- rights ---- */

START_TEST(an_admin_may_read_any_server_and_sees_all)
{
    serving_start(RIGHT_ADMIN);
    ask("'command':'list'");
    ck_assert_uint_eq(json_array_size(json_object_get(result, "servers")), 2);
    ask("'command':'list','server':'primary'");
    ask("'command':'list','server':'other'");
    ck_assert_uint_eq(json_array_size(serving_items), 1); /* of no backup: what can be restored */
    ck_assert_str_eq(item_text(0, "server"), "other");
    ck_assert_int_eq(json_number_or(json_object_get(json_array_get(serving_items, 0), "restorable"), "backups", -1), 0);
}
END_TEST

START_TEST(a_monitor_lists_and_reads_nothing)
{
    serving_start(RIGHT_MONITOR);
    ask("'command':'list','server':'primary'");
    ask("'command':'show','server':'primary','backup':'latest'");
    refused("'command':'restore','server':'primary'", ERROR_DENIED, "right of a restorer");
    ck_assert_ptr_nonnull(strstr(err.hint, "restorers of [primary]"));
    refused("'command':'list','server':'primary'", ERROR_DAEMON, ""); /* after a refusal */
}
END_TEST

START_TEST(below_admin_a_session_stays_with_its_first_server)
{
    serving_start(RIGHT_RESTORER);
    ask("'command':'restore','server':'primary'");
    ask("'command':'list','server':'primary'");
    refused("'command':'list','server':'other'", ERROR_DENIED, "bound to the server of its first request");
}
END_TEST

START_TEST(a_list_of_all_servers_shows_those_of_the_start_line)
{
    serving_options.servers = json_pack("[s]", "primary");
    serving_start(RIGHT_MONITOR);
    ask("'command':'list'");
    ck_assert_uint_eq(json_array_size(json_object_get(result, "servers")), 1);
    ck_assert_str_eq(item_text(0, "id"), SERVING_ID);
    ask("'command':'list'");
    refused("'command':'show','server':'primary','backup':'latest'", ERROR_DENIED, "bound");
}
END_TEST

START_TEST(what_is_no_session_request_is_refused)
{
    serving_start(RIGHT_ADMIN);
    refused("'command':'shutdown'", ERROR_USAGE, "not answered in a session");
    refused("'command':'list','server':'nosuch'", ERROR_USAGE, "nosuch");
    refused("'command':'list','server':'../primary'", ERROR_USAGE, "not the name of a server");
}
END_TEST

START_TEST(an_admin_reads_a_server_that_left_the_configuration)
{
    struct error ignored;
    struct system_id old;

    ck_assert(system_id_parse("5", &old, &ignored) && repo_create_system(&repo, "former", &old, &ignored));
    serving_start(RIGHT_ADMIN);
    ask("'command':'list','server':'former'");
    serving_stop();
    serving_start(RIGHT_MONITOR);
    refused("'command':'list','server':'former'", ERROR_USAGE, "former");
}
END_TEST

/* ---- lists ---- */

START_TEST(list_and_show_tell_a_backup_and_what_is_unreadable)
{
    repository_put("backup/20261122T020000Z/backup.json", "{}", 2);
    serving_start(RIGHT_ADMIN);
    ask("'command':'list','server':'primary'");
    ck_assert_uint_eq(json_array_size(serving_items), 3);
    ck_assert_str_eq(item_text(0, "state"), "complete");
    ck_assert_ptr_null(json_object_get(json_array_get(serving_items, 0), "files"));
    ck_assert_str_eq(item_text(1, "state"), "unreadable");
    ck_assert_ptr_nonnull(json_object_get(json_array_get(serving_items, 1), "error"));
    ck_assert_ptr_null(item_text(2, "id"));
    const json_t *restorable = json_object_get(json_array_get(serving_items, 2), "restorable");
    ck_assert_int_eq(json_number_or(restorable, "backups", -1), 1);
    ck_assert_int_eq(json_number_or(json_object_get(restorable, "own_end"), "count", -1), 1);
    ck_assert(json_is_null(json_object_get(restorable, "error")));
    ask("'command':'show','server':'primary','backup':'" SERVING_ID "'");
    ck_assert_uint_eq(json_array_size(json_object_get(result, "files")), 3);
    ck_assert_ptr_nonnull(strstr(json_text_or_null(result, "path"), SERVING_ID));
    refused("'command':'show','server':'primary','backup':'nosuch'", ERROR_USAGE, "nosuch");
    refused("'command':'show','server':'primary','backup':'20261122T020000Z'", ERROR_INTEGRITY, "");
}
END_TEST

START_TEST(wal_lists_tell_segments_ranges_and_gaps)
{
    hold_segment(1, 7);
    serving_start(RIGHT_MONITOR);
    ask("'command':'wal list','server':'primary'");
    ck_assert_uint_eq(json_array_size(serving_items), 3);
    ck_assert_str_eq(item_text(1, "state"), "partial");
    ck_assert_int_eq(json_number_or(json_array_get(serving_items, 1), "held_bytes", 0), 77);
    ask("'command':'wal status','server':'primary'");
    ck_assert_uint_eq(json_array_size(json_object_get(result, "ranges")), 2);
    const json_t *gap = json_array_get(json_object_get(result, "gaps"), 0);
    ck_assert_str_eq(json_text_or_null(gap, "start"), "0/40004D");
    ck_assert_str_eq(json_text_or_null(gap, "end"), "0/700000");
}
END_TEST

/* ---- read ---- */

#define READ "'command':'read','server':'primary','backup':'" SERVING_ID "','options':"

START_TEST(a_range_of_a_backups_file_is_read)
{
    serving_start(RIGHT_RESTORER);
    ask(READ "{'file':'16389.tar.zst','offset':'1','length':'3'}");
    ck_assert_uint_eq(serving_size, 3);
    ck_assert_int_eq(memcmp(serving_bytes, "ell", 3), 0);
    ask(READ "{'file':'16389.tar.zst','offset':'5','length':'0'}");
    ask(READ "{'file':'backup.json','offset':'0','length':'2'}");
    ck_assert_int_eq(serving_bytes[0], '{');
}
END_TEST

START_TEST(only_files_the_metadata_names_are_read)
{
    static const char *const names[] = {"lock",     "../../../server.json",      "/etc/passwd", "..", "",
                                        "stranger", "16389.tar.zst/../stranger", "copied.json"};
    char request[256];

    repository_put("backup/" SERVING_ID "/stranger", "secret", 6);
    serving_start(RIGHT_RESTORER);
    snprintf(request, sizeof request, READ "{'file':'%s','offset':'0','length':'1'}", names[_i]);
    refused(request, ERROR_USAGE, "no such file");
}
END_TEST

START_TEST(ranges_outside_the_file_are_refused)
{
    static const struct {
        const char *offset, *length;
    } ranges[] = {{"6", "0"}, {"5", "1"}, {"0", "6"}, {"-1", "1"}, {"0", "67108865"}, {"9223372036854775807", "5"},
                  {"x", "1"}, {"0", ""}};
    char request[256];

    serving_start(RIGHT_RESTORER);
    snprintf(request, sizeof request, READ "{'file':'16389.tar.zst','offset':'%s','length':'%s'}", ranges[_i].offset,
             ranges[_i].length);
    refused(request, ERROR_USAGE, "");
}
END_TEST

START_TEST(a_file_that_was_cut_off_or_is_gone_is_damage)
{
    repository_put("backup/" SERVING_ID "/16389.tar.zst", "hell", 4);
    serving_start(RIGHT_RESTORER);
    refused(READ "{'file':'16389.tar.zst','offset':'0','length':'5'}", ERROR_INTEGRITY, "cut off");
    refused(READ "{'file':'base.tar.zst','offset':'0','length':'5'}", ERROR_INTEGRITY, "missing");
}
END_TEST

START_TEST(a_link_in_a_backups_folder_is_not_followed)
{
    ck_assert_int_eq(unlink(repository_path("backup/" SERVING_ID "/16389.tar.zst")), 0);
    ck_assert_int_eq(symlink("/etc/hostname", repository_path("backup/" SERVING_ID "/16389.tar.zst")), 0);
    serving_start(RIGHT_RESTORER);
    refused(READ "{'file':'16389.tar.zst','offset':'0','length':'1'}", ERROR_STORAGE, "could not open");
}
END_TEST

START_TEST(a_backup_that_is_read_cannot_be_deleted_until_the_session_ends)
{
    struct catalogue catalogue;
    uint64_t freed = 0;

    serving_start(RIGHT_RESTORER);
    ask("'command':'restore','server':'primary'");
    ck_assert(catalogue_read(&repo, "primary", &catalogue, &err));
    ck_assert(!catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    serving_stop();
    ck_assert_msg(catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err), "%s", err.message);
    catalogue_done(&catalogue);
}
END_TEST

/* ---- restore ---- */

START_TEST(the_plan_has_what_a_restore_needs)
{
    serving_start(RIGHT_RESTORER);
    ask("'command':'restore','server':'primary','options':{'with-wal':true}");
    ck_assert_str_eq(json_text_or_null(json_object_get(result, "backup"), "id"), SERVING_ID);
    ck_assert_int_eq(json_number_or(result, "timeline", 0), 1);
    ck_assert_str_eq(json_text_or_null(result, "start"), "0/300028");
    ck_assert_str_eq(json_text_or_null(result, "consistent_at"), "0/3FFFF8");
    ck_assert_str_eq(json_text_or_null(result, "reachable"), "0/40004D");
    ck_assert_uint_eq(json_array_size(json_object_get(result, "wal_files")), 2);
    ck_assert_str_eq(json_text_or_null(json_object_get(result, "target"), "kind"), "end");
    ask("'command':'restore','server':'primary','options':{'with-wal':true,'target-immediate':true}");
    ck_assert_uint_eq(json_array_size(json_object_get(result, "wal_files")), 1);
}
END_TEST

/* Or the copy would promote itself to timeline 2, which the archive knows as another one. */
START_TEST(a_copy_with_its_wal_is_told_which_timelines_are_taken)
{
    static const char text[] = "1\t0/400020\tno recovery target specified\n";

    ck_assert_msg(wal_archive_write_history(&archive, (struct timeline){2}, text, strlen(text), &err), "%s",
                  err.message);
    serving_start(RIGHT_RESTORER);
    ask("'command':'restore','server':'primary','options':{'with-wal':true,'target-timeline':'1'}");
    const json_t *names = json_object_get(result, "wal_files");
    ck_assert_uint_eq(json_array_size(names), 3);
    ck_assert_str_eq(json_string_value(json_array_get(names, 2)), "00000002.history");
    ask("'command':'restore','server':'primary','options':{'with-wal':true,'target-timeline':'1','standby':true}");
    ck_assert_uint_eq(json_array_size(json_object_get(result, "wal_files")), 2);
}
END_TEST

START_TEST(options_that_contradict_each_other_are_refused)
{
    static const char *const options[] = {
        "'target-lsn':'0/400000','target-immediate':true",
        "'target-xid':'1','target-name':'x'",
        "'target-exclusive':true",
        "'target-name':'x','target-exclusive':true",
        "'target-action':'dance'",
        "'standby':true,'target-immediate':true",
        "'target-xid':'x'",
        "'target-lsn':'here'",
        "'target-time':'whenever'",
        "'target-timeline':'0'",
        "'target-timeline':'newest'",
    };
    char request[256];

    serving_start(RIGHT_RESTORER);
    snprintf(request, sizeof request, "'command':'restore','server':'primary','options':{%s}", options[_i]);
    refused(request, ERROR_USAGE, "");
}
END_TEST

static TCase *cases(void)
{
    TCase *tests = tcase_create("serve_session");

    tcase_add_checked_fixture(tests, serving_make, drop);
    tcase_add_test(tests, an_admin_may_read_any_server_and_sees_all);
    tcase_add_test(tests, a_monitor_lists_and_reads_nothing);
    tcase_add_test(tests, below_admin_a_session_stays_with_its_first_server);
    tcase_add_test(tests, a_list_of_all_servers_shows_those_of_the_start_line);
    tcase_add_test(tests, what_is_no_session_request_is_refused);
    tcase_add_test(tests, an_admin_reads_a_server_that_left_the_configuration);
    tcase_add_test(tests, list_and_show_tell_a_backup_and_what_is_unreadable);
    tcase_add_test(tests, wal_lists_tell_segments_ranges_and_gaps);
    tcase_add_test(tests, a_range_of_a_backups_file_is_read);
    tcase_add_loop_test(tests, only_files_the_metadata_names_are_read, 0, 8);
    tcase_add_loop_test(tests, ranges_outside_the_file_are_refused, 0, 8);
    tcase_add_test(tests, a_file_that_was_cut_off_or_is_gone_is_damage);
    tcase_add_test(tests, a_link_in_a_backups_folder_is_not_followed);
    tcase_add_test(tests, a_backup_that_is_read_cannot_be_deleted_until_the_session_ends);
    tcase_add_test(tests, the_plan_has_what_a_restore_needs);
    tcase_add_test(tests, a_copy_with_its_wal_is_told_which_timelines_are_taken);
    tcase_add_loop_test(tests, options_that_contradict_each_other_are_refused, 0, 11);
    return tests;
}

int main(void)
{
    return suite_run("serve_session", cases());
}
