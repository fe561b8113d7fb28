#include "daemon/job_table_internal.h"

#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

static const char *const state_words[] = {
    [JOB_RUNNING] = "running",
    [JOB_DONE] = "done",
    [JOB_FAILED] = "failed",
    [JOB_CANCELLED] = "cancelled",
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

bool job_table_add(struct job_table *table, enum command_id command, bool is_resume, const char *server,
                   const char *caller, struct job_entry **ret_entry, struct error *err)
{
    if (table->running_count >= JOB_MOST_RUNNING && !is_resume) {
        error_set(err, ERROR_BUSY, "%zu jobs are running already", table->running_count);
        return error_hint(err, "\"pgcoffer jobs\" lists them; wait for one to end or cancel one.");
    }
    struct job_entry *entry = memory_new(sizeof *entry);
    entry->command = command;
    entry->is_resume = is_resume;
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
    *ret_entry = entry;
    return true;
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

static void forget_oldest(struct job_table *table)
{
    struct job_entry **at = &table->ended;

    while ((*at)->next != NULL)
        at = &(*at)->next;
    free_entry(*at);
    *at = NULL;
    table->ended_count--;
}

static bool is_result(const json_t *last_word)
{
    const char *event = json_text_or_null(last_word, "event");

    return event != NULL && strcmp(event, "result") == 0;
}

void job_table_end(struct job_table *table, struct job_entry *entry, const struct error *failure)
{
    unlink_running(table, entry);
    entry->ended_at = clock_now();
    entry->ended_monotonic = clock_monotonic();
    entry->child = NULL;
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
        if (entry->last_word == NULL)
            entry->last_word = control_error_to_json(failure);
        entry->state = JOB_FAILED;
    }
    entry->next = table->ended;
    table->ended = entry;
    table->ended_count++;
    if (table->ended_count > JOB_MOST_ENDED)
        forget_oldest(table);
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

static json_t *time_to_json(struct timestamp timestamp)
{
    char text[TIMESTAMP_TEXT_SIZE];

    timestamp_format(timestamp, text);
    return json_string(text);
}

static json_t *without_event(const json_t *message)
{
    json_t *copy = json_copy((json_t *)message);

    json_object_del(copy, "event");
    return copy;
}

json_t *job_entry_to_json(const struct job_entry *entry)
{
    bool has_error = entry->state == JOB_FAILED || entry->state == JOB_CANCELLED;

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "job", entry->id, "command", job_entry_command(entry),
        "server", entry->server, "state", job_state_word(entry->state), "started_at", time_to_json(entry->started_at),
        "ended_at", entry->state == JOB_RUNNING ? json_null() : time_to_json(entry->ended_at), "caller",
        control_text(entry->caller), "progress", entry->progress != NULL ? without_event(entry->progress) : json_null(),
        "error", has_error ? without_event(entry->last_word) : json_null());
}
