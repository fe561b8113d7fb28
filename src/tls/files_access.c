#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/tls/files.h"
#include "tls/files_internal.h"

/* Who must be able to read, for commands. */
static const char *user_name(void)
{
    const struct passwd *entry = getpwuid(geteuid());

    return entry == NULL ? "USER" : entry->pw_name;
}

/* "repl (uid 1001)" */
static void describe_user(char *ret_text, size_t size)
{
    const struct passwd *entry = getpwuid(geteuid());

    snprintf(ret_text, size, "%s (uid %u)", entry == NULL ? "this user" : entry->pw_name, (unsigned)geteuid());
}

bool tls_files_tell_credential(const char *setting, const char *path, struct finding *finding)
{
    const char *name = config_find_credential(path);

    if (name == NULL)
        return false;
    finding_seen(finding, "\"%s\": %s", path,
                 config_credential_name(path) != NULL ? "this process has no credentials of systemd"
                                                      : strerror(ENOENT));
    if (config_credential_name(path) != NULL)
        finding_cause(finding, finding->check,
                      "%s names the credential \"%s\" of systemd, and only what systemd started with it has it.",
                      setting, name);
    else
        finding_cause(finding, finding->check, "%s names the credential \"%s\", which the unit does not load.", setting,
                      name);
    finding_fix(finding,
                "Add LoadCredential=%s:FILE below [Service] with \"systemctl edit pgcofferd\", and start the daemon "
                "anew: \"systemctl restart pgcofferd\".",
                name);
    return true;
}

static bool tell_missing(const struct configured_file *file, const char *missing, struct finding *finding)
{
    char setting[TLS_SETTING_NAME_SIZE];
    bool is_file = strcmp(missing, file->path) == 0;

    if (tls_files_tell_credential(file->setting, file->path, finding))
        return true;
    finding_seen(finding, "\"%s\": %s", missing, strerror(ENOENT));
    if (is_file)
        finding_cause(finding, finding->check, "The file %s \"%s\" does not exist.", file->setting, file->path);
    else
        finding_cause(finding, finding->check, "There is no folder \"%s\" for %s \"%s\".", missing, file->setting,
                      file->path);
    finding_fix(finding, "Put the file there, or correct %s.", tls_setting_name(file->server, file->setting, setting));
    return true;
}

static bool tell_locked(const struct configured_file *file, const char *locked, bool is_directory,
                        struct finding *finding)
{
    bool is_secret = finding->check == CHECK_ID_file_key;
    char user[128];

    describe_user(user, sizeof user);
    finding_seen(finding, "\"%s\": %s for %s", locked, strerror(EACCES), user);
    if (is_directory) {
        finding_cause(finding, finding->check,
                      "%s \"%s\" cannot be reached: the folder \"%s\" may not be searched by %s.", file->setting,
                      file->path, locked, user);
        finding_fix(finding, "Type: chmod o+x \"%s\"; or let this user alone pass: setfacl -m u:%s:x \"%s\".", locked,
                    user_name(), locked);
        return true;
    }
    finding_cause(finding, finding->check, "%s \"%s\" may not be read by %s.", file->setting, file->path, user);
    if (is_secret)
        finding_fix(finding, "Give the key to the user that reads it: chown %s \"%s\".", user_name(), locked);
    else
        finding_fix(finding, "It is no secret; let everybody read it: chmod a+r \"%s\".", locked);
    return true;
}

static bool tell_errno(const struct configured_file *file, const char *path, struct finding *finding)
{
    char setting[TLS_SETTING_NAME_SIZE];
    const char *reason = strerror(errno);

    finding_seen(finding, "\"%s\": %s", path, reason);
    finding_cause(finding, finding->check, "%s \"%s\" cannot be opened: \"%s\": %s.", file->setting, file->path, path,
                  reason);
    finding_fix(finding, "Correct %s.", tls_setting_name(file->server, file->setting, setting));
    return true;
}

/* libpq 15 prints uninitialised memory for EACCES, so every step of the path is tried here first. */
static bool has_locked_directory(const struct configured_file *file, struct finding *finding)
{
    char *path SCOPED(scoped_free) = memory_copy_text(file->path);

    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0) {
            if (errno == EACCES)
                return tell_locked(file, path, true, finding);
            return errno == ENOENT ? tell_missing(file, path, finding) : tell_errno(file, path, finding);
        }
        *slash = '/';
    }
    return false;
}

bool files_access_fault(const struct configured_file *file, struct finding *ret_finding)
{
    char setting[TLS_SETTING_NAME_SIZE];
    struct stat status;

    *ret_finding = (struct finding){.check = file->check};
    if (has_locked_directory(file, ret_finding))
        return true;
    if (stat(file->path, &status) < 0)
        return errno == ENOENT ? tell_missing(file, file->path, ret_finding)
                               : tell_errno(file, file->path, ret_finding);
    if (!S_ISREG(status.st_mode)) {
        finding_seen(ret_finding, "\"%s\": mode 0%o", file->path, (unsigned)status.st_mode);
        finding_cause(ret_finding, file->check, "%s \"%s\" is not a regular file.", file->setting, file->path);
        finding_fix(ret_finding, "Correct %s.", tls_setting_name(file->server, file->setting, setting));
        return true;
    }
    return faccessat(AT_FDCWD, file->path, R_OK, AT_EACCESS) < 0 && tell_locked(file, file->path, false, ret_finding);
}

bool files_check_access(const struct configured_file *file, struct error *err)
{
    struct finding finding;

    return !files_access_fault(file, &finding) || finding_to_plain_error(&finding, ERROR_TLS, err);
}

bool files_key_mode_fault(const struct configured_file *file, struct finding *ret_finding)
{
    struct stat status;

    if (stat(file->path, &status) < 0)
        return false;
    mode_t forbidden = status.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if ((status.st_mode & forbidden) == 0)
        return false;
    *ret_finding = (struct finding){0};
    finding_seen(ret_finding, "mode %04o, owned by uid %u; it must be 0600 or less, or 0640 or less when root owns it",
                 (unsigned)status.st_mode & 07777, (unsigned)status.st_uid);
    finding_cause(ret_finding, CHECK_ID_key_mode,
                  "The private key in %s \"%s\" has mode %04o and is owned by uid %u: others may read it.",
                  file->setting, file->path, (unsigned)status.st_mode & 07777, (unsigned)status.st_uid);
    finding_fix(ret_finding, "Type: chmod %s \"%s\".", status.st_uid == 0 ? "0640" : "0600", file->path);
    return true;
}
