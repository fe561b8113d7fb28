#ifndef PGCOFFER_TEST_JOBS_PLAN_SCENE_H
#define PGCOFFER_TEST_JOBS_PLAN_SCENE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/serve/plan_internal.h"

/*
 * A made-up repository with segments of 1 MB. Positions are given in MB, times in seconds. Backup "a" lies on timeline
 * 1 from 10 to 12 MB and ended at second 100, "b" from 20 to 22 MB at second 200, "c" from 30 to 32 MB at second 300.
 * WAL is held from 10 to 50 MB, noted as complete until second 500, and was received long after that. In the middle of
 * each MB a transaction commits: 1010 at 10.5 MB and second 85 to 1049 at 49.5 MB and second 475. Tests change what
 * they are about.
 */
#define MB     UINT64_C(1048576)
#define SECOND INT64_C(1000000)
#define MOST   8

static struct catalogue_entry entries[MOST];
static struct catalogue catalogue;
static struct system_id current = {"7710780024945402825"};
static struct plan_timeline timelines[MOST];
static struct wal_range ranges[MOST];
static struct wal_ranges held;
static struct plan_stock stock;
static struct plan_wish wish;
static struct plan plan;
static struct error err;

static struct event {
    uint32_t timeline;
    struct wal_event event;
} events[256];
static size_t event_count;
static struct plan_found found_before; /* what every search says besides its matches */
static size_t searches;

static inline struct wal_position at(double megabytes)
{
    return (struct wal_position){(uint64_t)(megabytes * (double)MB)};
}

static inline struct timestamp second(int64_t seconds)
{
    return (struct timestamp){seconds * SECOND};
}

static inline void add_backup(const char *id, uint32_t timeline, double start, double end, int64_t stopped)
{
    struct catalogue_entry *entry = &entries[catalogue.count++];

    *entry = (struct catalogue_entry){.meta = backup_meta_new(), .system = current};
    snprintf(entry->id.text, sizeof entry->id.text, "%s", id);
    entry->meta->id = entry->id;
    entry->meta->system = current;
    entry->meta->start_timeline = entry->meta->end_timeline = (struct timeline){timeline};
    entry->meta->start_position = at(start);
    entry->meta->end_position = at(end);
    entry->meta->stopped_at = second(stopped);
}

static inline void add_timeline(uint32_t number, const char *history)
{
    struct plan_timeline *timeline = &timelines[stock.timeline_count++];

    *timeline = (struct plan_timeline){0};
    ck_assert_msg(history_parse((struct timeline){number}, history, strlen(history), &timeline->history, &err), "%s",
                  err.message);
}

static inline void hold(uint32_t timeline, double start, double end, int64_t written)
{
    ranges[held.count++] = (struct wal_range){{timeline}, at(start), at(end), second(written)};
}

static inline struct wal_event *add_event(uint32_t timeline, double place, enum wal_event_kind kind, int64_t time)
{
    struct event *entry = &events[event_count++];

    ck_assert_uint_lt(event_count, sizeof events / sizeof events[0]);
    *entry = (struct event){timeline, {.kind = kind, .position = at(place), .is_whole = true, .time = second(time)}};
    return &entry->event;
}

static inline void commit(uint32_t timeline, double place, uint32_t transaction, int64_t time)
{
    struct wal_event *event = add_event(timeline, place, WAL_EVENT_COMMIT, time);

    event->has_transaction = true;
    event->transaction = transaction;
}

static inline void add_point(uint32_t timeline, double place, const char *name)
{
    struct wal_event *event = add_event(timeline, place, WAL_EVENT_RESTORE_POINT, (int64_t)((place - 2) * 10));

    snprintf(event->name, sizeof event->name, "%s", name);
}

static inline void commit_in_each(uint32_t timeline, int first, int last)
{
    for (int megabyte = first; megabyte < last; megabyte++)
        commit(timeline, megabyte + 0.5, 1000 + (uint32_t)megabyte, (megabyte - 2) * 10 + 5);
}

static inline bool is_on_the_way(const struct plan_search *search, const struct event *entry)
{
    uint64_t position = entry->event.position.value;
    struct wal_position fork;

    if (entry->timeline < search->timeline.value ||
        !history_contains(search->history, (struct timeline){entry->timeline}))
        return false;
    if (history_switch_point(search->history, (struct timeline){entry->timeline}, &fork) && position >= fork.value)
        return false;
    return position >= search->from.value && position < search->end.value;
}

static inline bool is_held_at(const struct event *entry)
{
    for (size_t i = 0; i < held.count; i++)
        if (ranges[i].timeline.value == entry->timeline && ranges[i].start.value <= entry->event.position.value &&
            entry->event.position.value < ranges[i].end.value)
            return true;
    return false;
}

/* The events are in the order of the WAL, but for those of other timelines. */
static inline bool search_events(void *context, const struct plan_search *search, struct plan_found *ret_found,
                                 struct error *failure)
{
    (void)context;
    (void)failure;
    searches++;
    *ret_found = found_before;
    for (size_t i = 0; i < event_count; i++) {
        const struct wal_event *event = &events[i].event;
        if (!is_on_the_way(search, &events[i]) || !is_held_at(&events[i]))
            continue;
        if (plan_is_match(search->wish, event)) {
            struct plan_match match = {
                .timeline = {events[i].timeline}, .position = event->position, .time = event->time};
            snprintf(match.name, sizeof match.name, "%s", event->name);
            plan_found_add(ret_found, &match);
            if (search->is_first_enough)
                return true;
        } else if (event->time.microseconds > ret_found->last_end_at.microseconds) {
            ret_found->last_end_at = event->time;
        }
    }
    return true;
}

static inline bool find_last_event(void *context, struct timeline timeline, struct wal_position end,
                                   struct wal_position *ret_position, struct error *failure)
{
    (void)context;
    (void)failure;
    for (size_t i = 0; i < event_count; i++)
        if (events[i].timeline == timeline.value && events[i].event.position.value < end.value)
            *ret_position = events[i].event.position;
    return true;
}

static inline void know_complete(uint32_t timeline, double place, int64_t time)
{
    for (size_t i = 0; i < stock.timeline_count; i++)
        if (timelines[i].history.timeline.value == timeline)
            timelines[i].complete = (struct wal_complete){at(place), second(time)};
}

static inline void make(void)
{
    event_count = searches = 0;
    found_before = (struct plan_found){0};
    catalogue = (struct catalogue){.entries = entries, .current = current};
    held = (struct wal_ranges){.ranges = ranges};
    stock = (struct plan_stock){.server = "primary",
                                .catalogue = &catalogue,
                                .system = &current,
                                .timelines = timelines,
                                .ranges = &held,
                                .segment_size = {(uint32_t)MB},
                                .lookup = {.search = search_events, .find_last_record = find_last_event}};
    wish = (struct plan_wish){.value = ""};
    add_backup("20261122T000001Z", 1, 10, 12, 100);
    add_backup("20261122T000002Z", 1, 20, 22, 200);
    add_backup("20261122T000003Z", 1, 30, 32, 300);
    add_timeline(1, "");
    hold(1, 10, 50, 9000);
    know_complete(1, 50, 500);
    commit_in_each(1, 10, 50);
}

static inline void drop(void)
{
    for (size_t i = 0; i < catalogue.count; i++)
        backup_meta_free(entries[i].meta);
    for (size_t i = 0; i < stock.timeline_count; i++)
        history_done(&timelines[i].history);
}

/* Timeline 2 forked off at 25 MB: "c" and what follows 25 MB on timeline 1 is a dead branch. */
static inline void fork_at_25(void)
{
    add_timeline(2, "1\t0/1900000\tno reason\n");
    hold(2, 25, 60, 9000);
    know_complete(2, 60, 600);
    commit_in_each(2, 25, 60);
}

static inline void want_time(int64_t seconds)
{
    wish.target = PLAN_TIME;
    wish.value = "T";
    wish.time = second(seconds);
}

#endif
