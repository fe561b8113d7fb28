#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/reporting_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "support/scratch.h"
#include "support/suite.h"

/* A restore that tells of itself, and a daemon that is here a socket which answers when the test wants it. */

static char socket_path[256];
static struct invocation invocation;
static struct session_source *source;
static struct reporting reporting;

static int listen_here(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

static void begin(void)
{
    static char words[][32] = {"pgcoffer", "--socket", "restore", "one", "--target-directory", "/x"};
    static char *argv[] = {words[0], words[1], socket_path, words[2], words[3], words[4], words[5], NULL};
    struct error err;

    scratch_make();
    snprintf(socket_path, sizeof socket_path, "%s", scratch_path("pgcoffer.sock"));
    ck_assert_msg(arguments_parse(7, argv, &invocation, &err), "%s", err.message);
    ck_assert_msg(session_source_new(&invocation, false, &source, &err), "%s", err.message);
    reporting_begin(&reporting, &invocation, source);
}

static void end(void)
{
    session_source_free(source);
    invocation_done(&invocation);
    scratch_remove();
}

static void show(uint64_t done)
{
    struct progress progress = {.phase = "restore", .item = "base", .done_bytes = done, .total_bytes = 100};

    reporting_show(&reporting, &progress);
}

static struct control_stream *take_connection(int listener)
{
    int fd = accept(listener, NULL, NULL);

    ck_assert_int_ge(fd, 0);
    struct control_stream *stream = control_stream_new(fd, CONTROL_LINE_SIZE);
    control_stream_set_timeout(stream, 10000);
    return stream;
}

static json_t *next_word(struct control_stream *stream)
{
    json_t *message = NULL;
    struct error err;

    ck_assert_msg(control_receive(stream, &message, &err) && message != NULL, "%s", err.message);
    return message;
}

START_TEST(an_answer_that_comes_late_is_heard_and_waited_for_once)
{
    int listener SCOPED(scoped_close) = listen_here();
    struct error err, failure;

    show(1); /* this waits, and gives up */
    int64_t begun_at = clock_monotonic();
    show(2);
    show(3);
    ck_assert_int_lt(clock_monotonic() - begun_at, 1000000);
    struct control_stream *daemon SCOPED(scoped_control_stream) = take_connection(listener);
    json_t *request SCOPED(scoped_json) = next_word(daemon);
    ck_assert_str_eq(json_text_or_null(request, "command"), "report");
    json_t *job SCOPED(scoped_json) = json_pack("{s:s, s:s}", "event", "job", "job", "7");
    ck_assert(control_send(daemon, job, &err));
    show(4);
    ck_assert_str_eq(reporting.job, "7");
    for (json_int_t done = 1; done <= 4; done++) {
        json_t *progress SCOPED(scoped_json) = next_word(daemon);
        ck_assert_int_eq(json_number_or(progress, "done_bytes", -1), done);
    }
    error_set(&failure, ERROR_DENIED, "not any more");
    json_t *refusal SCOPED(scoped_json) = control_error_to_json(&failure);
    ck_assert(control_send(daemon, refusal, &err));
    show(5);
    ck_assert(reporting.is_refused);
    ck_assert_ptr_null(reporting.stream);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("reporting");

    tcase_add_checked_fixture(tests, begin, end);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, an_answer_that_comes_late_is_heard_and_waited_for_once);
    return suite_run("reporting", tests);
}
