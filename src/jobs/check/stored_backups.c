#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "jobs/check/store_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define DAY_MICROSECONDS INT64_C(86400000000)
/*
 * Who backs up least often does it once a week, and the next one may start late and take its time. There is no setting
 * for it: retention knows days and weeks, not how often a timer runs.
 */
#define NEWEST_MOST_DAYS 8
/* The WAL a backup needs comes within seconds while the receiver streams. */
#define COPIED_MOST_MICROSECONDS INT64_C(3600000000)

static const struct backup_meta *find_newest(const struct catalogue *catalogue)
{
    for (size_t i = catalogue->count; i-- > 0;) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (catalogue_is_usable(entry) && catalogue_is_current(catalogue, &entry->system))
            return entry->meta;
    }
    return NULL;
}

/* ---- backup.newest ---- */

static void tell_none(struct store *store)
{
    struct finding finding = {.check = CHECK_ID_backup_newest};

    if (store->catalogue.count == 0)
        finding_seen(&finding, "no backup");
    else
        finding_seen(&finding, "%zu backups, none of them complete and of the present cluster", store->catalogue.count);
    finding_cause(&finding, finding.check, "There is no complete backup of \"%s\" yet: nothing can be restored.",
                  store->server);
    finding_fix(&finding, "pgcoffer backup %s", store->server);
    check_warn(store->run, &finding);
}

static void check_newest(struct store *store)
{
    const enum check_id id = CHECK_ID_backup_newest;
    struct finding finding = {.check = id};
    const struct backup_meta *newest = store->newest;
    char stopped_at[TIMESTAMP_TEXT_SIZE];

    if (newest == NULL) {
        tell_none(store);
        return;
    }
    int64_t age = clock_now().microseconds - newest->stopped_at.microseconds;
    timestamp_format(newest->stopped_at, stopped_at);
    finding_seen(&finding, "%s, taken until %.19sZ", newest->id.text, stopped_at);
    if (age <= NEWEST_MOST_DAYS * DAY_MICROSECONDS) {
        check_pass(store->run, id, "%s", finding.seen);
    } else {
        finding_cause(&finding, id,
                      "The newest complete backup of \"%s\" is %" PRId64 " days old, more than %d: a restore has to "
                      "replay all the WAL since.",
                      store->server, age / DAY_MICROSECONDS, NEWEST_MOST_DAYS);
        finding_fix(&finding,
                    "pgcoffer backup %s, and for one every day: systemctl enable --now pgcoffer-backup@%s.timer",
                    store->server, store->server);
        check_warn(store->run, &finding);
    }
    check_set_measure(store->run, id, "seconds", age > 0 ? age / 1000000 : 0,
                      NEWEST_MOST_DAYS * DAY_MICROSECONDS / 1000000, -1);
}

/* ---- backup.intact ---- */

static void tell_unreadable(struct store *store, const struct catalogue_entry *entry)
{
    struct finding finding = {.check = CHECK_ID_backup_intact};

    finding_seen(&finding, "%s: %s", entry->id.text, entry->error.message);
    finding_cause(&finding, finding.check, "The metadata of backup %s cannot be read, so it cannot be restored: %s",
                  entry->id.text, entry->error.message);
    finding_fix(&finding,
                "Put the files of backup %s back from a copy of the repository, or give it up: pgcoffer delete %s %s",
                entry->id.text, store->server, entry->id.text);
    check_fail(store->run, &finding);
}

static bool has_newer(const struct store *store, const struct backup_meta *meta)
{
    return store->newest != NULL && store->newest->stopped_at.microseconds > meta->stopped_at.microseconds;
}

/* It is kept, because a damaged backup may be the last one; once there is a better one it only takes room. */
static void tell_damaged(struct store *store, const struct backup_meta *meta)
{
    struct finding finding = {.check = CHECK_ID_backup_intact};

    finding_seen(&finding, "%s is damaged: %" PRIu64 " pages", meta->id.text, meta->checksum_failures);
    finding_cause(&finding, finding.check,
                  "PostgreSQL reported %" PRIu64 " pages with a wrong checksum while backup %s was taken: the database "
                  "itself is damaged there.",
                  meta->checksum_failures, meta->id.text);
    finding_fix(&finding,
                "pgcoffer show %s %s names what PostgreSQL said; mend the table or index, then pgcoffer backup %s and "
                "pgcoffer delete %s %s",
                store->server, meta->id.text, store->server, store->server, meta->id.text);
    if (has_newer(store, meta))
        check_warn(store->run, &finding);
    else
        check_fail(store->run, &finding);
}

static void tell_waiting(struct store *store, const struct backup_meta *meta)
{
    struct finding finding = {.check = CHECK_ID_backup_intact};
    char end[WAL_POSITION_TEXT_SIZE];

    if (clock_now().microseconds - meta->stopped_at.microseconds <= COPIED_MOST_MICROSECONDS)
        return; /* on its way */
    wal_position_format(meta->end_position, end);
    finding_seen(&finding, "%s waits for WAL up to %s", meta->id.text, end);
    finding_cause(&finding, finding.check,
                  "Backup %s is copied, but for more than an hour the WAL up to %s that it needs has not come.",
                  meta->id.text, end);
    finding_fix(&finding, "pgcoffer status %s tells why the WAL receiver does not get it", store->server);
    check_warn(store->run, &finding);
}

static void tell_missing_wal(struct store *store, const struct backup_meta *meta, const char *missing)
{
    struct finding finding = {.check = CHECK_ID_backup_intact};

    finding_seen(&finding, "%s lacks %s", meta->id.text, missing);
    finding_cause(&finding, finding.check, "Backup %s lacks WAL without which it cannot be restored: %s.",
                  meta->id.text, missing);
    finding_fix(&finding,
                "Put the file back from a copy of the repository, or take a new backup (pgcoffer backup %s) and give "
                "this one up: pgcoffer delete %s %s",
                store->server, store->server, meta->id.text);
    check_fail(store->run, &finding);
}

/* By size only; what is in them is read by `verify`. */
static bool check_files(struct store *store, const struct catalogue_entry *entry)
{
    struct finding finding = {.check = CHECK_ID_backup_intact};
    const struct backup_meta *meta = entry->meta;

    for (size_t i = 0; i < meta->file_list_count; i++) {
        const struct backup_file *file = &meta->files[i];
        char *path SCOPED(scoped_free) =
            repo_backup_path(store->repo, store->server, &entry->system, &entry->id, file->name);
        struct stat status;
        bool is_there = stat(path, &status) == 0;
        if (is_there && (uint64_t)status.st_size == file->size)
            continue;
        if (is_there)
            finding_seen(&finding, "%s has %" PRId64 " bytes instead of %" PRIu64, path, (int64_t)status.st_size,
                         file->size);
        else
            finding_seen(&finding, "%s: %s", path, strerror(errno));
        finding_cause(&finding, finding.check, "A file of backup %s is %s: %s.", meta->id.text,
                      is_there ? "cut short or overwritten" : "gone", finding.seen);
        finding_fix(&finding, "Put %s back from a copy of the repository, or give the backup up: pgcoffer delete %s %s",
                    file->name, store->server, meta->id.text);
        check_fail(store->run, &finding);
        return false;
    }
    return true;
}

static void check_entry(struct store *store, struct stored_wal *wal, const struct catalogue_entry *entry)
{
    char missing[512];

    if (entry->meta == NULL) {
        tell_unreadable(store, entry);
        return;
    }
    if (entry->meta->state == BACKUP_COPIED) {
        tell_waiting(store, entry->meta);
        return;
    }
    if (!check_files(store, entry))
        return;
    if (entry->meta->state == BACKUP_DAMAGED)
        tell_damaged(store, entry->meta);
    if (!stored_wal_open(wal, store, &entry->system))
        tell_missing_wal(store, entry->meta, wal->failure.message);
    else if (!stored_wal_has(wal, entry->meta, missing, sizeof missing))
        tell_missing_wal(store, entry->meta, missing);
}

void check_stored_backups(struct store *store)
{
    struct stored_wal wal SCOPED(stored_wal_done) = {.is_open = false};

    store->newest = find_newest(&store->catalogue);
    check_newest(store);
    for (size_t i = 0; i < store->catalogue.count; i++)
        check_entry(store, &wal, &store->catalogue.entries[i]);
    if (store->catalogue.count == 0)
        check_skip(store->run, CHECK_ID_backup_intact, "there is no backup yet");
    else
        check_pass(store->run, CHECK_ID_backup_intact,
                   "%zu backup%s: every file has its size, and the WAL is there (`pgcoffer verify %s` reads it all)",
                   store->catalogue.count, store->catalogue.count == 1 ? "" : "s", store->server);
    check_stored_continuity(store, &wal);
}
