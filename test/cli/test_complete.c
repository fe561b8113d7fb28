#include "cli/complete_internal.h"

#include <string.h>

#include "pgcoffer/base/memory.h"
#include "support/scratch.h"
#include "support/suite.h"

#define MOST_WORDS 12

static struct buffer said = BUFFER_WITH_LIMIT(1 << 20);

/* What `pgcoffer __complete` says to these words, separated by '|'. */
static const char *complete(const char *line)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(line), *rest = copy, *word;
    char *words[MOST_WORDS];
    int count = 0, before = dup(STDOUT_FILENO);
    struct error err;

    while ((word = strsep(&rest, "|")) != NULL && count < MOST_WORDS)
        words[count++] = word;
    fflush(stdout);
    ck_assert_ptr_nonnull(freopen(scratch_path("said"), "we", stdout));
    ck_assert_int_eq(complete_main(count, words), 0);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    buffer_done(&said);
    ck_assert(file_read_whole(scratch_path("said"), &said, &err));
    ck_assert(buffer_append(&said, "", 1, &err));
    return (const char *)said.bytes;
}

static bool is_offered(const char *answer, const char *word)
{
    char *line SCOPED(scoped_free) = memory_text("\n%s\t", word);

    return strstr(answer, line) != NULL;
}

START_TEST(every_command_for_people_is_offered_and_no_other)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const char *words = commands[i].words, *blank = strchr(words, ' ');
        char *first SCOPED(scoped_free) = memory_text("%.*s", (int)strcspn(words, " "), words);
        char *second SCOPED(scoped_free) = memory_text("%s|", first);
        bool is_shown = commands[i].how != COMMAND_WIRE;

        ck_assert_msg(is_offered(complete(""), first) == is_shown, "%s", words);
        ck_assert_msg(is_offered(complete("-q|help|"), first) == is_shown, "%s", words);
        if (blank != NULL)
            ck_assert_msg(is_offered(complete(second), blank + 1), "%s", words);
    }
    ck_assert_str_eq(complete("he"), "words\nhelp\tprint the help, or a command's\n");
    ck_assert_str_eq(complete("nosuch|"), "words\n");
}
END_TEST

START_TEST(every_option_of_every_command_is_offered_and_no_other)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].how == COMMAND_WIRE)
            continue;
        char *line SCOPED(scoped_free) = memory_text("%s|--", commands[i].words);
        for (char *blank = line; (blank = strchr(blank, ' ')) != NULL;)
            *blank = '|';
        const char *answer = complete(line);
        for (int j = 0; j < OPTION_COUNT; j++) {
            char *option SCOPED(scoped_free) = memory_text("--%s", option_rows[j].name);
            ck_assert_msg(is_offered(answer, option) == option_belongs((enum option_id)j, (enum command_id)i), "%s %s",
                          commands[i].words, option);
        }
    }
    ck_assert(!is_offered(complete("--"), "--label") && is_offered(complete("--"), "--connect"));
    ck_assert(!is_offered(complete("backup|--label|x|--"), "--label"));
    ck_assert(is_offered(complete("check|--only|x|--"), "--only")); /* may be given again */
    ck_assert(!is_offered(complete("backup|--|--"), "--label"));    /* behind the end of the options */
}
END_TEST

START_TEST(values_are_what_the_option_takes)
{
    ck_assert_str_eq(complete("--color|a"), "words\nauto\t\nalways\t\n");
    ck_assert_str_eq(complete("--color=n"), "words\n--color=never\t\n");
    ck_assert_str_eq(complete("restore|a|--target-action|"), "words\npause\t\npromote\t\nshutdown\t\n");
    ck_assert_str_eq(complete("restore|--archive-mode|"), "words\noff\t\npreserve\t\n");
    ck_assert_str_eq(complete("-c|"), "files\n");
    ck_assert_str_eq(complete("-c|x|--config=/et"), "files\n");
    ck_assert_str_eq(complete("restore|--target-directory|"), "folders\n");
    ck_assert_str_eq(complete("restore|--owner|po"), "users\n");
    ck_assert_str_eq(complete("check|--host="), "hosts\n");
    ck_assert_str_eq(complete("tls|init|"), "folders\n");
    ck_assert_str_eq(complete("wal-get|a|b|"), "files\n");
    ck_assert_str_eq(complete("backup|--label|"), "words\n");
    const char *answer = complete("check|--only=key.mode,expiry.c");
    ck_assert(is_offered(answer, "--only=key.mode,expiry.ca") && is_offered(answer, "--only=key.mode,expiry.client"));
    ck_assert(!is_offered(answer, "--only=key.mode,expiry.server"));
}
END_TEST

/* What expects a choice of words in the help has them here. */
START_TEST(a_value_with_a_choice_is_known)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (option_rows[i].argument[0] == '\0' || strchr(option_rows[i].argument, '|') == NULL ||
            option_rows[i].argument[0] < 'a')
            continue;
        char *line SCOPED(scoped_free) = memory_text("check|--%s|", option_rows[i].name);
        for (const char *at = option_rows[i].argument; *at != '\0'; at += strspn(at, "|")) {
            char *word SCOPED(scoped_free) = memory_text("%.*s", (int)strcspn(at, "|"), at);
            ck_assert_msg(is_offered(complete(line), word), "--%s %s", option_rows[i].name, word);
            at += strlen(word);
        }
    }
}
END_TEST

START_TEST(words_are_taken_as_a_shell_would)
{
    static const char *const words[][2] = {
        {"plain", "plain"},
        {"a\\ b", "a b"},
        {"'a \"b'", "a \"b"},
        {"\"a \\\" \\$ \\x'\"", "a \" $ \\x'"},
        {"\\$\\(touch\\ x\\)", "$(touch x)"},
        {"'open", "open"},
        {"\"open\\", "open\\"},
        {"tail\\", "tail\\"},
        {"", ""},
        {"a'b'\"c\"d", "abcd"},
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char *word SCOPED(scoped_free) = memory_copy_text(words[i][0]);
        typed_unquote(word);
        ck_assert_str_eq(word, words[i][1]);
    }
    ck_assert_str_eq(complete("--quoted|'--color'|\"n"), "words\nnever\t\n");
}
END_TEST

START_TEST(without_a_daemon_there_is_nothing_and_no_word_about_it)
{
    static const char *const lines[] = {
        "backup|",
        "show|a|",
        "follow|",
        "cancel|",
        "restore|a|--target-time|",
        "--connect|localhost:1|list|",
        "--socket|/nonexistent|list|",
        "-c|/nonexistent|list|",
        "--direct|-c/nonexistent|list|",
    };
    char *alone SCOPED(scoped_free) = memory_text("--socket|%s/none|", scratch_path(""));

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        bool has_way = lines[i][0] == '-';
        char *line SCOPED(scoped_free) = memory_text("%s%s", has_way ? "" : alone, lines[i]);
        ck_assert_msg(strcmp(complete(line), "words\n") == 0, "%s", line);
    }
    ck_assert_str_eq(complete("--socket|/nonexistent|restore|a|--target-timeline|"), "words\nlatest\t\ncurrent\t\n");
}
END_TEST

static const struct typed nothing_typed = {.begun = "", .kept = (char[]){""}};

static void offer_odd_names(void)
{
    complete_offer(&nothing_typed, "a\nb", NULL);
    complete_offer(&nothing_typed, "a\tb", NULL);
    complete_offer(&nothing_typed, "\033]0;title\007", NULL);
    complete_offer(&nothing_typed, "\xff", NULL);
    complete_offer(&nothing_typed, "--force", NULL);
    complete_offer(&nothing_typed, "", NULL);
    complete_offer(&nothing_typed, "$(touch x) 'y'", "says\n\033[31m");
}

START_TEST(names_that_cannot_be_typed_are_left_out)
{
    struct error err;

    fflush(stdout);
    ck_assert_ptr_nonnull(freopen(scratch_path("said"), "we", stdout));
    offer_odd_names();
    fflush(stdout);
    ck_assert(file_read_whole(scratch_path("said"), &said, &err) && buffer_append(&said, "", 1, &err));
    ck_assert_str_eq((const char *)said.bytes, "$(touch x) 'y'\tsays??[31m\n");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("complete");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, every_command_for_people_is_offered_and_no_other);
    tcase_add_test(tests, every_option_of_every_command_is_offered_and_no_other);
    tcase_add_test(tests, values_are_what_the_option_takes);
    tcase_add_test(tests, a_value_with_a_choice_is_known);
    tcase_add_test(tests, words_are_taken_as_a_shell_would);
    tcase_add_test(tests, without_a_daemon_there_is_nothing_and_no_word_about_it);
    tcase_add_test(tests, names_that_cannot_be_typed_are_left_out);
    return suite_run("complete", tests);
}
