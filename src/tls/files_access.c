#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>

#include "pgcoffer/base/memory.h"
#include "tls/files_internal.h"

/* "repl (uid 1001)": who must be able to read. */
static void describe_user(char *ret_text, size_t size)
{
    const struct passwd *entry = getpwuid(geteuid());

    snprintf(ret_text, size, "%s (uid %u)", entry == NULL ? "this user" : entry->pw_name, (unsigned)geteuid());
}

static const char *user_name(void)
{
    const struct passwd *entry = getpwuid(geteuid());

    return entry == NULL ? "the daemon's user" : entry->pw_name;
}

static bool refuse_missing(const struct configured_file *file, const char *missing, struct error *err)
{
    if (strcmp(missing, file->path) == 0)
        error_set(err, ERROR_TLS, "could not open %s \"%s\": No such file or directory", file->setting, file->path);
    else
        error_set(err, ERROR_TLS, "could not open %s \"%s\": there is no directory \"%s\"", file->setting, file->path,
                  missing);
    err->errnum = ENOENT;
    return error_hint(err, "Put the file there, or correct \"%s = %s\" in section [%s].", file->setting, file->path,
                      file->server);
}

static bool refuse_unreadable(const struct configured_file *file, const char *locked, bool is_directory,
                              struct error *err)
{
    char user[128];

    describe_user(user, sizeof user);
    if (is_directory) {
        error_set(err, ERROR_TLS, "could not open %s \"%s\": directory \"%s\" may not be searched by %s", file->setting,
                  file->path, locked, user);
        error_hint(err, "Let %s pass: setfacl -m u:%s:x \"%s\".", user_name(), user_name(), locked);
    } else {
        error_set(err, ERROR_TLS, "could not open %s \"%s\": Permission denied for %s", file->setting, file->path,
                  user);
        error_hint(err, "Give the file to the user that reads it: chown %s \"%s\".", user_name(), file->path);
    }
    err->errnum = EACCES;
    return false;
}

/* libpq 15 prints uninitialised memory for EACCES, so every step of the path is tried here first. */
static bool check_directories(const struct configured_file *file, struct error *err)
{
    char *path SCOPED(scoped_free) = memory_copy_text(file->path);

    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0) {
            if (errno == EACCES)
                return refuse_unreadable(file, path, true, err);
            if (errno == ENOENT)
                return refuse_missing(file, path, err);
            return error_set_kind_errno(err, ERROR_TLS, "could not open %s \"%s\": \"%s\"", file->setting, file->path,
                                        path);
        }
        *slash = '/';
    }
    return true;
}

bool files_check_access(const struct configured_file *file, struct error *err)
{
    struct stat status;

    if (!check_directories(file, err))
        return false;
    if (stat(file->path, &status) < 0) {
        if (errno == ENOENT)
            return refuse_missing(file, file->path, err);
        return error_set_kind_errno(err, ERROR_TLS, "could not open %s \"%s\"", file->setting, file->path);
    }
    if (!S_ISREG(status.st_mode)) {
        error_set(err, ERROR_TLS, "%s \"%s\" is not a regular file", file->setting, file->path);
        return error_hint(err, "Correct \"%s = ...\" in section [%s].", file->setting, file->server);
    }
    if (faccessat(AT_FDCWD, file->path, R_OK, AT_EACCESS) < 0)
        return refuse_unreadable(file, file->path, false, err);
    return true;
}

bool files_check_key_mode(const struct configured_file *file, struct error *err)
{
    struct stat status;

    if (stat(file->path, &status) < 0)
        return error_set_kind_errno(err, ERROR_TLS, "could not open %s \"%s\"", file->setting, file->path);

    mode_t forbidden = status.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if ((status.st_mode & forbidden) == 0)
        return true;
    error_set(err, ERROR_TLS, "private key file \"%s\" has mode %04o and is owned by uid %u: others may read it",
              file->path, (unsigned)status.st_mode & 07777, (unsigned)status.st_uid);
    error_detail(err, "A private key must have mode 0600 or less, or 0640 or less if it is owned by root.");
    return error_hint(err, "Type: chmod %s \"%s\".", status.st_uid == 0 ? "0640" : "0600", file->path);
}
