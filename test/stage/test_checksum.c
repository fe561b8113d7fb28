#include <stdlib.h>
#include <string.h>

#include "pgcoffer/stage/checksum.h"
#include "support/suite.h"

static void check_hex(enum checksum_algorithm algorithm, const char *data, const char *expected)
{
    static const size_t pieces[] = {1, 7, 4096};
    char hex[CHECKSUM_HEX_SIZE];
    struct checksum *checksum = checksum_new(algorithm);

    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
        checksum_restart(checksum);
        for (size_t at = 0; at < strlen(data); at += pieces[p])
            checksum_update(checksum, data + at, strlen(data) - at < pieces[p] ? strlen(data) - at : pieces[p]);
        checksum_final(checksum, hex);
        ck_assert_str_eq(hex, expected);
    }
    checksum_free(checksum);
}

START_TEST(checksums_are_printed_as_the_manifest_prints_them)
{
    check_hex(CHECKSUM_CRC32C, "123456789", "839206e3");
    check_hex(CHECKSUM_CRC32C, "", "00000000");
    check_hex(CHECKSUM_NONE, "123456789", "");
    check_hex(CHECKSUM_SHA224, "abc", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
    check_hex(CHECKSUM_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_hex(CHECKSUM_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_hex(CHECKSUM_SHA384, "abc",
              "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
    check_hex(
        CHECKSUM_SHA512, "abc",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643c"
        "e80e2a9ac94fa54ca49f");
}
END_TEST

START_TEST(every_word_leads_to_its_algorithm_and_back)
{
    for (int i = CHECKSUM_NONE; i <= CHECKSUM_SHA512; i++) {
        enum checksum_algorithm found;
        ck_assert(checksum_algorithm_from_word(checksum_algorithm_word((enum checksum_algorithm)i), &found));
        ck_assert_int_eq(found, i);
    }
}
END_TEST

START_TEST(words_are_read_in_any_case_and_unknown_ones_are_refused)
{
    enum checksum_algorithm found = CHECKSUM_SHA512;

    ck_assert(checksum_algorithm_from_word("crc32c", &found));
    ck_assert_int_eq(found, CHECKSUM_CRC32C);
    ck_assert(!checksum_algorithm_from_word("MD5", &found));
    ck_assert(!checksum_algorithm_from_word("", &found));
    ck_assert_int_eq(found, CHECKSUM_CRC32C);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("checksum");

    tcase_add_test(tests, checksums_are_printed_as_the_manifest_prints_them);
    tcase_add_test(tests, every_word_leads_to_its_algorithm_and_back);
    tcase_add_test(tests, words_are_read_in_any_case_and_unknown_ones_are_refused);
    return suite_run("checksum", tests);
}
