#include <stdlib.h>

#include "repo/repo_internal.h"
#include "repo/wal_internal.h"

/*
 * A segment moves on from name to name while a folder is read, and may be seen under none of them. One that was missed
 * so stands beside one that was seen, or beside another one that was missed: each end of a hole is looked at, by name.
 */
struct search {
    const struct wal_archive *archive;
    struct wal_files *files; /* with what was missed */
};

static void add(struct wal_files *files, const struct wal_file *file)
{
    files->files = repo_grow(files->files, files->count, sizeof *files->files);
    files->files[files->count++] = *file;
}

static bool is_there(const struct wal_archive *archive, struct timeline timeline, uint64_t number,
                     struct wal_file *ret_file, bool *ret_is_there, struct error *err)
{
    *ret_is_there = false;
    if (!wal_archive_stat(archive, (struct wal_segment){timeline, number}, ret_file, err))
        return false;
    *ret_is_there = ret_file->state != WAL_FILE_MISSING;
    return true;
}

/* Of the segments from `first` to before `end`, those that lie before `end` without one that is missing between. */
static bool add_before(struct search *search, struct timeline timeline, uint64_t first, uint64_t end, struct error *err)
{
    uint64_t number = end;
    struct wal_file file;

    for (bool is_found = true; is_found && number > first; number -= is_found)
        if (!is_there(search->archive, timeline, number - 1, &file, &is_found, err))
            return false;
    for (bool is_found = true; number < end; number++) {
        if (!is_there(search->archive, timeline, number, &file, &is_found, err))
            return false;
        if (is_found)
            add(search->files, &file);
    }
    return true;
}

/* The same behind `first`, which is included; gives where that ends. */
static bool add_behind(struct search *search, struct timeline timeline, uint64_t *first, uint64_t end,
                       struct error *err)
{
    struct wal_file file;

    for (bool is_found = true; *first < end; ++*first) {
        if (!is_there(search->archive, timeline, *first, &file, &is_found, err))
            return false;
        if (!is_found)
            return true;
        add(search->files, &file);
    }
    return true;
}

static bool search_all(struct search *search, const struct wal_files *seen, struct error *err)
{
    for (size_t i = 0; i < seen->count; i++) {
        struct wal_segment segment = seen->files[i].segment;
        bool is_first = i == 0 || seen->files[i - 1].segment.timeline.value != segment.timeline.value;
        bool is_last = i + 1 == seen->count || seen->files[i + 1].segment.timeline.value != segment.timeline.value;
        uint64_t end = is_last ? UINT64_MAX : seen->files[i + 1].segment.number;
        uint64_t next = segment.number + 1;
        if (is_first && !add_before(search, segment.timeline, 0, segment.number, err))
            return false;
        add(search->files, &seen->files[i]);
        if (next == end)
            continue;
        if (!add_behind(search, segment.timeline, &next, end, err) ||
            (!is_last && !add_before(search, segment.timeline, next, end, err)))
            return false;
    }
    return true;
}

bool wal_files_look_again(const struct wal_archive *archive, struct wal_files *files, struct error *err)
{
    struct wal_files all = {NULL, 0};
    struct search search = {.archive = archive, .files = &all};

    if (!search_all(&search, files, err)) {
        wal_files_done(&all);
        return false;
    }
    wal_files_done(files);
    *files = all;
    return true;
}
