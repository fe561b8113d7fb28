#include "jobs/serve/plan_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "jobs/gap_told_internal.h"
#include "pgcoffer/base/text.h"

void plan_warn(struct plan *plan, const char *format, ...)
{
    va_list arguments;

    if (plan->warning_count == PLAN_MOST_WARNINGS)
        return;
    char *text = plan->warnings[plan->warning_count++];
    va_start(arguments, format);
    vsnprintf(text, PLAN_TEXT_SIZE, format, arguments);
    va_end(arguments);
    text_make_printable(text);
}

static void explain_stop(struct plan *plan)
{
    char position[WAL_POSITION_TEXT_SIZE];

    wal_position_format(plan->stop.position, position);
    if (plan->has_stop)
        snprintf(plan->why, sizeof plan->why,
                 "newest complete backup on the way to timeline %" PRIu32 " that ended before the target (at %s)",
                 plan->history->timeline.value, position);
    else
        snprintf(plan->why, sizeof plan->why,
                 "newest complete backup on the way to timeline %" PRIu32
                 "; where the target lies is only known while replaying",
                 plan->history->timeline.value);
}

static void explain(const struct plan_wish *wish, struct plan *plan)
{
    const struct backup_meta *meta = plan->backup->meta;
    char time[TIMESTAMP_TEXT_SIZE];
    char position[WAL_POSITION_TEXT_SIZE];

    if (wish->backup != NULL) {
        snprintf(plan->why, sizeof plan->why, "it was named");
        return;
    }
    timestamp_format(reach_stop_time(meta), time);
    wal_position_format(meta->end_position, position);
    switch (wish->target) {
    case PLAN_END:
    case PLAN_IMMEDIATE:
        snprintf(plan->why, sizeof plan->why, "newest complete backup on the way to timeline %" PRIu32,
                 plan->history->timeline.value);
        break;
    case PLAN_TIME:
        snprintf(plan->why, sizeof plan->why,
                 "newest complete backup on the way to timeline %" PRIu32 " that ended before the target (at %s)",
                 plan->history->timeline.value, time);
        break;
    case PLAN_LSN:
        snprintf(plan->why, sizeof plan->why,
                 "newest complete backup on the way to timeline %" PRIu32 " that ended before the target (at %s)",
                 plan->history->timeline.value, position);
        break;
    case PLAN_XID:
    case PLAN_NAME:
        explain_stop(plan);
        break;
    }
    text_make_printable(plan->why);
}

/* Everything from its beginning on lies behind the gap. */
static const struct catalogue_entry *oldest_behind(const struct plan_stock *stock, const struct wal_gap *gap)
{
    const struct plan_wish any = {.target = PLAN_END};

    for (size_t i = 0; gap->end.value != 0 && i < stock->catalogue->count; i++) {
        const struct catalogue_entry *entry = &stock->catalogue->entries[i];
        if (plan_is_candidate(stock, &any, NULL, entry) && entry->meta->start_position.value >= gap->end.value)
            return entry;
    }
    return NULL;
}

/* Older backups keep only the WAL that makes them consistent. */
bool plan_is_expired(const struct plan_stock *stock, struct timeline timeline, struct wal_position position)
{
    return stock->expired != NULL &&
           wal_expired_has(stock->expired, timeline, position, (struct wal_position){position.value + 1});
}

static bool fail_expired(const struct plan_stock *stock, const char *place, const char *what, struct error *err)
{
    error_set(err, ERROR_USAGE, "%s was removed by retention: %s", place, what);
    return error_hint(
        err,
        "--target-immediate restores the backup as it was at its end; later moments are reached from a "
        "newer one. \"pgcoffer wal status %s\" shows which moments can be reached, and wal_retention says "
        "for how long.",
        stock->server);
}

bool plan_fail_missing(const struct plan_stock *stock, struct timeline timeline, struct wal_position position,
                       const char *what, struct error *err)
{
    const struct wal_gap *gap = stock->gaps != NULL ? wal_gaps_at(stock->gaps, timeline, position) : NULL;
    const struct catalogue_entry *behind = gap != NULL ? oldest_behind(stock, gap) : NULL;
    char place[REACH_PLACE_SIZE], text[GAP_TOLD_SIZE];

    reach_format_place(timeline, position, stock->segment_size, place);
    if (plan_is_expired(stock, timeline, position))
        return fail_expired(stock, place, what, err);
    error_set(err, ERROR_INTEGRITY, "%s is missing from the archive: %s", place, what);
    if (gap != NULL) {
        gap_describe(gap, text);
        error_detail(err, "WAL is missing %s%s%s", text, gap->words[0] != '\0' ? ": " : "", gap->words);
    }
    if (behind != NULL)
        return error_hint(
            err,
            "Backup %s was taken behind the gap and can be restored; \"pgcoffer wal status %s\" shows the "
            "gaps.",
            behind->id.text, stock->server);
    return error_hint(err,
                      "\"pgcoffer wal status %s\" shows the gaps. A backup that is taken now can be restored: pgcoffer "
                      "backup %s",
                      stock->server, stock->server);
}

bool plan_fail_behind(const struct plan_stock *stock, const struct plan *plan, const char *what, struct error *err)
{
    if (plan->gap != NULL)
        return plan_fail_missing(stock, plan->gap->timeline, plan->gap->start, what, err);
    return plan_fail_missing(stock, plan->reach.timeline, plan->reach.end, what, err);
}

bool plan_has_own_wal(const struct plan_stock *stock, const struct history *history, const struct backup_meta *meta,
                      struct timeline *ret_missing_timeline, struct wal_position *ret_missing)
{
    return wal_ranges_cover(stock->ranges, history, meta->start_timeline, meta->start_position, meta->end_position,
                            stock->segment_size, ret_missing_timeline, ret_missing);
}

static bool check_own_wal(const struct plan_stock *stock, const struct plan *plan, struct error *err)
{
    struct timeline missing_timeline;
    struct wal_position missing;
    char what[128];

    if (plan_has_own_wal(stock, plan->history, plan->backup->meta, &missing_timeline, &missing))
        return true;
    snprintf(what, sizeof what, "backup %s needs it", plan->backup->id.text);
    return plan_fail_missing(stock, missing_timeline, missing, what, err);
}

/*
 * Nothing ended after the target. PostgreSQL would take that for a target that was not reached, and stop; it is told
 * the last record instead, so that what comes in meanwhile is not replayed and the wished action is taken.
 */
static bool end_with_all(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                         struct error *err)
{
    char time[TIMESTAMP_TEXT_SIZE], last[64] = "before this backup began";
    char position[WAL_POSITION_TEXT_SIZE];

    if (!stock->lookup.find_last_record(stock->lookup.context, plan->reach.timeline, plan->reach.end,
                                        &plan->last_record, err))
        return false;
    plan->is_to_end = true;
    if (plan->last_end_at.microseconds != 0) {
        timestamp_format(plan->last_end_at, time);
        snprintf(last, sizeof last, "%s", time);
    }
    wal_position_format(plan->last_record, position);
    plan_warn(plan,
              "no transaction ended after %s (the last one: %s), so everything up to the end of what is held is "
              "replayed, up to the record at %s",
              wish->value, last, position);
    return true;
}

static bool check_time(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                       struct error *err)
{
    char until[TIMESTAMP_TEXT_SIZE];

    if (plan->has_stop)
        return true;
    if (plan->complete_at.microseconds >= wish->time.microseconds)
        return end_with_all(stock, wish, plan, err);
    if (plan->reach.has_gap)
        return plan_fail_behind(stock, plan, "the target lies behind it", err);
    timestamp_format(plan->complete_at, until);
    error_set(err, ERROR_USAGE,
              "the target time %s cannot be reached: what the archive holds is known to be complete until %s",
              wish->value, until);
    error_hint(
        err, "--target-time \"%s\" is the latest that can be reached. Leave it out to replay everything that is held.",
        until);
    if (plan->last_end_at.microseconds == 0)
        return false;
    timestamp_format(plan->last_end_at, until);
    return error_detail(err, "The last transaction in it ended at %s.", until);
}

/*
 * PostgreSQL stops at a record that begins at the target or behind it; there must be one. What is held may end with
 * zeros. Far before the end there is always one, unless a single record fills segments.
 */
static bool is_before_last_record(const struct plan_stock *stock, const struct plan *plan, struct wal_position target,
                                  struct wal_position *ret_last, bool *ret_is_before, struct error *err)
{
    const struct reach *reach = &plan->reach;
    uint64_t segment = stock->segment_size.bytes;
    bool is_far = target.value + 2 * segment <= reach->end.value / segment * segment;

    *ret_is_before = target.value < reach->end.value;
    if (!*ret_is_before || is_far)
        return true;
    if (!stock->lookup.find_last_record(stock->lookup.context, reach->timeline, reach->end, ret_last, err))
        return false;
    *ret_is_before = target.value <= ret_last->value;
    return true;
}

static bool check_position(const struct plan_stock *stock, const struct plan_wish *wish, const struct plan *plan,
                           struct error *err)
{
    struct wal_position last = {0};
    bool is_before = false;
    char until[WAL_POSITION_TEXT_SIZE];

    if (!is_before_last_record(stock, plan, wish->position, &last, &is_before, err))
        return false;
    if (is_before)
        return true;
    if (plan->reach.has_gap)
        return plan_fail_behind(stock, plan, "the target lies behind it", err);
    wal_position_format(plan->reach.end, until);
    error_set(err, ERROR_USAGE, "the target %s cannot be reached: the archive holds WAL until %s", wish->value, until);
    if (last.value != 0) {
        wal_position_format(last, until);
        error_detail(err, "The last record in it begins at %s.", until);
    }
    return error_hint(err, "Leave out --target-lsn to replay everything that is held.");
}

static void warn_of_gap(const struct plan_stock *stock, struct plan *plan)
{
    const struct reach *reach = &plan->reach;
    const struct wal_gap *gap = plan->gap;
    char place[REACH_PLACE_SIZE], until[GAP_TOLD_SIZE], position[WAL_POSITION_TEXT_SIZE];

    if (!reach->has_gap)
        return;
    reach_format_place(reach->timeline, reach->end, stock->segment_size, place);
    wal_position_format(reach->gap_end, position);
    snprintf(until, sizeof until, "up to %s on timeline %" PRIu32, position, reach->gap_timeline.value);
    if (gap != NULL)
        gap_describe(gap, until);
    plan_warn(plan,
              "%s is missing from the archive, %s: recovery stops there with an error, and what came later cannot be "
              "restored from this backup",
              place, until);
}

/* A recovery without a target replays on until PostgreSQL gives up at the gap: it would never open. */
static bool check_end(const struct plan_stock *stock, const struct plan *plan, struct error *err)
{
    struct wal_position last;
    struct error ignored;
    char hint[sizeof err->hint], position[WAL_POSITION_TEXT_SIZE];

    if (!plan->reach.has_gap)
        return true;
    plan_fail_behind(stock, plan, "the end of what is held lies behind it, and a recovery cannot pass it", err);
    if (err->kind == ERROR_USAGE || stock->lookup.find_last_record == NULL ||
        !stock->lookup.find_last_record(stock->lookup.context, plan->reach.timeline, plan->reach.end, &last, &ignored))
        return false;
    wal_position_format(last, position);
    snprintf(hint, sizeof hint, "%s", err->hint);
    return error_hint(err, "--target-lsn %s replays everything before the gap. %s", position, hint);
}

static bool check_target(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                         struct error *err)
{
    switch (wish->target) {
    case PLAN_TIME:
        return check_time(stock, wish, plan, err);
    case PLAN_LSN:
        return check_position(stock, wish, plan, err);
    case PLAN_XID:
    case PLAN_NAME:
        if (!plan->has_stop)
            warn_of_gap(stock, plan);
        break;
    case PLAN_END:
        return check_end(stock, plan, err);
    case PLAN_IMMEDIATE:
        break;
    }
    return true;
}

struct timestamp plan_noted_at(const struct plan_stock *stock, const struct history *history, const struct reach *reach)
{
    for (size_t i = 0; i < stock->timeline_count; i++)
        if (stock->timelines[i].history.timeline.value == history->timeline.value)
            return reach_complete_at(reach, history, &stock->timelines[i].complete);
    return (struct timestamp){0};
}

bool plan_choose(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *ret_plan, struct error *err)
{
    struct plan *plan = ret_plan;

    *plan = (struct plan){0};
    if (!plan_choose_backup(stock, wish, plan, err) || !plan_find_target(stock, wish, plan, err) ||
        !check_own_wal(stock, plan, err))
        return false;
    const struct backup_meta *meta = plan->backup->meta;
    plan->reach = reach_along(stock->ranges, plan->history, meta->start_timeline, meta->start_position);
    /* What is within the reach says itself when it was written. */
    plan->complete_at = reach_until(meta, plan_noted_at(stock, plan->history, &plan->reach), plan->last_end_at);
    /* Known to be lost, and nothing behind it has come yet. */
    if (stock->gaps != NULL)
        plan->gap = reach_find_gap(&plan->reach, plan->history, stock->gaps);
    if (plan->gap != NULL)
        plan->reach.has_gap = true;
    explain(wish, plan);
    if (!catalogue_is_current(stock->catalogue, stock->system))
        plan_warn(plan, "backup %s is of the former system %s; the server is system %s now", plan->backup->id.text,
                  stock->system->text, stock->catalogue->current.text);
    return check_target(stock, wish, plan, err);
}

struct naming {
    struct wal_segment_size size;
    bool (*visit)(void *context, const char *name, struct error *err);
    void *context;
};

static bool name_segments(const struct naming *naming, struct timeline timeline, struct wal_position from,
                          struct wal_position to, struct error *err)
{
    struct wal_segment segment = wal_segment_at(timeline, from, naming->size);
    struct wal_segment last = wal_segment_before(timeline, to, naming->size);
    char name[WAL_SEGMENT_NAME_SIZE];

    for (; to.value > from.value && segment.number <= last.number; segment.number++) {
        wal_segment_format(segment, naming->size, name);
        if (!naming->visit(naming->context, name, err))
            return false;
    }
    return true;
}

static bool name_histories(const struct plan_stock *stock, const struct history *history, const struct naming *naming,
                           struct error *err)
{
    char name[WAL_HISTORY_NAME_SIZE];

    for (size_t i = 0; i < stock->timeline_count; i++) {
        const struct plan_timeline *timeline = &stock->timelines[i];
        if (timeline->is_damaged || timeline->history.timeline.value == 1 ||
            !history_contains(history, timeline->history.timeline))
            continue;
        wal_history_format(timeline->history.timeline, name);
        if (!naming->visit(naming->context, name, err))
            return false;
    }
    return true;
}

bool plan_each_wal_file(const struct plan_stock *stock, const struct plan *plan,
                        bool (*visit)(void *context, const char *name, struct error *err), void *context,
                        struct timeline end_timeline, struct wal_position end, struct error *err)
{
    const struct naming naming = {.size = stock->segment_size, .visit = visit, .context = context};
    struct timeline timeline = plan->backup->meta->start_timeline;
    struct wal_position from = plan->backup->meta->start_position;

    if (!name_histories(stock, plan->history, &naming, err))
        return false;
    while (timeline.value != end_timeline.value) {
        struct wal_position fork;
        if (!history_switch_point(plan->history, timeline, &fork))
            return error_set(err, ERROR_FAILED, "timeline %" PRIu32 " is not on the way", end_timeline.value);
        if (!name_segments(&naming, timeline, from, fork, err))
            return false;
        (void)history_next(plan->history, timeline, &timeline);
        from = fork;
    }
    return name_segments(&naming, timeline, from, end, err);
}
