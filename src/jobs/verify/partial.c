#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/*
 * A verification in parts, so that regular runs of a limited time go through everything: the units are backups and
 * stretches of WAL. The looks that cost little (which segments are there, gaps, timelines) are all taken at the
 * beginning.
 */

/* Of WAL: what is read between two looks at the order. */
#define SEGMENTS_IN_UNIT 64

struct unit {
    const struct catalogue_entry *entry; /* NULL: a stretch of WAL */
    size_t wal;                          /* which of the server's */
    struct verify_stretch stretch;
    struct timestamp at;   /* when it was verified last; 0: never */
    uint64_t milliseconds; /* what it is known to take; 0: not known */
    uint64_t bytes;
    size_t server, number; /* for an order that is always the same */
};

struct server {
    struct verify_scope scope;
    struct checked_wal wals[VERIFY_MOST_SYSTEMS];
    size_t wal_count;
    struct verify_wal_outcome outcome;
    size_t left_segments;
    json_t *backups;
};

struct partial {
    struct verify *verify;
    struct server *servers;
    size_t server_count;
    struct unit *units;
    size_t unit_count, unit_room;
    bool is_over;
};

static void partial_done(struct partial *partial)
{
    for (size_t i = 0; i < partial->server_count; i++) {
        struct server *server = &partial->servers[i];
        for (size_t j = 0; j < server->wal_count; j++)
            verify_wal_done(&server->wals[j]);
        verify_scope_done(&server->scope);
        json_decref(server->backups);
    }
    free(partial->servers);
    free(partial->units);
}

/* ---- what there is to do ---- */

static void add_unit(struct partial *partial, struct unit unit)
{
    if (partial->unit_count == partial->unit_room) {
        partial->unit_room = partial->unit_room > 0 ? 2 * partial->unit_room : 64;
        struct unit *units = realloc(partial->units, partial->unit_room * sizeof *units);
        if (units == NULL)
            abort();
        partial->units = units;
    }
    unit.number = partial->unit_count;
    partial->units[partial->unit_count++] = unit;
}

static void plan_backups(struct partial *partial, size_t number)
{
    struct server *server = &partial->servers[number];

    for (size_t i = 0; i < server->scope.catalogue.count; i++) {
        const struct catalogue_entry *entry = &server->scope.catalogue.entries[i];
        struct unit unit = {.entry = entry, .server = number};
        struct backup_proof proof;
        struct error ignored;
        if (!verify_scope_has(&server->scope, entry))
            continue;
        if (verify_is_recent(partial->verify, entry)) {
            verify_add_result(server->backups, entry, VERIFY_RECENT);
            continue;
        }
        if (backup_verified_read(partial->verify->repo, server->scope.server, &entry->system, &entry->id, &proof,
                                 &ignored)) {
            if (proof.at.microseconds <= partial->verify->began.microseconds)
                unit.at = proof.at; /* else a clock was set back: it would come last for as long */
            unit.milliseconds = proof.milliseconds;
            if (unit.milliseconds < proof.unfinished_milliseconds)
                unit.milliseconds = proof.unfinished_milliseconds;
        }
        unit.bytes = entry->meta != NULL ? entry->meta->size_bytes : 0;
        add_unit(partial, unit);
    }
}

static void plan_wal(struct partial *partial, size_t number, size_t which)
{
    struct server *server = &partial->servers[number];
    const struct checked_wal *wal = &server->wals[which];
    const struct backup_meta *from = server->scope.only != NULL ? server->scope.only->meta : NULL;
    struct unit unit = {.server = number, .wal = which};

    for (size_t i = 0; i < wal->files.count; i++) {
        const struct wal_file *file = &wal->files.files[i];
        struct timestamp at = wal_verified_file_at(wal->verified, file, partial->verify->began);
        bool fits = unit.stretch.end == i && unit.at.microseconds == at.microseconds &&
                    unit.stretch.end - unit.stretch.begin < SEGMENTS_IN_UNIT;
        if (verify_is_before(file->segment, verify_first_segment(wal, from)))
            continue;
        if (verify_is_recent_segment(partial->verify, wal->verified, file)) {
            server->outcome.recent++;
            continue;
        }
        if (!fits && unit.stretch.begin < unit.stretch.end)
            add_unit(partial, unit);
        if (!fits)
            unit = (struct unit){.server = number, .wal = which, .stretch = {i, i}, .at = at};
        unit.stretch.end++;
        unit.bytes += file->held_bytes;
    }
    if (unit.stretch.begin < unit.stretch.end)
        add_unit(partial, unit);
}

static bool open_server(struct partial *partial, const struct request *request, size_t number, const char *name,
                        struct error *err)
{
    struct server *server = &partial->servers[number];
    struct verify *verify = partial->verify;

    verify->server = name;
    server->backups = json_array();
    if (!verify_scope_open(verify, request, name, &server->scope, err))
        return false;
    plan_backups(partial, number);
    for (size_t i = 0; i < server->scope.system_count; i++) {
        struct checked_wal *wal = &server->wals[server->wal_count++];
        if (!verify_wal_open(verify, &server->scope.catalogue, &server->scope.systems[i], wal, err))
            return false;
        if (wal->archive.segment_size.bytes == 0)
            continue;
        if (!verify_wal_of_backups(wal, server->scope.only != NULL ? server->scope.only->meta : NULL, err))
            return false;
        plan_wal(partial, number, i);
    }
    return true;
}

static int compare_units(const void *one, const void *other)
{
    const struct unit *left = one, *right = other;

    if (left->at.microseconds != right->at.microseconds)
        return left->at.microseconds < right->at.microseconds ? -1 : 1;
    return left->number < right->number ? -1 : 1;
}

/* ---- the work ---- */

static bool tell_left(struct partial *partial, const struct unit *unit, bool is_begun, struct error *err)
{
    struct server *server = &partial->servers[unit->server];
    char known[TEXT_DURATION_SIZE];

    if (unit->entry == NULL) {
        server->left_segments += unit->stretch.end - unit->stretch.begin;
        return true;
    }
    verify_add_result(server->backups, unit->entry, VERIFY_LEFT);
    if (is_begun)
        return events_log(partial->verify->events, err, "warning",
                          "%s: the time was over before backup %s was read to its end: it counts as not verified",
                          server->scope.server, unit->entry->id.text);
    if (partial->is_over)
        return true;
    text_format_duration((double)unit->milliseconds / 1000, known);
    return events_log(partial->verify->events, err, "warning",
                      "%s: backup %s needs about %s, for which there is not time enough: it is left",
                      server->scope.server, unit->entry->id.text, known);
}

static bool has_time_for(const struct partial *partial, const struct unit *unit)
{
    int64_t rest = partial->verify->deadline - clock_monotonic();

    return partial->verify->deadline == 0 || (rest > 0 && (uint64_t)rest / 1000 > unit->milliseconds);
}

static bool check_unit(struct partial *partial, const struct unit *unit, struct error *err)
{
    struct server *server = &partial->servers[unit->server];
    struct verify *verify = partial->verify;
    enum verify_outcome outcome;

    verify->server = server->scope.server;
    if (unit->entry == NULL)
        return verify_segments(&server->wals[unit->wal], unit->stretch, (struct wal_segment){{0}, 0}, &server->outcome,
                               err);
    if (!verify_backup(verify, unit->entry, &outcome, err))
        return false;
    verify_add_result(server->backups, unit->entry, outcome);
    return true;
}

static bool run_units(struct partial *partial, struct error *err)
{
    struct error failure;

    for (size_t i = 0; i < partial->unit_count; i++) {
        const struct unit *unit = &partial->units[i];
        struct verify_wal_outcome *outcome = &partial->servers[unit->server].outcome;
        size_t segments = outcome->segments;
        partial->is_over = partial->verify->deadline != 0 && clock_monotonic() >= partial->verify->deadline;
        bool is_begun = !partial->is_over && has_time_for(partial, unit);
        if (is_begun && check_unit(partial, unit, &failure))
            continue;
        if (is_begun && failure.errnum != ETIME) {
            *err = failure;
            return false;
        }
        outcome->segments = segments; /* those that were read are recorded, and told with the next run */
        if (!tell_left(partial, unit, is_begun, err))
            return false;
    }
    return true;
}

static void report(const struct partial *partial, json_t *results)
{
    for (size_t i = 0; i < partial->server_count; i++) {
        struct server *server = &partial->servers[i];
        json_t *ranges = json_array();
        for (size_t j = 0; j < server->wal_count; j++) {
            json_t *more SCOPED(scoped_json) = verify_ranges_to_json(&server->wals[j]);
            json_array_extend(ranges, more);
        }
        json_t *wal = json_pack("{s:I, s:I, s:I, s:o, s:[]}", "segments", (json_int_t)server->outcome.segments,
                                "recent", (json_int_t)server->outcome.recent, "left", (json_int_t)server->left_segments,
                                "ranges", ranges, "problems");
        json_array_append_new(results, json_pack("{s:s, s:O, s:o}", "server", server->scope.server, "backups",
                                                 server->backups, "wal", wal));
    }
}

bool verify_partially(struct verify *verify, const struct request *request, const struct config *config,
                      json_t *results, struct error *err)
{
    struct partial partial SCOPED(partial_done) = {.verify = verify};
    const char **names SCOPED(scoped_free) = NULL;
    size_t count = 0;
    uint64_t bytes = 0;

    if (!verify_names(verify, request, config, &names, &count, err))
        return false;
    partial.servers = memory_new((count + 1) * sizeof *partial.servers);
    for (size_t i = 0; i < count; i++) {
        partial.server_count++;
        if (!open_server(&partial, request, i, names[i], err))
            return false;
    }
    if (partial.unit_count > 0 && request_has(request, OPTION_ID_oldest_first))
        qsort(partial.units, partial.unit_count, sizeof *partial.units, compare_units);
    for (size_t i = 0; i < partial.unit_count; i++)
        bytes += partial.units[i].bytes;
    progress_meter_phase(&verify->meter, clock_monotonic(), "verify", count == 1 ? names[0] : "", bytes);
    if (!run_units(&partial, err))
        return false;
    report(&partial, results);
    return true;
}
