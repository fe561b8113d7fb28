#include "daemon/exporter_internal.h"

#include <string.h>
#include <sys/wait.h>

#include "daemon/receiver_internal.h"
#include "daemon/surveys_internal.h"
#include "support/suite.h"

#define SECOND INT64_C(1000000)

static struct server_config server = {.name = "one"};
static struct config config = {.servers = &server, .server_count = 1};
static struct supervisor supervisor;
static struct receiver receiver;

static void begin(void)
{
    supervisor = (struct supervisor){.config = &config, .events = event_base_new(), .receivers = &receiver};
    supervisor.children = (struct children){.events = supervisor.events, .log = -1};
    receiver = (struct receiver){.supervisor = &supervisor, .name = "one"};
}

static void end(void)
{
    supervisor.is_stopping = true;
    while (supervisor.children.count > 0)
        children_reap(&supervisor.children);
    json_decref(receiver.survey.error);
    json_decref(receiver.survey.data);
    json_decref(receiver.report);
    surveys_free(&supervisor);
    exporter_free(&supervisor);
    event_base_free(supervisor.events);
}

START_TEST(what_is_held_is_looked_at_again_when_it_is_old_and_not_before)
{
    receiver.survey.tried_at = clock_monotonic() - (SURVEY_KEPT_SECONDS - 60) * SECOND;
    surveys_want_old(&supervisor, SURVEY_KEPT_SECONDS);
    ck_assert_uint_eq(supervisor.children.count, 0);
    receiver.survey.tried_at -= 61 * SECOND;
    surveys_want_old(&supervisor, SURVEY_KEPT_SECONDS);
    ck_assert_uint_eq(supervisor.children.count, 1);
    ck_assert(receiver.survey.is_on_its_way);
    ck_assert(!receiver.survey.is_outdated); /* nothing has changed: what is told goes on being so */
    surveys_want_old(&supervisor, SURVEY_KEPT_SECONDS);
    ck_assert_uint_eq(supervisor.children.count, 1);
    ck_assert(!receiver.survey.is_wanted); /* the one that runs is enough */
}
END_TEST

/* A window that began with a backup shows once something behind its end is known to be complete. */
START_TEST(what_may_be_restored_by_now_is_looked_at_before_it_is_old)
{
    receiver.survey.tried_at = clock_monotonic();
    receiver.report = json_pack("{s:{s:s}}", "complete", "at", "2026-11-22T20:00:00Z");
    receiver.survey.data = json_pack("{s:{s:[{s:b}]}}", "restorable", "windows", "open", 1);
    surveys_want_old(&supervisor, SURVEY_KEPT_SECONDS);
    ck_assert_uint_eq(supervisor.children.count, 0); /* it moves along by itself */
    json_decref(receiver.survey.data);
    receiver.survey.data = json_pack("{s:{s:[]}}", "restorable", "windows");
    surveys_want_old(&supervisor, SURVEY_KEPT_SECONDS);
    ck_assert_uint_eq(supervisor.children.count, 1);
}
END_TEST

/* So an idle daemon without a port is woken by nothing. */
START_TEST(without_a_port_there_is_no_exporter)
{
    exporter_follow_configuration(&supervisor);
    ck_assert_ptr_null(supervisor.exporter);
    json_t *told SCOPED(scoped_json) = exporter_to_json(&supervisor);
    ck_assert(json_is_null(told));
    ck_assert_int_eq(event_base_get_num_events(supervisor.events, EVENT_BASE_COUNT_ADDED), 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strncmp(argv[1], "--role=", 7) == 0)
        return 0;
    TCase *tests = tcase_create("exporter");

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, what_is_held_is_looked_at_again_when_it_is_old_and_not_before);
    tcase_add_test(tests, what_may_be_restored_by_now_is_looked_at_before_it_is_old);
    tcase_add_test(tests, without_a_port_there_is_no_exporter);
    return suite_run("exporter", tests);
}
