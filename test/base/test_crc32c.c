#include <string.h>

#include "base/crc32c_internal.h"
#include "pgcoffer/base/crc32c.h"
#include "support/suite.h"

START_TEST(crc32c_gives_the_published_values)
{
    uint8_t bytes[32];

    ck_assert_uint_eq(crc32c_update(0, "123456789", 9), 0xe3069283);
    ck_assert_uint_eq(crc32c_update(0, "", 0), 0);
    /* RFC 3720, B.4 */
    memset(bytes, 0, sizeof bytes);
    ck_assert_uint_eq(crc32c_update(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    ck_assert_uint_eq(crc32c_update(0, bytes, sizeof bytes), 0x62a8ab43);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    ck_assert_uint_eq(crc32c_update(0, bytes, sizeof bytes), 0x46dd794e);
    ck_assert_uint_eq(crc32c_update_by_table(0, bytes, sizeof bytes), 0x46dd794e);
}
END_TEST

START_TEST(the_instruction_and_the_table_agree_for_every_length_alignment_and_split)
{
    uint8_t bytes[600];
    uint32_t random = 3;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);

    for (size_t start = 0; start < 9; start++)
        for (size_t size = 0; size < 300; size++) {
            uint32_t whole = crc32c_update(0, bytes + start, size);
            size_t half = size / 3;
            uint32_t first = crc32c_update(0, bytes + start, half);
            ck_assert_uint_eq(crc32c_update_by_table(0, bytes + start, size), whole);
            ck_assert_uint_eq(crc32c_update(first, bytes + start + half, size - half), whole);
            ck_assert_uint_eq(crc32c_update_by_table(first, bytes + start + half, size - half), whole);
        }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("crc32c");

    tcase_add_test(tests, crc32c_gives_the_published_values);
    tcase_add_test(tests, the_instruction_and_the_table_agree_for_every_length_alignment_and_split);
    return suite_run("crc32c", tests);
}
