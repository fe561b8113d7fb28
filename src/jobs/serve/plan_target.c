#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/serve/plan_internal.h"
#include "pgcoffer/base/memory.h"

/* From one search more are not kept; a nightly restore point of the same name makes as many in 40 years. */
#define MATCHES_MOST 16384

void plan_found_done(struct plan_found *found)
{
    free(found->matches);
    *found = (struct plan_found){0};
}

/* Doubles at powers of two. Beyond the most the oldest half goes: the newest is what is asked for. */
void plan_found_add(struct plan_found *found, const struct plan_match *match)
{
    size_t size = sizeof found->matches[0];

    if (found->count == MATCHES_MOST) {
        found->count /= 2;
        memmove(found->matches, found->matches + found->count, found->count * size);
    } else if ((found->count & (found->count - 1)) == 0) {
        struct plan_match *larger = memory_new(2 * (found->count + 1) * size);
        if (found->count > 0)
            memcpy(larger, found->matches, found->count * size);
        free(found->matches);
        found->matches = larger;
    }
    found->matches[found->count++] = *match;
}

static bool is_end(const struct wal_event *event)
{
    return event->kind == WAL_EVENT_COMMIT || event->kind == WAL_EVENT_ABORT;
}

/* As recoveryStopsBefore() and recoveryStopsAfter() of PostgreSQL's access/transam/xlogrecovery.c. */
bool plan_is_match(const struct plan_wish *wish, const struct wal_event *event)
{
    switch (wish->target) {
    case PLAN_TIME:
        return is_end(event) && (event->time.microseconds > wish->time.microseconds ||
                                 (wish->is_exclusive && event->time.microseconds == wish->time.microseconds));
    case PLAN_XID:
        return is_end(event) && event->has_transaction && event->transaction == wish->transaction;
    case PLAN_NAME:
        return event->kind == WAL_EVENT_RESTORE_POINT && (wish->value == NULL || strcmp(event->name, wish->value) == 0);
    case PLAN_END:
    case PLAN_IMMEDIATE:
    case PLAN_LSN:
        break;
    }
    return false;
}

static bool search_from(const struct plan_stock *stock, const struct plan_wish *wish, const struct plan *plan,
                        const struct backup_meta *meta, struct wal_position end, struct plan_found *found,
                        struct error *err)
{
    const struct plan_search search = {
        .wish = wish,
        .history = plan->history,
        .timeline = meta->start_timeline,
        .from = meta->start_position,
        .end = end,
        .is_first_enough = wish->target == PLAN_TIME,
    };

    return stock->lookup.search(stock->lookup.context, &search, found, err);
}

static bool is_candidate(const struct plan_stock *stock, const struct plan_wish *wish, const struct plan *plan,
                         const struct catalogue_entry *entry)
{
    return wish->backup != NULL ? entry == wish->backup : plan_is_candidate(stock, wish, plan->history, entry);
}

/* ---- a time ---- */

/* The first end of a transaction after the target must not lie within the backup; a clock may have been wrong. */
static bool try_time(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                     const struct catalogue_entry *entry, bool *ret_is_right, struct error *err)
{
    struct plan_found found SCOPED(plan_found_done) = {0};
    const struct backup_meta *meta = entry->meta;
    struct reach reach = reach_along(stock->ranges, plan->history, meta->start_timeline, meta->start_position);

    *ret_is_right = true;
    if (!reach.is_start_held) /* told with the backup's own WAL */
        return true;
    if (!search_from(stock, wish, plan, meta, reach.end, &found, err))
        return false;
    if (found.has_damage && found.count == 0) {
        *err = found.damage;
        return error_wrap(err, "could not look for the target time %s", wish->value);
    }
    plan->last_end_at = found.last_end_at;
    plan->has_stop = found.count > 0;
    if (plan->has_stop)
        plan->stop = found.matches[0];
    *ret_is_right = !plan->has_stop || plan->stop.position.value >= meta->end_position.value;
    return true;
}

static bool find_time(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                      struct error *err)
{
    const struct catalogue_entry *newest = plan->backup;
    bool is_right = false;

    for (size_t i = stock->catalogue->count; i-- > 0;) {
        const struct catalogue_entry *entry = &stock->catalogue->entries[i];
        if (!is_candidate(stock, wish, plan, entry))
            continue;
        if (!try_time(stock, wish, plan, entry, &is_right, err))
            return false;
        plan->backup = entry;
        if (is_right)
            return true;
    }
    error_set(err, ERROR_USAGE,
              "backup %s cannot reach the target %s: a transaction that ended later lies before its end",
              newest->id.text, wish->value);
    return error_hint(err, "The clock of the server was changed, or that of this machine is wrong. Name an older "
                           "backup, or a position: --target-lsn.");
}

/* ---- a transaction or a restore point ---- */

static const struct backup_meta *oldest_candidate(const struct plan_stock *stock, const struct plan_wish *wish,
                                                  const struct plan *plan)
{
    for (size_t i = 0; i < stock->catalogue->count; i++)
        if (is_candidate(stock, wish, plan, &stock->catalogue->entries[i]))
            return stock->catalogue->entries[i].meta;
    return plan->backup->meta;
}

/* What a recovery of the backup meets first. */
static const struct plan_match *first_behind(const struct plan_found *found, struct wal_position start)
{
    for (size_t i = 0; i < found->count; i++)
        if (found->matches[i].position.value >= start.value)
            return &found->matches[i];
    return NULL;
}

static const char *target_noun(const struct plan_wish *wish)
{
    return wish->target == PLAN_XID ? "transaction" : "restore point";
}

static bool fail_within(const struct plan_stock *stock, const struct plan_wish *wish, const struct backup_meta *meta,
                        const struct plan_match *match, struct error *err)
{
    char position[WAL_POSITION_TEXT_SIZE], end[WAL_POSITION_TEXT_SIZE];

    wal_position_format(match->position, position);
    wal_position_format(meta->end_position, end);
    error_set(err, ERROR_USAGE, "backup %s cannot reach the %s %s: that lies at %s, and the backup ended at %s",
              meta->id.text, target_noun(wish), wish->value, position, end);
    if (wish->backup != NULL)
        return error_hint(err, "Leave out the backup to have the right one chosen.");
    return error_hint(err, "It is the oldest one of \"%s\" on this timeline: earlier targets cannot be reached.",
                      stock->server);
}

static void warn_of_others(const struct plan_wish *wish, const struct plan_found *found, struct plan *plan)
{
    char position[WAL_POSITION_TEXT_SIZE], time[TIMESTAMP_TEXT_SIZE];

    if (found->count < 2)
        return;
    wal_position_format(plan->stop.position, position);
    timestamp_format(plan->stop.time, time);
    plan_warn(plan,
              "there are %zu of %s %s: recovery stops at the one at %s (%s); --target-lsn, or another backup, reaches "
              "the others",
              found->count, target_noun(wish), wish->value, position, time);
}

/* The newest backup whose recovery meets the first of them behind its own end and before a gap. */
static bool choose_before(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                          const struct plan_found *found, struct error *err)
{
    const struct plan_match *too_early = NULL, *too_late = NULL;
    const struct backup_meta *oldest = NULL;
    struct reach gap = {.is_start_held = false};

    for (size_t i = stock->catalogue->count; i-- > 0;) {
        const struct catalogue_entry *entry = &stock->catalogue->entries[i];
        if (!is_candidate(stock, wish, plan, entry))
            continue;
        const struct backup_meta *meta = entry->meta;
        const struct plan_match *match = first_behind(found, meta->start_position);
        struct reach reach = reach_along(stock->ranges, plan->history, meta->start_timeline, meta->start_position);
        oldest = meta;
        if (match == NULL)
            continue;
        if (match->position.value < meta->end_position.value) {
            too_early = match;
        } else if (match->position.value >= reach.end.value) {
            too_late = match;
            gap = reach;
        } else {
            plan->backup = entry;
            plan->has_stop = true;
            plan->stop = *match;
            warn_of_others(wish, found, plan);
            return true;
        }
    }
    if (too_late != NULL)
        return plan_fail_missing(stock, gap.timeline, gap.end, "the target lies behind it", err);
    return too_early != NULL ? fail_within(stock, wish, oldest, too_early, err)
                             : plan_fail_absent(stock, wish, plan, found, err);
}

static bool find_record(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                        struct error *err)
{
    struct plan_found found SCOPED(plan_found_done) = {0};
    const struct wal_position all = {UINT64_MAX};

    if (!search_from(stock, wish, plan, oldest_candidate(stock, wish, plan), all, &found, err))
        return false;
    if (found.count > 0)
        return choose_before(stock, wish, plan, &found, err);
    if (found.has_damage) {
        *err = found.damage;
        return error_wrap(err, "could not look for the %s %s", target_noun(wish), wish->value);
    }
    if (!found.is_unsure)
        return plan_fail_absent(stock, wish, plan, &found, err);
    plan_warn(plan,
              "the %s %s was not found, but not everything in the WAL could be read: where it lies is only known "
              "while replaying",
              target_noun(wish), wish->value);
    return true;
}

bool plan_find_target(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                      struct error *err)
{
    switch (wish->target) {
    case PLAN_TIME:
        return find_time(stock, wish, plan, err);
    case PLAN_XID:
    case PLAN_NAME:
        return find_record(stock, wish, plan, err);
    case PLAN_END:
    case PLAN_IMMEDIATE:
    case PLAN_LSN:
        break;
    }
    return true;
}
