#include <errno.h>
#include <sys/socket.h>

#include "daemon/whole_daemon.h"
#include "support/suite.h"

/* A check is a worker for one client: nobody else hears of it, and it ends with its client. */

static struct control_stream *start_check(const char *only, pid_t *ret_worker)
{
    struct control_stream *stream = connect_now();
    struct error err;
    json_t *request SCOPED(scoped_json) = json_pack("{s:i, s:s, s:s, s:{s:s}}", "v", CONTROL_VERSION, "command",
                                                    "check", "server", "one", "options", "only", only);

    ck_assert(control_send(stream, request, &err));
    json_t *item SCOPED(scoped_json) = expect(stream, "item");
    const json_t *data = json_object_get(item, "data");
    ck_assert_str_eq(json_text_or_null(data, "server"), "one");
    ck_assert_str_eq(json_text_or_null(data, "right"), "admin");
    if (ret_worker != NULL)
        *ret_worker = (pid_t)json_number_or(data, "pid", -1);
    return stream;
}

/* The daemon has seen by then what came before. */
static void send_ping_on_another(void)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = connect_now();

    send_request(stream, "ping", NULL, NULL);
    json_decref(expect(stream, "result"));
}

static void expect_gone(pid_t worker)
{
    for (int i = 0; i < 1000 && kill(worker, 0) == 0; i++)
        usleep(10000); /* not a child of this process */
    ck_assert_int_lt(kill(worker, 0), 0);
    ck_assert_int_eq(errno, ESRCH);
}

START_TEST(its_words_go_to_its_client_which_may_then_ask_more)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = start_check("file", NULL);

    json_t *result SCOPED(scoped_json) = expect(stream, "result");
    const json_t *servers = json_object_get(json_object_get(result, "data"), "servers");
    ck_assert_uint_eq(json_array_size(servers), 1);
    send_request(stream, "ping", NULL, NULL);
    json_decref(expect(stream, "result"));
}
END_TEST

START_TEST(it_ends_with_its_client)
{
    pid_t worker;

    control_stream_free(start_check("hba", &worker));
    expect_gone(worker);
}
END_TEST

/* "echo REQUEST | socat - UNIX:..." and then Control-C. */
START_TEST(it_ends_with_a_client_that_had_closed_its_side_before)
{
    pid_t worker;
    struct control_stream *stream = start_check("hba", &worker);

    ck_assert_int_eq(shutdown(control_stream_descriptor(stream), SHUT_WR), 0);
    send_ping_on_another();
    ck_assert_int_eq(kill(worker, 0), 0);
    control_stream_free(stream);
    expect_gone(worker);
}
END_TEST

START_TEST(it_is_no_job_and_stands_in_no_backups_way)
{
    struct control_stream *check = start_check("hba", NULL);
    struct control_stream *stream SCOPED(scoped_control_stream) = connect_now();
    const json_t *job;
    size_t i;

    send_request(stream, "backup", "one", "quick");
    json_decref(expect(stream, "job"));
    json_decref(expect(stream, "progress"));
    json_decref(expect(stream, "result"));
    json_t *data SCOPED(scoped_json) = ask("jobs");
    json_array_foreach(json_object_get(data, "jobs"), i, job)
    {
        ck_assert_str_ne(json_text_or_null(job, "command"), "check");
    }
    control_stream_free(check);
}
END_TEST

START_TEST(a_third_of_a_server_is_told_who_runs_the_others)
{
    struct control_stream *first = start_check("hba", NULL);
    struct control_stream *second = start_check("hba", NULL);
    struct control_stream *third SCOPED(scoped_control_stream) = connect_now();

    send_request(third, "check", "one", NULL);
    expect_error(third, "busy", "2 checks are running already: check of \"one\" for uid");
    send_request(third, "check", NULL, NULL); /* of all is one of that server, too */
    expect_error(third, "busy", "2 checks");
    control_stream_free(first);
    for (int i = 0; i < 1000; i++) { /* until its worker has ended */
        send_request(third, "check", "one", NULL);
        json_t *message SCOPED(scoped_json) = NULL;
        struct error err;
        ck_assert(control_receive(third, &message, &err) && message != NULL);
        if (strcmp(json_text_or_null(message, "event"), "item") == 0) {
            control_stream_free(second);
            return;
        }
        usleep(10000);
    }
    ck_abort_msg("there is never room again");
}
END_TEST

START_TEST(a_worker_that_dies_is_an_answer_too)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = start_check("chain", NULL);

    expect_error(stream, "failed", "ended by signal 9");
    send_request(stream, "ping", NULL, NULL);
    json_decref(expect(stream, "result"));
}
END_TEST

START_TEST(a_shutdown_ends_it_and_tells_its_client)
{
    pid_t worker;
    struct control_stream *stream SCOPED(scoped_control_stream) = start_check("hba", &worker);

    kill(daemon_pid, SIGTERM);
    ck_assert_int_eq(end_of(daemon_pid), 0);
    daemon_pid = 0;
    expect_gone(worker);
    json_t *message SCOPED(scoped_json) = NULL;
    struct error err;
    ck_assert(control_receive(stream, &message, &err) && message != NULL);
    ck_assert_str_eq(json_text_or_null(message, "event"), "result"); /* the made-up worker ends well when told to */
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strncmp(argv[1], "--role=", 7) == 0)
        return fake_worker(argv[1] + 7);
    TCase *tests = tcase_create("errands");

    tcase_add_checked_fixture(tests, start_daemon, stop_daemon);
    tcase_add_test(tests, its_words_go_to_its_client_which_may_then_ask_more);
    tcase_add_test(tests, it_ends_with_its_client);
    tcase_add_test(tests, it_ends_with_a_client_that_had_closed_its_side_before);
    tcase_add_test(tests, it_is_no_job_and_stands_in_no_backups_way);
    tcase_add_test(tests, a_third_of_a_server_is_told_who_runs_the_others);
    tcase_add_test(tests, a_worker_that_dies_is_an_answer_too);
    tcase_add_test(tests, a_shutdown_ends_it_and_tells_its_client);
    return suite_run("errands", tests);
}
