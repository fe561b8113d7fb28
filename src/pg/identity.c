#include "pg/connection_internal.h"
#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/wal/history.h"

bool pg_identify(struct pg_connection *connection, struct pg_identity *ret_identity, struct error *err)
{
    const char *what = "could not identify the system";
    PGresult *result SCOPED(scoped_result) = NULL;
    struct pg_identity identity;

    if (!pg_execute(connection, "IDENTIFY_SYSTEM", PGRES_TUPLES_OK, what, &result, err))
        return false;
    const char *system = pg_field(result, 0, 0);
    if (system == NULL || !text_parse_unsigned(system, UINT64_MAX, &identity.system_identifier))
        return error_set(err, ERROR_SERVER, "%s: the server answered no system identifier", what);
    if (!pg_field_timeline(result, 0, 1, what, &identity.timeline, err) ||
        !pg_field_position(result, 0, 2, what, &identity.position, err))
        return false;
    *ret_identity = identity;
    return true;
}

static bool is_setting_name(const char *name)
{
    return name[0] != '\0' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") == strlen(name);
}

bool pg_show(struct pg_connection *connection, const char *name, char *ret_value, size_t size, struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;

    if (!is_setting_name(name))
        return error_set(err, ERROR_USAGE, "\"%s\" is not the name of a setting", name);
    char *command SCOPED(scoped_free) = memory_text("SHOW %s", name);
    char *what SCOPED(scoped_free) = memory_text("could not show the server's %s", name);
    if (!pg_execute(connection, command, PGRES_TUPLES_OK, what, &result, err))
        return false;
    const char *value = pg_field(result, 0, 0);
    if (value == NULL)
        return error_set(err, ERROR_SERVER, "%s: the server answered nothing", what);
    snprintf(ret_value, size, "%s", value);
    return true;
}

bool pg_segment_size(struct pg_connection *connection, struct wal_segment_size *ret_size, struct error *err)
{
    char text[64];

    return pg_show(connection, "wal_segment_size", text, sizeof text, err) &&
           wal_segment_size_parse(text, ret_size, err);
}

bool pg_timeline_history(struct pg_connection *connection, struct timeline timeline, char **ret_text, size_t *ret_size,
                         struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;
    char expected[WAL_HISTORY_NAME_SIZE];
    char *command SCOPED(scoped_free) = memory_text("TIMELINE_HISTORY %u", timeline.value);
    char *what SCOPED(scoped_free) = memory_text("could not fetch the history of timeline %u", timeline.value);

    if (!pg_execute(connection, command, PGRES_TUPLES_OK, what, &result, err))
        return false;
    wal_history_format(timeline, expected);
    const char *name = pg_field(result, 0, 0);
    const char *content = pg_field(result, 0, 1);
    if (name == NULL || strcmp(name, expected) != 0)
        return error_set(err, ERROR_SERVER, "%s: the server sent another file", what);
    if (content == NULL)
        return error_set(err, ERROR_SERVER, "%s: the server sent no content", what);
    /* Raw bytes in every version, although 13 calls the column bytea. */
    size_t size = (size_t)PQgetlength(result, 0, 1);
    struct buffer text SCOPED(buffer_done) = BUFFER_WITH_LIMIT(HISTORY_MOST_BYTES + 1);
    if (!buffer_append(&text, content, size, err) || !buffer_append(&text, "", 1, err))
        return error_wrap(err, "%s", what);
    *ret_text = (char *)TAKE(text.bytes);
    *ret_size = size;
    return true;
}
