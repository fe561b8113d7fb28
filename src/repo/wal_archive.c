#include "pgcoffer/repo/wal_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"
#include "repo/wal_internal.h"

#define SEGMENT_SIZE_FILE "segment_size.json"
/* Of one name, the first and the last: a disk that goes on failing is not filled as well. */
#define SUSPECTS_MOST 2

char *wal_path(const struct wal_archive *archive, const char *name)
{
    char *folder SCOPED(scoped_free) = repo_system_path(archive->repo, archive->server, &archive->system, "wal");

    return name[0] == '\0' ? TAKE(folder) : memory_text("%s/%s", folder, name);
}

char *wal_folder_path(const struct wal_archive *archive, struct wal_segment segment)
{
    char name[WAL_SEGMENT_NAME_SIZE];
    char *folder SCOPED(scoped_free) = wal_path(archive, "");

    wal_segment_format(segment, archive->segment_size, name);
    return memory_text("%s/%.8s/%.8s", folder, name, name + 8);
}

char *wal_segment_path(const struct wal_archive *archive, struct wal_segment segment, const char *suffix)
{
    char name[WAL_SEGMENT_NAME_SIZE];
    char *folder SCOPED(scoped_free) = wal_folder_path(archive, segment);

    wal_segment_format(segment, archive->segment_size, name);
    return memory_text("%s/%s%s", folder, name, suffix);
}

/* errnum is ENOENT when it was never written. */
static bool read_segment_size(const struct wal_archive *archive, struct wal_segment_size *ret_size, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_path(archive, SEGMENT_SIZE_FILE);
    json_t *document SCOPED(scoped_json) = NULL;
    int64_t bytes = 0;

    if (!repo_read_document(path, &document, err))
        return false;
    if (!json_get_number(document, "segment_size", WAL_SEGMENT_SIZE_LEAST, WAL_SEGMENT_SIZE_MOST, &bytes, err))
        return error_wrap(err, "\"%s\" is damaged", path);
    if (!wal_segment_size_is_valid((uint64_t)bytes))
        return error_set(err, ERROR_INTEGRITY, "\"%s\" is damaged: %" PRId64 " is not a power of two", path, bytes);
    *ret_size = (struct wal_segment_size){(uint32_t)bytes};
    return true;
}

static bool write_segment_size(const struct wal_archive *archive, struct error *err)
{
    char *path SCOPED(scoped_free) = wal_path(archive, SEGMENT_SIZE_FILE);
    json_t *document SCOPED(scoped_json) = json_object();

    if (access(path, F_OK) == 0)
        return true;
    json_object_set_new(document, "format", json_integer(1));
    json_object_set_new(document, "segment_size", json_integer(archive->segment_size.bytes));
    return repo_write_document(archive->repo, path, document, err);
}

bool wal_archive_open(const struct repo *repo, const char *server, const struct system_id *system,
                      struct wal_segment_size segment_size, struct wal_archive *ret_archive, struct error *err)
{
    struct wal_archive archive = {.repo = repo, .system = *system, .segment_size = segment_size};
    struct wal_segment_size stored = {0};
    struct error problem;

    snprintf(archive.server, sizeof archive.server, "%s", server);
    if (!read_segment_size(&archive, &stored, &problem)) {
        if (problem.errnum != ENOENT) {
            *err = problem;
            return false;
        }
        stored = segment_size;
    }
    if (segment_size.bytes != 0 && segment_size.bytes != stored.bytes) {
        error_set(err, ERROR_INTEGRITY,
                  "the WAL of \"%s\" is stored in segments of %" PRIu32 " bytes, and the server now has %" PRIu32,
                  server, stored.bytes, segment_size.bytes);
        return error_hint(err, "The segment size of this cluster was changed (pg_resetwal): its former WAL cannot be "
                               "continued. Give it a new name in the configuration and take a new backup.");
    }
    archive.segment_size = stored;
    *ret_archive = archive;
    return true;
}

bool wal_prepare_folders(const struct wal_archive *archive, struct wal_segment segment, struct error *err)
{
    char *folder SCOPED(scoped_free) = wal_folder_path(archive, segment);
    char *of_timeline SCOPED(scoped_free) = memory_copy_text(folder);

    /* Made by this process, or fsynced by wal_archive_recover(). */
    if (access(folder, F_OK) == 0)
        return true;
    *strrchr(of_timeline, '/') = '\0';
    return repo_create_system(archive->repo, archive->server, &archive->system, err) &&
           write_segment_size(archive, err) && repo_make_folder(archive->repo, of_timeline, NULL, err) &&
           repo_make_folder(archive->repo, folder, NULL, err);
}

bool wal_is_finished(const struct wal_archive *archive, struct wal_segment segment)
{
    char *raw SCOPED(scoped_free) = wal_segment_path(archive, segment, "");
    char *compressed SCOPED(scoped_free) = wal_segment_path(archive, segment, ".zst");

    return access(compressed, F_OK) == 0 || access(raw, F_OK) == 0 || access(compressed, F_OK) == 0;
}

bool wal_set_aside(const char *path, char **ret_new_path, struct error *err)
{
    char *aside = NULL;

    for (unsigned number = 1; number <= SUSPECTS_MOST; number++) {
        free(aside);
        aside = memory_text("%s.suspect-%u", path, number);
        if (access(aside, F_OK) != 0)
            break;
    }
    if (file_rename_durably(path, aside, err)) {
        *ret_new_path = aside;
        return true;
    }
    free(aside);
    return false;
}

bool wal_fail_difference(const struct wal_archive *archive, struct wal_segment segment, uint32_t offset,
                         struct error *err)
{
    char name[WAL_SEGMENT_NAME_SIZE], position[WAL_POSITION_TEXT_SIZE];
    struct wal_position start = wal_segment_start(segment, archive->segment_size);

    wal_segment_format(segment, archive->segment_size, name);
    wal_position_format((struct wal_position){start.value + offset}, position);
    error_set(err, ERROR_INTEGRITY,
              "the received bytes of WAL segment %s differ from those held at offset %" PRIu32 " (%s)", name, offset,
              position);
    err->errnum = EILSEQ;
    return error_hint(err, "Two servers may be writing the same timeline. Nothing held was changed: find out which "
                           "one is right before going on.");
}

static void describe(const struct stat *status, struct wal_segment_size size, struct wal_file *file)
{
    file->stored_bytes = (uint64_t)status->st_size;
    file->held_bytes = size.bytes;
    if (file->state == WAL_FILE_PARTIAL && file->stored_bytes < size.bytes)
        file->held_bytes = (uint32_t)file->stored_bytes;
    file->written_at.microseconds = (int64_t)status->st_mtim.tv_sec * 1000000 + status->st_mtim.tv_nsec / 1000;
}

/* One look at one state. MISSING when it is not there; ret_fd may be NULL. */
static bool look(const struct wal_archive *archive, const char *path, enum wal_file_state state, int *ret_fd,
                 struct wal_file *file, struct error *err)
{
    struct stat status;
    int fd SCOPED(scoped_close) = -1;

    if (ret_fd != NULL)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int failed = ret_fd == NULL ? stat(path, &status) : fd < 0 ? -1 : fstat(fd, &status);
    if (failed < 0)
        return errno == ENOENT || error_set_errno(err, "could not open \"%s\"", path);
    file->state = state;
    describe(&status, archive->segment_size, file);
    if (ret_fd != NULL) {
        *ret_fd = fd;
        fd = -1;
    }
    return true;
}

/*
 * A segment only moves on: partial, raw, zst. A round that sees nothing may have been overtaken twice, each
 * time between two of its looks, so three rounds without a finding mean that it is not there.
 */
#define LOOK_ROUNDS 3

static bool look_for_newest(const struct wal_archive *archive, struct wal_segment segment, int *ret_fd,
                            struct wal_file *ret_file, struct error *err)
{
    static const struct {
        enum wal_file_state state;
        const char *suffix;
    } states[] = {{WAL_FILE_COMPRESSED, ".zst"}, {WAL_FILE_RAW, ""}, {WAL_FILE_PARTIAL, ".partial"}};
    struct wal_file file = {.segment = segment, .state = WAL_FILE_MISSING};

    for (int round = 0; round < LOOK_ROUNDS && archive->segment_size.bytes != 0; round++)
        for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
            char *path SCOPED(scoped_free) = wal_segment_path(archive, segment, states[i].suffix);
            if (!look(archive, path, states[i].state, ret_fd, &file, err))
                return false;
            if (file.state != WAL_FILE_MISSING) {
                *ret_file = file;
                return true;
            }
        }
    *ret_file = file;
    return true;
}

bool wal_archive_stat(const struct wal_archive *archive, struct wal_segment segment, struct wal_file *ret_file,
                      struct error *err)
{
    return look_for_newest(archive, segment, NULL, ret_file, err);
}

bool wal_archive_open_segment(const struct wal_archive *archive, struct wal_segment segment, int *ret_fd,
                              struct wal_file *ret_file, struct error *err)
{
    *ret_fd = -1;
    return look_for_newest(archive, segment, ret_fd, ret_file, err);
}
