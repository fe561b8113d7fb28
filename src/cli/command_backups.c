#include <stdlib.h>
#include <string.h>

#include "cli/cli_internal.h"
#include "cli/notes_internal.h"
#include "cli/restorable_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* What is stored: list, show, delete. */

/* ---- list ---- */

static bool reaches_alike(const json_t *moment, const json_t *reach)
{
    return json_equal(json_object_get(moment, "timeline"), json_object_get(reach, "timeline")) &&
           json_equal(json_object_get(moment, "lsn"), json_object_get(reach, "lsn"));
}

/* Backups that reach equally far make one stretch, which begins with the oldest of them. */
static json_t *moments_of(const json_t *backups)
{
    json_t *moments = json_array();
    const json_t *backup;
    size_t i;

    json_array_foreach(backups, i, backup)
    {
        const json_t *reach = json_object_get(backup, "reach");
        const json_t *before = json_array_get(moments, json_array_size(moments) - 1);
        const char *state = json_text_or_null(backup, "state");
        if (!json_is_object(reach) || state == NULL || strcmp(state, "complete") != 0 || reaches_alike(before, reach) ||
            notes_found_damage(backup))
            continue;
        json_array_append_new(
            moments, json_pack("{s:O*, s:O*, s:O*, s:O*, s:O*, s:O*}", "backup", json_object_get(backup, "id"),
                               "timeline", json_object_get(reach, "timeline"), "lsn", json_object_get(reach, "lsn"),
                               "from", json_object_get(reach, "from"), "until", json_object_get(reach, "at"),
                               "last_commit_at", json_object_get(reach, "last_commit_at")));
    }
    return moments;
}

/* {"servers":[{"server":NAME,"backups":[...],"moments":[...],"restorable":{...}}]} from the items and the names. */
static void group_by_server(const struct invocation *invocation, const json_t *items, json_t *result)
{
    json_t *servers = json_array();
    const json_t *name;
    const json_t *item;
    size_t i;
    size_t j;

    (void)invocation;
    json_array_foreach(json_object_get(result, "servers"), i, name)
    {
        json_t *backups = json_array();
        const json_t *restorable = NULL;
        json_array_foreach(items, j, item)
        {
            const char *server = json_text_or_null(item, "server");
            if (server == NULL || !json_is_string(name) || strcmp(server, json_string_value(name)) != 0)
                continue;
            if (json_object_get(item, "id") != NULL)
                json_array_append(backups, (json_t *)item);
            else
                restorable = json_object_get(item, "restorable");
        }
        json_array_append_new(servers, json_pack("{s:O, s:o, s:o, s:O?}", "server", name, "backups", backups, "moments",
                                                 moments_of(backups), "restorable", restorable));
    }
    json_object_clear(result);
    json_object_set_new(result, "servers", servers);
}

static void set_duration(struct table *table, size_t column, const json_t *backup)
{
    struct timestamp started;
    struct timestamp stopped;
    char duration[TEXT_DURATION_SIZE] = "-";

    if (json_find_time(backup, "started_at", &started) && json_find_time(backup, "stopped_at", &stopped))
        text_format_duration((double)(stopped.microseconds - started.microseconds) / 1e6, duration);
    table_set(table, column, "%s", duration);
}

static const char *gap_words(const json_t *reach)
{
    return json_is_object(json_object_get(reach, "gap")) ? " (gap behind it)" : "";
}

/* "0/5000060", and whether more would follow behind a gap. */
static void set_reach(struct table *table, size_t column, const json_t *reach)
{
    const char *position = json_text_or(reach, "lsn", "-");

    table_set(table, column, "%s%s", position, gap_words(reach));
}

/* The label, and in brackets the annotations. */
static void set_words(struct table *table, size_t column, const json_t *backup)
{
    const char *label = json_text_or_null(backup, "label");
    char *words SCOPED(scoped_free) = notes_annotations_text(json_object_get(backup, "annotations"));
    bool has_label = !text_is_empty(label), has_words = words[0] != '\0';

    table_set(table, column, "%s%s%s%s%s", has_label ? label : "", has_label && has_words ? " " : "",
              has_words   ? "["
              : has_label ? ""
                          : "-",
              words, has_words ? "]" : "");
}

static void add_backup(struct table *table, const json_t *backup)
{
    const char *state = json_text_or_null(backup, "state");
    const char *start = json_text_or(backup, "start_lsn", "-");
    const char *end = json_text_or_null(backup, "end_lsn");
    const char *problem = json_text_or_null(json_object_get(backup, "error"), "message");

    table_add_row(table);
    table_set_text(table, 0, backup, "server");
    table_set_text(table, 1, backup, "id");
    table_set_text(table, 2, backup, "state");
    table_set_text(table, 3, backup, "kind");
    table_set_text(table, 4, backup, "started_at");
    set_duration(table, 5, backup);
    table_set_bytes(table, 6, backup, "size_bytes");
    table_set_bytes(table, 7, backup, "stored_bytes");
    table_set(table, 8, "%s%s%s", start, end != NULL ? ".." : "", end != NULL ? end : "");
    set_reach(table, 9, json_object_get(backup, "reach"));
    notes_set_columns(table, 10, backup);
    if (problem != NULL)
        table_set(table, 13, "%s", problem);
    else
        set_words(table, 13, backup);
    if ((state != NULL && (strcmp(state, "damaged") == 0 || strcmp(state, "unreadable") == 0)) || notes_are_bad(backup))
        table_mark_bad(table);
}

static void print_backups(const struct invocation *invocation, const json_t *result)
{
    static const char *const titles[] = {"SERVER",  "ID",  "STATE",   "KIND",   "STARTED",  ">TOOK",   ">SIZE",
                                         ">STORED", "WAL", "REACHES", "PINNED", "VERIFIED", "DRILLED", "LABEL"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, sizeof titles / sizeof titles[0]);
    const json_t *server;
    const json_t *backup;
    size_t count = 0;
    size_t i;
    size_t j;

    json_array_foreach(json_object_get(result, "servers"), i, server)
    {
        json_array_foreach(json_object_get(server, "backups"), j, backup)
        {
            add_backup(table, backup);
            count++;
        }
    }
    if (count == 0)
        output_line(invocation, "no backups");
    table_print(table);
    json_array_foreach(json_object_get(result, "servers"), i, server)
    {
        json_array_foreach(json_object_get(server, "backups"), j, backup)
        {
            notes_warn(invocation, backup);
        }
        restorable_print(invocation, json_text_or_null(server, "server"), json_object_get(server, "restorable"));
    }
}

bool command_list(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, group_by_server, print_backups, err);
}

/* ---- show ---- */

static void print_backup(const struct invocation *invocation, const json_t *result)
{
    json_t *shown SCOPED(scoped_json) = notes_in_words(result);
    const json_t *reach = json_object_get(result, "reach");
    const char *position = json_text_or_null(reach, "lsn");

    if (position != NULL) {
        char *words SCOPED(scoped_free) =
            memory_text("%s on timeline %" JSON_INTEGER_FORMAT "%s", position,
                        json_integer_value(json_object_get(reach, "timeline")), gap_words(reach));
        json_object_set_new(shown, "reach", json_string(words));
    }
    table_print_members(invocation, shown);
    notes_warn(invocation, result);
}

bool command_show(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, print_backup, err);
}

/* ---- delete ---- */

static bool ask(const struct invocation *invocation, struct control_stream *stream, enum command_id command,
                struct conversation *conversation, json_t **ret_result, struct error *err)
{
    struct request request SCOPED(request_done) = {.command = command, .options = json_object()};

    conversation->invocation = invocation;
    snprintf(request.server, sizeof request.server, "%s", invocation_argument(invocation, 0));
    if (command == COMMAND_ID_show)
        snprintf(request.backup, sizeof request.backup, "%s", invocation_argument(invocation, 1));
    return conversation_run(conversation, stream, &request, ret_result, err);
}

/* Would the cluster be left without a backup to restore? One from before a pg_upgrade is no other. */
static bool is_last_usable(const json_t *items, const json_t *backup)
{
    const char *id = json_text_or_null(backup, "id");
    bool is_complete = false;
    const json_t *item;
    size_t others = 0;
    size_t i;

    json_array_foreach(items, i, item)
    {
        const char *state = json_text_or_null(item, "state");
        const char *other = json_text_or_null(item, "id");
        if (state == NULL || other == NULL || strcmp(state, "complete") != 0 || notes_found_damage(item) ||
            !json_equal(json_object_get(item, "system_identifier"), json_object_get(backup, "system_identifier")))
            continue;
        if (id != NULL && strcmp(other, id) == 0)
            is_complete = true;
        else
            others++;
    }
    return is_complete && others == 0;
}

static void report_preview(const struct invocation *invocation, const json_t *backup, bool is_last)
{
    char freed[TEXT_BYTES_SIZE];
    const char *id = json_text_or_null(backup, "id");
    int64_t bytes = json_number_or(backup, "stored_bytes", 0);
    bool is_forced = invocation_has(invocation, OPTION_ID_force);
    bool is_pinned = json_is_set(backup, "pinned");

    if (output_is_json(invocation)) {
        json_t *data SCOPED(scoped_json) =
            json_pack("{s:b, s:s, s:s, s:I, s:b}", "dry_run", 1, "server", invocation_argument(invocation, 0), "backup",
                      id != NULL ? id : "", "freed_bytes", (json_int_t)bytes, "needs_force",
                      !is_forced && (is_last || is_pinned));
        output_json(data);
        return;
    }
    text_format_bytes((uint64_t)bytes, freed);
    output_line(invocation, "backup %s of %s would be deleted, which would free %s", id != NULL ? id : "?",
                invocation_argument(invocation, 0), freed);
    if (is_last && !is_forced)
        output_line(invocation, "it is the last usable backup: --force would be needed");
    if (is_pinned && !is_forced)
        output_line(invocation, "it is pinned: --force would be needed");
}

static bool preview_delete(const struct invocation *invocation, struct error *err)
{
    struct session_source *source SCOPED(scoped_session_source) = NULL;
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    struct conversation shown SCOPED(conversation_done) = {0};
    struct conversation listed SCOPED(conversation_done) = {0};
    json_t *backup SCOPED(scoped_json) = NULL;
    json_t *names SCOPED(scoped_json) = NULL;

    if (!session_source_new(invocation, false, &source, err) || !session_source_open(source, &stream, err) ||
        !ask(invocation, stream, COMMAND_ID_show, &shown, &backup, err) ||
        !ask(invocation, stream, COMMAND_ID_list, &listed, &names, err))
        return false;
    report_preview(invocation, backup, is_last_usable(listed.items, backup));
    return true;
}

bool command_delete(struct invocation *invocation, struct error *err)
{
    return invocation_has(invocation, OPTION_ID_dry_run) ? preview_delete(invocation, err)
                                                         : client_answer(invocation, NULL, report_job_result, err);
}
