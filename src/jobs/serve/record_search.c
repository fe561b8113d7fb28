#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/serve/record_search_internal.h"
#include "pgcoffer/base/memory.h"

/* One search, on its way. */
struct looking {
    struct record_search *source;
    const struct plan_search *search;
    struct plan_found *found;
    struct wal_walk *walk;
    struct timeline timeline;      /* the stretch at hand ... */
    struct wal_position from, end; /* ... on it */
    bool is_ended;
};

static bool is_within(const struct looking *looking, struct wal_position position)
{
    return position.value >= looking->from.value && position.value < looking->end.value;
}

static void add_match(struct looking *looking, struct wal_position position, struct timestamp time, const char *name)
{
    struct plan_match match = {.timeline = looking->timeline, .position = position, .time = time};

    snprintf(match.name, sizeof match.name, "%s", name);
    plan_found_add(looking->found, &match);
    looking->is_ended = looking->search->is_first_enough;
}

/* ---- a segment's contents as a whole ---- */

static void add_to_summary(struct plan_found *found, const struct wal_contents *contents)
{
    struct wal_contents sum = {.has_transactions = found->has_transactions,
                               .lowest_transaction = found->lowest_transaction,
                               .highest_transaction = found->highest_transaction};
    struct wal_event event = {.kind = WAL_EVENT_COMMIT, .is_whole = true, .has_transaction = true};

    if (contents->last_end_at.microseconds > found->last_end_at.microseconds)
        found->last_end_at = contents->last_end_at;
    found->is_unsure = found->is_unsure || contents->unread > 0;
    if (!contents->has_transactions)
        return;
    event.transaction = contents->lowest_transaction;
    wal_contents_add(&sum, &event);
    event.transaction = contents->highest_transaction;
    wal_contents_add(&sum, &event);
    found->has_transactions = true;
    found->lowest_transaction = sum.lowest_transaction;
    found->highest_transaction = sum.highest_transaction;
}

/* By the note alone: must the segment be read? */
static bool must_read(const struct looking *looking, const struct wal_contents *contents)
{
    const struct plan_wish *wish = looking->search->wish;

    switch (wish->target) {
    case PLAN_TIME:
        return contents->unread > 0 || contents->last_end_at.microseconds >= wish->time.microseconds;
    case PLAN_XID:
        return wal_contents_may_have(contents, wish->transaction);
    case PLAN_NAME:
        return contents->has_more_points;
    case PLAN_END:
    case PLAN_IMMEDIATE:
    case PLAN_LSN:
        break;
    }
    return false;
}

static void add_noted_points(struct looking *looking, const struct wal_contents *contents)
{
    const struct plan_wish *wish = looking->search->wish;

    for (size_t i = 0; wish->target == PLAN_NAME && i < contents->point_count; i++) {
        const struct wal_contents_point *point = &contents->points[i];
        if (is_within(looking, point->position) && (wish->value == NULL || strcmp(point->name, wish->value) == 0))
            add_match(looking, point->position, point->time, point->name);
    }
}

/* ---- record by record ---- */

static bool visit(void *context, const struct wal_event *event, struct error *err)
{
    struct looking *looking = context;
    struct wal_contents one = {.commits = 0};

    (void)err;
    if (looking->is_ended || !is_within(looking, event->position))
        return true;
    if (plan_is_match(looking->search->wish, event)) {
        add_match(looking, event->position, event->time, event->name);
        return true;
    }
    wal_contents_add(&one, event);
    add_to_summary(looking->found, &one);
    return true;
}

/* What is damaged is kept for the case that nothing else is found. */
static void note_damage(struct plan_found *found, const struct error *failure)
{
    if (!found->has_damage)
        found->damage = *failure;
    found->has_damage = true;
}

static bool read_records(struct looking *looking, struct wal_segment segment, struct error *err)
{
    struct wal_file file;
    struct error failure;

    looking->source->read_count++;
    if (wal_walk_segment(looking->walk, segment, &file, &failure))
        return true;
    if (failure.kind == ERROR_INTEGRITY) {
        note_damage(looking->found, &failure);
        looking->is_ended = looking->search->is_first_enough; /* no recovery passes it */
        return true;
    }
    *err = failure;
    return false;
}

static bool look_into(struct looking *looking, const struct wal_file *file, struct error *err)
{
    struct wal_noted *noted SCOPED(scoped_free) = memory_new(sizeof *noted);
    bool is_noted = false;
    struct error ignored; /* the segment itself tells the same */

    if (file->state == WAL_FILE_COMPRESSED &&
        (!wal_archive_read_note(looking->source->archive, file->segment, noted, &is_noted, &ignored) ||
         wal_note_is_outdated(looking->source->archive, file->segment, noted)))
        is_noted = false;
    if (!is_noted || must_read(looking, &noted->contents))
        return read_records(looking, file->segment, err);
    add_to_summary(looking->found, &noted->contents);
    add_noted_points(looking, &noted->contents);
    return true;
}

static bool look_at_stretch(struct looking *looking, struct error *err)
{
    const struct wal_archive *archive = looking->source->archive;
    struct wal_segment first = wal_segment_at(looking->timeline, looking->from, archive->segment_size);
    struct wal_segment last = wal_segment_before(looking->timeline, looking->end, archive->segment_size);

    for (size_t i = 0; i < looking->source->files.count && !looking->is_ended; i++) {
        const struct wal_file *file = &looking->source->files.files[i];
        if (file->segment.timeline.value != looking->timeline.value || file->segment.number < first.number ||
            file->segment.number > last.number || file->held_bytes == 0)
            continue;
        if (!look_into(looking, file, err))
            return false;
    }
    return true;
}

static bool search_records(void *context, const struct plan_search *search, struct plan_found *ret_found,
                           struct error *err)
{
    struct looking looking = {
        .source = context, .search = search, .found = ret_found, .timeline = search->timeline, .from = search->from};
    struct wal_walk *walk SCOPED(scoped_wal_walk) = wal_walk_new(looking.source->archive, visit, &looking);
    bool has_next = true;

    looking.walk = walk;
    while (has_next && !looking.is_ended && looking.from.value < search->end.value) {
        struct wal_position fork = search->end;
        has_next = history_switch_point(search->history, looking.timeline, &fork) && fork.value < search->end.value;
        looking.end = has_next ? fork : search->end;
        if (looking.from.value < looking.end.value && !look_at_stretch(&looking, err))
            return false;
        looking.from = looking.end;
        has_next = has_next && history_next(search->history, looking.timeline, &looking.timeline);
    }
    return true;
}

static bool find_last_record(void *context, struct timeline timeline, struct wal_position end,
                             struct wal_position *ret_position, struct error *err)
{
    struct record_search *source = context;

    return wal_archive_last_record(source->archive, timeline, end, ret_position, err);
}

bool record_search_begin(struct record_search *search, const struct wal_archive *archive, struct error *err)
{
    *search = (struct record_search){.archive = archive};
    return wal_archive_list(archive, &search->files, err);
}

void record_search_done(struct record_search *search)
{
    wal_files_done(&search->files);
}

struct plan_lookup record_search_lookup(struct record_search *search)
{
    return (struct plan_lookup){.context = search, .search = search_records, .find_last_record = find_last_record};
}
