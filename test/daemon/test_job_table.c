#include "daemon/job_table_internal.h"

#include <string.h>

#include "support/suite.h"

static struct job_table table;
static const struct error died = {.kind = ERROR_FAILED, .message = "worker ended by signal 9"};

static void empty_table(void)
{
    job_table_done(&table);
    table = (struct job_table){.last_id = 0};
}

static struct job_entry *add(enum command_id command, bool is_resume, const char *server)
{
    struct job_entry *entry = NULL;
    struct error err;

    ck_assert_msg(job_table_add(&table, command, is_resume, server, "uid 26 (postgres)", &entry, &err), "%s",
                  err.message);
    return entry;
}

static json_t *result(void)
{
    return json_pack("{s:s, s:{}}", "event", "result", "data");
}

START_TEST(ids_count_up_and_are_never_given_twice)
{
    ck_assert_str_eq(add(COMMAND_ID_verify, false, "")->id, "1");
    struct job_entry *second = add(COMMAND_ID_verify, false, "");
    ck_assert_str_eq(second->id, "2");
    job_table_remove(&table, second);
    ck_assert_str_eq(add(COMMAND_ID_verify, false, "")->id, "3");
    ck_assert_ptr_null(job_table_find(&table, "2"));
    ck_assert_ptr_nonnull(job_table_find(&table, "3"));
}
END_TEST

START_TEST(a_server_has_one_backup_at_a_time)
{
    struct error err;

    struct job_entry *first = add(COMMAND_ID_backup, false, "a");
    add(COMMAND_ID_verify, false, "b");
    ck_assert(job_table_demand_no_backup(&table, "b", &err));
    ck_assert(!job_table_demand_no_backup(&table, "a", &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    ck_assert_msg(strstr(err.message, "a backup of server \"a\" is running: job 1, started ") == err.message &&
                      strstr(err.message, "s ago by uid 26 (postgres)") != NULL,
                  "%s", err.message);
    job_table_end(&table, first, &died);
    ck_assert(job_table_demand_no_backup(&table, "a", &err));
}
END_TEST

START_TEST(completing_old_backups_counts_as_a_backup)
{
    struct error err;

    const struct job_entry *entry = add(COMMAND_ID_backup, true, "a");
    ck_assert(!job_table_demand_no_backup(&table, "a", &err));
    ck_assert_ptr_nonnull(strstr(err.message, "are being completed: job 1"));
    ck_assert_str_eq(job_entry_command(entry), "resume");
}
END_TEST

START_TEST(a_worker_that_dies_without_a_word_is_told)
{
    struct job_entry *entry = add(COMMAND_ID_backup, false, "a");

    job_table_end(&table, entry, &died);
    ck_assert_int_eq(entry->state, JOB_FAILED);
    json_t *json SCOPED(scoped_json) = job_entry_to_json(entry);
    const json_t *error = json_object_get(json, "error");
    ck_assert_str_eq(json_text_or_null(error, "message"), "worker ended by signal 9");
    ck_assert_ptr_null(json_object_get(error, "event"));
    ck_assert_str_eq(json_text_or_null(json, "state"), "failed");
    ck_assert(json_is_string(json_object_get(json, "ended_at")));
}
END_TEST

START_TEST(a_result_counts_even_if_the_process_ended_badly_or_was_cancelled)
{
    struct job_entry *entry = add(COMMAND_ID_backup, false, "a");

    entry->last_word = result();
    snprintf(entry->cancelled_by, sizeof entry->cancelled_by, "uid 0 (root)");
    job_table_end(&table, entry, &died);
    ck_assert_int_eq(entry->state, JOB_DONE);
    json_t *json SCOPED(scoped_json) = job_entry_to_json(entry);
    ck_assert(json_is_null(json_object_get(json, "error")));
}
END_TEST

START_TEST(a_cancelled_job_says_who_cancelled_it)
{
    struct job_entry *entry = add(COMMAND_ID_backup, false, "a");

    entry->last_word = json_pack("{s:s, s:s, s:s}", "event", "error", "kind", "failed", "message", "interrupted");
    snprintf(entry->cancelled_by, sizeof entry->cancelled_by, "uid 0 (root)");
    job_table_end(&table, entry, &died);
    ck_assert_int_eq(entry->state, JOB_CANCELLED);
    ck_assert_str_eq(json_text_or_null(entry->last_word, "message"), "job 1 (backup) was cancelled by uid 0 (root)");
}
END_TEST

START_TEST(the_last_hundred_that_ended_are_kept_newest_first)
{
    for (int i = 0; i < JOB_MOST_ENDED + 7; i++)
        job_table_end(&table, add(COMMAND_ID_verify, false, ""), &died);
    ck_assert_uint_eq(table.ended_count, JOB_MOST_ENDED);
    ck_assert_str_eq(table.ended->id, "107");
    ck_assert_ptr_null(job_table_find(&table, "7"));
    ck_assert_ptr_nonnull(job_table_find(&table, "8"));
}
END_TEST

START_TEST(there_is_a_ceiling_for_running_jobs_but_not_for_the_daemons_own)
{
    struct job_entry *entry;
    struct error err;

    for (int i = 0; i < JOB_MOST_RUNNING; i++)
        add(COMMAND_ID_verify, false, "");
    ck_assert(!job_table_add(&table, COMMAND_ID_verify, false, "", "x", &entry, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    add(COMMAND_ID_backup, true, "a");
}
END_TEST

static struct job_entry *add_reported(const char *server)
{
    struct job_entry *entry = NULL;
    struct error err;

    ck_assert_msg(job_table_add_reported(&table, COMMAND_ID_restore, server, "cert:db1", &entry, &err), "%s",
                  err.message);
    return entry;
}

START_TEST(what_clients_report_keeps_no_job_of_the_daemons_from_running)
{
    struct job_entry *entry;
    struct error err;
    char server[] = "a";

    for (int i = 0; i < JOB_MOST_REPORTED; i++) {
        server[0] = (char)('a' + i / JOB_MOST_REPORTED_OF_SERVER);
        add_reported(server);
    }
    ck_assert(!job_table_add_reported(&table, COMMAND_ID_drill, "z", "x", &entry, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    for (int i = 0; i < JOB_MOST_RUNNING; i++)
        add(COMMAND_ID_verify, false, "");
    ck_assert(!job_table_add(&table, COMMAND_ID_verify, false, "", "x", &entry, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "64 jobs are running already"));
}
END_TEST

START_TEST(a_server_has_room_for_so_many_reports_and_another_one_for_as_many)
{
    struct job_entry *entry;
    struct error err;

    for (int i = 0; i < JOB_MOST_REPORTED_OF_SERVER; i++)
        add_reported("a");
    ck_assert(!job_table_add_reported(&table, COMMAND_ID_restore, "a", "x", &entry, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    add_reported("b");
}
END_TEST

START_TEST(what_clients_report_drives_no_job_of_the_daemons_out_of_memory)
{
    struct job_entry *own = add(COMMAND_ID_backup, false, "a");

    job_table_end(&table, own, &died);
    for (int i = 0; i < 2 * JOB_MOST_ENDED; i++)
        job_table_end(&table, add_reported("a"), &died);
    ck_assert_ptr_eq(job_table_find(&table, "1"), own);
    ck_assert_uint_eq(table.ended_count, 1 + JOB_MOST_REPORTED_ENDED);
    ck_assert_str_eq(table.ended->id, "201");
    ck_assert_int_eq(table.ended->state, JOB_GONE);
}
END_TEST

START_TEST(a_running_job_shows_its_progress)
{
    struct job_entry *entry = add(COMMAND_ID_backup, false, "a");

    entry->progress = json_pack("{s:s, s:s}", "event", "progress", "phase", "copy");
    json_t *json SCOPED(scoped_json) = job_entry_to_json(entry);
    ck_assert_str_eq(json_text_or_null(json_object_get(json, "progress"), "phase"), "copy");
    ck_assert_ptr_null(json_object_get(json_object_get(json, "progress"), "event"));
    ck_assert(json_is_null(json_object_get(json, "ended_at")));
    ck_assert_str_eq(json_text_or_null(json, "caller"), "uid 26 (postgres)");
    ck_assert_double_ge(job_entry_seconds(entry), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("job_table");

    tcase_add_checked_fixture(tests, empty_table, empty_table);
    tcase_add_test(tests, ids_count_up_and_are_never_given_twice);
    tcase_add_test(tests, a_server_has_one_backup_at_a_time);
    tcase_add_test(tests, completing_old_backups_counts_as_a_backup);
    tcase_add_test(tests, a_worker_that_dies_without_a_word_is_told);
    tcase_add_test(tests, a_result_counts_even_if_the_process_ended_badly_or_was_cancelled);
    tcase_add_test(tests, a_cancelled_job_says_who_cancelled_it);
    tcase_add_test(tests, the_last_hundred_that_ended_are_kept_newest_first);
    tcase_add_test(tests, there_is_a_ceiling_for_running_jobs_but_not_for_the_daemons_own);
    tcase_add_test(tests, what_clients_report_keeps_no_job_of_the_daemons_from_running);
    tcase_add_test(tests, a_server_has_room_for_so_many_reports_and_another_one_for_as_many);
    tcase_add_test(tests, what_clients_report_drives_no_job_of_the_daemons_out_of_memory);
    tcase_add_test(tests, a_running_job_shows_its_progress);
    return suite_run("job_table", tests);
}
