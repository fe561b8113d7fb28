#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs/export/export_internal.h"
#include "pgcoffer/base/atomic_file.h"
#include "pgcoffer/base/file_lock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/tar_writer.h"

#define LEVEL        3
#define STANDARD_OUT "the standard output"

struct tar_output {
    struct export_output output; /* first */
    struct atomic_file *file;    /* NULL: the standard output */
    struct file_lock lock;       /* on that file, while it has another name */
    struct tar_writer *tar;
    mode_t folder_mode, file_mode;
};

static struct tar_output *of(struct export_output *output)
{
    return (struct tar_output *)output;
}

static bool add_folder(struct export_output *output, const char *path, struct error *err)
{
    return tar_writer_folder(of(output)->tar, path, of(output)->folder_mode, err);
}

static bool add_file(struct export_output *output, const char *path, uint64_t size, struct error *err)
{
    return tar_writer_file(of(output)->tar, path, of(output)->file_mode, size, err);
}

static bool add_data(struct export_output *output, const void *bytes, size_t size, struct error *err)
{
    return tar_writer_data(of(output)->tar, bytes, size, err);
}

static bool finish(struct export_output *output, struct error *err)
{
    return tar_writer_finish(of(output)->tar, err) &&
           (of(output)->file == NULL || atomic_file_commit(of(output)->file, err));
}

static void release(struct export_output *output)
{
    tar_writer_free(of(output)->tar);
    atomic_file_free(of(output)->file);
    file_lock_done(&of(output)->lock);
    free(output);
}

static bool check_absent(const struct export_options *options, struct error *err)
{
    struct stat status;

    if (lstat(options->path, &status) < 0)
        return errno == ENOENT || error_set_errno(err, "could not look at \"%s\"", options->path);
    if (!S_ISREG(status.st_mode))
        return error_set(err, ERROR_USAGE, "\"%s\" exists and is no file", options->path);
    if (options->may_replace)
        return true;
    error_set(err, ERROR_USAGE, "\"%s\" exists", options->path);
    return error_hint(err, "Name another file, or let it be replaced with --force.");
}

/*
 * What an export that was killed has left is written anew; one that still runs would be spoilt by it. Not every file
 * system of another machine has locks.
 */
static bool open_file(struct tar_output *output, const char *path, struct error *err)
{
    char *temporary SCOPED(scoped_free) = memory_text("%s.tmp", path);

    if (!file_lock_exclusive(temporary, NULL, &output->lock, err) && err->kind == ERROR_BUSY)
        return error_wrap(err, "could not export to \"%s\"", path);
    output->file = atomic_file_open(path, 0600, err);
    return output->file != NULL;
}

static const struct export_output_functions functions = {add_folder, add_file, add_data, finish, release};

bool tar_output_new(const struct export_options *options, const struct restore_plan *plan,
                    struct export_output **ret_output, struct error *err)
{
    bool is_stream = options->path == NULL;
    struct timestamp now = clock_now();

    if (!is_stream && !check_absent(options, err))
        return false;
    struct tar_output *output = memory_new(sizeof *output);
    *output = (struct tar_output){
        .output = {&functions}, .lock = FILE_LOCK_NONE, .folder_mode = plan->folder_mode, .file_mode = plan->file_mode};
    if (!is_stream && !open_file(output, options->path, err)) {
        release(&output->output);
        return false;
    }
    const struct tar_writer_options tar = {.fd = is_stream ? STDOUT_FILENO : atomic_file_descriptor(output->file),
                                           .name = is_stream ? STANDARD_OUT : options->path,
                                           .is_compressed = options->form == EXPORT_TAR_ZST,
                                           .level = LEVEL,
                                           .mtime = now};
    if (!tar_writer_new(&tar, &output->tar, err)) {
        release(&output->output);
        return false;
    }
    *ret_output = &output->output;
    return true;
}
