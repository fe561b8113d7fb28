#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "jobs/host_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/pg/hosts.h"
#include "pgcoffer/repo/wal_archive.h"

struct place {
    const struct server_config *server;
    const struct repo *repo; /* NULL: unknown */
};

static bool check_system(const struct place *place, const struct system_id *stored, const struct pg_identity *identity,
                         struct error *err)
{
    if (system_id_value(stored) == identity->system_identifier)
        return true;
    error_set(err, ERROR_INTEGRITY, "it has system identifier %" PRIu64 ", but the repository of \"%s\" belongs to %s",
              identity->system_identifier, place->server->name, stored->text);
    return error_hint(err, "Check host and port of [%s]; another cluster needs a section of its own.",
                      place->server->name);
}

static bool check_timeline(const struct place *place, const struct system_id *stored,
                           const struct pg_identity *identity, struct error *err)
{
    struct timeline *timelines SCOPED(scoped_free) = NULL;
    struct wal_archive archive;
    size_t count = 0;

    if (!wal_archive_open(place->repo, place->server->name, stored, (struct wal_segment_size){0}, &archive, err))
        return false;
    if (archive.segment_size.bytes == 0)
        return true; /* nothing was received yet */
    if (!wal_archive_timelines(&archive, &timelines, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (timelines[i].value <= identity->timeline.value)
            continue;
        error_set(err, ERROR_INTEGRITY,
                  "it is on timeline %" PRIu32 ", but WAL of timeline %" PRIu32 " is held already",
                  identity->timeline.value, timelines[i].value);
        return error_hint(err, "This looks like an old primary that was replaced by a promoted standby: stop it, and "
                               "make it a standby of the other one.");
    }
    return true;
}

static bool judge_host(void *context, struct pg_connection *connection, const struct pg_identity *identity,
                       struct error *err)
{
    const struct place *place = context;
    struct system_id stored;

    (void)connection;
    if (place->repo == NULL)
        return true;
    if (!repo_read_server(place->repo, place->server->name, &stored, err))
        return err->errnum == ENOENT;
    return check_system(place, &stored, identity, err) && check_timeline(place, &stored, identity, err);
}

static bool connect_to(const struct place *place, const char *application_name, int interrupt_fd,
                       struct pg_hosts *hosts, struct pg_connection **ret_connection, struct error *err)
{
    hosts->judge = judge_host;
    hosts->context = (void *)place;
    return pg_connect_one_of(place->server, application_name, interrupt_fd, hosts, ret_connection, err);
}

bool job_connect(const struct job *job, const char *application_name, struct pg_connection **ret_connection,
                 struct error *err)
{
    struct pg_hosts *hosts SCOPED(scoped_free) = memory_new(sizeof *hosts);
    const struct place place = {.server = job->server, .repo = &job->repo};

    return connect_to(&place, application_name, job->worker->interrupt_fd, hosts, ret_connection, err);
}

size_t host_choose(const struct server_config *server, const struct repo *repo, const char *application_name,
                   int interrupt_fd)
{
    struct pg_hosts *hosts SCOPED(scoped_free) = memory_new(sizeof *hosts);
    struct pg_connection *connection SCOPED(scoped_pg_connection) = NULL;
    const struct place place = {.server = server, .repo = repo};
    struct error ignored;

    if (config_host_count(server) == 1 ||
        !connect_to(&place, application_name, interrupt_fd, hosts, &connection, &ignored))
        return 0;
    return hosts->preferred;
}
