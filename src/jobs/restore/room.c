#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* What a file takes beyond its bytes, roughly: the rest of its last block, and its inode. */
#define FILE_OVERHEAD 4096

struct file_system {
    dev_t device;
    const char *path; /* a folder on it */
    uint64_t needed;
};

static uint64_t bytes_of_place(const struct restore *restore, const struct restore_place *place)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < restore->index.member_count; i++) {
        const struct index_member *member = &restore->index.members[i];
        if (strcmp(member->archive, place->archive) != 0)
            continue;
        if (__builtin_add_overflow(bytes, member->size + FILE_OVERHEAD, &bytes))
            return UINT64_MAX;
    }
    if (place->oid == 0)
        bytes += (uint64_t)restore->plan.wal_file_count * restore->plan.segment_size;
    return bytes;
}

static bool check_file_system(const struct file_system *file_system, struct error *err)
{
    struct statvfs room;
    char needed[TEXT_BYTES_SIZE];
    char free_bytes[TEXT_BYTES_SIZE];

    if (statvfs(file_system->path, &room) < 0)
        return error_set_errno(err, "could not ask for the room at \"%s\"", file_system->path);
    uint64_t available = (uint64_t)room.f_bavail * room.f_frsize;
    if (available >= file_system->needed)
        return true;
    text_format_bytes(file_system->needed, needed);
    text_format_bytes(available, free_bytes);
    error_set(err, ERROR_STORAGE, "there is too little room at \"%s\": %s are needed, %s are free", file_system->path,
              needed, free_bytes);
    return error_hint(err, "Make room there, or restore into a folder of another file system.");
}

bool restore_check_room(struct restore *restore, struct error *err)
{
    struct file_system *systems SCOPED(scoped_free) = memory_new(restore->place_count * sizeof *systems);
    size_t count = 0;

    for (size_t i = 0; i < restore->place_count; i++) {
        const struct restore_place *place = &restore->places[i];
        const char *path = place->exists ? place->path : place->real_parent;
        struct stat status;
        if (stat(path, &status) < 0)
            return error_set_errno(err, "could not look at \"%s\"", path);
        size_t at = 0;
        while (at < count && systems[at].device != status.st_dev)
            at++;
        if (at == count)
            systems[count++] = (struct file_system){.device = status.st_dev, .path = path};
        if (__builtin_add_overflow(systems[at].needed, bytes_of_place(restore, place), &systems[at].needed))
            systems[at].needed = UINT64_MAX;
    }
    for (size_t i = 0; i < count; i++)
        if (!check_file_system(&systems[i], err))
            return false;
    return true;
}
