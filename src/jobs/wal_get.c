#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "jobs/restore/restore_internal.h"
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

static bool look(const struct wal_fetch *fetch, const struct connector *connector, bool *ret_found, struct error *err)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;

    return connector->open(connector->context, &stream, err) && wal_fetch(stream, fetch, ret_found, err);
}

bool wal_get_run(const char *server, const char *file, const char *path, const char *system_id,
                 const struct connector *connector, enum wal_get_outcome *ret_outcome, struct error *err)
{
    char own_system_id[SYSTEM_ID_TEXT_SIZE];
    struct wal_fetch fetch = {.server = server, .file = file, .system_id = system_id, .path = path, .mode = 0600};
    bool is_known;
    bool is_found;

    if (system_id == NULL) {
        if (!read_system_id(own_system_id, &is_known, err))
            return false;
        fetch.system_id = is_known ? own_system_id : NULL;
    }
    if (!look(&fetch, connector, &is_found, err))
        return false;
    /* "Not there" ends a recovery for good, so it is believed only when it is said twice, over two connections. */
    if (!is_found && !look(&fetch, connector, &is_found, err))
        return false;
    *ret_outcome = is_found ? WAL_GET_WRITTEN : WAL_GET_NOT_THERE;
    return true;
}
