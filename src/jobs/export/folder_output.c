#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs/export/export_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#define TEMPORARY ".export-incomplete" /* behind the folder's name */

/* A folder beside the wanted one, which gets its name when everything in it is durable. */
struct folder_output {
    struct export_output output; /* first */
    struct restore_place place;  /* its path is the temporary one */
    struct tree tree;
    const char *path;
    mode_t folder_mode, file_mode;
    int fd; /* of the open file */
    char *name;
    bool is_finished;
};

static struct folder_output *of(struct export_output *output)
{
    return (struct folder_output *)output;
}

/* The file is done: what is written while others still come need not be waited for at the end. */
static bool close_file(struct folder_output *folder, struct error *err)
{
    int fd SCOPED(scoped_close) = file_take_descriptor(&folder->fd);

    return fd < 0 || file_sync(fd, folder->name, err);
}

static bool add_folder(struct export_output *output, const char *path, struct error *err)
{
    return close_file(of(output), err) && tree_make_folder(&of(output)->tree, path, of(output)->folder_mode, err);
}

static bool add_file(struct export_output *output, const char *path, uint64_t size, struct error *err)
{
    struct folder_output *folder = of(output);

    (void)size;
    if (!close_file(folder, err))
        return false;
    free(folder->name);
    folder->name = memory_text("%s/%s", folder->place.path, path);
    return tree_create_file(&folder->tree, path, folder->file_mode, &folder->fd, err);
}

static bool add_data(struct export_output *output, const void *bytes, size_t size, struct error *err)
{
    return file_write_all(of(output)->fd, bytes, size, of(output)->name, err);
}

/* syncfs() for the folders in it: each file has been synced by itself. */
static bool finish(struct export_output *output, struct error *err)
{
    struct folder_output *folder = of(output);

    if (!close_file(folder, err))
        return false;
    if (syncfs(folder->place.fd) < 0)
        return error_set_errno(err, "could not write \"%s\" to disk", folder->place.path);
    if (rename(folder->place.path, folder->path) < 0)
        return error_set_errno(err, "could not rename \"%s\" to \"%s\"", folder->place.path, folder->path);
    folder->is_finished = true;
    return file_sync_parent(folder->path, err);
}

static void release(struct export_output *output)
{
    struct folder_output *folder = of(output);
    struct error ignored;

    scoped_close(&folder->fd);
    tree_done(&folder->tree);
    if (folder->place.fd >= 0 && !folder->is_finished)
        (void)!file_remove_tree(folder->place.path, &ignored);
    scoped_close(&folder->place.fd);
    free(folder->place.path);
    free(folder->name);
    free(folder);
}

/* Missing or empty: rename() replaces an empty folder, and no other, nor a link to one. */
static bool check_absent(const char *path, struct error *err)
{
    int fd SCOPED(scoped_close) = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return error_set(err, ERROR_USAGE, "\"%s\" exists and is no folder", path);
    if (fd < 0)
        return errno == ENOENT || error_set_errno(err, "could not look at \"%s\"", path);
    if (restore_is_empty_folder(fd))
        return true;
    error_set(err, ERROR_USAGE, "the folder \"%s\" is not empty", path);
    return error_hint(err, "Name a folder that is missing or empty.");
}

static const struct export_output_functions functions = {add_folder, add_file, add_data, finish, release};

static bool make_temporary(struct folder_output *folder, struct error *err)
{
    const char *path = folder->place.path;

    if (mkdir(path, folder->folder_mode) < 0 && errno == EEXIST) {
        error_set(err, ERROR_USAGE, "\"%s\" exists: an export was ended before its time, or is still running", path);
        char *quoted SCOPED(scoped_free) = restore_quote_for_shell(path);
        return error_hint(err, "If none is running, remove it: rm -r %s", quoted);
    }
    folder->place.fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder->place.fd < 0)
        return error_set_errno(err, "could not make the folder \"%s\"", path);
    return fchmod(folder->place.fd, folder->folder_mode) == 0 ||
           error_set_errno(err, "could not set the mode of \"%s\"", path);
}

/* An empty folder in which another file system is mounted would not be replaced, as would be seen at the end only. */
static bool check_no_mount(const struct folder_output *folder, struct error *err)
{
    struct stat wanted;
    struct stat made;

    if (stat(folder->path, &wanted) < 0 || fstat(folder->place.fd, &made) < 0 || wanted.st_dev == made.st_dev)
        return true;
    error_set(err, ERROR_USAGE, "another file system is mounted at \"%s\"", folder->path);
    return error_hint(err, "Name a folder in it.");
}

bool folder_output_new(const struct export_options *options, const struct restore_plan *plan,
                       struct export_output **ret_output, struct error *err)
{
    if (!check_absent(options->path, err))
        return false;
    struct folder_output *folder = memory_new(sizeof *folder);
    *folder = (struct folder_output){.output = {&functions},
                                     .place = {.path = memory_text("%s" TEMPORARY, options->path), .fd = -1},
                                     .path = options->path,
                                     .folder_mode = plan->folder_mode,
                                     .file_mode = plan->file_mode,
                                     .fd = -1};
    folder->tree = tree_of(&folder->place);
    if (!make_temporary(folder, err) || !check_no_mount(folder, err)) {
        release(&folder->output);
        return false;
    }
    *ret_output = &folder->output;
    return true;
}
