#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/repo/wal_contents.h"
#include "pgcoffer/repo/wal_gaps.h"

#include "repo/repo_internal.h"
#include "repo/wal_contents_internal.h"
#include "repo/wal_internal.h"

#define NAME_LENGTH (WAL_SEGMENT_NAME_SIZE - 1)

static void scoped_name_list(struct name_list *names)
{
    name_list_done(names);
}

/* What a killed process left half written. Only our own endings: nothing else in the folder is touched. */
static bool remove_temporary_files(const char *folder, const struct name_list *names, struct error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        /* A verify may be writing the record of gaps just now; wal_gaps_clean() looks after it. */
        if (!text_ends_with(names->names[i], ".tmp") || strcmp(names->names[i], "gaps.json.tmp") == 0)
            continue;
        char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, names->names[i]);
        if (unlink(path) < 0 && errno != ENOENT)
            return error_set_errno(err, "could not remove \"%s\"", path);
    }
    return true;
}

static bool is_of_same_segment(const struct name_list *names, size_t one, size_t other)
{
    return other < names->count && strncmp(names->names[one], names->names[other], NAME_LENGTH) == 0;
}

/* Beside no segment a note tells nothing. The names are sorted. */
static bool remove_orphaned_notes(const char *folder, const struct name_list *names, struct error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        if (!wal_is_note_name(names->names[i]) || is_of_same_segment(names, i, i - 1) ||
            is_of_same_segment(names, i, i + 1))
            continue;
        char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, names->names[i]);
        if (unlink(path) < 0 && errno != ENOENT)
            return error_set_errno(err, "could not remove \"%s\"", path);
    }
    return true;
}

/*
 * wal/ (depth 0), its timelines (1) and their folders (2). Each is fsynced: whoever made a name in it may have been
 * killed before doing so, and what is found now counts as held.
 */
static bool clean_folder(const char *folder, int depth, struct error *err)
{
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};

    if (!name_list_read(folder, &names, err) || !remove_temporary_files(folder, &names, err) ||
        !remove_orphaned_notes(folder, &names, err))
        return false;
    for (size_t i = 0; depth < 2 && i < names.count; i++) {
        char *child SCOPED(scoped_free) = memory_text("%s/%s", folder, names.names[i]);
        if (wal_is_folder_name(names.names[i]) && !clean_folder(child, depth + 1, err))
            return false;
    }
    return file_sync_directory(folder, err);
}

/*
 * All its bytes are there, but whether they were synced nobody knows: after a power cut some may be zeros. Under its
 * final name they would stay so. Without its last byte, which is acknowledged under the final name only, it is received
 * again and compared.
 */
static bool reopen_whole_partial(const struct wal_archive *archive, struct wal_segment segment, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, ".partial");

    int fd SCOPED(scoped_close) = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "could not open \"%s\"", path);
    return ftruncate(fd, (off_t)archive->segment_size.bytes - 1) == 0 ||
           error_set_errno(err, "could not shorten \"%s\"", path);
}

/*
 * What a killed process wrote may lie in the kernel's memory only, and from now on it counts as held. The receiver
 * opens one of them; that of a timeline it has left nobody ever opens again.
 */
static bool sync_partial(const struct wal_archive *archive, struct wal_segment segment, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, ".partial");

    int fd SCOPED(scoped_close) = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "could not open \"%s\"", path);
    if (fdatasync(fd) == 0)
        return true;
    error_set_errno(err, "could not fdatasync \"%s\"", path);
    wal_give_up_file(path, err);
    return false;
}

static bool set_partial_aside(const struct wal_archive *archive, struct wal_segment segment, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, ".partial");
    char *aside SCOPED(scoped_free) = NULL;

    return access(path, F_OK) != 0 || wal_set_aside(path, &aside, err);
}

/*
 * Nobody receives a segment in the middle of a timeline again, so one that is whole there is what a killed process was
 * about to rename: fetched, or about to take the place of a damaged one. Its records, and those on both sides, tell
 * whether every byte has come to the disk.
 */
static bool finish_whole_partial(const struct wal_archive *archive, struct wal_segment segment, bool *ret_is_finished,
                                 struct error *err)
{
    char *partial SCOPED(scoped_free) = wal_segment_path(archive, segment, ".partial");
    char *raw SCOPED(scoped_free) = wal_segment_path(archive, segment, "");
    struct error damage;

    *ret_is_finished = wal_archive_check_joints(archive, segment, &damage);
    if (!*ret_is_finished)
        return true;
    return sync_partial(archive, segment, err) && file_rename_durably(partial, raw, err);
}

static bool recover_whole_partial(const struct wal_archive *archive, struct wal_segment segment, bool is_newest,
                                  struct error *err)
{
    bool is_finished = false;

    if (!is_newest && !finish_whole_partial(archive, segment, &is_finished, err))
        return false;
    return is_finished || (reopen_whole_partial(archive, segment, err) && sync_partial(archive, segment, err));
}

/* Brings one segment into one state; *ret_raw tells whether it waits for compression. */
static bool recover_segment(const struct wal_archive *archive, struct wal_segment segment, bool is_newest,
                            bool *ret_raw, struct error *err)
{
    struct wal_file file;
    char *raw SCOPED(scoped_free) = wal_segment_path(archive, segment, "");

    if (!wal_archive_stat(archive, segment, &file, err))
        return false;
    if (file.state == WAL_FILE_COMPRESSED && access(raw, F_OK) == 0 && !wal_settle_pair(archive, segment, err))
        return false;
    if (file.state == WAL_FILE_PARTIAL) {
        if (file.stored_bytes == archive->segment_size.bytes &&
            !recover_whole_partial(archive, segment, is_newest, err))
            return false;
        if (file.stored_bytes > archive->segment_size.bytes && !set_partial_aside(archive, segment, err))
            return false;
        if (file.stored_bytes < archive->segment_size.bytes && !sync_partial(archive, segment, err))
            return false;
    } else if (!set_partial_aside(archive, segment, err)) { /* a finished one is what counts */
        return false;
    }
    *ret_raw = access(raw, F_OK) == 0;
    return true;
}

bool wal_archive_recover(const struct wal_archive *archive, struct wal_segment **ret_raw, size_t *ret_raw_count,
                         struct error *err)
{
    char *folder SCOPED(scoped_free) = wal_path(archive, "");
    struct wal_names names SCOPED(scoped_wal_names) = {NULL, 0};
    struct wal_segment *waiting SCOPED(scoped_free) = NULL;
    size_t count = 0;

    *ret_raw = NULL;
    *ret_raw_count = 0;
    if (access(folder, F_OK) < 0 && errno == ENOENT)
        return true;
    if (!wal_gaps_clean(archive, err) || !clean_folder(folder, 0, err) || !wal_names_read(archive, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        bool is_raw = false;
        bool is_newest =
            i + 1 == names.count || names.segments[i + 1].timeline.value != names.segments[i].timeline.value;
        if (!recover_segment(archive, names.segments[i], is_newest, &is_raw, err))
            return error_wrap(err, "could not clean up the WAL of \"%s\"", archive->server);
        if (is_raw) {
            waiting = repo_grow(waiting, count, sizeof *waiting);
            waiting[count++] = names.segments[i];
        }
    }
    *ret_raw = TAKE(waiting);
    *ret_raw_count = count;
    return true;
}
