#include <string.h>

#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/memory.h"

void verify_scope_done(struct verify_scope *scope)
{
    catalogue_done(&scope->catalogue);
}

static void add_system(struct verify_scope *scope, const struct system_id *system)
{
    if (system->text[0] == '\0' || scope->system_count == VERIFY_MOST_SYSTEMS)
        return;
    for (size_t i = 0; i < scope->system_count; i++)
        if (strcmp(scope->systems[i].text, system->text) == 0)
            return;
    scope->systems[scope->system_count++] = *system;
}

bool verify_scope_open(const struct verify *verify, const struct request *request, const char *server,
                       struct verify_scope *ret_scope, struct error *err)
{
    struct verify_scope *scope = ret_scope;

    *scope = (struct verify_scope){.server = server, .is_wal_only = request_has(request, OPTION_ID_wal_only)};
    if (!catalogue_read(verify->repo, server, &scope->catalogue, err))
        return false;
    if (request->backup[0] != '\0') {
        if (!catalogue_find(&scope->catalogue, request->backup, &scope->only, err))
            return false;
        add_system(scope, &scope->only->system);
        return true;
    }
    add_system(scope, &scope->catalogue.current);
    for (size_t i = 0; i < scope->catalogue.count; i++)
        add_system(scope, &scope->catalogue.entries[i].system);
    return true;
}

bool verify_scope_has(const struct verify_scope *scope, const struct catalogue_entry *entry)
{
    return (scope->only == NULL || scope->only == entry) && (!scope->is_wal_only || entry->meta == NULL);
}

static uint64_t count_system(const struct verify *verify, const struct system_id *system)
{
    struct wal_verified *verified SCOPED(scoped_free) = memory_new(sizeof *verified);
    struct wal_archive archive;
    struct wal_files files = {0};
    uint64_t bytes = 0;
    struct error ignored;

    if (!wal_archive_open(verify->repo, verify->server, system, (struct wal_segment_size){0}, &archive, &ignored) ||
        archive.segment_size.bytes == 0 || !wal_archive_list(&archive, &files, &ignored))
        return 0;
    (void)!wal_verified_read(&archive, verified, &ignored); /* empty then */
    for (size_t i = 0; i < files.count; i++)
        if (!verify_is_recent_segment(verify, verified, &files.files[i]))
            bytes += files.files[i].held_bytes;
    wal_files_done(&files);
    return bytes;
}

uint64_t verify_scope_bytes(const struct verify *verify, const struct verify_scope *scope)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < scope->catalogue.count; i++) {
        const struct catalogue_entry *entry = &scope->catalogue.entries[i];
        if (verify_scope_has(scope, entry) && entry->meta != NULL && !verify_is_recent(verify, entry))
            bytes += entry->meta->size_bytes;
    }
    for (size_t i = 0; i < scope->system_count; i++)
        bytes += count_system(verify, &scope->systems[i]);
    return bytes;
}
