#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/serve/plan_internal.h"

static const struct plan_timeline *find_timeline(const struct plan_stock *stock, struct timeline timeline)
{
    for (size_t i = 0; i < stock->timeline_count; i++)
        if (stock->timelines[i].history.timeline.value == timeline.value)
            return &stock->timelines[i];
    return NULL;
}

static bool fail_damaged_history(const struct plan_timeline *timeline, struct error *err)
{
    *err = timeline->damage;
    return error_hint(
        err, "Which timelines descend from the backup cannot be told. --target-timeline NUMBER follows another "
             "one; \"pgcoffer verify\" tells what else is damaged.");
}

static bool ends_before_target(const struct backup_meta *meta, const struct plan_wish *wish)
{
    switch (wish->target) {
    case PLAN_TIME:
        return reach_stop_time(meta).microseconds <= wish->time.microseconds;
    case PLAN_LSN:
        return meta->end_position.value <= wish->position.value;
    case PLAN_END:
    case PLAN_IMMEDIATE:
    case PLAN_XID:
    case PLAN_NAME:
        break;
    }
    return true;
}

static bool is_usable(const struct plan_stock *stock, const struct catalogue_entry *entry)
{
    return catalogue_is_usable(entry) && strcmp(entry->system.text, stock->system->text) == 0;
}

static bool is_unreadable(const struct plan_stock *stock, const struct catalogue_entry *entry)
{
    return entry->meta == NULL && strcmp(entry->system.text, stock->system->text) == 0;
}

/* It would be usable, had its last verification not found damage. */
static bool is_found_damaged(const struct plan_stock *stock, const struct catalogue_entry *entry)
{
    return entry->is_suspect && entry->meta != NULL && entry->meta->state == BACKUP_COMPLETE &&
           strcmp(entry->system.text, stock->system->text) == 0;
}

bool plan_is_candidate(const struct plan_stock *stock, const struct plan_wish *wish, const struct history *history,
                       const struct catalogue_entry *entry)
{
    return is_usable(stock, entry) && ends_before_target(entry->meta, wish) &&
           (history == NULL || reach_is_on_path(history, entry->meta));
}

/* The newest complete backup that ends before the target, on the way of `history` (NULL: on any). */
static const struct catalogue_entry *newest(const struct plan_stock *stock, const struct plan_wish *wish,
                                            const struct history *history)
{
    for (size_t i = stock->catalogue->count; i-- > 0;)
        if (plan_is_candidate(stock, wish, history, &stock->catalogue->entries[i]))
            return &stock->catalogue->entries[i];
    return NULL;
}

static void describe_end(const struct backup_meta *meta, const struct plan_wish *wish, char *ret_text, size_t size)
{
    char time[TIMESTAMP_TEXT_SIZE];
    char position[WAL_POSITION_TEXT_SIZE];

    if (wish->target == PLAN_LSN) {
        wal_position_format(meta->end_position, position);
        snprintf(ret_text, size, "%s", position);
        return;
    }
    timestamp_format(reach_stop_time(meta), time);
    snprintf(ret_text, size, "%s", time);
}

static bool fail_without_backup(const struct plan_stock *stock, const struct plan_wish *wish, struct error *err)
{
    const struct plan_wish any = {.target = PLAN_END};
    const struct catalogue_entry *oldest = NULL;
    char end[64];

    if (newest(stock, &any, NULL) == NULL) {
        /* A backup whose metadata is damaged is there all the same. */
        for (size_t i = stock->catalogue->count; i-- > 0;)
            if (is_unreadable(stock, &stock->catalogue->entries[i])) {
                *err = stock->catalogue->entries[i].error;
                return error_wrap(err, "backup %s cannot be read", stock->catalogue->entries[i].id.text);
            }
        for (size_t i = stock->catalogue->count; i-- > 0;)
            if (is_found_damaged(stock, &stock->catalogue->entries[i])) {
                error_set(err, ERROR_INTEGRITY,
                          "every complete backup of \"%s\" was found damaged when it was verified", stock->server);
                return error_hint(err,
                                  "\"pgcoffer restore %s %s\" restores the newest one all the same, as far as it "
                                  "can; \"pgcoffer backup %s\" takes another.",
                                  stock->server, stock->catalogue->entries[i].id.text, stock->server);
            }
        error_set(err, ERROR_USAGE, "there is no complete backup of \"%s\"", stock->server);
        return error_hint(err, "\"pgcoffer list %s\" shows what there is; \"pgcoffer backup %s\" takes one.",
                          stock->server, stock->server);
    }
    if (newest(stock, wish, NULL) != NULL) {
        error_set(err, ERROR_USAGE, "no complete backup of \"%s\" lies on timeline %" PRIu32 "%s", stock->server,
                  wish->timeline.value, wish->target == PLAN_END ? "" : " before the target");
        return error_hint(err, "Leave out --target-timeline, or name another one.");
    }
    for (size_t i = stock->catalogue->count; i-- > 0;)
        if (is_usable(stock, &stock->catalogue->entries[i]))
            oldest = &stock->catalogue->entries[i];
    error_set(err, ERROR_USAGE, "no complete backup of \"%s\" ended at or before the target %s", stock->server,
              wish->value);
    if (oldest == NULL)
        return false;
    describe_end(oldest->meta, wish, end, sizeof end);
    return error_hint(err, "The oldest one, %s, ended at %s: earlier targets cannot be reached.", oldest->id.text, end);
}

static bool choose_on_number(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                             struct error *err)
{
    const struct plan_timeline *timeline = find_timeline(stock, wish->timeline);

    if (timeline == NULL) {
        error_set(err, ERROR_USAGE, "timeline %" PRIu32 " of \"%s\" is not known here", wish->timeline.value,
                  stock->server);
        return error_hint(err, "\"pgcoffer wal status %s\" shows the timelines held.", stock->server);
    }
    if (timeline->is_damaged)
        return fail_damaged_history(timeline, err);
    plan->history = &timeline->history;
    if (wish->backup == NULL) {
        plan->backup = newest(stock, wish, plan->history);
        return plan->backup != NULL || fail_without_backup(stock, wish, err);
    }
    plan->backup = wish->backup;
    if (reach_is_on_path(plan->history, plan->backup->meta))
        return true;
    error_set(err, ERROR_USAGE, "backup %s does not lie on the way to timeline %" PRIu32, plan->backup->id.text,
              wish->timeline.value);
    return error_hint(err, "It is of timeline %" PRIu32 ". Leave out the backup to have the right one chosen.",
                      plan->backup->meta->end_timeline.value);
}

static bool choose_on_current(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                              struct error *err)
{
    plan->backup = wish->backup != NULL ? wish->backup : newest(stock, wish, NULL);
    if (plan->backup == NULL)
        return fail_without_backup(stock, wish, err);
    const struct plan_timeline *timeline = find_timeline(stock, plan->backup->meta->end_timeline);
    if (timeline == NULL)
        return error_set(err, ERROR_INTEGRITY, "the history of timeline %" PRIu32 ", which backup %s is of, is missing",
                         plan->backup->meta->end_timeline.value, plan->backup->id.text);
    plan->history = &timeline->history;
    return !timeline->is_damaged || fail_damaged_history(timeline, err);
}

/* The highest timeline that a usable backup lies on the way to, as recovery_target_timeline = latest would take it. */
static bool choose_on_latest(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                             struct error *err)
{
    for (size_t i = stock->timeline_count; i-- > 0;) {
        const struct plan_timeline *timeline = &stock->timelines[i];
        if (timeline->is_damaged)
            return fail_damaged_history(timeline, err);
        if (wish->backup != NULL && !reach_is_on_path(&timeline->history, wish->backup->meta))
            continue;
        plan->backup = wish->backup != NULL ? wish->backup : newest(stock, wish, &timeline->history);
        plan->history = &timeline->history;
        if (plan->backup != NULL)
            return true;
    }
    if (wish->backup != NULL)
        return error_set(err, ERROR_INTEGRITY, "the history of timeline %" PRIu32 ", which backup %s is of, is missing",
                         wish->backup->meta->end_timeline.value, wish->backup->id.text);
    return fail_without_backup(stock, wish, err);
}

static bool check_named(const struct plan_wish *wish, struct plan *plan, struct error *err)
{
    const struct catalogue_entry *entry = wish->backup;
    char end[64];

    if (entry->meta == NULL) {
        *err = entry->error;
        return false;
    }
    if (entry->meta->state == BACKUP_COPIED) {
        error_set(err, ERROR_USAGE, "backup %s is not complete: it still waits for the WAL it needs", entry->id.text);
        return error_hint(err, "It becomes complete when the daemon's receiver has caught up; name another one.");
    }
    if (entry->meta->state == BACKUP_DAMAGED)
        plan_warn(plan, "backup %s is damaged: the server reported %" PRIu64 " pages with a wrong checksum",
                  entry->id.text, entry->meta->checksum_failures);
    if (entry->is_suspect)
        plan_warn(plan, "backup %s was found damaged when it was last verified: \"pgcoffer show\" tells how",
                  entry->id.text);
    if (ends_before_target(entry->meta, wish))
        return true;
    describe_end(entry->meta, wish, end, sizeof end);
    error_set(err, ERROR_USAGE, "backup %s cannot reach the target %s: it ended at %s", entry->id.text, wish->value,
              end);
    return error_hint(err, "Leave out the backup to have the right one chosen.");
}

/* A backup that cannot be read, or not be relied on, might have been the right one. */
static void warn_of_passed_over(const struct plan_stock *stock, struct plan *plan)
{
    for (size_t i = 0; i < stock->catalogue->count; i++) {
        const struct catalogue_entry *entry = &stock->catalogue->entries[i];
        if (entry->is_suspect && strcmp(entry->system.text, stock->system->text) == 0)
            plan_warn(plan, "backup %s was passed over, because its last verification found it damaged",
                      entry->id.text);
        if (is_unreadable(stock, entry))
            plan_warn(plan, "backup %s was passed over, because its metadata cannot be read: %.300s", entry->id.text,
                      entry->error.message);
    }
}

bool plan_choose_backup(const struct plan_stock *stock, const struct plan_wish *wish, struct plan *plan,
                        struct error *err)
{
    if (wish->backup != NULL && !check_named(wish, plan, err))
        return false;
    if (wish->backup == NULL)
        warn_of_passed_over(stock, plan);
    switch (wish->timeline_choice) {
    case PLAN_TIMELINE_NUMBER:
        return choose_on_number(stock, wish, plan, err);
    case PLAN_TIMELINE_CURRENT:
        return choose_on_current(stock, wish, plan, err);
    case PLAN_TIMELINE_LATEST:
        break;
    }
    return choose_on_latest(stock, wish, plan, err);
}
