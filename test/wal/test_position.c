#include "pgcoffer/wal/position.h"

#include <string.h>

#include "support/suite.h"

static void assert_round_trip(const char *text, uint64_t value, const char *expected)
{
    struct wal_position position;
    char formatted[WAL_POSITION_TEXT_SIZE];
    struct error err;

    ck_assert_msg(wal_position_parse(text, &position, &err), "%s", text);
    ck_assert_uint_eq(position.value, value);
    wal_position_format(position, formatted);
    ck_assert_str_eq(formatted, expected);
}

START_TEST(a_position_survives_a_round_trip)
{
    assert_round_trip("0/0", 0, "0/0");
    assert_round_trip("16/B374D848", UINT64_C(0x16B374D848), "16/B374D848");
    assert_round_trip("FFFFFFFF/FFFFFFFF", UINT64_MAX, "FFFFFFFF/FFFFFFFF");
    assert_round_trip("1/1", UINT64_C(0x100000001), "1/1");
}
END_TEST

START_TEST(padding_and_lower_case_of_other_versions_are_understood)
{
    assert_round_trip("0/03000028", 0x3000028, "0/3000028");
    assert_round_trip("00000016/b374d848", UINT64_C(0x16B374D848), "16/B374D848");
}
END_TEST

START_TEST(anything_else_is_refused_and_quoted)
{
    static const char *const bad[] = {"",     "/",    "16",    "16/", "/1",  "16/B374D8481", "16/-1", "0x1/2",
                                      "1/2 ", " 1/2", "1/2/3", "g/1", "1/g", "+1/2",         "1//2",  "123456789/1"};
    struct wal_position position = {7};
    struct error err;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(!wal_position_parse(bad[i], &position, &err), "accepted \"%s\"", bad[i]);
        ck_assert_int_eq(err.kind, ERROR_SERVER);
        ck_assert_ptr_nonnull(strstr(err.message, bad[i]));
    }
    ck_assert_uint_eq(position.value, 7);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("position");

    tcase_add_test(tests, a_position_survives_a_round_trip);
    tcase_add_test(tests, padding_and_lower_case_of_other_versions_are_understood);
    tcase_add_test(tests, anything_else_is_refused_and_quoted);
    return suite_run("position", tests);
}
