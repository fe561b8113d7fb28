#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/backup_meta.h"
#include "pgcoffer/repo/index.h"
#include "support/suite.h"

/* The examples of the specification are what this program itself would accept and write. */
#define PAGE TEST_SOURCE_DIRECTORY "/doc/repository-format.md"

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

/* The first example below that heading. */
static char *find_example(const char *heading)
{
    static const char fence[] = "\n```json\n";
    const char *part = strstr(page, heading);

    ck_assert_msg(part != NULL, "the page has no \"%s\"", heading);
    const char *start = strstr(part, fence);
    ck_assert_ptr_nonnull(start);
    start += strlen(fence);
    const char *end = strstr(start, "\n```\n");
    ck_assert_ptr_nonnull(end);
    return memory_text("%.*s\n", (int)(end - start), start);
}

START_TEST(the_example_of_backup_json_is_what_is_written)
{
    char *example SCOPED(scoped_free) = find_example("\n## backup.json\n");
    json_t *document SCOPED(scoped_json) = json_loads(example, 0, NULL);
    struct backup_meta *meta SCOPED(scoped_backup_meta) = NULL;
    struct error err;

    ck_assert_ptr_nonnull(document);
    char *line SCOPED(scoped_free) = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);
    char *stored SCOPED(scoped_free) = memory_text("%s\n", line);
    ck_assert_msg(backup_meta_parse(stored, strlen(stored), &meta, &err), "%s", err.message);
    ck_assert_msg(meta->unknown == NULL, "a key of the example is not known");
    char *written SCOPED(scoped_free) = backup_meta_to_text(meta);
    ck_assert_str_eq(written, stored);
}
END_TEST

START_TEST(every_key_of_backup_json_is_explained)
{
    char *example SCOPED(scoped_free) = find_example("\n## backup.json\n");
    json_t *document SCOPED(scoped_json) = json_loads(example, 0, NULL);
    const char *table = strstr(page, "\n| key | |\n");
    const char *key;
    json_t *value;

    ck_assert_ptr_nonnull(table);
    json_object_foreach(document, key, value)
    {
        char *quoted SCOPED(scoped_free) = memory_text("`%s`", key);
        ck_assert_msg(strstr(table, quoted) != NULL, "%s is not explained", key);
    }
}
END_TEST

static bool count_frame(void *context, const struct index_frame *frame, struct error *err)
{
    uint64_t *plain_bytes = context;

    (void)err;
    *plain_bytes = frame->offset + frame->length;
    return true;
}

START_TEST(the_example_of_the_index_is_an_index_of_the_example_backup)
{
    char *lines SCOPED(scoped_free) = find_example("\n## index.jsonl.zst\n");
    char *example SCOPED(scoped_free) = find_example("\n## backup.json\n");
    json_t *document SCOPED(scoped_json) = json_loads(example, 0, NULL);
    uint64_t plain_bytes = 0;
    const struct index_handler handler = {.frame = count_frame, .context = &plain_bytes};
    struct index_reader *reader = index_reader_new(&handler);
    struct error err;

    ck_assert_msg(index_reader_feed(reader, lines, strlen(lines), &err), "%s", err.message);
    ck_assert_msg(index_reader_finish(reader, &err), "%s", err.message);
    index_reader_free(reader);
    ck_assert_uint_eq(plain_bytes, (uint64_t)json_number_or(document, "size_bytes", 0));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("format_page");

    tcase_add_checked_fixture(tests, read_page, forget_page);
    tcase_add_test(tests, the_example_of_backup_json_is_what_is_written);
    tcase_add_test(tests, every_key_of_backup_json_is_explained);
    tcase_add_test(tests, the_example_of_the_index_is_an_index_of_the_example_backup);
    return suite_run("format_page", tests);
}
