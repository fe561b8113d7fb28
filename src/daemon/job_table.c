#include "daemon/job_table_internal.h"

#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

static const char *const state_words[] = {
    [JOB_RUNNING] = "running",     [JOB_DONE] = "done", [JOB_FAILED] = "failed",
    [JOB_CANCELLED] = "cancelled", [JOB_GONE] = "gone",
};

const char *job_state_word(enum job_state state)
{
    return state_words[state];
}

const char *job_entry_command(const struct job_entry *entry)
{
    return entry->is_resume ? "resume" : commands[entry->command].words;
}

double job_entry_seconds(const struct job_entry *entry)
{
    int64_t end = entry->state == JOB_RUNNING ? clock_monotonic() : entry->ended_monotonic;

    return (double)(end - entry->started_monotonic) / 1e6;
}

static void free_entry(struct job_entry *entry)
{
    json_decref(entry->progress);
    json_decref(entry->last_word);
    free(entry);
}

static struct job_entry *append(struct job_table *table, enum command_id command, const char *server,
                                const char *caller)
{
    struct job_entry *entry = memory_new(sizeof *entry);

    entry->command = command;
    entry->started_at = clock_now();
    entry->started_monotonic = clock_monotonic();
    snprintf(entry->id, sizeof entry->id, "%llu", (unsigned long long)++table->last_id);
    snprintf(entry->server, sizeof entry->server, "%s", server);
    snprintf(entry->caller, sizeof entry->caller, "%s", caller);
    struct job_entry **at = &table->running;
    while (*at != NULL)
        at = &(*at)->next;
    *at = entry;
    table->running_count++;
    return entry;
}

/* Those that are reported: of one server, or of all (NULL). */
static size_t count_reported(const struct job_entry *first, const char *server)
{
    size_t count = 0;

    for (const struct job_entry *entry = first; entry != NULL; entry = entry->next)
        count += entry->is_reported && (server == NULL || strcmp(entry->server, server) == 0);
    return count;
}

bool job_table_add(struct job_table *table, enum command_id command, bool is_resume, const char *server,
                   const char *caller, struct job_entry **ret_entry, struct error *err)
{
    size_t own_count = table->running_count - count_reported(table->running, NULL);

    if (own_count >= JOB_MOST_RUNNING && !is_resume) {
        error_set(err, ERROR_BUSY, "%zu jobs are running already", own_count);
        return error_hint(err, "\"pgcoffer jobs\" lists them; wait for one to end or cancel one.");
    }
    *ret_entry = append(table, command, server, caller);
    (*ret_entry)->is_resume = is_resume;
    return true;
}

bool job_table_add_reported(struct job_table *table, enum command_id command, const char *server, const char *caller,
                            struct job_entry **ret_entry, struct error *err)
{
    size_t of_server = count_reported(table->running, server);

    if (of_server >= JOB_MOST_REPORTED_OF_SERVER)
        return error_set(err, ERROR_BUSY, "%zu restores, drills and exports of server \"%s\" are shown already",
                         of_server, server);
    if (count_reported(table->running, NULL) >= JOB_MOST_REPORTED)
        return error_set(err, ERROR_BUSY, "%d restores, drills and exports are shown already", JOB_MOST_REPORTED);
    *ret_entry = append(table, command, server, caller);
    (*ret_entry)->is_reported = true;
    return true;
}

struct job_entry *job_table_reported_by(const struct job_table *table, const struct client *client)
{
    for (struct job_entry *entry = table->running; entry != NULL; entry = entry->next)
        if (entry->reporter == client)
            return entry;
    return NULL;
}

struct job_entry *job_table_find(const struct job_table *table, const char *id)
{
    struct job_entry *const lists[] = {table->running, table->ended};

    for (size_t i = 0; i < 2; i++)
        for (struct job_entry *entry = lists[i]; entry != NULL; entry = entry->next)
            if (strcmp(entry->id, id) == 0)
                return entry;
    return NULL;
}

struct job_entry *job_table_backup_of(const struct job_table *table, const char *server)
{
    for (struct job_entry *entry = table->running; entry != NULL; entry = entry->next)
        if (entry->command == COMMAND_ID_backup && strcmp(entry->server, server) == 0)
            return entry;
    return NULL;
}

struct job_entry *job_table_slot_change_of(const struct job_table *table, const char *server)
{
    for (struct job_entry *entry = table->running; entry != NULL; entry = entry->next)
        if ((entry->command == COMMAND_ID_slot_create || entry->command == COMMAND_ID_slot_drop) &&
            strcmp(entry->server, server) == 0)
            return entry;
    return NULL;
}

bool job_table_demand_no_slot_change(const struct job_table *table, const char *server, struct error *err)
{
    const struct job_entry *holder = job_table_slot_change_of(table, server);

    if (holder == NULL)
        return true;
    error_set(err, ERROR_BUSY, "the replication slot of server \"%s\" is being %s: job %s, started by %s", server,
              holder->command == COMMAND_ID_slot_drop ? "dropped" : "created", holder->id, holder->caller);
    return error_hint(err, "It takes a few seconds; \"pgcoffer follow %s\" shows its end.", holder->id);
}

bool job_table_demand_no_backup(const struct job_table *table, const char *server, struct error *err)
{
    const struct job_entry *holder = job_table_backup_of(table, server);
    char duration[TEXT_DURATION_SIZE];

    if (holder == NULL)
        return true;
    text_format_duration(job_entry_seconds(holder), duration);
    if (holder->is_resume)
        error_set(err, ERROR_BUSY,
                  "backups of server \"%s\" copied before a restart are being completed: job %s, "
                  "started %s ago by %s",
                  server, holder->id, duration, holder->caller);
    else
        error_set(err, ERROR_BUSY, "a backup of server \"%s\" is running: job %s, started %s ago by %s", server,
                  holder->id, duration, holder->caller);
    return error_hint(err, "\"pgcoffer follow %s\" shows its progress, \"pgcoffer cancel %s\" ends it.", holder->id,
                      holder->id);
}

static void unlink_running(struct job_table *table, struct job_entry *entry)
{
    struct job_entry **at = &table->running;

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    entry->next = NULL;
    table->running_count--;
}

/* Of all that ended, or of the reported ones. */
static void forget_oldest(struct job_table *table, bool is_of_reported)
{
    struct job_entry **oldest = NULL;

    for (struct job_entry **at = &table->ended; *at != NULL; at = &(*at)->next)
        if (!is_of_reported || (*at)->is_reported)
            oldest = at;
    if (oldest == NULL)
        return;
    struct job_entry *entry = *oldest;
    *oldest = entry->next;
    free_entry(entry);
    table->ended_count--;
}

static bool is_result(const json_t *last_word)
{

    return json_text_is(last_word, "event", "result");
}

void job_table_end(struct job_table *table, struct job_entry *entry, const struct error *failure)
{
    unlink_running(table, entry);
    entry->ended_at = clock_now();
    entry->ended_monotonic = clock_monotonic();
    entry->child = NULL;
    entry->reporter = NULL;
    if (entry->last_word != NULL && is_result(entry->last_word)) {
        entry->state = JOB_DONE; /* also when it was cancelled too late */
    } else if (entry->cancelled_by[0] != '\0') {
        struct error cancelled;
        error_set(&cancelled, ERROR_FAILED, "job %s (%s) was cancelled by %s", entry->id, job_entry_command(entry),
                  entry->cancelled_by);
        json_decref(entry->last_word);
        entry->last_word = control_error_to_json(&cancelled);
        entry->state = JOB_CANCELLED;
    } else {
        entry->state = entry->is_reported && entry->last_word == NULL ? JOB_GONE : JOB_FAILED;
        if (entry->last_word == NULL)
            entry->last_word = control_error_to_json(failure);
    }
    entry->next = table->ended;
    table->ended = entry;
    table->ended_count++;
    if (entry->is_reported && count_reported(table->ended, NULL) > JOB_MOST_REPORTED_ENDED)
        forget_oldest(table, true);
    else if (table->ended_count > JOB_MOST_ENDED)
        forget_oldest(table, false);
}

void job_table_remove(struct job_table *table, struct job_entry *entry)
{
    unlink_running(table, entry);
    free_entry(entry);
}

static void free_list(struct job_entry *entry)
{
    while (entry != NULL) {
        struct job_entry *next = entry->next;
        free_entry(entry);
        entry = next;
    }
}

void job_table_done(struct job_table *table)
{
    free_list(table->running);
    free_list(table->ended);
    *table = (struct job_table){.last_id = table->last_id};
}

static json_t *without_event(const json_t *message)
{
    json_t *copy = json_copy((json_t *)message);

    json_object_del(copy, "event");
    return copy;
}

json_t *job_entry_to_json(const struct job_entry *entry)
{
    bool has_error = entry->state != JOB_RUNNING && entry->state != JOB_DONE;

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "job", entry->id, "command", job_entry_command(entry),
        "server", entry->server, "state", job_state_word(entry->state), "started_at", json_time(entry->started_at),
        "ended_at", entry->state == JOB_RUNNING ? json_null() : json_time(entry->ended_at), "caller",
        control_text(entry->caller), "progress", entry->progress != NULL ? without_event(entry->progress) : json_null(),
        "error", has_error ? without_event(entry->last_word) : json_null());
}
