#include <string.h>
#include <sys/socket.h>

#include "pgcoffer/control/stream.h"
#include "support/suite.h"

static struct control_stream *near_end, *far_end;

static void make_pair(void)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    near_end = control_stream_new(ends[0], CONTROL_LINE_SIZE);
    far_end = control_stream_new(ends[1], CONTROL_LINE_SIZE);
}

static void free_pair(void)
{
    control_stream_free(near_end);
    control_stream_free(far_end);
}

static bool count_event(void *context, const json_t *message, struct error *err)
{
    int *count = context;

    if (json_is_set(message, "stop"))
        return error_set(err, ERROR_FAILED, "stopped");
    ++*count;
    return true;
}

START_TEST(events_come_before_the_result)
{
    struct error err;
    int count = 0;

    ck_assert(control_send_item(far_end, json_pack("{s:i}", "n", 1), &err));
    ck_assert(control_send_item(far_end, json_pack("{s:i}", "n", 2), &err));
    ck_assert(control_send_result(far_end, json_pack("{s:i}", "n", 3), &err));
    json_t *result SCOPED(scoped_json) = control_await_result(near_end, count_event, &count, &err);
    ck_assert_int_eq(json_number_or(result, "n", -1), 3);
    ck_assert_int_eq(count, 2);
}
END_TEST

START_TEST(an_error_keeps_its_kind_and_words)
{
    struct error failure, err;

    error_set(&failure, ERROR_TLS, "could not verify");
    error_detail(&failure, "expired");
    error_hint(&failure, "Renew it.");
    error_check(&failure, "expiry.server");
    ck_assert(control_send_error(far_end, &failure, &err));
    ck_assert_ptr_null(control_await_result(near_end, NULL, NULL, &err));
    ck_assert_int_eq(err.kind, ERROR_TLS);
    ck_assert_str_eq(err.message, "could not verify");
    ck_assert_str_eq(err.detail, "expired");
    ck_assert_str_eq(err.hint, "Renew it.");
    ck_assert_str_eq(err.check, "expiry.server");
}
END_TEST

START_TEST(a_peer_that_goes_without_an_answer_is_told_so)
{
    struct error err;

    control_stream_free(far_end);
    far_end = NULL;
    ck_assert_ptr_null(control_await_result(near_end, NULL, NULL, &err));
    ck_assert_int_eq(err.kind, ERROR_DAEMON);
    ck_assert_str_eq(err.message, "the connection was closed before the answer came");
}
END_TEST

START_TEST(strange_answers_are_errors)
{
    json_t *nameless SCOPED(scoped_json) = json_pack("{s:i}", "n", 1);
    struct error err;
    int count = 0;

    ck_assert(control_send(far_end, nameless, &err));
    ck_assert_ptr_null(control_await_result(near_end, NULL, NULL, &err));
    ck_assert_str_eq(err.message, "the peer sent an answer without \"event\"");
    ck_assert(control_send_bytes(far_end, "x", 1, &err));
    ck_assert_ptr_null(control_await_result(near_end, NULL, NULL, &err));
    ck_assert_str_eq(err.message, "the peer sent bytes nobody asked for");
    json_t *stop SCOPED(scoped_json) = json_pack("{s:s, s:b}", "event", "log", "stop", true);
    free_pair();
    make_pair();
    ck_assert(control_send(far_end, stop, &err));
    ck_assert_ptr_null(control_await_result(near_end, count_event, &count, &err));
    ck_assert_str_eq(err.message, "stopped");
}
END_TEST

START_TEST(an_error_of_an_unknown_kind_is_still_an_error)
{
    json_t *message SCOPED(scoped_json) = json_pack("{s:s, s:s}", "event", "error", "kind", "new kind");
    json_t *none SCOPED(scoped_json) = json_pack("{s:s, s:s}", "kind", "none", "message", "no");
    struct error err;

    ck_assert(!control_error_from_json(message, &err));
    ck_assert_int_eq(err.kind, ERROR_FAILED);
    ck_assert_str_eq(err.message, "failed without a message");
    ck_assert(!control_error_from_json(none, &err));
    ck_assert_int_eq(err.kind, ERROR_FAILED);
}
END_TEST

static const struct {
    const char *bytes;
    const char *text;
} texts[] = {
    {"", ""},
    {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
    {"\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80"},
    {"cut \xe2\x82", "cut ??"},
    {"\xff\x80g", "??g"},
    {"\xc0\xaf\xe0\x80\xaf", "?????"}, /* longer than need be */
    {"\xed\xa0\x80", "???"},           /* half of a pair */
    {"\xf4\x90\x80\x80", "????"},      /* beyond the last character */
};

START_TEST(any_bytes_become_a_json_text)
{
    json_t *text SCOPED(scoped_json) = control_text(texts[_i].bytes);

    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(json_string_value(text), texts[_i].text);
}
END_TEST

START_TEST(progress_goes_there_and_back)
{
    struct progress progress = {.phase = "copy",
                                .item = "base/1/\xff",
                                .done_bytes = 5,
                                .total_bytes = UINT64_MAX,
                                .rate_bytes_per_second = 2.5,
                                .eta_seconds = -7,
                                .elapsed_seconds = 1.0 / 0.0};
    struct progress again;

    json_t *message SCOPED(scoped_json) = progress_to_json(&progress);
    ck_assert_str_eq(json_text_or_null(message, "event"), "progress");
    ck_assert(progress_from_json(message, &again));
    ck_assert_str_eq(again.phase, "copy");
    ck_assert_str_eq(again.item, "base/1/?");
    ck_assert_uint_eq(again.done_bytes, 5);
    ck_assert_uint_eq(again.total_bytes, INT64_MAX);
    ck_assert_double_eq(again.rate_bytes_per_second, 2.5);
    ck_assert_double_eq(again.eta_seconds, -1);
    ck_assert_double_eq(again.elapsed_seconds, -1);
    json_t *other SCOPED(scoped_json) = json_object();
    ck_assert(!progress_from_json(other, &again));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("reply");

    tcase_add_checked_fixture(tests, make_pair, free_pair);
    tcase_add_test(tests, events_come_before_the_result);
    tcase_add_test(tests, an_error_keeps_its_kind_and_words);
    tcase_add_test(tests, a_peer_that_goes_without_an_answer_is_told_so);
    tcase_add_test(tests, strange_answers_are_errors);
    tcase_add_test(tests, an_error_of_an_unknown_kind_is_still_an_error);
    tcase_add_loop_test(tests, any_bytes_become_a_json_text, 0, (int)(sizeof texts / sizeof texts[0]));
    tcase_add_test(tests, progress_goes_there_and_back);
    return suite_run("reply", tests);
}
