#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "jobs/check/files_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/pg/password.h"
#include "pgcoffer/tls/files.h"

/* As pg_basebackup looks it up: a replication connection has no database of its own. */
#define PASSWORD_DATABASE "replication"

static void name_user(char *ret_text, size_t size)
{
    const struct passwd *entry = getpwuid(geteuid());

    if (entry == NULL)
        snprintf(ret_text, size, "%u", (unsigned)geteuid());
    else
        snprintf(ret_text, size, "%s", entry->pw_name);
}

/* The colons of an IPv6 address would end the field. */
static void escape_field(const char *text, char *ret_field, size_t size)
{
    size_t used = 0;

    for (; *text != '\0' && used + 3 < size; text++) {
        if (*text == ':' || *text == '\\')
            ret_field[used++] = '\\';
        ret_field[used++] = *text;
    }
    ret_field[used] = '\0';
}

static void explain_unreadable(const struct check_run *run, const struct error *err, struct finding *finding)
{
    const char *path = run->server->settings.password_file;
    char user[128], setting[CHECK_SETTING_SIZE];

    name_user(user, sizeof user);
    if (err->errnum == ENOENT && tls_files_tell_credential("password_file", path, finding))
        return;
    if (err->errnum == ENOENT) {
        finding_cause(finding, CHECK_ID_file_password, "The password_file \"%s\" does not exist.", path);
        finding_fix(finding, "Put the file there with mode 0600, or correct %s.",
                    check_setting(run, "password_file", setting));
    } else if (err->errnum == EACCES) {
        finding_cause(finding, CHECK_ID_file_password, "The password_file \"%s\" is closed to the user %s.", path,
                      user);
        finding_fix(finding,
                    "Give it to the user that connects, and let it pass the folders on the way: chown %s \"%s\"", user,
                    path);
    } else {
        finding_cause(finding, CHECK_ID_file_password, "The password_file \"%s\" cannot be used: %s.", path,
                      err->message);
        finding_fix(finding, "Correct %s.", check_setting(run, "password_file", setting));
    }
}

static void explain_no_entry(const struct check_run *run, const struct password_entry *entry, struct finding *finding)
{
    const struct settings *settings = &run->server->settings;
    char host[CONFIG_TEXT_SIZE], user[CONFIG_TEXT_SIZE];

    escape_field(check_host(run), host, sizeof host);
    escape_field(settings->user, user, sizeof user);
    if (entry->odd_field != NULL)
        finding_cause(finding, CHECK_ID_file_password,
                      "No line of password_file \"%s\" fits: line %u comes closest, but its %s is \"%s\" and not "
                      "\"%s\".",
                      settings->password_file, entry->line, entry->odd_field, entry->odd_value, entry->wanted_value);
    else
        finding_cause(finding, CHECK_ID_file_password,
                      "The password_file \"%s\" has no line of the form HOST:PORT:DATABASE:USER:PASSWORD.",
                      settings->password_file);
    finding_fix(finding, "Add the line %s:%ld:" PASSWORD_DATABASE ":%s:PASSWORD to \"%s\".", host, settings->port, user,
                settings->password_file);
}

void check_password_file(struct check_run *run)
{
    const char *path = run->server->settings.password_file;
    struct finding finding = {.check = CHECK_ID_file_password};
    struct password_entry entry = {0};
    struct error err = {0};

    if (!check_may(run, CHECK_ID_file_password))
        return;
    if (text_is_empty(path)) {
        check_skip(run, CHECK_ID_file_password, "password_file is not configured");
        return;
    }
    finding_seen(&finding, "password_file = %s", path);
    if (!password_entry_find(path, run->server, PASSWORD_DATABASE, &entry, &err)) {
        explain_unreadable(run, &err, &finding);
    } else if (!password_file_is_private(path)) {
        finding_cause(&finding, CHECK_ID_file_password,
                      "The password_file \"%s\" lets others read the password, so it is not used.", path);
        finding_fix(&finding, "Type: chmod 0600 \"%s\"", path);
    } else if (!entry.is_found) {
        explain_no_entry(run, &entry, &finding);
    } else {
        check_pass(run, CHECK_ID_file_password, "line %u of \"%s\" fits", entry.line, path);
        return;
    }
    check_fail(run, &finding);
}
