#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/repo_internal.h"
#include "repo/wal_internal.h"

static void scoped_name_list(struct name_list *names)
{
    name_list_done(names);
}

bool wal_is_folder_name(const char *name)
{
    return strlen(name) == 8 && strspn(name, "0123456789ABCDEF") == 8;
}

static int compare_segments(const void *one, const void *other)
{
    const struct wal_segment *left = one, *right = other;

    if (left->timeline.value != right->timeline.value)
        return left->timeline.value < right->timeline.value ? -1 : 1;
    if (left->number != right->number)
        return left->number < right->number ? -1 : 1;
    return 0;
}

/* "00000001000000000000002A" in any of its states, in the folder where it belongs. */
static bool parse_file_name(const struct wal_archive *archive, const char *timeline, const char *middle,
                            const char *name, struct wal_segment *ret_segment)
{
    char base[WAL_SEGMENT_NAME_SIZE];
    const char *suffix;

    if (strlen(name) < sizeof base - 1 || memcmp(name, timeline, 8) != 0 || memcmp(name + 8, middle, 8) != 0)
        return false;
    suffix = name + sizeof base - 1;
    if (suffix[0] != '\0' && strcmp(suffix, ".zst") != 0 && strcmp(suffix, ".partial") != 0)
        return false;
    snprintf(base, sizeof base, "%s", name);
    return wal_segment_parse(base, archive->segment_size, ret_segment);
}

static bool add_folder(const struct wal_archive *archive, const char *timeline, const char *middle,
                       struct wal_names *names, struct error *err)
{
    char *relative SCOPED(scoped_free) = memory_text("%s/%s", timeline, middle);
    char *folder SCOPED(scoped_free) = wal_path(archive, relative);
    struct name_list files SCOPED(scoped_name_list) = {NULL, 0};
    struct wal_segment segment;

    if (!name_list_read(folder, &files, err))
        return false;
    for (size_t i = 0; i < files.count; i++)
        if (parse_file_name(archive, timeline, middle, files.names[i], &segment)) {
            names->segments = repo_grow(names->segments, names->count, sizeof *names->segments);
            names->segments[names->count++] = segment;
        }
    return true;
}

static bool add_timeline(const struct wal_archive *archive, const char *timeline, struct wal_names *names,
                         struct error *err)
{
    char *folder SCOPED(scoped_free) = wal_path(archive, timeline);
    struct name_list middles SCOPED(scoped_name_list) = {NULL, 0};

    if (!name_list_read(folder, &middles, err))
        return false;
    for (size_t i = 0; i < middles.count; i++)
        if (wal_is_folder_name(middles.names[i]) && !add_folder(archive, timeline, middles.names[i], names, err))
            return false;
    return true;
}

/* Reads the newest of the first *count folders that has a segment, and leaves in *count how many lie before it. */
static bool read_newest(const struct wal_archive *archive, const char *timeline, const struct name_list *middles,
                        size_t *count, struct wal_names *names, struct error *err)
{
    wal_names_done(names);
    while (*count > 0 && names->count == 0) {
        const char *middle = middles->names[--*count];
        if (wal_is_folder_name(middle) && !add_folder(archive, timeline, middle, names, err))
            return false;
    }
    if (names->count > 0)
        qsort(names->segments, names->count, sizeof *names->segments, compare_segments);
    return true;
}

static bool has_segment(const struct wal_archive *archive, const char *timeline, bool *ret_has_one, struct error *err)
{
    char *folder SCOPED(scoped_free) = wal_path(archive, timeline);
    struct name_list middles SCOPED(scoped_name_list) = {NULL, 0};
    struct wal_names names SCOPED(scoped_wal_names) = {NULL, 0};

    if (!name_list_read(folder, &middles, err) ||
        !read_newest(archive, timeline, &middles, &(size_t){middles.count}, &names, err))
        return false;
    *ret_has_one = names.count > 0;
    return true;
}

bool wal_archive_newest(const struct wal_archive *archive, struct timeline timeline, struct wal_segment *ret_newest,
                        bool *ret_has_one, struct error *err)
{
    char *number SCOPED(scoped_free) = memory_text("%08" PRIX32, timeline.value);
    char *folder SCOPED(scoped_free) = wal_path(archive, number);
    struct name_list middles SCOPED(scoped_name_list) = {NULL, 0};
    struct wal_names names SCOPED(scoped_wal_names) = {NULL, 0};

    if (!name_list_read(folder, &middles, err) ||
        !read_newest(archive, number, &middles, &(size_t){middles.count}, &names, err))
        return false;
    *ret_has_one = names.count > 0;
    if (*ret_has_one)
        *ret_newest = names.segments[names.count - 1];
    return true;
}

bool wal_archive_has_finished(const struct wal_archive *archive, struct timeline timeline, bool *ret_has_one,
                              struct error *err)
{
    char *number SCOPED(scoped_free) = memory_text("%08" PRIX32, timeline.value);
    char *folder SCOPED(scoped_free) = wal_path(archive, number);
    struct name_list middles SCOPED(scoped_name_list) = {NULL, 0};
    struct wal_names names SCOPED(scoped_wal_names) = {NULL, 0};
    struct wal_file file;

    *ret_has_one = false;
    if (!name_list_read(folder, &middles, err))
        return false;
    for (size_t count = middles.count; count > 0 && !*ret_has_one;) {
        if (!read_newest(archive, number, &middles, &count, &names, err))
            return false;
        for (size_t i = names.count; i-- > 0 && !*ret_has_one;) {
            if (!wal_archive_stat(archive, names.segments[i], &file, err))
                return false;
            *ret_has_one = file.state == WAL_FILE_RAW || file.state == WAL_FILE_COMPRESSED;
        }
    }
    return true;
}

static void drop_twins(struct wal_names *names)
{
    size_t kept = 0;

    for (size_t i = 0; i < names->count; i++)
        if (kept == 0 || compare_segments(&names->segments[kept - 1], &names->segments[i]) != 0)
            names->segments[kept++] = names->segments[i];
    names->count = kept;
}

static bool demand_segment_size(const struct wal_archive *archive, struct error *err)
{
    char *folder SCOPED(scoped_free) = wal_path(archive, "");

    if (archive->segment_size.bytes != 0)
        return true;
    error_set(err, ERROR_INTEGRITY, "\"%s/segment_size.json\" is missing", folder);
    return error_hint(err, "Write it again with the cluster's segment size: "
                           "{\"format\":1,\"segment_size\":16777216}");
}

bool wal_names_read(const struct wal_archive *archive, struct wal_names *ret_names, struct error *err)
{
    struct wal_names names SCOPED(scoped_wal_names) = {NULL, 0};
    struct name_list timelines SCOPED(scoped_name_list) = {NULL, 0};
    char *folder SCOPED(scoped_free) = wal_path(archive, "");

    if (!name_list_read(folder, &timelines, err))
        return false;
    for (size_t i = 0; i < timelines.count; i++) {
        if (!wal_is_folder_name(timelines.names[i]))
            continue;
        if (!demand_segment_size(archive, err) || !add_timeline(archive, timelines.names[i], &names, err))
            return false;
    }
    if (names.count > 0)
        qsort(names.segments, names.count, sizeof *names.segments, compare_segments);
    drop_twins(&names);
    *ret_names = names;
    names = (struct wal_names){NULL, 0};
    return true;
}

void wal_names_done(struct wal_names *names)
{
    free(names->segments);
    *names = (struct wal_names){NULL, 0};
}

static void scoped_wal_files(struct wal_files *files)
{
    wal_files_done(files);
}

bool wal_archive_list(const struct wal_archive *archive, struct wal_files *ret_files, struct error *err)
{
    struct wal_names names SCOPED(scoped_wal_names) = {NULL, 0};
    struct wal_files files SCOPED(scoped_wal_files) = {NULL, 0};

    if (!wal_names_read(archive, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        files.files = repo_grow(files.files, files.count, sizeof *files.files);
        if (!wal_archive_stat(archive, names.segments[i], &files.files[files.count], err))
            return false;
        if (files.files[files.count].state != WAL_FILE_MISSING) /* expired since */
            files.count++;
    }
    if (!wal_files_look_again(archive, &files, err))
        return false;
    *ret_files = files;
    files = (struct wal_files){NULL, 0};
    return true;
}

void wal_files_done(struct wal_files *files)
{
    free(files->files);
    *files = (struct wal_files){NULL, 0};
}

static int compare_timelines(const void *one, const void *other)
{
    const struct timeline *left = one, *right = other;

    return left->value < right->value ? -1 : left->value > right->value;
}

/* By its history, or by a segment. */
static bool find_timeline(const struct wal_archive *archive, const char *name, struct timeline *ret_timeline,
                          bool *ret_is_one, struct error *err)
{
    *ret_is_one = wal_history_name_parse(name, ret_timeline);
    if (*ret_is_one || !wal_is_folder_name(name))
        return true;
    ret_timeline->value = (uint32_t)strtoul(name, NULL, 16);
    return demand_segment_size(archive, err) && has_segment(archive, name, ret_is_one, err);
}

bool wal_archive_timelines(const struct wal_archive *archive, struct timeline **ret_timelines, size_t *ret_count,
                           struct error *err)
{
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    char *folder SCOPED(scoped_free) = wal_path(archive, "");
    struct timeline *timelines SCOPED(scoped_free) = NULL, timeline;
    size_t count = 0, kept = 0;
    bool is_one = false;

    if (!name_list_read(folder, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        if (!find_timeline(archive, names.names[i], &timeline, &is_one, err))
            return false;
        if (!is_one)
            continue;
        timelines = repo_grow(timelines, count, sizeof *timelines);
        timelines[count++] = timeline;
    }
    if (count > 0)
        qsort(timelines, count, sizeof *timelines, compare_timelines);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || timelines[kept - 1].value != timelines[i].value)
            timelines[kept++] = timelines[i];
    *ret_timelines = TAKE(timelines);
    *ret_count = kept;
    return true;
}
