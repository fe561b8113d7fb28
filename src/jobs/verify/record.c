#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/verify/verify_internal.h"

/* Only where the daemon runs the verification: a --direct one may be anybody's and writes nothing. */

static bool is_since(const struct verify *verify, struct timestamp at)
{
    return verify->since.microseconds != 0 && at.microseconds >= verify->since.microseconds &&
           at.microseconds <= verify->began.microseconds; /* a time to come is that of a clock that was set back */
}

bool verify_is_recent(const struct verify *verify, const struct catalogue_entry *entry)
{
    struct backup_proof proof;
    struct error ignored;

    return backup_verified_read(verify->repo, verify->server, &entry->system, &entry->id, &proof, &ignored) &&
           proof.is_good && is_since(verify, proof.at);
}

bool verify_is_recent_segment(const struct verify *verify, const struct wal_verified *verified,
                              const struct wal_file *file)
{
    return is_since(verify, wal_verified_file_at(verified, file, verify->began));
}

bool verify_tell_unrecorded(const struct verify *verify, struct error *failure, struct error *err)
{
    error_wrap(failure, "what was found could not be recorded");
    return events_log(verify->events, err, "warning", "%s: %s", verify->server, failure->message);
}

/* Where the backup was not read to its end, what was known of it stays. */
static void keep_verdict(const struct verify *verify, const struct catalogue_entry *entry, struct backup_proof *proof)
{
    uint64_t unfinished = proof->milliseconds;
    struct error ignored;

    if (!backup_verified_read(verify->repo, verify->server, &entry->system, &entry->id, proof, &ignored))
        *proof = (struct backup_proof){.is_good = false};
    proof->unfinished_milliseconds = unfinished;
}

static bool write_proof(struct verify *verify, const struct catalogue_entry *entry, struct backup_proof *proof,
                        bool is_finished, struct error *err)
{
    struct file_lock lock SCOPED(file_lock_done) = FILE_LOCK_NONE;
    struct error failure;

    if (!verify->is_recording)
        return true;
    if (!backup_notes_lock(verify->repo, verify->server, &lock, &failure))
        return verify_tell_unrecorded(verify, &failure, err);
    if (!is_finished)
        keep_verdict(verify, entry, proof);
    return backup_verified_write(verify->repo, verify->server, &entry->system, &entry->id, proof, &failure) ||
           verify_tell_unrecorded(verify, &failure, err);
}

bool verify_record_backup(struct verify *verify, const struct catalogue_entry *entry, uint64_t milliseconds,
                          struct error *err)
{
    struct backup_proof proof = {.at = clock_now(), .milliseconds = milliseconds};

    proof.is_good = verify->problem_count == verify->mark;
    if (!proof.is_good)
        snprintf(proof.words, sizeof proof.words, "%s", verify->problem_since_mark);
    return write_proof(verify, entry, &proof, true, err);
}

bool verify_record_unfinished(struct verify *verify, const struct catalogue_entry *entry, uint64_t milliseconds,
                              struct error *err)
{
    struct backup_proof proof = {.milliseconds = milliseconds};

    /* What was found until then is known: a backup with a damaged frame is damaged, whatever would have come. */
    if (verify->problem_count != verify->mark)
        return verify_record_backup(verify, entry, milliseconds, err);
    return write_proof(verify, entry, &proof, false, err);
}

static bool check_note(struct verify *verify, const struct catalogue_entry *entry, const char *name, bool is_read,
                       const struct error *failure, struct error *err)
{
    return is_read ||
           verify_read_failure(verify, NULL, name, VERIFY_NO_FRAME, json_pack("[s]", entry->id.text), failure, err);
}

bool verify_notes(struct verify *verify, const struct catalogue_entry *entry, struct error *err)
{
    struct backup_annotations annotations SCOPED(scoped_backup_annotations) = {.count = 0};
    const struct system_id *system = &entry->system;
    const struct backup_id *id = &entry->id;
    struct backup_drill drill;
    struct backup_pin pin;
    struct error failure;

    bool is_read = backup_pin_read(verify->repo, verify->server, system, id, &pin, &failure);
    if (!check_note(verify, entry, "pin.json", is_read, &failure, err))
        return false;
    is_read = backup_annotations_read(verify->repo, verify->server, system, id, &annotations, &failure);
    if (!check_note(verify, entry, "annotations.json", is_read, &failure, err))
        return false;
    is_read = backup_drill_read(verify->repo, verify->server, system, id, &drill, &failure);
    return check_note(verify, entry, "drill.json", is_read, &failure, err);
}
