#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/repo/backup_notes.h"
#include "pgcoffer/repo/catalogue.h"

#include "repo/repo_internal.h"

#define DELETED_SUFFIX ".deleted"

static void scoped_name_list(struct name_list *names)
{
    name_list_done(names);
}

static void scoped_file_lock(struct file_lock *lock)
{
    file_lock_done(lock);
}

/* A backup copied here by hand may have come without its empty lock file. */
static bool provide_lock_file(const struct repo *repo, const char *path, struct error *err)
{
    if (access(path, F_OK) == 0)
        return true;
    int fd SCOPED(scoped_close) = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, "could not create \"%s\"", path);
    return repo_adopt(repo, fd, repo->file_mode, path, err);
}

/* Who renames the folder away first leaves a later locker with a lock on nothing. */
static bool is_lock_in_place(const char *path, const struct file_lock *lock)
{
    struct stat by_name, by_descriptor;

    return stat(path, &by_name) == 0 && fstat(lock->fd, &by_descriptor) == 0 &&
           by_name.st_dev == by_descriptor.st_dev && by_name.st_ino == by_descriptor.st_ino;
}

bool catalogue_lock_for_reading(const struct repo *repo, const char *server, const struct catalogue_entry *entry,
                                struct file_lock *ret_lock, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, &entry->system, &entry->id, "lock");
    struct file_lock lock SCOPED(scoped_file_lock) = FILE_LOCK_NONE;

    if (!provide_lock_file(repo, path, err) || !file_lock_shared(path, &lock, err))
        return error_wrap(err, "could not lock backup %s", entry->id.text);
    if (!is_lock_in_place(path, &lock))
        return error_set(err, ERROR_BUSY, "backup %s is being deleted", entry->id.text);
    *ret_lock = lock;
    lock = FILE_LOCK_NONE;
    return true;
}

/* Bytes of the files in a folder without subfolders. */
static bool measure_folder(const char *folder, uint64_t *ret_bytes, struct error *err)
{
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    struct stat status;
    uint64_t bytes = 0;

    if (!name_list_read(folder, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, names.names[i]);
        if (lstat(path, &status) == 0 && S_ISREG(status.st_mode))
            bytes += (uint64_t)status.st_size;
    }
    *ret_bytes = bytes;
    return true;
}

/* After the rename the backup is gone for everybody; what remains of its bytes a later start removes. */
static bool remove_backup(const char *folder, struct error *err)
{
    char *doomed SCOPED(scoped_free) = memory_text("%s" DELETED_SUFFIX, folder);

    return file_remove_tree(doomed, err) && file_rename_durably(folder, doomed, err) && file_remove_tree(doomed, err);
}

bool catalogue_check_not_pinned(const struct repo *repo, const char *server, const struct catalogue_entry *entry,
                                struct error *err)
{
    struct backup_pin pin;
    struct error failure;
    char until[TIMESTAMP_TEXT_SIZE];

    bool is_read = backup_pin_read(repo, server, &entry->system, &entry->id, &pin, &failure);
    if (!backup_pin_holds(&pin, clock_now()))
        return true;
    timestamp_format(pin.until, until);
    if (!is_read)
        error_set(err, ERROR_FAILED, "backup %s is pinned: %.1500s", entry->id.text, failure.message);
    else
        error_set(err, ERROR_FAILED, "backup %s is pinned%s%s%s%s", entry->id.text,
                  pin.until.microseconds != 0 ? " until " : "", pin.until.microseconds != 0 ? until : "",
                  pin.reason[0] != '\0' ? ": " : "", pin.reason);
    return error_hint(err, "\"pgcoffer unpin %s %s\" takes the pin away; \"pgcoffer delete --force\" does not mind it.",
                      server, entry->id.text);
}

bool catalogue_delete(const struct repo *repo, const char *server, const struct catalogue_entry *entry,
                      bool even_pinned, uint64_t *ret_freed_bytes, struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_backup_path(repo, server, &entry->system, &entry->id, "");
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, &entry->system, &entry->id, "lock");
    struct file_lock lock SCOPED(scoped_file_lock) = FILE_LOCK_NONE;
    char holder[64];
    uint64_t bytes = 0;

    snprintf(holder, sizeof holder, "pid %d, deleting it", (int)getpid());
    if (!file_lock_exclusive(path, holder, &lock, err))
        return error_wrap(err, "could not delete backup %s", entry->id.text);
    if (!even_pinned && !catalogue_check_not_pinned(repo, server, entry, err))
        return false;
    if (!measure_folder(folder, &bytes, err) || !remove_backup(folder, err))
        return error_wrap(err, "could not delete backup %s", entry->id.text);
    *ret_freed_bytes = bytes;
    return true;
}

/* Files of a process that was killed before it could name them. */
static bool sweep_temporary_files(const char *folder, unsigned *removed, struct error *err)
{
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};

    if (!name_list_read(folder, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        if (!text_ends_with(names.names[i], ".tmp"))
            continue;
        char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, names.names[i]);
        if (unlink(path) < 0)
            return error_set_errno(err, "could not remove \"%s\"", path);
        (*removed)++;
    }
    return true;
}

static bool has_file(const char *folder, const char *name)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, name);

    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* backup.json is the commit: beside it copied.json has nothing more to say. */
static bool sweep_kept_backup(const char *folder, unsigned *removed, struct error *err)
{
    char *copied SCOPED(scoped_free) = memory_text("%s/copied.json", folder);

    if (has_file(folder, "backup.json") && has_file(folder, "copied.json")) {
        if (unlink(copied) < 0)
            return error_set_errno(err, "could not remove \"%s\"", copied);
        (*removed)++;
    }
    return sweep_temporary_files(folder, removed, err);
}

static bool is_half_deleted(const char *name)
{
    char text[BACKUP_ID_SIZE + sizeof DELETED_SUFFIX];
    struct backup_id id;

    if (!text_ends_with(name, DELETED_SUFFIX) || strlen(name) >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%s", name);
    text[strlen(text) - strlen(DELETED_SUFFIX)] = '\0';
    return backup_id_parse(text, &id);
}

static bool sweep_system(const struct repo *repo, const char *server, const struct system_id *system, unsigned *removed,
                         struct error *err)
{
    char *backups SCOPED(scoped_free) = repo_system_path(repo, server, system, "backup");
    char *leases SCOPED(scoped_free) = repo_system_path(repo, server, system, "lease");
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    struct backup_id id;

    if (!sweep_temporary_files(leases, removed, err) || !name_list_read(backups, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        char *folder SCOPED(scoped_free) = memory_text("%s/%s", backups, names.names[i]);
        bool is_backup = backup_id_parse(names.names[i], &id);
        if (is_backup && (has_file(folder, "backup.json") || has_file(folder, "copied.json"))) {
            if (!sweep_kept_backup(folder, removed, err))
                return false;
        } else if (is_backup || is_half_deleted(names.names[i])) {
            if (!file_remove_tree(folder, err))
                return false;
            (*removed)++;
        }
    }
    return true;
}

bool catalogue_sweep(const struct repo *repo, const char *server, unsigned *ret_removed, struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_server_path(repo, server, "");
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    struct system_id system;
    struct error ignored;
    unsigned removed = 0;

    if (!name_list_read(folder, &names, err))
        return error_wrap(err, "could not clean up the backups of \"%s\"", server);
    for (size_t i = 0; i < names.count; i++)
        if (system_id_parse(names.names[i], &system, &ignored) && !sweep_system(repo, server, &system, &removed, err))
            return error_wrap(err, "could not clean up the backups of \"%s\"", server);
    *ret_removed = removed;
    return true;
}

/* Its own lock is held by whoever is deleting it; without the file nobody is, for it goes with the folder. */
static bool sweep_half_deleted(const char *folder, uint64_t *bytes, struct error *err)
{
    char *path SCOPED(scoped_free) = memory_text("%s/lock", folder);
    struct file_lock lock SCOPED(scoped_file_lock) = FILE_LOCK_NONE;
    uint64_t measured = 0;
    struct error failure;

    if (access(path, F_OK) == 0 && !file_lock_exclusive(path, NULL, &lock, &failure)) {
        *err = failure;
        return failure.kind == ERROR_BUSY;
    }
    if (!measure_folder(folder, &measured, err) || !file_remove_tree(folder, err))
        return false;
    *bytes += measured;
    return true;
}

bool catalogue_sweep_deleted(const struct repo *repo, const char *server, uint64_t *ret_bytes, struct error *err)
{
    struct system_id *systems SCOPED(scoped_free) = NULL;
    size_t count = 0;

    *ret_bytes = 0;
    if (!repo_read_systems(repo, server, &systems, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        char *backups SCOPED(scoped_free) = repo_system_path(repo, server, &systems[i], "backup");
        struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
        if (!name_list_read(backups, &names, err))
            return false;
        for (size_t j = 0; j < names.count; j++) {
            char *folder SCOPED(scoped_free) = memory_text("%s/%s", backups, names.names[j]);
            if (is_half_deleted(names.names[j]) && !sweep_half_deleted(folder, ret_bytes, err))
                return error_wrap(err, "could not clean up the backups of \"%s\"", server);
        }
    }
    return true;
}

bool catalogue_sweep_server(const struct repo *repo, const char *server, unsigned *ret_removed, struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_server_path(repo, server, "");

    *ret_removed = 0;
    return sweep_temporary_files(folder, ret_removed, err) ||
           error_wrap(err, "could not clean up the folder of \"%s\"", server);
}
