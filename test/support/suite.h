#ifndef PGCOFFER_TEST_SUPPORT_SUITE_H
#define PGCOFFER_TEST_SUPPORT_SUITE_H

#include <check.h>

/* Runs the one test case of a test program: int main(void) { return suite_run("name", case); } */
static inline int suite_run(const char *name, TCase *tests)
{
    Suite *suite = suite_create(name);

    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif
