#include "jobs/survey_backups_internal.h"

#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/backup_notes.h"

#define UNREADABLE "unreadable"

/* true, false, or null: never, or it cannot be told */
static json_t *result_of(bool is_read, const struct backup_proof *proof)
{
    return is_read && proof->at.microseconds != 0 ? json_boolean(proof->is_good) : json_null();
}

static const char *state_of(const struct catalogue_entry *entry)
{
    return entry->meta != NULL ? backup_state_word(entry->meta->state) : UNREADABLE;
}

static json_t *backup_to_json(const struct repo *repo, const char *server, const struct catalogue_entry *entry)
{
    struct backup_proof *verified SCOPED(scoped_free) = memory_new(sizeof *verified);
    struct backup_drill *drill SCOPED(scoped_free) = memory_new(sizeof *drill);
    const struct system_id *system = &entry->system;
    struct backup_pin pin;
    struct error ignored; /* a pin that cannot be read holds; of proofs `status` tells it */

    (void)!backup_pin_read(repo, server, system, &entry->id, &pin, &ignored);
    bool is_verify_read = backup_verified_read(repo, server, system, &entry->id, verified, &ignored);
    bool is_drill_read = backup_drill_read(repo, server, system, &entry->id, drill, &ignored);
    return json_pack("{s:s, s:s, s:o, s:b, s:o, s:o}", "id", entry->id.text, "state", state_of(entry), "stopped_at",
                     entry->meta != NULL ? json_time(entry->meta->stopped_at) : json_null(), "pinned",
                     backup_pin_holds(&pin, clock_now()), "verified", result_of(is_verify_read, verified), "drilled",
                     result_of(is_drill_read, &drill->proof));
}

/* ---- all of them ---- */

/* A state without any is 0. */
static json_t *count_states(const struct catalogue *catalogue)
{
    json_t *counts =
        json_pack("{s:i, s:i, s:i, s:i}", backup_state_word(BACKUP_COMPLETE), 0, backup_state_word(BACKUP_DAMAGED), 0,
                  backup_state_word(BACKUP_COPIED), 0, UNREADABLE, 0);

    for (size_t i = 0; i < catalogue->count; i++) {
        const char *state = state_of(&catalogue->entries[i]);
        if (catalogue_is_current(catalogue, &catalogue->entries[i].system))
            json_object_set_new(counts, state, json_integer(json_number_or(counts, state, 0) + 1));
    }
    return counts;
}

/* The newest complete one; what was found damaged since does not count. */
static json_t *last_success(const struct catalogue *catalogue)
{
    for (size_t i = catalogue->count; i-- > 0;) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (!catalogue_is_current(catalogue, &entry->system) || !catalogue_is_usable(entry))
            continue;
        const struct backup_meta *meta = entry->meta;
        return json_pack("{s:s, s:o, s:f, s:I, s:I}", "id", meta->id.text, "stopped_at", json_time(meta->stopped_at),
                         "duration_seconds",
                         (double)(meta->stopped_at.microseconds - meta->started_at.microseconds) / 1e6, "size_bytes",
                         (json_int_t)meta->size_bytes, "stored_bytes", (json_int_t)meta->stored_bytes);
    }
    return json_null();
}

json_t *survey_backups(const struct repo *repo, const char *server, const struct catalogue *catalogue)
{
    json_t *newest = json_array();
    size_t count = 0;

    for (size_t i = catalogue->count; i-- > 0;) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (catalogue_is_current(catalogue, &entry->system) && count++ < SURVEY_MOST_BACKUPS)
            json_array_insert_new(newest, 0, backup_to_json(repo, server, entry));
    }
    return json_pack("{s:I, s:o, s:o, s:o}", "count", (json_int_t)count, "newest", newest, "states",
                     count_states(catalogue), "last_success", last_success(catalogue));
}
