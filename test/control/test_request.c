#include <string.h>

#include "pgcoffer/control/stream.h"
#include "support/suite.h"

static bool parse(const char *line, struct request *request, struct error *err)
{
    json_t *message SCOPED(scoped_json) = control_parse_line(line, strlen(line), err);

    return message != NULL && request_parse(message, request, err);
}

START_TEST(a_request_is_read_and_written_back)
{
    static const char line[] = "{\"v\":1,\"command\":\"backup\",\"server\":\"primary\","
                               "\"options\":{\"label\":\"night\",\"fast-checkpoint\":true}}";
    struct request request, again;
    struct error err;

    ck_assert_msg(parse(line, &request, &err), "%s", err.message);
    ck_assert_int_eq(request.command, COMMAND_ID_backup);
    ck_assert_str_eq(request.server, "primary");
    ck_assert_str_eq(request_text(&request, OPTION_ID_label), "night");
    ck_assert(request_has(&request, OPTION_ID_fast_checkpoint));
    ck_assert(!request_has(&request, OPTION_ID_force));
    ck_assert_ptr_null(request_text(&request, OPTION_ID_target_time));
    json_t *message SCOPED(scoped_json) = request_to_json(&request);
    ck_assert(request_parse(message, &again, &err));
    ck_assert_str_eq(again.server, "primary");
    ck_assert(json_equal(again.options, request.options));
    request_done(&request);
    request_done(&again);
    ck_assert_int_eq(request.command, COMMAND_COUNT);
}
END_TEST

START_TEST(programs_may_send_what_no_command_line_takes)
{
    struct request request;
    struct error err;

    ck_assert(parse("{\"v\":1,\"command\":\"read\",\"server\":\"a\",\"backup\":\"b\",\"options\":"
                    "{\"file\":\"base.tar.zst\",\"offset\":\"0\",\"length\":\"7\"}}",
                    &request, &err));
    ck_assert_str_eq(request_wire_text(&request, "length"), "7");
    request_done(&request);
    ck_assert(
        parse("{\"v\":1,\"command\":\"wal-get\",\"server\":\"a\",\"options\":{\"file\":\"x\",\"system-id\":\"1\"}}",
              &request, &err));
    ck_assert_str_eq(request_wire_text(&request, "file"), "x");
    request_done(&request);
}
END_TEST

static const struct {
    const char *line;
    const char *message;
} refused[] = {
    {"[1]", "could not parse JSON"},
    {"{\"v\":1,\"v\":1}", "could not parse JSON: duplicate object key"},
    {"{}", "does not say its version"},
    {"{\"v\":\"1\"}", "does not say its version"},
    {"{\"v\":2,\"command\":\"ping\"}", "version 2 of the control protocol is not spoken here"},
    {"{\"v\":1}", "names no \"command\""},
    {"{\"v\":1,\"command\":7}", "names no \"command\""},
    {"{\"v\":1,\"command\":\"x\"}", "there is no command \"x\""},
    {"{\"v\":1,\"command\":\"ping\",\"extra\\u001b\":1}", "has no member \"extra?\""},
    {"{\"v\":1,\"command\":\"backup\"}", "needs a \"server\""},
    {"{\"v\":1,\"command\":\"backup\",\"server\":1}", "\"server\" is not a text"},
    {"{\"v\":1,\"command\":\"backup\",\"server\":\"\"}", "\"server\" has 0 bytes, not 1 to 63"},
    {"{\"v\":1,\"command\":\"backup\",\"server\":\"../x\"}", "\"../x\" is not the name of a server"},
    {"{\"v\":1,\"command\":\"backup\",\"server\":\"a\",\"backup\":\"x\"}", "takes no \"backup\""},
    {"{\"v\":1,\"command\":\"show\",\"server\":\"a\"}", "needs a \"backup\""},
    {"{\"v\":1,\"command\":\"show\",\"server\":\"a\",\"backup\":\"a\\nb\"}", "\"backup\" holds a control character"},
    {"{\"v\":1,\"command\":\"verify\",\"backup\":\"b\"}", "\"backup\" is given without \"server\""},
    {"{\"v\":1,\"command\":\"cancel\"}", "needs a \"job\""},
    {"{\"v\":1,\"command\":\"cancel\",\"job\":\"11111111111111111111111111111111\"}", "\"job\" has 32 bytes"},
    {"{\"v\":1,\"command\":\"ping\",\"options\":[]}", "\"options\" is not an object"},
    {"{\"v\":1,\"command\":\"ping\",\"options\":{\"label\":\"x\"}}", "\"ping\" takes no option \"label\""},
    {"{\"v\":1,\"command\":\"backup\",\"server\":\"a\",\"options\":{\"no-wait\":true}}", "takes no option \"no-wait\""},
    {"{\"v\":1,\"command\":\"backup\",\"server\":\"a\",\"options\":{\"json\":true}}", "takes no option \"json\""},
    {"{\"v\":1,\"command\":\"backup\",\"server\":\"a\",\"options\":{\"label\":true}}", "\"label\" is not a text"},
    {"{\"v\":1,\"command\":\"backup\",\"server\":\"a\",\"options\":{\"label\":\"a\\tb\"}}",
     "holds a control character"},
    {"{\"v\":1,\"command\":\"delete\",\"server\":\"a\",\"backup\":\"b\",\"options\":{\"force\":\"yes\"}}",
     "\"force\" is not true"},
    {"{\"v\":1,\"command\":\"wal-get\",\"server\":\"a\"}", "needs the option \"file\""},
    {"{\"v\":1,\"command\":\"restore\",\"server\":\"a\",\"options\":{\"file\":\"x\"}}", "takes no option \"file\""},
};

START_TEST(a_wrong_request_is_refused_with_its_fault)
{
    struct request request;
    struct error err;

    ck_assert_msg(!parse(refused[_i].line, &request, &err), "%s", refused[_i].line);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_msg(strstr(err.message, refused[_i].message) != NULL, "%s", err.message);
}
END_TEST

START_TEST(every_command_can_be_asked_for_with_what_it_takes)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        struct request request = {.command = (enum command_id)i};
        struct request again;
        struct error err;
        if (strstr(commands[i].arguments, "SERVER") != NULL)
            snprintf(request.server, sizeof request.server, "primary");
        if (strstr(commands[i].arguments, "BACKUP") != NULL)
            snprintf(request.backup, sizeof request.backup, "latest");
        if (strstr(commands[i].arguments, "JOB") != NULL)
            snprintf(request.job, sizeof request.job, "12");
        if (i == COMMAND_ID_read)
            request.options = json_pack("{s:s, s:s, s:s}", "file", "f", "offset", "0", "length", "1");
        if (i == COMMAND_ID_annotate)
            request.options = json_pack("{s:s}", "annotations", "{\"ticket\":\"1\"}");
        if (i == COMMAND_ID_drill_result)
            request.options = json_pack("{s:s}", "result", "{}");
        if (i == COMMAND_ID_lease)
            request.options = json_pack("{s:s, s:s}", "timeline", "1", "for", "restore");
        if (i == COMMAND_ID_release)
            request.options = json_pack("{s:s}", "lease", "7/00000001-0000000003000028-00000001.drill-00000001");
        if (i == COMMAND_ID_report)
            request.options = json_pack("{s:s}", "command", "restore");
        if (i == COMMAND_ID_wal_get)
            request.options = json_pack("{s:s}", "file", "f");
        json_t *message SCOPED(scoped_json) = request_to_json(&request);
        ck_assert_msg(request_parse(message, &again, &err), "%s", err.message);
        ck_assert_str_eq(again.backup, request.backup);
        ck_assert_str_eq(again.job, request.job);
        request_done(&request);
        request_done(&again);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("request");

    tcase_add_test(tests, a_request_is_read_and_written_back);
    tcase_add_test(tests, programs_may_send_what_no_command_line_takes);
    tcase_add_loop_test(tests, a_wrong_request_is_refused_with_its_fault, 0, (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(tests, every_command_can_be_asked_for_with_what_it_takes);
    return suite_run("request", tests);
}
