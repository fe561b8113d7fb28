#include "pgcoffer/wal/contents.h"

#include <stdio.h>

#include "wal/wal_builder.h"

/* Records as versions 13 to 18 write them, in both byte orders. */

#define SINCE_2000 INT64_C(817000000123456) /* a moment of November 2025 */
#define UNIX_TIME  (SINCE_2000 + INT64_C(946684800000000))

static const uint16_t magics[] = {0xD106, 0xD10D, 0xD110, 0xD113, 0xD116, 0xD118};

/* Main data being put together. */
static struct {
    uint8_t bytes[100000];
    uint32_t size;
    bool is_big_endian;
} body;

static struct wal_event event;
static struct wal_record record;

static void begin(bool is_big_endian)
{
    body.size = 0;
    body.is_big_endian = is_big_endian;
}

static void put(unsigned size, uint64_t number)
{
    for (unsigned i = 0; i < size; i++)
        body.bytes[body.size + (body.is_big_endian ? size - 1 - i : i)] = (uint8_t)(number >> 8 * i);
    body.size += size;
}

/* A list of `count` elements of noise. */
static void put_list(uint32_t count, uint32_t element_size)
{
    put(4, count);
    for (uint32_t i = 0; i < count * element_size; i++)
        body.bytes[body.size++] = (uint8_t)(i * 37 + 11);
}

/* With the headers of main data, of an origin and of a top transaction in front; `held` bytes of it are there. */
static bool read_held(uint8_t manager, uint8_t info, uint16_t magic, uint32_t held)
{
    static uint8_t bytes[sizeof body.bytes + 16];
    uint32_t size = 0;

    bytes[size++] = 253;
    size += 2;
    bytes[size++] = 252;
    size += 4;
    bytes[size++] = body.size < 256 ? 255 : 254;
    for (unsigned i = 0, width = body.size < 256 ? 1 : 4; i < width; i++)
        bytes[size + (body.is_big_endian ? width - 1 - i : i)] = (uint8_t)(body.size >> 8 * i);
    size += body.size < 256 ? 1 : 4;
    memcpy(bytes + size, body.bytes, body.size);
    size += body.size;
    held = held < size ? held : size;
    uint8_t *exact = malloc(held + 1); /* so that a byte too far is seen */
    memcpy(exact, bytes, held);
    record = (struct wal_record){.position = {0x1000028},
                                 .transaction = 4711,
                                 .resource_manager = manager,
                                 .info = info,
                                 .is_big_endian = body.is_big_endian,
                                 .page_magic = magic,
                                 .data = exact,
                                 .data_held = held,
                                 .data_size = size};
    bool is_event = wal_event_read(&record, &event);
    free(exact);
    return is_event;
}

static bool read_all(uint8_t manager, uint8_t info, uint16_t magic)
{
    return read_held(manager, info, magic, UINT32_MAX);
}

static void expect_end(enum wal_event_kind kind, uint32_t transaction)
{
    ck_assert_int_eq(event.kind, kind);
    ck_assert(event.is_whole && event.has_transaction);
    ck_assert_uint_eq(event.transaction, transaction);
    ck_assert_int_eq(event.time.microseconds, UNIX_TIME);
    ck_assert_uint_eq(event.position.value, 0x1000028);
}

START_TEST(the_end_of_a_transaction_has_its_time_and_its_id)
{
    begin(_i % 2);
    put(8, SINCE_2000);
    ck_assert(read_all(1, 0x00, magics[_i]));
    expect_end(WAL_EVENT_COMMIT, 4711);
    ck_assert(read_all(1, 0x20, magics[_i]));
    expect_end(WAL_EVENT_ABORT, 4711);
    put(4, 2);
    put_list(3, 4);
    ck_assert(read_all(1, 0x80, magics[_i]));
    expect_end(WAL_EVENT_COMMIT, 4711);
}
END_TEST

/* Everything a commit may carry, before what tells whose end it is. */
static void put_prepared(uint16_t magic, bool is_commit, uint32_t elements, bool is_big_endian)
{
    bool has_statistics = magic >= 0xD110;

    begin(is_big_endian);
    put(8, SINCE_2000);
    put(4, 1 | 2 | 4 | 16 | 32 | 128 | (is_commit ? 8 : 0) | (has_statistics ? 256 : 0));
    put(8, 0x1122334455667788);
    put_list(elements, 4);
    put_list(elements / 2, 12);
    if (has_statistics)
        put_list(elements / 3, magic >= 0xD118 ? 16 : 12);
    if (is_commit)
        put_list(elements / 4, 16);
    put(4, 815);
    memcpy(body.bytes + body.size, "a name", 7);
    body.size += 7;
    put(8, 0x99);
    put(8, SINCE_2000 - 5);
}

START_TEST(the_end_of_a_prepared_transaction_has_its_own_id)
{
    static const uint32_t elements[] = {0, 1, 7, 4096};

    for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++)
        for (int is_big_endian = 0; is_big_endian < 2; is_big_endian++) {
            put_prepared(magics[_i], true, elements[i], is_big_endian);
            ck_assert(read_all(1, 0xB0, magics[_i]));
            expect_end(WAL_EVENT_COMMIT, 815);
            put_prepared(magics[_i], false, elements[i], is_big_endian);
            ck_assert(read_all(1, 0xC0, magics[_i]));
            expect_end(WAL_EVENT_ABORT, 815);
        }
}
END_TEST

START_TEST(what_is_cut_off_is_not_whole_and_never_read)
{
    put_prepared(0xD110, true, 7, false);
    for (uint32_t held = 0; held < body.size + 10 - 27; held++) { /* 27 bytes follow the id */
        ck_assert(read_held(1, 0xB0, 0xD110, held));
        ck_assert(!event.is_whole && !event.has_transaction);
        ck_assert_int_eq(event.time.microseconds, held < 8 + 10 ? 0 : UNIX_TIME);
    }
    ck_assert(read_held(1, 0xB0, 0xD110, body.size + 10));
    expect_end(WAL_EVENT_COMMIT, 815);

    begin(false); /* an element count beyond everything */
    put(8, SINCE_2000);
    put(4, 2 | 16);
    put(4, UINT32_MAX);
    put(4, 815);
    ck_assert(read_all(1, 0xB0, 0xD110));
    ck_assert(!event.is_whole && !event.has_transaction);
    begin(false); /* a prepared transaction's end that does not tell whose */
    put(8, SINCE_2000);
    ck_assert(read_all(1, 0x30, 0xD110));
    ck_assert(!event.is_whole && !event.has_transaction);
}
END_TEST

START_TEST(other_records_are_no_events)
{
    begin(false);
    put(8, SINCE_2000);
    put(4, 0);
    ck_assert(!read_all(1, 0x10, 0xD110)); /* prepare */
    ck_assert(!read_all(1, 0x50, 0xD110)); /* assignment */
    ck_assert(!read_all(1, 0xE0, 0xD110)); /* invalidations */
    ck_assert(!read_all(2, 0x00, 0xD110));
    ck_assert(!read_all(0, 0x40, 0xD110)); /* switch */
    ck_assert(!read_all(0, 0x20, 0xD110)); /* nothing */
}
END_TEST

START_TEST(a_time_beyond_all_calendars_is_none)
{
    static const int64_t times[] = {INT64_MAX, INT64_MIN, INT64_C(300000000000000000), INT64_C(-946684800000001)};

    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        begin(false);
        put(8, (uint64_t)times[i]);
        ck_assert(read_all(1, 0x00, 0xD110));
        ck_assert(!event.is_whole);
        ck_assert_int_eq(event.time.microseconds, 0);
    }
}
END_TEST

static void put_name(const char *name)
{
    begin(false);
    put(8, SINCE_2000);
    memset(body.bytes + body.size, 0, 64);
    memcpy(body.bytes + body.size, name, strlen(name));
    body.size += 64;
}

START_TEST(a_restore_point_has_a_name)
{
    char longest[64];

    put_name("before the mistake");
    ck_assert(read_all(0, 0x70, 0xD110));
    ck_assert_int_eq(event.kind, WAL_EVENT_RESTORE_POINT);
    ck_assert_str_eq(event.name, "before the mistake");
    ck_assert_int_eq(event.time.microseconds, UNIX_TIME);
    memset(longest, 'x', 63);
    longest[63] = '\0';
    put_name(longest);
    body.bytes[body.size - 1] = 'y'; /* no NUL at the end */
    ck_assert(read_all(0, 0x70, 0xD110));
    ck_assert_str_eq(event.name, longest);
    body.size--;
    ck_assert(read_all(0, 0x70, 0xD110));
    ck_assert(!event.is_whole);
    ck_assert_str_eq(event.name, "");
}
END_TEST

START_TEST(a_timeline_begins_with_a_mark_or_with_its_first_checkpoint)
{
    begin(_i % 2);
    put(8, SINCE_2000);
    put(4, 5);
    put(4, 3);
    if (magics[_i] >= 0xD116)
        put(4, 1);
    ck_assert(read_all(0, 0x90, magics[_i]));
    ck_assert_int_eq(event.kind, WAL_EVENT_TIMELINE);
    ck_assert_uint_eq(event.timeline.value, 5);
    ck_assert_uint_eq(event.previous.value, 3);
    ck_assert_int_eq(event.time.microseconds, UNIX_TIME);

    for (uint32_t previous = 4; previous <= 5; previous++) {
        begin(_i % 2);
        put(8, 0x1000000);
        put(4, 5);
        put(4, previous);
        for (int i = 0; i < 6; i++)
            put(8, 0x0101010101010101);
        put(8, UNIX_TIME / 1000000);
        put(8, 0);
        put(8, 0);
        ck_assert_int_eq(read_all(0, previous % 2 ? 0x10 : 0x00, magics[_i]), previous == 4);
    }
    ck_assert_int_eq(event.time.microseconds, UNIX_TIME / 1000000 * 1000000);
    ck_assert_uint_eq(event.timeline.value, 5);
}
END_TEST

/* ---- sums ---- */

static void add_end(struct wal_contents *contents, enum wal_event_kind kind, uint32_t transaction, int64_t time)
{
    const struct wal_event end = {
        .kind = kind, .is_whole = true, .time = {time}, .has_transaction = true, .transaction = transaction};

    wal_contents_add(contents, &end);
}

START_TEST(times_are_the_earliest_and_the_latest_whatever_their_place)
{
    struct wal_contents contents = {.commits = 0};

    add_end(&contents, WAL_EVENT_COMMIT, 10, 2000);
    add_end(&contents, WAL_EVENT_COMMIT, 9, 1000);
    add_end(&contents, WAL_EVENT_ABORT, 12, 4000);
    add_end(&contents, WAL_EVENT_COMMIT, 11, 3000);
    ck_assert_uint_eq(contents.commits, 3);
    ck_assert_uint_eq(contents.aborts, 1);
    ck_assert_int_eq(contents.first_commit_at.microseconds, 1000);
    ck_assert_int_eq(contents.last_commit_at.microseconds, 3000);
    ck_assert_int_eq(contents.first_end_at.microseconds, 1000);
    ck_assert_int_eq(contents.last_end_at.microseconds, 4000);
    ck_assert_uint_eq(contents.lowest_transaction, 9);
    ck_assert_uint_eq(contents.highest_transaction, 12);
}
END_TEST

START_TEST(ids_of_transactions_go_round)
{
    struct wal_contents contents = {.commits = 0};

    ck_assert(!wal_contents_may_have(&contents, 0));
    add_end(&contents, WAL_EVENT_COMMIT, 5, 1000);
    add_end(&contents, WAL_EVENT_COMMIT, UINT32_MAX - 3, 1000);
    add_end(&contents, WAL_EVENT_COMMIT, 12, 1000);
    ck_assert_uint_eq(contents.lowest_transaction, UINT32_MAX - 3);
    ck_assert_uint_eq(contents.highest_transaction, 12);
    ck_assert(wal_contents_may_have(&contents, UINT32_MAX));
    ck_assert(wal_contents_may_have(&contents, 7));
    ck_assert(!wal_contents_may_have(&contents, 13));
    ck_assert(!wal_contents_may_have(&contents, UINT32_MAX - 4));
}
END_TEST

START_TEST(more_restore_points_than_are_kept_are_said_to_be_there)
{
    static struct wal_contents contents, other;
    struct wal_event point = {.kind = WAL_EVENT_RESTORE_POINT, .is_whole = true, .time = {1000}};

    contents = other = (struct wal_contents){.commits = 0};
    for (int i = 0; i < WAL_CONTENTS_MOST_POINTS; i++) {
        snprintf(point.name, sizeof point.name, "point %d", i);
        wal_contents_add(&contents, &point);
    }
    ck_assert(!contents.has_more_points);
    other = contents;
    ck_assert(wal_contents_is_same(&contents, &other));
    wal_contents_add(&contents, &point);
    ck_assert(contents.has_more_points);
    ck_assert_uint_eq(contents.point_count, WAL_CONTENTS_MOST_POINTS);
    ck_assert(!wal_contents_is_same(&contents, &other));
    other = contents;
    other.points[63].name[0] = 'q';
    ck_assert(!wal_contents_is_same(&contents, &other));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("contents");

    tcase_add_loop_test(tests, the_end_of_a_transaction_has_its_time_and_its_id, 0, 6);
    tcase_add_loop_test(tests, the_end_of_a_prepared_transaction_has_its_own_id, 0, 6);
    tcase_add_test(tests, what_is_cut_off_is_not_whole_and_never_read);
    tcase_add_test(tests, other_records_are_no_events);
    tcase_add_test(tests, a_time_beyond_all_calendars_is_none);
    tcase_add_test(tests, a_restore_point_has_a_name);
    tcase_add_loop_test(tests, a_timeline_begins_with_a_mark_or_with_its_first_checkpoint, 0, 6);
    tcase_add_test(tests, times_are_the_earliest_and_the_latest_whatever_their_place);
    tcase_add_test(tests, ids_of_transactions_go_round);
    tcase_add_test(tests, more_restore_points_than_are_kept_are_said_to_be_there);
    return suite_run("contents", tests);
}
