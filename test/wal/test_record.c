#include "pgcoffer/wal/record.h"

#include <inttypes.h>

#include "wal/wal_builder.h"

static struct wal_builder wal;
static struct history history;
static const struct wal_segment_size size_of_segment = {BUILDER_SEGMENT};

/* What a reading saw. */
static struct wal_record_end end;
static struct error err;
static uint64_t positions[4096];
static size_t visits;

static void begin(void)
{
    builder_begin(&wal);
    history = (struct history){.timeline = {1}};
}

static void finish(void)
{
    builder_end(&wal);
}

static bool visit(void *context, const struct wal_record *record, struct error *failure)
{
    (void)failure;
    ck_assert_ptr_eq(context, &wal);
    ck_assert_uint_le(record->data_held, record->data_size);
    if (visits < sizeof positions / sizeof positions[0])
        positions[visits] = record->position.value;
    visits++;
    return true;
}

static bool read_pieces(size_t size, size_t piece)
{
    struct wal_record_reader *reader =
        wal_record_reader_new(&history, size_of_segment, wal.first_segment, BUILDER_SYSTEM, visit, &wal);
    bool is_right = true;

    visits = 0;
    for (size_t at = 0; at < size && is_right; at += piece)
        is_right = wal_record_reader_feed(reader, wal.bytes + at, size - at < piece ? size - at : piece, &err);
    is_right = is_right && wal_record_reader_end(reader, &end, &err);
    wal_record_reader_free(reader);
    return is_right;
}

static void assert_reads(size_t size)
{
    static const size_t pieces[] = {BUILDER_MOST, 1, 7, 4096};

    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        ck_assert_msg(read_pieces(size, pieces[i]), "%s", err.message);
        ck_assert_uint_eq(visits, end.record_count);
    }
}

static void assert_refused(size_t size, const char *why)
{
    ck_assert_msg(!read_pieces(size, 4096), "expected: %s", why);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(err.message, why) != NULL, "\"%s\" instead of \"%s\"", err.message, why);
}

static void assert_records(uint64_t from, uint64_t to, uint64_t count, bool ends_in_zeros)
{
    ck_assert_uint_eq(end.checked_from.value, from);
    ck_assert_uint_eq(end.checked_to.value, to);
    ck_assert_uint_eq(end.record_count, count);
    ck_assert_int_eq(end.ends_in_zeros, ends_in_zeros);
}

/* Changes a byte, or a number of the server's byte order, of the WAL at `position`. */
static uint8_t *byte_at(uint64_t position)
{
    return wal.bytes + position - wal.first_segment * BUILDER_SEGMENT;
}

START_TEST(records_of_every_size_are_found_at_their_place)
{
    static const struct {
        uint16_t magic;
        bool is_big_endian;
        uint32_t page_size;
    } kinds[] = {{0xD106, false, 8192}, {0xD110, true, 8192}, {0xD118, false, 1024}, {0xD119, true, 65536}};

    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        finish();
        begin();
        uint64_t expected[600];
        wal.magic = kinds[kind].magic;
        wal.is_big_endian = kinds[kind].is_big_endian;
        wal.page_size = kinds[kind].page_size;
        for (uint32_t size = 0; size < 600; size++)
            expected[size] = builder_record(&wal, size * 7);
        assert_reads(wal.used);
        assert_records(0x300028, builder_position(&wal), 600, false);
        ck_assert_int_eq(memcmp(positions, expected, sizeof expected), 0);
    }
}
END_TEST

START_TEST(a_record_may_be_larger_than_segments)
{
    builder_record(&wal, 100);
    builder_record(&wal, 3 * BUILDER_SEGMENT + 12345);
    uint64_t last = builder_record(&wal, 5);
    assert_reads(wal.used);
    assert_records(0x300028, builder_position(&wal), 3, false);
    ck_assert_uint_eq(positions[2], last);
}
END_TEST

/* Page ends before, within and behind a record's header, with room for 8, 16, 24 ... bytes of it. */
START_TEST(a_page_may_end_anywhere_in_a_record)
{
    for (uint32_t left = 40; left < 200; left += 8) {
        builder_fill(&wal, wal.page_size, left);
        builder_record(&wal, left - 40 + left % 3);
    }
    builder_fill(&wal, BUILDER_SEGMENT, 64);
    builder_record(&wal, 40);
    builder_record(&wal, 1);
    assert_reads(wal.used);
    assert_records(0x300028, builder_position(&wal), end.record_count, false);
}
END_TEST

START_TEST(a_switch_leaves_zeros_up_to_the_end_of_the_segment)
{
    builder_record(&wal, 100);
    uint64_t switched = builder_next(&wal);
    builder_switch(&wal);
    builder_switch(&wal);
    uint64_t next = builder_record(&wal, 100);
    assert_reads(wal.used);
    assert_records(0x300028, builder_position(&wal), 4, false);
    ck_assert_uint_eq(positions[3], next);

    /* And while the zeros are still coming. */
    assert_reads(5 * wal.page_size + 100);
    assert_records(0x300028, 0x300000 + 5 * wal.page_size + 100, 2, false);

    *byte_at(switched + 24) = 1;
    assert_refused(wal.used, "padding at 0/3000C0 is damaged");
    *byte_at(switched + 24) = 0;
    *byte_at(0x304000) = 1;
    assert_refused(wal.used, "page at 0/304000 is damaged");
}
END_TEST

START_TEST(pages_behind_a_switch_may_have_their_headers)
{
    builder_switch(&wal);
    wal.used = wal.page_size;
    builder_page_header(&wal);
    wal.used = BUILDER_SEGMENT;
    builder_record(&wal, 10);
    assert_reads(wal.used);
    *byte_at(0x300000 + wal.page_size + 100) = 1;
    assert_refused(wal.used, "padding at 0/302064 is damaged: it is not zero");
}
END_TEST

START_TEST(a_switch_may_itself_run_into_the_next_segment)
{
    builder_fill(&wal, BUILDER_SEGMENT, 40);
    builder_record(&wal, 6); /* 32 bytes: 8 are left */
    builder_switch(&wal);
    ck_assert_uint_eq(wal.used, 2 * BUILDER_SEGMENT);
    builder_record(&wal, 6);
    assert_reads(wal.used);
    assert_records(0x300028, builder_position(&wal), 4, false);

    finish();
    begin();
    builder_fill(&wal, BUILDER_SEGMENT, 56);
    builder_record(&wal, 6);
    builder_switch(&wal); /* ends with the segment, and leaves none out */
    ck_assert_uint_eq(wal.used, BUILDER_SEGMENT);
    builder_record(&wal, 6);
    assert_reads(wal.used);
    assert_records(0x300028, builder_position(&wal), 4, false);
}
END_TEST

START_TEST(a_record_begun_before_the_first_segment_is_passed_over)
{
    builder_record(&wal, BUILDER_SEGMENT + 5000);
    uint64_t second = builder_record(&wal, 100);
    builder_record(&wal, 100);
    memmove(wal.bytes, wal.bytes + BUILDER_SEGMENT, BUILDER_MOST - BUILDER_SEGMENT);
    wal.used -= BUILDER_SEGMENT;
    wal.first_segment++;
    assert_reads(wal.used);
    assert_records(second, builder_position(&wal), 2, false);
    assert_reads(4000);
    assert_records(0x400000, 0x400000, 0, false);

    *byte_at(0x400010) ^= 4; /* the length of the rest */
    assert_refused(wal.used, "is damaged");
    *byte_at(0x400010) ^= 4;
    *byte_at(second + 8 + 7) ^= 1; /* no record can follow a later one */
    assert_refused(wal.used, "as the record before");
}
END_TEST

/* A crash lost the rest of a record; the server says so at the page where it should go on. */
static uint64_t give_up_record(uint32_t size, uint64_t named)
{
    uint8_t *data = calloc(1, size);
    uint32_t left = wal.page_size - (uint32_t)(builder_next(&wal) % wal.page_size);
    uint64_t position = builder_raw_record(&wal, 10, 0, data, size, left);
    uint8_t overwrite[18] = {255, 16};

    free(data);
    ck_assert_uint_eq(wal.used % wal.page_size, 0);
    wal.rest = 0;
    wal.next_page_info = 8;
    builder_number(&wal, overwrite + 2, 8, named == 0 ? position : named);
    builder_raw_record(&wal, 0, 0xD0, overwrite, sizeof overwrite, sizeof overwrite + 24);
    return position;
}

START_TEST(a_record_lost_in_a_crash_is_replaced)
{
    builder_record(&wal, 100);
    give_up_record(10000, 0);
    builder_record(&wal, 100);
    builder_fill(&wal, BUILDER_SEGMENT, 400);
    give_up_record(10000, 0); /* at the start of a segment */
    builder_record(&wal, 100);
    assert_reads(wal.used);
    uint64_t last = builder_position(&wal);
    assert_records(0x300028, last, 6, false);

    memmove(wal.bytes, wal.bytes + BUILDER_SEGMENT, BUILDER_MOST - BUILDER_SEGMENT);
    wal.first_segment++;
    assert_reads(wal.used - BUILDER_SEGMENT);
    assert_records(0x400028, last, 2, false);
}
END_TEST

START_TEST(a_replaced_record_must_be_the_one_that_was_lost)
{
    builder_record(&wal, 100);
    give_up_record(10000, 0x300028);
    assert_refused(wal.used, "it replaces another unfinished record");
    *byte_at(0x302002) ^= 8; /* the page no longer says it */
    assert_refused(wal.used, "it continues a record by 0 bytes instead of");
    *byte_at(0x302002) |= 9;
    assert_refused(wal.used, "its flags are");

    finish();
    begin();
    builder_fill(&wal, wal.page_size, 64);
    builder_record(&wal, 38);
    wal.next_page_info = 8;
    builder_record(&wal, 10);
    assert_refused(wal.used, "it continues a record by 0 bytes instead of 0");
}
END_TEST

START_TEST(pages_carry_the_timeline_that_wrote_them)
{
    struct history_entry forks[] = {{{1}, {0x303000}}, {{2}, {0x306000}}};

    builder_fill(&wal, wal.page_size, 64);
    builder_record(&wal, 2000);
    builder_fill(&wal, wal.page_size, 64); /* 0/302000, where the first fork lies, is still of timeline 1 */
    wal.timeline = 2;
    builder_record(&wal, 3000);
    builder_fill(&wal, wal.page_size, 64);
    wal.timeline = 4; /* 0/306000 begins with the second fork */
    builder_record(&wal, 3000);
    history = (struct history){.timeline = {4}, .entries = forks, .entry_count = 2};
    assert_reads(wal.used);

    *byte_at(0x304004) = 1;
    assert_refused(wal.used, "page at 0/304000 is damaged: it is of timeline 1, not 2");
    *byte_at(0x304004) = 4;
    assert_refused(wal.used, "page at 0/304000 is damaged: it is of timeline 4, not 2");
    *byte_at(0x304004) = 2;
    history.entry_count = 0; /* the ancestors are not known */
    assert_reads(wal.used);
    *byte_at(0x304004) = 4;
    assert_reads(wal.used);
    *byte_at(0x306004) = 2;
    assert_refused(wal.used, "page at 0/306000 is damaged: it is of timeline 2, not 4");
    history.timeline.value = 3;
    assert_refused(wal.used, "of timeline 4, not 3");
}
END_TEST

START_TEST(bytes_not_received_yet_are_no_damage)
{
    builder_record(&wal, 100);
    uint64_t last = builder_record(&wal, 20000);
    for (size_t size = 0; size < wal.used; size += size < 300 ? 1 : 97) {
        ck_assert_msg(read_pieces(size, BUILDER_MOST), "%zu: %s", size, err.message);
        ck_assert_uint_le(end.checked_to.value, last > 0x300000 + size ? 0x300000 + size : last);
        ck_assert(!end.ends_in_zeros);
    }
    assert_records(0x300028, last, 1, false);
}
END_TEST

START_TEST(zeros_at_the_end_are_told)
{
    builder_record(&wal, 100);
    uint64_t written = builder_position(&wal);
    assert_reads(wal.used + 50000);
    assert_records(0x300028, written, 1, true);
    wal.bytes[wal.used + 30000] = 1;
    assert_refused(wal.used + 50000, "zeros stand in its place, and other bytes follow at 0/3075D8");
    wal.bytes[wal.used + 30000] = 0;
    wal.bytes[wal.used + 5] = 1;
    assert_refused(wal.used + 50000, "zeros stand in its place");

    /* From a page on, in the midst of a record, and everywhere. */
    wal.bytes[wal.used - 8 + 13] = 0;
    uint64_t cut = builder_record(&wal, 30000);
    memset(wal.bytes + 2 * wal.page_size, 0, 50000);
    assert_reads(60000);
    assert_records(0x300028, cut, 1, true);
    memset(wal.bytes, 0, 60000);
    assert_reads(60000);
    assert_records(0x300000, 0x300000, 0, true);
}
END_TEST

START_TEST(a_damaged_length_does_not_hide_the_records_behind_it)
{
    uint64_t last = builder_record(&wal, 100);
    builder_record(&wal, 100);
    builder_record(&wal, 300);
    for (int bit = 0; bit < 32; bit++) {
        byte_at(last)[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_msg(!read_pieces(wal.used, BUILDER_MOST), "bit %d", bit);
        byte_at(last)[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_reads(wal.used);
    *byte_at(last) = 23;
    assert_refused(wal.used, "its length is 23");
    *byte_at(last + 1) = 1;
    assert_refused(wal.used, "its checksum is wrong");
    *byte_at(last + 2) = 1;
    assert_refused(wal.used, "its parts do not add up to its length");
}
END_TEST

START_TEST(every_flipped_bit_is_found)
{
    static const uint32_t sizes[] = {0, 3, 255, 256, 3000, 40};
    size_t missed = 0;

    wal.page_size = 1024;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        builder_record(&wal, sizes[i]);
    for (size_t bit = 0; bit < wal.used * 8; bit++) {
        wal.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool is_removable = bit / 8 % wal.page_size == 2 && bit % 8 == 2; /* means nothing to a recovery */
        missed += read_pieces(wal.used, BUILDER_MOST) && !is_removable;
        wal.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ck_assert_uint_eq(missed, 0);
}
END_TEST

START_TEST(a_segment_of_other_wal_is_refused)
{
    builder_record(&wal, BUILDER_SEGMENT);
    wal.first_segment++;
    assert_refused(wal.used, "000000010000000000000004 does not begin as it should: its page address is 0/300000");
    wal.first_segment--;
    *byte_at(0x400018) ^= 1;
    assert_refused(wal.used, "000000010000000000000004 does not begin as it should: its system identifier is");
    *byte_at(0x400018) ^= 1;
    *byte_at(0x400026) ^= 1;
    assert_refused(wal.used, "it tells pages of 73728 bytes");
    *byte_at(0x400026) ^= 1;
    *byte_at(0x400000) ^= 3;
    assert_refused(wal.used, "page at 0/400000 is damaged: its magic number is D113");
    *byte_at(0x400000) ^= 3;
    *byte_at(0x300000) = 0x11; /* of a development version between two releases */
    assert_refused(wal.used, "its magic number is D111");
    *byte_at(0x300000) = 0x10;
    assert_reads(wal.used);
}
END_TEST

static bool refuse_record(void *context, const struct wal_record *record, struct error *failure)
{
    size_t *count = context;

    ck_assert_uint_eq(record->transaction, 77);
    ck_assert_uint_eq(record->resource_manager, 10);
    ck_assert_uint_eq(record->page_magic, 0xD110);
    if (*count == 0)
        ck_assert_uint_eq(record->data_held, 102);
    else
        ck_assert_uint_eq(record->data_held, WAL_RECORD_DATA_MOST);
    ck_assert_uint_eq(record->data[0], *count == 0 ? 255 : 254);
    return ++*count < 2 || error_set(failure, ERROR_FAILED, "enough");
}

START_TEST(the_callback_sees_the_beginning_of_large_data_and_may_end_the_reading)
{
    size_t count = 0;

    builder_record(&wal, 100);
    builder_record(&wal, 100000);
    builder_record(&wal, 100);
    struct wal_record_reader *reader =
        wal_record_reader_new(&history, size_of_segment, 3, BUILDER_SYSTEM, refuse_record, &count);
    ck_assert(!wal_record_reader_feed(reader, wal.bytes, wal.used, &err));
    ck_assert_str_eq(err.message, "enough");
    ck_assert_uint_eq(count, 2);
    wal_record_reader_free(reader);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("record");

    tcase_add_checked_fixture(tests, begin, finish);
    tcase_add_test(tests, records_of_every_size_are_found_at_their_place);
    tcase_add_test(tests, a_record_may_be_larger_than_segments);
    tcase_add_test(tests, a_page_may_end_anywhere_in_a_record);
    tcase_add_test(tests, a_switch_leaves_zeros_up_to_the_end_of_the_segment);
    tcase_add_test(tests, pages_behind_a_switch_may_have_their_headers);
    tcase_add_test(tests, a_switch_may_itself_run_into_the_next_segment);
    tcase_add_test(tests, a_record_begun_before_the_first_segment_is_passed_over);
    tcase_add_test(tests, a_record_lost_in_a_crash_is_replaced);
    tcase_add_test(tests, a_replaced_record_must_be_the_one_that_was_lost);
    tcase_add_test(tests, pages_carry_the_timeline_that_wrote_them);
    tcase_add_test(tests, bytes_not_received_yet_are_no_damage);
    tcase_add_test(tests, zeros_at_the_end_are_told);
    tcase_add_test(tests, a_damaged_length_does_not_hide_the_records_behind_it);
    tcase_add_test(tests, every_flipped_bit_is_found);
    tcase_add_test(tests, a_segment_of_other_wal_is_refused);
    tcase_add_test(tests, the_callback_sees_the_beginning_of_large_data_and_may_end_the_reading);
    return suite_run("record", tests);
}
