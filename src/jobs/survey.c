#include <stdlib.h>
#include <string.h>

#include "jobs/growth_internal.h"
#include "jobs/notes_internal.h"
#include "jobs/room_internal.h"
#include "jobs/serve/restorable_internal.h"
#include "jobs/survey_backups_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/jobs/jobs.h"

/* The role `survey`: what `status` tells of a server's repository, which the supervisor itself never reads. */

#define MOST_FAILED 8

/* ---- proofs ---- */

/* The newest one that went well, of the present cluster. */
struct success {
    struct backup_id backup;
    struct backup_proof proof;
};

static void take_success(struct success *success, const struct backup_id *id, const struct backup_proof *proof)
{
    if (!proof->is_good || proof->at.microseconds <= success->proof.at.microseconds)
        return;
    success->backup = *id;
    success->proof = *proof;
}

static json_t *success_to_json(const struct success *success)
{
    if (success->proof.at.microseconds == 0)
        return json_null();
    return json_pack("{s:s, s:o, s:f}", "backup", success->backup.text, "at", json_time(success->proof.at), "seconds",
                     (double)success->proof.milliseconds / 1000);
}

struct verifications {
    const struct catalogue *catalogue;
    const struct catalogue_entry *last;
    struct backup_proof proof; /* of the last one */
    struct success success;
    json_t *failed; /* ids of those whose last one failed */
    json_int_t failed_count;
    char unreadable[256]; /* why a note cannot be read */
};

static void look_at_verification(const struct repo *repo, const char *server, const struct catalogue_entry *entry,
                                 struct verifications *all)
{
    struct backup_proof *proof SCOPED(scoped_free) = memory_new(sizeof *proof);
    struct error err;

    if (!backup_verified_read(repo, server, &entry->system, &entry->id, proof, &err)) {
        snprintf(all->unreadable, sizeof all->unreadable, "%.255s", err.message);
        return;
    }
    if (proof->at.microseconds == 0)
        return;
    if (!proof->is_good) {
        all->failed_count++;
        json_array_append_new(all->failed, json_string(entry->id.text));
        if (json_array_size(all->failed) > MOST_FAILED)
            json_array_remove(all->failed, 0);
    }
    if (catalogue_is_current(all->catalogue, &entry->system))
        take_success(&all->success, &entry->id, proof);
    if (all->last == NULL || proof->at.microseconds >= all->proof.at.microseconds) {
        all->last = entry;
        all->proof = *proof;
    }
}

/*
 * Its backup may be gone, or failed since. Those beside the backups are looked at because of repositories in which the
 * last good one was not noted apart. What cannot be read was told already, or is known from elsewhere.
 */
static json_t *drill_success(const struct repo *repo, const char *server, const struct catalogue *catalogue)
{
    static bool (*const of_server[])(const struct repo *repo, const char *server, struct backup_drill *ret_drill,
                                     struct error *err) = {server_drill_read, server_good_drill_read};
    struct backup_drill *drill SCOPED(scoped_free) = memory_new(sizeof *drill);
    struct success *success SCOPED(scoped_free) = memory_new(sizeof *success);
    struct error ignored;

    for (size_t i = 0; i < catalogue->count; i++) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (catalogue_is_current(catalogue, &entry->system) &&
            backup_drill_read(repo, server, &entry->system, &entry->id, drill, &ignored))
            take_success(success, &entry->id, &drill->proof);
    }
    for (size_t i = 0; i < sizeof of_server / sizeof of_server[0]; i++)
        if (of_server[i](repo, server, drill, &ignored) && catalogue_is_current(catalogue, &drill->system))
            take_success(success, &drill->backup, &drill->proof);
    return success_to_json(success);
}

/* {"drill","drill_former"} */
static void add_drill(const struct repo *repo, const char *server, const struct catalogue *catalogue, json_t *proofs,
                      char ret_unreadable[256])
{
    struct backup_drill *drill SCOPED(scoped_free) = memory_new(sizeof *drill);
    struct error err;
    bool is_read = server_drill_read(repo, server, drill, &err);
    bool is_there = is_read && drill->proof.at.microseconds != 0;

    if (!is_read)
        snprintf(ret_unreadable, 256, "%.255s", err.message);
    json_object_set_new(proofs, "drill", is_there ? notes_drill(drill) : json_null());
    json_object_set_new(proofs, "drill_former",
                        json_boolean(is_there && !catalogue_is_current(catalogue, &drill->system)));
}

static json_t *proofs_to_json(const struct repo *repo, const char *server, const struct catalogue *catalogue)
{
    struct verifications all = {.catalogue = catalogue, .failed = json_array()};

    for (size_t i = 0; i < catalogue->count; i++)
        look_at_verification(repo, server, &catalogue->entries[i], &all);
    json_t *verify = notes_proof(&all.proof);
    if (all.last != NULL)
        json_object_set_new(verify, "backup", json_string(all.last->id.text));
    json_t *proofs =
        json_pack("{s:o, s:I, s:o}", "verify", verify, "failed_count", all.failed_count, "failed", all.failed);
    add_drill(repo, server, catalogue, proofs, all.unreadable);
    json_object_set_new(proofs, "verify_success", success_to_json(&all.success));
    json_object_set_new(proofs, "drill_success", drill_success(repo, server, catalogue));
    json_object_set_new(proofs, "unreadable", all.unreadable[0] != '\0' ? control_text(all.unreadable) : json_null());
    return proofs;
}

/* ---- room ---- */

static bool is_known(const struct catalogue *catalogue, size_t count, const struct system_id *system)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(catalogue->entries[i].system.text, system->text) == 0)
            return true;
    return false;
}

static void add_wal(const struct repo *repo, const char *server, const struct system_id *system, struct growth *growth)
{
    struct wal_files files SCOPED(wal_files_done) = {NULL, 0};
    struct wal_archive archive;
    struct error ignored; /* "restorable" tells */

    if (system->text[0] == '\0' ||
        !wal_archive_open(repo, server, system, (struct wal_segment_size){0}, &archive, &ignored) ||
        archive.segment_size.bytes == 0 || !wal_archive_list(&archive, &files, &ignored))
        return;
    for (size_t i = 0; i < files.count; i++)
        growth_add_segment(growth, files.files[i].written_at, files.files[i].stored_bytes);
}

/* Former systems' too. */
static void measure(const struct repo *repo, const char *server, const struct catalogue *catalogue,
                    struct growth *growth)
{
    for (size_t i = 0; i < catalogue->count; i++) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (entry->meta != NULL)
            growth_add_backup(growth, entry->meta->stopped_at, entry->meta->stored_bytes);
        if (!catalogue_is_current(catalogue, &entry->system) && !is_known(catalogue, i, &entry->system))
            add_wal(repo, server, &entry->system, growth);
    }
    add_wal(repo, server, &catalogue->current, growth);
}

static json_t *room_to_json(const struct repo *repo, const char *server, const struct catalogue *catalogue)
{
    struct growth *growth SCOPED(scoped_free) = memory_new(sizeof *growth);
    struct room_disk *disk SCOPED(scoped_free) = memory_new(sizeof *disk);
    char *folder SCOPED(scoped_free) = room_folder(repo, server);
    struct room room;
    struct error ignored;
    uint64_t daily;

    measure(repo, server, catalogue, growth);
    bool has_daily = growth_per_day(growth, clock_now(), &daily);
    bool has_room = room_read(folder, &room, &ignored);
    room_find_disk(folder, disk);
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "disk", control_text(disk->name), "free",
                     has_room ? json_integer((json_int_t)room.free_bytes) : json_null(), "backups",
                     (json_int_t)growth->backups.count, "backup_bytes", (json_int_t)growth->backups.bytes, "segments",
                     (json_int_t)growth->wal.count, "wal_bytes", (json_int_t)growth->wal.bytes, "daily_bytes",
                     has_daily ? json_integer((json_int_t)daily) : json_null(), "wal_since",
                     json_time(growth->wal.first));
}

/* ---- all ---- */

/* {"id","state","stopped_at","label"} of the newest complete or damaged one. */
static json_t *last_backup(const struct catalogue *catalogue)
{
    for (size_t i = catalogue->count; i-- > 0;) {
        const struct backup_meta *meta = catalogue->entries[i].meta;
        if (meta != NULL && meta->state != BACKUP_COPIED)
            return json_pack("{s:s, s:s, s:o, s:o}", "id", meta->id.text, "state", backup_state_word(meta->state),
                             "stopped_at", json_time(meta->stopped_at), "label", control_text(meta->label));
    }
    return json_null();
}

static json_t *survey_server(const struct repo *repo, const char *server)
{
    struct stock stock SCOPED(stock_done) = {.timeline_count = 0};
    json_t *begun_at = json_time(clock_now());
    struct error failure;

    if (!catalogue_read(repo, server, &stock.catalogue, &failure)) {
        json_decref(begun_at);
        return json_pack("{s:o, s:o}", "server", control_text(server), "error", control_failure_to_json(&failure));
    }
    json_t *proofs = proofs_to_json(repo, server, &stock.catalogue);
    json_t *room = room_to_json(repo, server, &stock.catalogue);
    json_t *backups = survey_backups(repo, server, &stock.catalogue);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "server", control_text(server), "at", begun_at,
                     "system_id", control_text(stock.catalogue.current.text), "last_backup",
                     last_backup(&stock.catalogue), "backups", backups, "proofs", proofs, "room", room, "restorable",
                     restorable_to_json(&stock, repo, server));
}

int job_survey_main(struct job *job)
{
    const struct config *config = job->config;
    struct error failure;

    worker_end_at_once_when_told(); /* it changes nothing on the disk */
    for (size_t i = 0; i < config->server_count; i++) {
        json_t *event SCOPED(scoped_json) =
            json_pack("{s:s, s:o}", "event", "survey", "data", survey_server(&job->repo, config->servers[i].name));
        if (control_send(job->worker->channel, event, &failure))
            continue;
        log_debug("the survey cannot be told: %s", failure.message);
        return error_exit_status(&failure);
    }
    return control_send_result(job->worker->channel, json_object(), &failure) ? EXIT_SUCCESS
                                                                              : error_exit_status(&failure);
}
