#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MOST_TABLESPACES 100000
#define MOST_LISTED      5

static bool matches(const struct tablespace_mapping *mapping, const struct restore_place *place)
{
    uint64_t oid;

    if (text_parse_unsigned(mapping->old_path, UINT32_MAX, &oid))
        return oid == place->oid;
    return strcmp(mapping->old_path, place->original_path) == 0;
}

/* Raw bytes of a path on the server: text, or hex when it is not UTF-8. */
static char *path_from_json(const json_t *tablespace)
{
    const char *hex = json_text_or_null(tablespace, "path_hex");
    const char *text = json_text_or_null(tablespace, "path");

    if (hex == NULL)
        return text != NULL ? memory_copy_text(text) : NULL;
    size_t size = strlen(hex) / 2;
    char *path = memory_new(size + 1);
    for (size_t i = 0; i < size; i++) {
        uint64_t byte = 0;
        if (!text_parse_hex(hex + 2 * i, 2, &byte) || byte == 0) {
            free(path);
            return NULL;
        }
        path[i] = (char)byte;
    }
    return path;
}

static bool list_tablespaces(struct restore *restore, struct error *err)
{
    const json_t *tablespaces = json_object_get(json_object_get(restore->plan.json, "backup"), "tablespaces");
    size_t count = json_array_size(tablespaces);

    if (count > MOST_TABLESPACES)
        return error_set(err, ERROR_DAEMON, "the plan names %zu tablespaces", count);
    restore->places = memory_new((count + 1) * sizeof restore->places[0]);
    restore->places[0] = (struct restore_place){
        .archive = "base", .path = memory_copy_text(restore->options->target_directory), .fd = -1};
    restore->place_count = 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *tablespace = json_array_get(tablespaces, i);
        int64_t oid = json_number_or(tablespace, "oid", 0);
        char *path = path_from_json(tablespace);
        if (path == NULL || oid <= 0 || oid > UINT32_MAX) {
            free(path);
            return error_set(err, ERROR_DAEMON, "the plan names a tablespace without oid or path");
        }
        struct restore_place *place = &restore->places[restore->place_count++];
        *place = (struct restore_place){.oid = (uint32_t)oid, .original_path = path, .fd = -1};
        snprintf(place->archive, sizeof place->archive, "%" PRIu32, place->oid);
    }
    return true;
}

static bool apply_mapping(struct restore *restore, const struct tablespace_mapping *mapping, struct error *err)
{
    if (mapping->new_path[0] != '/')
        return error_set(err, ERROR_USAGE, "--tablespace-map %s=%s: the new path is not absolute", mapping->old_path,
                         mapping->new_path);
    for (size_t i = 1; i < restore->place_count; i++) {
        struct restore_place *place = &restore->places[i];
        if (!matches(mapping, place))
            continue;
        free(place->path);
        place->path = memory_copy_text(mapping->new_path);
        return true;
    }
    error_set(err, ERROR_USAGE, "--tablespace-map %s=%s: backup %s has no such tablespace", mapping->old_path,
              mapping->new_path, restore->plan.backup);
    if (restore->place_count == 1)
        return error_hint(err, "This backup has no tablespaces; leave the option out.");
    return error_hint(err, "It has the tablespace %" PRIu32 " at %s, for one.", restore->places[1].oid,
                      restore->places[1].original_path);
}

static bool refuse_unmapped(const struct restore *restore, const struct restore_place *unmapped, struct error *err)
{
    char options[900] = "";
    size_t used = 0;

    error_set(err, ERROR_USAGE, "it is not said where the tablespace %" PRIu32 " goes, which was at \"%s\"",
              unmapped->oid, unmapped->original_path);
    for (size_t i = 1; i < restore->place_count && used < sizeof options; i++) {
        const struct restore_place *place = &restore->places[i];
        if (place->path == NULL)
            used +=
                (size_t)snprintf(options + used, sizeof options - used, " --tablespace-map %" PRIu32 "=%s.ts%" PRIu32,
                                 place->oid, restore->options->target_directory, place->oid);
    }
    return error_hint(err, "Add --original-tablespaces, or, with folders of your choice:%s", options);
}

static bool map_tablespaces(struct restore *restore, struct error *err)
{
    const struct restore_options *options = restore->options;

    for (size_t i = 0; i < options->mapping_count; i++)
        if (!apply_mapping(restore, &options->mappings[i], err))
            return false;
    for (size_t i = 1; i < restore->place_count; i++) {
        struct restore_place *place = &restore->places[i];
        if (place->path != NULL)
            continue;
        if (options->is_scratch)
            place->path = memory_text("%s.%" PRIu32, options->target_directory, place->oid);
        else if (options->use_original_tablespaces)
            place->path = memory_copy_text(place->original_path);
        else
            return refuse_unmapped(restore, place, err);
    }
    return true;
}

/* ---- refusals ---- */

/* "base, global, PG_VERSION and more" */
static bool list_folder(const char *path, char *ret_names, size_t size, bool *ret_has_marker, struct error *err)
{
    DIR *folder = opendir(path);
    size_t used = 0;
    unsigned count = 0;

    ret_names[0] = '\0';
    *ret_has_marker = false;
    if (folder == NULL)
        return error_set_errno(err, "could not open \"%s\"", path);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        *ret_has_marker |= strcmp(entry->d_name, RESTORE_MARKER) == 0;
        if (count++ < MOST_LISTED && used < size)
            used += (size_t)snprintf(ret_names + used, size - used, "%s%s", used > 0 ? ", " : "", entry->d_name);
    }
    closedir(folder);
    if (count > MOST_LISTED && used < size)
        snprintf(ret_names + used, size - used, " and %u more", count - MOST_LISTED);
    return true;
}

static bool check_existing(struct restore_place *place, const struct stat *status, struct error *err)
{
    char names[600];
    bool has_marker;

    if (!S_ISDIR(status->st_mode))
        return error_set(err, ERROR_USAGE, "\"%s\" exists and is not a folder", place->path);
    if (status->st_uid != geteuid()) {
        error_set(err, ERROR_STORAGE, "\"%s\" belongs to uid %u, not to the one that restores (uid %u)", place->path,
                  (unsigned)status->st_uid, (unsigned)geteuid());
        return error_hint(err, "Restore as the OS user that runs PostgreSQL, or give the folder to it with chown.");
    }
    if (!list_folder(place->path, names, sizeof names, &has_marker, err))
        return false;
    place->exists = true;
    if (names[0] == '\0')
        return true;
    error_set(err, ERROR_USAGE, "%s \"%s\" is not empty",
              place->oid == 0 ? "the target directory" : "the tablespace's folder", place->path);
    error_detail(err, "It holds %s.", names);
    char *quoted SCOPED(scoped_free) = restore_quote_for_shell(place->path);
    if (has_marker)
        return error_hint(err, "It is what a restore that failed has left; remove it with: rm -r %s", quoted);
    return error_hint(err, "Name a folder that is missing or empty, or move this one away: mv %s %s.old", quoted,
                      quoted);
}

static void strip_slashes(char *path)
{
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/')
        path[--size] = '\0';
}

/* Also makes place->path free of links in front of its last name. */
static bool check_parent(struct restore_place *place, struct error *err)
{
    char *slash = strrchr(place->path, '/');
    char *parent SCOPED(scoped_free) =
        slash == place->path ? memory_copy_text("/") : memory_text("%.*s", (int)(slash - place->path), place->path);

    place->real_parent = realpath(parent, NULL);
    if (place->real_parent == NULL && errno == ENOENT) {
        error_set(err, ERROR_USAGE, "the folder \"%s\", in which \"%s\" would be made, does not exist", parent,
                  slash + 1);
        char *quoted SCOPED(scoped_free) = restore_quote_for_shell(parent);
        return error_hint(err, "Make it first, as its owner should be: mkdir -p %s", quoted);
    }
    if (place->real_parent == NULL)
        return error_set_errno(err, "could not look at \"%s\"", parent);
    return true;
}

static bool check_place(struct restore_place *place, struct error *err)
{
    struct stat status;

    strip_slashes(place->path);
    if (place->path[0] != '/' || place->path[1] == '\0')
        return error_set(err, ERROR_USAGE, "\"%s\" is no place for a restore", place->path);
    if (!check_parent(place, err))
        return false;
    if (stat(place->path, &status) == 0)
        return check_existing(place, &status, err);
    if (errno != ENOENT)
        return error_set_errno(err, "could not look at \"%s\"", place->path);
    if (lstat(place->path, &status) == 0)
        return error_set(err, ERROR_USAGE, "\"%s\" is a link that leads nowhere", place->path);
    if (access(place->real_parent, W_OK | X_OK) < 0)
        return error_set_errno(err, "could not make a folder in \"%s\"", place->real_parent);
    return true;
}

/* What the path means once links are followed. */
static char *real_path(const struct restore_place *place)
{
    if (place->exists) {
        char *real = realpath(place->path, NULL);
        if (real != NULL)
            return real;
    }
    bool is_root = strcmp(place->real_parent, "/") == 0;
    return memory_text("%s/%s", is_root ? "" : place->real_parent, strrchr(place->path, '/') + 1);
}

static bool is_inside(const char *inner, const char *outer)
{
    size_t size = strlen(outer);

    return strncmp(inner, outer, size) == 0 && (inner[size] == '/' || inner[size] == '\0');
}

static bool check_apart(const struct restore_place *one, const struct restore_place *other, struct error *err)
{
    char *first SCOPED(scoped_free) = real_path(one);
    char *second SCOPED(scoped_free) = real_path(other);

    if (!is_inside(first, second) && !is_inside(second, first))
        return true;
    return error_set(err, ERROR_USAGE, "\"%s\" and \"%s\" lie one inside the other", one->path, other->path);
}

bool restore_choose_places(struct restore *restore, struct error *err)
{
    if (restore->options->target_directory[0] != '/')
        return error_set(err, ERROR_USAGE, "the target directory \"%s\" is not absolute",
                         restore->options->target_directory);
    if (!list_tablespaces(restore, err) || !map_tablespaces(restore, err))
        return false;
    for (size_t i = 0; i < restore->place_count; i++)
        if (!check_place(&restore->places[i], err))
            return false;
    for (size_t i = 0; i < restore->place_count; i++)
        for (size_t j = i + 1; j < restore->place_count; j++)
            if (!check_apart(&restore->places[i], &restore->places[j], err))
                return false;
    return true;
}

void restore_places_done(struct restore *restore)
{
    for (size_t i = 0; i < restore->place_count; i++) {
        struct restore_place *place = &restore->places[i];
        scoped_close(&place->fd);
        free(place->original_path);
        free(place->path);
        free(place->real_parent);
    }
    free(TAKE(restore->places));
    restore->place_count = 0;
}
