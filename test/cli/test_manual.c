#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/control/command.h"
#include "pgcoffer/tls/finding.h"
#include "support/suite.h"

/* doc/man/pgcoffer.1.scd is written by hand; these tests keep it from falling behind the tables. */

#define SOURCE TEST_SOURCE_DIRECTORY "/doc/man/pgcoffer.1.scd"

static char *manual;

static void read_manual(void)
{
    struct buffer bytes = BUFFER_WITH_LIMIT(1 << 20);
    struct error err;

    ck_assert_msg(file_read_whole(SOURCE, &bytes, &err), "%s", err.message);
    ck_assert(buffer_append(&bytes, "", 1, &err));
    manual = (char *)bytes.bytes;
}

static void free_manual(void)
{
    free(manual);
}

/* What stands behind the heading "## words" up to the next one. */
static char *section_of(const char *words)
{
    char *heading SCOPED(scoped_free) = memory_text("\n## %s\n", words);
    const char *start = strstr(manual, heading);

    if (start == NULL)
        return NULL;
    const char *text = start + strlen(heading);
    const char *end = strstr(text, "\n#");
    return memory_text("%.*s", end != NULL ? (int)(end - text) : (int)strlen(text), text);
}

static bool has_option(const char *text, const struct option_row *row)
{
    char *with_value SCOPED(scoped_free) = memory_text("*--%s* _%s_", row->name, row->argument);
    char *flag SCOPED(scoped_free) = memory_text("*--%s*", row->name);

    return strstr(text, row->argument[0] != '\0' ? with_value : flag) != NULL;
}

START_TEST(every_command_has_its_section_with_its_arguments_and_options)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const struct command *command = &commands[i];
        if (command->how == COMMAND_WIRE)
            continue;
        char *section SCOPED(scoped_free) = section_of(command->words);
        ck_assert_msg(section != NULL, "no section \"## %s\"", command->words);
        char *usage SCOPED(scoped_free) = memory_text("*pgcoffer %s*%s%s", command->words,
                                                      command->arguments[0] != '\0' ? " " : "", command->arguments);
        ck_assert_msg(strstr(section, usage) != NULL, "no \"%s\"", usage);
        for (int option = 0; option < OPTION_COUNT; option++)
            if (option_is_own((enum option_id)option, (enum command_id)i))
                ck_assert_msg(has_option(section, &option_rows[option]), "%s lacks --%s", command->words,
                              option_rows[option].name);
    }
}
END_TEST

START_TEST(every_global_option_is_described)
{
    const char *options = strstr(manual, "\n# GLOBAL OPTIONS\n");

    ck_assert_ptr_nonnull(options);
    for (int i = 0; i < OPTION_COUNT; i++)
        if (option_rows[i].where == OPTION_GLOBAL || option_belongs((enum option_id)i, COMMAND_ID_list))
            ck_assert_msg(has_option(options, &option_rows[i]), "no --%s", option_rows[i].name);
}
END_TEST

START_TEST(no_section_describes_a_command_that_is_not_there)
{
    for (const char *at = strstr(manual, "\n## "); at != NULL; at = strstr(at + 1, "\n## ")) {
        char *words SCOPED(scoped_free) = memory_text("%.*s", (int)strcspn(at + 4, "\n"), at + 4);
        enum command_id id;
        struct error err;
        ck_assert_msg(command_find(words, &id, &err), "%s", err.message);
        ck_assert_msg(commands[id].how != COMMAND_WIRE, "%s is not for people", words);
    }
}
END_TEST

START_TEST(every_exit_status_is_listed_with_its_kind)
{
    const char *statuses = strstr(manual, "\n# EXIT STATUS\n");

    ck_assert_ptr_nonnull(statuses);
    for (int kind = 0; kind < ERROR_KIND_COUNT; kind++) {
        struct error err = {.kind = (enum error_kind)kind};
        char *line SCOPED(scoped_free) =
            memory_text("\n*%d*%s%s", error_exit_status(&err), kind == ERROR_NONE ? "" : " ",
                        kind == ERROR_NONE ? "" : error_kind_word((enum error_kind)kind));
        ck_assert_msg(strstr(statuses, line) != NULL || kind == ERROR_DENIED, "no line \"%s\"", line + 1);
    }
    ck_assert_ptr_nonnull(strstr(statuses, "denied"));
}
END_TEST

/* "# CHECKS" holds every row of the table with its sentence, in its order, and nothing else. */
START_TEST(every_check_is_listed_as_the_table_has_it)
{
    const char *at = strstr(manual, "\n# CHECKS\n");
    const char *end = strstr(manual, "\n# GLOBAL OPTIONS\n");
    size_t count = 0;

    ck_assert(at != NULL && end != NULL && at < end);
    for (const char *line = at; (line = strstr(line + 1, "\n*")) != NULL && line < end;)
        count++;
    ck_assert_uint_eq(count, CHECK_COUNT);
    for (enum check_id id = 0; id < CHECK_COUNT; id++) {
        char *entry SCOPED(scoped_free) = memory_text("\n*%s*\n\t%s\n", check_rows[id].name, check_rows[id].sentence);
        at = strstr(at, entry);
        ck_assert_msg(at != NULL && at < end, "no %s, or not in its place", check_rows[id].name);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("manual");

    tcase_add_checked_fixture(tests, read_manual, free_manual);
    tcase_add_test(tests, every_command_has_its_section_with_its_arguments_and_options);
    tcase_add_test(tests, every_global_option_is_described);
    tcase_add_test(tests, no_section_describes_a_command_that_is_not_there);
    tcase_add_test(tests, every_exit_status_is_listed_with_its_kind);
    tcase_add_test(tests, every_check_is_listed_as_the_table_has_it);
    return suite_run("manual", tests);
}
