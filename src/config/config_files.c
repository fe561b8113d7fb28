#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MOST_FILES 1024

typedef bool parse_function(struct config *config, const char *text, size_t size, const char *name, struct error *err);

static bool read_file(const char *path, struct buffer *ret_text, struct error *err)
{
    if (file_read_whole(path, ret_text, err))
        return true;
    int errnum = err->errnum;
    if (errnum == 0) {
        error_set(err, ERROR_CONFIG, "configuration file \"%s\" is larger than 1 MiB", path);
        return error_hint(err, "Is it the right file? Servers can also be spread over files in conf.d.");
    }
    errno = errnum;
    error_set_kind_errno(err, ERROR_CONFIG, "could not read configuration file \"%s\"", path);
    if (errnum == ENOENT)
        return error_hint(err, "Make one to start from: pgcoffer config sample > %s", path);
    if (errnum == EACCES)
        return error_hint(err,
                          "Let the user with the id %u read it, for instance by its group: chgrp GROUP %s && "
                          "chmod 640 %s",
                          (unsigned)geteuid(), path, path);
    return false;
}

static bool parse_file(const char *path, struct config *config, parse_function *parse_text, struct error *err)
{
    struct buffer text SCOPED(buffer_done) = BUFFER_WITH_LIMIT(CONFIG_MOST_FILE_SIZE);

    return read_file(path, &text, err) && parse_text(config, (const char *)text.bytes, text.used, path, err);
}

static int is_configuration_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && text_ends_with(entry->d_name, ".conf");
}

static int compare_names(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name);
}

static bool parse_folder(const char *folder, struct config *config, parse_function *parse_text, struct error *err)
{
    struct dirent **entries = NULL;
    bool is_good = true;

    int count = scandir(folder, &entries, is_configuration_file, compare_names);
    if (count < 0 && (errno == ENOENT || errno == ENOTDIR))
        return true;
    if (count < 0)
        return error_set_kind_errno(err, ERROR_CONFIG, "could not read directory \"%s\"", folder);
    if (count > MOST_FILES)
        is_good = error_set(err, ERROR_CONFIG, "more than %d files in \"%s\"", MOST_FILES, folder);
    for (int i = 0; i < count; i++) {
        char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, entries[i]->d_name);
        is_good = is_good && parse_file(path, config, parse_text, err);
        free(entries[i]);
    }
    free(entries);
    return is_good;
}

bool config_files_read(const char *path, struct config *config, parse_function *parse_text, struct error *err)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(path);
    char *folder SCOPED(scoped_free) = memory_text("%s/conf.d", dirname(copy));

    return parse_file(path, config, parse_text, err) && parse_folder(folder, config, parse_text, err);
}
