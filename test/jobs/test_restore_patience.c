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

int main(void)
{
    TCase *tests = tcase_create("patience");

    tcase_add_test(tests, the_daemon_of_this_machine_is_asked_once_more);
    tcase_add_test(tests, over_a_network_only_what_may_pass_is_tried_again);
    tcase_add_test(tests, patience_ends_when_nothing_has_come_for_its_time_and_begins_anew_when_something_did);
    return suite_run("restore patience", tests);
}
