#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define INDEX_NAME       "index.jsonl.zst"
#define MANIFEST_NAME    "backup_manifest.zst"
#define ARCHIVE_SUFFIX   ".tar.zst"
#define METADATA_NAME    "backup.json"
#define MOST_INDEX_BYTES ((size_t)4 << 30)

static void checked_backup_done(struct checked_backup *backup)
{
    index_done(&backup->index);
    free(backup->folder);
}

static const struct backup_file *find_file(const struct backup_meta *meta, const char *name)
{
    for (size_t i = 0; i < meta->file_list_count; i++)
        if (strcmp(meta->files[i].name, name) == 0)
            return &meta->files[i];
    return NULL;
}

/* "base" of "base.tar.zst"; false for a name that is no archive's. */
static bool archive_of(const char *name, char ret_archive[16])
{
    size_t size = strlen(name);
    uint64_t oid;

    if (!text_ends_with(name, ARCHIVE_SUFFIX) || size - strlen(ARCHIVE_SUFFIX) >= 16)
        return false;
    memcpy(ret_archive, name, size - strlen(ARCHIVE_SUFFIX));
    ret_archive[size - strlen(ARCHIVE_SUFFIX)] = '\0';
    return strcmp(ret_archive, "base") == 0 || text_parse_unsigned(ret_archive, UINT32_MAX, &oid);
}

static bool check_index(struct checked_backup *backup, struct error *err)
{
    const struct backup_file *file = find_file(backup->meta, INDEX_NAME);
    struct buffer stored SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(MOST_INDEX_BYTES);
    char *path SCOPED(scoped_free) = memory_text("%s/" INDEX_NAME, backup->folder);
    const char *id = backup->meta->id.text;
    bool is_sound = false;
    struct error failure;

    if (file == NULL)
        return verify_problem(backup->verify, id, METADATA_NAME, VERIFY_NO_FRAME, NULL, err, "it names no " INDEX_NAME);
    if (!verify_file(backup, file, &is_sound, err))
        return false;
    if (!is_sound)
        return true;
    if (!file_read_whole(path, &stored, &failure) ||
        !index_read_compressed(stored.bytes, stored.used, &backup->index, &failure))
        return verify_read_failure(backup->verify, id, INDEX_NAME, VERIFY_NO_FRAME, NULL, &failure, err);
    backup->has_index = true;
    return true;
}

/* Each archive the index speaks of must be one of the backup's files. */
static bool check_index_archives(struct checked_backup *backup, struct error *err)
{
    const char *last = "";
    char name[32];

    for (size_t i = 0; i < backup->index.frame_count; i++) {
        const char *archive = backup->index.frames[i].archive;
        if (strcmp(archive, last) == 0)
            continue;
        last = archive;
        snprintf(name, sizeof name, "%s" ARCHIVE_SUFFIX, archive);
        if (find_file(backup->meta, name) == NULL &&
            !verify_problem(backup->verify, backup->meta->id.text, INDEX_NAME, VERIFY_NO_FRAME, NULL, err,
                            "it has frames of \"%s\", which the metadata does not name", name))
            return false;
    }
    return true;
}

/* Without its index an archive is still one file with a size and a SHA-256. */
static bool check_one(struct checked_backup *backup, const struct backup_file *file, struct error *err)
{
    bool is_sound = false;
    char archive[16];

    if (strcmp(file->name, INDEX_NAME) == 0)
        return true;
    if (backup->has_index && archive_of(file->name, archive))
        return verify_archive(backup, file, archive, err);
    if (!verify_file(backup, file, &is_sound, err))
        return false;
    if (!is_sound || !backup->has_index || strcmp(file->name, MANIFEST_NAME) != 0)
        return true;
    return verify_manifest(backup, file, err);
}

static bool check_expected_files(struct checked_backup *backup, struct error *err)
{
    static const char *const expected[] = {"base.tar.zst", MANIFEST_NAME};

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (find_file(backup->meta, expected[i]) == NULL &&
            !verify_problem(backup->verify, backup->meta->id.text, METADATA_NAME, VERIFY_NO_FRAME, NULL, err,
                            "it names no %s", expected[i]))
            return false;
    return true;
}

static bool check_files(struct verify *verify, const struct catalogue_entry *entry, const struct backup_meta *meta,
                        struct error *err)
{
    struct checked_backup backup SCOPED(checked_backup_done) = {
        .verify = verify,
        .meta = meta,
        .folder = repo_backup_path(verify->repo, verify->server, &entry->system, &entry->id, ""),
    };

    if (!check_expected_files(&backup, err) || !check_index(&backup, err) || !check_index_archives(&backup, err))
        return false;
    for (size_t i = 0; i < meta->file_list_count; i++)
        if (!check_one(&backup, &meta->files[i], err))
            return false;
    return true;
}

static bool check_backup(struct verify *verify, const struct catalogue_entry *entry, struct error *err)
{
    struct backup_meta *meta SCOPED(scoped_backup_meta) = NULL;
    struct error failure;

    if (!backup_meta_read(verify->repo, verify->server, &entry->system, &entry->id, &meta, &failure))
        return verify_read_failure(verify, entry->id.text, METADATA_NAME, VERIFY_NO_FRAME, NULL, &failure, err);
    return check_files(verify, entry, meta, err);
}

void verify_add_result(json_t *results, const struct catalogue_entry *entry, enum verify_outcome outcome)
{
    static const char *const words[] = {
        [VERIFY_OK] = "ok", [VERIFY_DAMAGED] = "damaged", [VERIFY_RECENT] = "recent", [VERIFY_LEFT] = "left"};

    if (outcome != VERIFY_GONE)
        json_array_append_new(results,
                              json_pack("{s:s, s:s, s:[]}", "id", entry->id.text, "state", words[outcome], "problems"));
}

bool verify_backup(struct verify *verify, const struct catalogue_entry *entry, enum verify_outcome *ret_outcome,
                   struct error *err)
{
    struct file_lock lock SCOPED(file_lock_done) = FILE_LOCK_NONE;
    int64_t began = clock_monotonic();
    struct error failure;

    *ret_outcome = VERIFY_DAMAGED;
    if (!catalogue_lock_for_reading(verify->repo, verify->server, entry, &lock, &failure)) {
        if (failure.kind == ERROR_BUSY || failure.errnum == ENOENT) {
            *ret_outcome = VERIFY_GONE;
            return events_log(verify->events, err, "warning", "backup %s was left out: %s", entry->id.text,
                              failure.message);
        }
        return verify_read_failure(verify, entry->id.text, "lock", VERIFY_NO_FRAME, NULL, &failure, err);
    }
    verify->mark = verify->problem_count;
    bool is_done = check_backup(verify, entry, err);
    uint64_t milliseconds = (uint64_t)(clock_monotonic() - began) / 1000;
    bool has_damage = verify->problem_count != verify->mark;
    if (!is_done && (err->errnum == ETIME || has_damage) &&
        !verify_record_unfinished(verify, entry, milliseconds, &failure))
        *err = failure;
    *ret_outcome = has_damage ? VERIFY_DAMAGED : VERIFY_OK;
    return is_done && verify_record_backup(verify, entry, milliseconds, err) && verify_notes(verify, entry, err);
}
