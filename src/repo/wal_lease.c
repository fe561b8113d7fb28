#include "pgcoffer/repo/wal_lease.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/repo_internal.h"

#define PLACE_LENGTH     34
#define TAG_LENGTH       8
#define DAY_MICROSECONDS (INT64_C(86400) * 1000000)

static const struct {
    const char *word;
    unsigned days;
} kinds[] = {
#define WAL_LEASE_ROW(id, word, days) {word, days},
    WAL_LEASE(WAL_LEASE_ROW)
#undef WAL_LEASE_ROW
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

static void scoped_name_list(struct name_list *names)
{
    name_list_done(names);
}

unsigned wal_lease_days(enum wal_lease_kind kind)
{
    return kinds[kind].days;
}

bool wal_lease_find_kind(const char *word, enum wal_lease_kind *ret_kind)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (strcmp(kinds[i].word, word) == 0) {
            *ret_kind = (enum wal_lease_kind)i;
            return true;
        }
    return false;
}

/* What stands behind the place: nothing, or ".drill-0123ABCD". */
static bool parse_kind(const char *text, enum wal_lease_kind *ret_kind)
{
    uint64_t tag = 0;

    *ret_kind = WAL_LEASE_RESTORE;
    if (text[0] == '\0')
        return true;
    for (size_t i = WAL_LEASE_RESTORE + 1; i < KIND_COUNT; i++) {
        size_t length = strlen(kinds[i].word);
        if (text[0] != '.' || strncmp(text + 1, kinds[i].word, length) != 0 || text[1 + length] != '-')
            continue;
        *ret_kind = (enum wal_lease_kind)i;
        text += length + 2;
        return strlen(text) == TAG_LENGTH && strspn(text, "0123456789ABCDEF") == TAG_LENGTH &&
               text_parse_hex(text, TAG_LENGTH, &tag);
    }
    return false;
}

bool wal_lease_parse_name(const char *name, enum wal_lease_kind *ret_kind, struct retention_lease *ret_lease)
{
    uint64_t from = 0, start = 0, to = 0;

    if (strlen(name) < PLACE_LENGTH || strspn(name, "0123456789ABCDEF-") != PLACE_LENGTH || name[8] != '-' ||
        name[25] != '-' || !text_parse_hex(name, 8, &from) || !text_parse_hex(name + 9, 16, &start) ||
        !text_parse_hex(name + 26, 8, &to) || from == 0 || to < from || !parse_kind(name + PLACE_LENGTH, ret_kind))
        return false;
    *ret_lease =
        (struct retention_lease){.timeline = {(uint32_t)to}, .start_timeline = {(uint32_t)from}, .start = {start}};
    return true;
}

bool wal_lease_write(const struct repo *repo, const char *server, const struct system_id *system,
                     enum wal_lease_kind kind, const struct retention_lease *lease, char ret_name[WAL_LEASE_NAME_SIZE],
                     struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_system_path(repo, server, system, "lease");

    snprintf(ret_name, WAL_LEASE_NAME_SIZE, "%08" PRIX32 "-%016" PRIX64 "-%08" PRIX32, lease->start_timeline.value,
             lease->start.value, lease->timeline.value);
    if (kind != WAL_LEASE_RESTORE)
        snprintf(ret_name + PLACE_LENGTH, WAL_LEASE_NAME_SIZE - PLACE_LENGTH, ".%s-%08" PRIX32, kinds[kind].word,
                 (uint32_t)clock_now().microseconds);
    char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, ret_name);
    return repo_make_folder(repo, folder, NULL, err) && repo_put_file(repo, path, "", 0, err);
}

static bool remove_lease(const char *path, struct error *err)
{
    return unlink(path) == 0 || errno == ENOENT || error_set_errno(err, "could not remove \"%s\"", path);
}

bool wal_lease_release(const struct repo *repo, const char *server, const struct system_id *system,
                       enum wal_lease_kind kind, const char *name, struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_system_path(repo, server, system, "lease");
    char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, name);
    enum wal_lease_kind its_kind;
    struct retention_lease ignored;

    if (!wal_lease_parse_name(name, &its_kind, &ignored) || its_kind != kind)
        return error_set(err, ERROR_USAGE, "\"%.60s\" is no lease of a %s", name, kinds[kind].word);
    return remove_lease(path, err);
}

bool wal_leases_release(const struct repo *repo, const char *server, const struct system_id *system,
                        enum wal_lease_kind kind, struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_system_path(repo, server, system, "lease");
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    enum wal_lease_kind its_kind;
    struct retention_lease ignored;

    if (!name_list_read(folder, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++)
        if (wal_lease_parse_name(names.names[i], &its_kind, &ignored) && its_kind == kind &&
            !wal_lease_release(repo, server, system, kind, names.names[i], err))
            return false;
    return true;
}

/* True in *ret_counts also for what is not known: that a file is there is what matters. */
static bool look(const char *path, enum wal_lease_kind kind, struct timestamp now, bool *ret_counts, struct error *err)
{
    struct stat status;

    *ret_counts = false;
    if (lstat(path, &status) < 0)
        return errno == ENOENT || error_set_errno(err, "could not open \"%s\"", path);
    *ret_counts = now.microseconds - (int64_t)status.st_mtim.tv_sec * 1000000 < kinds[kind].days * DAY_MICROSECONDS;
    return true;
}

bool wal_leases_read(const struct repo *repo, const char *server, const struct system_id *system, struct timestamp now,
                     struct retention_lease **ret_leases, size_t *ret_count, struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_system_path(repo, server, system, "lease");
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    struct retention_lease *leases SCOPED(scoped_free) = NULL, lease;
    size_t count = 0;

    if (!name_list_read(folder, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, names.names[i]);
        enum wal_lease_kind kind;
        bool counts = false;
        if (!wal_lease_parse_name(names.names[i], &kind, &lease))
            continue;
        if (!look(path, kind, now, &counts, err))
            return false;
        if (!counts)
            continue;
        leases = repo_grow(leases, count, sizeof *leases);
        leases[count++] = lease;
    }
    *ret_leases = TAKE(leases);
    *ret_count = count;
    return true;
}

bool wal_leases_clean(const struct repo *repo, const char *server, const struct system_id *system, struct timestamp now,
                      struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_system_path(repo, server, system, "lease");
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    struct retention_lease lease;

    if (!name_list_read(folder, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        char *path SCOPED(scoped_free) = memory_text("%s/%s", folder, names.names[i]);
        enum wal_lease_kind kind = WAL_LEASE_RESTORE;
        bool counts = true;
        bool is_left = text_ends_with(names.names[i], ".tmp");
        if (!is_left && !wal_lease_parse_name(names.names[i], &kind, &lease))
            continue;
        if (!look(path, kind, now, &counts, err))
            return false;
        if (!counts && !remove_lease(path, err))
            return false;
    }
    return true;
}
