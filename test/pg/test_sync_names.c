#include "support/suite.h"

#include <stdlib.h>
#include <string.h>

#include "pgcoffer/pg/sync_names.h"

struct row {
    const char *names;
    unsigned position;
    unsigned needed;
    unsigned listed;
    enum sync_state state;
    bool is_indispensable;
};

static struct sync_match match_of(const char *names, const char *application_name)
{
    struct error err;
    struct sync_match match;

    ck_assert_msg(sync_names_match(names, application_name, &match, &err), "%s", err.message);
    return match;
}

START_TEST(names_are_read_as_the_server_reads_them)
{
    static const struct row rows[] = {
        {"", 0, 0, 0, SYNC_STATE_ASYNC, false},
        {"pgcoffer", 1, 1, 1, SYNC_STATE_SYNC, true},
        {"PgCoffer", 1, 1, 1, SYNC_STATE_SYNC, true},
        {"\"pgcoffer\"", 1, 1, 1, SYNC_STATE_SYNC, true},
        {"\"PGCOFFER\"", 1, 1, 1, SYNC_STATE_SYNC, true},
        {" a ,\tpgcoffer\n", 2, 1, 2, SYNC_STATE_POTENTIAL, false},
        {"pgcoffer, a", 1, 1, 2, SYNC_STATE_SYNC, true},
        {"pgcoffer2", 0, 1, 1, SYNC_STATE_ASYNC, false},
        {"my_pgcoffer, pgcoffer$", 0, 1, 2, SYNC_STATE_ASYNC, false},
        {"*", 1, 1, 1, SYNC_STATE_SYNC, false},
        {"\"*\"", 1, 1, 1, SYNC_STATE_SYNC, false},
        {"a, *", 2, 1, 2, SYNC_STATE_POTENTIAL, false},
        {"pgcoffer, *", 1, 1, 2, SYNC_STATE_SYNC, false},
        {"\"pg*\"", 0, 1, 1, SYNC_STATE_ASYNC, false},
        {"2 (a, pgcoffer)", 2, 2, 2, SYNC_STATE_SYNC, true},
        {"2(a,pgcoffer,b)", 2, 2, 3, SYNC_STATE_SYNC, true},
        {"FIRST 1 (\"a\", \"b c\", *)", 3, 1, 3, SYNC_STATE_POTENTIAL, false},
        {"first 3 (a, pgcoffer)", 2, 3, 2, SYNC_STATE_SYNC, true},
        {"ANY 1 (a, pgcoffer)", 2, 1, 2, SYNC_STATE_QUORUM, false},
        {"aNy 2 (a, pgcoffer)", 2, 2, 2, SYNC_STATE_QUORUM, true},
        {"ANY 1 (a, b)", 0, 1, 2, SYNC_STATE_ASYNC, false},
        {"anyone, first_of_all, pgcoffer", 3, 1, 3, SYNC_STATE_POTENTIAL, false},
        {"\"any\", \"first\", pgcoffer", 3, 1, 3, SYNC_STATE_POTENTIAL, false},
        {"1, 2, pgcoffer", 3, 1, 3, SYNC_STATE_POTENTIAL, false},
        {"1 (2, pgcoffer)", 2, 1, 2, SYNC_STATE_POTENTIAL, false},
        {"\xc3\xa4, pgcoffer", 2, 1, 2, SYNC_STATE_POTENTIAL, false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sync_match match = match_of(rows[i].names, "pgcoffer");
        ck_assert_msg(match.position == rows[i].position, "%s: position %u", rows[i].names, match.position);
        ck_assert_msg(match.needed == rows[i].needed, "%s: needed %u", rows[i].names, match.needed);
        ck_assert_msg(match.listed == rows[i].listed, "%s: listed %u", rows[i].names, match.listed);
        ck_assert_msg(sync_match_state(&match) == rows[i].state, "%s: %s", rows[i].names,
                      sync_state_word(sync_match_state(&match)));
        ck_assert_msg(sync_match_is_indispensable(&match) == rows[i].is_indispensable, "%s", rows[i].names);
    }
}
END_TEST

START_TEST(quotes_keep_blanks_signs_and_quotes)
{
    ck_assert_uint_eq(match_of("\"b c\", a", "B C").position, 1);
    ck_assert_uint_eq(match_of("b, \"a,(b)\"", "a,(b)").position, 2);
    ck_assert_uint_eq(match_of("\"say \"\"it\"\"\"", "say \"it\"").position, 1);
    ck_assert_uint_eq(match_of("\"say \"\"it\"\"\"", "say \"it").position, 0);
    ck_assert_uint_eq(match_of("\"\"\"\"", "\"").position, 1);
    ck_assert_uint_eq(match_of("7", "7").position, 1);
    ck_assert_uint_eq(match_of("\"\"", "pgcoffer").position, 0);
}
END_TEST

START_TEST(who_matches_by_the_star_alone_was_not_named)
{
    ck_assert(match_of("*", "pgcoffer").is_by_star);
    ck_assert(match_of("*, pgcoffer", "pgcoffer").is_by_star);
    ck_assert(!match_of("pgcoffer, *", "pgcoffer").is_by_star);
    ck_assert(match_of("pgcoffer, *", "pgcoffer").has_star);
    ck_assert(!match_of("pgcoffer", "pgcoffer").has_star);
}
END_TEST

START_TEST(what_the_server_would_refuse_is_refused)
{
    static const char *const wrong[] = {
        " ",
        ",",
        "a,",
        ",a",
        "a b",
        "(a)",
        "2 a",
        "FIRST (a)",
        "FIRST a",
        "ANY 1",
        "ANY (a)",
        "1 (a",
        "1 (a))",
        "1 ()",
        "1 (a,)",
        "\"a",
        "any",
        "first, a",
        "0 (a)",
        "ANY 0 (a)",
        "a;b",
        "a-b",
        "1 (a), b",
        "ANY 1 (a) b",
        "99999999999999999999 (a)",
        "4294967297 (a)",
        "$a",
        "'a'",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct sync_match match;
        struct error err;
        ck_assert_msg(!sync_names_match(wrong[i], "a", &match, &err), "\"%s\" was taken", wrong[i]);
        ck_assert_int_eq(err.kind, ERROR_SERVER);
    }
}
END_TEST

START_TEST(every_beginning_of_a_text_is_read_without_reading_on)
{
    const char *whole = "FIRST 2 (\"a \"\"b\"\"\", pgcoffer, *, 12)";

    for (size_t size = 0; size <= strlen(whole); size++) {
        char *text = strndup(whole, size); /* its end is watched */
        struct sync_match match;
        struct error err;
        bool ok = sync_names_match(text, "pgcoffer", &match, &err);
        ck_assert(ok == (size < strlen("FIRST") || size == strlen(whole))); /* "FIRS" is a name */
        free(text);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("sync names");

    tcase_add_test(tests, names_are_read_as_the_server_reads_them);
    tcase_add_test(tests, quotes_keep_blanks_signs_and_quotes);
    tcase_add_test(tests, who_matches_by_the_star_alone_was_not_named);
    tcase_add_test(tests, what_the_server_would_refuse_is_refused);
    tcase_add_test(tests, every_beginning_of_a_text_is_read_without_reading_on);
    return suite_run("sync_names", tests);
}
