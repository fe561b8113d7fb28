#include <stdio.h>
#include <unistd.h>

#include "jobs/receive/session_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"

#define FIRST_THAT_NEVER_REVIVES 160000

#define MOST_OF_NAME 48 /* with the number of the process it stays a slot's name */

bool session_read_slot(struct session *session, struct error *err)
{
    session->slot = (struct pg_slot){.is_known = true};
    if (text_is_empty(session->slot_name))
        return true;
    if (!pg_slot_read(session->connection, session->slot_name, &session->slot, err))
        return false;
    if (!session->slot.exists || session->slot.is_physical)
        return true;
    error_set(err, ERROR_CONFIG, "replication slot \"%s\" is a logical one", session->slot_name);
    return error_hint(err, "Give wal_slot of [%s] another name.", session->receiver->server->name);
}

/* Without one it streams all the same, as long as the standby keeps what is needed. */
static void create_temporary(struct session *session)
{
    struct error err;

    snprintf(session->temporary_slot, sizeof session->temporary_slot, "%.*s_%d", MOST_OF_NAME, session->slot_name,
             (int)getpid());
    session->slot_name = session->temporary_slot;
    if (pg_slot_create_temporary(session->connection, session->temporary_slot, &err))
        return;
    log_debug("%s", err.message);
    session->temporary_slot[0] = '\0'; /* and so the name is "": none */
}

bool session_create_missing_slot(struct session *session, bool *ret_created, struct error *err)
{
    const struct server_config *server = session->receiver->server;
    bool existed = false;

    *ret_created = false;
    if (text_is_empty(session->slot_name) || session->slot.exists)
        return true;
    if (!server->settings.create_slot) {
        if (!session->slot.is_known)
            return true; /* START_REPLICATION will tell */
        error_set(err, ERROR_SERVER, "replication slot \"%s\" does not exist", session->slot_name);
        return error_hint(err, "Create it: pgcoffer slot create %s, or set create_slot = yes.", server->name);
    }
    if (session->role == PG_ROLE_STANDBY && session->receiver->hosts.count > 1) {
        create_temporary(session);
        return true;
    }
    if (!pg_slot_create(session->connection, session->slot_name, &existed, err))
        return false;
    if (!existed)
        log_info("created replication slot \"%s\"", session->slot_name);
    *ret_created = !existed;
    return true;
}

/* The temporary one would keep WAL as long as the connection lasts. */
static bool drop_temporary(struct session *session, struct error *err)
{
    if (session->temporary_slot[0] == '\0')
        return true;
    if (!pg_slot_drop(session->connection, session->temporary_slot, err))
        return false;
    session->temporary_slot[0] = '\0';
    return true;
}

bool session_follow_promotion(struct session *session, struct error *err)
{
    bool is_created = false;

    if (session->receiver->hosts.count == 1 || session->role != PG_ROLE_STANDBY)
        return true;
    if (!pg_ask_role(session->connection, &session->role, err))
        return false;
    if (session->role != PG_ROLE_PRIMARY)
        return true;
    log_info("the standby was promoted: it is the primary now");
    if (text_is_empty(session->receiver->server->settings.wal_slot) || session_has_lasting_slot(session))
        return true;
    session->slot_name = session->receiver->server->settings.wal_slot;
    return session_read_slot(session, err) && session_create_missing_slot(session, &is_created, err) &&
           (!is_created || session_read_slot(session, err)) && drop_temporary(session, err);
}

static bool is_invalidated(const struct session *session)
{
    const struct pg_slot *slot = &session->slot;

    return session_has_lasting_slot(session) && slot->is_known && slot->exists && !slot->has_position &&
           session->start.held_end.value != 0;
}

static bool refuse_invalidated(struct session *session, struct error *err)
{
    const char *server = session->receiver->server->name, *slot = session->slot_name;

    session->verdict = RECEIVE_REFUSED;
    error_set(err, ERROR_SERVER,
              "replication slot \"%s\" was invalidated (max_slot_wal_keep_size): it keeps no WAL on the server", slot);
    return error_hint(
        err,
        "On the server: SELECT pg_drop_replication_slot('%s'); SELECT "
        "pg_create_physical_replication_slot('%s', true); or type: pgcoffer slot drop %s && pgcoffer slot "
        "create %s, or set create_slot = yes.",
        slot, slot, server, server);
}

bool session_mend_slot(struct session *session, struct error *err)
{
    struct receiver *receiver = session->receiver;
    bool existed = false;

    if (!is_invalidated(session))
        return true;
    receive_gaps_note_slot_lost(&receiver->gaps, "the replication slot was invalidated (max_slot_wal_keep_size)");
    if (!receiver->server->settings.create_slot)
        return pg_session(session->connection)->server_version < FIRST_THAT_NEVER_REVIVES ||
               refuse_invalidated(session, err);
    if (!pg_slot_drop(session->connection, session->slot_name, err) ||
        !pg_slot_create(session->connection, session->slot_name, &existed, err)) {
        session->verdict = err->kind == ERROR_BUSY ? RECEIVE_SLOT_BUSY : RECEIVE_RETRY;
        return false;
    }
    log_warning("replication slot \"%s\" had been invalidated by the server: it was dropped and created again",
                session->slot_name);
    return session_read_slot(session, err);
}

enum receive_verdict session_replace_slot(struct session *session, struct error *err)
{
    const struct server_config *server = session->receiver->server;
    struct error problem;

    error_hint(err, "Drop it and create it again: pgcoffer slot drop %s, pgcoffer slot create %s", server->name,
               server->name);
    if (!server->settings.create_slot)
        return RECEIVE_REFUSED;
    if (pg_slot_drop(session->connection, session->slot_name, &problem))
        error_hint(err, "The slot was dropped and will be created again.");
    else
        error_detail(err, "%s", problem.message);
    return RECEIVE_REFUSED;
}

bool session_has_lasting_slot(const struct session *session)
{
    return session->slot_name == session->receiver->server->settings.wal_slot && !text_is_empty(session->slot_name);
}
