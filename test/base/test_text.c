#include "pgcoffer/base/text.h"

#include <math.h>
#include <string.h>

#include "support/suite.h"

START_TEST(numbers_are_digits_only_and_within_their_limit)
{
    static const char *const bad[] = {
        "", " 1", "1 ", "-1", "+1", "0x1", "1.0", "18446744073709551616", "99999999999999999999"};
    uint64_t number = 7;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!text_parse_unsigned(bad[i], UINT64_MAX, &number), "accepted \"%s\"", bad[i]);
    ck_assert_uint_eq(number, 7);
    ck_assert(text_parse_unsigned("18446744073709551615", UINT64_MAX, &number));
    ck_assert_uint_eq(number, UINT64_MAX);
    ck_assert(text_parse_unsigned("0010", 10, &number));
    ck_assert(!text_parse_unsigned("11", 10, &number));
    ck_assert_uint_eq(number, 10);
}
END_TEST

START_TEST(hex_goes_there_and_back)
{
    uint64_t number = 0;
    char hex[7];

    ck_assert(text_parse_hex("00fF", 4, &number));
    ck_assert_uint_eq(number, 255);
    ck_assert(text_parse_hex("FFFFFFFFFFFFFFFF", 16, &number));
    ck_assert(!text_parse_hex("00g0", 4, &number));
    ck_assert(!text_parse_hex("00", 4, &number));
    ck_assert(!text_parse_hex("", 0, &number));
    ck_assert(!text_parse_hex("00000000000000000", 17, &number));
    text_from_hex_bytes((const uint8_t *)"\x00\xff\x1a", 3, hex);
    ck_assert_str_eq(hex, "00ff1a");
}
END_TEST

START_TEST(the_closest_word_is_found_and_far_ones_are_not)
{
    static const char *const names[] = {"host", "hostaddr", "port", "tls_cert_file", "tls_ca_file"};
    const size_t count = sizeof names / sizeof names[0];
    char long_word[200];

    ck_assert_str_eq(text_closest("tls_cret_file", names, count), "tls_cert_file");
    ck_assert_str_eq(text_closest("hots", names, count), "host");
    ck_assert_str_eq(text_closest("tls_cafile", names, count), "tls_ca_file");
    ck_assert_ptr_null(text_closest("compression", names, count));
    ck_assert_ptr_null(text_closest("", names, count));
    ck_assert_ptr_null(text_closest("h", names, count));
    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    ck_assert_ptr_null(text_closest(long_word, names, count));
}
END_TEST

static void assert_bytes(uint64_t bytes, const char *wanted)
{
    char got[TEXT_BYTES_SIZE];

    text_format_bytes(bytes, got);
    ck_assert_str_eq(got, wanted);
}

START_TEST(sizes_read_well)
{
    assert_bytes(0, "0 bytes");
    assert_bytes(1023, "1023 bytes");
    assert_bytes(1024, "1.0 kB");
    assert_bytes(16 * 1024 * 1024, "16.0 MB");
    assert_bytes(UINT64_C(1503238553), "1.4 GB");
    assert_bytes(1024 * 1024 - 1, "1.0 MB");
    assert_bytes(500 * 1024, "500 kB");
    assert_bytes(UINT64_MAX, "16.0 EB");
}
END_TEST

static void assert_duration(double seconds, const char *wanted)
{
    char got[TEXT_DURATION_SIZE];

    text_format_duration(seconds, got);
    ck_assert_str_eq(got, wanted);
}

START_TEST(durations_read_well)
{
    assert_duration(0, "0.0s");
    assert_duration(-3, "0.0s");
    assert_duration(NAN, "0.0s");
    assert_duration(4.2, "4.2s");
    assert_duration(59.99, "1m00s");
    assert_duration(200, "3m20s");
    assert_duration(3599.7, "1h00m");
    assert_duration(3725, "1h02m");
    assert_duration(1e300, "277777777h46m");
}
END_TEST

START_TEST(nothing_printed_moves_the_cursor)
{
    char text[] = "a\033[2J\nb\tc\177 \xc2\x9b d\xc3\xa4";

    text_make_printable(text);
    ck_assert_str_eq(text, "a?[2J?b?c? ?? d\xc3\xa4");
}
END_TEST

START_TEST(server_names_are_safe_in_paths)
{
    char name[65];

    ck_assert(text_is_server_name("primary"));
    ck_assert(text_is_server_name("0Db_1-x"));
    ck_assert(!text_is_server_name(""));
    ck_assert(!text_is_server_name(".."));
    ck_assert(!text_is_server_name("-a"));
    ck_assert(!text_is_server_name("_a"));
    ck_assert(!text_is_server_name("a/b"));
    ck_assert(!text_is_server_name("a b"));
    ck_assert(!text_is_server_name("\xc3\xa4"));
    memset(name, 'a', 64);
    name[64] = '\0';
    ck_assert(!text_is_server_name(name));
    name[63] = '\0';
    ck_assert(text_is_server_name(name));
}
END_TEST

START_TEST(beginnings_and_ends_are_compared)
{
    ck_assert(text_is_empty(NULL));
    ck_assert(text_is_empty(""));
    ck_assert(!text_is_empty("a"));
    ck_assert(text_starts_with("abc", "ab"));
    ck_assert(!text_starts_with("a", "ab"));
    ck_assert(text_ends_with("a.conf", ".conf"));
    ck_assert(!text_ends_with("conf", ".conf"));
}
END_TEST

START_TEST(loopback_is_known_by_name_and_by_address)
{
    static const char *const here[] = {"localhost", "LocalHost", "127.0.0.1", "127.200.0.9", "::1", "0:0::1"};
    static const char *const elsewhere[] = {
        "",   "localhost.", "localhosts", "127.0.0.1.example.com", "128.0.0.1", "127.0.0.x", "::2",
        "::", "[::1]",      "0.0.0.0"};

    for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
        ck_assert_msg(text_is_loopback(here[i]), "%s", here[i]);
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        ck_assert_msg(!text_is_loopback(elsewhere[i]), "%s", elsewhere[i]);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("text");

    tcase_add_test(tests, numbers_are_digits_only_and_within_their_limit);
    tcase_add_test(tests, hex_goes_there_and_back);
    tcase_add_test(tests, the_closest_word_is_found_and_far_ones_are_not);
    tcase_add_test(tests, sizes_read_well);
    tcase_add_test(tests, durations_read_well);
    tcase_add_test(tests, nothing_printed_moves_the_cursor);
    tcase_add_test(tests, server_names_are_safe_in_paths);
    tcase_add_test(tests, beginnings_and_ends_are_compared);
    tcase_add_test(tests, loopback_is_known_by_name_and_by_address);
    return suite_run("text", tests);
}
