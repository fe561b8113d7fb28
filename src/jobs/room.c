#include "jobs/room_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* Less than this part of a segment is not worth a try at compressing it. */
#define LEAST_BUDGET_PART 64

char *room_folder(const struct repo *repo, const char *server)
{
    char *folder SCOPED(scoped_free) = repo_server_path(repo, server, "");

    return access(folder, X_OK) == 0 ? TAKE(folder) : memory_copy_text(repo->base_dir);
}

bool room_read(const char *path, struct room *ret_room, struct error *err)
{
    struct statvfs state;

    if (statvfs(path, &state) < 0)
        return error_set_errno(err, "could not ask for the room at \"%s\"", path);
    ret_room->free_bytes = (uint64_t)state.f_bavail * state.f_frsize;
    ret_room->free_files = state.f_files == 0 ? UINT64_MAX : state.f_favail; /* btrfs has no such count */
    return true;
}

bool room_is_short(const struct error *err)
{
    return err->kind == ERROR_STORAGE && (err->errnum == ENOSPC || err->errnum == EDQUOT);
}

/* ---- the disk's name ---- */

/* The kernel writes blanks and the like as \040. In place. */
static void undo_octal(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; to++) {
        if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static bool lies_below(const char *path, const char *folder)
{
    size_t size = strlen(folder);

    if (strcmp(folder, "/") == 0)
        return path[0] == '/';
    return strncmp(path, folder, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

/* "36 35 98:0 / /srv rw,noatime shared:1 - ext4 /dev/sdb1 rw": the fifth word, and those behind the lone hyphen. */
static bool read_mount(char *line, const char *path, size_t least, struct room_disk *disk)
{
    char place[ROOM_PLACE_SIZE], type[64], source[ROOM_PLACE_SIZE];
    const char *behind = strstr(line, " - ");

    if (behind == NULL || sscanf(line, "%*s %*s %*s %*s %255s", place) != 1 ||
        sscanf(behind, " - %63s %255s", type, source) != 2)
        return false;
    undo_octal(place);
    undo_octal(source);
    if (!lies_below(path, place) || strlen(place) < least)
        return false;
    text_make_printable(place);
    text_make_printable(source);
    snprintf(disk->place, sizeof disk->place, "%s", place);
    if (strcmp(source, type) == 0 || strcmp(source, "none") == 0)
        snprintf(disk->name, sizeof disk->name, "\"%s\" (%s)", place, type);
    else
        snprintf(disk->name, sizeof disk->name, "\"%.200s\" (%.200s, %s)", place, source, type);
    return true;
}

static void scoped_file(FILE **file)
{
    if (*file != NULL)
        fclose(*file);
}

/* Of two mounts at the same place the later one is what is seen. */
void room_find_disk(const char *path, struct room_disk *ret_disk)
{
    char *real SCOPED(scoped_free) = realpath(path, NULL);
    FILE *mounts SCOPED(scoped_file) = fopen("/proc/self/mountinfo", "re");
    char *line SCOPED(scoped_free) = NULL;
    size_t size = 0, longest = 0;

    snprintf(ret_disk->place, sizeof ret_disk->place, "%s", path);
    snprintf(ret_disk->name, sizeof ret_disk->name, "of \"%.400s\"", path);
    while (mounts != NULL && real != NULL && getline(&line, &size, mounts) > 0)
        if (read_mount(line, real, longest, ret_disk))
            longest = strlen(ret_disk->place);
}

/* ---- decisions ---- */

uint64_t room_for_compression(struct wal_segment_size size)
{
    return size.bytes + size.bytes / 64;
}

uint64_t room_for_segment(struct wal_segment_size size)
{
    return size.bytes + room_for_compression(size) + ROOM_MARGIN_BYTES;
}

bool room_has_segment(const struct room *room, struct wal_segment_size size, uint64_t unfinished)
{
    uint64_t most = room_for_compression(size);

    if (unfinished > most)
        unfinished = most;
    return room->free_bytes >= room_for_segment(size) - unfinished && room->free_files >= ROOM_MARGIN_FILES;
}

uint64_t room_budget(const struct room *room, struct wal_segment_size size)
{
    if (room->free_bytes <= ROOM_MARGIN_BYTES || room->free_files < ROOM_MARGIN_FILES / 2)
        return 0;
    uint64_t budget = room->free_bytes - ROOM_MARGIN_BYTES;
    return budget < size.bytes / LEAST_BUDGET_PART ? 0 : budget;
}

bool room_spares(const struct room *room, uint64_t reserve, uint64_t bytes)
{
    return reserve == 0 || (room->free_bytes >= reserve && room->free_bytes - reserve >= bytes);
}
