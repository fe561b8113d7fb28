#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/atomic_file.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"

#define MOST_BACKUPS_IN_ONE_SECOND 9999

bool repo_adopt(const struct repo *repo, int fd, mode_t mode, const char *path, struct error *err)
{
    if (repo->group != (gid_t)-1 && fchown(fd, (uid_t)-1, repo->group) < 0) {
        error_set_errno(err, "could not give \"%s\" to the group %u", path, (unsigned)repo->group);
        return error_hint(err, "The daemon's user must be a member of the configured group.");
    }
    if (fchmod(fd, mode) < 0) /* whatever the umask says */
        return error_set_errno(err, "could not set the mode of \"%s\"", path);
    return true;
}

/* A folder made by us before a group was configured, or by a process killed in between, is brought in line. */
static bool is_to_be_adopted(const struct repo *repo, const struct stat *status)
{
    return repo->group != (gid_t)-1 && status->st_uid == geteuid() && status->st_gid != repo->group;
}

static bool settle_folder(const struct repo *repo, const char *path, bool is_new, struct error *err)
{
    struct stat status;

    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, "could not open directory \"%s\"", path);
    if ((is_new || is_to_be_adopted(repo, &status)) && !repo_adopt(repo, fd, repo->folder_mode, path, err))
        return false;
    return !is_new || (file_sync(fd, path, err) && file_sync_parent(path, err));
}

bool repo_make_folder(const struct repo *repo, const char *path, bool *ret_made, struct error *err)
{
    bool is_new = mkdir(path, 0700) == 0;
    if (!is_new && errno != EEXIST) {
        error_set_errno(err, "could not create directory \"%s\"", path);
        if (err->errnum == ENOSPC || err->errnum == EDQUOT)
            error_hint(err, "Make room on the file system that holds the repository.");
        return false;
    }
    if (!settle_folder(repo, path, is_new, err)) {
        /* Found by the next try, it would pass for a durable one. */
        if (is_new)
            rmdir(path);
        return false;
    }
    if (ret_made != NULL)
        *ret_made = is_new;
    return true;
}

bool repo_create_system(const struct repo *repo, const char *server, const struct system_id *system, struct error *err)
{
    char *folders[] = {repo_server_path(repo, server, ""), repo_system_path(repo, server, system, ""),
                       repo_system_path(repo, server, system, "backup"), repo_system_path(repo, server, system, "wal")};
    bool done = true;

    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        /* Also those that are there: who made them may have been killed before its fsync. */
        done = done && repo_make_folder(repo, folders[i], NULL, err) && file_sync_parent(folders[i], err);
        free(folders[i]);
    }
    return done;
}

bool repo_read_systems(const struct repo *repo, const char *server, struct system_id **ret_systems, size_t *ret_count,
                       struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_server_path(repo, server, "");
    struct system_id *systems = NULL, system;
    struct name_list names;
    struct error ignored;
    size_t count = 0;

    if (!name_list_read(folder, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++)
        if (system_id_parse(names.names[i], &system, &ignored)) {
            systems = repo_grow(systems, count, sizeof *systems);
            systems[count++] = system;
        }
    name_list_done(&names);
    *ret_systems = systems;
    *ret_count = count;
    return true;
}

static bool make_lock_file(const struct repo *repo, const char *path, struct error *err)
{
    int fd SCOPED(scoped_close) = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_set_errno(err, "could not create \"%s\"", path);
    return repo_adopt(repo, fd, repo->file_mode, path, err) && file_sync_parent(path, err);
}

static bool start_as_id(struct timestamp start, char *ret_text, size_t room, struct error *err)
{
    time_t seconds = (time_t)(start.microseconds / 1000000);
    struct tm utc;

    if (start.microseconds < 0 || gmtime_r(&seconds, &utc) == NULL || utc.tm_year > 9999 - 1900)
        return error_set(err, ERROR_FAILED, "could not name a backup: the clock is wrong");
    strftime(ret_text, room, "%Y%m%dT%H%M%SZ", &utc);
    return true;
}

bool repo_create_backup(const struct repo *repo, const char *server, const struct system_id *system,
                        struct timestamp start, struct backup_id *ret_id, struct error *err)
{
    char second[20];

    if (!start_as_id(start, second, sizeof second, err))
        return false;
    for (unsigned number = 1; number <= MOST_BACKUPS_IN_ONE_SECOND; number++) {
        struct backup_id id = {{0}};
        bool is_new = false;

        if (number == 1)
            snprintf(id.text, sizeof id.text, "%.16s", second);
        else
            snprintf(id.text, sizeof id.text, "%.16s-%u", second, number);
        char *folder SCOPED(scoped_free) = repo_backup_path(repo, server, system, &id, "");
        if (!repo_make_folder(repo, folder, &is_new, err))
            return false;
        if (!is_new)
            continue;
        char *lock SCOPED(scoped_free) = repo_backup_path(repo, server, system, &id, "lock");
        if (!make_lock_file(repo, lock, err))
            return false;
        *ret_id = id;
        return true;
    }
    return error_set(err, ERROR_BUSY, "could not name a backup: %s and all its successors are taken", second);
}

bool repo_put_file(const struct repo *repo, const char *path, const void *data, size_t size, struct error *err)
{
    struct atomic_file *file SCOPED(scoped_atomic_file) = atomic_file_open(path, repo->file_mode, err);

    return file != NULL && repo_adopt(repo, atomic_file_descriptor(file), repo->file_mode, path, err) &&
           atomic_file_write(file, data, size, err) && atomic_file_commit(file, err);
}
