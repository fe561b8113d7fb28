#include <string.h>
#include <sys/socket.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "support/suite.h"

/* A session that answers with the plan a test has made up. */

#define GOOD_ID     "20261122T013000Z"
#define GOOD_SYSTEM "7300000000000000001"

static const char *answer;

static bool open_canned(void *context, struct control_stream **ret_stream, struct error *err)
{
    int ends[2];

    (void)context;
    (void)err;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(send(ends[1], answer, strlen(answer), MSG_NOSIGNAL), (int)strlen(answer));
    /* Its other end stays open until the test's process ends: the request is sent into it. */
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    *ret_stream = control_stream_new(ends[0], CONTROL_LINE_SIZE);
    return true;
}

static bool ask(const char *server, const char *system, const char *backup, struct error *err)
{
    static const struct connector connector = {.open = open_canned};
    struct request request SCOPED(request_done) = {
        .command = COMMAND_ID_restore, .server = "primary", .options = json_object()};
    const struct restore_options options = {.request = request};
    struct restore restore = {.options = &options, .connector = &connector, .warnings = json_array()};
    json_t *message SCOPED(scoped_json) =
        json_pack("{s:s, s:{s:s, s:s, s:i, s:i, s:{s:s, s:i, s:s, s:[]}}}", "event", "result", "data", "server", server,
                  "system_id", system, "timeline", 1, "segment_size", 16777216, "backup", "id", backup,
                  "server_version", 150018, "data_directory_mode", "0700", "files");
    char *line SCOPED(scoped_free) = json_to_line(message);
    char *text SCOPED(scoped_free) = memory_text("%s\n", line);

    answer = text;
    bool is_taken = restore_plan_ask(&restore, err);
    control_stream_free(restore.session);
    restore_plan_done(&restore.plan);
    json_decref(restore.warnings);
    return is_taken;
}

START_TEST(a_plan_of_what_was_asked_is_taken)
{
    struct error err;

    ck_assert_msg(ask("primary", GOOD_SYSTEM, GOOD_ID, &err), "%s", err.message);
}
END_TEST

/* All of them would stand in restore_command or in postgresql.auto.conf. */
START_TEST(names_that_are_none_are_refused)
{
    static const struct {
        const char *server, *system, *backup;
    } cases[] = {{"primary; rm -r ~", GOOD_SYSTEM, GOOD_ID},
                 {"other", GOOD_SYSTEM, GOOD_ID},
                 {"primary", "1 $(id)", GOOD_ID},
                 {"primary", "", GOOD_ID},
                 {"primary", GOOD_SYSTEM, "x\narchive_cleanup_command = 'rm'\n#"},
                 {"primary", GOOD_SYSTEM, "../" GOOD_ID}};
    struct error err;

    ck_assert(!ask(cases[_i].server, cases[_i].system, cases[_i].backup, &err));
    ck_assert_int_eq(err.kind, ERROR_DAEMON);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("restore_answer");

    tcase_add_test(tests, a_plan_of_what_was_asked_is_taken);
    tcase_add_loop_test(tests, names_that_are_none_are_refused, 0, 6);
    return suite_run("restore_answer", tests);
}
