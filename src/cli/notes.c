#include "cli/notes_internal.h"

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define DAY_SIZE 10 /* of "2026-11-22T01:30:00Z" */

static bool has_failed(const json_t *proof)
{
    return json_is_object(proof) && !json_is_set(proof, "good");
}

bool notes_found_damage(const json_t *backup)
{
    return has_failed(json_object_get(backup, "verified"));
}

bool notes_are_bad(const json_t *backup)
{
    return notes_found_damage(backup) || has_failed(json_object_get(backup, "drill")) ||
           json_array_size(json_object_get(backup, "note_errors")) > 0;
}

static void format_seconds(const json_t *proof, char ret_text[TEXT_DURATION_SIZE])
{
    text_format_duration(json_number_value(json_object_get(proof, "seconds")), ret_text);
}

/* "2026-11-22 1m03s", "FAILED 2026-11-22" */
static void set_proof(struct table *table, size_t column, const json_t *proof, bool has_duration)
{
    const char *at = json_text_or_null(proof, "at");
    char duration[TEXT_DURATION_SIZE];

    format_seconds(proof, duration);
    if (at == NULL)
        table_set(table, column, "-");
    else if (has_failed(proof))
        table_set(table, column, "FAILED %.*s", DAY_SIZE, at);
    else
        table_set(table, column, "%.*s%s%s", DAY_SIZE, at, has_duration ? " " : "", has_duration ? duration : "");
}

void notes_set_columns(struct table *table, size_t column, const json_t *backup)
{
    const char *until = json_text_or_null(json_object_get(backup, "pin"), "until");

    if (!json_is_set(backup, "pinned"))
        table_set(table, column, "-");
    else if (until != NULL)
        table_set(table, column, "until %.*s", DAY_SIZE, until);
    else
        table_set(table, column, "yes");
    set_proof(table, column + 1, json_object_get(backup, "verified"), false);
    set_proof(table, column + 2, json_object_get(backup, "drill"), true);
}

/* Adds `text` to `joined`, behind a comma unless it is the first. */
static void join(char **joined, char *text)
{
    char *longer = memory_text("%s%s%s", *joined, (*joined)[0] != '\0' ? ", " : "", text);

    free(text);
    free(*joined);
    *joined = longer;
}

char *notes_annotations_text(const json_t *annotations)
{
    char *joined = memory_copy_text("");
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)annotations, key, value)
    {
        if (json_is_string(value))
            join(&joined, memory_text("%s=%s", key, json_string_value(value)));
    }
    return joined;
}

static char *phases_text(const json_t *drill)
{
    char *joined = memory_copy_text("");
    char duration[TEXT_DURATION_SIZE];
    const char *phase;
    json_t *seconds;

    json_object_foreach(json_object_get(drill, "phases"), phase, seconds)
    {
        text_format_duration(json_number_value(seconds), duration);
        join(&joined, memory_text("%s %s", phase, duration));
    }
    return joined;
}

static char *proof_text(const json_t *proof)
{
    const char *at = json_text_or(proof, "at", "?"), *words = json_text_or(proof, "words", "?");
    char duration[TEXT_DURATION_SIZE];

    format_seconds(proof, duration);
    if (has_failed(proof))
        return memory_text("%s FAILED: %s", at, words);
    return memory_text("%s good, in %s", at, duration);
}

static char *drill_text(const json_t *drill)
{
    char *verdict SCOPED(scoped_free) = proof_text(drill);
    char *phases SCOPED(scoped_free) = phases_text(drill);

    return memory_text("%s%s%s%s", verdict, phases[0] != '\0' ? " (" : "", phases, phases[0] != '\0' ? ")" : "");
}

static char *pin_text(const json_t *pin)
{
    const char *until = json_text_or_null(pin, "until"), *reason = json_text_or_null(pin, "reason");

    return memory_text("%s%s%s%s", until != NULL ? "until " : "until it is unpinned", until != NULL ? until : "",
                       text_is_empty(reason) ? "" : ": ", text_is_empty(reason) ? "" : reason);
}

json_t *notes_in_words(const json_t *backup)
{
    static const struct {
        const char *key;
        char *(*text)(const json_t *note);
    } notes[] = {
        {"pin", pin_text}, {"annotations", notes_annotations_text}, {"verified", proof_text}, {"drill", drill_text}};
    json_t *shown = json_copy((json_t *)backup);

    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        const json_t *note = json_object_get(backup, notes[i].key);
        if (!json_is_object(note))
            continue;
        char *text SCOPED(scoped_free) = notes[i].text(note);
        json_object_set_new(shown, notes[i].key, json_string(text));
    }
    json_object_del(shown, "note_errors");
    return shown;
}

void notes_warn(const struct invocation *invocation, const json_t *backup)
{
    const char *id = json_text_or(backup, "id", "?");
    const json_t *problem;
    size_t i;

    json_array_foreach(json_object_get(backup, "note_errors"), i, problem)
    {
        if (json_is_string(problem))
            output_warning(invocation, "backup %s: %s", id, json_string_value(problem));
    }
}
