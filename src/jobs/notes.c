#include "jobs/notes_internal.h"

#include "pgcoffer/control/stream.h"

static json_t *seconds(uint64_t milliseconds)
{
    return json_real((double)milliseconds / 1000);
}

json_t *notes_pin(const struct backup_pin *pin)
{
    if (!pin->is_pinned)
        return json_null();
    return json_pack("{s:o, s:o, s:o}", "reason", control_text(pin->reason), "pinned_at", json_time(pin->pinned_at),
                     "until", json_time(pin->until));
}

json_t *notes_annotations(const struct backup_annotations *annotations)
{
    json_t *pairs = json_object();

    for (size_t i = 0; i < annotations->count; i++)
        json_object_set_new(pairs, annotations->entries[i].key, control_text(annotations->entries[i].value));
    return pairs;
}

json_t *notes_proof(const struct backup_proof *proof)
{
    if (proof->at.microseconds == 0)
        return json_null();
    return json_pack("{s:o, s:b, s:o, s:o}", "at", json_time(proof->at), "good", proof->is_good, "seconds",
                     seconds(proof->milliseconds), "words", control_text(proof->words));
}

json_t *notes_drill(const struct backup_drill *drill)
{
    json_t *told = notes_proof(&drill->proof);

    if (json_is_null(told))
        return told;
    json_t *phases = json_object();
    for (enum drill_phase phase = 0; phase < DRILL_PHASE_COUNT; phase++)
        if (drill->was_run[phase])
            json_object_set_new(phases, drill_phase_word(phase), seconds(drill->phase_milliseconds[phase]));
    json_object_set_new(told, "backup", json_string(drill->backup.text));
    json_object_set_new(told, "target", control_text(drill->target));
    json_object_set_new(told, "phases", phases);
    json_object_set_new(told, "rows",
                        drill->was_run[DRILL_QUERY] ? json_integer((json_int_t)drill->rows) : json_null());
    json_object_set_new(told, "server_version",
                        drill->server_version > 0 ? json_integer(drill->server_version) : json_null());
    return told;
}

/* Takes `told` when it could be read; else null stands for it. */
static void set(json_t *item, const char *key, bool is_read, json_t *told, const struct error *err)
{
    if (is_read) {
        json_object_set_new(item, key, told);
        return;
    }
    json_decref(told);
    json_object_set_new(item, key, json_null());
    if (json_object_get(item, "note_errors") == NULL)
        json_object_set_new(item, "note_errors", json_array());
    json_array_append_new(json_object_get(item, "note_errors"), control_text(err->message));
}

void notes_add(json_t *item, const struct repo *repo, const char *server, const struct catalogue_entry *entry)
{
    const struct system_id *system = &entry->system;
    const struct backup_id *id = &entry->id;
    struct backup_annotations annotations SCOPED(scoped_backup_annotations) = {.count = 0};
    struct backup_proof verified;
    struct backup_drill drill;
    struct backup_pin pin;
    struct error err;
    bool is_read;

    is_read = backup_pin_read(repo, server, system, id, &pin, &err);
    json_object_set_new(item, "pinned", json_boolean(backup_pin_holds(&pin, clock_now())));
    set(item, "pin", is_read, notes_pin(&pin), &err);
    is_read = backup_annotations_read(repo, server, system, id, &annotations, &err);
    set(item, "annotations", is_read, notes_annotations(&annotations), &err);
    is_read = backup_verified_read(repo, server, system, id, &verified, &err);
    set(item, "verified", is_read, notes_proof(&verified), &err);
    is_read = backup_drill_read(repo, server, system, id, &drill, &err);
    set(item, "drill", is_read, notes_drill(&drill), &err);
}
