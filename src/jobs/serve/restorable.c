#include "jobs/serve/restorable_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "jobs/events_internal.h"
#include "jobs/gap_told_internal.h"
#include "jobs/serve/held_wal_internal.h"
#include "jobs/serve/windows_internal.h"

/* It stands in lines with other things; of more of them the newest are told, and how many there are. */
#define MOST_WINDOWS 12
#define MOST_NAMED   16

static struct timestamp last_commit(void *context, const struct history *history, const struct reach *reach)
{
    return held_wal_last_commit(context, history, reach);
}

static json_t *window_to_json(const struct window *window)
{
    return json_pack("{s:o, s:o, s:I, s:o, s:s, s:s, s:b}", "from", json_time(window->from), "until",
                     json_time(window->until), "timeline", (json_int_t)window->timeline.value, "lsn",
                     events_position(window->end), "backup", window->first->id.text, "last_backup",
                     window->last->id.text, "open", (int)window->is_open);
}

static void describe_loss(const struct window_gap *gap, char *ret_text, size_t size)
{
    char missing[GAP_TOLD_SIZE], start[WAL_POSITION_TEXT_SIZE];

    gap_describe(&gap->wal, missing);
    switch (gap->loss) {
    case WINDOW_LOSS_WAL:
        snprintf(ret_text, size, "WAL is missing %s", missing);
        break;
    case WINDOW_LOSS_OWN_WAL:
        snprintf(ret_text, size, "backup %s needs WAL that is missing %s", gap->backup->id.text, missing);
        break;
    case WINDOW_LOSS_HISTORY:
        snprintf(ret_text, size, "which timeline is to be followed cannot be told: %s", gap->damage);
        break;
    case WINDOW_LOSS_EXPIRED:
        wal_position_format(gap->wal.start, start);
        snprintf(ret_text, size, "retention removed WAL from %s on, on timeline %" PRIu32, start,
                 gap->wal.timeline.value);
        break;
    case WINDOW_LOSS_UNPROVEN:
        snprintf(ret_text, size, "nothing shows that the WAL held is all of that time");
        break;
    }
}

static json_t *gap_of_window_to_json(const struct window_gap *gap, struct wal_segment_size size)
{
    bool is_of_wal = gap->loss == WINDOW_LOSS_WAL || gap->loss == WINDOW_LOSS_OWN_WAL;
    json_t *wal = is_of_wal ? gap_to_json(&gap->wal, size) : json_null();
    char words[512];

    describe_loss(gap, words, sizeof words);
    json_object_del(wal, "words"); /* `wal status` tells them */
    return json_pack("{s:o, s:o, s:s, s:o, s:I, s:o}", "from", json_time(gap->from), "until", json_time(gap->until),
                     "loss", window_loss_word(gap->loss), "words", control_text(words), "losses",
                     (json_int_t)gap->losses, "wal", wal);
}

static void add_windows(json_t *json, const struct windows *windows, struct wal_segment_size size)
{
    json_t *list = json_array(), *gaps = json_array();
    size_t first = windows->count > MOST_WINDOWS ? windows->count - MOST_WINDOWS : 0;
    size_t first_gap = windows->gap_count > MOST_WINDOWS ? windows->gap_count - MOST_WINDOWS : 0;

    for (size_t i = first; i < windows->count; i++)
        json_array_append_new(list, window_to_json(&windows->windows[i]));
    for (size_t i = first_gap; i < windows->gap_count; i++)
        json_array_append_new(gaps, gap_of_window_to_json(&windows->gaps[i], size));
    json_object_set_new(json, "windows", list);
    json_object_set_new(json, "window_count", json_integer((json_int_t)windows->count));
    json_object_set_new(json, "gaps", gaps);
    json_object_set_new(json, "gap_count", json_integer((json_int_t)windows->gap_count));
}

/* {"count":N,"newest":[{"backup","at","timeline"}]} of those in that place. */
static json_t *place_to_json(const struct windows *windows, enum window_place place)
{
    json_t *newest = json_array();
    json_int_t count = 0;

    for (size_t i = windows->backup_count; i-- > 0;) {
        const struct window_backup *backup = &windows->backups[i];
        if (backup->place != place || count++ >= MOST_NAMED)
            continue;
        json_array_insert_new(newest, 0,
                              json_pack("{s:s, s:o, s:I}", "backup", backup->entry->id.text, "at",
                                        json_time(reach_stop_time(backup->entry->meta)), "timeline",
                                        (json_int_t)backup->timeline.value));
    }
    return json_pack("{s:I, s:o}", "count", count, "newest", newest);
}

static json_int_t count_former(const struct catalogue *catalogue)
{
    json_int_t count = 0;

    for (size_t i = 0; i < catalogue->count; i++)
        count += catalogue_is_usable(&catalogue->entries[i]) &&
                 !catalogue_is_current(catalogue, &catalogue->entries[i].system);
    return count;
}

static json_t *windows_to_json(const struct windows *windows, const struct stock *stock, const struct error *failure)
{
    json_t *json = json_object();
    json_t *error = failure != NULL ? control_failure_to_json(failure) : json_null();

    add_windows(json, windows, stock->archive.segment_size);
    json_object_set_new(json, "backups", json_integer((json_int_t)windows->backup_count));
    json_object_set_new(json, "own_end", place_to_json(windows, WINDOW_PLACE_OWN_END));
    json_object_set_new(json, "other_timelines", place_to_json(windows, WINDOW_PLACE_TIMELINE));
    json_object_set_new(json, "unusable", place_to_json(windows, WINDOW_PLACE_UNUSABLE));
    json_object_set_new(json, "former_systems", json_integer(count_former(&stock->catalogue)));
    json_object_set_new(json, "error", error);
    return json;
}

/* Backups alone, without a look at the WAL, which keeps them from being restored. */
static void list_unusable(const struct stock *stock, struct windows *ret_windows)
{
    static const struct window_lookup none = {.context = NULL};
    const struct plan_stock empty = {.server = "",
                                     .catalogue = &stock->catalogue,
                                     .system = &stock->catalogue.current,
                                     .ranges = &stock->ranges,
                                     .segment_size = {1 << 20}};

    windows_find(&empty, &none, ret_windows);
}

json_t *restorable_to_json(struct stock *stock, const struct repo *repo, const char *server)
{
    struct held_wal wal = {.is_open = false};
    const struct window_lookup lookup = {.context = &wal, .last_commit = last_commit};
    struct windows windows SCOPED(scoped_windows) = {.count = 0};
    struct error failure;

    if (stock_read_wal(stock, repo, server, &stock->catalogue.current, &failure)) {
        const struct plan_stock plan = stock_for_plan(stock, server);
        wal.archive = stock->archive;
        windows_find(&plan, &lookup, &windows);
        return windows_to_json(&windows, stock, NULL);
    }
    list_unusable(stock, &windows);
    windows.gap_count = 0; /* the failure says more */
    return windows_to_json(&windows, stock, windows.backup_count > 0 ? &failure : NULL);
}
