#include "support/suite.h"

#include <stdatomic.h>
#include <time.h>

#include "jobs/receive/lifeline_internal.h"
#include "pgcoffer/base/clock.h"

#define MILLISECOND INT64_C(1000)
#define PATIENCE    (20 * MILLISECOND)
#define DEADLINE    (20000 * MILLISECOND)

static atomic_uint words;
static atomic_bool is_at_disk, was_spoken_outside;

static void speak(void *context)
{
    if (context != &words)
        abort();
    if (!is_at_disk)
        was_spoken_outside = true;
    words++;
}

static struct receive_lifeline *lifeline;

static void lifeline_make(void)
{
    struct error err;

    words = 0;
    ck_assert_msg(receive_lifeline_new(PATIENCE, speak, &words, &lifeline, &err), "%s", err.message);
}

static void lifeline_remove(void)
{
    receive_lifeline_free(lifeline);
}

static void pass(int64_t microseconds)
{
    struct timespec time = {.tv_nsec = microseconds * 1000};

    nanosleep(&time, NULL);
}

static void enter(void)
{
    receive_lifeline_enter(lifeline);
    is_at_disk = true;
}

static void leave(void)
{
    is_at_disk = false;
    receive_lifeline_leave(lifeline);
}

static void wait_for_words(unsigned count)
{
    int64_t until = clock_monotonic() + DEADLINE;

    while (words < count && clock_monotonic() < until)
        pass(MILLISECOND);
    ck_assert_uint_ge(words, count);
}

START_TEST(a_long_visit_is_spoken_in_again_and_again)
{
    enter();
    wait_for_words(3);
    leave();
    ck_assert(!was_spoken_outside);
}
END_TEST

START_TEST(many_short_visits_without_a_word_are_one_long_one)
{
    int64_t until = clock_monotonic() + DEADLINE;

    while (words < 3 && clock_monotonic() < until) {
        receive_lifeline_enter(lifeline);
        is_at_disk = true;
        receive_lifeline_leave(lifeline); /* the word may be said in here */
        is_at_disk = false;
    }
    ck_assert_uint_ge(words, 3);
}
END_TEST

START_TEST(who_speaks_is_not_spoken_for)
{
    int64_t until = clock_monotonic() + 10 * PATIENCE;
    int64_t longest = 0, last = clock_monotonic();

    while (last < until) {
        receive_lifeline_enter(lifeline);
        receive_lifeline_leave(lifeline);
        receive_lifeline_note_word(lifeline);
        int64_t now = clock_monotonic();
        longest = now - last > longest ? now - last : longest;
        last = now;
    }
    if (longest < PATIENCE / 2) /* nobody kept us from it */
        ck_assert_uint_eq(words, 0);
}
END_TEST

START_TEST(nothing_is_said_of_itself)
{
    pass(5 * PATIENCE);
    ck_assert_uint_eq(words, 0);
    enter();
    wait_for_words(1);
    leave();
    unsigned said = words;
    pass(5 * PATIENCE);
    ck_assert_uint_eq(words, said);
}
END_TEST

START_TEST(without_one_everything_goes_on)
{
    receive_lifeline_enter(NULL);
    receive_lifeline_leave(NULL);
    receive_lifeline_note_word(NULL);
    receive_lifeline_free(NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("lifeline");

    tcase_add_checked_fixture(tests, lifeline_make, lifeline_remove);
    tcase_add_test(tests, a_long_visit_is_spoken_in_again_and_again);
    tcase_add_test(tests, many_short_visits_without_a_word_are_one_long_one);
    tcase_add_test(tests, who_speaks_is_not_spoken_for);
    tcase_add_test(tests, nothing_is_said_of_itself);
    tcase_add_test(tests, without_one_everything_goes_on);
    return suite_run("lifeline", tests);
}
