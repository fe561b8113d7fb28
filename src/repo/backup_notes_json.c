#include "pgcoffer/base/text.h"

#include "repo/backup_notes_internal.h"
#include "repo/repo_internal.h"

const char *drill_phase_word(enum drill_phase phase)
{
    static const char *const words[DRILL_PHASE_COUNT] = {"restore", "start", "replay", "amcheck", "query"};

    return words[phase];
}

static json_t *begin(void)
{
    json_t *document = json_object();

    repo_set_number(document, "format", BACKUP_NOTE_FORMAT);
    return document;
}

/* Of an error, perhaps cut in the middle of a character: what the reader would refuse is not written. */
static void set_words(json_t *document, const struct backup_proof *proof)
{
    char words[BACKUP_PROOF_WORDS];

    snprintf(words, sizeof words, "%s", proof->words);
    text_make_printable(words);
    json_object_set_new(document, "words", repo_json_text(words));
}

static void set_verdict(json_t *document, const struct backup_proof *proof)
{
    json_object_set_new(document, "good", json_boolean(proof->is_good));
    repo_set_number(document, "milliseconds", proof->milliseconds);
    set_words(document, proof);
}

json_t *backup_pin_to_json(const struct backup_pin *pin)
{
    json_t *document = begin();

    repo_set_time(document, "pinned_at", pin->pinned_at);
    repo_set_time(document, "until", pin->until);
    json_object_set_new(document, "reason", json_string(pin->reason));
    repo_set_checksum(document);
    return document;
}

json_t *backup_annotations_to_json(const struct backup_annotations *annotations)
{
    json_t *document = begin(), *pairs = json_object();

    for (size_t i = 0; i < annotations->count; i++)
        json_object_set_new(pairs, annotations->entries[i].key, json_string(annotations->entries[i].value));
    json_object_set_new(document, "annotations", pairs);
    repo_set_checksum(document);
    return document;
}

json_t *backup_proof_to_json(const struct backup_proof *proof)
{
    json_t *document = begin();

    repo_set_time(document, "at", proof->at);
    set_verdict(document, proof);
    if (proof->unfinished_milliseconds > 0)
        repo_set_number(document, "unfinished_milliseconds", proof->unfinished_milliseconds);
    repo_set_checksum(document);
    return document;
}

static void set_result(json_t *document, const struct backup_drill *drill)
{
    json_t *phases = json_object();
    char target[BACKUP_NOTE_TEXT_SIZE];

    set_verdict(document, &drill->proof);
    for (enum drill_phase phase = 0; phase < DRILL_PHASE_COUNT; phase++)
        if (drill->was_run[phase])
            repo_set_number(phases, drill_phase_word(phase), drill->phase_milliseconds[phase]);
    json_object_set_new(document, "phases", phases);
    snprintf(target, sizeof target, "%s", drill->target);
    text_make_printable(target);
    json_object_set_new(document, "target", repo_json_text(target));
    repo_set_number(document, "rows", drill->rows);
    repo_set_number(document, "server_version", (uint64_t)drill->server_version);
}

char *backup_drill_result_text(const struct backup_drill *drill)
{
    json_t *document SCOPED(scoped_json) = json_object();

    set_result(document, drill);
    return json_to_line(document);
}

json_t *backup_drill_to_json(const struct backup_drill *drill)
{
    json_t *document = begin();

    json_object_set_new(document, "backup", json_string(drill->backup.text));
    json_object_set_new(document, "system_identifier", json_string(drill->system.text));
    repo_set_time(document, "at", drill->proof.at);
    set_result(document, drill);
    repo_set_checksum(document);
    return document;
}
