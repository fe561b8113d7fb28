#include "pgcoffer/repo/backup_notes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/backup_notes_internal.h"
#include "repo/repo_internal.h"

#define PIN         "pin.json"
#define ANNOTATIONS "annotations.json"
#define VERIFIED    "verified.json"
#define DRILL       "drill.json"
#define DRILL_GOOD  "drill-good.json"

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

bool backup_notes_lock(const struct repo *repo, const char *server, struct file_lock *ret_lock, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_lock_path(repo, server, "note.lock");

    return file_lock_await(path, ret_lock, err);
}

/* *ret_document stays NULL when there is no such file. */
static bool read_note(const char *path, json_t **ret_document, struct error *err)
{
    struct buffer bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(BACKUP_NOTE_MOST_BYTES);
    struct error problem;

    if (!file_read_whole(path, &bytes, &problem)) {
        if (problem.errnum == ENOENT)
            return true;
        *err = problem;
        if (err->kind != ERROR_STORAGE)
            err->kind = ERROR_INTEGRITY;
        return false;
    }
    *ret_document = backup_note_parse((const char *)bytes.bytes, bytes.used, err);
    return *ret_document != NULL || error_wrap(err, "\"%s\" is damaged", path);
}

static bool remove_note(const char *path, bool *ret_was_there, struct error *err)
{
    *ret_was_there = unlink(path) == 0;
    if (*ret_was_there)
        return file_sync_parent(path, err);
    return errno == ENOENT || error_set_errno(err, "could not remove \"%s\"", path);
}

/* ---- pin.json ---- */

bool backup_pin_read(const struct repo *repo, const char *server, const struct system_id *system,
                     const struct backup_id *id, struct backup_pin *ret_pin, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, PIN);
    json_t *document SCOPED(scoped_json) = NULL;

    *ret_pin = (struct backup_pin){.is_pinned = true};
    if (!read_note(path, &document, err))
        return false;
    if (document != NULL)
        return backup_pin_from_json(document, ret_pin, err) || error_wrap(err, "\"%s\" is damaged", path);
    ret_pin->is_pinned = false;
    return true;
}

bool backup_pin_holds(const struct backup_pin *pin, struct timestamp now)
{
    return pin->is_pinned && (pin->until.microseconds == 0 || now.microseconds < pin->until.microseconds);
}

bool backup_pin_write(const struct repo *repo, const char *server, const struct system_id *system,
                      const struct backup_id *id, const struct backup_pin *pin, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, PIN);

    if (!repo_is_plain_text(pin->reason))
        return error_set(err, ERROR_USAGE, "the reason of a pin has control characters or is not UTF-8");
    json_t *document SCOPED(scoped_json) = backup_pin_to_json(pin);
    return repo_write_document(repo, path, document, err);
}

bool backup_pin_remove(const struct repo *repo, const char *server, const struct system_id *system,
                       const struct backup_id *id, bool *ret_was_there, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, PIN);

    return remove_note(path, ret_was_there, err);
}

/* ---- annotations.json ---- */

bool backup_annotations_read(const struct repo *repo, const char *server, const struct system_id *system,
                             const struct backup_id *id, struct backup_annotations *ret_annotations, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, ANNOTATIONS);
    json_t *document SCOPED(scoped_json) = NULL;

    ret_annotations->count = 0;
    if (!read_note(path, &document, err))
        return false;
    return document == NULL || backup_annotations_from_json(document, ret_annotations, err) ||
           error_wrap(err, "\"%s\" is damaged", path);
}

bool backup_annotations_write(const struct repo *repo, const char *server, const struct system_id *system,
                              const struct backup_id *id, const struct backup_annotations *annotations,
                              struct error *err)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, ANNOTATIONS);
    bool was_there = false;

    if (annotations->count == 0)
        return remove_note(path, &was_there, err);
    json_t *document SCOPED(scoped_json) = backup_annotations_to_json(annotations);
    return repo_write_document(repo, path, document, err);
}

/* ---- verified.json ---- */

bool backup_verified_read(const struct repo *repo, const char *server, const struct system_id *system,
                          const struct backup_id *id, struct backup_proof *ret_proof, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, VERIFIED);
    json_t *document SCOPED(scoped_json) = NULL;

    *ret_proof = (struct backup_proof){.is_good = false};
    if (!read_note(path, &document, err))
        return false;
    return document == NULL || backup_proof_from_json(document, ret_proof, err) ||
           error_wrap(err, "\"%s\" is damaged", path);
}

bool backup_verified_write(const struct repo *repo, const char *server, const struct system_id *system,
                           const struct backup_id *id, const struct backup_proof *proof, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, VERIFIED);
    json_t *document SCOPED(scoped_json) = backup_proof_to_json(proof);

    return repo_write_document(repo, path, document, err);
}

/* ---- drill.json ---- */

static bool read_drill(const char *path, struct backup_drill *ret_drill, struct error *err)
{
    json_t *document SCOPED(scoped_json) = NULL;

    *ret_drill = (struct backup_drill){.rows = 0};
    if (!read_note(path, &document, err))
        return false;
    return document == NULL || backup_drill_from_json(document, ret_drill, err) ||
           error_wrap(err, "\"%s\" is damaged", path);
}

bool backup_drill_read(const struct repo *repo, const char *server, const struct system_id *system,
                       const struct backup_id *id, struct backup_drill *ret_drill, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, DRILL);

    return read_drill(path, ret_drill, err);
}

bool server_drill_read(const struct repo *repo, const char *server, struct backup_drill *ret_drill, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_server_path(repo, server, DRILL);

    return read_drill(path, ret_drill, err);
}

bool server_good_drill_read(const struct repo *repo, const char *server, struct backup_drill *ret_drill,
                            struct error *err)
{
    char *path SCOPED(scoped_free) = repo_server_path(repo, server, DRILL_GOOD);

    return read_drill(path, ret_drill, err);
}

bool backup_drill_write(const struct repo *repo, const char *server, const struct backup_drill *drill,
                        struct error *err)
{
    char *beside SCOPED(scoped_free) = repo_backup_path(repo, server, &drill->system, &drill->backup, DRILL);
    char *last SCOPED(scoped_free) = repo_server_path(repo, server, DRILL);
    char *good SCOPED(scoped_free) = repo_server_path(repo, server, DRILL_GOOD);
    json_t *document SCOPED(scoped_json) = backup_drill_to_json(drill);

    return repo_write_document(repo, beside, document, err) && repo_write_document(repo, last, document, err) &&
           (!drill->proof.is_good || repo_write_document(repo, good, document, err));
}
