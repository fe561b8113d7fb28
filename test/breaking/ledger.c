#include "ledger.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "board.h"

#define LINE_SIZE      (2 * LEDGER_PATH_SIZE + 128)
#define OUT_OF_THE_WAY 900 /* above every descriptor of the programs */
#define FOLDER_SIZE    (-1)
#define UNKNOWN_SIZE   (-2)

static int ledger = -1;

void ledger_open(const char *path)
{
    long fd = path == NULL
                  ? -1
                  : board_system_call(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_APPEND | O_CLOEXEC, 0, 0, 0);

    if (fd < 0)
        return;
    ledger = (int)board_system_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY, 0, 0, 0);
    board_system_call(SYS_close, fd, 0, 0, 0, 0, 0);
}

int ledger_is_kept(void)
{
    return ledger >= 0;
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;

    va_start(args, format);
    int size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (size > 0 && (size_t)size < sizeof line)
        board_system_call(SYS_write, ledger, (long)line, size, 0, 0, 0);
}

void ledger_created(const char *path)
{
    struct stat status;

    if (ledger >= 0 && board_is_watched(path) && lstat(path, &status) == 0)
        note("created %llu %s\n", (unsigned long long)status.st_ino, path);
}

void ledger_folder(const char *path)
{
    if (ledger >= 0 && board_is_watched(path))
        note("folder %s\n", path);
}

long long ledger_size_of(int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return UNKNOWN_SIZE;
    return S_ISDIR(status.st_mode) ? FOLDER_SIZE : (long long)status.st_size;
}

void ledger_synced(int fd, const char *path, long long size)
{
    struct stat status;

    if (ledger < 0 || !board_is_watched(path) || size == UNKNOWN_SIZE || fstat(fd, &status) < 0)
        return;
    if (size == FOLDER_SIZE)
        note("synced-folder %s\n", path);
    else
        note("synced %llu %lld %s\n", (unsigned long long)status.st_ino, size, path);
}

void ledger_renamed(const char *from, const char *to, int has_overwritten)
{
    if (ledger >= 0 && board_is_watched(to))
        note("renamed %d %s %s\n", has_overwritten, from, to);
}

void ledger_removed(const char *path)
{
    if (ledger >= 0 && board_is_watched(path))
        note("removed %s\n", path);
}
