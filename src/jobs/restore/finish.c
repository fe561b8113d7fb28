#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

/* Its name tells what the folder is while neither the marker nor pg_control is there. */
#define PG_CONTROL_ASIDE "global/pg_control.restore-incomplete"
#define MANIFEST         "backup_manifest"
#define PG_CONTROL_LEAST 8 /* the system identifier; PostgreSQL checks the rest */

static const struct restore_place *data_directory(const struct restore *restore)
{
    return &restore->places[0];
}

/* Created or replaced, and durable but for its name. */
static bool put_file(const struct restore *restore, const char *path, const void *bytes, size_t size, struct error *err)
{
    const struct restore_place *place = data_directory(restore);
    char *full SCOPED(scoped_free) = memory_text("%s/%s", place->path, path);
    int fd SCOPED(scoped_close) = tree_open(place, path, O_WRONLY | O_CREAT | O_TRUNC, restore->plan.file_mode);

    if (fd < 0)
        return error_set_errno(err, "could not create \"%s\"", full);
    if (fchmod(fd, restore->plan.file_mode) < 0)
        return error_set_errno(err, "could not set the mode of \"%s\"", full);
    return file_write_all(fd, bytes, size, full, err) && file_sync(fd, full, err);
}

/* A missing file leaves *ret_exists false. */
static bool read_file(const struct restore *restore, const char *path, struct buffer *ret_text, bool *ret_exists,
                      struct error *err)
{
    const struct restore_place *place = data_directory(restore);
    char *full SCOPED(scoped_free) = memory_text("%s/%s", place->path, path);
    int fd SCOPED(scoped_close) = tree_open(place, path, O_RDONLY, 0);
    char piece[8192];

    *ret_exists = fd >= 0;
    if (fd < 0)
        return errno == ENOENT || error_set_errno(err, "could not open \"%s\"", full);
    for (ssize_t got; (got = read(fd, piece, sizeof piece)) != 0;) {
        if (got < 0)
            return error_set_errno(err, "could not read \"%s\"", full);
        if (!buffer_append(ret_text, piece, (size_t)got, err))
            return error_wrap(err, "could not read \"%s\"", full);
    }
    return true;
}

/* ---- the beginning ---- */

bool restore_is_empty_folder(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* with a position of its own */
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    unsigned count = 0;

    if (folder == NULL) {
        scoped_close(&copy);
        return false;
    }
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count <= 2; /* "." and ".." */
}

/* Whoever may write the parent may have put something else there since it was looked at: what is open counts. */
static bool check_still_ours(const struct restore_place *place, struct error *err)
{
    struct stat status;

    if (fstat(place->fd, &status) == 0 && status.st_uid == geteuid() && restore_is_empty_folder(place->fd))
        return true;
    error_set(err, ERROR_STORAGE, "\"%s\" was replaced or filled by somebody else just now", place->path);
    return error_hint(err, "Restore into a folder whose parent only you can write.");
}

static bool make_place(struct restore_place *place, mode_t mode, struct error *err)
{
    if (!place->exists && mkdir(place->path, mode) < 0)
        return error_set_errno(err, "could not make the folder \"%s\"", place->path);
    place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (place->exists ? 0 : O_NOFOLLOW));
    if (place->fd < 0)
        return error_set_errno(err, "could not open \"%s\"", place->path);
    if (!check_still_ours(place, err))
        return false;
    place->is_begun = true;
    if (fchmod(place->fd, mode) < 0)
        return error_set_errno(err, "could not set the mode of \"%s\"", place->path);
    return true;
}

bool restore_make_places(struct restore *restore, struct error *err)
{
    char *text SCOPED(scoped_free) =
        memory_text("pgcoffer is restoring backup %s of %s into this folder, or such a restore has failed.\n"
                    "The folder is incomplete: it has no global/pg_control, so PostgreSQL does not start on it.\n"
                    "If no restore is running, remove the whole folder and restore again.\n",
                    restore->plan.backup, restore->plan.server);

    for (size_t i = 0; i < restore->place_count; i++) {
        if (!make_place(&restore->places[i], restore->plan.folder_mode, err))
            return false;
        if (i == 0 && !put_file(restore, RESTORE_MARKER, text, strlen(text), err))
            return false;
    }
    return true;
}

struct manifest_copy {
    const char *path;
    int fd;
    struct inflater *inflater;
};

static bool write_manifest(void *context, const void *bytes, size_t size, struct error *err)
{
    const struct manifest_copy *copy = context;

    return file_write_all(copy->fd, bytes, size, copy->path, err);
}

static bool inflate_manifest(void *context, const void *bytes, size_t size, struct error *err)
{
    struct manifest_copy *copy = context;

    return inflater_feed(copy->inflater, bytes, size, err);
}

bool restore_write_manifest(struct restore *restore, struct error *err)
{
    const struct restore_place *place = data_directory(restore);
    char *path SCOPED(scoped_free) = memory_text("%s/" MANIFEST, place->path);
    int fd SCOPED(scoped_close) = -1;
    struct tree tree SCOPED(tree_done) = tree_of(place);

    if (!tree_create_file(&tree, MANIFEST, restore->plan.file_mode, &fd, err))
        return false;
    struct manifest_copy copy = {.path = path, .fd = fd};
    struct inflater *inflater SCOPED(scoped_inflater) = inflater_new(write_manifest, &copy);
    copy.inflater = inflater;
    if (!session_read_file(restore, MANIFEST ".zst", inflate_manifest, &copy, err) || !inflater_finish(inflater, err))
        return error_wrap(err, "could not write \"%s\"", path);
    return file_sync(fd, path, err);
}

/* ---- the end ---- */

/* PostgreSQL makes them anew from tablespace_map; until then pg_verifybackup and people want to see them. */
static bool link_tablespaces(const struct restore *restore, struct error *err)
{
    int folder SCOPED(scoped_close) = tree_open(data_directory(restore), "pg_tblspc", O_RDONLY | O_DIRECTORY, 0);

    if (folder < 0)
        return restore->place_count == 1 ||
               error_set_errno(err, "could not open \"%s/pg_tblspc\"", data_directory(restore)->path);
    for (size_t i = 1; i < restore->place_count; i++)
        if (symlinkat(restore->places[i].path, folder, restore->places[i].archive) < 0)
            return error_set_errno(err, "could not make the link \"%s/pg_tblspc/%s\"", data_directory(restore)->path,
                                   restore->places[i].archive);
    return true;
}

static bool rewrite_tablespace_map(const struct restore *restore, struct error *err)
{
    struct buffer old SCOPED(buffer_done) = BUFFER_WITH_LIMIT(RESTORE_MOST_TEXT);
    struct buffer changed SCOPED(buffer_done) = BUFFER_WITH_LIMIT(2 * RESTORE_MOST_TEXT);
    bool exists;

    if (!read_file(restore, "tablespace_map", &old, &exists, err))
        return false;
    if (!exists || old.used == 0)
        return restore->place_count == 1 ||
               error_set(err, ERROR_INTEGRITY, "the backup has tablespaces and no tablespace_map");
    return tablespace_map_rewrite((const char *)old.bytes, old.used, restore->places, restore->place_count, &changed,
                                  err) &&
           put_file(restore, "tablespace_map", changed.bytes, changed.used, err);
}

static bool write_settings(struct restore *restore, struct error *err)
{
    struct buffer main_conf SCOPED(buffer_done) = BUFFER_WITH_LIMIT(RESTORE_MOST_TEXT);
    struct buffer old SCOPED(buffer_done) = BUFFER_WITH_LIMIT(RESTORE_MOST_TEXT);
    struct buffer changed SCOPED(buffer_done) = BUFFER_WITH_LIMIT(2 * RESTORE_MOST_TEXT);
    bool exists;

    if (!read_file(restore, "postgresql.conf", &main_conf, &restore->has_postgresql_conf, err) ||
        (!restore->options->is_scratch && !read_file(restore, "postgresql.auto.conf", &old, &exists, err)))
        return false;
    struct conf_setting *settings = recovery_settings_make(restore, (const char *)main_conf.bytes, main_conf.used);
    char *comment SCOPED(scoped_free) =
        memory_text("backup %s of %s was restored with these", restore->plan.backup, restore->plan.server);
    bool is_made = recovery_conf_rewrite((const char *)old.bytes, old.used, comment, settings, &changed, err);
    recovery_settings_free(settings);
    if (!is_made || !put_file(restore, "postgresql.auto.conf", changed.bytes, changed.used, err))
        return false;
    if (!restore->options->is_scratch)
        restore_advise(restore, &main_conf, &changed);
    return true;
}

/* One of them always: without it the server would go on on the old timeline, and its WAL would collide with ours. */
static bool write_signal(const struct restore *restore, struct error *err)
{
    bool is_standby = request_has(&restore->options->request, OPTION_ID_standby);

    return put_file(restore, is_standby ? "standby.signal" : "recovery.signal", "", 0, err);
}

/*
 * A backup of a standby brings standby.signal along, which would keep the copy a standby. It is removed when
 * everything, it included, has been synced.
 */
static bool drop_other_signal(const struct restore *restore, struct error *err)
{
    const struct restore_place *place = data_directory(restore);
    bool is_standby = request_has(&restore->options->request, OPTION_ID_standby);
    const char *other = is_standby ? "recovery.signal" : "standby.signal";

    if (unlinkat(place->fd, other, 0) == 0 || errno == ENOENT)
        return true;
    return error_set_errno(err, "could not remove \"%s/%s\"", place->path, other);
}

bool restore_write_recovery_files(struct restore *restore, struct error *err)
{
    return link_tablespaces(restore, err) && rewrite_tablespace_map(restore, err) && write_settings(restore, err) &&
           write_signal(restore, err);
}

static bool sync_folder(const struct restore *restore, const char *path, struct error *err)
{
    char *full SCOPED(scoped_free) = memory_text("%s/%s", data_directory(restore)->path, path);
    int fd SCOPED(scoped_close) = tree_open(data_directory(restore), path, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0)
        return error_set_errno(err, "could not open \"%s\"", full);
    return file_sync(fd, full, err);
}

bool restore_release(struct restore *restore, struct error *err)
{
    const struct restore_place *place = data_directory(restore);

    if (restore->pg_control.used < PG_CONTROL_LEAST)
        return error_set(err, ERROR_INTEGRITY, "the backup has no " RESTORE_PG_CONTROL);
    if (!put_file(restore, PG_CONTROL_ASIDE, restore->pg_control.bytes, restore->pg_control.used, err) ||
        !sync_folder(restore, "global", err))
        return false;
    if (!drop_other_signal(restore, err))
        return false;
    if (unlinkat(place->fd, RESTORE_MARKER, 0) < 0)
        return error_set_errno(err, "could not remove \"%s/" RESTORE_MARKER "\"", place->path);
    if (!file_sync(place->fd, place->path, err))
        return false;
    /* From here on PostgreSQL starts. */
    if (renameat(place->fd, PG_CONTROL_ASIDE, place->fd, RESTORE_PG_CONTROL) < 0)
        return error_set_errno(err, "could not rename \"%s/" PG_CONTROL_ASIDE "\"", place->path);
    return sync_folder(restore, "global", err);
}
