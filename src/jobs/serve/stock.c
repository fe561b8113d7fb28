#include "jobs/serve/stock_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"

void stock_done(struct stock *stock)
{
    for (size_t i = 0; i < stock->timeline_count; i++)
        history_done(&stock->timelines[i].history);
    free(stock->timelines);
    wal_ranges_done(&stock->ranges);
    wal_gaps_done(&stock->gaps);
    wal_ranges_done(&stock->expired);
    catalogue_done(&stock->catalogue);
    *stock = (struct stock){.timeline_count = 0};
}

bool stock_open_wal(const struct repo *repo, const char *server, const struct system_id *system,
                    struct wal_archive *ret_archive, struct error *err)
{
    if (system->text[0] == '\0') {
        error_set(err, ERROR_INTEGRITY, "nothing was ever stored of \"%s\"", server);
        return error_hint(err, "\"pgcoffer status %s\" tells whether its WAL receiver has met the server.", server);
    }
    if (!wal_archive_open(repo, server, system, (struct wal_segment_size){0}, ret_archive, err))
        return false;
    return ret_archive->segment_size.bytes != 0 ||
           error_set(err, ERROR_INTEGRITY, "no WAL was ever stored of \"%s\", system %s", server, system->text);
}

static void add_timeline(struct stock *stock, struct timeline timeline)
{
    struct plan_timeline *entry = &stock->timelines[stock->timeline_count];

    *entry = (struct plan_timeline){0};
    if (!wal_archive_history(&stock->archive, timeline, &entry->history, &entry->damage)) {
        /* A switch that is not published yet: WAL without a history. */
        if (entry->damage.errnum == ENOENT)
            return;
        entry->is_damaged = true;
        entry->history.timeline = timeline;
    }
    entry->complete = wal_complete_read(&stock->archive, timeline);
    stock->timeline_count++;
}

static bool gather_timelines(struct stock *stock, struct error *err)
{
    struct timeline *timelines SCOPED(scoped_free) = NULL;
    size_t count = 0;

    if (!wal_archive_timelines(&stock->archive, &timelines, &count, err))
        return false;
    /* And timeline 1, which has no history file: its last segments may be what is missing. */
    stock->timelines = calloc(count + 1, sizeof *stock->timelines);
    if (stock->timelines == NULL)
        return error_set(err, ERROR_FAILED, "no memory for %zu timelines", count);
    if (count == 0 || timelines[0].value != 1)
        add_timeline(stock, (struct timeline){1});
    for (size_t i = 0; i < count; i++)
        add_timeline(stock, timelines[i]);
    return true;
}

static bool read_held(struct stock *stock, struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};

    wal_expired_read(&stock->archive, &stock->expired);
    return wal_gaps_read(&stock->archive, &record, err) &&
           wal_gaps_look(&stock->archive, &record, &stock->ranges, &stock->gaps, err);
}

bool stock_read_wal(struct stock *stock, const struct repo *repo, const char *server, const struct system_id *system,
                    struct error *err)
{
    return stock_open_wal(repo, server, system, &stock->archive, err) && read_held(stock, err) &&
           gather_timelines(stock, err);
}

struct plan_stock stock_for_plan(const struct stock *stock, const char *server)
{
    return (struct plan_stock){
        .server = server,
        .catalogue = &stock->catalogue,
        .system = &stock->archive.system,
        .timelines = stock->timelines,
        .timeline_count = stock->timeline_count,
        .ranges = &stock->ranges,
        .gaps = &stock->gaps,
        .expired = &stock->expired,
        .segment_size = stock->archive.segment_size,
    };
}
