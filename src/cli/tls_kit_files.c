#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/tls_kit_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#define DIRECTORY_MODE 0700
#define FILE_MODE      0600

static void scoped_directory(DIR **directory)
{
    if (*directory != NULL)
        closedir(*directory);
}

bool tls_kit_check_directory(const char *directory, struct error *err)
{
    DIR *entries SCOPED(scoped_directory) = opendir(directory);
    char *first SCOPED(scoped_free) = NULL;
    unsigned count = 0;

    if (entries == NULL && errno == ENOENT)
        return true;
    if (entries == NULL && errno == ENOTDIR)
        return error_set(err, ERROR_USAGE, "\"%s\" exists and is not a directory", directory);
    if (entries == NULL)
        return error_set_errno(err, "could not open directory \"%s\"", directory);
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        if (first == NULL || strcmp(entry->d_name, first) < 0) {
            free(first);
            first = memory_copy_text(entry->d_name);
        }
    }
    if (count == 0)
        return true;
    error_set(err, ERROR_USAGE, "directory \"%s\" is not empty: it holds \"%s\"", directory, first);
    if (count > 1)
        error_detail(err, "It holds %u files in all.", count);
    return error_hint(err, "Nothing was written. Name a directory that is missing or empty.");
}

struct placement {
    const struct tls_kit_file *files[TLS_KIT_PARTS];
    int count;
    const char *directory;
    int fd;
    bool is_made;             /* the directory, by us */
    int temporary, permanent; /* how many names of each kind are ours */
};

/* Leaves nothing of ours; what cannot be removed any more is no second error. */
static void placement_undo(struct placement *placement)
{
    for (int i = 0; i < placement->permanent; i++)
        unlinkat(placement->fd, placement->files[i]->name, 0);
    for (int i = 0; i < placement->temporary; i++) {
        char *name SCOPED(scoped_free) = memory_text("%s.tmp", placement->files[i]->name);
        unlinkat(placement->fd, name, 0);
    }
    if (placement->is_made)
        rmdir(placement->directory);
}

static bool fail_with_name(const struct placement *placement, const char *name, struct error *err)
{
    if (errno != EEXIST)
        return error_set_errno(err, "could not create \"%s/%s\"", placement->directory, name);
    error_set(err, ERROR_USAGE, "\"%s/%s\" exists already", placement->directory, name);
    return error_hint(err, "Nothing was written. Name a directory that is missing or empty.");
}

static bool open_directory(struct placement *placement, struct error *err)
{
    placement->is_made = access(placement->directory, F_OK) < 0;
    if (!file_make_directories(placement->directory, DIRECTORY_MODE, err))
        return false;
    placement->fd = open(placement->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return placement->fd >= 0 || error_set_errno(err, "could not open directory \"%s\"", placement->directory);
}

static bool write_file(struct placement *placement, const struct tls_kit_file *file, struct error *err)
{
    char *name SCOPED(scoped_free) = memory_text("%s.tmp", file->name);
    int fd SCOPED(scoped_close) =
        openat(placement->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);

    if (fd < 0)
        return fail_with_name(placement, name, err);
    placement->temporary++;
    /* The umask may have taken more away. */
    if (fchmod(fd, FILE_MODE) < 0)
        return error_set_errno(err, "could not set the mode of \"%s/%s\"", placement->directory, name);
    return file_write_all(fd, file->text, file->size, name, err) && file_sync(fd, name, err);
}

/* link(2) and not rename(2): it replaces nothing. */
static bool name_file(struct placement *placement, const struct tls_kit_file *file, struct error *err)
{
    char *name SCOPED(scoped_free) = memory_text("%s.tmp", file->name);

    if (linkat(placement->fd, name, placement->fd, file->name, 0) < 0)
        return fail_with_name(placement, file->name, err);
    placement->permanent++;
    return true;
}

static bool remove_temporary(const struct placement *placement, const struct tls_kit_file *file, struct error *err)
{
    char *name SCOPED(scoped_free) = memory_text("%s.tmp", file->name);

    return unlinkat(placement->fd, name, 0) == 0 ||
           error_set_errno(err, "could not remove \"%s/%s\"", placement->directory, name);
}

static bool place_all(struct placement *placement, struct error *err)
{
    if (!open_directory(placement, err))
        return false;
    for (int i = 0; i < placement->count; i++)
        if (!write_file(placement, placement->files[i], err))
            return false;
    for (int i = 0; i < placement->count; i++)
        if (!name_file(placement, placement->files[i], err))
            return false;
    for (int i = 0; i < placement->count; i++)
        if (!remove_temporary(placement, placement->files[i], err))
            return false;
    if (fchmod(placement->fd, DIRECTORY_MODE) < 0)
        return error_set_errno(err, "could not set the mode of directory \"%s\"", placement->directory);
    return file_sync(placement->fd, placement->directory, err);
}

bool tls_kit_write(const struct tls_kit *kit, const char *directory, struct error *err)
{
    struct placement placement = {.directory = directory, .fd = -1};

    for (int part = 0; part < TLS_KIT_PARTS; part++)
        if (tls_kit_holds(kit, part))
            placement.files[placement.count++] = &kit->files[part];
    bool is_written = place_all(&placement, err);
    if (!is_written)
        placement_undo(&placement);
    scoped_close(&placement.fd);
    return is_written;
}
