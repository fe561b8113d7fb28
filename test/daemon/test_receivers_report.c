#include <string.h>

#include "daemon/receiver_internal.h"
#include "daemon/receivers_internal.h"
#include "pgcoffer/base/memory.h"
#include "support/suite.h"

static struct supervisor supervisor;
static struct receiver receiver;

/* The daemon is stopping, so that nothing begins because of what is told. */
static void begin(void)
{
    supervisor = (struct supervisor){.receivers = &receiver, .is_stopping = true};
    receiver = (struct receiver){.supervisor = &supervisor, .name = "one"};
    receiver.report = receiver_first_report(&receiver);
}

static void end(void)
{
    json_decref(receiver.report);
}

static void take(const char *text)
{
    struct error err;
    json_t *report SCOPED(scoped_json) = json_parse_object(text, strlen(text), &err);

    ck_assert_msg(report != NULL, "%s", err.message);
    receiver_take_report(&receiver, report);
}

static void expect(const char *key, const char *text)
{
    char *is SCOPED(scoped_free) = json_dumps(json_object_get(receiver.report, key), JSON_ENCODE_ANY | JSON_COMPACT);

    ck_assert_str_eq(is, text);
}

START_TEST(a_worker_that_begins_takes_back_nothing_that_is_known)
{
    take("{\"state\":\"waiting\",\"up\":false,\"gaps\":{\"count\":1},\"caught_up_at\":\"T\",\"system_id\":\"7\"}");
    take("{\"state\":\"starting\",\"up\":null,\"gaps\":null,\"caught_up_at\":null,\"system_id\":\"\"}");
    expect("state", "\"starting\"");
    expect("up", "false");
    expect("gaps", "{\"count\":1}");
    expect("caught_up_at", "\"T\"");
    ck_assert_str_eq(receiver.system_id, "7");
    take("{\"state\":\"streaming\",\"up\":true,\"gaps\":{\"count\":0},\"caught_up_at\":\"U\",\"system_id\":\"7\"}");
    expect("up", "true");
    expect("gaps", "{\"count\":0}");
    expect("caught_up_at", "\"U\"");
}
END_TEST

START_TEST(gaps_of_a_former_cluster_are_none_of_the_present_one)
{
    take("{\"state\":\"streaming\",\"up\":true,\"gaps\":{\"count\":1},\"system_id\":\"7\"}");
    take("{\"state\":\"streaming\",\"up\":true,\"gaps\":null,\"system_id\":\"8\"}");
    expect("gaps", "null");
    ck_assert_str_eq(receiver.system_id, "8");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receivers_report");

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, a_worker_that_begins_takes_back_nothing_that_is_known);
    tcase_add_test(tests, gaps_of_a_former_cluster_are_none_of_the_present_one);
    return suite_run("receivers_report", tests);
}
