#include "jobs/serve/moments_internal.h"

#include <string.h>

#include "jobs/serve/plan_internal.h"

/* All in one line with other things; with more of them the newest are told. */
#define MOMENTS_MOST 24

struct stretch {
    const struct backup_meta *oldest;
    const struct history *history;
    struct reach reach;
};

static bool is_usable(const struct held_wal *wal, const struct catalogue_entry *entry)
{
    return wal->is_open && catalogue_is_usable(entry) && strcmp(entry->system.text, wal->system.text) == 0;
}

/* Needs its own WAL up to its end. */
static bool find_stretch(const struct held_wal *wal, const struct backup_meta *meta, struct stretch *ret_stretch)
{
    const struct history *history = held_wal_way(wal, meta);

    if (history == NULL)
        return false;
    *ret_stretch = (struct stretch){
        .oldest = meta,
        .history = history,
        .reach = reach_along(&wal->ranges, history, meta->start_timeline, meta->start_position),
    };
    return ret_stretch->reach.is_start_held && ret_stretch->reach.end.value >= meta->end_position.value;
}

static bool ends_alike(const struct stretch *one, const struct stretch *other)
{
    return one->reach.timeline.value == other->reach.timeline.value && one->reach.end.value == other->reach.end.value;
}

static json_t *stretch_to_json(struct held_wal *wal, const struct stretch *stretch)
{
    struct timestamp until = held_wal_until(wal, stretch->history, &stretch->reach, stretch->oldest);
    struct timestamp commit = held_wal_last_commit(wal, stretch->history, &stretch->reach);

    return json_pack("{s:s, s:I, s:o, s:o, s:o}", "backup", stretch->oldest->id.text, "timeline",
                     (json_int_t)stretch->reach.timeline.value, "from", json_time(reach_stop_time(stretch->oldest)),
                     "until", json_time(until), "last_commit_at", json_time(commit));
}

json_t *moments_to_json(struct held_wal *wal, const struct catalogue *catalogue)
{
    json_t *list = json_array();
    struct stretch stretches[MOMENTS_MOST];
    size_t count = 0;

    for (size_t i = 0; i < catalogue->count; i++) {
        struct stretch stretch;
        if (!is_usable(wal, &catalogue->entries[i]) || !find_stretch(wal, catalogue->entries[i].meta, &stretch))
            continue;
        if (count > 0 && ends_alike(&stretches[count - 1], &stretch))
            continue;
        if (count == MOMENTS_MOST)
            memmove(stretches, stretches + 1, --count * sizeof stretches[0]);
        stretches[count++] = stretch;
    }
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, stretch_to_json(wal, &stretches[i]));
    return list;
}
