#include "jobs/check/server_files_internal.h"

#include <errno.h>
#include <grp.h>
#include <openssl/pem.h>
#include <pwd.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"

#define MOST_GROUPS 64

const char *server_key_fault(const struct stat *about, uid_t server_owner)
{
    if (!S_ISREG(about->st_mode))
        return "is no regular file";
    if (about->st_uid != server_owner && about->st_uid != 0)
        return "belongs neither to the user the server runs as nor to root";
    if (about->st_uid == 0 && server_owner != 0)
        return (about->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) == 0 ? NULL
                                                                     : "is root's and may be read by others than root "
                                                                       "and its group";
    return (about->st_mode & (S_IRWXG | S_IRWXO)) == 0 ? NULL : "may be read by its group or by others";
}

/* What a path of the server came to, seen from here. */
enum sight { SEEN, UNSEEN, WRONG };

struct server_files {
    struct check_run *run;
    struct server_place place;
    char owner_name[64];
    gid_t groups[MOST_GROUPS];
    int group_count;
    char certificate[PATH_MAX], key[PATH_MAX];
};

static void find_groups(struct server_files *files)
{
    struct passwd *user = getpwuid(files->place.owner);

    files->group_count = MOST_GROUPS;
    snprintf(files->owner_name, sizeof files->owner_name, "%s", user == NULL ? "postgres" : user->pw_name);
    if (user == NULL || getgrouplist(user->pw_name, files->place.group, files->groups, &files->group_count) < 0) {
        files->groups[0] = files->place.group;
        files->group_count = 1;
    }
}

/* May the server's user, by owner, group and mode? An access list that says more is believed. */
static bool is_allowed(const struct server_files *files, const char *path, const struct stat *about, unsigned bit)
{
    if (files->place.owner == 0)
        return true;
    if (about->st_uid == files->place.owner)
        return (about->st_mode >> 6 & bit) != 0;
    if (getxattr(path, "system.posix_acl_access", NULL, 0) > 0)
        return true;
    for (int i = 0; i < files->group_count; i++)
        if (about->st_gid == files->groups[i])
            return (about->st_mode >> 3 & bit) != 0;
    return (about->st_mode & bit) != 0;
}

static void restart_finding(const struct server_files *files, const char *setting, const char *path,
                            struct finding *finding)
{
    *finding = (struct finding){.check = CHECK_ID_server_restart};
    finding_seen(finding, "%s = '%s', the server runs as %s", setting, path, files->owner_name);
}

static enum sight look_at_folders(const struct server_files *files, const char *setting, const char *path,
                                  struct finding *finding)
{
    char folder[PATH_MAX];
    struct stat about;

    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        if (stat(folder, &about) != 0)
            return UNSEEN;
        if (is_allowed(files, folder, &about, S_IXOTH))
            continue;
        restart_finding(files, setting, path, finding);
        finding_cause(finding, CHECK_ID_server_restart,
                      "The server runs with what it read before, but its user %s may no longer enter the folder \"%s\" "
                      "on the way to %s: the next restart, and every reload, fails.",
                      files->owner_name, folder, setting);
        finding_fix(finding, "Type on the server: chmod o+x %s; or copy key and certificate to a folder of %s.", folder,
                    files->owner_name);
        return WRONG;
    }
    return SEEN;
}

/* We are the server's user, and cannot get there. */
static enum sight tell_closed(const struct server_files *files, const char *setting, const char *path,
                              struct finding *finding)
{
    finding_cause(
        finding, CHECK_ID_server_restart,
        "The server runs with what it read before, but its user %s no longer gets to the file of %s, \"%s\": a "
        "link on the way leads into a folder that is closed to it. The next restart, and every reload, fails.",
        files->owner_name, setting, path);
    finding_fix(
        finding,
        "Copy key and certificate to a folder of %s (cp -L follows the links; with certbot a deploy hook does it "
        "at each renewal), and correct %s in postgresql.conf on the server.",
        files->owner_name, setting);
    return WRONG;
}

static enum sight look_at_file(const struct server_files *files, const char *setting, const char *path,
                               struct stat *ret_about, struct finding *finding)
{
    enum sight sight = look_at_folders(files, setting, path, finding);
    char target[PATH_MAX];

    /* A link may lead through folders of its own, as those in certbot's live/ do. */
    if (sight == SEEN && realpath(path, target) != NULL)
        sight = look_at_folders(files, setting, target, finding);
    if (sight != SEEN)
        return sight;
    restart_finding(files, setting, path, finding);
    if (stat(path, ret_about) != 0) {
        if (errno == EACCES && geteuid() == files->place.owner)
            return tell_closed(files, setting, path, finding);
        if (errno != ENOENT)
            return UNSEEN;
        finding_cause(
            finding, CHECK_ID_server_restart,
            "The file of %s, \"%s\", is gone: the server lives on what it read before, the next restart fails.",
            setting, path);
        finding_fix(finding, "Put the file back, or correct %s in postgresql.conf on the server.", setting);
        return WRONG;
    }
    if (!S_ISREG(ret_about->st_mode)) { /* a pipe would hold us up */
        finding_cause(finding, CHECK_ID_server_restart,
                      "The file of %s, \"%s\", is no regular file: the next restart fails.", setting, path);
        finding_fix(finding, "Put the file back, or correct %s in postgresql.conf on the server.", setting);
        return WRONG;
    }
    if (!is_allowed(files, path, ret_about, S_IROTH)) {
        finding_cause(finding, CHECK_ID_server_restart,
                      "The server's user %s may not read the file of %s, \"%s\" (mode %04o): the next restart fails.",
                      files->owner_name, setting, path, ret_about->st_mode & 07777U);
        finding_fix(finding, "Type on the server: chown %s %s", files->owner_name, path);
        return WRONG;
    }
    return SEEN;
}

static enum sight look_at_key(const struct server_files *files, struct finding *finding)
{
    struct stat about;
    enum sight sight = look_at_file(files, "ssl_key_file", files->key, &about, finding);
    const char *fault = sight == SEEN ? server_key_fault(&about, files->place.owner) : NULL;

    if (fault == NULL)
        return sight;
    finding_seen(finding, "\"%s\": mode %04o, owner %u; the server runs as %s", files->key, about.st_mode & 07777U,
                 (unsigned)about.st_uid, files->owner_name);
    finding_cause(
        finding, CHECK_ID_server_restart,
        "The server's private key \"%s\" (mode %04o) %s: PostgreSQL does not start with such a key. The server "
        "runs on the one it read before; a reload is refused and the next restart fails.",
        files->key, about.st_mode & 07777U, fault);
    if (about.st_uid == 0 || about.st_uid == files->place.owner)
        finding_fix(finding, "Type on the server: chmod %s %s", about.st_uid == 0 ? "0640" : "0600", files->key);
    else
        finding_fix(finding, "Type on the server: chown %s %s && chmod 0600 %s", files->owner_name, files->key,
                    files->key);
    return WRONG;
}

/* UNSEEN also for a key with a passphrase. */
static enum sight look_at_pair(const struct server_files *files, struct finding *finding)
{
    X509 *certificate SCOPED(scoped_certificate) = NULL;
    struct error err;
    bool has_passphrase = false;
    FILE *file = fopen(files->key, "re");

    if (file == NULL)
        return UNSEEN;
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, certificate_refuse_passphrase, &has_passphrase);
    fclose(file);
    restart_finding(files, "ssl_key_file", files->key, finding);
    if (!certificate_read(files->certificate, &certificate, &err)) {
        EVP_PKEY_free(key);
        finding_cause(finding, CHECK_ID_server_restart,
                      "What lies in \"%s\" (ssl_cert_file) is no certificate any more: the next restart fails.",
                      files->certificate);
        finding_fix(finding, "Put the server's certificate back there, in PEM form, then SELECT pg_reload_conf();");
        return WRONG;
    }
    bool is_pair = key != NULL && X509_check_private_key(certificate, key) == 1;
    EVP_PKEY_free(key);
    if (is_pair || has_passphrase)
        return is_pair ? SEEN : UNSEEN;
    finding_cause(
        finding, CHECK_ID_server_restart,
        "The server's key \"%s\" does not belong to its certificate \"%s\" as both lie on disk now: only one of "
        "the two was renewed. A reload is refused and the next restart fails.",
        files->key, files->certificate);
    finding_fix(finding,
                "Put key and certificate that were made together there, as one (write both beside the old ones, then "
                "rename both), and SELECT pg_reload_conf();");
    return WRONG;
}

static enum sight look_at_extra(const struct server_files *files, const char *setting, struct finding *finding)
{
    char value[PATH_MAX], path[PATH_MAX];
    struct stat about;

    if (!server_show(files->run, setting, value, sizeof value) || value[0] == '\0')
        return SEEN;
    if (!server_place_path(&files->place, value, path))
        return UNSEEN;
    return look_at_file(files, setting, path, &about, finding);
}

static void tell_restart(struct server_files *files)
{
    struct check_run *run = files->run;
    struct finding finding = {0};
    struct stat about;
    enum sight sight = look_at_key(files, &finding);

    if (sight == SEEN)
        sight = look_at_file(files, "ssl_cert_file", files->certificate, &about, &finding);
    if (sight != WRONG && look_at_extra(files, "ssl_ca_file", &finding) == WRONG)
        sight = WRONG;
    if (sight != WRONG && look_at_extra(files, "ssl_crl_file", &finding) == WRONG)
        sight = WRONG;
    if (sight == SEEN)
        sight = look_at_pair(files, &finding);
    if (sight == WRONG)
        check_fail(run, &finding);
    else if (sight == UNSEEN)
        check_skip(run, CHECK_ID_server_restart, "\"%s\" may not be read by this user", files->key);
    else
        check_pass(run, CHECK_ID_server_restart, "\"%s\" and \"%s\" belong together, and %s may read them", files->key,
                   files->certificate, files->owner_name);
}

static X509 *find_served(const struct check_run *run)
{
    STACK_OF(X509) *chain = run->has_shown && run->shown.chain != NULL ? run->shown.chain
                            : run->has_bare && run->bare.chain != NULL ? run->bare.chain
                            : run->has_answer                          ? run->answer.probe.chain
                                                                       : NULL;

    return sk_X509_num(chain) > 0 ? sk_X509_value(chain, 0) : NULL;
}

static void tell_renewed(struct server_files *files)
{
    struct check_run *run = files->run;
    struct finding finding = {0};
    struct certificate_text old_text, new_text;
    X509 *on_disk SCOPED(scoped_certificate) = NULL;
    X509 *served = find_served(run);
    struct stat about;
    struct error err;

    if (check_has_failed(run, CHECK_ID_server_restart)) {
        check_skip(run, CHECK_ID_server_renewed, "see server.restart");
        return;
    }
    bool is_regular = stat(files->certificate, &about) == 0 && S_ISREG(about.st_mode);
    if (served == NULL || !is_regular || !certificate_read(files->certificate, &on_disk, &err)) {
        check_skip(run, CHECK_ID_server_renewed, "\"%s\" may not be read by this user", files->certificate);
        return;
    }
    certificate_describe(served, &old_text);
    certificate_describe(on_disk, &new_text);
    if (X509_cmp(served, on_disk) == 0) {
        check_pass(run, CHECK_ID_server_renewed, "\"%s\" is what the server serves", files->certificate);
        return;
    }
    finding_seen(&finding, "served: until %s, SHA-256 %s; on disk: until %s, SHA-256 %s", old_text.not_after_text,
                 old_text.fingerprint, new_text.not_after_text, new_text.fingerprint);
    finding_cause(&finding, CHECK_ID_server_renewed,
                  "The certificate in \"%s\" (until %s) is not the one in use: the server still serves one until %s, "
                  "because nobody told it to read the new one, or the reload was refused.",
                  files->certificate, new_text.not_after_text, old_text.not_after_text);
    finding_fix(
        &finding,
        "Type on the server: SELECT pg_reload_conf(); a restart is not needed. If nothing changes, the server's "
        "log says why, for instance a key with a passphrase. Let the renewal do it: contrib/certbot has a hook.");
    check_warn(run, &finding);
}

void check_server_files(struct check_run *run)
{
    struct server_files files = {.run = run};
    char certificate[PATH_MAX], key[PATH_MAX];
    const char *reason = NULL;

    server_place_find(run, &files.place);
    if (!files.place.is_here)
        reason = "the server runs on another machine, or out of this one's sight";
    else if (!server_show(run, "ssl_cert_file", certificate, sizeof certificate) ||
             !server_show(run, "ssl_key_file", key, sizeof key))
        reason = "the server does not show ssl_cert_file and ssl_key_file";
    else if (!server_place_path(&files.place, certificate, files.certificate) ||
             !server_place_path(&files.place, key, files.key))
        reason = "the files lie in the data directory, which this user may not read";
    if (reason != NULL) {
        check_skip(run, CHECK_ID_server_restart, "%s", reason);
        check_skip(run, CHECK_ID_server_renewed, "%s", reason);
        return;
    }
    find_groups(&files);
    tell_restart(&files);
    tell_renewed(&files);
}
