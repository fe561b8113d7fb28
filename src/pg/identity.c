#include "pg/connection_internal.h"
#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/wal/history.h"

#define FIRST_WITH_HOT_STANDBY_SHOWN 140000

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

/*
 * 13 has no in_hot_standby. There a transaction of a standby is always read-only, and one of a primary is not when the
 * session's default_transaction_read_only is off, which CONNINFO_OPTIONS_OF_SEVERAL demands.
 */
bool pg_ask_role(struct pg_connection *connection, enum pg_role *ret_role, struct error *err)
{
    bool has_setting = connection->session.server_version >= FIRST_WITH_HOT_STANDBY_SHOWN;
    char word[16];

    *ret_role = PG_ROLE_UNKNOWN;
    if (!has_setting && !connection->server.is_one_of_several)
        return true;
    if (!pg_show(connection, has_setting ? "in_hot_standby" : "transaction_read_only", word, sizeof word, err))
        return false;
    *ret_role = strcmp(word, "on") == 0 ? PG_ROLE_STANDBY : PG_ROLE_PRIMARY;
    return true;
}

bool pg_ask_primary(struct pg_connection *connection, bool *ret_is_primary, struct error *err)
{
    bool has_setting = connection->session.server_version >= FIRST_WITH_HOT_STANDBY_SHOWN;
    char word[16];

    *ret_is_primary = false;
    if (!pg_show(connection, has_setting ? "in_hot_standby" : "transaction_read_only", word, sizeof word, err))
        return false;
    *ret_is_primary = strcmp(word, "off") == 0;
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

/* As GUC's show function writes it: the largest unit that divides it. */
static bool parse_duration(const char *text, int64_t *ret_microseconds)
{
    static const struct {
        const char *unit;
        int64_t microseconds;
    } units[] = {{"", 1000}, /* only of 0 */
                 {"us", 1},
                 {"ms", 1000},
                 {"s", 1000000},
                 {"min", 60000000},
                 {"h", INT64_C(3600000000)},
                 {"d", INT64_C(86400000000)}};
    size_t size = strspn(text, "0123456789");
    char digits[16];
    uint64_t number = 0;

    if (size >= sizeof digits)
        return false;
    memcpy(digits, text, size);
    digits[size] = '\0';
    if (!text_parse_unsigned(digits, INT32_MAX, &number))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + size, units[i].unit) == 0) {
            *ret_microseconds = (int64_t)number * units[i].microseconds;
            return true;
        }
    }
    return false;
}

bool pg_show_duration(struct pg_connection *connection, const char *name, int64_t *ret_microseconds, struct error *err)
{
    char text[64];

    if (!pg_show(connection, name, text, sizeof text, err))
        return false;
    return parse_duration(text, ret_microseconds) ||
           error_set(err, ERROR_SERVER, "could not understand the server's %s = %s", name, text);
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
