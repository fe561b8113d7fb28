#ifndef PGCOFFER_SRC_JOBS_CHECK_SERVER_FILES_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_SERVER_FILES_INTERNAL_H

#include <limits.h>
#include <sys/stat.h>

#include "jobs/check/check_internal.h"

/*
 * The server's own files, where the server runs on this machine. That it does is proved by its process behind our
 * connection: a loopback address may lead into a container or through a tunnel, and a path exists on two machines.
 */
struct server_place {
    bool is_here;
    uid_t owner; /* whom the server runs as */
    gid_t group;
    char data_directory[PATH_MAX]; /* "" when this process and this role may not know */
};
void server_place_find(struct check_run *run, struct server_place *ret_place);
/* A path as the server's settings have it: relative ones begin in the data directory. False when that is unknown. */
bool server_place_path(const struct server_place *place, const char *setting, char ret_path[PATH_MAX]);
/* Below the data directory, so in every base backup? As far as it can be known. */
bool server_place_is_in_data(const struct server_place *place, const char *setting);

/* SHOW over the replication connection; false when the role may not, or the server does not know it. */
bool server_show(struct check_run *run, const char *name, char *ret_value, size_t size);

/* PostgreSQL's rule for the owner and mode of its key: NULL when it would take it, else what is wrong. Pure. */
const char *server_key_fault(const struct stat *about, uid_t server_owner);

/* server.tls_files; once more when SQL may have told where the data directory is. */
void check_server_key_place(struct check_run *run);
/* server.restart and server.renewed. */
void check_server_files(struct check_run *run);

#endif
