#include "daemon/job_log_internal.h"

#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"

#define WHAT_SIZE    160
#define RESULT_SIZE  256
#define MOST_RESULTS (RESULT_SIZE - 48) /* room for one figure more */

/* What a result may tell, and what it is called in words and in JSON. */
static const struct {
    const char *member, *words, *key;
} result_bytes[] = {
    {"size_bytes", "", "bytes"},
    {"stored_bytes", " stored", "stored_bytes"},
    {"freed_bytes", " freed", "freed_bytes"},
};

/* What it may count, of each server. `key` for JSON; in words "3 backups removed". */
static const struct {
    const char *part, *member; /* a number, or a list; `part`: of this object of the server's, NULL: the server's own */
    const char *thing, *words, *key;
} result_counts[] = {
    {NULL, "backups", "backup", "", "backups"},
    {NULL, "backup_count", "backup", "", "backups"}, /* instead of a list that is too long */
    {"wal", "segments", "segment", "", "segments"},
    {NULL, "removed_backups", "backup", " removed", "removed_backups"},
    {NULL, "removed_segments", "segment", " removed", "removed_segments"},
};
#define RESULT_COUNTS (sizeof result_counts / sizeof result_counts[0])

static void describe(const struct job_entry *entry, char ret_text[WHAT_SIZE])
{
    if (entry->server[0] != '\0')
        snprintf(ret_text, WHAT_SIZE, "job %s (%s of \"%s\")", entry->id, job_entry_command(entry), entry->server);
    else
        snprintf(ret_text, WHAT_SIZE, "job %s (%s)", entry->id, job_entry_command(entry));
}

static const char *backup_of(const struct job_entry *entry)
{
    return json_text_or_null(json_object_get(entry->last_word, "data"),
                             entry->command == COMMAND_ID_backup ? "id" : "backup");
}

/* Over all servers that the result tells of; -1: it tells none of it. What a dry run would have done was not done. */
static int64_t sum_of(const struct job_entry *entry, const char *part, const char *member)
{
    const json_t *server;
    int64_t sum = -1;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(entry->last_word, "data"), "servers"), i, server)
    {
        const json_t *object = part != NULL ? json_object_get(server, part) : server;
        const json_t *value = json_object_get(object, member);
        int64_t number = json_is_array(value) ? (int64_t)json_array_size(value) : json_number_or(object, member, -1);
        if (number >= 0 && !json_is_true(json_object_get(server, "dry_run")))
            sum = (sum > 0 ? sum : 0) + number;
    }
    return sum;
}

static int64_t result_of(const struct job_entry *entry, const char *member)
{
    int64_t number = json_number_or(json_object_get(entry->last_word, "data"), member, -1);

    return number >= 0 ? number : sum_of(entry, NULL, member);
}

/* Of what was read; 0 when nothing tells it. */
static int64_t bytes_per_second(const struct job_entry *entry)
{
    int64_t bytes = result_of(entry, "size_bytes");
    double seconds = job_entry_seconds(entry);

    return entry->state == JOB_DONE && bytes > 0 && seconds > 0.001 ? (int64_t)((double)bytes / seconds) : 0;
}

/* ---- words ---- */

static void describe_resume(const struct job_entry *entry, char ret_text[RESULT_SIZE])
{
    const json_t *data = json_object_get(entry->last_word, "data");

    snprintf(ret_text, RESULT_SIZE, ": %lld leftovers removed, %zu backups completed",
             (long long)json_number_or(data, "swept", 0), json_array_size(json_object_get(data, "resumed")));
}

/* ", 3 backups, 41 segments", the comma being that of what stands before. */
static size_t describe_counts(const struct job_entry *entry, char *ret_text, size_t room)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < RESULT_COUNTS && used + 48 < room; i++) {
        int64_t count = sum_of(entry, result_counts[i].part, result_counts[i].member);
        if (count >= 0)
            used += (size_t)snprintf(ret_text + used, room - used, "%s%lld %s%s%s", used > 0 ? ", " : ": ",
                                     (long long)count, result_counts[i].thing, count == 1 ? "" : "s",
                                     result_counts[i].words);
    }
    return used;
}

/* ": 20261122T013000Z, 1.4 GB, 310.0 MB stored, 96.1 MB/s": whatever of it the result tells. */
static void describe_result(const struct job_entry *entry, char ret_text[RESULT_SIZE])
{
    char text[TEXT_BYTES_SIZE];
    size_t used = 0;

    ret_text[0] = '\0';
    if (backup_of(entry) != NULL)
        used = (size_t)snprintf(ret_text, RESULT_SIZE, ": %.64s", backup_of(entry));
    else
        used = describe_counts(entry, ret_text, MOST_RESULTS);
    for (size_t i = 0; i < sizeof result_bytes / sizeof result_bytes[0]; i++) {
        int64_t bytes = result_of(entry, result_bytes[i].member);
        if (bytes < 0 || used >= MOST_RESULTS)
            continue;
        text_format_bytes((uint64_t)bytes, text);
        used += (size_t)snprintf(ret_text + used, RESULT_SIZE - used, "%s%s%s", used > 0 ? ", " : ": ", text,
                                 result_bytes[i].words);
    }
    if (bytes_per_second(entry) == 0 || used >= MOST_RESULTS)
        return;
    text_format_bytes((uint64_t)bytes_per_second(entry), text);
    snprintf(ret_text + used, RESULT_SIZE - used, ", %s/s", text);
}

/* ---- figures ---- */

static void set_text(json_t *figures, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0')
        json_object_set_new(figures, key, control_text(text));
}

static json_t *figures_of(const struct job_entry *entry, const char *event)
{
    json_t *figures = json_object();

    set_text(figures, "event", event);
    set_text(figures, "job", entry->id);
    set_text(figures, "command", job_entry_command(entry));
    set_text(figures, "server", entry->server);
    set_text(figures, "caller", entry->caller);
    return figures;
}

static void set_number(json_t *figures, const char *key, int64_t number)
{
    if (number >= 0)
        json_object_set_new(figures, key, json_integer(number));
}

static json_t *figures_of_end(const struct job_entry *entry, int exit_status)
{
    json_t *figures = figures_of(entry, "job-end");

    set_text(figures, "state", job_state_word(entry->state));
    json_object_set_new(figures, "seconds", json_real(job_entry_seconds(entry)));
    set_number(figures, "exit", exit_status);
    set_text(figures, "cancelled_by", entry->cancelled_by);
    if (entry->state != JOB_DONE)
        return figures;
    set_text(figures, "backup", backup_of(entry));
    for (size_t i = 0; i < sizeof result_bytes / sizeof result_bytes[0]; i++)
        set_number(figures, result_bytes[i].key, result_of(entry, result_bytes[i].member));
    for (size_t i = 0; i < RESULT_COUNTS; i++)
        set_number(figures, result_counts[i].key, sum_of(entry, result_counts[i].part, result_counts[i].member));
    if (bytes_per_second(entry) > 0)
        set_number(figures, "bytes_per_second", bytes_per_second(entry));
    return figures;
}

/* ---- lines ---- */

void job_log_start(const struct job_entry *entry)
{
    char what[WHAT_SIZE];

    describe(entry, what);
    log_event(LOG_LEVEL_INFO, figures_of(entry, "job-start"), "%s started by %s", what, entry->caller);
}

void job_log_cancel(const struct job_entry *entry, const char *caller)
{
    char what[WHAT_SIZE];

    describe(entry, what);
    log_info("%s is cancelled by %s", what, caller);
}

bool job_log_is_idle_resume(const struct job_entry *entry)
{
    const json_t *data = json_object_get(entry->last_word, "data");

    return entry->is_resume && entry->state == JOB_DONE && json_number_or(data, "swept", 0) == 0 &&
           json_array_size(json_object_get(data, "resumed")) == 0;
}

static void log_done(const struct job_entry *entry, const char *what, const char *duration)
{
    char result[RESULT_SIZE];

    if (job_log_is_idle_resume(entry)) {
        log_debug("%s done in %s: nothing was left over", what, duration);
        return;
    }
    if (entry->is_resume)
        describe_resume(entry, result);
    else
        describe_result(entry, result);
    log_event(LOG_LEVEL_INFO, figures_of_end(entry, 0), "%s done in %s%s", what, duration, result);
}

void job_log_end(const struct job_entry *entry)
{
    char what[WHAT_SIZE], duration[TEXT_DURATION_SIZE];
    struct error failure;

    describe(entry, what);
    text_format_duration(job_entry_seconds(entry), duration);
    if (entry->state == JOB_DONE) {
        log_done(entry, what, duration);
        return;
    }
    control_error_from_json(entry->last_word, &failure);
    json_t *figures = figures_of_end(entry, error_exit_status(&failure));
    if (entry->state == JOB_CANCELLED) {
        log_event(LOG_LEVEL_WARNING, figures, "%s was cancelled by %s after %s", what, entry->cancelled_by, duration);
        return;
    }
    error_wrap(&failure, "%s %s after %s", what, entry->state == JOB_GONE ? "is gone" : "failed", duration);
    log_failed_event(entry->state == JOB_GONE ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, figures, &failure);
}
