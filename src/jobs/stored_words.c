#include "pgcoffer/jobs/stored_words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* In one line; --json tells the others. */
#define MOST_GAPS_NAMED    3
#define MOST_BACKUPS_NAMED 3
#define SECOND             INT64_C(1000000)

/* ---- a line that grows ---- */

static void add(char **line, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(char **line, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *part SCOPED(scoped_free) = memory_text_of(format, arguments);
    va_end(arguments);
    char *longer = memory_text("%s%s", *line, part);
    free(*line);
    *line = longer;
}

/* ---- times ---- */

char *moment_words(const char *time, enum moments moments, enum moment_edge edge)
{
    char text[TIMESTAMP_TEXT_SIZE];
    struct timestamp moment;
    struct error ignored;

    if (time == NULL || moments == MOMENTS_EXACT || !timestamp_parse(time, &moment, &ignored))
        return memory_copy_text(time != NULL ? time : "?");
    int64_t rest = moment.microseconds % SECOND;
    moment.microseconds += rest == 0 ? 0 : edge == MOMENT_FIRST ? SECOND - rest : -rest;
    timestamp_format(moment, text);
    return memory_text("%.10s %.8s UTC", text, text + 11);
}

enum moments moments_of_span(const char *from, const char *until, enum moments moments)
{
    struct timestamp first, last;
    struct error ignored;

    if (from == NULL || until == NULL || !timestamp_parse(from, &first, &ignored) ||
        !timestamp_parse(until, &last, &ignored))
        return moments;
    int64_t first_second = (first.microseconds + SECOND - 1) / SECOND;
    return first_second > last.microseconds / SECOND ? MOMENTS_EXACT : moments;
}

static void add_moment(char **line, const json_t *object, const char *key, enum moments moments, enum moment_edge edge)
{
    char *moment SCOPED(scoped_free) = moment_words(json_text_or_null(object, key), moments, edge);

    add(line, "%s", moment);
}

/* ---- what can be restored ---- */

static void add_gap(char **line, const json_t *gap, bool is_first, enum moments moments)
{
    if (json_text_or_null(gap, "until") == NULL) {
        add(line, "; nothing later (%s)", json_text_or(gap, "words", "?"));
        return;
    }
    add(line, "%s after ", is_first ? ", but for" : ",");
    add_moment(line, gap, "from", moments, MOMENT_LAST);
    add(line, " and before ");
    add_moment(line, gap, "until", moments, MOMENT_FIRST);
    add(line, " (%s)", json_text_or(gap, "words", "?"));
}

static void add_gaps(char **line, const json_t *restorable, enum moments moments)
{
    const json_t *gaps = json_object_get(restorable, "gaps");
    size_t size = json_array_size(gaps);
    size_t first = size > MOST_GAPS_NAMED ? size - MOST_GAPS_NAMED : 0;
    int64_t earlier = json_number_or(restorable, "gap_count", 0) - (int64_t)(size - first);

    for (size_t i = first; i < size; i++)
        add_gap(line, json_array_get(gaps, i), i == first, moments);
    if (earlier > 0)
        add(line, ", and but for %" PRId64 " earlier gap%s", earlier, earlier == 1 ? "" : "s");
}

static void add_backups(char **line, const json_t *group, const char *what, bool has_timeline)
{
    const json_t *newest = json_object_get(group, "newest");
    size_t size = json_array_size(newest);
    int64_t more = json_number_or(group, "count", 0);

    if (size == 0)
        return;
    add(line, "; %s: ", what);
    for (size_t i = size > MOST_BACKUPS_NAMED ? size - MOST_BACKUPS_NAMED : 0; i < size; i++, more--) {
        const json_t *backup = json_array_get(newest, i);
        add(line, "%s%s", json_text_or(backup, "backup", "?"), i + 1 < size ? ", " : "");
        if (has_timeline)
            add(line, " (--target-timeline %" PRId64 ")", json_number_or(backup, "timeline", 0));
    }
    if (more > 0)
        add(line, " and %" PRId64 " more", more);
}

static void add_why_nothing(char **line, const json_t *restorable)
{
    const char *failure = json_text_or_null(json_object_get(restorable, "error"), "message");
    const json_t *gap = json_array_get(json_object_get(restorable, "gaps"), 0);
    bool has_ends = json_number_or(json_object_get(restorable, "own_end"), "count", 0) > 0;

    add(line, "%s", has_ends ? "no span of time can be restored" : "nothing can be restored");
    if (failure != NULL)
        add(line, ": %s", failure);
    else if (json_number_or(restorable, "backups", 0) == 0)
        add(line, ": there is no complete backup%s",
            json_number_or(restorable, "former_systems", 0) > 0 ? " of the cluster that it is now" : "");
    else if (gap != NULL)
        add(line, ": %s", json_text_or(gap, "words", "?"));
}

struct restorable_words restorable_words(const json_t *restorable, enum moments moments)
{
    const json_t *windows = json_object_get(restorable, "windows");
    size_t size = json_array_size(windows);
    struct restorable_words words = {.can = memory_copy_text(""), .cannot = memory_copy_text("")};

    if (size > 0) {
        const json_t *first = json_array_get(windows, 0), *last = json_array_get(windows, size - 1);
        enum moments span =
            moments_of_span(json_text_or_null(first, "from"), json_text_or_null(last, "until"), moments);
        add(&words.can, "every moment from ");
        add_moment(&words.can, first, "from", span, MOMENT_FIRST);
        add(&words.can, " to ");
        add_moment(&words.can, last, "until", span, MOMENT_LAST);
        add(&words.can, " can be restored");
        add_gaps(&words.cannot, restorable, moments);
    } else {
        add_why_nothing(&words.can, restorable);
    }
    add_backups(&words.cannot, json_object_get(restorable, "own_end"), "to their own end only", false);
    add_backups(&words.cannot, json_object_get(restorable, "other_timelines"), "on other timelines only", true);
    add_backups(&words.cannot, json_object_get(restorable, "unusable"), "not to be restored", false);
    return words;
}

void restorable_words_done(struct restorable_words *words)
{
    free(words->can);
    free(words->cannot);
    *words = (struct restorable_words){NULL, NULL};
}

/* ---- a survey ---- */

char *survey_trouble_words(const json_t *survey, enum moments moments)
{
    const char *failure = json_text_or_null(json_object_get(survey, "error"), "message");
    const char *since = json_text_or_null(survey, "running_since");
    bool has_data = json_text_or_null(survey, "at") != NULL;

    if (failure != NULL)
        return memory_text("warning: what is stored could not be looked at: %s", failure);
    if (since == NULL)
        return NULL;
    char *moment SCOPED(scoped_free) = moment_words(since, moments, MOMENT_LAST);
    return memory_text("what is stored is being looked at since %s%s", moment,
                       has_data ? "" : ", and nothing is known yet");
}

/* ---- proofs ---- */

static bool is_unreadable(const json_t *proofs)
{
    return json_text_or_null(proofs, "unreadable") != NULL;
}

static char *drill_words(const char *server, const json_t *proofs, enum moments moments)
{
    const json_t *drill = json_object_get(proofs, "drill");
    const char *former = json_is_set(proofs, "drill_former") ? " of the cluster that it was before" : "";
    const char *backup = json_text_or(drill, "backup", "?");
    char *at SCOPED(scoped_free) = moment_words(json_text_or_null(drill, "at"), moments, MOMENT_LAST);
    char took[TEXT_DURATION_SIZE];

    text_format_duration(json_number_value(json_object_get(drill, "seconds")), took);
    if (!json_is_object(drill) && is_unreadable(proofs))
        return memory_text("whether it was proven by a drill cannot be told");
    if (!json_is_object(drill))
        return memory_text("never proven by a drill (pgcoffer drill %s)", server);
    if (!json_is_set(drill, "good"))
        return memory_text("WARNING: THE LAST PROOF FAILED: drill at %s with backup %s%s: %s", at, backup, former,
                           json_text_or(drill, "words", "?"));
    if (former[0] != '\0')
        return memory_text("never proven by a drill (pgcoffer drill %s): the last one, at %s, was with backup %s%s",
                           server, at, backup, former);
    return memory_text("proven by a drill at %s with backup %s, recovered in %s", at, backup, took);
}

static char *failed_words(const json_t *proofs)
{
    const json_t *failed = json_object_get(proofs, "failed"), *id;
    int64_t count = json_number_or(proofs, "failed_count", 0);
    char *ids SCOPED(scoped_free) = memory_copy_text("");
    size_t i;

    if (count <= 0)
        return NULL;
    json_array_foreach(failed, i, id)
    {
        add(&ids, "%s%s", i > 0 ? ", " : "", json_string_value(id) != NULL ? json_string_value(id) : "?");
    }
    return memory_text("WARNING: %" PRId64 " BACKUP%s FOUND DAMAGED BY VERIFY: %s%s", count, count == 1 ? "" : "S", ids,
                       count > (int64_t)json_array_size(failed) ? " and others" : "");
}

static char *verify_words(const char *server, const json_t *proofs, enum moments moments)
{
    const json_t *verify = json_object_get(proofs, "verify");
    char *at SCOPED(scoped_free) = moment_words(json_text_or_null(verify, "at"), moments, MOMENT_LAST);

    if (json_is_object(verify))
        return memory_text("last verified at %s: backup %s, %s", at, json_text_or(verify, "backup", "?"),
                           json_is_set(verify, "good") ? "good" : json_text_or(verify, "words", "?"));
    return is_unreadable(proofs) ? NULL : memory_text("no backup was ever verified (pgcoffer verify %s)", server);
}

char *proof_words(const char *server, const json_t *proofs, enum proof_sentence sentence, enum moments moments)
{
    if (!json_is_object(proofs))
        return NULL;
    switch (sentence) {
    case PROOF_DRILL:
        return drill_words(server, proofs, moments);
    case PROOF_FAILED:
        return failed_words(proofs);
    case PROOF_VERIFY:
        return verify_words(server, proofs, moments);
    case PROOF_UNREADABLE:
        return is_unreadable(proofs)
                   ? memory_text("warning: not every proof can be read: %s", json_text_or(proofs, "unreadable", "?"))
                   : NULL;
    case PROOF_SENTENCE_COUNT:
        break;
    }
    return NULL;
}

/* ---- room ---- */

char *room_forecast_words(const json_t *room)
{
    int64_t daily = json_number_or(room, "daily_bytes", -1), days = json_number_or(room, "days_until_full", -1);
    char text[TEXT_BYTES_SIZE];

    text_format_bytes((uint64_t)daily, text);
    char *line = daily >= 0 ? memory_text("%s come a day", daily > 0 ? text : "no bytes")
                            : memory_text("less than a day is stored, too little to say what comes");
    if (days >= 0)
        add(&line, "; with all that comes on this disk it is full in %" PRId64 " day%s", days, days == 1 ? "" : "s");
    return line;
}

char *room_words(const json_t *room)
{
    char backups[TEXT_BYTES_SIZE], wal[TEXT_BYTES_SIZE], free_text[TEXT_BYTES_SIZE];
    int64_t count = json_number_or(room, "backups", 0), free_bytes = json_number_or(room, "free", -1);
    char *forecast SCOPED(scoped_free) = room_forecast_words(room);

    text_format_bytes((uint64_t)json_number_or(room, "backup_bytes", 0), backups);
    text_format_bytes((uint64_t)json_number_or(room, "wal_bytes", 0), wal);
    text_format_bytes((uint64_t)free_bytes, free_text);
    return memory_text("%" PRId64 " backup%s take%s %s, WAL %s; %s free; %s", count, count == 1 ? "" : "s",
                       count == 1 ? "s" : "", backups, wal, free_bytes >= 0 ? free_text : "it is not known how much is",
                       forecast);
}
