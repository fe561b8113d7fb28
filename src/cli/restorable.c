#include "cli/restorable_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* In one line; --json tells the others. */
#define MOST_GAPS_NAMED    3
#define MOST_BACKUPS_NAMED 3
/* What is said of a survey that is not older than that is said of now. */
#define OLD_MICROSECONDS INT64_C(120000000)

/* ---- a line that grows ---- */

static void add(char **line, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(char **line, const char *format, ...)
{
    char part[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    char *longer = memory_text("%s%s", *line, part);
    free(*line);
    *line = longer;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_text_or_null(object, key);

    return text != NULL ? text : "?";
}

/* ---- what can be restored ---- */

static void add_gaps(char **line, const json_t *restorable)
{
    const json_t *gaps = json_object_get(restorable, "gaps");
    size_t size = json_array_size(gaps);
    size_t first = size > MOST_GAPS_NAMED ? size - MOST_GAPS_NAMED : 0;
    int64_t earlier = json_number_or(restorable, "gap_count", 0) - (int64_t)(size - first);

    for (size_t i = first; i < size; i++) {
        const json_t *gap = json_array_get(gaps, i);
        const char *until = json_text_or_null(gap, "until");
        if (until != NULL)
            add(line, "%s after %s and before %s (%s)", i == first ? ", but for" : ",", text_of(gap, "from"), until,
                text_of(gap, "words"));
        else
            add(line, "; nothing later (%s)", text_of(gap, "words"));
    }
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
        add(line, "%s%s", text_of(backup, "backup"), i + 1 < size ? ", " : "");
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
        add(line, ": %s", text_of(gap, "words"));
}

static char *NEVER_NULL restorable_line(const json_t *restorable)
{
    const json_t *windows = json_object_get(restorable, "windows");
    size_t size = json_array_size(windows);
    char *line = memory_copy_text("");

    if (size > 0) {
        add(&line, "every moment from %s to %s can be restored", text_of(json_array_get(windows, 0), "from"),
            text_of(json_array_get(windows, size - 1), "until"));
        add_gaps(&line, restorable);
    } else {
        add_why_nothing(&line, restorable);
    }
    add_backups(&line, json_object_get(restorable, "own_end"), "to their own end only", false);
    add_backups(&line, json_object_get(restorable, "other_timelines"), "on other timelines only", true);
    add_backups(&line, json_object_get(restorable, "unusable"), "not to be restored", false);
    return line;
}

static void print_line(const struct invocation *invocation, const char *server, const json_t *restorable,
                       const char *as_of)
{
    if (!json_is_object(restorable))
        return;
    char *line SCOPED(scoped_free) = restorable_line(restorable);
    output_line(invocation, "%s: %s%s%s%s", server != NULL ? server : "?", line, as_of != NULL ? " (as of " : "",
                as_of != NULL ? as_of : "", as_of != NULL ? ")" : "");
}

void restorable_print(const struct invocation *invocation, const char *server, const json_t *restorable)
{
    print_line(invocation, server, restorable, NULL);
}

/* ---- a survey ---- */

/* Its time, when it is an old one or the next one failed; else NULL. */
static const char *told_as_of(const json_t *survey)
{
    const char *at = json_text_or_null(survey, "at");
    struct timestamp time;
    struct error ignored;

    if (at == NULL || !timestamp_parse(at, &time, &ignored))
        return NULL;
    bool is_old = clock_now().microseconds - time.microseconds > OLD_MICROSECONDS;
    return is_old || json_is_object(json_object_get(survey, "error")) ? at : NULL;
}

static void print_trouble(const struct invocation *invocation, const char *server, const json_t *survey)
{
    const char *failure = json_text_or_null(json_object_get(survey, "error"), "message");
    const char *since = json_text_or_null(survey, "running_since");
    bool has_data = json_text_or_null(survey, "at") != NULL;

    if (failure != NULL)
        output_line(invocation, "%s: warning: what is stored could not be looked at: %s", server, failure);
    else if (since != NULL)
        output_line(invocation, "%s: what is stored is being looked at since %s%s", server, since,
                    has_data ? "" : ", and nothing is known yet");
}

/* ---- proofs ---- */

static bool is_unreadable(const json_t *proofs)
{
    return json_text_or_null(proofs, "unreadable") != NULL;
}

static void print_drill(const struct invocation *invocation, const char *server, const json_t *proofs)
{
    const json_t *drill = json_object_get(proofs, "drill");
    const char *former = json_is_set(proofs, "drill_former") ? " of the cluster that it was before" : "";
    char took[TEXT_DURATION_SIZE];

    text_format_duration(json_number_value(json_object_get(drill, "seconds")), took);
    if (!json_is_object(drill) && is_unreadable(proofs))
        output_line(invocation, "%s: whether it was proven by a drill cannot be told", server);
    else if (!json_is_object(drill))
        output_line(invocation, "%s: never proven by a drill (pgcoffer drill %s)", server, server);
    else if (!json_is_set(drill, "good"))
        output_line(invocation, "%s: WARNING: THE LAST PROOF FAILED: drill at %s with backup %s%s: %s", server,
                    text_of(drill, "at"), text_of(drill, "backup"), former, text_of(drill, "words"));
    else if (former[0] != '\0')
        output_line(invocation,
                    "%s: never proven by a drill (pgcoffer drill %s): the last one, at %s, was with backup %s%s",
                    server, server, text_of(drill, "at"), text_of(drill, "backup"), former);
    else
        output_line(invocation, "%s: proven by a drill at %s with backup %s, recovered in %s", server,
                    text_of(drill, "at"), text_of(drill, "backup"), took);
}

static void print_verify(const struct invocation *invocation, const char *server, const json_t *proofs)
{
    const json_t *verify = json_object_get(proofs, "verify"), *failed = json_object_get(proofs, "failed");
    int64_t count = json_number_or(proofs, "failed_count", 0);
    char *ids SCOPED(scoped_free) = memory_copy_text("");
    const json_t *id;
    size_t i;

    json_array_foreach(failed, i, id)
    {
        add(&ids, "%s%s", i > 0 ? ", " : "", json_string_value(id) != NULL ? json_string_value(id) : "?");
    }
    if (count > 0)
        output_line(invocation, "%s: WARNING: %" PRId64 " BACKUP%s FOUND DAMAGED BY VERIFY: %s%s", server, count,
                    count == 1 ? "" : "S", ids, count > (int64_t)json_array_size(failed) ? " and others" : "");
    if (json_is_object(verify))
        output_line(invocation, "%s: last verified at %s: backup %s, %s", server, text_of(verify, "at"),
                    text_of(verify, "backup"), json_is_set(verify, "good") ? "good" : text_of(verify, "words"));
    else if (!is_unreadable(proofs))
        output_line(invocation, "%s: no backup was ever verified (pgcoffer verify %s)", server, server);
}

static void print_proofs(const struct invocation *invocation, const char *server, const json_t *proofs)
{
    if (!json_is_object(proofs))
        return;
    print_drill(invocation, server, proofs);
    print_verify(invocation, server, proofs);
    if (is_unreadable(proofs))
        output_line(invocation, "%s: warning: not every proof can be read: %s", server, text_of(proofs, "unreadable"));
}

/* ---- room ---- */

/* "primary: 12 backups take 3.1 GB, WAL 800.0 MB; 9.5 GB free; 120.0 MB come a day; with all ... full in 79 days" */
static void print_stored(const struct invocation *invocation, const char *server, const json_t *room)
{
    char backups[TEXT_BYTES_SIZE], wal[TEXT_BYTES_SIZE], daily[TEXT_BYTES_SIZE], free_text[TEXT_BYTES_SIZE];
    int64_t count = json_number_or(room, "backups", 0), days = json_number_or(room, "days_until_full", -1);
    int64_t bytes_a_day = json_number_or(room, "daily_bytes", -1), free_bytes = json_number_or(room, "free", -1);

    if (!json_is_object(room))
        return;
    text_format_bytes((uint64_t)json_number_or(room, "backup_bytes", 0), backups);
    text_format_bytes((uint64_t)json_number_or(room, "wal_bytes", 0), wal);
    text_format_bytes((uint64_t)bytes_a_day, daily);
    text_format_bytes((uint64_t)free_bytes, free_text);
    char *line SCOPED(scoped_free) =
        memory_text("%" PRId64 " backup%s take%s %s, WAL %s; %s free", count, count == 1 ? "" : "s",
                    count == 1 ? "s" : "", backups, wal, free_bytes >= 0 ? free_text : "it is not known how much is");
    if (bytes_a_day >= 0)
        add(&line, "; %s come a day", bytes_a_day > 0 ? daily : "no bytes");
    else
        add(&line, "; less than a day is stored, too little to say what comes");
    if (days >= 0)
        add(&line, "; with all that comes on this disk it is full in %" PRId64 " day%s", days, days == 1 ? "" : "s");
    output_line(invocation, "%s: %s", server, line);
}

void stored_print(const struct invocation *invocation, const char *server, const json_t *survey)
{
    if (!json_is_object(survey))
        return;
    server = server != NULL ? server : "?";
    print_line(invocation, server, json_object_get(survey, "restorable"), told_as_of(survey));
    print_proofs(invocation, server, json_object_get(survey, "proofs"));
    print_stored(invocation, server, json_object_get(survey, "room"));
    print_trouble(invocation, server, survey);
}
