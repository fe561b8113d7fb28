#include "jobs/serve/held_wal_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/gap_told_internal.h"
#include "jobs/serve/plan_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_contents.h"

void held_wal_done(struct held_wal *wal)
{
    wal_histories_done(&wal->histories);
    wal_ranges_done(&wal->ranges);
    wal_gaps_done(&wal->gaps);
    *wal = (struct held_wal){.is_open = false};
}

bool held_wal_open(struct held_wal *wal, const struct session *session, const char *server,
                   const struct system_id *system, struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};

    if (strcmp(wal->system.text, system->text) == 0)
        return true;
    held_wal_done(wal);
    wal->system = *system;
    if (!wal_archive_open(session->repo, server, system, (struct wal_segment_size){0}, &wal->archive, err))
        return false;
    if (wal->archive.segment_size.bytes == 0)
        return true;
    wal->is_record_broken = !wal_gaps_read(&wal->archive, &record, &wal->record_failure);
    wal->is_open =
        wal_gaps_look(&wal->archive, wal->is_record_broken ? NULL : &record, &wal->ranges, &wal->gaps, err) &&
        wal_archive_histories(&wal->archive, &wal->histories, err);
    return wal->is_open;
}

const struct history *held_wal_way(const struct held_wal *wal, const struct backup_meta *meta)
{
    for (size_t i = wal->histories.count; i-- > 0;)
        if (reach_is_on_path(&wal->histories.histories[i], meta))
            return &wal->histories.histories[i];
    return NULL;
}

struct timestamp held_wal_last_commit(struct held_wal *wal, const struct history *history, const struct reach *reach)
{
    bool is_known = wal->last_commit_end.value == reach->end.value && reach->end.value != 0 &&
                    wal->last_commit_timeline.value == reach->timeline.value;

    if (!is_known)
        wal->last_commit_at = wal_archive_last_commit(&wal->archive, history, reach->timeline, reach->end);
    wal->last_commit_end = reach->end;
    wal->last_commit_timeline = reach->timeline;
    return wal->last_commit_at;
}

struct timestamp held_wal_until(struct held_wal *wal, const struct history *history, const struct reach *reach,
                                const struct backup_meta *meta)
{
    const struct wal_complete complete = wal_complete_read(&wal->archive, history->timeline);

    if (reach->end.value < meta->end_position.value)
        return (struct timestamp){0};
    return reach_until(meta, reach_complete_at(reach, history, &complete), held_wal_last_commit(wal, history, reach));
}

json_t *held_wal_reach(struct held_wal *wal, const struct backup_meta *meta)
{
    const struct history *history = wal->is_open ? held_wal_way(wal, meta) : NULL;

    if (history == NULL)
        return json_null();
    struct reach reach = reach_along(&wal->ranges, history, meta->start_timeline, meta->start_position);
    const struct wal_gap *gap = reach_find_gap(&reach, history, &wal->gaps);
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "timeline", (json_int_t)reach.timeline.value, "lsn",
                     events_position(reach.end), "at", json_time(held_wal_until(wal, history, &reach, meta)), "from",
                     json_time(reach_stop_time(meta)), "last_commit_at",
                     json_time(held_wal_last_commit(wal, history, &reach)), "gap",
                     gap != NULL ? gap_to_json(gap, wal->archive.segment_size) : json_null());
}
