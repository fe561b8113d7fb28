#ifndef PGCOFFER_REPO_LAYOUT_H
#define PGCOFFER_REPO_LAYOUT_H

#include <sys/types.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/error.h"

/*
 * Where everything lies (DESIGN 5). All paths are absolute and malloc'd; nothing
 * here touches the disk except repo_open() and the two server.json functions.
 */
struct repo {
    char *base_dir;
    mode_t file_mode;   /* 0600, or 0640 with a group */
    mode_t folder_mode; /* 0700, or 0750 */
    gid_t group;        /* (gid_t)-1 without one */
};

#define SYSTEM_ID_TEXT_SIZE 21 /* a decimal uint64 and the final NUL */
struct system_id {
    char text[SYSTEM_ID_TEXT_SIZE];
};

#define BACKUP_ID_SIZE 24 /* "20261122T013000Z-9999" and the final NUL */
struct backup_id {
    char text[BACKUP_ID_SIZE];
};

/* base_dir must exist and be a folder; `group_name` may be "". */
bool repo_open(const char *base_dir, const char *group_name, struct repo *ret_repo, struct error *err) NODISCARD;
void repo_done(struct repo *repo);

bool system_id_parse(const char *text, struct system_id *ret_id, struct error *err) NODISCARD;
uint64_t system_id_value(const struct system_id *id);
bool backup_id_parse(const char *text, struct backup_id *ret_id); /* strict; false for anything else */

char *repo_server_path(const struct repo *repo, const char *server, const char *name); /* name "" is the folder */
char *repo_system_path(const struct repo *repo, const char *server, const struct system_id *system, const char *name);
char *repo_backup_path(const struct repo *repo, const char *server, const struct system_id *system,
                       const struct backup_id *id, const char *name);

/* Creates base_dir/SERVER/SYSTEMID/{backup,wal} where missing, with fsync. */
bool repo_create_system(const struct repo *repo, const char *server, const struct system_id *system,
                        struct error *err) NODISCARD;
/* A new folder named after `start`, with "-2", "-3" ... when the second is taken, and its empty "lock" file. */
bool repo_create_backup(const struct repo *repo, const char *server, const struct system_id *system,
                        struct timestamp start, struct backup_id *ret_id, struct error *err) NODISCARD;

/* Every system identifier that a server has a folder of; malloc'd. A server without a folder has none. */
bool repo_read_systems(const struct repo *repo, const char *server, struct system_id **ret_systems, size_t *ret_count,
                       struct error *err) NODISCARD;
/* server.json names the server's current system identifier. errnum is ENOENT when nothing was ever stored. */
bool repo_read_server(const struct repo *repo, const char *server, struct system_id *ret_system,
                      struct error *err) NODISCARD;
bool repo_write_server(const struct repo *repo, const char *server, const struct system_id *system,
                       struct error *err) NODISCARD;
/* The version of the server that has this system identifier (150018), as it was last seen; 0 when it was not noted. */
bool repo_read_server_version(const struct repo *repo, const char *server, int *ret_version,
                              struct error *err) NODISCARD;
/* repo_write_server() with the version, in one step. */
bool repo_write_server_version(const struct repo *repo, const char *server, const struct system_id *system, int version,
                               struct error *err) NODISCARD;

/* Gives a new file the configured group and `mode`. A group that cannot be given is an error. */
bool repo_adopt(const struct repo *repo, int fd, mode_t mode, const char *path, struct error *err) NODISCARD;
/* atomic_file_put() with the repository's mode and group. */
bool repo_put_file(const struct repo *repo, const char *path, const void *data, size_t size,
                   struct error *err) NODISCARD;

/* flock files: "wal.lock" and "backup.lock" in BASE/SERVER, "lock" in BASE; readers lock backup/ID/lock shared. */
char *repo_lock_path(const struct repo *repo, const char *server, const char *name); /* server NULL: BASE itself */

#endif
