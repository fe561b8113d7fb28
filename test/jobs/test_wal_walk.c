#include <stdlib.h>
#include <string.h>

#include "jobs/verify/wal_walk_internal.h"
#include "pgcoffer/base/crc32c.h"
#include "support/suite.h"

/*
 * Two made-up segments of 1 MB with pages of 8 kB, filled with records as PostgreSQL lays them out: headers on each
 * page, records over pages and over the segments' border, padding to eight bytes.
 */
#define SEGMENT (UINT32_C(1) << 20)
#define PAGE    8192u
#define SYSTEM  UINT64_C(7710780024945402825)

static const struct wal_segment_size size = {SEGMENT};
static const struct wal_segment first = {{2}, 5}, second = {{2}, 6};
static uint8_t wal[2 * SEGMENT];
static uint64_t next;        /* where the next byte goes */
static uint64_t record_left; /* of the one being written, for page headers */
static struct wal_walk walk;
static struct error err;

static void put(uint64_t offset, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        wal[offset + (uint64_t)i] = (uint8_t)(number >> 8 * i);
}

static void begin_page(void)
{
    bool is_long = next % SEGMENT == 0;

    put(next, 0xD110, 2);
    put(next + 2, (record_left > 0 ? 1u : 0) | (is_long ? 2u : 0), 2);
    put(next + 4, 2, 4);
    put(next + 8, first.number * SEGMENT + next, 8);
    put(next + 16, record_left, 4);
    if (is_long) {
        put(next + 24, SYSTEM, 8);
        put(next + 32, SEGMENT, 4);
        put(next + 36, PAGE, 4);
    }
    next += is_long ? 40 : 24;
}

static void put_bytes(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count && next < sizeof wal; i++) {
        if (next % PAGE == 0)
            begin_page();
        wal[next++] = bytes[i];
        record_left--;
    }
}

/* `total` bytes, header included, of resource manager 1; 0x40 of manager 0 is a switch. */
static void put_record(uint32_t total, unsigned manager, unsigned info)
{
    uint8_t *record = calloc(total, 1);

    ck_assert_ptr_nonnull(record);
    for (uint32_t i = 24; i < total; i++)
        record[i] = (uint8_t)(i * 7 + total);
    memcpy(record, &total, 4);
    record[16] = (uint8_t)info;
    record[17] = (uint8_t)manager;
    uint32_t crc = crc32c_update(crc32c_update(0, record + 24, total - 24), record, 20);
    memcpy(record + 20, &crc, 4);
    record_left = total;
    if (next % PAGE == 0)
        record_left = 0, begin_page(), record_left = total;
    put_bytes(record, total);
    record_left = 0;
    next = (next + 7) / 8 * 8;
    free(record);
}

static void make(void)
{
    static const uint32_t totals[] = {24, 31, 4096, 8192, 77, 100000, 25, 8168};

    memset(wal, 0, sizeof wal);
    walk = (struct wal_walk){0};
    next = 0;
    for (unsigned i = 0; next < sizeof wal - 200000; i++)
        put_record(totals[i % 8], 1, 0);
}

static bool walk_both(uint32_t held)
{
    return wal_walk_segment(&walk, wal, SEGMENT, first, size, &err) &&
           wal_walk_segment(&walk, wal + SEGMENT, held, second, size, &err);
}

static uint32_t held_of_second(void)
{
    return (uint32_t)(next - SEGMENT);
}

START_TEST(sound_wal_passes_wherever_it_ends)
{
    static const uint32_t less[] = {0, 1, 7, 24, 4096, 8191, 100001};

    ck_assert_msg(walk_both(held_of_second() - less[_i]), "%s", err.message);
}
END_TEST

START_TEST(a_segment_filled_with_zeros_behind_its_last_record_passes)
{
    ck_assert_msg(walk_both(SEGMENT), "%s", err.message);
}
END_TEST

START_TEST(the_second_segment_alone_passes_over_what_began_before)
{
    ck_assert_msg(wal_walk_segment(&walk, wal + SEGMENT, held_of_second(), second, size, &err), "%s", err.message);
}
END_TEST

/* Beside two that harm nobody: a page's hint XLP_BKP_REMOVABLE, and the system identifier, which is checked elsewhere.
 */
static bool is_covered(uint64_t offset)
{
    return offset % SEGMENT < 24 || offset % SEGMENT >= 36;
}

/* Every byte up to the end of the last whole record is covered by something: page headers, and some of the rest. */
START_TEST(any_flipped_byte_is_found)
{
    uint64_t offset = _i < 80 ? (uint64_t)_i % 40 + (_i < 40 ? 0 : PAGE * 130) : (uint64_t)_i * 2617 % next;

    if (!is_covered(offset))
        return;
    wal[offset] ^= 0x11;
    ck_assert_msg(!walk_both(held_of_second()), "byte %llu", (unsigned long long)offset);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

START_TEST(a_switch_ends_the_segment_with_zeros)
{
    next = 0;
    memset(wal, 0, sizeof wal);
    put_record(100, 1, 0);
    put_record(24, 0, 0x40);
    uint64_t end = next;
    next = SEGMENT;
    put_record(500, 1, 0);
    ck_assert_msg(walk_both(held_of_second()), "%s", err.message);
    walk = (struct wal_walk){0};
    wal[end + 3] = 1;
    ck_assert(!walk_both(held_of_second()));
    wal[end + 3] = 0;
    wal[3 * PAGE + 100] = 1;
    walk = (struct wal_walk){0};
    ck_assert(!walk_both(held_of_second()));
}
END_TEST

START_TEST(a_record_given_up_in_a_crash_is_passed_over)
{
    uint8_t begun[24] = {0};
    uint32_t total = 20000;

    next = 0;
    memset(wal, 0, sizeof wal);
    put_record(100, 1, 0);
    memcpy(begun, &total, 4);
    record_left = total;
    put_bytes(begun, sizeof begun);
    record_left = 0;
    next = PAGE;
    begin_page();
    ck_assert(!wal_walk_segment(&walk, wal, (uint32_t)next, first, size, &err));
    walk = (struct wal_walk){0};
    put(PAGE + 2, 0x0008, 2);
    put_record(300, 1, 0);
    ck_assert_msg(wal_walk_segment(&walk, wal, (uint32_t)next, first, size, &err), "%s", err.message);
}
END_TEST

START_TEST(a_segment_that_does_not_follow_begins_anew)
{
    struct wal_segment later = {{2}, 9};

    ck_assert(wal_walk_segment(&walk, wal, SEGMENT, first, size, &err));
    for (uint64_t page = SEGMENT; page < 2 * SEGMENT; page += PAGE)
        put(page + 8, later.number * SEGMENT + (page - SEGMENT), 8);
    ck_assert_msg(wal_walk_segment(&walk, wal + SEGMENT, held_of_second() / PAGE * PAGE, later, size, &err), "%s",
                  err.message);
}
END_TEST

START_TEST(less_than_a_page_header_is_told)
{
    static const uint32_t helds[] = {1, 7, 39};

    ck_assert(!wal_walk_segment(&walk, wal, helds[_i], first, size, &err));
}
END_TEST

START_TEST(pages_of_an_ancestor_pass_and_those_of_a_descendant_do_not)
{
    put(4, 1, 4);
    ck_assert(wal_walk_check_pages(wal, SEGMENT, first, size, &err));
    put(PAGE + 4, 3, 4);
    ck_assert(!wal_walk_check_pages(wal, SEGMENT, first, size, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "0/502000"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal_walk");

    tcase_add_checked_fixture(tests, make, NULL);
    tcase_add_loop_test(tests, sound_wal_passes_wherever_it_ends, 0, 7);
    tcase_add_test(tests, a_segment_filled_with_zeros_behind_its_last_record_passes);
    tcase_add_test(tests, the_second_segment_alone_passes_over_what_began_before);
    tcase_add_loop_test(tests, any_flipped_byte_is_found, 0, 400);
    tcase_add_test(tests, a_switch_ends_the_segment_with_zeros);
    tcase_add_test(tests, a_record_given_up_in_a_crash_is_passed_over);
    tcase_add_test(tests, a_segment_that_does_not_follow_begins_anew);
    tcase_add_loop_test(tests, less_than_a_page_header_is_told, 0, 3);
    tcase_add_test(tests, pages_of_an_ancestor_pass_and_those_of_a_descendant_do_not);
    return suite_run("wal_walk", tests);
}
