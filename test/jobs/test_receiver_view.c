#include "jobs/backup/receiver_view_internal.h"
#include "support/suite.h"

static struct receiver_view view;
static const struct system_id system_of_view = {"7710780024945402825"};

static void take(const char *text)
{
    struct error err;
    json_t *message = json_parse_object(text, strlen(text), &err);

    ck_assert_msg(message != NULL, "%s", err.message);
    receiver_view_take(&view, message);
    json_decref(message);
}

static void make(void)
{
    receiver_view_begin(&view, NULL);
}

START_TEST(nothing_is_known_before_the_first_report)
{
    ck_assert(!view.is_known);
    ck_assert(!receiver_view_is_streaming(&view, &system_of_view));
}
END_TEST

START_TEST(a_streaming_receiver_is_read)
{
    take("{\"event\":\"wal\",\"data\":{\"state\":\"streaming\",\"timeline\":2,\"flushed\":\"1/A0\",\"error\":null,"
         "\"system_id\":\"7710780024945402825\"}}");
    ck_assert(receiver_view_is_streaming(&view, &system_of_view));
    ck_assert_uint_eq(view.timeline.value, 2);
    ck_assert_uint_eq(view.flushed.value, UINT64_C(0x1000000A0));
    ck_assert(!view.has_error);
}
END_TEST

START_TEST(another_system_is_not_this_one)
{
    take("{\"event\":\"wal\",\"data\":{\"state\":\"streaming\",\"timeline\":1,\"system_id\":\"42\"}}");
    ck_assert(!receiver_view_is_streaming(&view, &system_of_view));
    ck_assert_uint_eq(view.flushed.value, 0);
}
END_TEST

START_TEST(its_own_error_is_kept)
{
    take("{\"event\":\"wal\",\"data\":{\"state\":\"waiting\",\"error\":{\"kind\":\"tls\",\"message\":\"certificate has "
         "expired\",\"detail\":\"\",\"hint\":\"Renew it.\"}}}");
    ck_assert(view.has_error);
    ck_assert_int_eq(view.error.kind, ERROR_TLS);
    ck_assert_str_eq(view.error.message, "certificate has expired");
    ck_assert_str_eq(view.error.hint, "Renew it.");
}
END_TEST

#define MOST INT64_C(30000000)

static const struct {
    const char *state, *error;
    int64_t least, most;
} patiences[] = {
    {"starting", "null", MOST, MOST},
    {"connecting", "{\"kind\":\"tls\",\"message\":\"m\"}", MOST, MOST}, /* it is being tried */
    {"waiting", "null", MOST, MOST},
    {"waiting", "{\"kind\":\"busy\",\"message\":\"m\"}", MOST, MOST},
    {"waiting", "{\"kind\":\"tls\",\"message\":\"m\"}", 5000001, 10000000}, /* one more try, at least */
    {"waiting", "{\"kind\":\"config\",\"message\":\"m\"}", 5000001, 10000000},
    {"waiting", "{\"kind\":\"server\",\"message\":\"m\"}", 5000001, 10000000},
    {"waiting", "{\"kind\":\"storage\",\"message\":\"m\"}", 5000001, 10000000},
    {"alarm", "{\"kind\":\"integrity\",\"message\":\"m\"}", 200001, 2000000},
    {"stopped", "{\"kind\":\"failed\",\"message\":\"m\"}", 0, 0},
};

START_TEST(a_fault_that_lasts_is_not_waited_for_long)
{
    char text[512];

    snprintf(text, sizeof text, "{\"event\":\"wal\",\"data\":{\"state\":\"%s\",\"error\":%s}}", patiences[_i].state,
             patiences[_i].error);
    take(text);
    ck_assert_int_ge(receiver_view_patience(&view, MOST), patiences[_i].least);
    ck_assert_int_le(receiver_view_patience(&view, MOST), patiences[_i].most);
    ck_assert_int_le(receiver_view_patience(&view, 3), 3);
}
END_TEST

START_TEST(a_receiver_that_has_not_reported_is_waited_for)
{
    ck_assert_int_eq(receiver_view_patience(&view, MOST), MOST);
}
END_TEST

START_TEST(words_it_does_not_know_change_nothing)
{
    take("{\"event\":\"weather\",\"data\":{\"state\":\"streaming\"}}");
    take("{\"event\":\"wal\"}");
    take("{\"event\":\"wal\",\"data\":\"x\"}");
    take("{}");
    ck_assert(!view.is_known);
}
END_TEST

START_TEST(nonsense_in_a_report_is_nothing_known)
{
    take("{\"event\":\"wal\",\"data\":{\"state\":\"streaming\",\"timeline\":-1,\"flushed\":\"here\",\"system_id\":5}}");
    ck_assert(view.is_known);
    ck_assert_uint_eq(view.timeline.value, 0);
    ck_assert_uint_eq(view.flushed.value, 0);
    ck_assert(!receiver_view_is_streaming(&view, &system_of_view));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receiver_view");

    tcase_add_checked_fixture(tests, make, NULL);
    tcase_add_test(tests, nothing_is_known_before_the_first_report);
    tcase_add_test(tests, a_streaming_receiver_is_read);
    tcase_add_test(tests, another_system_is_not_this_one);
    tcase_add_test(tests, its_own_error_is_kept);
    tcase_add_loop_test(tests, a_fault_that_lasts_is_not_waited_for_long, 0,
                        (int)(sizeof patiences / sizeof patiences[0]));
    tcase_add_test(tests, a_receiver_that_has_not_reported_is_waited_for);
    tcase_add_test(tests, words_it_does_not_know_change_nothing);
    tcase_add_test(tests, nonsense_in_a_report_is_nothing_known);
    return suite_run("receiver_view", tests);
}
