#include "pgcoffer/base/buffer.h"

#include <signal.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "support/suite.h"

START_TEST(a_buffer_takes_exactly_its_limit_and_not_a_byte_more)
{
    static const size_t pieces[] = {1, 7, 4096, 10000};
    char *text SCOPED(scoped_free) = memory_new(10000);
    struct error err;

    memset(text, 'a', 10000);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct buffer buffer = BUFFER_WITH_LIMIT(10000);
        for (size_t left = 10000; left > 0;) {
            size_t size = pieces[i] < left ? pieces[i] : left;
            ck_assert(buffer_append(&buffer, text, size, &err));
            left -= size;
        }
        ck_assert(!buffer_append(&buffer, text, 1, &err));
        ck_assert_str_eq(err.message, "more than the allowed 10000 bytes");
        ck_assert(buffer_append(&buffer, "", 0, &err));
        ck_assert_uint_eq(buffer.used, 10000);
        ck_assert_mem_eq(buffer.bytes, text, 10000);
        buffer_done(&buffer);
        ck_assert_uint_eq(buffer.used, 0);
        ck_assert_uint_eq(buffer.limit, 10000);
    }
}
END_TEST

START_TEST(a_size_that_would_overflow_is_an_error)
{
    struct buffer buffer = BUFFER_WITH_LIMIT(SIZE_MAX);
    struct error err;

    ck_assert(buffer_append(&buffer, "ab", 2, &err));
    ck_assert(!buffer_append(&buffer, "", SIZE_MAX - 1, &err));
    ck_assert_uint_eq(buffer.used, 2);
    buffer_done(&buffer);
}
END_TEST

START_TEST(formatted_text_is_as_long_as_it_must_be)
{
    char *text SCOPED(scoped_free) = memory_text("%s/%d", "a", 7);
    char *copy SCOPED(scoped_free) = memory_copy_text(text);

    ck_assert_str_eq(copy, "a/7");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("buffer");

    tcase_add_test(tests, a_buffer_takes_exactly_its_limit_and_not_a_byte_more);
    tcase_add_test(tests, a_size_that_would_overflow_is_an_error);
    tcase_add_test(tests, formatted_text_is_as_long_as_it_must_be);
    return suite_run("buffer", tests);
}
