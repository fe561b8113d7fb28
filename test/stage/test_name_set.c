#include <stdio.h>

#include "stage/capture.h"
#include "stage/name_set_internal.h"
#include "support/suite.h"

static bool is_new(struct name_set *set, const char *name)
{
    bool result = false;
    struct error err;

    if (!name_set_add(set, name, &result, &err))
        ck_abort_msg("%s", err.message);
    return result;
}

START_TEST(a_name_is_new_once)
{
    struct name_set *set = name_set_new();

    ck_assert(is_new(set, "base/1/1259"));
    ck_assert(is_new(set, "base/1/125"));
    ck_assert(is_new(set, ""));
    ck_assert(!is_new(set, "base/1/1259"));
    ck_assert(!is_new(set, ""));
    name_set_free(set);
    name_set_free(NULL);
}
END_TEST

START_TEST(many_names_are_kept_apart_while_the_set_grows)
{
    struct name_set *set = name_set_new();
    char name[32];

    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 200000; i++) {
            snprintf(name, sizeof name, "base/%u/%u", i % 7, i);
            if (is_new(set, name) != (round == 0))
                ck_abort_msg("%s in round %u", name, round);
        }
    name_set_free(set);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("name_set");

    tcase_add_test(tests, a_name_is_new_once);
    tcase_add_test(tests, many_names_are_kept_apart_while_the_set_grows);
    return suite_run("name_set", tests);
}
