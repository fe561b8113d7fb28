#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/notes_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/job.h"
#include "pgcoffer/repo/backup_notes.h"
#include "pgcoffer/repo/catalogue.h"
#include "pgcoffer/repo/wal_expire.h"
#include "pgcoffer/repo/wal_lease.h"

/* Writes what is noted beside one backup: a pin, annotations, the result of a drill. */

struct place {
    const struct repo *repo;
    const char *server;
    const struct catalogue_entry *entry;
};

/* Who names a day means all of it. */
static bool parse_until(const char *text, struct timestamp now, struct timestamp *ret_until, struct error *err)
{
    if (text == NULL)
        return true;
    char *end_of_day SCOPED(scoped_free) = memory_text("%.64s 23:59:59.999999", text);
    bool is_day = strlen(text) == strlen("2027-01-31");
    if (!timestamp_parse(text, ret_until, err) || (is_day && !timestamp_parse(end_of_day, ret_until, err)))
        return error_wrap(err, "--until");
    if (ret_until->microseconds > now.microseconds)
        return true;
    error_set(err, ERROR_USAGE, "--until: \"%.64s\" has passed already", text);
    return error_hint(err, "Name a later day, or leave --until out: then the backup is kept until it is unpinned.");
}

static bool pin(const struct place *place, const struct request *request, json_t *result, struct error *err)
{
    struct backup_pin pin = {.is_pinned = true, .pinned_at = clock_now()};
    const char *reason = request_text(request, OPTION_ID_reason);

    if (reason != NULL && strlen(reason) >= sizeof pin.reason)
        return error_set(err, ERROR_USAGE, "--reason has more than %zu bytes", sizeof pin.reason - 1);
    snprintf(pin.reason, sizeof pin.reason, "%s", reason != NULL ? reason : "");
    if (!parse_until(request_text(request, OPTION_ID_until), pin.pinned_at, &pin.until, err) ||
        !backup_pin_write(place->repo, place->server, &place->entry->system, &place->entry->id, &pin, err))
        return false;
    json_object_set_new(result, "pinned", json_true());
    json_object_set_new(result, "pin", notes_pin(&pin));
    return true;
}

static bool unpin(const struct place *place, json_t *result, struct error *err)
{
    bool was_pinned = false;

    if (!backup_pin_remove(place->repo, place->server, &place->entry->system, &place->entry->id, &was_pinned, err))
        return false;
    json_object_set_new(result, "pinned", json_false());
    json_object_set_new(result, "was_pinned", json_boolean(was_pinned));
    return true;
}

static bool take_pairs(const char *text, struct backup_annotations *annotations, struct error *err)
{
    json_t *pairs SCOPED(scoped_json) = json_parse_object(text, strlen(text), err);
    const char *key;
    json_t *value;

    if (pairs == NULL) {
        err->kind = ERROR_USAGE;
        return false;
    }
    json_object_foreach(pairs, key, value)
    {
        if (!json_is_string(value))
            return error_set(err, ERROR_USAGE, "an annotation is no text");
        if (!backup_annotations_set(annotations, key, json_string_value(value), err))
            return false;
    }
    return true;
}

static bool annotate(const struct place *place, const struct request *request, json_t *result, struct error *err)
{
    struct backup_annotations annotations SCOPED(scoped_backup_annotations) = {.count = 0};
    const struct system_id *system = &place->entry->system;
    const struct backup_id *id = &place->entry->id;

    if (!backup_annotations_read(place->repo, place->server, system, id, &annotations, err))
        return error_hint(err, "When this file is removed, the annotations can be written anew.");
    if (!take_pairs(request_wire_text(request, "annotations"), &annotations, err) ||
        !backup_annotations_write(place->repo, place->server, system, id, &annotations, err))
        return false;
    json_object_set_new(result, "annotations", notes_annotations(&annotations));
    return true;
}

static bool record_drill(const struct place *place, const struct request *request, json_t *result, struct error *err)
{
    struct backup_drill drill = {.backup = place->entry->id, .system = place->entry->system};
    const char *text = request_wire_text(request, "result");

    if (!backup_drill_parse_result(text, strlen(text), &drill, err)) {
        err->kind = ERROR_USAGE;
        return error_wrap(err, "the result of a drill");
    }
    drill.proof.at = clock_now(); /* by this clock, whatever the one of the client says */
    if (!backup_drill_write(place->repo, place->server, &drill, err))
        return false;
    log_info("a drill of backup %s %s%s%s", drill.backup.text, drill.proof.is_good ? "passed" : "failed",
             drill.proof.words[0] != '\0' ? ": " : "", drill.proof.words);
    json_object_set_new(result, "drill", notes_drill(&drill));
    return true;
}

/* Is WAL of the backup itself about to go? One that began on another timeline is asked for its first byte. */
static bool is_late(const struct wal_archive *archive, const struct backup_meta *meta)
{
    bool is_one_timeline = meta->start_timeline.value == meta->end_timeline.value;
    struct wal_position end = {is_one_timeline ? meta->end_position.value : meta->start_position.value + 1};
    struct wal_ranges expired;

    wal_expired_read(archive, &expired);
    bool touches = wal_expired_touches(&expired, meta->start_timeline, meta->start_position, end);
    wal_ranges_done(&expired);
    return touches;
}

/* From the backup's start on, on the way to the timeline that is followed. */
static bool lease_wal(const struct place *place, const struct request *request, json_t *result, struct error *err)
{
    const struct system_id *system = &place->entry->system;
    const struct backup_meta *meta = place->entry->meta;
    const char *text = request_wire_text(request, "timeline"), *word = request_wire_text(request, "for");
    char name[WAL_LEASE_NAME_SIZE];
    enum wal_lease_kind kind;
    struct wal_archive archive;
    uint64_t timeline = 0;

    if (meta == NULL) {
        *err = place->entry->error;
        return false;
    }
    if (!text_parse_unsigned(text, UINT32_MAX, &timeline) || timeline < meta->start_timeline.value)
        return error_set(err, ERROR_USAGE, "\"%.20s\" is not a timeline of backup %s", text, meta->id.text);
    if (!wal_lease_find_kind(word, &kind) || kind == WAL_LEASE_BACKUP)
        return error_set(err, ERROR_USAGE, "\"%.20s\" leaves no lease", word);
    const struct retention_lease lease = {{(uint32_t)timeline}, meta->start_timeline, meta->start_position};
    if (!wal_archive_open(place->repo, place->server, system, (struct wal_segment_size){0}, &archive, err) ||
        !wal_lease_write(place->repo, place->server, system, kind, &lease, name, err))
        return false;
    if (is_late(&archive, meta))
        return error_set(err, ERROR_BUSY, "retention has just removed backup %s and its WAL", meta->id.text);
    char *path SCOPED(scoped_free) = memory_text("%s/%s", system->text, name);
    json_object_set_new(result, "lease", json_string(path));
    json_object_set_new(result, "days", json_integer(wal_lease_days(kind)));
    return true;
}

/* That of a drill alone: nobody else may say that a restored server has replayed all it wants. */
static bool release_wal(const struct place *place, const struct request *request, json_t **ret_result,
                        struct error *err)
{
    const char *text = request_wire_text(request, "lease");
    const char *slash = strchr(text, '/');
    char system_text[SYSTEM_ID_TEXT_SIZE];
    struct system_id system;

    if (slash == NULL || (size_t)(slash - text) >= sizeof system_text)
        return error_set(err, ERROR_USAGE, "\"%.100s\" is no lease", text);
    snprintf(system_text, sizeof system_text, "%.*s", (int)(slash - text), text);
    if (!system_id_parse(system_text, &system, err))
        return false;
    if (!wal_lease_release(place->repo, place->server, &system, WAL_LEASE_DRILL, slash + 1, err))
        return false;
    *ret_result = json_pack("{s:s, s:s}", "server", place->server, "lease", text);
    return true;
}

static bool write_note(const struct place *place, const struct request *request, json_t *result, struct error *err)
{
    if (request->command == COMMAND_ID_pin)
        return pin(place, request, result, err);
    if (request->command == COMMAND_ID_unpin)
        return unpin(place, result, err);
    if (request->command == COMMAND_ID_annotate)
        return annotate(place, request, result, err);
    if (request->command == COMMAND_ID_lease)
        return lease_wal(place, request, result, err);
    return record_drill(place, request, result, err);
}

static bool run(const struct job *job, json_t **ret_result, struct error *err)
{
    const struct request *request = &job->worker->request;
    struct place place = {.repo = &job->repo, .server = job->server->name};
    struct catalogue catalogue SCOPED(catalogue_done) = {.entries = NULL};
    struct file_lock backup SCOPED(file_lock_done) = FILE_LOCK_NONE;
    struct file_lock notes SCOPED(file_lock_done) = FILE_LOCK_NONE;
    json_t *result SCOPED(scoped_json) = json_object();

    if (request->command == COMMAND_ID_release)
        return release_wal(&place, request, ret_result, err);
    /* An unreadable backup may be pinned too: perhaps its data can still be saved. */
    if (!catalogue_read(place.repo, place.server, &catalogue, err) ||
        !catalogue_find_any(&catalogue, request->backup, &place.entry, err) ||
        !catalogue_lock_for_reading(place.repo, place.server, place.entry, &backup, err) ||
        !backup_notes_lock(place.repo, place.server, &notes, err))
        return false;
    json_object_set_new(result, "server", json_string(place.server));
    json_object_set_new(result, "backup", json_string(place.entry->id.text));
    if (!write_note(&place, request, result, err))
        return false;
    *ret_result = TAKE(result);
    return true;
}

int job_note_main(struct job *job)
{
    return job_answer(job, run);
}
