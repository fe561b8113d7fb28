#include <string.h>

#include "cli/cli_internal.h"
#include "support/suite.h"

#define MOST_WORDS 16

/* getopt moves the words about, so each parse gets its own list of them. */
struct parsed {
    char *words[MOST_WORDS + 1];
    struct invocation invocation;
    struct error err;
    bool is_right;
};

static void parsed_done(struct parsed *parsed)
{
    invocation_done(&parsed->invocation);
}

#define PARSE(...) parse((const char *const[]){"pgcoffer", __VA_ARGS__, NULL})

static struct parsed *parse(const char *const *words)
{
    static struct parsed parsed;
    int count = 0;

    parsed = (struct parsed){.invocation = {.command = COMMAND_COUNT}};
    for (; words[count] != NULL; count++)
        parsed.words[count] = (char *)words[count];
    parsed.is_right = arguments_parse(count, parsed.words, &parsed.invocation, &parsed.err);
    return &parsed;
}

START_TEST(global_options_stand_before_or_after_the_command)
{
    struct parsed *parsed = PARSE("--json", "list", "-c", "a.conf", "primary", "--socket", "/s");

    ck_assert_msg(parsed->is_right, "%s", parsed->err.message);
    ck_assert_int_eq(parsed->invocation.command, COMMAND_ID_list);
    ck_assert_str_eq(invocation_argument(&parsed->invocation, 0), "primary");
    ck_assert_str_eq(invocation_argument(&parsed->invocation, 1), "");
    ck_assert_str_eq(invocation_text(&parsed->invocation, OPTION_ID_config), "a.conf");
    ck_assert_str_eq(invocation_text(&parsed->invocation, OPTION_ID_socket), "/s");
    ck_assert(invocation_has(&parsed->invocation, OPTION_ID_json));
    ck_assert(!invocation_has(&parsed->invocation, OPTION_ID_quiet));
    parsed_done(parsed);
}
END_TEST

START_TEST(an_option_given_again_replaces_the_earlier_one)
{
    struct parsed *parsed = PARSE("-c", "one", "ping", "--config=two");

    ck_assert(parsed->is_right);
    ck_assert_str_eq(invocation_text(&parsed->invocation, OPTION_ID_config), "two");
    parsed_done(parsed);
}
END_TEST

START_TEST(commands_have_one_word_or_two)
{
    struct parsed *parsed = PARSE("wal", "list", "primary");

    ck_assert(parsed->is_right);
    ck_assert_int_eq(parsed->invocation.command, COMMAND_ID_wal_list);
    ck_assert_str_eq(invocation_argument(&parsed->invocation, 0), "primary");
    parsed_done(parsed);
    parsed = PARSE("wal-get", "primary", "000000010000000000000001", "p");
    ck_assert(parsed->is_right);
    ck_assert_int_eq(parsed->invocation.command, COMMAND_ID_wal_get);
    parsed_done(parsed);
}
END_TEST

static void refuse(const char *const *words, const char *message, const char *hint)
{
    struct parsed *parsed = parse(words);

    ck_assert_msg(!parsed->is_right, "%s was taken", words[1]);
    ck_assert_int_eq(parsed->err.kind, ERROR_USAGE);
    ck_assert_msg(strstr(parsed->err.message, message) != NULL, "%s", parsed->err.message);
    ck_assert_msg(strstr(parsed->err.hint, hint) != NULL, "%s", parsed->err.hint);
    parsed_done(parsed);
}

#define REFUSE(message, hint, ...) refuse((const char *const[]){"pgcoffer", __VA_ARGS__, NULL}, message, hint)

START_TEST(what_is_unknown_is_refused_with_a_suggestion)
{
    REFUSE("bakcup", "backup", "bakcup", "primary");
    REFUSE("wal lsit", "wal list", "wal", "lsit", "primary");
    REFUSE("--lable", "--label", "backup", "primary", "--lable", "x");
    REFUSE("--jsn", "--json", "list", "--jsn=1");
    REFUSE("-x", "help", "list", "-x");
    REFUSE("no command", "help", "--json");
    REFUSE("\"read\"", "help", "read", "primary", "latest");
}
END_TEST

START_TEST(what_does_not_fit_the_command_is_refused)
{
    REFUSE("0 arguments", "pgcoffer backup SERVER", "backup");
    REFUSE("2 arguments", "pgcoffer backup SERVER", "backup", "a", "b");
    REFUSE("--label", "help list", "list", "--label", "x");
    REFUSE("--direct", "Leave", "--direct", "backup", "primary");
    REFUSE("--direct", "Leave", "--direct", "delete", "primary", "latest");
    REFUSE("needs a value", "", "backup", "primary", "--label");
    REFUSE("takes no value", "", "list", "--json=yes");
    REFUSE("sometimes", "", "--color", "sometimes", "list");
}
END_TEST

START_TEST(direct_is_for_what_only_reads)
{
    struct parsed *parsed = PARSE("verify", "--direct");

    ck_assert(parsed->is_right);
    parsed_done(parsed);
    parsed = PARSE("--direct", "wal", "status", "primary");
    ck_assert(parsed->is_right);
    parsed_done(parsed);
}
END_TEST

START_TEST(the_command_is_known_even_when_an_option_is_not)
{
    struct parsed *parsed = PARSE("wal-get", "--nonsense", "primary");

    ck_assert(!parsed->is_right);
    ck_assert_int_eq(parsed->invocation.command, COMMAND_ID_wal_get);
    parsed_done(parsed);
}
END_TEST

START_TEST(help_comes_before_everything_else)
{
    struct parsed *parsed = PARSE("help", "wal", "list");

    ck_assert(parsed->is_right && parsed->invocation.wants_help);
    ck_assert_int_eq(parsed->invocation.command, COMMAND_ID_wal_list);
    parsed_done(parsed);
    parsed = PARSE("backup", "--help");
    ck_assert(parsed->is_right && parsed->invocation.wants_help);
    ck_assert_int_eq(parsed->invocation.command, COMMAND_ID_backup);
    parsed_done(parsed);
    parsed = PARSE("--help");
    ck_assert(parsed->is_right && parsed->invocation.wants_help);
    ck_assert_int_eq(parsed->invocation.command, COMMAND_COUNT);
    parsed_done(parsed);
    parsed = PARSE("-V");
    ck_assert(parsed->is_right && parsed->invocation.wants_version);
    parsed_done(parsed);
}
END_TEST

START_TEST(a_request_carries_what_belongs_on_the_wire_and_nothing_else)
{
    struct parsed *parsed = PARSE("restore", "primary", "latest", "--target-directory", "/d", "--target-xid", "1",
                                  "--jobs", "2", "--target-xid", "5000", "--with-wal", "--json");
    struct request request SCOPED(request_done);
    struct error err;

    ck_assert(parsed->is_right);
    ck_assert(invocation_request(&parsed->invocation, &request, &err));
    ck_assert_str_eq(request.server, "primary");
    ck_assert_str_eq(request.backup, "latest");
    ck_assert_uint_eq(json_object_size(request.options), 2);
    ck_assert_str_eq(request_text(&request, OPTION_ID_target_xid), "5000");
    ck_assert(request_has(&request, OPTION_ID_with_wal));
    parsed_done(parsed);
}
END_TEST

START_TEST(words_that_are_not_utf8_or_too_long_are_refused)
{
    struct request request;
    struct error err;
    char long_name[200];
    struct parsed *parsed = PARSE("backup", "primary", "--label", "\xff");

    ck_assert(!invocation_request(&parsed->invocation, &request, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    parsed_done(parsed);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    parsed = PARSE("backup", long_name);
    ck_assert(!invocation_request(&parsed->invocation, &request, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    parsed_done(parsed);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("arguments");

    tcase_add_test(tests, global_options_stand_before_or_after_the_command);
    tcase_add_test(tests, an_option_given_again_replaces_the_earlier_one);
    tcase_add_test(tests, commands_have_one_word_or_two);
    tcase_add_test(tests, what_is_unknown_is_refused_with_a_suggestion);
    tcase_add_test(tests, what_does_not_fit_the_command_is_refused);
    tcase_add_test(tests, direct_is_for_what_only_reads);
    tcase_add_test(tests, the_command_is_known_even_when_an_option_is_not);
    tcase_add_test(tests, help_comes_before_everything_else);
    tcase_add_test(tests, a_request_carries_what_belongs_on_the_wire_and_nothing_else);
    tcase_add_test(tests, words_that_are_not_utf8_or_too_long_are_refused);
    return suite_run("arguments", tests);
}
