#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "jobs/restore/wal_ahead_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/repo/layout.h"

/*
 * PostgreSQL runs restore_command in its data directory, and pg_control begins with the system identifier in the
 * machine's byte order. *ret_is_known false: no data directory here.
 */
static bool read_system_id(char ret_system_id[SYSTEM_ID_TEXT_SIZE], bool *ret_is_known, struct error *err)
{
    uint64_t number;
    int fd SCOPED(scoped_close) = open(RESTORE_PG_CONTROL, O_RDONLY | O_CLOEXEC);

    *ret_is_known = fd >= 0;
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || error_set_errno(err, "could not open \"%s\"", RESTORE_PG_CONTROL);
    if (!file_read_exactly_at(fd, &number, sizeof number, 0, RESTORE_PG_CONTROL, err))
        return false;
    snprintf(ret_system_id, SYSTEM_ID_TEXT_SIZE, "%" PRIu64, number);
    return true;
}

static bool look(const struct wal_fetch *fetch, const struct connector *connector, struct wal_fetched *ret_fetched,
                 struct error *err)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;

    return connector_open(connector, &stream, err) && wal_fetch(stream, fetch, ret_fetched, err);
}

/* An answer, over as many connections as a network needs for one; the daemon of this machine is asked once. */
static bool look_until_answered(const struct wal_fetch *fetch, const struct connector *connector,
                                struct wal_fetched *ret_fetched, struct error *err)
{
    struct patience patience = {0};

    while (!look(fetch, connector, ret_fetched, err))
        if (connector->patience_seconds == 0 || !patience_allows(&patience, connector, err))
            return false;
    return true;
}

/* A whole segment came from the archive: the next ones will be wanted soon. */
static struct wal_ahead *go_ahead(struct wal_spool **spool, const struct wal_fetch *fetch,
                                  const struct wal_fetched *fetched)
{
    struct wal_segment segment;

    if (fetched->kind != WAL_FETCHED_WHOLE || !wal_segment_size_is_valid(fetched->length))
        return NULL;
    struct wal_segment_size size = {(uint32_t)fetched->length};
    unsigned capacity = wal_spool_capacity(*spool, size);
    if (capacity == 0 || !wal_segment_parse(fetch->file, size, &segment))
        return NULL;
    if (wal_spool_lead(*spool))
        return wal_ahead_new(TAKE(*spool), fetch->server, fetch->system_id, segment, size, capacity);
    wal_spool_ask(*spool, fetch->file);
    return NULL;
}

static bool fetch_now(const struct wal_fetch *fetch, const struct connector *connector, struct wal_fetched *ret_fetched,
                      struct error *err)
{
    if (!look_until_answered(fetch, connector, ret_fetched, err))
        return false;
    /* "Not there" ends a recovery for good, so it is believed only when it is said twice, over two connections. */
    return ret_fetched->kind != WAL_FETCHED_NOTHING || look_until_answered(fetch, connector, ret_fetched, err);
}

bool wal_get_run(const struct wal_get *get, enum wal_get_outcome *ret_outcome, struct wal_ahead **ret_ahead,
                 struct error *err)
{
    char own_system_id[SYSTEM_ID_TEXT_SIZE];
    struct wal_fetch fetch = {.server = get->server,
                              .file = get->file,
                              .system_id = get->system_id,
                              .path = get->path,
                              .mode = 0600,
                              .is_to_target = get->is_to_target,
                              .is_temporary_ours = get->is_temporary_ours};
    struct wal_fetched fetched = {WAL_FETCHED_NOTHING, 0};
    bool is_known;

    *ret_ahead = NULL;
    if (get->system_id == NULL) {
        if (!read_system_id(own_system_id, &is_known, err))
            return false;
        fetch.system_id = is_known ? own_system_id : NULL;
    }
    struct wal_spool *spool SCOPED(scoped_wal_spool) =
        wal_spool_enter(get->path, get->server, fetch.system_id, get->source);
    if (spool != NULL && wal_spool_take(spool, get->file, get->path)) {
        *ret_outcome = WAL_GET_WAS_AHEAD;
        return true;
    }
    bool is_answered = fetch_now(&fetch, get->connector, &fetched, err);
    if (spool != NULL && is_answered)
        *ret_ahead = go_ahead(&spool, &fetch, &fetched);
    if (spool != NULL)
        wal_spool_remove(spool);
    if (!is_answered)
        return false;
    *ret_outcome = fetched.kind == WAL_FETCHED_NOTHING ? WAL_GET_NOT_THERE : WAL_GET_WRITTEN;
    return true;
}
