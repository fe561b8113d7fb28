#include "pg/connection_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define FIRST_WITH_READ_SLOT 150000
#define SLOT_NAME_MOST       63

/* Checked here, so that a name never needs quoting. */
static bool check_name(const char *slot, struct error *err)
{
    size_t length = strlen(slot);

    if (length > 0 && length <= SLOT_NAME_MOST && strspn(slot, "abcdefghijklmnopqrstuvwxyz0123456789_") == length)
        return true;
    error_set(err, ERROR_CONFIG, "\"%s\" is not the name of a replication slot", slot);
    return error_hint(err,
                      "A slot's name has lower-case letters, digits and underscores, at most %d; correct wal_slot.",
                      SLOT_NAME_MOST);
}

/* Columns: slot_type, restart_lsn[, restart_tli]; a row of NULLs, or none, means that there is no such slot. */
static bool take_slot(const PGresult *result, const char *what, struct pg_slot *ret_slot, struct error *err)
{
    struct pg_slot slot = {.is_known = true};
    const char *type = pg_field(result, 0, 0);

    if (type != NULL) {
        slot.exists = true;
        slot.is_physical = strcmp(type, "physical") == 0;
        slot.has_position = pg_field(result, 0, 1) != NULL;
        if (slot.has_position && !pg_field_position(result, 0, 1, what, &slot.restart_position, err))
            return false;
        if (pg_field(result, 0, 2) != NULL && !pg_field_timeline(result, 0, 2, what, &slot.restart_timeline, err))
            return false;
    }
    *ret_slot = slot;
    return true;
}

/* 13 and 14 tell it to SQL only, and SQL needs a database. */
static bool read_by_query(struct pg_connection *connection, const char *slot, const char *what,
                          struct pg_slot *ret_slot, struct error *err)
{
    struct pg_connection *database SCOPED(scoped_pg_connection) = NULL;
    PGresult *result SCOPED(scoped_result) = NULL;
    char *command SCOPED(scoped_free) =
        memory_text("SELECT slot_type, restart_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = '%s'", slot);
    struct error refused;

    if (!pg_connect_database(connection, "postgres", &database, &refused)) {
        if (refused.errnum != 0) {
            *err = refused;
            return false;
        }
        *ret_slot = (struct pg_slot){.is_known = false};
        return true;
    }
    return pg_execute(database, command, PGRES_TUPLES_OK, what, &result, err) && take_slot(result, what, ret_slot, err);
}

bool pg_slot_read(struct pg_connection *connection, const char *slot, struct pg_slot *ret_slot, struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;
    char *what SCOPED(scoped_free) = memory_text("could not read replication slot \"%s\"", slot);
    char *command SCOPED(scoped_free) = memory_text("READ_REPLICATION_SLOT \"%s\"", slot);

    if (!check_name(slot, err))
        return false;
    if (connection->session.server_version < FIRST_WITH_READ_SLOT)
        return read_by_query(connection, slot, what, ret_slot, err);
    if (pg_execute(connection, command, PGRES_TUPLES_OK, what, &result, err))
        return take_slot(result, what, ret_slot, err);
    /* Only a logical slot is refused this way. */
    if (strcmp(pg_last_sqlstate(connection), "0A000") != 0)
        return false;
    *ret_slot = (struct pg_slot){.exists = true, .is_known = true};
    return true;
}

bool pg_slot_create(struct pg_connection *connection, const char *slot, bool *ret_existed, struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;
    char *what SCOPED(scoped_free) = memory_text("could not create replication slot \"%s\"", slot);
    /* The old spelling, which every version takes. */
    char *command SCOPED(scoped_free) = memory_text("CREATE_REPLICATION_SLOT \"%s\" PHYSICAL RESERVE_WAL", slot);

    if (!check_name(slot, err))
        return false;
    bool is_created = pg_execute(connection, command, PGRES_TUPLES_OK, what, &result, err);
    const char *sqlstate = pg_last_sqlstate(connection);
    if (!is_created && strcmp(sqlstate, "42710") != 0) {
        if (strcmp(sqlstate, "53400") == 0 && text_is_empty(err->hint))
            error_hint(err, "Raise max_replication_slots in postgresql.conf (a restart is needed), or drop a slot that "
                            "is not needed.");
        return false;
    }
    *ret_existed = !is_created;
    return true;
}

bool pg_slot_create_temporary(struct pg_connection *connection, const char *slot, struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;
    char *what SCOPED(scoped_free) = memory_text("could not create the temporary replication slot \"%s\"", slot);
    char *command SCOPED(scoped_free) =
        memory_text("CREATE_REPLICATION_SLOT \"%s\" TEMPORARY PHYSICAL RESERVE_WAL", slot);

    if (!check_name(slot, err))
        return false;
    if (pg_execute(connection, command, PGRES_TUPLES_OK, what, &result, err))
        return true;
    if (strcmp(pg_last_sqlstate(connection), "42710") == 0)
        err->kind = ERROR_BUSY;
    return false;
}

bool pg_slot_drop(struct pg_connection *connection, const char *slot, struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;
    char *what SCOPED(scoped_free) = memory_text("could not drop replication slot \"%s\"", slot);
    char *command SCOPED(scoped_free) = memory_text("DROP_REPLICATION_SLOT \"%s\"", slot);

    if (!check_name(slot, err))
        return false;
    if (pg_execute(connection, command, PGRES_COMMAND_OK, what, &result, err))
        return true;
    if (strcmp(pg_last_sqlstate(connection), "55006") == 0) {
        err->kind = ERROR_BUSY;
        error_hint(err,
                   "Stop the receiver that uses it (the message names its process on the server), then try again.");
    } else if (strcmp(pg_last_sqlstate(connection), "42704") == 0)
        error_hint(err, "Look which slots there are: SELECT slot_name FROM pg_replication_slots;");
    return false;
}
