#include "pgcoffer/config/ini.h"

#include <stdio.h>
#include <string.h>

#include "support/suite.h"

/* Everything the reader handed over: "[section]" and "section.key=<value>", one a line. */
static char seen[65536];

static bool note_section(void *context, const struct ini_place *place, const char *section, struct error *err)
{
    (void)context, (void)place, (void)err;
    size_t used = strlen(seen);
    snprintf(seen + used, sizeof seen - used, "[%s]\n", section);
    return true;
}

static bool note_pair(void *context, const struct ini_place *place, const char *section, const char *key,
                      const char *value, struct error *err)
{
    (void)context;
    if (strcmp(key, "refused") == 0)
        return error_set(err, ERROR_CONFIG, "refused at line %u", place->line);
    size_t used = strlen(seen);
    snprintf(seen + used, sizeof seen - used, "%s.%s=<%s>\n", section, key, value);
    return true;
}

static bool read_text(const char *text, size_t size, struct error *err)
{
    const struct ini_handler handler = {.section = note_section, .pair = note_pair};

    seen[0] = '\0';
    return ini_parse(text, size, "a.conf", &handler, err);
}

static void assert_reads(const char *text, const char *wanted)
{
    struct error err;

    ck_assert_msg(read_text(text, strlen(text), &err), "%s", err.message);
    ck_assert_str_eq(seen, wanted);
}

static void assert_refuses(const char *text, const char *message)
{
    struct error err;

    ck_assert_msg(!read_text(text, strlen(text), &err), "accepted %s", text);
    ck_assert_str_eq(err.message, message);
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
}

START_TEST(sections_and_pairs_come_in_order_with_or_without_blanks)
{
    assert_reads("[one]\nkey=value\n \t other = two words \n[ two ]\r\nkey =\r\n[empty]",
                 "[one]\none.key=<value>\none.other=<two words>\n[two]\ntwo.key=<>\n[empty]\n");
    assert_reads("", "");
    assert_reads("\n\n", "");
    assert_reads("\xef\xbb\xbf[bom]\n", "[bom]\n");
    assert_reads("[a]\nk = \xc3\xa4 = b\n", "[a]\na.k=<\xc3\xa4 = b>\n");
}
END_TEST

START_TEST(comments_stand_alone_or_behind_a_blank)
{
    assert_reads("# x\n  ; y\n[a] # z\nb = c # d\ne = f#g;h ; i\nj = # k\nl =#m\nn = \"o # p\" # q\nr = \"s\";t\n",
                 "[a]\na.b=<c>\na.e=<f#g;h>\na.j=<>\na.l=<>\na.n=<o # p>\na.r=<s>\n");
}
END_TEST

START_TEST(quotes_keep_blanks_quotes_and_backslashes)
{
    assert_reads("[a]\nb = \" c \"\nd=\"\"\ne = \"\\\"\\\\\"\nf = g\"h\nw = a\\b\n",
                 "[a]\na.b=< c >\na.d=<>\na.e=<\"\\>\na.f=<g\"h>\na.w=<a\\b>\n");
}
END_TEST

START_TEST(what_is_not_ini_is_refused_with_its_line)
{
    assert_refuses("[a]\n\nword # comment\n", "a.conf:3: \"word\" is neither a [section] nor a key with a value");
    assert_refuses("[a", "a.conf:1: a section's name ends with \"]\"");
    assert_refuses("[]", "a.conf:1: a section needs a name");
    assert_refuses("[a] b", "a.conf:1: \"b\" stands behind the section's name");
    assert_refuses("[a]\n= b", "a.conf:2: the key before \"=\" is missing");
    assert_refuses("k = v\n[a]", "a.conf:1: \"k\" stands outside of a section");
    assert_refuses("[a]\nk = \"v", "a.conf:2: the closing quote is missing");
    assert_refuses("[a]\nk = \"v\\", "a.conf:2: a backslash in quotes stands only before \\ and \"");
    assert_refuses("[a]\nk = \"\\n\"", "a.conf:2: a backslash in quotes stands only before \\ and \"");
    assert_refuses("[a]\nk = \"v\" w", "a.conf:2: \"w\" stands behind the closing quote");
    assert_refuses("[a]\nk = \x01", "a.conf:2: the line has a control character");
    assert_refuses("[a]\nk = \x7f", "a.conf:2: the line has a control character");
    assert_refuses("[a]\rk = v", "a.conf:1: the line has a control character");
    assert_refuses("[a]\nrefused = 1\n", "refused at line 2");

    struct error err;
    ck_assert(!read_text("[a]\n\0", 5, &err));
    ck_assert_str_eq(err.message, "a.conf:2: the line has a control character");
}
END_TEST

START_TEST(a_line_may_be_as_long_as_the_limit_and_no_longer)
{
    static char text[INI_LINE_SIZE + 16];
    struct error err;

    memcpy(text, "[a]\nk=", 6);
    memset(text + 6, 'v', INI_LINE_SIZE - 2);
    size_t size = 4 + INI_LINE_SIZE;
    ck_assert_msg(read_text(text, size, &err), "%s", err.message);
    text[size] = 'v';
    ck_assert(!read_text(text, size + 1, &err));
    ck_assert_str_eq(err.message, "a.conf:2: the line is longer than 4096 bytes");
    text[size] = '\r';
    text[size + 1] = '\n';
    ck_assert(read_text(text, size + 2, &err));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("ini");

    tcase_add_test(tests, sections_and_pairs_come_in_order_with_or_without_blanks);
    tcase_add_test(tests, comments_stand_alone_or_behind_a_blank);
    tcase_add_test(tests, quotes_keep_blanks_quotes_and_backslashes);
    tcase_add_test(tests, what_is_not_ini_is_refused_with_its_line);
    tcase_add_test(tests, a_line_may_be_as_long_as_the_limit_and_no_longer);
    return suite_run("ini", tests);
}
