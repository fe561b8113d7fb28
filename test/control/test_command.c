#include "pgcoffer/control/command.h"

#include <stdlib.h>

#include "pgcoffer/base/memory.h"
#include "support/suite.h"

START_TEST(every_command_is_found_by_its_words)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        enum command_id id;
        struct error err;
        ck_assert_int_eq((int)commands[i].id, i);
        ck_assert(command_find(commands[i].words, &id, &err));
        ck_assert_int_eq((int)id, i);
        ck_assert_int_le(commands[i].least_args, commands[i].most_args);
    }
}
END_TEST

START_TEST(a_misspelt_command_is_answered_with_the_closest_one)
{
    enum command_id id;
    struct error err;

    ck_assert(!command_find("bakcup", &id, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_str_eq(err.message, "there is no command \"bakcup\"");
    ck_assert_str_eq(err.hint, "Did you mean \"backup\"?");
    ck_assert(!command_find("wal", &id, &err));
    ck_assert_str_eq(err.hint, "There are \"wal list\", \"wal status\".");
    ck_assert(!command_find("something\nquite else", &id, &err));
    ck_assert_str_eq(err.message, "there is no command \"something?quite else\"");
    ck_assert_str_eq(err.hint, "\"pgcoffer help\" lists the commands.");
    ck_assert(!command_find("", &id, &err));
}
END_TEST

START_TEST(what_only_programs_say_is_never_suggested)
{
    enum command_id id;
    struct error err;

    ck_assert(!command_find("rea", &id, &err));
    ck_assert_str_ne(err.hint, "Did you mean \"read\"?");
}
END_TEST

START_TEST(an_option_belongs_to_the_commands_of_its_row)
{
    enum option_id id;

    for (int i = 0; i < OPTION_COUNT; i++) {
        ck_assert(option_find(option_rows[i].name, &id));
        ck_assert_int_eq((int)id, i);
        ck_assert_int_eq(option_rows[i].where == OPTION_GLOBAL, option_rows[i].commands == 0);
    }
    ck_assert(!option_find("no-such-option", &id));
    ck_assert(option_belongs(OPTION_ID_label, COMMAND_ID_backup));
    ck_assert(!option_belongs(OPTION_ID_label, COMMAND_ID_restore));
    ck_assert(option_belongs(OPTION_ID_json, COMMAND_ID_restore));
}
END_TEST

static char *help_text(int command)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (command < 0)
        command_print_help(out);
    else
        command_print_help_of(out, (enum command_id)command);
    fclose(out);
    return text;
}

START_TEST(the_help_has_every_command_but_those_of_programs)
{
    char *help SCOPED(scoped_free) = help_text(-1);

    for (int i = 0; i < COMMAND_COUNT; i++)
        ck_assert_int_eq(strstr(help, commands[i].help) != NULL, commands[i].how != COMMAND_WIRE);
    ck_assert_ptr_nonnull(strstr(help, "-c, --config FILE"));
    ck_assert_ptr_null(strstr(help, "--label"));
}
END_TEST

START_TEST(the_help_of_a_command_has_its_own_options)
{
    char *backup SCOPED(scoped_free) = help_text(COMMAND_ID_backup);
    char *restore SCOPED(scoped_free) = help_text(COMMAND_ID_restore);
    char *ping SCOPED(scoped_free) = help_text(COMMAND_ID_ping);

    ck_assert_ptr_nonnull(strstr(backup, "Usage: pgcoffer backup SERVER [OPTIONS]\n"));
    ck_assert_ptr_nonnull(strstr(backup, "--label TEXT"));
    ck_assert_ptr_null(strstr(backup, "--target-time"));
    ck_assert_ptr_nonnull(strstr(restore, "may be given several times"));
    ck_assert_ptr_nonnull(strstr(ping, "Usage: pgcoffer ping\n"));
    ck_assert_ptr_null(strstr(ping, "Options"));
}
END_TEST

START_TEST(rights_are_ordered_and_have_words)
{
    enum right right;

    ck_assert(RIGHT_ANYBODY < RIGHT_MONITOR && RIGHT_MONITOR < RIGHT_RESTORER && RIGHT_RESTORER < RIGHT_ADMIN);
    ck_assert_str_eq(right_word(RIGHT_RESTORER), "restorer");
    ck_assert(right_find("admin", &right));
    ck_assert_int_eq(right, RIGHT_ADMIN);
    ck_assert(!right_find("king", &right));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("command");

    tcase_add_test(tests, every_command_is_found_by_its_words);
    tcase_add_test(tests, a_misspelt_command_is_answered_with_the_closest_one);
    tcase_add_test(tests, what_only_programs_say_is_never_suggested);
    tcase_add_test(tests, an_option_belongs_to_the_commands_of_its_row);
    tcase_add_test(tests, the_help_has_every_command_but_those_of_programs);
    tcase_add_test(tests, the_help_of_a_command_has_its_own_options);
    tcase_add_test(tests, rights_are_ordered_and_have_words);
    return suite_run("command", tests);
}
