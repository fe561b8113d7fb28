#include "pgcoffer/repo/retention.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "support/suite.h"

#define DAY    (INT64_C(86400) * 1000000)
#define HOUR   (INT64_C(3600) * 1000000)
#define MOST   64
#define GOLDEN TEST_SOURCE_DIRECTORY "/test/repo/golden/retention_year.txt"

static struct timestamp at(const char *text)
{
    struct timestamp time = {0};
    struct error err;

    ck_assert_msg(timestamp_parse(text, &time, &err), "%s", err.message);
    return time;
}

/* A history of backups, made piece by piece. */
static struct retention_backup backups[2000];
static struct retention_verdict verdicts[2000];
static size_t backup_count;
static struct retention_stock stock;
static struct retention_policy policy;

static void begin(const char *now)
{
    backup_count = 0;
    stock = (struct retention_stock){.backups = backups, .current = {"7"}, .now = at(now)};
    policy = (struct retention_policy){.days = 7, .weeks = 4, .months = 12, .years = 5, .least = 1};
}

static struct retention_backup *add(struct timestamp start, enum retention_state state)
{
    struct retention_backup *backup = &backups[backup_count];

    *backup = (struct retention_backup){.system = {"7"},
                                        .major_version = 15,
                                        .state = state,
                                        .started_at = start,
                                        .stopped_at = {start.microseconds + HOUR},
                                        .start_timeline = {1},
                                        .end_timeline = {1},
                                        .start = {(backup_count + 1) << 22},
                                        .end = {((backup_count + 1) << 22) + 4096}};
    snprintf(backup->id.text, sizeof backup->id.text, "b%zu", backup_count);
    backup_count++;
    return backup;
}

static struct retention_backup *add_at(const char *start, enum retention_state state)
{
    return add(at(start), state);
}

static void decide(void)
{
    stock.count = backup_count;
    retention_decide(&policy, &stock, verdicts);
}

static void assert_rule(size_t index, bool is_kept, enum retention_rule rule)
{
    ck_assert_msg(verdicts[index].is_kept == is_kept && verdicts[index].rule == rule, "backup %zu: %s, %s (%s)", index,
                  verdicts[index].is_kept ? "kept" : "removed", retention_rule_word(verdicts[index].rule),
                  verdicts[index].words);
    ck_assert_str_ne(verdicts[index].words, "");
}

/* ---- by name ---- */

START_TEST(a_year_of_daily_backups_under_the_default_policy)
{
    char *text = NULL, name[24];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    begin("2026-11-22T12:00:00Z");
    for (int64_t time = at("2025-11-22T01:30:00Z").microseconds; time <= stock.now.microseconds; time += DAY)
        add((struct timestamp){time}, RETENTION_COMPLETE);
    decide();
    for (size_t i = 0; i < backup_count; i++) {
        time_t seconds = (time_t)(backups[i].started_at.microseconds / 1000000);
        struct tm parts;
        strftime(name, sizeof name, "%Y%m%dT%H%M%SZ", gmtime_r(&seconds, &parts));
        if (verdicts[i].is_kept)
            fprintf(out, "%s %s: %s\n", name, retention_rule_word(verdicts[i].rule), verdicts[i].words);
    }
    fclose(out);
    if (getenv("UPDATE_GOLDEN") != NULL) {
        FILE *golden = fopen(GOLDEN, "w");
        ck_assert_ptr_nonnull(golden);
        fputs(text, golden);
        ck_assert_int_eq(fclose(golden), 0);
    }
    FILE *golden = fopen(GOLDEN, "r");
    ck_assert_msg(golden != NULL, "there is no " GOLDEN);
    char *expected SCOPED(scoped_free) = memory_new(65536);
    size_t read = fread(expected, 1, 65535, golden);
    ck_assert_int_eq(fclose(golden), 0);
    ck_assert_uint_gt(read, 0);
    ck_assert_msg(strcmp(text, expected) == 0, "differs from " GOLDEN ":\n%s", text);
    free(text);
}
END_TEST

START_TEST(of_a_week_the_last_backup_of_its_first_day_stays)
{
    begin("2026-11-22T12:00:00Z"); /* a Sunday */
    policy = (struct retention_policy){.weeks = 2, .least = 1};
    add_at("2026-11-08T23:59:59Z", RETENTION_COMPLETE); /* Sunday of the third week */
    add_at("2026-11-10T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-10T02:00:00Z", RETENTION_COMPLETE); /* nothing on Monday: the last of Tuesday */
    add_at("2026-11-11T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-16T00:00:00Z", RETENTION_COMPLETE); /* Monday */
    add_at("2026-11-17T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-22T01:00:00Z", RETENTION_COMPLETE);
    decide();
    assert_rule(0, false, RETENTION_RULE_AGED);
    assert_rule(1, false, RETENTION_RULE_AGED);
    assert_rule(2, true, RETENTION_RULE_WEEK);
    ck_assert_str_eq(verdicts[2].words, "it is the one of week 2026-W46");
    assert_rule(3, false, RETENTION_RULE_AGED);
    assert_rule(4, true, RETENTION_RULE_WEEK);
    assert_rule(5, false, RETENTION_RULE_AGED);
    assert_rule(6, true, RETENTION_RULE_LEAST);
}
END_TEST

START_TEST(weeks_go_on_over_the_turn_of_the_year)
{
    begin("2027-01-03T12:00:00Z"); /* Sunday of week 2026-W53 */
    policy = (struct retention_policy){.weeks = 1, .least = 1};
    add_at("2026-12-28T00:00:00Z", RETENTION_COMPLETE);
    add_at("2027-01-01T00:00:00Z", RETENTION_COMPLETE);
    decide();
    assert_rule(0, true, RETENTION_RULE_WEEK);
    ck_assert_str_eq(verdicts[0].words, "it is the one of week 2026-W53");
    assert_rule(1, true, RETENTION_RULE_LEAST);
}
END_TEST

START_TEST(a_count_decides_alone_and_damaged_ones_are_not_counted)
{
    begin("2026-11-22T12:00:00Z");
    policy.count = 2;
    add_at("2026-11-16T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-17T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-18T01:00:00Z", RETENTION_UNSOUND);
    add_at("2026-11-19T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-20T01:00:00Z", RETENTION_UNSOUND);
    decide();
    assert_rule(0, false, RETENTION_RULE_SURPLUS);
    assert_rule(1, true, RETENTION_RULE_COUNT);
    assert_rule(2, false, RETENTION_RULE_REPLACED);
    assert_rule(3, true, RETENTION_RULE_COUNT);
    assert_rule(4, true, RETENTION_RULE_UNSOUND);
}
END_TEST

START_TEST(whatever_its_age_the_newest_stays)
{
    begin("2099-01-01T00:00:00Z");
    policy.least = 2;
    add_at("2026-11-16T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-17T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-18T01:00:00Z", RETENTION_COMPLETE);
    decide();
    assert_rule(0, false, RETENTION_RULE_AGED);
    assert_rule(1, true, RETENTION_RULE_LEAST);
    assert_rule(2, true, RETENTION_RULE_LEAST);
}
END_TEST

START_TEST(a_backup_of_the_future_removes_nothing)
{
    begin("2026-11-22T12:00:00Z");
    policy.count = 1;
    add_at("2026-11-20T01:00:00Z", RETENTION_COMPLETE);
    add_at("2027-11-20T01:00:00Z", RETENTION_COMPLETE);
    decide();
    assert_rule(0, true, RETENTION_RULE_COUNT);
    assert_rule(1, true, RETENTION_RULE_FUTURE);
}
END_TEST

START_TEST(a_former_cluster_and_the_new_one_do_not_count_for_each_other)
{
    begin("2030-11-22T12:00:00Z");
    policy.years = 0;
    policy.least = 2;
    add_at("2026-11-18T01:00:00Z", RETENTION_COMPLETE)->major_version = 14;
    add_at("2026-11-19T01:00:00Z", RETENTION_COMPLETE)->major_version = 14;
    for (size_t i = 0; i < 2; i++)
        backups[i].system = (struct system_id){"6"};
    add_at("2030-11-21T01:00:00Z", RETENTION_COMPLETE);
    decide(); /* the new cluster has fewer than two of its own */
    assert_rule(0, true, RETENTION_RULE_LEAST);
    assert_rule(1, true, RETENTION_RULE_LEAST);
    add_at("2030-11-22T01:00:00Z", RETENTION_COMPLETE);
    decide();
    assert_rule(0, false, RETENTION_RULE_AGED);
    assert_rule(1, false, RETENTION_RULE_AGED);
    assert_rule(2, true, RETENTION_RULE_DAYS);
    policy.count = 1;
    policy.least = 1;
    decide();
    assert_rule(0, false, RETENTION_RULE_SURPLUS);
    assert_rule(1, true, RETENTION_RULE_COUNT); /* nothing of the new cluster takes its place */
    assert_rule(3, true, RETENTION_RULE_COUNT);
}
END_TEST

START_TEST(a_pin_and_a_need_keep_and_the_base_of_the_window_stays)
{
    static const char *const needed[] = {"b0"};

    begin("2026-11-22T12:00:00Z");
    policy.count = 1;
    policy.wal_seconds = 3 * 86400;
    add_at("2026-10-01T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-10-02T01:00:00Z", RETENTION_COMPLETE)->is_pinned = true;
    backups[1].required_ids = needed;
    backups[1].required_count = 1;
    add_at("2026-11-18T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-19T01:00:00Z", RETENTION_COMPLETE); /* three and a half days ago */
    add_at("2026-11-20T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-21T01:00:00Z", RETENTION_COMPLETE);
    add_at("2026-11-22T01:00:00Z", RETENTION_WAITING);
    add_at("2026-11-22T02:00:00Z", RETENTION_UNREADABLE);
    decide();
    assert_rule(0, true, RETENTION_RULE_REQUIRED);
    assert_rule(1, true, RETENTION_RULE_PINNED);
    assert_rule(2, false, RETENTION_RULE_SURPLUS);
    assert_rule(3, true, RETENTION_RULE_WINDOW);
    assert_rule(4, false, RETENTION_RULE_SURPLUS);
    assert_rule(5, true, RETENTION_RULE_COUNT);
    assert_rule(6, true, RETENTION_RULE_WAITING);
    assert_rule(7, true, RETENTION_RULE_UNREADABLE);
}
END_TEST

/* ---- thousands of histories against a slow oracle ---- */

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)(seed >> 8) * below) >> 24);
}

/* A calendar of its own: year, month and day by counting from 2010, before which no backup of these began. */
struct date {
    int year, month;
    int64_t monday; /* of its week, as days since 1970 */
};

static struct date date_of(int64_t day)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct date date = {.year = 2010, .month = 0, .monday = day - (day + 3) % 7};

    day -= 14610;
    for (;;) {
        bool is_leap = (date.year % 4 == 0 && date.year % 100 != 0) || date.year % 400 == 0;
        if (day < (is_leap ? 366 : 365)) {
            for (; day >= lengths[date.month] + (is_leap && date.month == 1); date.month++)
                day -= lengths[date.month] + (is_leap && date.month == 1);
            return date;
        }
        day -= is_leap ? 366 : 365;
        date.year++;
    }
}

enum oracle_period { ORACLE_WEEK, ORACLE_MONTH, ORACLE_YEAR };

static bool is_same_period(enum oracle_period period, int64_t one_day, int64_t other_day)
{
    struct date one = date_of(one_day), other = date_of(other_day);

    if (period == ORACLE_WEEK)
        return one.monday == other.monday;
    return one.year == other.year && (period == ORACLE_YEAR || one.month == other.month);
}

/* The first day of the last `number` periods: one day back after the other. */
static int64_t first_day_of(enum oracle_period period, int64_t today, unsigned number)
{
    int64_t day = today;

    for (unsigned seen = 1; day > 0; day--)
        if (!is_same_period(period, day, day - 1) && seen++ == number)
            break;
    return day;
}

static bool oracle_counts(size_t i)
{
    return backups[i].state == RETENTION_COMPLETE && backups[i].started_at.microseconds <= stock.now.microseconds;
}

static bool oracle_is_group(size_t i, size_t j)
{
    return strcmp(backups[i].system.text, backups[j].system.text) == 0 &&
           backups[i].major_version == backups[j].major_version;
}

/* Starts differ in these histories. */
static unsigned oracle_newer(size_t i)
{
    unsigned count = 0;

    for (size_t j = 0; j < backup_count; j++)
        count += oracle_counts(j) && oracle_is_group(i, j) &&
                 backups[j].started_at.microseconds > backups[i].started_at.microseconds;
    return count;
}

static bool oracle_period_keeps(size_t i, enum oracle_period period, unsigned number)
{
    int64_t today = stock.now.microseconds / DAY, day = backups[i].started_at.microseconds / DAY;

    if (number == 0 || day < first_day_of(period, today, number))
        return false;
    for (size_t j = 0; j < backup_count; j++) {
        int64_t other = backups[j].started_at.microseconds / DAY;
        if (!oracle_counts(j) || !oracle_is_group(i, j) || !is_same_period(period, day, other))
            continue;
        if (other < day || (other == day && backups[j].started_at.microseconds > backups[i].started_at.microseconds))
            return false;
    }
    return true;
}

static bool oracle_is_current(size_t i)
{
    size_t newest = SIZE_MAX;

    for (size_t j = 0; j < backup_count; j++)
        if (oracle_counts(j) && strcmp(backups[j].system.text, stock.current.text) == 0 &&
            (newest == SIZE_MAX || backups[j].started_at.microseconds > backups[newest].started_at.microseconds))
            newest = j;
    return newest != SIZE_MAX && oracle_is_group(i, newest);
}

static bool oracle_policy_keeps(size_t i)
{
    unsigned of_current = 0;

    for (size_t j = 0; j < backup_count; j++)
        of_current += oracle_counts(j) && oracle_is_current(j);
    if ((oracle_is_current(i) || of_current < policy.least) && oracle_newer(i) < policy.least)
        return true;
    if (policy.count > 0)
        return oracle_newer(i) < policy.count;
    return (policy.days > 0 && stock.now.microseconds - backups[i].started_at.microseconds <= policy.days * DAY) ||
           oracle_period_keeps(i, ORACLE_WEEK, policy.weeks) || oracle_period_keeps(i, ORACLE_MONTH, policy.months) ||
           oracle_period_keeps(i, ORACLE_YEAR, policy.years);
}

static bool oracle_is_base(size_t i)
{
    int64_t opens_at = stock.now.microseconds - policy.wal_seconds * 1000000;

    if (policy.wal_seconds == 0 || backups[i].stopped_at.microseconds > opens_at)
        return false;
    for (size_t j = 0; j < backup_count; j++)
        if (oracle_counts(j) && oracle_is_group(i, j) && backups[j].stopped_at.microseconds <= opens_at &&
            backups[j].started_at.microseconds > backups[i].started_at.microseconds)
            return false;
    return true;
}

static bool oracle_keeps(size_t i);

static bool oracle_is_required(size_t i)
{
    for (size_t j = 0; j < backup_count; j++)
        for (size_t k = 0; k < backups[j].required_count; k++)
            if (strcmp(backups[j].required_ids[k], backups[i].id.text) == 0 && oracle_keeps(j))
                return true;
    return false;
}

static bool oracle_keeps(size_t i)
{
    const struct retention_backup *backup = &backups[i];

    if (backup->state == RETENTION_WAITING || backup->state == RETENTION_UNREADABLE || backup->is_pinned ||
        backup->started_at.microseconds > stock.now.microseconds || oracle_is_required(i))
        return true;
    if (backup->state == RETENTION_UNSOUND)
        return oracle_newer(i) == 0 ||
               (policy.count == 0 && stock.now.microseconds - backup->started_at.microseconds <= policy.days * DAY);
    return oracle_policy_keeps(i) || oracle_is_base(i);
}

static void make_history(void)
{
    static const char *needed[MOST];
    static const int64_t spans[] = {10 * DAY, 60 * DAY, 800 * DAY, 4000 * DAY};
    int64_t span = spans[draw(4)];

    begin("2026-01-01T00:00:00Z");
    stock.now.microseconds += draw(1500) * DAY + draw(86400) * INT64_C(1000000);
    policy = (struct retention_policy){.least = 1 + draw(3)};
    if (draw(4) == 0)
        policy.count = 1 + draw(6);
    else
        policy = (struct retention_policy){draw(3) * draw(8), draw(6), draw(15), draw(6), 0, 1 + draw(3), 0};
    if (draw(2) == 0)
        policy.wal_seconds = (1 + draw(20)) * 43200;
    for (size_t i = 0, count = draw(MOST); i < count; i++) {
        /* Strictly growing within a millisecond, so that no two begin together. */
        int64_t age = (int64_t)((uint64_t)draw(1 << 24) * (uint64_t)span >> 24) / 1000 * 1000;
        struct timestamp start = {stock.now.microseconds - age + (int64_t)i};
        enum retention_state state = RETENTION_COMPLETE;
        if (draw(30) == 0)
            start.microseconds = stock.now.microseconds + DAY + (int64_t)i;
        if (draw(6) == 0)
            state = (enum retention_state)draw(4);
        struct retention_backup *backup = add(start, state);
        backup->is_pinned = draw(12) == 0;
        if (draw(5) == 0)
            backup->system = (struct system_id){"6"};
        if (draw(20) == 0)
            backup->major_version = 14;
        needed[i] = backups[draw((uint32_t)i + 1)].id.text;
        if (draw(10) == 0 && needed[i] != backup->id.text) {
            backup->required_ids = &needed[i];
            backup->required_count = 1;
        }
    }
}

START_TEST(thousands_of_histories_are_decided_as_the_oracle_does)
{
    size_t kept = 0, removed = 0;

    for (uint32_t round = 1; round <= 3000; round++) {
        seed = round;
        make_history();
        decide();
        unsigned of_current = 0, left = 0;
        for (size_t i = 0; i < backup_count; i++) {
            bool is_kept = oracle_keeps(i);
            ck_assert_msg(verdicts[i].is_kept == is_kept, "history %u, backup %zu: %s (%s), the oracle says %s", round,
                          i, verdicts[i].is_kept ? "kept" : "removed", verdicts[i].words, is_kept ? "keep" : "remove");
            ck_assert_str_ne(verdicts[i].words, "");
            of_current += oracle_counts(i) && oracle_is_current(i);
            left += oracle_counts(i) && oracle_is_current(i) && verdicts[i].is_kept;
            kept += is_kept;
            removed += !is_kept;
        }
        ck_assert_uint_ge(left, of_current < policy.least ? of_current : policy.least);
    }
    ck_assert_uint_gt(kept, 1000); /* both were really asked for */
    ck_assert_uint_gt(removed, 1000);
}
END_TEST

/* ---- WAL: thousands of archives with branches, holes and doubts ---- */

#define SEGMENT        (1 << 20)
#define MOST_TIMELINES 4
#define MOST_FILES     256

static struct wal_file wal_files[MOST_FILES];
static struct wal_files archive_files = {wal_files, 0};
static struct history histories[MOST_TIMELINES];
static struct history_entry entries[MOST_TIMELINES][MOST_TIMELINES];
static struct retention_lease lease;
static struct retention_wal wal;
static struct retention_wal_verdict wal_verdicts[MOST_FILES];
static uint64_t first_segment[MOST_TIMELINES], last_segment[MOST_TIMELINES];

static void add_timeline(uint32_t index)
{
    uint32_t parent = index > 0 ? draw(index) : 0;
    uint64_t from =
        index == 0 ? 1 : first_segment[parent] + draw((uint32_t)(last_segment[parent] - first_segment[parent] + 1));

    histories[index] = (struct history){.timeline = {index + 1}, .entries = entries[index]};
    if (index > 0) {
        histories[index].entry_count = histories[parent].entry_count + 1;
        memcpy(entries[index], entries[parent], sizeof entries[index]);
        entries[index][histories[index].entry_count - 1] =
            (struct history_entry){{parent + 1}, {from * SEGMENT + 1000}};
    }
    first_segment[index] = from;
    last_segment[index] = from + 1 + draw(30);
    bool is_old = draw(2) == 0;
    for (uint64_t number = from; number <= last_segment[index]; number++) {
        bool is_last = number == last_segment[index];
        if (draw(40) == 0)
            continue; /* a hole */
        int64_t age = (is_old ? 200 * DAY : 0) + (int64_t)(last_segment[index] - number) * DAY;
        wal_files[archive_files.count++] = (struct wal_file){.segment = {{index + 1}, number},
                                                             .state = is_last         ? WAL_FILE_PARTIAL
                                                                      : draw(30) == 0 ? WAL_FILE_RAW
                                                                                      : WAL_FILE_COMPRESSED,
                                                             .stored_bytes = 1000,
                                                             .held_bytes = is_last ? 5000 : SEGMENT,
                                                             .written_at = {stock.now.microseconds - age}};
    }
}

/* Each backup lies somewhere on a timeline; now and then its end is on a child. */
static void place_backup(struct retention_backup *backup, uint32_t timelines)
{
    uint32_t index = draw(timelines);
    uint64_t room = (last_segment[index] - first_segment[index]) * SEGMENT;

    backup->start_timeline.value = backup->end_timeline.value = index + 1;
    backup->start.value = first_segment[index] * SEGMENT + 1000 + (uint64_t)draw(1 << 20) * room / (1 << 20);
    backup->end.value = backup->start.value + 100 + draw(2 * SEGMENT);
}

static void make_archive(void)
{
    uint32_t timelines = 1 + draw(MOST_TIMELINES);

    archive_files.count = 0;
    for (uint32_t i = 0; i < timelines; i++)
        add_timeline(i);
    for (size_t i = 0; i < backup_count; i++)
        place_backup(&backups[i], timelines);
    wal = (struct retention_wal){.system = {"7"},
                                 .is_current = true,
                                 .segment_size = {SEGMENT},
                                 .files = &archive_files,
                                 .histories = histories,
                                 .history_count = timelines,
                                 .leases = &lease,
                                 .lease_count = draw(3) == 0};
    uint32_t leased = draw(timelines);
    lease = (struct retention_lease){{leased + 1}, {leased + 1}, {(first_segment[leased] + draw(20)) * SEGMENT + 5}};
}

static void assert_held_is_kept(uint32_t timeline, uint64_t position, uint32_t round, const char *whose)
{
    for (size_t i = 0; i < archive_files.count; i++)
        if (wal_files[i].segment.number == position / SEGMENT && wal_files[i].segment.timeline.value == timeline &&
            !wal_verdicts[i].is_kept)
            ck_abort_msg("archive %u: %s lacks segment %u/%llu", round, whose, timeline,
                         (unsigned long long)(position / SEGMENT));
}

/* Byte for byte, by steps of half a segment, with the timeline that wrote each. */
static void assert_way_is_kept(const struct history *history, uint64_t from, uint64_t to, uint32_t round,
                               const char *whose)
{
    for (uint64_t position = from; position < to; position += SEGMENT / 2)
        assert_held_is_kept(history_timeline_at(history, (struct wal_position){position}).value, position, round,
                            whose);
    assert_held_is_kept(history_timeline_at(history, (struct wal_position){to - 1}).value, to - 1, round, whose);
}

static bool is_base(size_t i)
{
    return oracle_counts(i) && verdicts[i].is_kept && strcmp(backups[i].system.text, "7") == 0;
}

/* Every moment since a backup that the policy keeps, or within the window, on every branch that is alive. */
static void assert_moments(uint32_t round)
{
    uint32_t highest = wal_files[archive_files.count - 1].segment.timeline.value;
    int64_t opens_at = stock.now.microseconds - policy.wal_seconds * 1000000;

    for (size_t i = 0; i < backup_count; i++)
        for (size_t t = 0; t < wal.history_count; t++) {
            bool is_on_way = history_passes(&histories[t], backups[i].start_timeline, backups[i].start) &&
                             history_passes(&histories[t], backups[i].end_timeline, backups[i].end);
            bool is_wanted = policy.wal_seconds == 0
                                 ? verdicts[i].is_counted
                                 : backups[i].stopped_at.microseconds >= opens_at && t + 1 == highest;
            if (is_base(i) && is_on_way && is_wanted)
                assert_way_is_kept(&histories[t], backups[i].start.value, last_segment[t] * SEGMENT + 1, round,
                                   "a moment");
        }
}

static void assert_expired(uint32_t round)
{
    struct wal_ranges expired;

    retention_expired(&wal, wal_verdicts, &expired);
    for (size_t i = 0; i < archive_files.count; i++) {
        uint64_t start = wal_files[i].segment.number * SEGMENT;
        bool is_in = false;
        for (size_t j = 0; j < expired.count; j++)
            is_in = is_in || (expired.ranges[j].timeline.value == wal_files[i].segment.timeline.value &&
                              start < expired.ranges[j].end.value && expired.ranges[j].start.value < start + 5000);
        if (is_in == wal_verdicts[i].is_kept)
            ck_abort_msg("archive %u, file %zu", round, i);
    }
    wal_ranges_done(&expired);
}

static struct retention_way ways[MOST_FILES];

static void find_ways(void)
{
    retention_find_ways(&policy, &wal, stock.now, ways, &stock.way_count);
    stock.ways = ways;
}

static bool is_on_way(const struct retention_way *way, size_t i)
{
    return way->history == NULL || (history_passes(way->history, backups[i].start_timeline, backups[i].start) &&
                                    history_passes(way->history, backups[i].end_timeline, backups[i].end));
}

/* What may be written now, and what was within the window, has a backup that leads to it, if it ever had one. */
static void assert_ways(uint32_t round)
{
    int64_t opens_at = stock.now.microseconds - policy.wal_seconds * 1000000;

    for (size_t w = 0; w < stock.way_count; w++) {
        unsigned had = 0, left = 0, bases_had = 0, bases_left = 0;
        for (size_t i = 0; i < backup_count; i++) {
            bool leads = oracle_counts(i) && oracle_is_current(i) && is_on_way(&ways[w], i);
            bool is_old = backups[i].stopped_at.microseconds <= opens_at;
            had += leads;
            left += leads && verdicts[i].is_kept;
            bases_had += leads && is_old;
            bases_left += leads && is_old && verdicts[i].is_kept;
        }
        if ((ways[w].is_live && left < (had < policy.least ? had : policy.least)) ||
            (policy.wal_seconds > 0 && bases_had > 0 && bases_left == 0))
            ck_abort_msg("archive %u: nothing leads to timeline %u any more", round, ways[w].timeline.value);
    }
}

/* Nothing is kept for ever: with one timeline and no doubts, what lies before every need goes. */
static size_t count_removed(uint32_t round)
{
    uint64_t first_need = wal.lease_count > 0 ? lease.start.value : UINT64_MAX;
    bool is_in_doubt = true;
    size_t removed = 0;

    for (size_t i = 0; i < backup_count; i++) {
        if (!verdicts[i].is_kept || strcmp(backups[i].system.text, "7") != 0)
            continue;
        is_in_doubt = is_in_doubt && !is_base(i);
        if (backups[i].state == RETENTION_UNREADABLE)
            first_need = 0;
        if (backups[i].start.value < first_need)
            first_need = backups[i].start.value;
    }
    for (size_t i = 0; i < archive_files.count; i++) {
        removed += !wal_verdicts[i].is_kept;
        if (wal.history_count == 1 && !is_in_doubt && wal_files[i].state == WAL_FILE_COMPRESSED &&
            (wal_files[i].segment.number + 1) * SEGMENT <= first_need && wal_verdicts[i].is_kept)
            ck_abort_msg("archive %u: nobody needs file %zu", round, i);
    }
    return removed;
}

START_TEST(no_backup_and_no_moment_that_is_kept_lacks_its_wal)
{
    size_t removed = 0;

    for (uint32_t round = 1; round <= 2000; round++) {
        seed = round;
        make_history();
        make_archive();
        if (archive_files.count == 0)
            continue;
        find_ways();
        decide();
        retention_decide_wal(&policy, &stock, verdicts, &wal, wal_verdicts);
        for (size_t i = 0; i < backup_count; i++) {
            if (!verdicts[i].is_kept || strcmp(backups[i].system.text, "7") != 0)
                continue;
            if (backups[i].state == RETENTION_COMPLETE || backups[i].state == RETENTION_UNSOUND)
                assert_way_is_kept(&histories[backups[i].end_timeline.value - 1], backups[i].start.value,
                                   backups[i].end.value, round, backups[i].id.text);
            if (backups[i].state == RETENTION_WAITING)
                assert_held_is_kept(backups[i].start_timeline.value, backups[i].start.value + SEGMENT, round,
                                    "waiting");
        }
        for (uint64_t at = lease.start.value; wal.lease_count > 0 && at < lease.start.value + 40 * SEGMENT;
             at += SEGMENT)
            assert_held_is_kept(lease.timeline.value, at, round, "a lease");
        for (size_t i = 0; i < archive_files.count; i++)
            if (wal_files[i].state != WAL_FILE_COMPRESSED && !wal_verdicts[i].is_kept)
                ck_abort_msg("archive %u: file %zu is unfinished", round, i);
        assert_moments(round);
        assert_ways(round);
        assert_expired(round);
        removed += count_removed(round);
    }
    ck_assert_uint_gt(removed, 1000);
}
END_TEST

/* Timeline 2 forked off at 25 MiB; what was backed up later on timeline 1 leads nobody to it. */
static void begin_fork(void)
{
    static struct history_entry fork = {{1}, {25 << 20}};

    begin("2026-11-22T12:00:00Z");
    policy = (struct retention_policy){.count = 1, .least = 1};
    archive_files.count = 0;
    for (uint32_t number = 1; number < 40; number++)
        wal_files[archive_files.count++] =
            (struct wal_file){.segment = {{number <= 32 ? 1 : 2}, number <= 32 ? number : number - 8},
                              .state = WAL_FILE_COMPRESSED,
                              .held_bytes = SEGMENT,
                              .written_at = {stock.now.microseconds - (40 - number) * DAY}};
    histories[0] = (struct history){.timeline = {1}};
    histories[1] = (struct history){.timeline = {2}, .entries = &fork, .entry_count = 1};
    wal = (struct retention_wal){.system = {"7"},
                                 .is_current = true,
                                 .segment_size = {SEGMENT},
                                 .files = &archive_files,
                                 .histories = histories,
                                 .history_count = 2};
    for (int i = 0; i < 3; i++) {
        struct retention_backup *backup =
            add((struct timestamp){stock.now.microseconds - (30 - 10 * i) * DAY}, RETENTION_COMPLETE);
        backup->start.value = (uint64_t)(10 * i + 10) << 20; /* 10, 20, 30: the last one is behind the fork */
        backup->end.value = backup->start.value + 4096;
    }
}

static struct retention_wal_verdict *of_segment(uint32_t timeline, uint64_t number)
{
    for (size_t i = 0; i < archive_files.count; i++)
        if (wal_files[i].segment.timeline.value == timeline && wal_files[i].segment.number == number)
            return &wal_verdicts[i];
    ck_abort_msg("there is no segment %u/%llu", timeline, (unsigned long long)number);
}

START_TEST(the_only_backups_before_a_fork_stay_though_others_are_newer)
{
    begin_fork();
    find_ways();
    decide();
    assert_rule(0, false, RETENTION_RULE_SURPLUS);
    assert_rule(1, true, RETENTION_RULE_LEAST);
    ck_assert_str_eq(verdicts[1].words, "it is one of the newest on the way to timeline 2 (retention_min = 1)");
    assert_rule(2, true, RETENTION_RULE_COUNT);
    retention_decide_wal(&policy, &stock, verdicts, &wal, wal_verdicts);
    ck_assert(!of_segment(1, 19)->is_kept);
    ck_assert(of_segment(1, 20)->is_kept && of_segment(2, 25)->is_kept && of_segment(2, 31)->is_kept);
    /* As long as nobody can say where it forked off, none goes. */
    wal.history_count = 1;
    find_ways();
    decide();
    assert_rule(0, true, RETENTION_RULE_LEAST);
    assert_rule(1, true, RETENTION_RULE_LEAST);
}
END_TEST

START_TEST(each_branch_of_the_window_keeps_the_backup_that_leads_to_it)
{
    begin_fork();
    policy.wal_seconds = 9 * 86400; /* the last one on timeline 1, ten days ago, is of no use to timeline 2 */
    struct retention_backup *fresh = add((struct timestamp){stock.now.microseconds - DAY}, RETENTION_COMPLETE);
    fresh->start_timeline.value = fresh->end_timeline.value = 2;
    fresh->start.value = 30 << 20;
    fresh->end.value = fresh->start.value + 4096;
    find_ways();
    decide();
    assert_rule(0, false, RETENTION_RULE_SURPLUS);
    assert_rule(1, true, RETENTION_RULE_WINDOW);
    assert_rule(3, true, RETENTION_RULE_COUNT);
    retention_decide_wal(&policy, &stock, verdicts, &wal, wal_verdicts);
    ck_assert(of_segment(1, 20)->is_kept && of_segment(2, 25)->is_kept && of_segment(2, 29)->is_kept);
}
END_TEST

START_TEST(a_server_that_went_back_to_an_older_timeline_keeps_its_wal_before_its_first_backup)
{
    begin_fork();
    backup_count = 0;
    struct retention_backup *branch = add((struct timestamp){stock.now.microseconds - DAY}, RETENTION_COMPLETE);
    branch->start_timeline.value = branch->end_timeline.value = 2;
    branch->start.value = 30 << 20;
    branch->end.value = branch->start.value + 4096;
    of_segment(1, 32);
    wal_files[31].written_at = stock.now; /* segment 32 of timeline 1 */
    find_ways();
    decide();
    retention_decide_wal(&policy, &stock, verdicts, &wal, wal_verdicts);
    ck_assert(of_segment(1, 32)->is_kept);
    ck_assert_int_eq(of_segment(1, 32)->rule, RETENTION_WAL_NO_BASE);
    wal_files[31].written_at.microseconds -= 100 * DAY;
    retention_decide_wal(&policy, &stock, verdicts, &wal, wal_verdicts);
    ck_assert(!of_segment(1, 32)->is_kept);
}
END_TEST

START_TEST(what_is_being_read_keeps_all_wal_behind_it)
{
    begin_fork();
    decide();
    retention_decide_wal(&policy, &stock, verdicts, &wal, wal_verdicts);
    ck_assert(!of_segment(1, 15)->is_kept);
    verdicts[0] = (struct retention_verdict){.is_kept = true, .rule = RETENTION_RULE_IN_USE};
    retention_decide_wal(&policy, &stock, verdicts, &wal, wal_verdicts);
    ck_assert(!of_segment(1, 9)->is_kept);
    for (size_t i = 9; i < archive_files.count; i++)
        ck_assert(wal_verdicts[i].is_kept);
}
END_TEST

START_TEST(of_a_former_cluster_without_backups_the_wal_goes_and_of_the_present_one_it_stays)
{
    begin("2026-11-22T12:00:00Z");
    seed = 7;
    make_archive();
    decide();
    wal.lease_count = 0;
    retention_decide_wal(&policy, &stock, verdicts, &wal, wal_verdicts);
    for (size_t i = 0; i < archive_files.count; i++)
        ck_assert_int_eq(wal_verdicts[i].rule, RETENTION_WAL_NO_BASE);
    wal.is_current = false;
    retention_decide_wal(&policy, &stock, verdicts, &wal, wal_verdicts);
    for (size_t i = 0; i < archive_files.count; i++) {
        ck_assert(!wal_verdicts[i].is_kept);
        ck_assert_int_eq(wal_verdicts[i].rule, RETENTION_WAL_ABANDONED);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("retention");

    tcase_add_test(tests, a_year_of_daily_backups_under_the_default_policy);
    tcase_add_test(tests, of_a_week_the_last_backup_of_its_first_day_stays);
    tcase_add_test(tests, weeks_go_on_over_the_turn_of_the_year);
    tcase_add_test(tests, a_count_decides_alone_and_damaged_ones_are_not_counted);
    tcase_add_test(tests, whatever_its_age_the_newest_stays);
    tcase_add_test(tests, a_backup_of_the_future_removes_nothing);
    tcase_add_test(tests, a_former_cluster_and_the_new_one_do_not_count_for_each_other);
    tcase_add_test(tests, a_pin_and_a_need_keep_and_the_base_of_the_window_stays);
    tcase_add_test(tests, thousands_of_histories_are_decided_as_the_oracle_does);
    tcase_add_test(tests, no_backup_and_no_moment_that_is_kept_lacks_its_wal);
    tcase_add_test(tests, the_only_backups_before_a_fork_stay_though_others_are_newer);
    tcase_add_test(tests, each_branch_of_the_window_keeps_the_backup_that_leads_to_it);
    tcase_add_test(tests, a_server_that_went_back_to_an_older_timeline_keeps_its_wal_before_its_first_backup);
    tcase_add_test(tests, what_is_being_read_keeps_all_wal_behind_it);
    tcase_add_test(tests, of_a_former_cluster_without_backups_the_wal_goes_and_of_the_present_one_it_stays);
    return suite_run("retention", tests);
}
