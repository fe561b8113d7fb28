#include <string.h>

#include "pgcoffer/cli/cli.h"
#include "support/suite.h"

#define MOST_WORDS 8

static int run(const char *const *words)
{
    char *copy[MOST_WORDS + 1] = {NULL};
    int count = 0;

    for (; words[count] != NULL; count++)
        copy[count] = (char *)words[count];
    return cli_main(count, copy, command_check);
}

/* PostgreSQL takes 1 to 125 of a restore_command for the end of the WAL. */
START_TEST(no_slip_in_a_restore_command_looks_like_the_end_of_the_wal)
{
    static const char *const commands[][MOST_WORDS + 1] = {
        {"pgcoffer", "wal-get", "--nosuch", "a", "b", "c", NULL},
        {"pgcoffer", "wal-get", "a", NULL},
        {"pgcoffer", "--sokcet", "/s", "wal-get", "a", "b", "c", NULL},
        {"pgcoffer", "wal-gte", "a", "000000010000000000000001", "pg_wal/RECOVERYXLOG", NULL},
    };

    ck_assert_int_eq(run(commands[_i]), 202);
}
END_TEST

START_TEST(a_wrong_usage_of_other_commands_is_2)
{
    static const char *const commands[][MOST_WORDS + 1] = {
        {"pgcoffer", "bakcup", "primary", NULL}, {"pgcoffer", "list", "--nosuch", NULL}, {"pgcoffer", NULL}};

    ck_assert_int_eq(run(commands[_i]), 2);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("exit_status");

    tcase_add_loop_test(tests, no_slip_in_a_restore_command_looks_like_the_end_of_the_wal, 0, 4);
    tcase_add_loop_test(tests, a_wrong_usage_of_other_commands_is_2, 0, 3);
    return suite_run("exit_status", tests);
}
