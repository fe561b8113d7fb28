#include "jobs/serve/windows_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "pgcoffer/base/memory.h"

/* From one backup's end to the next one's the same backup and timeline are taken. */
struct stretch {
    struct timestamp from;   /* first: it is sorted by */
    struct timestamp before; /* 0: the last one */
    struct timestamp until;  /* what is reached of it; 0: nothing */
    const struct catalogue_entry *entry;
    const struct history *history; /* NULL: it cannot be told */
    struct reach reach;
    struct window_gap loss; /* why no more is reached; its times are not set */
    bool has_loss;
};

const char *window_loss_word(enum window_loss loss)
{
    static const char *const words[WINDOW_LOSS_COUNT] = {"wal", "own-wal", "history", "expired", "unproven"};

    return words[loss];
}

const char *window_place_word(enum window_place place)
{
    static const char *const words[] = {"within", "own-end", "timeline", "unusable"};

    return words[place];
}

/* ---- one stretch ---- */

static bool has_own_wal(const struct plan_stock *stock, const struct history *history,
                        const struct catalogue_entry *entry, struct wal_gap *ret_missing)
{
    const struct wal_gap *known;

    if (plan_has_own_wal(stock, history, entry->meta, &ret_missing->timeline, &ret_missing->start))
        return true;
    known = stock->gaps != NULL ? wal_gaps_at(stock->gaps, ret_missing->timeline, ret_missing->start) : NULL;
    if (known != NULL)
        *ret_missing = *known;
    return false;
}

static void lose(struct stretch *stretch, enum window_loss loss)
{
    stretch->has_loss = true;
    stretch->loss.loss = loss;
    stretch->loss.losses = 1;
}

/* What ends the reach; false when nothing is missing there. */
static bool find_missing(const struct plan_stock *stock, const struct stretch *stretch, struct wal_gap *ret_missing)
{
    const struct reach *reach = &stretch->reach;
    const struct wal_gap *known = stock->gaps != NULL ? reach_find_gap(reach, stretch->history, stock->gaps) : NULL;

    if (known != NULL)
        *ret_missing = *known;
    else
        *ret_missing =
            (struct wal_gap){.timeline = reach->timeline,
                             .start = reach->end,
                             .end = {reach->gap_timeline.value == reach->timeline.value ? reach->gap_end.value : 0}};
    return known != NULL || reach->has_gap;
}

static struct timestamp find_until(const struct plan_stock *stock, const struct window_lookup *lookup,
                                   const struct stretch *stretch)
{
    struct timestamp noted = plan_noted_at(stock, stretch->history, &stretch->reach);
    struct timestamp commit = {0};

    /* A note that is newer than the newest file says more than the records do, and they need not be looked for. */
    if (noted.microseconds < stretch->reach.written_at.microseconds)
        commit = lookup->last_commit(lookup->context, stretch->history, &stretch->reach);
    return reach_until(stretch->entry->meta, noted, commit);
}

static void look_at(const struct plan_stock *stock, const struct window_lookup *lookup, struct stretch *stretch)
{
    const struct plan_wish wish = {.target = PLAN_TIME, .value = "", .time = stretch->from};
    struct plan *plan SCOPED(scoped_free) = memory_new(sizeof *plan);
    struct error damage;

    if (!plan_choose_backup(stock, &wish, plan, &damage)) {
        snprintf(stretch->loss.damage, sizeof stretch->loss.damage, "%.255s", damage.message);
        lose(stretch, WINDOW_LOSS_HISTORY);
        return;
    }
    stretch->entry = plan->backup;
    stretch->history = plan->history;
    if (!has_own_wal(stock, stretch->history, stretch->entry, &stretch->loss.wal)) {
        stretch->loss.backup = stretch->entry;
        lose(stretch, WINDOW_LOSS_OWN_WAL);
        return;
    }
    const struct backup_meta *meta = stretch->entry->meta;
    stretch->reach = reach_along(stock->ranges, stretch->history, meta->start_timeline, meta->start_position);
    stretch->until = find_until(stock, lookup, stretch);
    bool is_last = stretch->before.microseconds == 0;
    if (stretch->until.microseconds < stretch->from.microseconds)
        stretch->until.microseconds = 0; /* a backup that was begun later and ended earlier: a clock was changed */
    if (!is_last && stretch->until.microseconds >= stretch->before.microseconds - 1)
        stretch->until.microseconds = stretch->before.microseconds - 1;
    else if (find_missing(stock, stretch, &stretch->loss.wal))
        lose(stretch, plan_is_expired(stock, stretch->loss.wal.timeline, stretch->loss.wal.start) ? WINDOW_LOSS_EXPIRED
                                                                                                  : WINDOW_LOSS_WAL);
    else if (!is_last)
        lose(stretch, WINDOW_LOSS_UNPROVEN);
}

/* ---- all of them ---- */

static int compare_times(const void *left, const void *right)
{
    const struct timestamp *one = left, *other = right;

    return (one->microseconds > other->microseconds) - (one->microseconds < other->microseconds);
}

/* The ends of the backups, each once; malloc'd. */
static struct timestamp *NEVER_NULL list_ends(const struct windows *windows, size_t *ret_count)
{
    struct timestamp *ends = memory_new((windows->backup_count + 1) * sizeof *ends);
    size_t count = 0;

    for (size_t i = 0; i < windows->backup_count; i++)
        ends[i] = reach_stop_time(windows->backups[i].entry->meta);
    qsort(ends, windows->backup_count, sizeof *ends, compare_times);
    for (size_t i = 0; i < windows->backup_count; i++)
        if (count == 0 || ends[count - 1].microseconds != ends[i].microseconds)
            ends[count++] = ends[i];
    *ret_count = count;
    return ends;
}

static bool is_behind_another(const struct windows *windows, struct timestamp from)
{
    return windows->count > 0 && windows->windows[windows->count - 1].until.microseconds == from.microseconds - 1;
}

static void add_reached(struct windows *windows, const struct stretch *stretch)
{
    if (stretch->until.microseconds <= stretch->from.microseconds && !is_behind_another(windows, stretch->from))
        return; /* its own end alone */
    if (!is_behind_another(windows, stretch->from)) {
        if (windows->count == 0)
            windows->gap_count = 0;
        else if (windows->gap_count > 0)
            windows->gaps[windows->gap_count - 1].until = stretch->from;
        windows->windows[windows->count++] = (struct window){.from = stretch->from, .first = stretch->entry};
    }
    struct window *window = &windows->windows[windows->count - 1];
    window->until = stretch->until;
    window->last = stretch->entry;
    window->timeline = stretch->reach.timeline;
    window->end = stretch->reach.end;
    window->is_open = stretch->before.microseconds == 0 && !stretch->has_loss &&
                      stretch->reach.timeline.value == stretch->history->timeline.value;
}

/* The next backup reaches as far: what is missing there ends that stretch, and not this one. */
static void settle_loss(struct stretch *stretch, const struct stretch *next)
{
    bool is_of_wal = stretch->loss.loss == WINDOW_LOSS_WAL || stretch->loss.loss == WINDOW_LOSS_EXPIRED;

    if (is_of_wal && next->until.microseconds != 0 && stretch->reach.timeline.value == next->reach.timeline.value &&
        stretch->reach.end.value == next->reach.end.value)
        stretch->loss.loss = WINDOW_LOSS_UNPROVEN;
}

static void add_lost(struct windows *windows, const struct stretch *stretch)
{
    struct window_gap *last = windows->gap_count > 0 ? &windows->gaps[windows->gap_count - 1] : NULL;

    if (!stretch->has_loss)
        return;
    if (last != NULL && last->until.microseconds == 0) {
        bool is_better_known = last->loss == WINDOW_LOSS_UNPROVEN;
        struct window_gap told = is_better_known ? stretch->loss : *last;
        told.from = last->from;
        told.losses = last->losses + 1;
        *last = told;
        return;
    }
    windows->gaps[windows->gap_count] = stretch->loss;
    windows->gaps[windows->gap_count++].from =
        windows->count > 0 ? windows->windows[windows->count - 1].until : (struct timestamp){0};
}

/* ---- the backups ---- */

static bool is_within(const struct windows *windows, struct timestamp time)
{
    for (size_t i = 0; i < windows->count; i++)
        if (windows->windows[i].from.microseconds <= time.microseconds &&
            time.microseconds <= windows->windows[i].until.microseconds)
            return true;
    return false;
}

/* The highest timeline that it lies on the way to; NULL: none that is known. */
static const struct history *find_way(const struct plan_stock *stock, const struct backup_meta *meta)
{
    for (size_t i = stock->timeline_count; i-- > 0;)
        if (!stock->timelines[i].is_damaged && reach_is_on_path(&stock->timelines[i].history, meta))
            return &stock->timelines[i].history;
    return NULL;
}

static void find_place(const struct plan_stock *stock, const struct windows *windows, const struct stretch *stretch,
                       struct window_backup *backup)
{
    const struct backup_meta *meta = backup->entry->meta;
    bool is_followed = stretch->history != NULL && reach_is_on_path(stretch->history, meta);
    const struct history *history = is_followed ? stretch->history : find_way(stock, meta);
    struct wal_gap missing;

    backup->place = WINDOW_PLACE_UNUSABLE;
    if (history == NULL || !has_own_wal(stock, history, backup->entry, &missing))
        return;
    backup->timeline = history->timeline;
    if (!is_followed)
        backup->place = WINDOW_PLACE_TIMELINE;
    else
        backup->place = is_within(windows, reach_stop_time(meta)) ? WINDOW_PLACE_WITHIN : WINDOW_PLACE_OWN_END;
}

static void find_places(const struct plan_stock *stock, const struct stretch *stretches, size_t count,
                        struct windows *windows)
{
    for (size_t i = 0; i < windows->backup_count; i++) {
        struct stretch wanted = {.from = reach_stop_time(windows->backups[i].entry->meta)};
        const struct stretch *stretch = bsearch(&wanted, stretches, count, sizeof *stretches, compare_times);
        find_place(stock, windows, stretch, &windows->backups[i]);
    }
}

void windows_find(const struct plan_stock *stock, const struct window_lookup *lookup, struct windows *ret_windows)
{
    const struct plan_wish any = {.target = PLAN_END};
    size_t room = stock->catalogue->count + 1, count = 0;
    struct windows windows = {.windows = memory_new(room * sizeof *windows.windows),
                              .gaps = memory_new(room * sizeof *windows.gaps),
                              .backups = memory_new(room * sizeof *windows.backups)};

    for (size_t i = 0; i < stock->catalogue->count; i++)
        if (plan_is_candidate(stock, &any, NULL, &stock->catalogue->entries[i]))
            windows.backups[windows.backup_count++].entry = &stock->catalogue->entries[i];
    struct timestamp *ends SCOPED(scoped_free) = list_ends(&windows, &count);
    struct stretch *stretches SCOPED(scoped_free) = memory_new((count + 1) * sizeof *stretches);
    for (size_t i = 0; i < count; i++) {
        stretches[i] = (struct stretch){.from = ends[i], .before = {i + 1 < count ? ends[i + 1].microseconds : 0}};
        look_at(stock, lookup, &stretches[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count)
            settle_loss(&stretches[i], &stretches[i + 1]);
        if (stretches[i].until.microseconds != 0)
            add_reached(&windows, &stretches[i]);
        add_lost(&windows, &stretches[i]);
    }
    find_places(stock, stretches, count, &windows);
    *ret_windows = windows;
}

void windows_done(struct windows *windows)
{
    free(windows->windows);
    free(windows->gaps);
    free(windows->backups);
    *windows = (struct windows){.count = 0};
}
