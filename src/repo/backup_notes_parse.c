#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/text.h"

#include "repo/backup_notes_internal.h"
#include "repo/repo_internal.h"

#define MOST_VERSION 9999999 /* 150018: major and minor */

json_t *backup_note_parse(const char *text, size_t size, struct error *err)
{
    const struct buffer bytes = {.bytes = (uint8_t *)text, .used = size};
    json_t *document SCOPED(scoped_json) = NULL;

    if (size > BACKUP_NOTE_MOST_BYTES) {
        error_set(err, ERROR_INTEGRITY, "it is larger than %d bytes", BACKUP_NOTE_MOST_BYTES);
        return NULL;
    }
    document = json_parse_object(text, size, err);
    if (document == NULL || !repo_check_format(document, BACKUP_NOTE_FORMAT, "it", err) ||
        !repo_check_checksum(document, &bytes, err))
        return NULL;
    return TAKE(document);
}

static bool get_plain_text(const json_t *object, const char *key, char *ret_text, size_t room, struct error *err)
{
    const char *text = NULL;

    if (!json_get_text(object, key, &text, err))
        return false;
    if (strlen(text) >= room || !repo_is_plain_text(text))
        return error_set(err, ERROR_INTEGRITY, "\"%s\" is too long or has control characters", key);
    snprintf(ret_text, room, "%s", text);
    return true;
}

/* One that must be there. */
static bool get_moment(const json_t *object, const char *key, struct timestamp *ret_time, struct error *err)
{
    if (!repo_get_time(object, key, ret_time, err))
        return false;
    return ret_time->microseconds > 0 || error_set(err, ERROR_INTEGRITY, "\"%s\" is missing", key);
}

static bool get_count(const json_t *object, const char *key, uint64_t *ret_number, struct error *err)
{
    int64_t number = 0;

    if (!json_get_number(object, key, 0, INT64_MAX, &number, err))
        return false;
    *ret_number = (uint64_t)number;
    return true;
}

bool backup_pin_from_json(const json_t *document, struct backup_pin *ret_pin, struct error *err)
{
    struct backup_pin pin = {.is_pinned = true};

    if (!get_plain_text(document, "reason", pin.reason, sizeof pin.reason, err) ||
        !get_moment(document, "pinned_at", &pin.pinned_at, err) ||
        (json_object_get(document, "until") != NULL && !get_moment(document, "until", &pin.until, err)))
        return false;
    *ret_pin = pin;
    return true;
}

bool backup_annotations_from_json(const json_t *document, struct backup_annotations *ret_annotations, struct error *err)
{
    struct backup_annotations annotations SCOPED(scoped_backup_annotations) = {.count = 0};
    const json_t *pairs = json_object_get(document, "annotations");
    const char *key;
    json_t *value;

    if (!json_is_object(pairs))
        return error_set(err, ERROR_INTEGRITY, "\"annotations\" is no object");
    json_object_foreach((json_t *)pairs, key, value)
    {
        if (json_string_length(value) == 0)
            return error_set(err, ERROR_INTEGRITY, "\"annotations\" has something else than texts");
        if (!backup_annotations_set(&annotations, key, json_string_value(value), err)) {
            err->kind = ERROR_INTEGRITY;
            return false;
        }
    }
    *ret_annotations = annotations;
    annotations.count = 0;
    return true;
}

static bool get_verdict(const json_t *document, struct backup_proof *proof, struct error *err)
{
    return json_get_boolean(document, "good", &proof->is_good, err) &&
           get_count(document, "milliseconds", &proof->milliseconds, err) &&
           get_plain_text(document, "words", proof->words, sizeof proof->words, err);
}

bool backup_proof_from_json(const json_t *document, struct backup_proof *ret_proof, struct error *err)
{
    struct backup_proof proof = {.is_good = false};

    if (!repo_get_time(document, "at", &proof.at, err) || !get_verdict(document, &proof, err) ||
        (json_object_get(document, "unfinished_milliseconds") != NULL &&
         !get_count(document, "unfinished_milliseconds", &proof.unfinished_milliseconds, err)))
        return false;
    *ret_proof = proof;
    return true;
}

static bool get_phases(const json_t *document, struct backup_drill *drill, struct error *err)
{
    const json_t *phases = json_object_get(document, "phases");

    if (!json_is_object(phases))
        return error_set(err, ERROR_INTEGRITY, "\"phases\" is no object");
    for (enum drill_phase phase = 0; phase < DRILL_PHASE_COUNT; phase++) {
        drill->was_run[phase] = json_object_get(phases, drill_phase_word(phase)) != NULL;
        if (drill->was_run[phase] &&
            !get_count(phases, drill_phase_word(phase), &drill->phase_milliseconds[phase], err))
            return error_wrap(err, "\"phases\"");
    }
    return true;
}

static bool get_result(const json_t *document, struct backup_drill *drill, struct error *err)
{
    int64_t version = 0;

    if (!get_verdict(document, &drill->proof, err) || !get_phases(document, drill, err) ||
        !get_plain_text(document, "target", drill->target, sizeof drill->target, err) ||
        !get_count(document, "rows", &drill->rows, err) ||
        !json_get_number(document, "server_version", 0, MOST_VERSION, &version, err))
        return false;
    drill->server_version = (int)version;
    return true;
}

bool backup_drill_parse_result(const char *text, size_t size, struct backup_drill *drill, struct error *err)
{
    json_t *document SCOPED(scoped_json) = NULL;
    struct backup_drill parsed = *drill;

    if (size > BACKUP_NOTE_MOST_BYTES)
        return error_set(err, ERROR_INTEGRITY, "it is larger than %d bytes", BACKUP_NOTE_MOST_BYTES);
    document = json_parse_object(text, size, err);
    if (document == NULL || !get_result(document, &parsed, err))
        return false;
    *drill = parsed;
    return true;
}

bool backup_drill_from_json(const json_t *document, struct backup_drill *ret_drill, struct error *err)
{
    struct backup_drill drill = {.rows = 0};
    const char *id = NULL, *system = NULL;

    if (!json_get_text(document, "backup", &id, err) || !json_get_text(document, "system_identifier", &system, err))
        return false;
    if (!backup_id_parse(id, &drill.backup))
        return error_set(err, ERROR_INTEGRITY, "\"backup\" is not the name of a backup");
    if (!system_id_parse(system, &drill.system, err)) {
        err->kind = ERROR_INTEGRITY;
        return false;
    }
    if (!get_moment(document, "at", &drill.proof.at, err) || !get_result(document, &drill, err))
        return false;
    *ret_drill = drill;
    return true;
}
