#include <stdio.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/file.h"
#include "support/suite.h"
#include "support/wal_piece.h"

/* Beginnings of segments that PostgreSQL 13 to 18 wrote: under load, after a switch, after a crash, at a fork. */
#define PIECES TEST_SOURCE_DIRECTORY "/test/fuzz/corpus/wal_record/"

static struct buffer bytes;
static struct wal_piece piece;
static struct wal_record_end end;
static struct error err;

static void load(const char *name)
{
    char path[512];

    snprintf(path, sizeof path, PIECES "%s", name);
    bytes = BUFFER_WITH_LIMIT(1 << 20);
    ck_assert_msg(file_read_whole(path, &bytes, &err), "%s", err.message);
    piece = wal_piece_of(bytes.bytes, bytes.used);
}

static bool count_commits(void *context, const struct wal_record *record, struct error *failure)
{
    (void)failure;
    *(unsigned *)context += record->resource_manager == 1 && (record->info & 0x70) == 0;
    return true;
}

START_TEST(segments_under_load_are_records_to_the_end)
{
    for (int version = 13; version <= 18; version++) {
        char name[16];
        unsigned commits = 0;
        snprintf(name, sizeof name, "load_%d", version);
        load(name);
        ck_assert_msg(wal_piece_read(&piece, 4096, count_commits, &commits, &end, &err), "%s: %s", name, err.message);
        uint64_t start = piece.number * piece.segment_size.bytes;
        ck_assert_uint_lt(end.checked_from.value, start + 8192);
        ck_assert_uint_gt(end.checked_to.value, start + 8192);
        ck_assert_uint_gt(end.record_count, 20);
        ck_assert_uint_gt(commits, 0);
        ck_assert(!end.ends_in_zeros);
        buffer_done(&bytes);
    }
}
END_TEST

START_TEST(what_follows_a_switch_or_a_crash_is_read)
{
    static const char *const kinds[] = {"switch", "lost"};

    for (int version = 13; version <= 18; version++)
        for (size_t i = 0; i < 2; i++) {
            char name[16];
            snprintf(name, sizeof name, "%s_%d", kinds[i], version);
            load(name);
            ck_assert_msg(wal_piece_read(&piece, 7, NULL, NULL, &end, &err), "%s: %s", name, err.message);
            ck_assert_uint_eq(end.checked_from.value, piece.number * piece.segment_size.bytes + 40);
            ck_assert_uint_gt(end.record_count, 0);
            ck_assert(!end.ends_in_zeros);
            buffer_done(&bytes);
        }
}
END_TEST

START_TEST(a_fork_leaves_pages_of_both_timelines)
{
    struct history_entry fork = {{1}, {0x7E000A0}};

    load("fork_15");
    piece.history = (struct history){.timeline = {2}, .entries = &fork, .entry_count = 1};
    ck_assert_msg(wal_piece_read(&piece, 4096, NULL, NULL, &end, &err), "%s", err.message);
    fork.switched_at.value = 0x7E02000;
    ck_assert_msg(wal_piece_read(&piece, 4096, NULL, NULL, &end, &err), "%s", err.message);
    fork.switched_at.value++;
    ck_assert(!wal_piece_read(&piece, 4096, NULL, NULL, &end, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "0/7E02000 is damaged: it is of timeline 2, not 1"));
    buffer_done(&bytes);
}
END_TEST

static void flip(size_t at, int bit)
{
    bytes.bytes[at] ^= (uint8_t)(1 << bit);
}

START_TEST(flipped_bits_of_real_wal_are_found)
{
    char name[16];

    snprintf(name, sizeof name, "load_%d", _i);
    load(name);
    uint64_t start = piece.number * piece.segment_size.bytes;
    ck_assert(wal_piece_read(&piece, bytes.used, NULL, NULL, &end, &err));
    size_t from = (size_t)(end.checked_from.value - start), to = (size_t)(end.checked_to.value - start);
    for (size_t at = from, step = 0; at < to; at += at % 8192 < 64 ? 1 : 5, step++) {
        if (at % 8192 == 2 && step % 8 == 2)
            continue; /* XLP_BKP_REMOVABLE */
        flip(at, (int)(step % 8));
        ck_assert_msg(!wal_piece_read(&piece, bytes.used, NULL, NULL, &end, &err), "%s, byte %zu", name, at);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        flip(at, (int)(step % 8));
    }
    buffer_done(&bytes);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("real_wal");

    tcase_add_test(tests, segments_under_load_are_records_to_the_end);
    tcase_add_test(tests, what_follows_a_switch_or_a_crash_is_read);
    tcase_add_test(tests, a_fork_leaves_pages_of_both_timelines);
    tcase_add_loop_test(tests, flipped_bits_of_real_wal_are_found, 13, 19);
    return suite_run("real_wal", tests);
}
