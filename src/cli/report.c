#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* "1 range", "2 ranges" */
static char *NEVER_NULL count_text(long long count, const char *thing)
{
    return memory_text("%lld %s%s", count, thing, count == 1 ? "" : "s");
}

static void report_backup(const struct invocation *invocation, const json_t *data)
{
    char size[TEXT_BYTES_SIZE];
    char stored[TEXT_BYTES_SIZE];
    char duration[TEXT_DURATION_SIZE];
    const json_t *notice;
    size_t i;

    text_format_bytes((uint64_t)json_number_or(data, "size_bytes", 0), size);
    text_format_bytes((uint64_t)json_number_or(data, "stored_bytes", 0), stored);
    text_format_duration(json_number_value(json_object_get(data, "duration_seconds")), duration);
    json_array_foreach(json_object_get(data, "notices"), i, notice)
    {
        if (json_is_string(notice))
            output_detail(invocation, "PostgreSQL said: %s", json_string_value(notice));
    }
    output_line(invocation, "backup %s of %s is %s: %s, stored as %s, in %s", json_text_or(data, "id", "?"),
                json_text_or(data, "server", "?"), json_text_or(data, "state", "?"), size, stored, duration);
}

static void report_verified_backup(const struct invocation *invocation, const char *server, const json_t *backup)
{
    const char *state = json_text_or(backup, "state", "?");
    const char *id = json_text_or(backup, "id", "?");

    if (strcmp(state, "recent") == 0)
        output_line(invocation, "%s: backup %s was found good since then", server, id);
    else if (strcmp(state, "left") == 0)
        output_line(invocation, "%s: backup %s is left for another run", server, id);
    else
        output_line(invocation, "%s: backup %s is %s", server, id, state);
}

/* ", 7 segments left"; nothing for none. */
static char *NEVER_NULL rest_text(const json_t *wal, const char *key, const char *words)
{
    int64_t count = json_number_or(wal, key, 0);
    char *segments SCOPED(scoped_free) = count_text((long long)count, "segment");

    return count > 0 ? memory_text(", %s %s", segments, words) : memory_copy_text("");
}

static void report_verified_server(const struct invocation *invocation, const json_t *server)
{
    const json_t *wal = json_object_get(server, "wal");
    const json_t *backups = json_object_get(server, "backups");
    const json_t *backup;
    size_t i;

    json_array_foreach(backups, i, backup)
    {
        report_verified_backup(invocation, json_text_or(server, "server", "?"), backup);
    }
    if (!json_is_object(wal))
        return;
    char *segments SCOPED(scoped_free) = count_text((long long)json_number_or(wal, "segments", 0), "segment");
    char *ranges SCOPED(scoped_free) = count_text((long long)json_array_size(json_object_get(wal, "ranges")), "range");
    char *problems SCOPED(scoped_free) =
        count_text((long long)json_array_size(json_object_get(wal, "problems")), "problem");
    char *recent SCOPED(scoped_free) = rest_text(wal, "recent", "found good since then");
    char *left SCOPED(scoped_free) = rest_text(wal, "left", "left for another run");
    output_line(invocation, "%s: WAL: %s in %s, %s%s%s", json_text_or(server, "server", "?"), segments, ranges,
                problems, recent, left);
}

static void report_slot(const struct invocation *invocation, const json_t *data)
{
    const char *slot = json_text_or(data, "slot", "?");
    const char *server = json_text_or(data, "server", "?");

    if (json_is_set(data, "dropped"))
        output_line(invocation, "slot \"%s\" of %s is dropped", slot, server);
    else if (json_is_set(data, "created"))
        output_line(invocation, "slot \"%s\" of %s is created", slot, server);
    else if (!json_is_set(data, "exists"))
        output_line(invocation, "slot \"%s\" of %s does not exist", slot, server);
    else
        output_line(invocation, "slot \"%s\" of %s exists; it keeps WAL from %s on", slot, server,
                    json_text_or(data, "restart_lsn", "an unknown position"));
}

/* A restore, drill or export that ran elsewhere, followed to its end. */
static void report_told(const struct invocation *invocation, const json_t *data)
{
    char size[TEXT_BYTES_SIZE];
    char duration[TEXT_DURATION_SIZE];

    text_format_bytes((uint64_t)json_number_or(data, "size_bytes", 0), size);
    text_format_duration(json_number_value(json_object_get(data, "seconds")), duration);
    output_line(invocation, "%s of %s is done: backup %s, %s, in %s", json_text_or(data, "command", "?"),
                json_text_or(data, "server", "?"), json_text_or(data, "backup", "?"), size, duration);
}

void report_job_result(const struct invocation *invocation, const json_t *data)
{
    const json_t *server;
    size_t i;

    if (json_object_get(data, "slot") != NULL) {
        report_slot(invocation, data);
    } else if (json_object_get(data, "command") != NULL) {
        report_told(invocation, data);
    } else if (json_object_get(data, "freed_bytes") != NULL) {
        char freed[TEXT_BYTES_SIZE];
        text_format_bytes((uint64_t)json_number_or(data, "freed_bytes", 0), freed);
        output_line(invocation, "backup %s of %s is deleted, which freed %s", json_text_or(data, "backup", "?"),
                    json_text_or(data, "server", "?"), freed);
    } else if (json_is_array(json_object_get(data, "servers"))) {
        json_array_foreach(json_object_get(data, "servers"), i, server)
        {
            if (json_object_get(server, "removed_backups") != NULL)
                report_expired_server(invocation, server);
            else
                report_verified_server(invocation, server);
        }
    } else if (json_object_get(data, "id") != NULL) {
        report_backup(invocation, data);
    }
}

void report_problem(const struct invocation *invocation, const json_t *problem)
{
    const char *backup = json_text_or_null(problem, "backup");
    const json_t *backups = json_object_get(problem, "backups");
    int64_t frame = json_number_or(problem, "frame", -1);
    char place[64] = "";
    char *suffering SCOPED(scoped_free) = memory_copy_text("");
    const json_t *id;
    size_t i;

    if (frame >= 0)
        snprintf(place, sizeof place, ", frame %lld", (long long)frame);
    json_array_foreach(backups, i, id)
    {
        char *longer =
            memory_text("%s%s%s", suffering,
                        i > 0 ? ", " : "; backups that suffer: ", json_is_string(id) ? json_string_value(id) : "?");
        free(suffering);
        suffering = longer;
    }
    output_line(invocation, "%s%s%s: %s%s: %s%s", json_text_or(problem, "server", "?"),
                backup != NULL ? ": backup " : "", backup != NULL ? backup : "", json_text_or(problem, "file", "?"),
                place, json_text_or(problem, "problem", "?"), suffering);
}
