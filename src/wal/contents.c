#include "pgcoffer/wal/contents.h"

#include <stdio.h>
#include <string.h>

#include "wal/record_internal.h"

enum {
    MAGIC_OF_15 = 0xD110,
    MAGIC_OF_18 = 0xD118,
};

/* Kinds of records: access/xact.h and catalog/pg_control.h. */
enum {
    TRANSACTION_KIND_MASK = 0x70,
    TRANSACTION_HAS_INFO = 0x80,
    KIND_COMMIT = 0x00,
    KIND_ABORT = 0x20,
    KIND_COMMIT_PREPARED = 0x30,
    KIND_ABORT_PREPARED = 0x40,

    WAL_KIND_MASK = 0xF0,
    KIND_CHECKPOINT_SHUTDOWN = 0x00,
    KIND_CHECKPOINT_ONLINE = 0x10,
    KIND_RESTORE_POINT = 0x70,
    KIND_END_OF_RECOVERY = 0x90,
};

/* xl_xact_xinfo: which parts follow, in this order, but for the statistics, which stand before the invalidations. */
enum {
    HAS_DATABASE = 1 << 0,
    HAS_SUBTRANSACTIONS = 1 << 1,
    HAS_RELATIONS = 1 << 2,
    HAS_INVALIDATIONS = 1 << 3,
    HAS_PREPARED = 1 << 4,
    HAS_STATISTICS = 1 << 8,
};

/* Sizes of their elements. */
enum {
    DATABASE_SIZE = 8,
    SUBTRANSACTION_SIZE = 4,
    RELATION_SIZE = 12,
    INVALIDATION_SIZE = 16,
    STATISTIC_SIZE_UNTIL_17 = 12,
    STATISTIC_SIZE_SINCE_18 = 16,
};

/* CheckPoint; the same places in all versions. */
enum {
    CHECKPOINT_TIMELINE_AT = 8,
    CHECKPOINT_PREVIOUS_AT = 12,
    CHECKPOINT_TIME_AT = 64,
};

#define SECOND    INT64_C(1000000)
#define TIME_MOST (INT64_C(253402300799) * SECOND) /* the end of the year 9999: what RFC 3339 can say */

/* Main data, read on: beyond what is held everything is 0 and is_short is set. */
struct field_reader {
    struct wal_main_data data;
    uint64_t at;
    bool is_big_endian;
    bool is_short;
};

static const uint8_t *take(struct field_reader *reader, uint32_t size)
{
    static const uint8_t zeros[8];

    if (reader->is_short || reader->at + size > reader->data.held) {
        reader->is_short = true;
        return zeros;
    }
    reader->at += size;
    return reader->data.bytes + reader->at - size;
}

static uint32_t take_32(struct field_reader *reader)
{
    return wal_read_32(take(reader, 4), reader->is_big_endian);
}

static uint64_t take_64(struct field_reader *reader)
{
    return wal_read_64(take(reader, 8), reader->is_big_endian);
}

/* A count and as many elements. */
static void pass_over_list(struct field_reader *reader, uint32_t element_size)
{
    uint64_t count = take_32(reader);

    reader->at += count * element_size; /* what lies beyond the end shows with the next field */
}

static struct timestamp take_time(struct field_reader *reader)
{
    int64_t since_2000 = (int64_t)take_64(reader);
    struct timestamp time = {0};

    if (!reader->is_short && since_2000 > -TIME_MOST && since_2000 < TIME_MOST)
        time = timestamp_from_postgres(since_2000);
    if (time.microseconds > 0 && time.microseconds <= TIME_MOST)
        return time;
    reader->is_short = true;
    return (struct timestamp){0};
}

/* The end of a prepared transaction is written by another one, if any: its own id is the last part but name and origin.
 */
static uint32_t take_prepared(struct field_reader *reader, uint32_t parts, bool is_commit, uint16_t page_magic)
{
    if (parts & HAS_DATABASE)
        reader->at += DATABASE_SIZE;
    if (parts & HAS_SUBTRANSACTIONS)
        pass_over_list(reader, SUBTRANSACTION_SIZE);
    if (parts & HAS_RELATIONS)
        pass_over_list(reader, RELATION_SIZE);
    if ((parts & HAS_STATISTICS) && page_magic >= MAGIC_OF_15)
        pass_over_list(reader, page_magic >= MAGIC_OF_18 ? STATISTIC_SIZE_SINCE_18 : STATISTIC_SIZE_UNTIL_17);
    if ((parts & HAS_INVALIDATIONS) && is_commit)
        pass_over_list(reader, INVALIDATION_SIZE);
    if (!(parts & HAS_PREPARED))
        reader->is_short = true;
    return take_32(reader);
}

static bool read_transaction(const struct wal_record *record, struct field_reader *reader, struct wal_event *event)
{
    uint8_t kind = record->info & TRANSACTION_KIND_MASK;
    bool is_commit = kind == KIND_COMMIT || kind == KIND_COMMIT_PREPARED;
    bool is_prepared = kind == KIND_COMMIT_PREPARED || kind == KIND_ABORT_PREPARED;

    if (!is_commit && !is_prepared && kind != KIND_ABORT)
        return false;
    event->kind = is_commit ? WAL_EVENT_COMMIT : WAL_EVENT_ABORT;
    event->time = take_time(reader);
    event->transaction = record->transaction;
    if (is_prepared) {
        uint32_t parts = record->info & TRANSACTION_HAS_INFO ? take_32(reader) : 0;
        event->transaction = take_prepared(reader, parts, is_commit, record->page_magic);
    }
    /* 0: a commit that wrote nothing but has something to tell others; no target can name it. */
    event->has_transaction = !reader->is_short && event->transaction != 0;
    return true;
}

static void read_restore_point(struct field_reader *reader, struct wal_event *event)
{
    event->kind = WAL_EVENT_RESTORE_POINT;
    event->time = take_time(reader);
    if (reader->is_short || reader->data.held - reader->at < WAL_RESTORE_POINT_SIZE) {
        reader->is_short = true;
        return;
    }
    snprintf(event->name, sizeof event->name, "%.*s", WAL_RESTORE_POINT_SIZE - 1,
             (const char *)reader->data.bytes + reader->at);
}

/* pg_time_t: seconds since 1970. */
static bool read_checkpoint(struct field_reader *reader, struct wal_event *event)
{
    event->kind = WAL_EVENT_TIMELINE;
    reader->at = CHECKPOINT_TIMELINE_AT;
    event->timeline.value = take_32(reader);
    event->previous.value = take_32(reader);
    reader->at = CHECKPOINT_TIME_AT;
    int64_t seconds = (int64_t)take_64(reader);
    if (seconds > 0 && seconds <= TIME_MOST / SECOND)
        event->time.microseconds = seconds * SECOND;
    return !reader->is_short && event->timeline.value != event->previous.value;
}

static bool read_wal_record(const struct wal_record *record, struct field_reader *reader, struct wal_event *event)
{
    switch (record->info & WAL_KIND_MASK) {
    case KIND_CHECKPOINT_SHUTDOWN:
    case KIND_CHECKPOINT_ONLINE:
        return read_checkpoint(reader, event);
    case KIND_RESTORE_POINT:
        read_restore_point(reader, event);
        return true;
    case KIND_END_OF_RECOVERY:
        event->kind = WAL_EVENT_TIMELINE;
        event->time = take_time(reader);
        event->timeline.value = take_32(reader);
        event->previous.value = take_32(reader);
        return true;
    }
    return false;
}

bool wal_event_read(const struct wal_record *record, struct wal_event *ret_event)
{
    struct field_reader reader = {.is_big_endian = record->is_big_endian};

    if (record->resource_manager != WAL_MANAGER_OF_WAL && record->resource_manager != WAL_MANAGER_OF_TRANSACTIONS)
        return false;
    *ret_event = (struct wal_event){.position = record->position};
    if (!wal_record_main_data(record, &reader.data))
        reader.is_short = true;
    bool is_event = record->resource_manager == WAL_MANAGER_OF_TRANSACTIONS
                        ? read_transaction(record, &reader, ret_event)
                        : read_wal_record(record, &reader, ret_event);
    ret_event->is_whole = !reader.is_short;
    return is_event;
}

static void widen(struct timestamp *first, struct timestamp *last, struct timestamp time)
{
    if (time.microseconds == 0)
        return;
    if (first->microseconds == 0 || time.microseconds < first->microseconds)
        *first = time;
    if (last->microseconds == 0 || time.microseconds > last->microseconds)
        *last = time;
}

/* Ids go round; two of one stretch of WAL are never half a round apart. */
static bool is_before(uint32_t one, uint32_t other)
{
    return one != other && other - one < UINT32_C(1) << 31;
}

static void add_end(struct wal_contents *contents, const struct wal_event *event)
{
    widen(&contents->first_end_at, &contents->last_end_at, event->time);
    if (event->kind == WAL_EVENT_COMMIT) {
        contents->commits++;
        widen(&contents->first_commit_at, &contents->last_commit_at, event->time);
    } else {
        contents->aborts++;
    }
    if (!event->has_transaction)
        return;
    if (!contents->has_transactions)
        contents->lowest_transaction = contents->highest_transaction = event->transaction;
    contents->has_transactions = true;
    if (is_before(event->transaction, contents->lowest_transaction))
        contents->lowest_transaction = event->transaction;
    if (is_before(contents->highest_transaction, event->transaction))
        contents->highest_transaction = event->transaction;
}

static void add_point(struct wal_contents *contents, const struct wal_event *event)
{
    if (contents->point_count == WAL_CONTENTS_MOST_POINTS) {
        contents->has_more_points = true;
        return;
    }
    struct wal_contents_point *point = &contents->points[contents->point_count++];
    *point = (struct wal_contents_point){.time = event->time, .position = event->position};
    memcpy(point->name, event->name, sizeof point->name);
}

static void add_timeline(struct wal_contents *contents, const struct wal_event *event)
{
    if (contents->timeline_count == WAL_CONTENTS_MOST_TIMELINES)
        return; /* nobody looks for them by their marks; the histories tell them all */
    contents->timelines[contents->timeline_count++] = (struct wal_contents_timeline){
        .timeline = event->timeline, .previous = event->previous, .time = event->time, .position = event->position};
}

void wal_contents_add(struct wal_contents *contents, const struct wal_event *event)
{
    contents->unread += event->is_whole ? 0 : 1;
    switch (event->kind) {
    case WAL_EVENT_COMMIT:
    case WAL_EVENT_ABORT:
        add_end(contents, event);
        break;
    case WAL_EVENT_RESTORE_POINT:
        if (event->is_whole)
            add_point(contents, event);
        break;
    case WAL_EVENT_TIMELINE:
        if (event->is_whole)
            add_timeline(contents, event);
        break;
    }
}

bool wal_contents_may_have(const struct wal_contents *contents, uint32_t transaction)
{
    return contents->has_transactions &&
           transaction - contents->lowest_transaction <= contents->highest_transaction - contents->lowest_transaction;
}

static bool is_same_point(const struct wal_contents_point *one, const struct wal_contents_point *other)
{
    return strcmp(one->name, other->name) == 0 && one->time.microseconds == other->time.microseconds &&
           one->position.value == other->position.value;
}

static bool is_same_timeline(const struct wal_contents_timeline *one, const struct wal_contents_timeline *other)
{
    return one->timeline.value == other->timeline.value && one->previous.value == other->previous.value &&
           one->time.microseconds == other->time.microseconds && one->position.value == other->position.value;
}

bool wal_contents_is_same(const struct wal_contents *one, const struct wal_contents *other)
{
    if (one->commits != other->commits || one->aborts != other->aborts || one->unread != other->unread ||
        one->first_commit_at.microseconds != other->first_commit_at.microseconds ||
        one->last_commit_at.microseconds != other->last_commit_at.microseconds ||
        one->first_end_at.microseconds != other->first_end_at.microseconds ||
        one->last_end_at.microseconds != other->last_end_at.microseconds ||
        one->has_transactions != other->has_transactions || one->lowest_transaction != other->lowest_transaction ||
        one->highest_transaction != other->highest_transaction || one->point_count != other->point_count ||
        one->has_more_points != other->has_more_points || one->timeline_count != other->timeline_count)
        return false;
    for (size_t i = 0; i < one->point_count; i++)
        if (!is_same_point(&one->points[i], &other->points[i]))
            return false;
    for (size_t i = 0; i < one->timeline_count; i++)
        if (!is_same_timeline(&one->timelines[i], &other->timelines[i]))
            return false;
    return true;
}
