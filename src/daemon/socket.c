#include "daemon/socket_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"

#define BACKLOG 128

static bool make_folder(const char *folder, struct error *err)
{
    struct stat status;

    if (stat(folder, &status) == 0 && S_ISDIR(status.st_mode))
        return true;
    if (mkdir(folder, 0755) == 0) {
        if (chmod(folder, 0755) < 0) /* whatever the umask: every user must reach the socket */
            return error_set_errno(err, "could not open directory \"%s\" to everybody", folder);
        return true;
    }
    error_set_errno(err, "could not create directory \"%s\" for the control socket", folder);
    return error_hint(err,
                      "Create it with \"install -d -m 0755 -o USER %s\", USER being who runs pgcofferd, or set "
                      "unix_socket_dir.",
                      folder);
}

/* A socket left by a daemon that was killed refuses connections; one that accepts has an owner. */
static bool remove_stale(const struct sockaddr_un *address, struct error *err)
{
    struct stat status;

    if (lstat(address->sun_path, &status) < 0) {
        if (errno == ENOENT)
            return true;
        return error_set_errno(err, "could not look at \"%s\"", address->sun_path);
    }
    if (!S_ISSOCK(status.st_mode)) {
        error_set(err, ERROR_STORAGE, "\"%s\" is in the way: it is not a socket", address->sun_path);
        return error_hint(err, "Move it away, or set unix_socket_dir to another directory.");
    }
    int fd SCOPED(scoped_close) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN) {
        error_set(err, ERROR_BUSY, "another daemon listens on \"%s\"", address->sun_path);
        return error_hint(err, "Two daemons need two repositories and two directories: set base_dir and "
                               "unix_socket_dir.");
    }
    if (unlink(address->sun_path) < 0 && errno != ENOENT)
        return error_set_errno(err, "could not remove the old socket \"%s\"", address->sun_path);
    return true;
}

static bool bind_and_listen(int fd, const struct sockaddr_un *address, struct control_socket *control_socket,
                            struct error *err)
{
    struct stat status;

    mode_t before = umask(0111);
    int bound = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int errnum = errno;
    umask(before);
    errno = errnum;
    if (bound < 0)
        return error_set_errno(err, "could not bind the control socket \"%s\"", address->sun_path);
    if (listen(fd, BACKLOG) < 0 || lstat(address->sun_path, &status) < 0)
        return error_set_errno(err, "could not listen on the control socket \"%s\"", address->sun_path);
    control_socket->device = status.st_dev;
    control_socket->inode = status.st_ino;
    return true;
}

bool control_socket_open(const char *folder, struct control_socket *ret_socket, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct control_socket result = {.fd = -1};

    int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/pgcoffer.sock", folder);
    if (size < 0 || (size_t)size >= sizeof address.sun_path) {
        error_set(err, ERROR_CONFIG, "the path \"%s/pgcoffer.sock\" is longer than %zu bytes", folder,
                  sizeof address.sun_path - 1);
        return error_hint(err, "Set unix_socket_dir to a shorter path.");
    }
    snprintf(result.path, sizeof result.path, "%s", address.sun_path);
    if (!make_folder(folder, err) || !remove_stale(&address, err))
        return false;
    int fd SCOPED(scoped_close) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make the control socket");
    if (!bind_and_listen(fd, &address, &result, err))
        return false;
    result.fd = fd;
    fd = -1;
    *ret_socket = result;
    return true;
}

void control_socket_close(struct control_socket *control_socket)
{
    struct stat status;

    if (control_socket->fd < 0)
        return;
    close(control_socket->fd);
    control_socket->fd = -1;
    if (lstat(control_socket->path, &status) == 0 && status.st_dev == control_socket->device &&
        status.st_ino == control_socket->inode)
        unlink(control_socket->path);
}
