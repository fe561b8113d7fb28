#include <stdio.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "support/suite.h"

static const struct connector here = {.patience_seconds = 0};
static const struct connector far = {.patience_seconds = 30};

static struct error failure_of(enum error_kind kind)
{
    return (struct error){.kind = kind};
}

START_TEST(the_daemon_of_this_machine_is_asked_once_more)
{
    const struct error broken = failure_of(ERROR_DAEMON);
    const struct error denied = failure_of(ERROR_DENIED);
    struct patience patience = {0};

    ck_assert(patience_allows(&patience, &here, &broken));
    ck_assert(!patience_allows(&patience, &here, &broken));
    patience_renew(&patience);
    ck_assert(!patience_allows(&patience, &here, &denied));
}
END_TEST

START_TEST(over_a_network_only_what_may_pass_is_tried_again)
{
    static const enum error_kind answers[] = {ERROR_TLS,       ERROR_DENIED, ERROR_USAGE,  ERROR_CONFIG,
                                              ERROR_INTEGRITY, ERROR_FAILED, ERROR_STORAGE};
    const struct error broken = failure_of(ERROR_DAEMON);
    const struct error busy = failure_of(ERROR_BUSY);

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const struct error answer = failure_of(answers[i]);
        struct patience patience = {0};
        ck_assert_msg(!patience_allows(&patience, &far, &answer), "kind %s", error_kind_word(answers[i]));
    }
    struct patience patience = {0};
    ck_assert(patience_allows(&patience, &far, &broken));
    ck_assert(patience_allows(&patience, &far, &busy));
    ck_assert(patience_allows(&patience, &far, &broken));
}
END_TEST

START_TEST(patience_ends_when_nothing_has_come_for_its_time_and_begins_anew_when_something_did)
{
    const struct error broken = failure_of(ERROR_DAEMON);
    struct patience patience = {0};

    ck_assert(patience_allows(&patience, &far, &broken));
    patience.since -= INT64_C(29000000);
    ck_assert(patience_allows(&patience, &far, &broken));
    patience.since -= INT64_C(2000000);
    ck_assert(!patience_allows(&patience, &far, &broken));
    patience_renew(&patience);
    ck_assert(patience_allows(&patience, &far, &broken));
}
END_TEST

#define WORDS_SIZE 64

static void take_warning(void *context, const char *message)
{
    char *words = context;
    size_t used = strlen(words);

    snprintf(words + used, WORDS_SIZE - used, "%s ", strstr(message, "broke") != NULL ? "broke" : "again");
}

/* Of several connections not all break at the same moment. */
START_TEST(an_outage_is_over_when_a_connection_opened_since_brings_something)
{
    char words[WORDS_SIZE] = "";
    const struct restore_options options = {.warn = take_warning, .context = words};
    struct outage outage = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    const struct restore restore = {.options = &options, .connector = &far, .outage = &outage};
    const int64_t before = clock_monotonic();
    const struct patience patience = {.since = before, .failures = 2};
    const struct error broken = failure_of(ERROR_DAEMON);

    outage_goes_on(&restore, &patience, &broken);
    outage_goes_on(&restore, &patience, &broken);
    ck_assert_str_eq(words, "broke ");
    outage_ends(&restore, before);
    ck_assert_str_eq(words, "broke ");
    outage_ends(&restore, clock_monotonic() + 1);
    outage_ends(&restore, clock_monotonic() + 1);
    ck_assert_str_eq(words, "broke again ");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("patience");

    tcase_add_test(tests, the_daemon_of_this_machine_is_asked_once_more);
    tcase_add_test(tests, over_a_network_only_what_may_pass_is_tried_again);
    tcase_add_test(tests, patience_ends_when_nothing_has_come_for_its_time_and_begins_anew_when_something_did);
    tcase_add_test(tests, an_outage_is_over_when_a_connection_opened_since_brings_something);
    return suite_run("restore patience", tests);
}
