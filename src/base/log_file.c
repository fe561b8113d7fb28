#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log_internal.h"
#include "pgcoffer/base/file.h"

#define LOG_FILE_MODE 0640

static struct {
    int fd; /* with `path` only */
    char path[4096];
} destination = {.fd = -1};

/* ---- the journal ---- */

/* systemd.exec(5): the variable stays in the environment of whoever is started with another stderr. */
bool log_file_stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;
    char end;

    if (stream == NULL || sscanf(stream, "%llu:%llu%c", &device, &inode, &end) != 2)
        return false;
    return fstat(STDERR_FILENO, &status) == 0 && (unsigned long long)status.st_dev == device &&
           (unsigned long long)status.st_ino == inode;
}

/* ---- the file ---- */

/* A pipe would hang whoever opens it, and then whoever writes a line. */
static bool check_kind(int fd, const char *path, struct error *err)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return error_set_errno(err, "could not look at the log file \"%s\" (log_file)", path);
    if (S_ISREG(status.st_mode) || S_ISCHR(status.st_mode))
        return true;
    error_set(err, ERROR_STORAGE, "the log file \"%s\" (log_file) is not an ordinary file", path);
    return error_hint(err, "Name a file; a program that reads the log follows it with \"tail -F\".");
}

bool log_open_file(const char *path, struct error *err)
{
    int fd SCOPED(scoped_close) = -1;

    if (strlen(path) >= sizeof destination.path)
        return error_set(err, ERROR_CONFIG, "the path of the log file (log_file) is too long");
    if (path[0] != '\0') {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, LOG_FILE_MODE);
        if (fd < 0) {
            error_set_errno(err, "could not open the log file \"%s\" (log_file)", path);
            return error_hint(err, "Its directory must exist, and the user who runs pgcofferd must be able to write "
                                   "there.");
        }
        if (!check_kind(fd, path, err))
            return false;
    }
    if (destination.fd >= 0)
        close(destination.fd);
    destination.fd = file_take_descriptor(&fd);
    if (path != destination.path)
        snprintf(destination.path, sizeof destination.path, "%s", path);
    return true;
}

const char *log_file_path(void)
{
    return destination.path;
}

/* ---- writing ---- */

/* Half a line would be taken for a whole one, or spoil the next; but what another process wrote behind it stays. */
static void take_back(size_t written)
{
    struct stat status;
    int errnum = errno;
    off_t end = lseek(destination.fd, 0, SEEK_CUR); /* of what we wrote, as O_APPEND has it */

    if (written > 0 && end >= (off_t)written && fstat(destination.fd, &status) == 0 && status.st_size == end)
        (void)!ftruncate(destination.fd, end - (off_t)written); /* a device has no size: it stays */
    errno = errnum;
}

bool log_file_write(const char *line, size_t size)
{
    size_t written = 0;

    while (written < size) {
        ssize_t now = write(destination.fd, line + written, size - written);
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0) {
            take_back(written);
            return false;
        }
        written += (size_t)now;
    }
    return true;
}
