#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "pgcoffer/base/atomic_file.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"
#include "repo/wal_internal.h"

#define PLAIN_PIECE 131072

static void scoped_history(struct history *history)
{
    history_done(history);
}

static bool copy_plain(struct wal_reader *source, uint32_t size, struct atomic_file *target, struct error *err)
{
    uint8_t *piece SCOPED(scoped_free) = memory_new(PLAIN_PIECE);

    for (size_t left = size, got = 0; left > 0; left -= got) {
        if (!wal_reader_next(source, piece, left < PLAIN_PIECE ? left : PLAIN_PIECE, &got, err))
            return false;
        if (got == 0)
            return error_set(err, ERROR_INTEGRITY, "%zu bytes before the fork are not held", left);
        if (!atomic_file_write(target, piece, got, err))
            return false;
    }
    return true;
}

static bool store_fork(const struct wal_archive *archive, struct wal_segment from, struct wal_segment to, uint32_t size,
                       struct error *err)
{
    struct wal_reader *source SCOPED(scoped_wal_reader) = NULL;
    char *path SCOPED(scoped_free) = wal_segment_path(archive, to, ".partial");

    if (!wal_reader_open(archive, from, &source, err))
        return false;
    if (source == NULL)
        return error_set(err, ERROR_INTEGRITY, "the segment with the fork is not held");
    if (!wal_prepare_folders(archive, to, err))
        return false;
    struct atomic_file *target SCOPED(scoped_atomic_file) = atomic_file_open(path, archive->repo->file_mode, err);
    return target != NULL &&
           repo_adopt(archive->repo, atomic_file_descriptor(target), archive->repo->file_mode, path, err) &&
           copy_plain(source, size, target, err) && atomic_file_commit(target, err);
}

/* As far as both are held. */
static bool compare_plain(struct wal_reader *one, struct wal_reader *other, const struct wal_archive *archive,
                          uint32_t size, struct error *err)
{
    uint8_t *left SCOPED(scoped_free) = memory_new(PLAIN_PIECE);
    uint8_t *right SCOPED(scoped_free) = memory_new(PLAIN_PIECE);
    size_t got = 0, more = 0;

    for (uint32_t done = 0; done < size; done += (uint32_t)more) {
        size_t wanted = size - done < PLAIN_PIECE ? size - done : PLAIN_PIECE;
        if (!wal_reader_next(one, left, wanted, &got, err))
            return false;
        if (got == 0)
            return true;
        /* The pieces of the other one may be smaller. */
        for (size_t at = 0; at < got; at += more) {
            if (!wal_reader_next(other, right, got - at, &more, err))
                return false;
            if (more == 0)
                return true;
            for (size_t i = 0; i < more; i++)
                if (left[at + i] != right[i])
                    return wal_fail_difference(archive, wal_reader_file(other)->segment, done + (uint32_t)(at + i),
                                               err);
        }
        more = got;
    }
    return true;
}

bool wal_archive_compare_beginnings(const struct wal_archive *archive, struct wal_segment one, struct wal_segment other,
                                    uint32_t size, struct error *err)
{
    struct wal_reader *left SCOPED(scoped_wal_reader) = NULL;
    struct wal_reader *right SCOPED(scoped_wal_reader) = NULL;

    if (!wal_reader_open(archive, one, &left, err) || !wal_reader_open(archive, other, &right, err))
        return false;
    return left == NULL || right == NULL || compare_plain(left, right, archive, size, err);
}

bool wal_archive_copy_fork(const struct wal_archive *archive, struct timeline from, struct timeline to,
                           struct wal_position fork, struct error *err)
{
    struct wal_segment source = wal_segment_at(from, fork, archive->segment_size);
    struct wal_segment target = wal_segment_at(to, fork, archive->segment_size);
    uint32_t size = (uint32_t)(fork.value - wal_segment_start(source, archive->segment_size).value);
    struct wal_file held;

    if (size == 0) /* the new timeline begins with a segment of its own */
        return true;
    if (!wal_archive_stat(archive, target, &held, err))
        return false;
    bool is_longer = held.state != WAL_FILE_MISSING && (held.state != WAL_FILE_PARTIAL || held.held_bytes > size);
    if (is_longer || store_fork(archive, source, target, size, err))
        return true;
    char name[WAL_SEGMENT_NAME_SIZE], position[WAL_POSITION_TEXT_SIZE];
    wal_segment_format(source, archive->segment_size, name);
    wal_position_format(fork, position);
    return error_wrap(err, "could not copy WAL segment %s up to the fork of timeline %" PRIu32 " at %s", name, to.value,
                      position);
}

bool wal_archive_write_history(const struct wal_archive *archive, struct timeline timeline, const void *text,
                               size_t size, struct error *err)
{
    struct history received SCOPED(scoped_history) = {0}, held SCOPED(scoped_history) = {0};
    struct error problem;
    char name[WAL_HISTORY_NAME_SIZE];

    wal_history_format(timeline, name);
    char *path SCOPED(scoped_free) = wal_path(archive, name);
    if (timeline.value <= 1)
        return error_set(err, ERROR_INTEGRITY, "timeline %" PRIu32 " has no history file", timeline.value);
    if (!history_parse(timeline, text, size, &received, err))
        return false;
    if (wal_archive_history(archive, timeline, &held, &problem)) {
        if (history_is_same(&received, &held))
            return file_sync_parent(path, err);
        error_set(err, ERROR_INTEGRITY, "the server's history of timeline %" PRIu32 " is not the one held in \"%s\"",
                  timeline.value, path);
        err->errnum = EILSEQ;
        return error_hint(err, "Two servers made the same timeline number at different points. Nothing held was "
                               "changed: give one of them a name of its own in the configuration.");
    }
    /* A damaged one is replaced: the server's is what it was. */
    if (problem.kind != ERROR_INTEGRITY) {
        *err = problem;
        return false;
    }
    return repo_create_system(archive->repo, archive->server, &archive->system, err) &&
           repo_put_file(archive->repo, path, text, size, err);
}
