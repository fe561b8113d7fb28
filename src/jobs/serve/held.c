#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jobs/serve/session_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

void held_free(struct held_backup *held)
{
    if (held == NULL)
        return;
    backup_meta_free(held->entry.meta);
    scoped_close(&held->folder);
    file_lock_done(&held->lock);
    free(held);
}

static void scoped_held(struct held_backup **held)
{
    held_free(*held);
}

static const struct held_backup *find(const struct session *session, const char *server, const char *id)
{
    for (size_t i = 0; i < session->held_count; i++)
        if (strcmp(session->held[i]->server, server) == 0 && strcmp(session->held[i]->entry.id.text, id) == 0)
            return session->held[i];
    return NULL;
}

bool held_add(struct session *session, const char *server, const struct catalogue_entry *entry,
              const struct held_backup **ret_held, struct error *err)
{
    *ret_held = find(session, server, entry->id.text);
    if (*ret_held != NULL)
        return true;
    if (session->held_count == SESSION_MOST_BACKUPS)
        return error_set(err, ERROR_USAGE, "one session reads at most %d backups", SESSION_MOST_BACKUPS);
    struct held_backup *held SCOPED(scoped_held) = memory_new(sizeof *held);
    *held = (struct held_backup){.entry = *entry, .folder = -1, .lock = FILE_LOCK_NONE};
    held->entry.meta = NULL;
    snprintf(held->server, sizeof held->server, "%s", server);
    /* Locked first, then read: it cannot have gone in between. */
    if (!catalogue_lock_for_reading(session->repo, server, entry, &held->lock, err) ||
        !backup_meta_read(session->repo, server, &entry->system, &entry->id, &held->entry.meta, err))
        return false;
    char *path SCOPED(scoped_free) = repo_backup_path(session->repo, server, &entry->system, &entry->id, "");
    held->folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (held->folder < 0)
        return error_set_errno(err, "could not open \"%s\"", path);
    *ret_held = session->held[session->held_count++] = TAKE(held);
    return true;
}

bool held_find(struct session *session, const char *server, const char *name, const struct held_backup **ret_held,
               struct error *err)
{
    struct catalogue catalogue SCOPED(scoped_catalogue) = {0};
    const struct catalogue_entry *entry;

    *ret_held = find(session, server, name);
    if (*ret_held != NULL)
        return true;
    return catalogue_read(session->repo, server, &catalogue, err) && catalogue_find(&catalogue, name, &entry, err) &&
           held_add(session, server, entry, ret_held, err);
}
