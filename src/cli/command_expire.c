#include <string.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* `expire`: one line for each backup and stretch of WAL, then what was, or would be, freed. */

static bool is_backup(const json_t *item)
{
    return json_text_is(item, "what", "backup");
}

void report_expire_item(const struct invocation *invocation, const json_t *item)
{
    const char *verdict = json_is_set(item, "kept") ? "keep" : "remove";
    char bytes[TEXT_BYTES_SIZE];

    text_format_bytes((uint64_t)json_number_or(item, "stored_bytes", 0), bytes);
    if (is_backup(item))
        output_line(invocation, "%s: backup %s: %s (%s): %s", json_text_or(item, "server", "?"),
                    json_text_or(item, "id", "?"), verdict, json_text_or(item, "rule", "?"),
                    json_text_or(item, "words", "?"));
    else
        output_line(invocation, "%s: WAL %s to %s on timeline %lld, %s: %s (%s): %s", json_text_or(item, "server", "?"),
                    json_text_or(item, "start", "?"), json_text_or(item, "end", "?"),
                    (long long)json_number_or(item, "timeline", 0), bytes, verdict, json_text_or(item, "rule", "?"),
                    json_text_or(item, "words", "?"));
}

void report_expired_server(const struct invocation *invocation, const json_t *server)
{
    bool is_preview = json_is_set(server, "dry_run");
    long long backups = (long long)json_number_or(server, "removed_backups", 0);
    long long segments = (long long)json_number_or(server, "removed_segments", 0);
    const json_t *warning;
    char freed[TEXT_BYTES_SIZE];
    size_t i;

    json_array_foreach(json_object_get(server, "warnings"), i, warning)
    {
        output_warning(invocation, "%s", json_string_value(warning));
    }
    text_format_bytes((uint64_t)json_number_or(server, "freed_bytes", 0), freed);
    if (backups == 0 && segments == 0)
        output_line(invocation, "%s: nothing %s", json_text_or(server, "server", "?"),
                    is_preview ? "would be removed" : "was to be removed");
    else
        output_line(invocation, "%s: %lld backup%s and %lld WAL segment%s %s, which %s %s",
                    json_text_or(server, "server", "?"), backups, backups == 1 ? "" : "s", segments,
                    segments == 1 ? "" : "s", is_preview ? "would be removed" : "are removed",
                    is_preview ? "would free" : "freed", freed);
}

/* Each server's items beside what is said of it. */
static void gather(const json_t *items, json_t *result)
{
    json_t *server;
    const json_t *item;
    size_t i, j;

    json_array_foreach(json_object_get(result, "servers"), i, server)
    {
        json_t *backups = json_array(), *wal = json_array();
        json_array_foreach(items, j, item)
        {
            if (strcmp(json_text_or(item, "server", "?"), json_text_or(server, "server", "?")) == 0)
                json_array_append(is_backup(item) ? backups : wal, (json_t *)item);
        }
        json_object_set_new(server, "backups", backups);
        json_object_set_new(server, "wal", wal);
    }
}

/* All with --explain, else what goes. */
static void print_result(const struct invocation *invocation, const json_t *result, bool is_explained)
{
    static const char *const lists[] = {"backups", "wal"};
    const json_t *server, *item;
    size_t i, k;

    json_array_foreach(json_object_get(result, "servers"), i, server)
    {
        for (size_t j = 0; j < 2; j++)
            json_array_foreach(json_object_get(server, lists[j]), k, item)
            {
                if (is_explained || !json_is_set(item, "kept"))
                    report_expire_item(invocation, item);
            }
        report_expired_server(invocation, server);
    }
}

bool command_expire(struct invocation *invocation, struct error *err)
{
    struct conversation conversation SCOPED(conversation_done) = {.is_job = true};
    json_t *result SCOPED(scoped_json) = NULL;

    bool explains = invocation_has(invocation, OPTION_ID_explain);
    if (!explains && invocation_has(invocation, OPTION_ID_dry_run))
        invocation_add_flag(invocation, OPTION_ID_explain);
    if (!client_ask(invocation, &conversation, &result, err))
        return false;
    gather(conversation.items, result);
    if (output_is_json(invocation))
        output_json(result);
    else
        print_result(invocation, result, explains);
    return true;
}
