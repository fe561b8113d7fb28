#include "daemon/counts_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "support/suite.h"

/* What a worker tells whose counts are these. */
static void tell(struct worker_counts *counts, pid_t worker, int received, int ok)
{
    json_t *report SCOPED(scoped_json) = json_pack("{s:i, s:i, s:{s:i, s:i}}", "received_bytes", received, "reconnects",
                                                   1, "handshakes", "ok", ok, "refused", 2);

    worker_counts_take(counts, worker, report);
}

static void check(const struct worker_counts *counts, uint64_t received, uint64_t ok, uint64_t refused)
{
    ck_assert_uint_eq(counts->received_bytes.total, received);
    ck_assert_uint_eq(counts->handshakes_ok.total, ok);
    ck_assert_uint_eq(counts->handshakes_refused.total, refused);
}

START_TEST(what_workers_count_is_added_up_over_their_lives)
{
    struct worker_counts counts = {.worker = 0};

    tell(&counts, 100, 10, 1);
    check(&counts, 10, 1, 2);
    tell(&counts, 100, 15, 3);
    tell(&counts, 100, 15, 3);
    check(&counts, 15, 3, 2);
    tell(&counts, 101, 20, 1); /* another one, which has counted further than the former by its first report */
    check(&counts, 35, 4, 4);
    ck_assert_uint_eq(counts.reconnects.total, 2);
    tell(&counts, 101, 21, 1);
    check(&counts, 36, 4, 4);
}
END_TEST

START_TEST(a_report_without_a_count_or_with_a_lower_one_takes_nothing_back)
{
    struct worker_counts counts = {.worker = 0};
    json_t *report SCOPED(scoped_json) =
        json_pack("{s:i, s:s, s:n}", "received_bytes", -5, "reconnects", "x", "handshakes");

    tell(&counts, 100, 10, 1);
    worker_counts_take(&counts, 100, report);
    worker_counts_take(&counts, 100, NULL);
    check(&counts, 10, 1, 2);
    tell(&counts, 100, 4, 1);
    check(&counts, 10, 1, 2);
    tell(&counts, 100, 6, 1);
    check(&counts, 12, 1, 2);
}
END_TEST

static void expect_run(const json_t *runs, const char *command, const char *state, int64_t count)
{
    ck_assert_int_eq(json_number_or(json_object_get(runs, command), state, -1), count);
}

START_TEST(jobs_are_counted_by_command_and_end)
{
    struct job_entry backup = {.command = COMMAND_ID_backup, .state = JOB_FAILED};
    struct job_entry resume = {.command = COMMAND_ID_backup, .is_resume = true, .state = JOB_DONE};
    json_t *runs SCOPED(scoped_json) = NULL;

    run_counts_add(&runs, &backup);
    run_counts_add(&runs, &backup);
    backup.state = JOB_CANCELLED;
    run_counts_add(&runs, &backup);
    run_counts_add(&runs, &resume);
    expect_run(runs, "backup", "failed", 2);
    expect_run(runs, "backup", "cancelled", 1);
    expect_run(runs, "backup", "done", 0);
    expect_run(runs, "resume", "done", 1);
    json_t *none SCOPED(scoped_json) = run_counts_to_json(NULL);
    ck_assert_uint_eq(json_object_size(none), 0);
    json_t *copy SCOPED(scoped_json) = run_counts_to_json(runs);
    run_counts_add(&runs, &backup);
    expect_run(copy, "backup", "cancelled", 1);
}
END_TEST

START_TEST(a_reload_that_was_refused_leaves_the_time_of_the_last_good_one)
{
    struct counts counts;

    counts_begin(&counts, (struct timestamp){INT64_C(1763800000000000)});
    counts_note_reload(&counts, false);
    json_t *refused SCOPED(scoped_json) = counts_to_json(&counts);
    const json_t *reload = json_object_get(refused, "reload");
    ck_assert_str_eq(json_text_or_null(reload, "at"), "2025-11-22T08:26:40Z");
    ck_assert(json_is_false(json_object_get(reload, "good")));
    counts_note_reload(&counts, true);
    json_t *good SCOPED(scoped_json) = counts_to_json(&counts);
    reload = json_object_get(good, "reload");
    ck_assert_str_ne(json_text_or_null(reload, "at"), "2025-11-22T08:26:40Z");
    ck_assert(json_is_set(reload, "good"));
    counts_done(&counts);
}
END_TEST

START_TEST(the_memory_is_that_of_the_process_and_opens_no_file)
{
    const size_t more = (size_t)64 << 20;
    struct counts counts;
    int next;

    counts_begin(&counts, clock_now());
    json_t *before SCOPED(scoped_json) = counts_to_json(&counts);
    char *volatile memory = malloc(more);
    ck_assert_ptr_nonnull(memory);
    for (size_t i = 0; i < more; i += 1024)
        memory[i] = (char)i;
    next = dup(STDERR_FILENO);
    close(next);
    json_t *after SCOPED(scoped_json) = counts_to_json(&counts);
    int still_next = dup(STDERR_FILENO);
    close(still_next);
    ck_assert_int_eq(still_next, next);
    free(memory);
    const json_t *then = json_object_get(before, "process"), *now = json_object_get(after, "process");
    int64_t grown = json_number_or(now, "resident_bytes", 0) - json_number_or(then, "resident_bytes", 0);
    ck_assert_int_ge(grown, (int64_t)more * 3 / 4);
    ck_assert_int_le(grown, (int64_t)more * 2);
    ck_assert(json_real_value(json_object_get(now, "cpu_seconds")) >
              json_real_value(json_object_get(then, "cpu_seconds")));
    counts_done(&counts);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("counts");

    tcase_add_test(tests, what_workers_count_is_added_up_over_their_lives);
    tcase_add_test(tests, a_report_without_a_count_or_with_a_lower_one_takes_nothing_back);
    tcase_add_test(tests, jobs_are_counted_by_command_and_end);
    tcase_add_test(tests, a_reload_that_was_refused_leaves_the_time_of_the_last_good_one);
    tcase_add_test(tests, the_memory_is_that_of_the_process_and_opens_no_file);
    return suite_run("counts", tests);
}
