#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/check/store_internal.h"
#include "jobs/gap_told_internal.h"
#include "jobs/reach_internal.h"
#include "pgcoffer/base/memory.h"

static void scoped_history(struct history *history)
{
    history_done(history);
}

void stored_wal_done(struct stored_wal *wal)
{
    if (wal->is_open) {
        wal_ranges_done(&wal->ranges);
        wal_gaps_done(&wal->gaps);
    }
    *wal = (struct stored_wal){.is_open = false};
}

static bool open_archive(struct stored_wal *wal, const struct store *store, const struct system_id *system)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct error *err = &wal->failure;

    if (!wal_archive_open(store->repo, store->server, system, (struct wal_segment_size){0}, &wal->archive, err))
        return false;
    if (wal->archive.segment_size.bytes == 0)
        return error_set(err, ERROR_INTEGRITY, "no WAL was ever stored of system %s", system->text);
    wal->is_record_broken = !wal_gaps_read(&wal->archive, &record, &wal->record_failure);
    return wal_gaps_look(&wal->archive, wal->is_record_broken ? NULL : &record, &wal->ranges, &wal->gaps, err);
}

bool stored_wal_open(struct stored_wal *wal, const struct store *store, const struct system_id *system)
{
    if (strcmp(wal->system.text, system->text) == 0)
        return wal->is_open;
    stored_wal_done(wal);
    wal->system = *system;
    wal->is_open = open_archive(wal, store, system);
    return wal->is_open;
}

bool stored_wal_has(const struct stored_wal *wal, const struct backup_meta *meta, char *ret_missing, size_t size)
{
    struct history history SCOPED(scoped_history) = {.entries = NULL};
    struct timeline timeline = {0};
    struct wal_position position = {0};
    char place[REACH_PLACE_SIZE];
    struct error err;

    if (!wal_archive_history(&wal->archive, meta->end_timeline, &history, &err)) {
        snprintf(ret_missing, size, "the history of timeline %" PRIu32 " (%s)", meta->end_timeline.value, err.message);
        return false;
    }
    if (wal_ranges_cover(&wal->ranges, &history, meta->start_timeline, meta->start_position, meta->end_position,
                         wal->archive.segment_size, &timeline, &position))
        return true;
    reach_format_place(timeline, position, wal->archive.segment_size, place);
    snprintf(ret_missing, size, "%s", place);
    return false;
}

/* ---- wal.continuity ---- */

/* The highest timeline the backup lies on the way to: what a restore follows unless told otherwise. */
static bool find_history(const struct stored_wal *wal, const struct backup_meta *meta, struct history *ret_history,
                         struct error *err)
{
    struct timeline *timelines SCOPED(scoped_free) = NULL;
    size_t count = 0;

    if (!wal_archive_timelines(&wal->archive, &timelines, &count, err))
        return false;
    while (count-- > 0) {
        struct history history = {.entries = NULL};
        if (!wal_archive_history(&wal->archive, timelines[count], &history, err)) {
            if (err->errnum != ENOENT)
                return false;
            continue;
        }
        if (reach_is_on_path(&history, meta)) {
            *ret_history = history;
            return true;
        }
        history_done(&history);
    }
    return error_set(err, ERROR_INTEGRITY, "the history of timeline %" PRIu32 ", which backup %s is of, is missing",
                     meta->end_timeline.value, meta->id.text);
}

static void describe_gap(const struct stored_wal *wal, const struct reach *reach, const struct wal_gap *gap,
                         char ret_text[GAP_TOLD_SIZE])
{
    char end[REACH_PLACE_SIZE], next[REACH_PLACE_SIZE];

    if (gap != NULL) {
        gap_describe(gap, ret_text);
        return;
    }
    reach_format_place(reach->timeline, reach->end, wal->archive.segment_size, end);
    reach_format_place(reach->gap_timeline, reach->gap_end, wal->archive.segment_size, next);
    snprintf(ret_text, GAP_TOLD_SIZE, "from %s to %s", end, next);
}

static void tell_gap(struct store *store, const struct stored_wal *wal, const struct reach *reach,
                     const struct wal_gap *gap)
{
    struct finding finding = {.check = CHECK_ID_wal_continuity};
    char end[REACH_PLACE_SIZE], text[GAP_TOLD_SIZE];

    reach_format_place(reach->timeline, reach->end, wal->archive.segment_size, end);
    describe_gap(wal, reach, gap, text);
    finding_seen(&finding, "backup %s, which reaches %s; then a gap %s", store->newest->id.text, end, text);
    finding_cause(&finding, finding.check,
                  "WAL is missing after backup %s: %s. Nothing behind the gap can be restored.", store->newest->id.text,
                  text);
    finding_fix(&finding,
                "pgcoffer backup %s, from which everything can be restored again; \"pgcoffer wal status %s\" lists the "
                "gaps, and wal_slot in section [%s] keeps the server from removing WAL that was not received",
                store->server, store->server, store->server);
    check_fail(store->run, &finding);
}

/* Gaps that the newest backup does not meet are told with it. */
static void tell_continuity(struct store *store, const struct stored_wal *wal, const struct reach *reach)
{
    const struct backup_meta *newest = store->newest;
    char start[REACH_PLACE_SIZE], end[REACH_PLACE_SIZE], written_at[TIMESTAMP_TEXT_SIZE], older[96] = "";

    reach_format_place(newest->start_timeline, newest->start_position, wal->archive.segment_size, start);
    reach_format_place(reach->timeline, reach->end, wal->archive.segment_size, end);
    timestamp_format(reach->written_at, written_at);
    if (wal->gaps.count > 0)
        snprintf(older, sizeof older, "; %zu gap%s that only other backups meet", wal->gaps.count,
                 wal->gaps.count == 1 ? "" : "s");
    check_pass(store->run, CHECK_ID_wal_continuity, "from %s to %s, received at %.19sZ%s", start, end, written_at,
               older);
}

void check_stored_continuity(struct store *store, struct stored_wal *wal)
{
    const enum check_id id = CHECK_ID_wal_continuity;
    struct history history SCOPED(scoped_history) = {.entries = NULL};
    const struct backup_meta *newest = store->newest;
    struct error err;

    if (newest == NULL) {
        check_skip(store->run, id, "there is no complete backup yet");
        return;
    }
    if (!stored_wal_open(wal, store, &newest->system) || check_has_failed(store->run, CHECK_ID_backup_intact)) {
        check_skip(store->run, id, "not looked at: backup.intact failed");
        return;
    }
    if (wal->is_record_broken) {
        check_fail_error(store->run, id, &wal->record_failure);
        return;
    }
    if (!find_history(wal, newest, &history, &err)) {
        check_fail_error(store->run, id, &err);
        return;
    }
    /* What lies before is needed by the backup itself, and was looked at with it. */
    struct reach reach = reach_along(&wal->ranges, &history, newest->end_timeline, newest->end_position);
    const struct wal_gap *gap = reach_find_gap(&reach, &history, &wal->gaps);
    if (reach.has_gap || gap != NULL)
        tell_gap(store, wal, &reach, gap);
    else
        tell_continuity(store, wal, &reach);
}
