#include "jobs/check/store_internal.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* ---- repository.folder ---- */

static const char *name_of(uid_t uid, char ret_name[64])
{
    const struct passwd *user = getpwuid(uid);

    if (user != NULL)
        snprintf(ret_name, 64, "%s", user->pw_name);
    else
        snprintf(ret_name, 64, "%u", (unsigned)uid);
    return ret_name;
}

static bool fail_missing_folder(struct check_run *run, const char *path)
{
    struct finding finding = {.check = CHECK_ID_repository_folder};

    finding_seen(&finding, "%s: %s", path, strerror(errno)); /* before errno is another's */
    const char *user = getpwnam("pgcoffer") != NULL ? "pgcoffer" : "USER";
    finding_cause(&finding, finding.check,
                  "The repository \"%s\" (base_dir) does not exist: nothing can be stored, neither backups nor WAL.",
                  path);
    finding_fix(&finding, "install -d -m 0700 -o %s %s%s", user, path,
                strcmp(user, "USER") == 0 ? " (USER being who runs pgcofferd); a file system that should be mounted "
                                            "there: mount it"
                                          : "; a file system that should be mounted there: mount it");
    check_fail(run, &finding);
    return false;
}

/* Everything below must stay in the hands of who runs the daemon; a copy put back by root, for instance, is not. */
static bool check_owner(struct check_run *run, const char *base_dir, const char *path, uid_t owner)
{
    struct finding finding = {.check = CHECK_ID_repository_folder};
    struct stat status;
    char wanted[64], found[64];

    if (stat(path, &status) < 0 || status.st_uid == owner)
        return true;
    name_of(owner, wanted);
    name_of(status.st_uid, found);
    finding_seen(&finding, "%s belongs to %s, %s to %s", base_dir, wanted, path, found);
    finding_cause(&finding, finding.check,
                  "\"%s\" belongs to %s and not to %s, who owns the repository: the daemon cannot write there.", path,
                  found, wanted);
    finding_fix(&finding, "chown -R %s: %s", wanted, path);
    check_fail(run, &finding);
    return false;
}

static bool check_owners(struct check_run *run, const char *base_dir, uid_t owner)
{
    const struct repo *repo = run->request->repo;
    struct system_id system;
    struct error ignored;

    if (repo == NULL)
        return true;
    char *folder SCOPED(scoped_free) = repo_server_path(repo, run->server->name, "");
    if (!check_owner(run, base_dir, folder, owner))
        return false;
    if (!repo_read_server(repo, run->server->name, &system, &ignored))
        return true;
    static const char *const names[] = {"", "backup", "wal"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path SCOPED(scoped_free) = repo_system_path(repo, run->server->name, &system, names[i]);
        if (!check_owner(run, base_dir, path, owner))
            return false;
    }
    return true;
}

/* Writable for others: anybody may put something else in a backup's place. Readable: only the names show, as the
 * folders below are closed. */
static bool check_folder_mode(struct check_run *run, const char *path, const struct stat *status)
{
    struct finding finding = {.check = CHECK_ID_repository_folder};
    const char *group_name = run->request->config->settings.repository_group;
    bool has_group = !text_is_empty(group_name);
    mode_t excess = status->st_mode & (has_group ? 0027 : 0077);
    char owner[64];

    if (excess == 0)
        return true;
    finding_seen(&finding, "%s has mode %04o and belongs to %s", path, (unsigned)(status->st_mode & 07777),
                 name_of(status->st_uid, owner));
    finding_fix(&finding, "chmod %s %s", has_group ? "0750" : "0700", path);
    if ((excess & 0022) != 0) {
        finding_cause(&finding, finding.check,
                      "Others than %s may write into the repository \"%s\": they can replace whole backups.", owner,
                      path);
        check_fail(run, &finding);
        return false;
    }
    finding_cause(&finding, finding.check, "Others than %s may look into the repository \"%s\".", owner, path);
    check_warn(run, &finding);
    return true;
}

static bool check_folder(struct check_run *run)
{
    const char *path = run->request->config->settings.base_dir;
    struct finding finding = {.check = CHECK_ID_repository_folder};
    struct stat status;
    char owner[64];

    if (stat(path, &status) < 0 && (errno == ENOENT || errno == ENOTDIR))
        return fail_missing_folder(run, path);
    if (stat(path, &status) < 0) {
        check_skip(run, CHECK_ID_repository_folder, "%s: %s", path, strerror(errno));
        return false;
    }
    if (!S_ISDIR(status.st_mode)) {
        finding_seen(&finding, "%s is no folder", path);
        finding_cause(&finding, finding.check, "base_dir = %s names something that is not a folder.", path);
        finding_fix(&finding, "base_dir = /var/lib/pgcoffer in section [pgcoffer], or the folder you mean");
        check_fail(run, &finding);
        return false;
    }
    if (!check_folder_mode(run, path, &status) || !check_owners(run, path, status.st_uid))
        return false;
    check_pass(run, CHECK_ID_repository_folder, "%s, mode %04o, belongs to %s", path,
               (unsigned)(status.st_mode & 07777), name_of(status.st_uid, owner));
    return true;
}

/* ---- repository.cluster ---- */

static void tell_other_cluster(struct check_run *run, const struct system_id *stored, const char *found, int version)
{
    const enum check_id id = CHECK_ID_repository_cluster;
    struct finding finding = {.check = id};
    const char *server = run->server->name;
    int stored_version = 0;
    struct error ignored;

    if (!repo_read_server_version(run->request->repo, server, &stored_version, &ignored))
        stored_version = 0;
    finding_seen(&finding, "system identifier %s; stored are backups and WAL of %s", found, stored->text);
    if (stored_version > 0 && version / 10000 > stored_version / 10000) { /* as the receiver takes it */
        finding_cause(&finding, id,
                      "The server was upgraded from version %d to %d and has a new system identifier: the backups held "
                      "are of the old one.",
                      stored_version / 10000, version / 10000);
        finding_fix(&finding, "pgcoffer backup %s, once the daemon streams from it (pgcoffer status %s)", server,
                    server);
        check_warn(run, &finding);
        return;
    }
    finding_cause(&finding, id,
                  "The server at %s port %ld is another cluster (system identifier %s) than the one whose backups are "
                  "stored as \"%s\" (%s): host or port lead elsewhere, or it was made anew by initdb.",
                  check_host(run), run->server->settings.port, found, server, stored->text);
    finding_fix(&finding,
                "Correct host and port in section [%s]; a new cluster gets a section with another name, and what is "
                "stored stays",
                server);
    check_fail(run, &finding);
}

/* The fault that kept the server from identifying itself. */
static enum check_id find_obstacle(const struct check_run *run)
{
    for (enum check_id id = 0; id < CHECK_COUNT && check_rows[id].level <= CHECK_LEVEL_LOGIN; id++)
        if (check_has_failed(run, id) && !check_rows[id].is_negative)
            return id;
    return CHECK_ID_NOTHING;
}

static void check_cluster(struct check_run *run)
{
    const enum check_id id = CHECK_ID_repository_cluster;
    struct system_id stored;
    char found[SYSTEM_ID_TEXT_SIZE];
    struct error err;

    if (run->connection == NULL || run->identity.system_identifier == 0) {
        enum check_id obstacle = find_obstacle(run);
        if (obstacle != CHECK_ID_NOTHING)
            check_skip(run, id, "not looked at: %s failed", check_rows[obstacle].name);
        else
            check_skip(run, id, "the server's system identifier is known after a login only");
        return;
    }
    snprintf(found, sizeof found, "%" PRIu64, run->identity.system_identifier);
    if (!repo_read_server(run->request->repo, run->server->name, &stored, &err)) {
        if (err.errnum == ENOENT)
            check_pass(run, id, "system identifier %s; nothing is stored yet", found);
        else
            check_fail_error(run, id, &err);
        return;
    }
    if (strcmp(found, stored.text) == 0)
        check_pass(run, id, "system identifier %s", found);
    else
        tell_other_cluster(run, &stored, found, pg_session(run->connection)->server_version);
}

/* ---- all ---- */

static void skip_all(struct check_run *run, const char *reason)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (check_rows[id].level == CHECK_LEVEL_STORE)
            check_skip(run, id, "%s", reason); /* what is set already stays */
}

static void check_stock(struct check_run *run)
{
    struct store store = {.run = run, .repo = run->request->repo, .server = run->server->name};
    struct error err;

    if (!catalogue_read(store.repo, store.server, &store.catalogue, &err)) {
        check_fail_error(run, CHECK_ID_backup_intact, &err);
        skip_all(run, "not looked at: backup.intact failed");
        return;
    }
    check_stored_room(&store);
    check_cluster(run);
    check_stored_backups(&store);
    catalogue_done(&store.catalogue);
}

void check_level_store(struct check_run *run)
{
    char reason[CONFIG_TEXT_SIZE + 128];

    if (run->request->config == NULL) {
        skip_all(run, "no configuration was read: nothing is known of a repository");
        return;
    }
    bool is_there = check_folder(run);
    if (check_has_failed(run, CHECK_ID_repository_folder))
        return;
    if (!is_there || run->request->repo == NULL) {
        const char *words = run->request->repo_words;
        snprintf(reason, sizeof reason, "the repository cannot be read by this user%s%s",
                 text_is_empty(words) ? "" : ": ", text_is_empty(words) ? "" : words);
        skip_all(run, reason);
        return;
    }
    check_stock(run);
}
