#include "daemon/whole_daemon.h"
#include "pgcoffer/base/clock.h"
#include "support/suite.h"

/* [one] is the last section. */
static void write_slot(const char *name)
{
    FILE *file = fopen(scratch_path("pgcoffer.conf"), "ae");

    fprintf(file, "wal_slot = %s\n", name);
    fclose(file);
}

/* Starts a backup and reads up to its first progress; returns the job's id. */
static struct control_stream *start_backup(const char *label, char ret_job[32])
{
    struct control_stream *stream = connect_now();

    send_request(stream, "backup", "one", label);
    json_t *job SCOPED(scoped_json) = expect(stream, "job");
    snprintf(ret_job, 32, "%s", json_text_or_null(job, "job"));
    ck_assert_str_eq(json_text_or_null(job, "server"), "one");
    json_t *progress SCOPED(scoped_json) = expect(stream, "progress");
    ck_assert_int_eq(json_number_or(progress, "done_bytes", 0), 7);
    return stream;
}

static struct control_stream *ask_about_job(const char *command, const char *job)
{
    struct control_stream *stream = connect_now();
    struct error err;
    json_t *request SCOPED(scoped_json) =
        json_pack("{s:i, s:s, s:s}", "v", CONTROL_VERSION, "command", command, "job", job);

    ck_assert(control_send(stream, request, &err));
    return stream;
}

static pid_t receiver_pid(void)
{
    for (int i = 0; i < 1000; i++) {
        json_t *status SCOPED(scoped_json) = ask("status");
        const json_t *server = json_array_get(json_object_get(status, "servers"), 0);
        const json_t *receiver = json_object_get(server, "receiver");
        if (strcmp(json_text_or_null(receiver, "state"), "streaming") == 0)
            return (pid_t)json_number_or(receiver, "pid", -1);
        usleep(10000);
    }
    ck_abort_msg("the receiver does not stream");
}

/* ---- tests ---- */

START_TEST(a_second_daemon_is_refused_and_the_first_goes_on)
{
    ck_assert_int_eq(end_of(fork_daemon()), 8);
    json_t *data SCOPED(scoped_json) = ask("ping");
    ck_assert_int_eq(json_number_or(data, "pid", -1), daemon_pid);
}
END_TEST

START_TEST(a_killed_daemon_leaves_nothing_that_hinders_the_next)
{
    receiver_pid();
    kill(daemon_pid, SIGKILL);
    ck_assert_int_eq(waitpid(daemon_pid, NULL, 0), daemon_pid);
    daemon_pid = fork_daemon();
    await_daemon();
    ck_assert_int_gt(receiver_pid(), 0);
}
END_TEST

START_TEST(a_connection_answers_one_request_after_the_other)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = connect_now();

    for (int i = 0; i < 3; i++) {
        send_request(stream, "ping", NULL, NULL);
        json_decref(expect(stream, "result"));
    }
    send_request(stream, "list", NULL, NULL); /* and becomes a session */
    json_t *result SCOPED(scoped_json) = expect(stream, "result");
    const json_t *data = json_object_get(result, "data");
    ck_assert_str_eq(json_text_or_null(data, "right"), "admin");
    ck_assert_uint_eq(json_array_size(json_object_get(data, "servers")), 1);
    expect_end(stream);
}
END_TEST

static const struct {
    const char *bytes;
    const char *fault;
} wrong_lines[] = {
    {"garbage\n", "could not parse JSON"},
    {"{\"v\":1,\"v\":1}\n", "duplicate"},
    {"{\"v\":1,\"command\":\"nonsense\"}\n", "there is no command"},
    {"{\"v\":1,\"command\":\"config show\"}\n", "without the daemon"},
    {"{\"v\":1,\"comm", "in the middle of its line"},
    {"{\"v\":1,\"command\":\"list\"}\n{", "more came after the request"},
};

START_TEST(a_wrong_line_is_answered_and_the_connection_ends)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = connect_now();
    int fd = control_stream_descriptor(stream);
    const char *bytes = wrong_lines[_i].bytes;

    ck_assert_int_eq(send(fd, bytes, strlen(bytes), 0), (ssize_t)strlen(bytes));
    shutdown(fd, SHUT_WR);
    expect_error(stream, "usage", wrong_lines[_i].fault);
    expect_end(stream);
    json_decref(ask("ping"));
}
END_TEST

START_TEST(a_huge_line_is_answered_and_the_connection_ends)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = connect_now();
    char *bytes SCOPED(scoped_free) = memory_new(100000);

    memset(bytes, 'x', 100000);
    ck_assert_int_gt(send(control_stream_descriptor(stream), bytes, 100000, MSG_NOSIGNAL), 0);
    expect_error(stream, "usage", "longer than a line");
}
END_TEST

START_TEST(a_client_that_says_nothing_is_dropped)
{
    struct control_stream *silent SCOPED(scoped_control_stream) = connect_now();
    struct control_stream *half SCOPED(scoped_control_stream) = connect_now();

    ck_assert_int_eq(send(control_stream_descriptor(half), "{\"v\"", 4, 0), 4);
    expect_end(silent);
    expect_error(half, "usage", "within 10 s");
}
END_TEST

START_TEST(a_backup_is_told_where_the_receiver_is_and_its_result_is_kept)
{
    char job[32];

    receiver_pid();
    struct control_stream *stream SCOPED(scoped_control_stream) = start_backup("quick", job);
    json_t *result SCOPED(scoped_json) = expect(stream, "result");
    const json_t *told = json_object_get(json_object_get(result, "data"), "told");
    ck_assert_str_eq(json_text_or_null(told, "event"), "wal");
    ck_assert_str_eq(json_text_or_null(json_object_get(told, "data"), "flushed"), "0/3000000");
    ck_assert_str_eq(json_text_or_null(json_object_get(told, "data"), "system_id"), "73");

    struct control_stream *later SCOPED(scoped_control_stream) = ask_about_job("follow", job);
    json_t *again SCOPED(scoped_json) = expect(later, "result");
    ck_assert(json_equal(result, again));
    json_t *status SCOPED(scoped_json) = ask("status");
    const json_t *server = json_array_get(json_object_get(status, "servers"), 0);
    ck_assert_str_eq(json_text_or_null(json_object_get(server, "last_backup"), "id"), "new");
}
END_TEST

START_TEST(a_job_outlives_its_client_and_others_follow_it)
{
    char job[32];

    control_stream_free(start_backup("slow", job));
    struct control_stream *second SCOPED(scoped_control_stream) = connect_now();
    send_request(second, "backup", "one", "slow");
    expect_error(second, "busy", "a backup of server \"one\" is running: job ");

    struct control_stream *follower SCOPED(scoped_control_stream) = ask_about_job("follow", job);
    json_decref(expect(follower, "progress"));
    struct control_stream *canceller SCOPED(scoped_control_stream) = ask_about_job("cancel", job);
    json_t *result SCOPED(scoped_json) = expect(canceller, "result");
    ck_assert_str_eq(json_text_or_null(json_object_get(result, "data"), "state"), "cancelled");
    expect_error(follower, "failed", "was cancelled by uid ");
}
END_TEST

START_TEST(a_worker_that_dies_or_lies_is_reported)
{
    char job[32];

    struct control_stream *killed SCOPED(scoped_control_stream) = start_backup("killed", job);
    expect_error(killed, "failed", "worker ended by signal 9");
    struct control_stream *liar SCOPED(scoped_control_stream) = start_backup("garbage", job);
    expect_error(liar, "failed", "a line that is no event");
    json_decref(ask("ping"));
}
END_TEST

START_TEST(a_follower_that_does_not_read_is_dropped_and_the_job_goes_on)
{
    char job[32];

    struct control_stream *lazy SCOPED(scoped_control_stream) = start_backup("flood", job);
    struct error err;
    for (int i = 0; i < 1000; i++) { /* until the flood is over */
        json_t *jobs SCOPED(scoped_json) = ask("jobs");
        const json_t *first = json_array_get(json_object_get(jobs, "jobs"), 0);
        if (strcmp(json_text_or_null(first, "state"), "running") != 0 ||
            strcmp(json_text_or_null(first, "command"), "resume") == 0)
            break;
        usleep(10000);
    }
    json_t *message = NULL;
    size_t items = 0;
    while (control_receive(lazy, &message, &err) && message != NULL) {
        json_decref(message);
        items++;
    }
    ck_assert_uint_lt(items, 500);
}
END_TEST

START_TEST(a_killed_receiver_comes_back)
{
    pid_t first = receiver_pid();

    kill(first, SIGKILL);
    while (kill(first, 0) == 0)
        usleep(1000);
    ck_assert_int_ne(receiver_pid(), first);
}
END_TEST

START_TEST(a_reload_takes_the_new_settings_or_leaves_the_old)
{
    pid_t first = receiver_pid();

    write_configuration("nonsense = 1\n");
    struct control_stream *stream SCOPED(scoped_control_stream) = connect_now();
    send_request(stream, "reload", NULL, NULL);
    expect_error(stream, "config", "nonsense");
    ck_assert_int_eq(receiver_pid(), first);

    write_configuration("monitors = nagios\n");
    json_t *same SCOPED(scoped_json) = ask("reload");
    ck_assert_str_eq(json_text_or_null(same, "restart_needed"), "");
    ck_assert_int_eq(receiver_pid(), first);

    write_configuration("compression_level = 9\n[two]\nhost = b\nuser = repl\ntls_cert_file = /c\n"
                        "tls_key_file = /k\ntls_ca_file = /a\n");
    json_t *more SCOPED(scoped_json) = ask("reload");
    ck_assert_uint_eq(json_array_size(json_object_get(more, "servers")), 2);
    while (kill(first, 0) == 0)
        usleep(1000);
    json_t *status SCOPED(scoped_json) = ask("status");
    ck_assert_uint_eq(json_array_size(json_object_get(status, "servers")), 2);
}
END_TEST

static struct control_stream *ask_of_slot(const char *command)
{
    struct control_stream *stream = connect_now();

    send_request(stream, command, "one", NULL);
    json_decref(expect(stream, "job"));
    return stream;
}

static void expect_receiver_state(const char *state)
{
    json_t *status SCOPED(scoped_json) = ask("status");
    const json_t *server = json_array_get(json_object_get(status, "servers"), 0);

    ck_assert_str_eq(json_text_or_null(json_object_get(server, "receiver"), "state"), state);
}

START_TEST(a_dropped_slot_stops_the_receiver_until_there_is_a_slot_again)
{
    pid_t first = receiver_pid();

    for (int i = 0; i < 2; i++) { /* the second time there is no receiver to end */
        struct control_stream *dropper SCOPED(scoped_control_stream) = ask_of_slot("slot drop");
        json_decref(expect(dropper, "result"));
        ck_assert_int_lt(kill(first, 0), 0);
        expect_receiver_state("stopped");
    }
    struct control_stream *backup SCOPED(scoped_control_stream) = connect_now();
    send_request(backup, "backup", "one", "quick");
    expect_error(backup, "failed", "was dropped by uid ");
    json_decref(ask("reload")); /* nothing has changed */
    expect_receiver_state("stopped");

    struct control_stream *creator SCOPED(scoped_control_stream) = ask_of_slot("slot create");
    json_decref(expect(creator, "result"));
    ck_assert_int_ne(receiver_pid(), first);
}
END_TEST

START_TEST(changed_settings_start_a_stopped_receiver)
{
    receiver_pid();
    struct control_stream *dropper SCOPED(scoped_control_stream) = ask_of_slot("slot drop");
    json_decref(expect(dropper, "result"));
    write_configuration("compression_level = 9\n");
    json_decref(ask("reload"));
    ck_assert_int_gt(receiver_pid(), 0);
}
END_TEST

START_TEST(the_receiver_goes_on_when_its_slot_could_not_be_dropped)
{
    write_slot("kept");
    json_decref(ask("reload"));
    pid_t first = receiver_pid();
    struct control_stream *dropper SCOPED(scoped_control_stream) = ask_of_slot("slot drop");
    expect_error(dropper, "busy", "PID 7");
    ck_assert_int_ne(receiver_pid(), first);
}
END_TEST

START_TEST(backups_and_changes_of_the_slot_exclude_each_other)
{
    char job[32];

    write_slot("slow");
    json_decref(ask("reload"));
    receiver_pid();
    struct control_stream *backup SCOPED(scoped_control_stream) = start_backup("slow", job);
    struct control_stream *refused SCOPED(scoped_control_stream) = connect_now();
    send_request(refused, "slot drop", "one", NULL);
    expect_error(refused, "busy", "a backup of server \"one\" is running");
    struct control_stream *canceller SCOPED(scoped_control_stream) = ask_about_job("cancel", job);
    json_decref(expect(canceller, "result"));
    json_decref(expect(backup, "error"));

    struct control_stream *dropper SCOPED(scoped_control_stream) = ask_of_slot("slot drop");
    ck_assert_ptr_nonnull(dropper); /* it is at work until the scope ends */
    send_request(refused, "slot create", "one", NULL);
    expect_error(refused, "busy", "is being dropped");
    send_request(refused, "backup", "one", "quick");
    expect_error(refused, "busy", "is being dropped");
}
END_TEST

START_TEST(a_setting_that_needs_a_restart_is_named_and_kept)
{
    FILE *file = fopen(scratch_path("pgcoffer.conf"), "we");

    fprintf(file, "[pgcoffer]\nbase_dir = /elsewhere\nunix_socket_dir = %s\n", scratch_path("run"));
    fclose(file);
    json_t *answer SCOPED(scoped_json) = ask("reload");
    ck_assert_str_eq(json_text_or_null(answer, "restart_needed"), "base_dir");
    json_t *status SCOPED(scoped_json) = ask("status");
    ck_assert_str_eq(json_text_or_null(status, "base_dir"), scratch_path("base"));
    ck_assert_uint_eq(json_array_size(json_object_get(status, "servers")), 0);
}
END_TEST

START_TEST(a_shutdown_ends_everything_within_five_seconds)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = connect_now();
    char job[32];

    struct control_stream *follower SCOPED(scoped_control_stream) = start_backup("stubborn", job);
    int64_t before = clock_monotonic();
    send_request(stream, "shutdown", NULL, NULL);
    json_decref(expect(stream, "result"));
    expect_end(stream);
    expect_error(follower, "daemon", "the daemon was shut down");
    ck_assert_int_eq(end_of(daemon_pid), 0);
    daemon_pid = 0;
    ck_assert_int_lt(clock_monotonic() - before, 5000000);
    ck_assert_int_lt(access(scratch_path("run/pgcoffer.sock"), F_OK), 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strncmp(argv[1], "--role=", 7) == 0)
        return fake_worker(argv[1] + 7);
    TCase *tests = tcase_create("supervisor");

    tcase_add_checked_fixture(tests, start_daemon, stop_daemon);
    tcase_add_test(tests, a_second_daemon_is_refused_and_the_first_goes_on);
    tcase_add_test(tests, a_killed_daemon_leaves_nothing_that_hinders_the_next);
    tcase_add_test(tests, a_connection_answers_one_request_after_the_other);
    tcase_add_loop_test(tests, a_wrong_line_is_answered_and_the_connection_ends, 0,
                        (int)(sizeof wrong_lines / sizeof wrong_lines[0]));
    tcase_add_test(tests, a_huge_line_is_answered_and_the_connection_ends);
    tcase_add_test(tests, a_client_that_says_nothing_is_dropped);
    tcase_add_test(tests, a_backup_is_told_where_the_receiver_is_and_its_result_is_kept);
    tcase_add_test(tests, a_job_outlives_its_client_and_others_follow_it);
    tcase_add_test(tests, a_worker_that_dies_or_lies_is_reported);
    tcase_add_test(tests, a_follower_that_does_not_read_is_dropped_and_the_job_goes_on);
    tcase_add_test(tests, a_killed_receiver_comes_back);
    tcase_add_test(tests, a_reload_takes_the_new_settings_or_leaves_the_old);
    tcase_add_test(tests, a_dropped_slot_stops_the_receiver_until_there_is_a_slot_again);
    tcase_add_test(tests, changed_settings_start_a_stopped_receiver);
    tcase_add_test(tests, the_receiver_goes_on_when_its_slot_could_not_be_dropped);
    tcase_add_test(tests, backups_and_changes_of_the_slot_exclude_each_other);
    tcase_add_test(tests, a_setting_that_needs_a_restart_is_named_and_kept);
    tcase_add_test(tests, a_shutdown_ends_everything_within_five_seconds);
    return suite_run("supervisor", tests);
}
