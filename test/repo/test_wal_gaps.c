#include "pgcoffer/repo/wal_gaps.h"

#include <dirent.h>
#include <dlfcn.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "pgcoffer/base/atomic_file.h"
#include "repo/repository.h"

#define MB UINT64_C(1048576)

static const char *missed_name; /* by whoever reads its folder: it moves on meanwhile */
static bool is_hurrying;        /* then a second passes with each look at the clock */
static time_t seconds_passed;

struct dirent *readdir(DIR *folder)
{
    static struct dirent *(*real)(DIR *);
    struct dirent *entry;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    do
        entry = real(folder);
    while (entry != NULL && missed_name != NULL && strncmp(entry->d_name, missed_name, strlen(missed_name)) == 0);
    return entry;
}

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, ret_time);

    seconds_passed += is_hurrying;
    ret_time->tv_sec += seconds_passed;
    return result;
}

static const char document[] = "wal/gaps.json";
static struct wal_gaps found;
static struct wal_ranges held;

static void make(void)
{
    repository_make();
    missed_name = NULL;
    is_hurrying = false;
    seconds_passed = 0;
    found = (struct wal_gaps){NULL, 0};
    held = (struct wal_ranges){NULL, 0};
}

static void drop(void)
{
    missed_name = NULL;
    wal_gaps_done(&found);
    wal_ranges_done(&held);
    repository_remove();
}

static void record(enum wal_gap_reason reason, uint32_t timeline, uint64_t start, uint64_t end, const char *words)
{
    struct wal_gap gap = {.timeline = {timeline}, .start = {start}, .end = {end}, .reason = reason};
    struct error err;

    snprintf(gap.words, sizeof gap.words, "%s", words);
    MUST(wal_gaps_record(&archive, &gap, &err));
}

static void look(void)
{
    struct wal_gap_record recorded SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct error err;

    wal_gaps_done(&found);
    wal_ranges_done(&held);
    MUST(wal_gaps_read(&archive, &recorded, &err));
    MUST(wal_gaps_look(&archive, &recorded, &held, &found, &err));
}

static void settle(void)
{
    struct error err;

    wal_gaps_done(&found);
    wal_ranges_done(&held);
    MUST(wal_gaps_settle(&archive, &held, &found, &err));
}

static size_t count_filled(void)
{
    struct wal_gap_record recorded SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct error err;

    MUST(wal_gaps_read(&archive, &recorded, &err));
    for (size_t i = 0; i < recorded.filled.count; i++)
        ck_assert_int_gt(recorded.filled.gaps[i].filled_at.microseconds, 0);
    return recorded.filled.count;
}

static void expect_gap(size_t number, uint32_t timeline, uint64_t start, uint64_t end, enum wal_gap_reason reason)
{
    ck_assert_uint_lt(number, found.count);
    ck_assert_uint_eq(found.gaps[number].timeline.value, timeline);
    ck_assert_uint_eq(found.gaps[number].start.value, start);
    ck_assert_uint_eq(found.gaps[number].end.value, end);
    ck_assert_str_eq(wal_gap_reason_word(found.gaps[number].reason), wal_gap_reason_word(reason));
}

static void publish(uint32_t timeline, const char *text)
{
    struct error err;

    MUST(wal_archive_write_history(&archive, (struct timeline){timeline}, text, strlen(text), &err));
}

START_TEST(an_archive_without_a_record_has_the_holes_of_its_files)
{
    hold_segment(1, 3);
    hold_segment(1, 5);
    hold_partial(1, 6, 77);
    look();
    ck_assert_uint_eq(found.count, 1);
    expect_gap(0, 1, 4 * MB, 5 * MB, WAL_GAP_MISSING);
    ck_assert_int_eq(found.gaps[0].noticed_at.microseconds, 0);
    ck_assert_uint_eq(wal_gap_segments(&found.gaps[0], archive.segment_size), 1);
    ck_assert(!repository_has(document));
}
END_TEST

START_TEST(a_hole_that_nobody_announced_is_written_down_once)
{
    struct timestamp noticed;

    hold_segment(1, 3);
    hold_segment(1, 5);
    settle();
    expect_gap(0, 1, 4 * MB, 5 * MB, WAL_GAP_MISSING);
    noticed = found.gaps[0].noticed_at;
    ck_assert_int_gt(noticed.microseconds, 0);
    settle();
    look();
    ck_assert_int_eq(found.gaps[0].noticed_at.microseconds, noticed.microseconds);
}
END_TEST

START_TEST(a_loss_is_open_until_a_byte_behind_it_is_held)
{
    hold_segment(1, 3);
    hold_partial(1, 4, 77);
    record(WAL_GAP_REMOVED, 1, 4 * MB + 77, 0, "it has already been removed");
    look();
    ck_assert_uint_eq(found.count, 1);
    expect_gap(0, 1, 4 * MB + 77, 0, WAL_GAP_REMOVED);
    ck_assert_uint_eq(wal_gap_segments(&found.gaps[0], archive.segment_size), 0);
    hold_partial(1, 9, 0);
    settle();
    expect_gap(0, 1, 4 * MB + 77, 0, WAL_GAP_REMOVED);
    hold_partial(1, 9, 1);
    look();
    expect_gap(0, 1, 4 * MB + 77, 9 * MB, WAL_GAP_REMOVED);
    settle();
    expect_gap(0, 1, 4 * MB + 77, 9 * MB, WAL_GAP_REMOVED);
    ck_assert_str_eq(found.gaps[0].words, "it has already been removed");
    ck_assert_uint_eq(wal_gap_segments(&found.gaps[0], archive.segment_size), 5);
    ck_assert_uint_eq(count_filled(), 0);
}
END_TEST

START_TEST(the_same_loss_again_changes_nothing)
{
    struct buffer first, second;

    hold_segment(1, 3);
    record(WAL_GAP_REMOVED, 1, 4 * MB, 0, "gone");
    first = repository_get(document);
    record(WAL_GAP_REMOVED, 1, 4 * MB, 0, "gone again");
    second = repository_get(document);
    ck_assert_uint_eq(first.used, second.used);
    ck_assert_int_eq(memcmp(first.bytes, second.bytes, first.used), 0);
    buffer_done(&first);
    buffer_done(&second);
}
END_TEST

START_TEST(a_stream_that_went_on_after_all_closes_the_gap)
{
    hold_segment(1, 3);
    record(WAL_GAP_REMOVED, 1, 4 * MB, 0, "gone");
    hold_segment(1, 4);
    look();
    ck_assert_uint_eq(found.count, 0);
    settle();
    ck_assert_uint_eq(found.count, 0);
    ck_assert_uint_eq(count_filled(), 1);
}
END_TEST

START_TEST(a_gap_is_filled_piece_by_piece)
{
    hold_segment(1, 3);
    hold_segment(1, 7);
    record(WAL_GAP_SLOT_LOST, 1, 4 * MB, 7 * MB, "invalidated");
    hold_segment(1, 4);
    settle();
    ck_assert_uint_eq(found.count, 1);
    expect_gap(0, 1, 5 * MB, 7 * MB, WAL_GAP_SLOT_LOST);
    hold_segment(1, 6);
    settle();
    expect_gap(0, 1, 5 * MB, 6 * MB, WAL_GAP_SLOT_LOST);
    ck_assert_uint_eq(count_filled(), 0);
    hold_segment(1, 5);
    settle();
    ck_assert_uint_eq(found.count, 0);
    ck_assert_uint_eq(count_filled(), 1);
    settle();
    ck_assert_uint_eq(count_filled(), 1);
}
END_TEST

START_TEST(files_deleted_beside_a_known_gap_have_their_own_reason)
{
    hold_segment(1, 2);
    hold_segment(1, 7);
    record(WAL_GAP_REMOVED, 1, 4 * MB, 6 * MB, "gone");
    settle();
    ck_assert_uint_eq(found.count, 3);
    expect_gap(0, 1, 3 * MB, 4 * MB, WAL_GAP_MISSING);
    expect_gap(1, 1, 4 * MB, 6 * MB, WAL_GAP_REMOVED);
    expect_gap(2, 1, 6 * MB, 7 * MB, WAL_GAP_MISSING);
    /* A reason that becomes known later takes the place of none. */
    record(WAL_GAP_DAMAGED, 1, 6 * MB, 7 * MB, "");
    look();
    expect_gap(2, 1, 6 * MB, 7 * MB, WAL_GAP_DAMAGED);
}
END_TEST

START_TEST(a_damaged_segment_is_not_held)
{
    for (uint64_t number = 3; number < 7; number++)
        hold_segment(1, number);
    record(WAL_GAP_DAMAGED, 1, 4 * MB, 5 * MB, "checksum");
    record(WAL_GAP_DAMAGED, 1, 6 * MB, 7 * MB, "checksum");
    record(WAL_GAP_DAMAGED, 1, 3 * MB, 4 * MB, "checksum");
    look();
    ck_assert_uint_eq(found.count, 2);
    expect_gap(0, 1, 3 * MB, 5 * MB, WAL_GAP_DAMAGED);
    expect_gap(1, 1, 6 * MB, 7 * MB, WAL_GAP_DAMAGED);
    ck_assert_uint_eq(held.count, 1);
    ck_assert_uint_eq(held.ranges[0].start.value, 5 * MB);
    ck_assert_uint_eq(held.ranges[0].end.value, 6 * MB);
    settle();
    ck_assert_uint_eq(found.count, 2);
}
END_TEST

static void touch(const char *name, time_t later)
{
    struct timeval times[2] = {{time(NULL) + later, 0}, {time(NULL) + later, 0}};

    ck_assert_int_eq(utimes(repository_path(name), times), 0);
}

static void write_anew(const char *name)
{
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 77);

    repository_put(name, bytes, ONE_MB);
    touch(name, 10);
}

START_TEST(a_damaged_file_is_known_again_whatever_its_time)
{
    static const char raw[] = "wal/00000001/00000000/000000010000000000000004";
    static const char compressed[] = "wal/00000001/00000000/000000010000000000000004.zst";
    struct error err;

    for (uint64_t number = 3; number < 6; number++)
        hold_segment(1, number);
    record(WAL_GAP_DAMAGED, 1, 4 * MB, 5 * MB, "checksum");
    touch(raw, 3600); /* as a copy of the repository does */
    settle();
    expect_gap(0, 1, 4 * MB, 5 * MB, WAL_GAP_DAMAGED);
    MUST(wal_archive_compress(&archive, segment_of(1, 4), 3, &err));
    touch(compressed, 7200);
    look();
    expect_gap(0, 1, 4 * MB, 5 * MB, WAL_GAP_DAMAGED);
    ck_assert_int_eq(unlink(repository_path(compressed)), 0);
    write_anew(raw);
    look();
    ck_assert_uint_eq(found.count, 0);
}
END_TEST

START_TEST(a_damaged_file_that_cannot_be_decompressed_is_known_again)
{
    static const char name[] = "wal/00000001/00000000/000000010000000000000004.zst";
    struct error err;

    for (uint64_t number = 3; number < 6; number++)
        hold_segment(1, number);
    MUST(wal_archive_compress(&archive, segment_of(1, 4), 3, &err));
    struct buffer good = repository_get(name);
    good.bytes[100] ^= 1;
    repository_put(name, good.bytes, good.used);
    record(WAL_GAP_DAMAGED, 1, 4 * MB, 5 * MB, "checksum");
    touch(name, 3600);
    look();
    expect_gap(0, 1, 4 * MB, 5 * MB, WAL_GAP_DAMAGED);
    good.bytes[100] ^= 1;
    repository_put(name, good.bytes, good.used);
    touch(name, -3600); /* put back from a copy, older than the damage */
    look();
    ck_assert_uint_eq(found.count, 0);
    buffer_done(&good);
}
END_TEST

START_TEST(without_a_digest_a_file_written_later_is_another_one)
{
    static const char text[] =
        "{\"format\":1,\"gaps\":[{\"timeline\":1,\"start\":\"0/400000\",\"end\":\"0/500000\","
        "\"reason\":\"damaged\",\"noticed_at\":\"2026-11-22T01:30:00Z\",\"words\":\"\"}],\"filled\":[]}";
    static const char name[] = "wal/00000001/00000000/000000010000000000000004";
    const struct timeval before[2] = {{1700000000, 0}, {1700000000, 0}};

    for (uint64_t number = 3; number < 6; number++)
        hold_segment(1, number);
    repository_put(document, text, strlen(text));
    ck_assert_int_eq(utimes(repository_path(name), before), 0);
    look();
    ck_assert_uint_eq(found.count, 1);
    touch(name, INT64_C(1) << 30);
    look();
    ck_assert_uint_eq(found.count, 0);
}
END_TEST

START_TEST(a_segment_that_moves_on_while_its_folder_is_read_is_not_missing)
{
    static const char *const names[] = {"000000010000000000000003", "000000010000000000000005",
                                        "000000010000000000000007"};

    for (uint64_t number = 3; number < 8; number++)
        hold_segment(1, number);
    for (size_t i = 0; i < 3; i++) {
        missed_name = names[i];
        settle();
        ck_assert_uint_eq(found.count, 0);
        ck_assert_uint_eq(held.count, 1);
        ck_assert_uint_eq(held.ranges[0].start.value, 3 * MB);
        ck_assert_uint_eq(held.ranges[0].end.value, 8 * MB);
    }
    missed_name = "00000001000000000000000"; /* all of them */
    look();
    ck_assert_uint_eq(held.count, 0);
}
END_TEST

START_TEST(of_several_that_move_on_none_is_missing_but_the_one_that_is)
{
    for (uint64_t number = 14; number < 34; number++)
        if (number != 20)
            hold_segment(1, number);
    missed_name = "00000001000000000000001"; /* 0x10 to 0x1F */
    look();
    ck_assert_uint_eq(found.count, 1);
    expect_gap(0, 1, 20 * MB, 21 * MB, WAL_GAP_MISSING);
}
END_TEST

START_TEST(nobody_who_may_only_read_can_keep_a_writer_waiting)
{
    const struct wal_gap gap = {
        .timeline = {1}, .start = {4 * MB}, .end = {5 * MB}, .reason = WAL_GAP_REMOVED, .words = ""};
    struct stat status;
    struct error err;

    hold_segment(1, 3);
    int folder SCOPED(scoped_close) = open(repository_path("wal"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(flock(folder, LOCK_EX), 0);
    MUST(wal_gaps_record(&archive, &gap, &err));
    ck_assert_int_eq(stat(repository_path("wal/gaps.lock"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    /* Another writer that hangs is not waited for without end. */
    int lock SCOPED(scoped_close) = open(repository_path("wal/gaps.lock"), O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(flock(lock, LOCK_EX), 0);
    is_hurrying = true;
    ck_assert(!wal_gaps_settle(&archive, &held, &found, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    ck_assert_msg(strstr(err.message, "wal/gaps.lock\" is locked") != NULL, "%s", err.message);
}
END_TEST

START_TEST(a_segment_that_was_found_sound_or_written_since_is_damaged_no_longer)
{
    struct error err;

    for (uint64_t number = 3; number < 7; number++)
        hold_segment(1, number);
    record(WAL_GAP_DAMAGED, 1, 3 * MB, 7 * MB, "checksum");
    MUST(wal_gaps_mend(&archive, segment_of(1, 4), &err));
    look();
    ck_assert_uint_eq(found.count, 2);
    expect_gap(0, 1, 3 * MB, 4 * MB, WAL_GAP_DAMAGED);
    expect_gap(1, 1, 5 * MB, 7 * MB, WAL_GAP_DAMAGED);
    write_anew("wal/00000001/00000000/000000010000000000000005");
    settle();
    ck_assert_uint_eq(found.count, 2);
    expect_gap(1, 1, 6 * MB, 7 * MB, WAL_GAP_DAMAGED);
    /* Found damaged again, however the clocks stand. */
    record(WAL_GAP_DAMAGED, 1, 5 * MB, 6 * MB, "checksum");
    look();
    expect_gap(1, 1, 5 * MB, 7 * MB, WAL_GAP_DAMAGED);
}
END_TEST

START_TEST(what_is_lost_at_the_end_of_a_timeline_goes_on_in_the_next)
{
    hold_segment(1, 3);
    record(WAL_GAP_REMOVED, 1, 4 * MB, 0, "gone");
    publish(2, "1\t0/600010\tno reason\n"); /* 6 MB and 16 bytes */
    look();
    expect_gap(0, 1, 4 * MB, 0, WAL_GAP_REMOVED);
    hold_partial(2, 8, 5);
    settle();
    ck_assert_uint_eq(found.count, 2);
    expect_gap(0, 1, 4 * MB, 6 * MB + 16, WAL_GAP_REMOVED);
    expect_gap(1, 2, 6 * MB, 8 * MB, WAL_GAP_REMOVED);
    ck_assert_uint_eq(count_filled(), 0);
    hold_segment(1, 4);
    hold_segment(1, 5);
    hold_partial(1, 6, 16);
    hold_segment(2, 6);
    hold_segment(2, 7);
    settle();
    ck_assert_uint_eq(found.count, 0);
    ck_assert_uint_eq(count_filled(), 2);
}
END_TEST

START_TEST(a_switch_that_is_followed_has_no_gap)
{
    hold_segment(1, 3);
    hold_partial(1, 4, 100); /* a dead branch goes on behind the fork */
    publish(2, "1\t0/400010\tno reason\n");
    hold_partial(2, 4, 16);
    look();
    ck_assert_uint_eq(found.count, 0);
}
END_TEST

START_TEST(before_the_first_byte_held_there_is_no_gap)
{
    publish(2, "1\t0/400010\tno reason\n");
    hold_segment(2, 9);
    record(WAL_GAP_REMOVED, 2, 6 * MB, 9 * MB, "gone");
    settle();
    ck_assert_uint_eq(found.count, 0);
    ck_assert_uint_eq(count_filled(), 0);
}
END_TEST

START_TEST(what_was_not_written_here_is_kept)
{
    static const char text[] =
        "{\"format\":1,\"colour\":\"red\",\"gaps\":[{\"timeline\":1,\"start\":\"0/400000\",\"end\":\"0/500000\","
        "\"reason\":\"removed\",\"noticed_at\":\"2026-11-22T01:30:00Z\",\"words\":\"gone\",\"host\":\"db1\"}]}";
    struct buffer bytes;

    hold_segment(1, 3);
    hold_segment(1, 5);
    hold_segment(1, 7);
    repository_put(document, text, strlen(text));
    settle();
    ck_assert_uint_eq(found.count, 2);
    bytes = repository_get(document);
    char *written SCOPED(scoped_free) = memory_text("%.*s", (int)bytes.used, (const char *)bytes.bytes);
    ck_assert_ptr_nonnull(strstr(written, "\"colour\":\"red\""));
    ck_assert_ptr_nonnull(strstr(written, "\"host\":\"db1\""));
    buffer_done(&bytes);
}
END_TEST

static void expect_damage(const char *text, const char *words)
{
    struct wal_gap_record recorded;
    const struct wal_gap gap = {.timeline = {1}, .start = {4 * MB}};
    struct error err;

    repository_put(document, text, strlen(text));
    ck_assert_msg(!wal_gaps_read(&archive, &recorded, &err), "%s", text);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(err.message, "wal/gaps.json\"") != NULL, "%s", err.message);
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
    ck_assert(!wal_gaps_record(&archive, &gap, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert(!wal_gaps_settle(&archive, &held, &found, &err));
}

#define ONE_GAP(members) "{\"format\":1,\"gaps\":[{" members "}]}"
START_TEST(a_broken_record_is_told_and_never_overwritten)
{
    hold_segment(1, 3);
    expect_damage("{\"format\":1,\"gaps\":[", "");
    expect_damage("", "");
    expect_damage("[]", "");
    expect_damage("{\"gaps\":[]}", "format");
    expect_damage("{\"format\":2}", "format 2");
    expect_damage("{\"format\":1,\"gaps\":{}}", "no list");
    expect_damage("{\"format\":1,\"gaps\":[7]}", "number 1");
    expect_damage("{\"format\":1,\"damaged_files\":7}", "damaged_files");
    expect_damage("{\"format\":1,\"damaged_files\":[{\"timeline\":1,\"start\":\"0/400000\",\"sha256\":\"ab\"}]}",
                  "sha256");
    expect_damage(ONE_GAP("\"timeline\":0,\"start\":\"0/1\",\"reason\":\"removed\""), "timeline");
    expect_damage(ONE_GAP("\"timeline\":1,\"start\":\"x\",\"reason\":\"removed\""), "x");
    expect_damage(ONE_GAP("\"timeline\":1,\"start\":\"0/0\",\"reason\":\"removed\""), "ends before");
    expect_damage(ONE_GAP("\"timeline\":1,\"start\":\"0/2\",\"end\":\"0/2\",\"reason\":\"removed\""), "ends before");
    expect_damage(ONE_GAP("\"timeline\":1,\"start\":\"0/2\",\"end\":7,\"reason\":\"removed\""), "end");
    expect_damage(ONE_GAP("\"timeline\":1,\"start\":\"0/2\",\"reason\":\"stolen\""), "stolen");
    expect_damage(ONE_GAP("\"timeline\":1,\"start\":\"0/2\",\"reason\":\"removed\",\"noticed_at\":\"soon\""), "soon");
}
END_TEST

/* So many of timeline 1, and so many of timeline 2, a byte each, from 0/10000 on. */
static void put_gaps(struct buffer *text, int first_count, const char *first_reason, int second_count,
                     const char *second_reason)
{
    struct error err;

    MUST(buffer_append(text, "{\"format\":1,\"gaps\":[", 20, &err));
    for (int i = 0; i < first_count + second_count; i++) {
        int number = 0x10000 + 2 * (i < first_count ? i : i - first_count);
        char gap[128];
        int size =
            snprintf(gap, sizeof gap, "%s{\"timeline\":%d,\"start\":\"0/%X\",\"end\":\"0/%X\",\"reason\":\"%s\"}",
                     i > 0 ? "," : "", i < first_count ? 1 : 2, number, number + 1,
                     i < first_count ? first_reason : second_reason);
        MUST(buffer_append(text, gap, (size_t)size, &err));
    }
    MUST(buffer_append(text, "]}", 2, &err));
}

START_TEST(a_record_without_end_is_refused)
{
    struct buffer text = BUFFER_WITH_LIMIT(1 << 20);
    struct error err;

    put_gaps(&text, WAL_GAPS_MOST, "removed", 1, "removed");
    MUST(buffer_append(&text, "", 1, &err));
    expect_damage((const char *)text.bytes, "at most");
    buffer_done(&text);
}
END_TEST

START_TEST(a_broken_record_is_set_aside_and_a_new_one_begun)
{
    char *aside SCOPED(scoped_free) = NULL;
    struct error err;

    hold_segment(1, 3);
    hold_segment(1, 5);
    repository_put(document, "{", 1);
    MUST(wal_gaps_set_aside(&archive, &aside, &err));
    ck_assert(repository_has("wal/gaps.json.suspect-1"));
    settle();
    expect_gap(0, 1, 4 * MB, 5 * MB, WAL_GAP_MISSING);
    ck_assert(repository_has(document));
    free(TAKE(aside));
    MUST(wal_gaps_set_aside(&archive, &aside, &err));
    ck_assert_ptr_null(aside);
    repository_put(document, "{\"format\":2}", 12);
    ck_assert(!wal_gaps_set_aside(&archive, &aside, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "has format 2"));
    ck_assert(repository_has(document));
}
END_TEST

START_TEST(many_gaps_stay_readable_and_those_that_files_tell_give_way)
{
    struct buffer text = BUFFER_WITH_LIMIT(1 << 20);
    struct wal_gap_record recorded SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct error err;

    put_gaps(&text, WAL_GAPS_MOST / 2, "damaged", WAL_GAPS_MOST / 2, "removed");
    repository_put(document, text.bytes, text.used);
    record(WAL_GAP_DAMAGED, 3, MB, 2 * MB, "the last");
    MUST(wal_gaps_read(&archive, &recorded, &err));
    ck_assert_uint_eq(recorded.open.count, WAL_GAPS_MOST);
    ck_assert_ptr_null(wal_gaps_at(&recorded.open, (struct timeline){2}, (struct wal_position){0x10000}));
    ck_assert_ptr_nonnull(wal_gaps_at(&recorded.open, (struct timeline){2}, (struct wal_position){0x10002}));
    ck_assert_ptr_nonnull(wal_gaps_at(&recorded.open, (struct timeline){1}, (struct wal_position){0x10000}));
    ck_assert_ptr_nonnull(wal_gaps_at(&recorded.open, (struct timeline){3}, (struct wal_position){MB}));
    buffer_done(&text);
}
END_TEST

START_TEST(what_a_killed_writer_left_is_removed_at_the_start)
{
    struct wal_segment *raw SCOPED(scoped_free) = NULL;
    size_t count;
    struct error err;

    hold_segment(1, 3);
    repository_put("wal/gaps.json.tmp", "half", 4);
    MUST(wal_archive_recover(&archive, &raw, &count, &err));
    ck_assert(!repository_has("wal/gaps.json.tmp"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal_gaps");

    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, an_archive_without_a_record_has_the_holes_of_its_files);
    tcase_add_test(tests, a_hole_that_nobody_announced_is_written_down_once);
    tcase_add_test(tests, a_loss_is_open_until_a_byte_behind_it_is_held);
    tcase_add_test(tests, the_same_loss_again_changes_nothing);
    tcase_add_test(tests, a_stream_that_went_on_after_all_closes_the_gap);
    tcase_add_test(tests, a_gap_is_filled_piece_by_piece);
    tcase_add_test(tests, files_deleted_beside_a_known_gap_have_their_own_reason);
    tcase_add_test(tests, a_damaged_segment_is_not_held);
    tcase_add_test(tests, a_damaged_file_is_known_again_whatever_its_time);
    tcase_add_test(tests, a_damaged_file_that_cannot_be_decompressed_is_known_again);
    tcase_add_test(tests, without_a_digest_a_file_written_later_is_another_one);
    tcase_add_test(tests, a_segment_that_moves_on_while_its_folder_is_read_is_not_missing);
    tcase_add_test(tests, of_several_that_move_on_none_is_missing_but_the_one_that_is);
    tcase_add_test(tests, nobody_who_may_only_read_can_keep_a_writer_waiting);
    tcase_add_test(tests, a_segment_that_was_found_sound_or_written_since_is_damaged_no_longer);
    tcase_add_test(tests, what_is_lost_at_the_end_of_a_timeline_goes_on_in_the_next);
    tcase_add_test(tests, a_switch_that_is_followed_has_no_gap);
    tcase_add_test(tests, before_the_first_byte_held_there_is_no_gap);
    tcase_add_test(tests, what_was_not_written_here_is_kept);
    tcase_add_test(tests, a_broken_record_is_told_and_never_overwritten);
    tcase_add_test(tests, a_record_without_end_is_refused);
    tcase_add_test(tests, a_broken_record_is_set_aside_and_a_new_one_begun);
    tcase_add_test(tests, many_gaps_stay_readable_and_those_that_files_tell_give_way);
    tcase_add_test(tests, what_a_killed_writer_left_is_removed_at_the_start);
    return suite_run("wal_gaps", tests);
}
