#include "pgcoffer/repo/catalogue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/repo/backup_notes.h"

#include "repo/repo_internal.h"

#define NAMES_IN_HINT 8

static void scoped_name_list(struct name_list *names)
{
    name_list_done(names);
}

static void scoped_catalogue(struct catalogue *catalogue)
{
    catalogue_done(catalogue);
}

static bool has_file(const struct repo *repo, const char *server, const struct system_id *system,
                     const struct backup_id *id, const char *name)
{
    char *path SCOPED(scoped_free) = repo_backup_path(repo, server, system, id, name);

    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* A verification that cannot be read has found nothing. */
static bool is_found_damaged(const struct repo *repo, const char *server, const struct system_id *system,
                             const struct backup_id *id)
{
    struct backup_proof verified;
    struct error ignored;

    return backup_verified_read(repo, server, system, id, &verified, &ignored) && verified.at.microseconds != 0 &&
           !verified.is_good;
}

static void add_entry(const struct repo *repo, const char *server, const struct system_id *system,
                      const struct backup_id *id, struct catalogue *catalogue)
{
    catalogue->entries = repo_grow(catalogue->entries, catalogue->count, sizeof *catalogue->entries);
    struct catalogue_entry *entry = &catalogue->entries[catalogue->count];

    *entry = (struct catalogue_entry){.id = *id, .system = *system};
    if (!backup_meta_read(repo, server, system, id, &entry->meta, &entry->error) && entry->error.errnum == ENOENT)
        return; /* deleted since */
    entry->is_suspect = is_found_damaged(repo, server, system, id);
    catalogue->count++;
}

static bool add_system(const struct repo *repo, const char *server, const struct system_id *system,
                       struct catalogue *catalogue, struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_system_path(repo, server, system, "backup");
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    struct backup_id id;

    if (!name_list_read(folder, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++)
        if (backup_id_parse(names.names[i], &id) &&
            (has_file(repo, server, system, &id, "backup.json") || has_file(repo, server, system, &id, "copied.json") ||
             has_file(repo, server, system, &id, "backup.json")))
            add_entry(repo, server, system, &id, catalogue);
    return true;
}

/* "20261122T013000Z" before "20261122T013000Z-2" before "20261122T013000Z-10". */
static int compare_entries(const void *one, const void *other)
{
    const struct catalogue_entry *left = one, *right = other;
    int order = strncmp(left->id.text, right->id.text, 16);

    if (order == 0)
        order = (int)strlen(left->id.text) - (int)strlen(right->id.text);
    if (order == 0)
        order = strcmp(left->id.text, right->id.text);
    return order != 0 ? order : strcmp(left->system.text, right->system.text);
}

static bool is_complete(const struct catalogue_entry *entry)
{
    return entry->meta != NULL && entry->meta->state == BACKUP_COMPLETE;
}

bool catalogue_is_usable(const struct catalogue_entry *entry)
{
    return is_complete(entry) && !entry->is_suspect;
}

static void find_current_system(const struct repo *repo, const char *server, struct catalogue *catalogue)
{
    struct error ignored;

    if (repo_read_server(repo, server, &catalogue->current, &ignored))
        return;
    for (size_t i = 0; i < catalogue->count; i++)
        if (is_complete(&catalogue->entries[i]))
            catalogue->current = catalogue->entries[i].system;
}

bool catalogue_read(const struct repo *repo, const char *server, struct catalogue *ret_catalogue, struct error *err)
{
    struct catalogue catalogue SCOPED(scoped_catalogue) = {.entries = NULL};
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    char *folder SCOPED(scoped_free) = repo_server_path(repo, server, "");
    struct system_id system;
    struct error ignored;

    if (!name_list_read(folder, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++)
        if (system_id_parse(names.names[i], &system, &ignored) && !add_system(repo, server, &system, &catalogue, err))
            return false;
    if (catalogue.count > 0)
        qsort(catalogue.entries, catalogue.count, sizeof *catalogue.entries, compare_entries);
    find_current_system(repo, server, &catalogue);
    *ret_catalogue = catalogue;
    catalogue = (struct catalogue){.entries = NULL};
    return true;
}

void catalogue_done(struct catalogue *catalogue)
{
    for (size_t i = 0; i < catalogue->count; i++)
        backup_meta_free(catalogue->entries[i].meta);
    free(catalogue->entries);
    *catalogue = (struct catalogue){.entries = NULL};
}

bool catalogue_is_current(const struct catalogue *catalogue, const struct system_id *system)
{
    return strcmp(system->text, catalogue->current.text) == 0;
}

static bool is_candidate(const struct catalogue *catalogue, const struct catalogue_entry *entry)
{
    return catalogue_is_usable(entry) && catalogue_is_current(catalogue, &entry->system);
}

static const struct catalogue_entry *search(const struct catalogue *catalogue, const char *name)
{
    const struct catalogue_entry *found = NULL;
    bool is_oldest = strcmp(name, "oldest") == 0, is_latest = strcmp(name, "latest") == 0;

    for (size_t i = 0; i < catalogue->count; i++)
        if (strcmp(catalogue->entries[i].id.text, name) == 0)
            return &catalogue->entries[i];
    for (size_t i = 0; i < catalogue->count; i++) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (is_oldest && found == NULL && is_candidate(catalogue, entry))
            found = entry;
        if (is_latest && is_candidate(catalogue, entry))
            found = entry;
    }
    if (is_oldest || is_latest || name[0] == '\0')
        return found;
    for (size_t i = 0; i < catalogue->count; i++)
        if (catalogue->entries[i].meta != NULL && strcmp(catalogue->entries[i].meta->label, name) == 0)
            found = &catalogue->entries[i];
    return found;
}

/* The newest of the current system (of any, while none is known) whose metadata cannot be read. */
static const struct catalogue_entry *find_unreadable(const struct catalogue *catalogue)
{
    const struct catalogue_entry *found = NULL;

    for (size_t i = 0; i < catalogue->count; i++) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        if (entry->meta == NULL &&
            (catalogue->current.text[0] == '\0' || catalogue_is_current(catalogue, &entry->system)))
            found = entry;
    }
    return found;
}

static bool is_wanted_by_age(const char *name)
{
    return strcmp(name, "latest") == 0 || strcmp(name, "oldest") == 0;
}

/* Is there one that was complete once? */
static bool has_suspect(const struct catalogue *catalogue)
{
    for (size_t i = 0; i < catalogue->count; i++)
        if (is_complete(&catalogue->entries[i]) && catalogue->entries[i].is_suspect &&
            catalogue_is_current(catalogue, &catalogue->entries[i].system))
            return true;
    return false;
}

/* What there is instead: the newest few, with what keeps them from being "latest". */
static bool fail_not_found(const struct catalogue *catalogue, const char *name, struct error *err)
{
    char list[512] = "";
    size_t first = catalogue->count > NAMES_IN_HINT ? catalogue->count - NAMES_IN_HINT : 0;

    if (is_wanted_by_age(name) && has_suspect(catalogue))
        error_set(err, ERROR_INTEGRITY, "there is no complete backup that was not found damaged by its verification");
    else if (is_wanted_by_age(name))
        error_set(err, ERROR_USAGE, "there is no complete backup%s%s",
                  catalogue->current.text[0] != '\0' ? " of the system identifier " : "", catalogue->current.text);
    else
        error_set(err, ERROR_USAGE, "there is no backup \"%.128s\"", name);
    if (catalogue->count == 0)
        return error_hint(err, "No backup was taken yet: pgcoffer backup SERVER");
    for (size_t i = first; i < catalogue->count; i++) {
        const struct catalogue_entry *entry = &catalogue->entries[i];
        size_t used = strlen(list);
        const char *state = entry->meta == NULL ? "unreadable"
                            : entry->is_suspect ? "found damaged"
                                                : backup_state_word(entry->meta->state);
        bool is_former = !catalogue_is_current(catalogue, &entry->system);
        snprintf(list + used, sizeof list - used, "%s%s (%s%s)", used > 0 ? ", " : "", entry->id.text, state,
                 is_former ? ", of a former system identifier" : "");
    }
    return error_hint(err, "There %s: %s%s", catalogue->count == 1 ? "is" : "are", first > 0 ? "... " : "", list);
}

bool catalogue_find(const struct catalogue *catalogue, const char *name, const struct catalogue_entry **ret_entry,
                    struct error *err)
{
    const struct catalogue_entry *entry = search(catalogue, name);

    if (entry == NULL && is_wanted_by_age(name))
        entry = find_unreadable(catalogue); /* perhaps it was meant: damage, not a wrong word */
    if (entry == NULL)
        return fail_not_found(catalogue, name, err);
    if (entry->meta == NULL) {
        *err = entry->error;
        return error_wrap(err, "could not read backup %s", entry->id.text);
    }
    *ret_entry = entry;
    return true;
}

bool catalogue_find_any(const struct catalogue *catalogue, const char *name, const struct catalogue_entry **ret_entry,
                        struct error *err)
{
    for (size_t i = 0; i < catalogue->count; i++)
        if (strcmp(catalogue->entries[i].id.text, name) == 0) {
            *ret_entry = &catalogue->entries[i];
            return true;
        }
    return catalogue_find(catalogue, name, ret_entry, err);
}
