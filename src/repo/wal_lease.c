#include "pgcoffer/repo/wal_lease.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/repo_internal.h"

#define NAME_LENGTH        34
#define LEASE_MICROSECONDS (INT64_C(86400) * 1000000 * WAL_LEASE_DAYS)

static void scoped_name_list(struct name_list *names)
{
    name_list_done(names);
}

bool wal_lease_parse_name(const char *name, struct retention_lease *ret_lease)
{
    uint64_t from = 0, start = 0, to = 0;

    if (strlen(name) != NAME_LENGTH || strspn(name, "0123456789ABCDEF-") != NAME_LENGTH || name[8] != '-' ||
        name[25] != '-' || !text_parse_hex(name, 8, &from) || !text_parse_hex(name + 9, 16, &start) ||
        !text_parse_hex(name + 26, 8, &to) || from == 0 || to < from)
        return false;
    *ret_lease =
        (struct retention_lease){.timeline = {(uint32_t)to}, .start_timeline = {(uint32_t)from}, .start = {start}};
    return true;
}

bool wal_lease_write(const struct repo *repo, const char *server, const struct system_id *system,
                     const struct retention_lease *lease, struct error *err)
{
    char *folder SCOPED(scoped_free) = repo_system_path(repo, server, system, "lease");
    char *path SCOPED(scoped_free) =
        memory_text("%s/%08" PRIX32 "-%016" PRIX64 "-%08" PRIX32, folder, lease->start_timeline.value,
                    lease->start.value, lease->timeline.value);

    return repo_make_folder(repo, folder, NULL, err) && repo_put_file(repo, path, "", 0, err);
}

/* True in *ret_counts also for what is not known: that a file is there is what matters. */
static bool look(const char *path, struct timestamp now, bool *ret_counts, struct error *err)
{
    struct stat status;

    *ret_counts = false;
    if (lstat(path, &status) < 0)
        return errno == ENOENT || error_set_errno(err, "could not open \"%s\"", path);
    *ret_counts = now.microseconds - (int64_t)status.st_mtim.tv_sec * 1000000 < LEASE_MICROSECONDS;
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
        bool counts = false;
        if (!wal_lease_parse_name(names.names[i], &lease))
            continue;
        if (!look(path, now, &counts, err))
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
        bool counts = true;
        bool is_left = text_ends_with(names.names[i], ".tmp");
        if (!is_left && !wal_lease_parse_name(names.names[i], &lease))
            continue;
        if (!look(path, now, &counts, err))
            return false;
        if (!counts && unlink(path) < 0 && errno != ENOENT)
            return error_set_errno(err, "could not remove \"%s\"", path);
    }
    return true;
}
