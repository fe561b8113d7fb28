#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/*
 * A disk that takes its time, for LD_PRELOAD: while the file named by SLOW_DISK_WHILE is there, fdatasync(2) takes at
 * least SLOW_DISK_MILLISECONDS.
 */
static void rest(void)
{
    const char *path = getenv("SLOW_DISK_WHILE");
    const char *milliseconds = getenv("SLOW_DISK_MILLISECONDS");

    if (path == NULL || milliseconds == NULL || access(path, F_OK) != 0)
        return;
    long number = strtol(milliseconds, NULL, 10);
    struct timespec time = {.tv_sec = number / 1000, .tv_nsec = number % 1000 * 1000000};
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        continue;
}

int fdatasync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

    rest();
    return next(fd);
}
