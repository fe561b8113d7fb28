#include "jobs/survey_backups_internal.h"

#include <string.h>

#include "jobs/events_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/backup_notes.h"

/* true, false, or null: never, or it cannot be told */
static json_t *result_of(bool is_read, const struct backup_proof *proof)
{
    return is_read && proof->at.microseconds != 0 ? json_boolean(proof->is_good) : json_null();
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
    return json_pack("{s:s, s:s, s:o, s:b, s:o, s:o}", "id", entry->id.text, "state",
                     entry->meta != NULL ? backup_state_word(entry->meta->state) : "unreadable", "stopped_at",
                     entry->meta != NULL ? events_time(entry->meta->stopped_at) : json_null(), "pinned",
                     backup_pin_holds(&pin, clock_now()), "verified", result_of(is_verify_read, verified), "drilled",
                     result_of(is_drill_read, &drill->proof));
}

static bool is_present(const struct catalogue *catalogue, const struct catalogue_entry *entry)
{
    return strcmp(entry->system.text, catalogue->current.text) == 0;
}

json_t *survey_backups(const struct repo *repo, const char *server, const struct catalogue *catalogue)
{
    json_t *newest = json_array();
    size_t count = 0;

    for (size_t i = catalogue->count; i-- > 0;) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (is_present(catalogue, entry) && count++ < SURVEY_MOST_BACKUPS)
            json_array_insert_new(newest, 0, backup_to_json(repo, server, entry));
    }
    return json_pack("{s:I, s:o}", "count", (json_int_t)count, "newest", newest);
}
