#include <string.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/worker/worker.h"
#include "support/suite.h"

/* doc/man/pgcofferd.8.scd is written by hand; these keep it from falling behind the table of roles. */

#define PAGE TEST_SOURCE_DIRECTORY "/doc/man/pgcofferd.8.scd"

static char *processes; /* what stands below that heading */

static void read_page(void)
{
    struct buffer bytes = BUFFER_WITH_LIMIT(1 << 20);
    struct error err;

    ck_assert_msg(file_read_whole(PAGE, &bytes, &err), "%s", err.message);
    ck_assert(buffer_append(&bytes, "", 1, &err));
    const char *start = strstr((const char *)bytes.bytes, "\n# PROCESSES\n");
    ck_assert_ptr_nonnull(start);
    const char *end = strstr(start + 1, "\n# ");
    ck_assert_ptr_nonnull(end);
    processes = memory_text("%.*s", (int)(end - start), start);
    buffer_done(&bytes);
}

static void forget_page(void)
{
    free(processes);
}

START_TEST(every_role_is_told_of)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        char *word SCOPED(scoped_free) = memory_text("*%s*", roles[i].name);
        ck_assert_msg(strstr(processes, word) != NULL, "PROCESSES lacks the role %s", roles[i].name);
    }
}
END_TEST

/* "*role*": bold words that are no programs. */
START_TEST(no_role_is_told_of_that_is_not_there)
{
    static const char *const others[] = {"ps"};

    for (const char *at = processes; (at = strchr(at, '*')) != NULL; at++) {
        size_t size = strcspn(at + 1, "*");
        char *word SCOPED(scoped_free) = memory_text("%.*s", (int)size, at + 1);
        enum role_id role;
        ck_assert_msg(role_find(word, &role) || strcmp(word, others[0]) == 0, "there is no role %s", word);
        at += size + 1;
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("manual");

    tcase_add_checked_fixture(tests, read_page, forget_page);
    tcase_add_test(tests, every_role_is_told_of);
    tcase_add_test(tests, no_role_is_told_of_that_is_not_there);
    return suite_run("manual", tests);
}
