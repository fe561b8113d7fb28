#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/expire/expire_internal.h"
#include "jobs/reach_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/backup_notes.h"
#include "pgcoffer/repo/wal_lease.h"

#define MOST_WARNINGS 50

void expire_warn(struct expire *expire, const char *format, ...)
{
    char text[400];
    va_list arguments;

    if (json_array_size(expire->warnings) == MOST_WARNINGS)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(expire->warnings, control_text(text));
}

/* ---- WAL ---- */

static void wal_done(struct expire_wal *wal)
{
    wal_files_done(&wal->files);
    wal_histories_done(&wal->histories);
    wal_ranges_done(&wal->sound);
    free(wal->verdicts);
    free(wal->leases);
}

bool expire_read_leases(struct expire *expire, struct expire_wal *wal, bool *ret_is_new, struct error *err)
{
    size_t before = wal->view.lease_count;

    free(wal->leases);
    wal->leases = NULL;
    wal->view.lease_count = 0;
    if (!wal_leases_read(expire->repo, expire->server, &wal->archive.system, expire->stock.now, &wal->leases,
                         &wal->view.lease_count, err))
        return false;
    wal->view.leases = wal->leases;
    if (ret_is_new != NULL)
        *ret_is_new = wal->view.lease_count > before;
    return true;
}

static bool open_wal(struct expire *expire, const struct system_id *system, struct expire_wal *wal, struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct wal_gaps gaps SCOPED(scoped_wal_gaps) = {NULL, 0};

    if (!wal_archive_open(expire->repo, expire->server, system, (struct wal_segment_size){0}, &wal->archive, err))
        return false;
    if (wal->archive.segment_size.bytes == 0)
        return true;
    if (!wal_archive_list(&wal->archive, &wal->files, err) ||
        !wal_archive_histories(&wal->archive, &wal->histories, err) || !wal_gaps_read(&wal->archive, &record, err) ||
        !wal_gaps_look(&wal->archive, &record, &wal->sound, &gaps, err))
        return false;
    wal->view = (struct retention_wal){
        .system = *system,
        .is_current = !expire->knows_current || strcmp(expire->catalogue.current.text, system->text) == 0,
        .segment_size = wal->archive.segment_size,
        .files = &wal->files,
        .histories = wal->histories.histories,
        .history_count = wal->histories.count,
        .has_damaged_history = wal->histories.has_damage,
    };
    wal->verdicts = memory_new((wal->files.count + 1) * sizeof *wal->verdicts);
    return expire_read_leases(expire, wal, NULL, err);
}

static bool open_each_wal(struct expire *expire, struct error *err)
{
    struct system_id *systems SCOPED(scoped_free) = NULL, current;
    struct error failure;
    size_t count = 0;

    if (!repo_read_systems(expire->repo, expire->server, &systems, &count, err))
        return false;
    expire->knows_current = repo_read_server(expire->repo, expire->server, &current, &failure);
    if (!expire->knows_current && failure.errnum != ENOENT)
        expire_warn(expire, "no cluster is taken for a former one: %.250s", failure.message);
    expire->wal = memory_new((count + 1) * sizeof *expire->wal);
    for (size_t i = 0; i < count; i++) {
        expire->wal_count++;
        if (!open_wal(expire, &systems[i], &expire->wal[i], err))
            return error_wrap(err, "could not look through the WAL of \"%s\"", expire->server);
        if (expire->wal[i].view.has_damaged_history)
            expire_warn(expire, "no WAL is removed: %s", expire->wal[i].histories.damage.message);
    }
    return true;
}

/* ---- backups ---- */

/* Its name says when it began, also when nothing else can be read. */
static struct timestamp start_of(const struct backup_id *id)
{
    struct timestamp start = {0};
    struct error ignored;
    char text[TIMESTAMP_TEXT_SIZE];
    const char *at = id->text;

    snprintf(text, sizeof text, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", at, at + 4, at + 6, at + 9, at + 11, at + 13);
    if (!timestamp_parse(text, &start, &ignored))
        start.microseconds = INT64_MAX; /* the 31st of February: of the future, and kept */
    return start;
}

/* A backup without all of its own WAL is restored by nobody. *ret_is_known: false when nobody can tell. */
static bool has_own_wal(const struct expire *expire, const struct backup_meta *meta, bool *ret_is_known)
{
    struct timeline missing_timeline;
    struct wal_position missing;

    *ret_is_known = true;
    for (size_t i = 0; i < expire->wal_count; i++) {
        const struct expire_wal *wal = &expire->wal[i];
        if (wal->archive.segment_size.bytes == 0 || strcmp(wal->archive.system.text, meta->system.text) != 0)
            continue;
        const struct history *history =
            histories_find(wal->histories.histories, wal->histories.count, meta->end_timeline);
        *ret_is_known = history != NULL;
        return history != NULL &&
               wal_ranges_cover(&wal->sound, history, meta->start_timeline, meta->start_position, meta->end_position,
                                wal->archive.segment_size, &missing_timeline, &missing);
    }
    return false;
}

static enum retention_state state_of(struct expire *expire, const struct catalogue_entry *entry)
{
    bool is_known = true;

    if (entry->meta == NULL) {
        expire_warn(expire, "backup %s cannot be read, so it is kept, and all WAL with it: %.250s", entry->id.text,
                    entry->error.message);
        return RETENTION_UNREADABLE;
    }
    if (entry->meta->state == BACKUP_COPIED)
        return RETENTION_WAITING;
    if (entry->meta->state == BACKUP_COMPLETE && !has_own_wal(expire, entry->meta, &is_known)) {
        if (!is_known) {
            expire_warn(expire, "backup %s is kept, and all WAL with it: the history of timeline %u cannot be read",
                        entry->id.text, (unsigned)entry->meta->end_timeline.value);
            return RETENTION_UNREADABLE;
        }
        expire_warn(expire, "backup %s does not count: WAL that it needs is missing or damaged", entry->id.text);
        return RETENTION_UNSOUND;
    }
    return catalogue_is_usable(entry) ? RETENTION_COMPLETE : RETENTION_UNSOUND;
}

static void take_required(json_t *document, struct retention_backup *backup)
{
    const json_t *list = json_object_get(document, "requires_backups");
    const json_t *id;
    size_t i;

    const char **ids = memory_new((json_array_size(list) + 1) * sizeof *ids);
    json_array_foreach(list, i, id)
    {
        if (json_is_string(id))
            ids[backup->required_count++] = json_string_value(id);
    }
    backup->required_ids = ids;
}

static void take_pin(struct expire *expire, const struct catalogue_entry *entry, struct retention_backup *backup)
{
    struct backup_pin pin;
    struct error failure;

    if (!backup_pin_read(expire->repo, expire->server, &entry->system, &entry->id, &pin, &failure))
        expire_warn(expire, "the pin of backup %s cannot be read, so it holds: %.250s", entry->id.text,
                    failure.message);
    backup->is_pinned = backup_pin_holds(&pin, expire->stock.now);
}

static void take_backup(struct expire *expire, size_t index)
{
    const struct catalogue_entry *entry = &expire->catalogue.entries[index];
    const struct backup_meta *meta = entry->meta;
    struct retention_backup *backup = &expire->backups[index];

    *backup = (struct retention_backup){.id = entry->id, .system = entry->system, .started_at = start_of(&entry->id)};
    backup->state = state_of(expire, entry);
    take_pin(expire, entry, backup);
    if (meta == NULL)
        return;
    backup->major_version = meta->server_version / 10000;
    /* A clock that was behind must not make it older than it is. */
    backup->stopped_at = reach_stop_time(meta);
    if (backup->stopped_at.microseconds < meta->stopped_at.microseconds)
        backup->stopped_at = meta->stopped_at;
    backup->start_timeline = meta->start_timeline;
    backup->end_timeline = meta->end_timeline;
    backup->start = meta->start_position;
    backup->end = meta->end_position;
    expire->required[index] = backup_meta_to_json(meta);
    take_required(expire->required[index], backup);
}

static void find_ways(struct expire *expire)
{
    size_t most = 0, count = 0;

    for (size_t i = 0; i < expire->wal_count; i++)
        most += expire->wal[i].files.count;
    expire->ways = memory_new((most + 1) * sizeof *expire->ways);
    for (size_t i = 0; i < expire->wal_count; i++) {
        if (expire->wal[i].files.count > 0)
            retention_find_ways(&expire->policy, &expire->wal[i].view, expire->stock.now,
                                expire->ways + expire->stock.way_count, &count);
        expire->stock.way_count += expire->wal[i].files.count > 0 ? count : 0;
    }
    expire->stock.ways = expire->ways;
}

bool expire_open(const struct repo *repo, const char *server, const struct retention_policy *policy,
                 struct timestamp now, struct expire *ret_expire, struct error *err)
{
    struct expire *expire = ret_expire;

    *expire =
        (struct expire){.repo = repo, .server = server, .policy = *policy, .stock.now = now, .warnings = json_array()};
    if (!catalogue_read(repo, server, &expire->catalogue, err) || !open_each_wal(expire, err))
        return false;
    size_t count = expire->catalogue.count;
    expire->backups = memory_new((count + 1) * sizeof *expire->backups);
    expire->verdicts = memory_new((count + 1) * sizeof *expire->verdicts);
    expire->required = memory_new((count + 1) * sizeof *expire->required);
    expire->stock = (struct retention_stock){
        .backups = expire->backups, .count = count, .current = expire->catalogue.current, .now = now};
    find_ways(expire);
    for (size_t i = 0; i < count; i++) {
        take_backup(expire, i);
        if (expire->backups[i].started_at.microseconds > now.microseconds)
            expire_warn(expire, "backup %s began in the future: look at the clock", expire->backups[i].id.text);
    }
    return true;
}

void expire_done(struct expire *expire)
{
    for (size_t i = 0; i < expire->wal_count; i++)
        wal_done(&expire->wal[i]);
    for (size_t i = 0; i < expire->stock.count; i++) {
        json_decref(expire->required[i]);
        free((void *)expire->backups[i].required_ids);
    }
    free(expire->wal);
    free(expire->ways);
    free(expire->backups);
    free(expire->verdicts);
    free(expire->required);
    catalogue_done(&expire->catalogue);
    json_decref(expire->warnings);
    *expire = (struct expire){.server = ""};
}

void expire_decide_wal(struct expire *expire)
{
    for (size_t i = 0; i < expire->wal_count; i++)
        if (expire->wal[i].archive.segment_size.bytes != 0)
            retention_decide_wal(&expire->policy, &expire->stock, expire->verdicts, &expire->wal[i].view,
                                 expire->wal[i].verdicts);
}

void expire_decide(struct expire *expire)
{
    retention_decide(&expire->policy, &expire->stock, expire->verdicts);
    expire_decide_wal(expire);
}
