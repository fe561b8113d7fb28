#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/reach_internal.h"
#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/memory.h"

void verify_wal_done(struct checked_wal *wal)
{
    for (size_t i = 0; i < wal->history_count; i++)
        history_done(&wal->histories[i]);
    free(wal->histories);
    wal_ranges_done(&wal->ranges);
    wal_ranges_done(&wal->expired);
    wal_gap_record_done(&wal->record);
    wal_files_done(&wal->files);
    free(wal->verified);
}

const struct history *verify_find_history(const struct checked_wal *wal, struct timeline timeline)
{
    return histories_find(wal->histories, wal->history_count, timeline);
}

/* A recovery of the backup reads this stretch, on the way to its own end or to a later target. */
static bool suffers(const struct checked_wal *wal, const struct backup_meta *meta, struct timeline timeline,
                    struct wal_position end)
{
    const struct history *history = verify_find_history(wal, timeline);

    if (end.value <= meta->start_position.value || timeline.value < meta->start_timeline.value)
        return false;
    if (timeline.value == meta->start_timeline.value || timeline.value == meta->end_timeline.value)
        return true;
    return history == NULL || reach_is_on_path(history, meta);
}

static bool is_of_system(const struct checked_wal *wal, const struct catalogue_entry *entry)
{
    return entry->meta != NULL && strcmp(entry->system.text, wal->archive.system.text) == 0;
}

json_t *verify_suffering(const struct checked_wal *wal, struct timeline timeline, struct wal_position start,
                         struct wal_position end)
{
    json_t *names = json_array();

    (void)start; /* what lies behind the backup's start is read by every longer recovery */
    for (size_t i = 0; i < wal->catalogue->count; i++) {
        const struct catalogue_entry *entry = &wal->catalogue->entries[i];
        if (is_of_system(wal, entry) && suffers(wal, entry->meta, timeline, end))
            json_array_append_new(names, json_string(entry->id.text));
    }
    return names;
}

static bool tell_gap(struct checked_wal *wal, struct timeline timeline, struct wal_position start,
                     struct wal_position end, struct error *err)
{
    char name[WAL_SEGMENT_NAME_SIZE];
    char from[WAL_POSITION_TEXT_SIZE];
    char to[WAL_POSITION_TEXT_SIZE];
    json_t *suffering SCOPED(scoped_json) = NULL;

    if (wal_expired_has(&wal->expired, timeline, start, end))
        return true;
    suffering = verify_suffering(wal, timeline, start, end);
    wal_segment_format(wal_segment_at(timeline, start, wal->archive.segment_size), wal->archive.segment_size, name);
    wal_position_format(start, from);
    wal_position_format(end, to);
    /* Older than every backup: nobody will ever read it. */
    if (json_array_size(suffering) == 0)
        return events_log(wal->verify->events, err, "warning",
                          "%s: WAL from %s to %s on timeline %" PRIu32 " is missing, but no backup needs it",
                          wal->verify->server, from, to, timeline.value);
    const struct wal_gap *gap = wal->has_record ? wal_gaps_at(&wal->record.open, timeline, start) : NULL;
    return verify_problem(wal->verify, NULL, name, VERIFY_NO_FRAME, TAKE(suffering), err,
                          "WAL from %s to %s on timeline %" PRIu32 " is missing%s%s", from, to, timeline.value,
                          gap != NULL ? ": " : "", gap != NULL ? wal_gap_reason_text(gap->reason) : "");
}

/* Between the ranges of a timeline; whether one timeline takes over from another is told with the histories. */
static bool check_gaps(struct checked_wal *wal, struct error *err)
{
    for (size_t i = 1; i < wal->ranges.count; i++) {
        const struct wal_range *range = &wal->ranges.ranges[i];
        const struct wal_range *before = &wal->ranges.ranges[i - 1];
        if (before->timeline.value == range->timeline.value &&
            !tell_gap(wal, range->timeline, before->end, range->start, err))
            return false;
    }
    return true;
}

/* An empty file, made for the next byte to come, tells that everything before it had come. */
static bool check_empty_files(struct checked_wal *wal, struct error *err)
{
    for (size_t i = 1; i < wal->files.count; i++) {
        const struct wal_file *file = &wal->files.files[i];
        const struct wal_file *before = &wal->files.files[i - 1];
        struct wal_position start = wal_segment_start(file->segment, wal->archive.segment_size);
        struct wal_position held_until = {wal_segment_start(before->segment, wal->archive.segment_size).value +
                                          before->held_bytes};
        if (file->held_bytes == 0 && before->segment.timeline.value == file->segment.timeline.value &&
            held_until.value < start.value && !tell_gap(wal, file->segment.timeline, held_until, start, err))
            return false;
    }
    return true;
}

static bool is_gap_told(const struct checked_wal *wal, struct timeline timeline, struct wal_position missing)
{
    const struct history *history = verify_find_history(wal, timeline);
    bool is_held_later = false;

    for (size_t i = 0; i < wal->ranges.count; i++)
        if (wal->ranges.ranges[i].timeline.value == timeline.value && wal->ranges.ranges[i].start.value > missing.value)
            is_held_later = true;
    for (size_t i = 0; is_held_later && i < wal->ranges.count; i++)
        if (wal->ranges.ranges[i].timeline.value == timeline.value && wal->ranges.ranges[i].end.value == missing.value)
            return true;
    return is_held_later && history != NULL && history->entry_count > 0 &&
           history->entries[history->entry_count - 1].switched_at.value == missing.value;
}

/* Everything from the backup's start to its end. */
static bool check_own_wal(struct checked_wal *wal, const struct backup_meta *meta, struct error *err)
{
    struct wal_segment_size size = wal->archive.segment_size;
    const struct history *history = verify_find_history(wal, meta->end_timeline);
    struct timeline timeline;
    struct wal_position missing;
    char name[WAL_SEGMENT_NAME_SIZE];
    char place[REACH_PLACE_SIZE];

    if (meta->state == BACKUP_COPIED)
        return true;
    if (history == NULL) {
        wal_history_format(meta->end_timeline, name);
        return verify_problem(wal->verify, meta->id.text, name, VERIFY_NO_FRAME, NULL, err,
                              "the history of the backup's timeline is missing or damaged");
    }
    if (wal_ranges_cover(&wal->ranges, history, meta->start_timeline, meta->start_position, meta->end_position, size,
                         &timeline, &missing) ||
        is_gap_told(wal, timeline, missing))
        return true;
    wal_segment_format(wal_segment_at(timeline, missing, size), size, name);
    reach_format_place(timeline, missing, size, place);
    return verify_problem(wal->verify, meta->id.text, name, VERIFY_NO_FRAME, NULL, err,
                          "the backup needs %s, which is missing", place);
}

bool verify_wal_of_backups(struct checked_wal *wal, const struct backup_meta *only, struct error *err)
{
    for (size_t i = 0; i < wal->catalogue->count; i++) {
        const struct catalogue_entry *entry = &wal->catalogue->entries[i];
        bool is_wanted = only == NULL || only == entry->meta;
        if (is_of_system(wal, entry) && is_wanted && !check_own_wal(wal, entry->meta, err))
            return false;
    }
    return true;
}

json_t *verify_ranges_to_json(const struct checked_wal *wal)
{
    const struct wal_ranges *ranges = &wal->ranges;
    json_t *list = json_array();

    for (size_t i = 0; i < ranges->count; i++)
        json_array_append_new(
            list, json_pack("{s:I, s:o, s:o, s:o}", "timeline", (json_int_t)ranges->ranges[i].timeline.value, "start",
                            events_position(ranges->ranges[i].start), "end", events_position(ranges->ranges[i].end),
                            "written_at", json_time(ranges->ranges[i].last_written_at)));
    return list;
}

struct wal_segment verify_first_segment(const struct checked_wal *wal, const struct backup_meta *from)
{
    if (from == NULL)
        return (struct wal_segment){{0}, 0};
    return wal_segment_at(from->start_timeline, from->start_position, wal->archive.segment_size);
}

/* What was verified is only a convenience. */
static bool read_verified(struct checked_wal *wal, struct error *err)
{
    struct error failure;

    wal->verified = memory_new(sizeof *wal->verified);
    return wal_verified_read(&wal->archive, wal->verified, &failure) ||
           events_log(wal->verify->events, err, "warning", "%s: %s; all of the WAL counts as never verified",
                      wal->verify->server, failure.message);
}

/* The list of backups is there, and not a byte of WAL. */
static bool check_any_wal(struct checked_wal *wal, struct error *err)
{
    for (size_t i = 0; i < wal->catalogue->count; i++)
        if (is_of_system(wal, &wal->catalogue->entries[i]))
            return verify_problem(wal->verify, NULL, "wal", VERIFY_NO_FRAME, NULL, err,
                                  "there are backups, but no WAL was ever stored");
    return true;
}

bool verify_wal_open(struct verify *verify, const struct catalogue *catalogue, const struct system_id *system,
                     struct checked_wal *ret_wal, struct error *err)
{
    struct checked_wal *wal = ret_wal;
    struct error failure;

    *wal = (struct checked_wal){.verify = verify, .catalogue = catalogue};
    if (!wal_archive_open(verify->repo, verify->server, system, (struct wal_segment_size){0}, &wal->archive, &failure))
        return verify_read_failure(verify, NULL, "segment_size.json", VERIFY_NO_FRAME, NULL, &failure, err);
    if (wal->archive.segment_size.bytes == 0)
        return check_any_wal(wal, err);
    wal_expired_read(&wal->archive, &wal->expired);
    return wal_archive_list(&wal->archive, &wal->files, err) && wal_archive_ranges(&wal->archive, &wal->ranges, err) &&
           verify_read_record(wal, err) && read_verified(wal, err) && verify_timelines(wal, err) &&
           check_gaps(wal, err) && check_empty_files(wal, err);
}

bool verify_wal(struct verify *verify, const struct catalogue *catalogue, const struct system_id *system,
                const struct backup_meta *from, struct verify_wal_outcome *outcome, struct error *err)
{
    struct checked_wal wal SCOPED(verify_wal_done) = {.verify = verify};

    if (!verify_wal_open(verify, catalogue, system, &wal, err))
        return false;
    outcome->ranges = verify_ranges_to_json(&wal);
    if (wal.archive.segment_size.bytes == 0)
        return true;
    return verify_segments(&wal, (struct verify_stretch){0, wal.files.count}, verify_first_segment(&wal, from), outcome,
                           err) &&
           verify_wal_of_backups(&wal, from, err);
}
