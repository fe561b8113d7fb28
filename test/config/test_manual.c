#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/settings_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "support/suite.h"

/* The manual page is written by hand; what the table says must stand in it. */
#define PAGE     TEST_SOURCE_DIRECTORY "/doc/man/pgcoffer.conf.5.scd"
#define HEADINGS 5

static const char *const headings[HEADINGS] = {
    [SCOPE_DAEMON] = "\n# SETTINGS OF THE DAEMON\n",
    [SCOPE_SERVER] = "\n# SETTINGS OF A SERVER\n",
    [SCOPE_BOTH] = "\n# SETTINGS OF THE DAEMON OR OF A SERVER\n",
    [SCOPE_EACH] = "\n# SETTINGS OF A SERVER\n",
    [SCOPE_CLIENT] = "\n# SETTINGS OF A CLIENT\n",
};

static char *page;

static void read_page(void)
{
    struct buffer text = BUFFER_WITH_LIMIT((size_t)1 << 20);
    struct error err;

    ck_assert_msg(file_read_whole(PAGE, &text, &err), "%s", err.message);
    page = memory_text("%.*s", (int)text.used, (const char *)text.bytes);
    buffer_done(&text);
}

static void forget_page(void)
{
    free(TAKE(page));
}

/* From one heading to the next, or from one setting's line to the next; white space is one blank. */
static char *cut_out(const char *start, const char *next)
{
    const char *end = strstr(start + 1, next);
    char *text = end == NULL ? memory_copy_text(start) : memory_text("%.*s", (int)(end - start), start);
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        bool is_blank = *from == ' ' || *from == '\t' || (*from == '\n' && next[1] == '*');
        if (!is_blank)
            *to++ = *from;
        else if (to > text && to[-1] != ' ')
            *to++ = ' ';
    }
    *to = '\0';
    return text;
}

/* What is said about a setting in the part where its scope puts it. */
static char *find_entry(const struct setting *setting)
{
    const char *heading = strstr(page, headings[setting->scope]);
    char *line SCOPED(scoped_free) = memory_text("\n*%s* = _", setting->name);

    ck_assert_msg(heading != NULL, "the page has no heading%s", headings[setting->scope]);
    char *part SCOPED(scoped_free) = cut_out(heading, "\n# ");
    const char *entry = strstr(part, line);
    ck_assert_msg(entry != NULL, "%s has no line below%s", setting->name, headings[setting->scope]);
    return cut_out(entry, "\n*");
}

static void expect(const struct setting *setting, const char *entry, const char *words)
{
    ck_assert_msg(strstr(entry, words) != NULL, "%s: \"%s\" is missing in:%s", setting->name, words, entry);
}

START_TEST(every_setting_stands_in_the_manual_with_its_default)
{
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++) {
        char *entry SCOPED(scoped_free) = find_entry(setting);
        char *words SCOPED(scoped_free) = memory_text("Default: *%s*.", setting->default_text);

        expect(setting, entry, setting->default_text[0] == '\0' ? "Not set by default." : words);
    }
}
END_TEST

START_TEST(the_manual_tells_whether_a_reload_or_a_restart_applies_a_setting)
{
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++) {
        char *entry SCOPED(scoped_free) = find_entry(setting);

        expect(setting, entry,
               setting->scope == SCOPE_CLIENT ? "Read by every command."
               : setting->when == AT_START    ? "Applied by a restart."
                                              : "Applied by a reload.");
    }
}
END_TEST

START_TEST(the_manual_tells_every_limit)
{
    for (const struct setting *setting = settings_table; setting < settings_table + SETTING_COUNT; setting++) {
        char *entry SCOPED(scoped_free) = find_entry(setting);
        char *range SCOPED(scoped_free) = memory_text("from %" PRIu64 " to %" PRIu64, setting->least, setting->most);

        if (setting->type == TYPE_NUMBER || setting->type == TYPE_NUMBERS)
            expect(setting, entry, range);
        for (const char *choice = setting->choices; choice != NULL && *choice != '\0';) {
            size_t size = strcspn(choice, " ");
            char *word SCOPED(scoped_free) = memory_text("*%.*s*", (int)size, choice);
            expect(setting, entry, word);
            choice += size + strspn(choice + size, " ");
        }
    }
}
END_TEST

/* "*name* = _": a setting that was renamed or removed must go from the page as well. */
START_TEST(the_manual_has_no_setting_that_does_not_exist)
{
    unsigned found = 0;

    for (const char *at = page; (at = strstr(at, "\n*")) != NULL; at += 2) {
        char name[64];
        if (sscanf(at, "\n*%63[a-z_]* = _", name) != 1 || strncmp(at + 2 + strlen(name), "* = _", 5) != 0)
            continue;
        ck_assert_msg(settings_find(name) != NULL, "there is no setting \"%s\"", name);
        found++;
    }
    ck_assert_uint_eq(found, SETTING_COUNT);
}
END_TEST

START_TEST(the_examples_of_the_manual_are_right)
{
    unsigned checked = 0;

    for (const char *at = strstr(page, "\n```\n["); at != NULL; at = strstr(at, "\n```\n[")) {
        const char *start = at + strlen("\n```\n");
        const char *end = strstr(start, "\n```\n");
        struct config *config SCOPED(scoped_config) = NULL;
        struct error err;
        ck_assert_ptr_nonnull(end);
        ck_assert_msg(config_parse(start, (size_t)(end - start), "example", &config, &err), "%s", err.message);
        checked++;
        at = end + strlen("\n```\n");
    }
    ck_assert_uint_ge(checked, 2);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("manual");

    tcase_add_checked_fixture(tests, read_page, forget_page);
    tcase_add_test(tests, every_setting_stands_in_the_manual_with_its_default);
    tcase_add_test(tests, the_manual_tells_whether_a_reload_or_a_restart_applies_a_setting);
    tcase_add_test(tests, the_manual_tells_every_limit);
    tcase_add_test(tests, the_manual_has_no_setting_that_does_not_exist);
    tcase_add_test(tests, the_examples_of_the_manual_are_right);
    return suite_run("manual", tests);
}
