#include "daemon/child_internal.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "support/suite.h"

#define PATIENCE 3 /* seconds, with a question a second */

/* The test program as its own worker: a receiver answers what it is asked, a gateway hears nothing, and a survey tells
 * of its work without looking at what it is asked. */
static void answer(struct worker_context *context)
{
    json_t *message;
    struct error err;

    while (control_receive(context->channel, &message, &err) && message != NULL) {
        if (!worker_answer_alive(context, message, &err))
            _exit(1);
        json_decref(message);
    }
}

static void tell(struct worker_context *context)
{
    struct pollfd interrupt = {.fd = context->interrupt_fd, .events = POLLIN};
    json_t *message SCOPED(scoped_json) = json_pack("{s:s}", "event", "work");
    struct error err;

    while (poll(&interrupt, 1, 1) == 0)
        if (!control_send(context->channel, message, &err))
            _exit(1);
}

static int be_worker(const char *name)
{
    struct worker_context context;
    struct error err;
    enum role_id role;

    if (!role_find(name, &role) || !worker_begin(role, &context, &err))
        return 1;
    if (role == ROLE_receive)
        answer(&context);
    else if (role == ROLE_survey)
        tell(&context);
    else
        for (;;)
            pause();
    worker_end(&context);
    return 0;
}

struct seen {
    struct event_base *events;
    unsigned lines;
    struct child_end end;
};

static void on_line(void *owner, const json_t *message)
{
    struct seen *seen = owner;

    ck_assert_str_eq(json_text_or_null(message, "event"), "work");
    seen->lines++;
}

static void on_ended(void *owner, const struct child_end *end)
{
    struct seen *seen = owner;

    seen->end = *end;
    event_base_loopbreak(seen->events);
}

static void on_child_signal(evutil_socket_t number, short what, void *context)
{
    (void)number;
    (void)what;
    children_reap(context);
}

struct asking {
    struct child *child;
    unsigned questions;
};

/* Each line and each answer has its turn in the event loop between two questions. */
static void on_question(evutil_socket_t fd, short what, void *context)
{
    struct asking *asking = context;

    (void)fd;
    (void)what;
    if (asking->questions++ < 5 * PATIENCE)
        child_ask_alive(asking->child, PATIENCE);
    else
        kill(child_pid(asking->child), SIGKILL);
}

static struct seen end_of_one_that_is_asked(enum role_id role, struct asking *asking)
{
    static const struct child_handlers handlers = {.line = on_line, .ended = on_ended};
    const struct timeval period = {.tv_usec = 50000};
    struct seen seen = {.events = event_base_new()};
    struct children children = {.events = seen.events, .asking_milliseconds = 1000};
    struct event *ended = evsignal_new(seen.events, SIGCHLD, on_child_signal, &children);
    struct event *timer = event_new(seen.events, -1, EV_PERSIST, on_question, asking);
    json_t *start SCOPED(scoped_json) = json_object();
    struct error err;

    signal(SIGPIPE, SIG_IGN);
    evsignal_add(ended, NULL);
    ck_assert_msg(child_start(&children, role, -1, start, &handlers, &seen, &asking->child, &err), "%s", err.message);
    event_add(timer, &period);
    event_base_dispatch(seen.events);
    event_free(ended);
    event_free(timer);
    event_base_free(seen.events);
    return seen;
}

START_TEST(a_worker_that_gives_no_sign_of_life_is_killed)
{
    struct asking asking = {0};

    struct seen seen = end_of_one_that_is_asked(ROLE_gateway, &asking);
    ck_assert_int_eq(seen.end.number, SIGKILL);
    ck_assert_str_eq(seen.end.reason, "was ended because it gave no sign of life for 3 s");
    ck_assert_uint_eq(asking.questions, PATIENCE + 1);
}
END_TEST

START_TEST(one_that_answers_lives_and_its_answers_are_nobodys_business)
{
    struct asking asking = {0};

    struct seen seen = end_of_one_that_is_asked(ROLE_receive, &asking);
    ck_assert_uint_gt(asking.questions, 5 * PATIENCE);
    ck_assert_uint_eq(seen.lines, 0);
}
END_TEST

START_TEST(whatever_a_worker_tells_is_a_sign_of_life)
{
    struct asking asking = {0};

    struct seen seen = end_of_one_that_is_asked(ROLE_survey, &asking);
    ck_assert_uint_gt(asking.questions, 5 * PATIENCE);
    ck_assert_uint_gt(seen.lines, 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 2 && strncmp(argv[1], "--role=", 7) == 0)
        return be_worker(argv[1] + 7);
    TCase *tests = tcase_create("child");

    tcase_add_test(tests, a_worker_that_gives_no_sign_of_life_is_killed);
    tcase_add_test(tests, one_that_answers_lives_and_its_answers_are_nobodys_business);
    tcase_add_test(tests, whatever_a_worker_tells_is_a_sign_of_life);
    return suite_run("child", tests);
}
