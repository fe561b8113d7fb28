#include "pgcoffer/repo/layout.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/repo_internal.h"

#define GROUP_BUFFER_MOST (1 << 20)

static bool find_group(const char *name, gid_t *ret_group, struct error *err)
{
    struct group group, *found = NULL;

    for (size_t room = 4096; room <= GROUP_BUFFER_MOST; room *= 4) {
        char *space SCOPED(scoped_free) = memory_new(room);
        int errnum = getgrnam_r(name, &group, space, room, &found);
        if (errnum == ERANGE)
            continue;
        if (found != NULL) {
            *ret_group = found->gr_gid;
            return true;
        }
        break;
    }
    error_set(err, ERROR_CONFIG, "could not find the group \"%s\"", name);
    return error_hint(err, "Create it (groupadd --system %s) or take it out of the configuration.", name);
}

bool repo_open(const char *base_dir, const char *group_name, struct repo *ret_repo, struct error *err)
{
    struct repo repo = {.file_mode = 0600, .folder_mode = 0700, .group = (gid_t)-1};
    struct stat status;

    if (stat(base_dir, &status) < 0) {
        error_set_errno(err, "could not open the repository \"%s\"", base_dir);
        if (err->errnum == ENOENT)
            error_hint(err, "Create it for the user who runs pgcofferd: install -d -m 0700 -o USER %s", base_dir);
        return false;
    }
    if (!S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        return error_set_errno(err, "could not open the repository \"%s\"", base_dir);
    }
    if (!text_is_empty(group_name)) {
        if (!find_group(group_name, &repo.group, err))
            return false;
        repo.file_mode = 0640;
        repo.folder_mode = 0750;
    }
    repo.base_dir = realpath(base_dir, NULL);
    if (repo.base_dir == NULL)
        return error_set_errno(err, "could not open the repository \"%s\"", base_dir);
    *ret_repo = repo;
    return true;
}

void repo_done(struct repo *repo)
{
    free(repo->base_dir);
    *repo = (struct repo){.group = (gid_t)-1};
}

bool system_id_parse(const char *text, struct system_id *ret_id, struct error *err)
{
    uint64_t number = 0;

    /* One spelling only: it is the name of a folder. */
    if (text[0] == '0' || strlen(text) >= SYSTEM_ID_TEXT_SIZE || !text_parse_unsigned(text, UINT64_MAX, &number))
        return error_set(err, ERROR_SERVER, "\"%.32s\" is not a system identifier", text);
    *ret_id = (struct system_id){{0}};
    snprintf(ret_id->text, sizeof ret_id->text, "%" PRIu64, number);
    return true;
}

uint64_t system_id_value(const struct system_id *id)
{
    uint64_t number = 0;

    return text_parse_unsigned(id->text, UINT64_MAX, &number) ? number : 0;
}

/* `count` digits at *next as a number between `least` and `most`. */
static bool take_digits(const char **next, unsigned count, unsigned least, unsigned most)
{
    unsigned number = 0;

    for (unsigned i = 0; i < count; i++, (*next)++) {
        if (**next < '0' || **next > '9')
            return false;
        number = number * 10 + (unsigned)(**next - '0');
    }
    return number >= least && number <= most;
}

bool backup_id_parse(const char *text, struct backup_id *ret_id)
{
    const char *next = text;
    uint64_t number = 0;

    if (!take_digits(&next, 4, 1970, 9999) || !take_digits(&next, 2, 1, 12) || !take_digits(&next, 2, 1, 31) ||
        *next++ != 'T' || !take_digits(&next, 2, 0, 23) || !take_digits(&next, 2, 0, 59) ||
        !take_digits(&next, 2, 0, 59) || *next++ != 'Z')
        return false;
    if (*next != '\0' &&
        (next[0] != '-' || next[1] == '0' || !text_parse_unsigned(next + 1, 9999, &number) || number < 2))
        return false;
    *ret_id = (struct backup_id){{0}};
    snprintf(ret_id->text, sizeof ret_id->text, "%s", text);
    return true;
}

static char *join(const char *folder, const char *name)
{
    return name[0] == '\0' ? memory_copy_text(folder) : memory_text("%s/%s", folder, name);
}

char *repo_server_path(const struct repo *repo, const char *server, const char *name)
{
    char *folder SCOPED(scoped_free) = join(repo->base_dir, server);

    return join(folder, name);
}

char *repo_system_path(const struct repo *repo, const char *server, const struct system_id *system, const char *name)
{
    char *folder SCOPED(scoped_free) = repo_server_path(repo, server, system->text);

    return join(folder, name);
}

char *repo_backup_path(const struct repo *repo, const char *server, const struct system_id *system,
                       const struct backup_id *id, const char *name)
{
    char *backups SCOPED(scoped_free) = repo_system_path(repo, server, system, "backup");
    char *folder SCOPED(scoped_free) = join(backups, id->text);

    return join(folder, name);
}

char *repo_lock_path(const struct repo *repo, const char *server, const char *name)
{
    return server == NULL ? join(repo->base_dir, name) : repo_server_path(repo, server, name);
}
