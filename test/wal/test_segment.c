#include "pgcoffer/wal/segment.h"

#include <string.h>

#include "support/suite.h"

static const struct wal_segment_size one_mb = {1 << 20}, sixteen_mb = {16 << 20}, one_gb = {1 << 30};
static const struct timeline first = {1};

static void assert_name(const char *name, struct wal_segment_size size, uint32_t timeline, uint64_t number)
{
    struct wal_segment segment;
    char formatted[WAL_SEGMENT_NAME_SIZE];

    ck_assert_msg(wal_segment_parse(name, size, &segment), "%s", name);
    ck_assert_uint_eq(segment.timeline.value, timeline);
    ck_assert_uint_eq(segment.number, number);
    wal_segment_format(segment, size, formatted);
    ck_assert_str_eq(formatted, name);
}

START_TEST(names_follow_the_segment_size)
{
    assert_name("00000001000000000000002A", sixteen_mb, 1, 0x2A);
    assert_name("0000000100000001000000FF", sixteen_mb, 1, 0x1FF);
    assert_name("0000000200000001000000FF", one_mb, 2, 0x10FF);
    assert_name("FFFFFFFF0000000100000FFF", one_mb, UINT32_MAX, 0x1FFF);
    assert_name("000000010000000A00000003", one_gb, 1, 0x2B);
    assert_name("00000001FFFFFFFF00000FFF", one_mb, 1, (UINT64_C(1) << 44) - 1);
}
END_TEST

START_TEST(a_low_number_that_the_size_does_not_allow_is_no_name)
{
    struct wal_segment segment;

    ck_assert(!wal_segment_parse("000000010000000000000100", sixteen_mb, &segment));
    ck_assert(wal_segment_parse("000000010000000000000100", one_mb, &segment));
    ck_assert(!wal_segment_parse("000000010000000000001000", one_mb, &segment));
    ck_assert(!wal_segment_parse("000000010000000000000004", one_gb, &segment));
}
END_TEST

START_TEST(other_texts_are_no_names)
{
    static const char *const bad[] = {"",
                                      "00000001000000000000002",
                                      "00000001000000000000002A0",
                                      "00000001000000000000002a",
                                      "00000000000000000000002A",
                                      "00000001000000000000002A.partial",
                                      "0000000100000000000000 A",
                                      "00000001/000000000000002",
                                      "00000002.history"};
    struct wal_segment segment;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!wal_segment_parse(bad[i], sixteen_mb, &segment), "accepted \"%s\"", bad[i]);
}
END_TEST

START_TEST(a_history_file_has_one_spelling)
{
    struct timeline timeline;
    char name[WAL_HISTORY_NAME_SIZE];

    ck_assert(wal_history_name_parse("0000000A.history", &timeline));
    ck_assert_uint_eq(timeline.value, 10);
    wal_history_format(timeline, name);
    ck_assert_str_eq(name, "0000000A.history");
    ck_assert(!wal_history_name_parse("0000000a.history", &timeline));
    ck_assert(!wal_history_name_parse("00000000.history", &timeline));
    ck_assert(!wal_history_name_parse("0000000A.history.tmp", &timeline));
    ck_assert(!wal_history_name_parse("A.history", &timeline));
    ck_assert(!wal_history_name_parse("", &timeline));
}
END_TEST

START_TEST(an_end_on_a_boundary_belongs_to_the_segment_before)
{
    struct wal_position boundary = {UINT64_C(2) << 20};

    ck_assert_uint_eq(wal_segment_at(first, boundary, one_mb).number, 2);
    ck_assert_uint_eq(wal_segment_before(first, boundary, one_mb).number, 1);
    ck_assert_uint_eq(wal_segment_before(first, (struct wal_position){boundary.value + 1}, one_mb).number, 2);
    ck_assert_uint_eq(wal_segment_before(first, (struct wal_position){0}, one_mb).number, 0);
    ck_assert_uint_eq(wal_segment_start(wal_segment_at(first, boundary, one_mb), one_mb).value, boundary.value);
    ck_assert_uint_eq(wal_segment_end(wal_segment_before(first, boundary, one_mb), one_mb).value, boundary.value);
}
END_TEST

START_TEST(the_last_segment_of_all_does_not_end_at_zero)
{
    struct wal_segment last = wal_segment_at(first, (struct wal_position){UINT64_MAX}, one_gb);

    ck_assert_uint_eq(wal_segment_end(last, one_gb).value, UINT64_MAX);
    ck_assert_uint_eq(wal_segment_start(last, one_gb).value, UINT64_MAX - one_gb.bytes + 1);
}
END_TEST

START_TEST(a_size_is_read_as_the_server_shows_it)
{
    struct wal_segment_size size;
    struct error err;

    ck_assert(wal_segment_size_parse("16MB", &size, &err));
    ck_assert_uint_eq(size.bytes, sixteen_mb.bytes);
    ck_assert(wal_segment_size_parse("1GB", &size, &err));
    ck_assert_uint_eq(size.bytes, one_gb.bytes);
    ck_assert(wal_segment_size_parse("1024kB", &size, &err));
    ck_assert_uint_eq(size.bytes, one_mb.bytes);

    static const char *const bad[] = {"",      "MB",  "16",  "16mb",  "16 MB", "3MB",
                                      "512kB", "2GB", "0MB", "16MBx", "-1MB",  "99999999999999999999GB"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(!wal_segment_size_parse(bad[i], &size, &err), "accepted \"%s\"", bad[i]);
        ck_assert_int_eq(err.kind, ERROR_SERVER);
    }
}
END_TEST

/* A long page header as PostgreSQL 15 writes it. */
static void make_header(uint8_t *page, bool is_big_endian, uint64_t address, uint32_t timeline, uint32_t segment_size)
{
    const struct {
        unsigned at, size;
        uint64_t value;
    } fields[] = {{0, 2, 0xD110}, {2, 2, 0x0006}, {4, 4, timeline},      {8, 8, address},
                  {16, 4, 0},     {24, 8, 77},    {32, 4, segment_size}, {36, 4, 8192}};

    memset(page, 0, 40);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        for (unsigned byte = 0; byte < fields[i].size; byte++)
            page[fields[i].at + (is_big_endian ? fields[i].size - 1 - byte : byte)] =
                (uint8_t)(fields[i].value >> (8 * byte));
}

START_TEST(a_first_page_proves_what_it_belongs_to)
{
    struct wal_segment segment = {{3}, 5};
    uint8_t page[40];
    struct error err;

    for (int order = 0; order < 2; order++) {
        make_header(page, order == 1, UINT64_C(5) << 24, 2, sixteen_mb.bytes);
        ck_assert_msg(wal_segment_check_header(page, sizeof page, segment, sixteen_mb, 77, &err), "%s", err.message);
        ck_assert(!wal_segment_check_header(page, 39, segment, sixteen_mb, 77, &err));
        ck_assert(!wal_segment_check_header(page, sizeof page, segment, sixteen_mb, 78, &err));
        ck_assert_ptr_nonnull(strstr(err.message, "system identifier is 77, not 78"));
        ck_assert(!wal_segment_check_header(page, sizeof page, segment, one_mb, 77, &err));
        segment.number = 6;
        ck_assert(!wal_segment_check_header(page, sizeof page, segment, sixteen_mb, 77, &err));
        ck_assert_ptr_nonnull(strstr(err.message, "000000030000000000000006"));
        ck_assert_ptr_nonnull(strstr(err.message, "0/5000000"));
        segment = (struct wal_segment){{1}, 5};
        ck_assert(!wal_segment_check_header(page, sizeof page, segment, sixteen_mb, 77, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        segment.timeline.value = 3;
    }
}
END_TEST

START_TEST(a_flipped_byte_in_what_matters_is_noticed)
{
    struct wal_segment segment = {{1}, 5};
    uint8_t page[40];
    struct error err;

    for (size_t at = 0; at < sizeof page; at++) {
        make_header(page, false, UINT64_C(5) << 24, 1, sixteen_mb.bytes);
        page[at] ^= 0xFF;
        bool is_free = at == 0 || at == 3 || (at >= 16 && at < 24) || at >= 36; /* minor version, flags, rest length */
        ck_assert_msg(wal_segment_check_header(page, sizeof page, segment, sixteen_mb, 77, &err) == is_free, "%zu", at);
    }
    memset(page, 0, sizeof page);
    ck_assert(!wal_segment_check_header(page, sizeof page, segment, sixteen_mb, 77, &err));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("segment");

    tcase_add_test(tests, names_follow_the_segment_size);
    tcase_add_test(tests, a_low_number_that_the_size_does_not_allow_is_no_name);
    tcase_add_test(tests, other_texts_are_no_names);
    tcase_add_test(tests, a_history_file_has_one_spelling);
    tcase_add_test(tests, an_end_on_a_boundary_belongs_to_the_segment_before);
    tcase_add_test(tests, the_last_segment_of_all_does_not_end_at_zero);
    tcase_add_test(tests, a_size_is_read_as_the_server_shows_it);
    tcase_add_test(tests, a_first_page_proves_what_it_belongs_to);
    tcase_add_test(tests, a_flipped_byte_in_what_matters_is_noticed);
    return suite_run("segment", tests);
}
