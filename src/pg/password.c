#include "pg/password_internal.h"

#include <errno.h>
#include <pwd.h>
#include <sys/stat.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/pg/password.h"
#include "pgcoffer/tls/finding.h"

/* One field up to ':' or the end of the line, escapes undone; gives the rest of the line, NULL without a colon. */
static const char *take_field(const char *line, const char *end, char *ret_field, size_t size, bool *ret_is_star)
{
    size_t used = 0;
    const char *start = line;

    while (line < end && *line != ':') {
        if (*line == '\\' && line + 1 < end)
            line++;
        if (used + 1 < size)
            ret_field[used++] = *line;
        line++;
    }
    ret_field[used] = '\0';
    *ret_is_star = line == start + 1 && *start == '*';
    return line < end ? line + 1 : NULL;
}

static bool take_password(const char *line, const char *end, char ret_password[PASSWORD_SIZE])
{
    size_t used = 0;

    for (; line < end; line++) {
        if (*line == '\\' && line + 1 < end)
            line++;
        if (used + 1 >= PASSWORD_SIZE)
            return false;
        ret_password[used++] = *line;
    }
    ret_password[used] = '\0';
    return used > 0;
}

#define FIELD_COUNT 4
static const char *const field_names[FIELD_COUNT] = {"host", "port", "database", "user"};

struct wanted {
    char port[8];
    const char *fields[FIELD_COUNT];
};

static void want(const struct settings *settings, const char *database, struct wanted *ret_wanted)
{
    snprintf(ret_wanted->port, sizeof ret_wanted->port, "%ld", settings->port);
    ret_wanted->fields[0] = text_is_empty(settings->host) ? settings->hostaddr : settings->host;
    ret_wanted->fields[1] = ret_wanted->port;
    ret_wanted->fields[2] = database;
    ret_wanted->fields[3] = settings->user;
}

/* The next line, without its end; false behind the last one. */
static bool next_line(const char **text, const char *text_end, const char **ret_line, const char **ret_end)
{
    if (*text >= text_end)
        return false;
    const char *newline = memchr(*text, '\n', (size_t)(text_end - *text));
    const char *end = newline == NULL ? text_end : newline;
    *ret_line = *text;
    *ret_end = end > *text && end[-1] == '\r' ? end - 1 : end;
    *text = newline == NULL ? text_end : newline + 1;
    return true;
}

bool password_find(const char *text, size_t size, const struct settings *settings, const char *database,
                   char ret_password[PASSWORD_SIZE])
{
    const char *text_end = text + size, *rest, *end;
    char field[CONFIG_TEXT_SIZE];
    struct wanted wanted;

    want(settings, database, &wanted);
    while (next_line(&text, text_end, &rest, &end)) {
        bool is_match = *rest != '#';
        for (size_t i = 0; is_match && i < FIELD_COUNT; i++) {
            bool is_star = false;
            rest = take_field(rest, end, field, sizeof field, &is_star);
            is_match = rest != NULL && (is_star || strcmp(field, wanted.fields[i]) == 0);
        }
        if (is_match && take_password(rest, end, ret_password))
            return true;
    }
    return false;
}

/* How many fields of a line fit, and the first that does not; -1 for a line without a password. */
static int compare_line(const char *line, const char *end, const struct wanted *wanted,
                        struct password_entry *ret_entry)
{
    int fitting = 0;

    *ret_entry = (struct password_entry){0};
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        char field[CONFIG_TEXT_SIZE];
        bool is_star = false;
        line = take_field(line, end, field, sizeof field, &is_star);
        if (line == NULL)
            return -1;
        if (is_star || strcmp(field, wanted->fields[i]) == 0) {
            fitting++;
        } else if (ret_entry->odd_field == NULL) {
            ret_entry->odd_field = field_names[i];
            snprintf(ret_entry->odd_value, sizeof ret_entry->odd_value, "%.*s", (int)sizeof ret_entry->odd_value - 1,
                     field);
            snprintf(ret_entry->wanted_value, sizeof ret_entry->wanted_value, "%s", wanted->fields[i]);
        }
    }
    ret_entry->is_found = fitting == FIELD_COUNT && line < end;
    return line < end ? fitting : -1;
}

bool password_entry_find(const char *path, const struct server_config *server, const char *database,
                         struct password_entry *ret_entry, struct error *err)
{
    struct buffer bytes SCOPED(buffer_done) = BUFFER_WITH_LIMIT(PASSWORD_FILE_LIMIT);
    struct password_entry best = {0};
    struct wanted wanted;
    const char *line, *end;
    int most = -1;

    if (!file_read_whole(path, &bytes, err))
        return false;
    want(&server->settings, database, &wanted);
    const char *text = (const char *)bytes.bytes;
    const char *text_end = text == NULL ? NULL : text + bytes.used;
    for (unsigned number = 1; !best.is_found && next_line(&text, text_end, &line, &end); number++) {
        struct password_entry entry;
        int fitting = *line == '#' ? -1 : compare_line(line, end, &wanted, &entry);
        if (fitting <= most)
            continue;
        most = fitting;
        best = entry;
        best.line = number;
    }
    if (bytes.bytes != NULL)
        explicit_bzero(bytes.bytes, bytes.used);
    text_make_printable(best.odd_value);
    *ret_entry = best;
    return true;
}

struct search {
    const struct server_config *server;
    const char *database;
    char tried[768]; /* each place with what was found there */
};

static void note(struct search *search, const char *path, const char *what)
{
    size_t used = strlen(search->tried);

    snprintf(search->tried + used, sizeof search->tried - used, "%s%s: %s", used > 0 ? "; " : "", path, what);
}

static bool search_file(struct search *search, const char *path, char ret_password[PASSWORD_SIZE])
{
    struct buffer bytes SCOPED(buffer_done) = BUFFER_WITH_LIMIT(PASSWORD_FILE_LIMIT);
    struct error err = {0};

    if (!file_read_whole(path, &bytes, &err)) {
        note(search, path, err.errnum == 0 ? "unreadable" : strerror(err.errnum));
        return false;
    }
    bool is_found = bytes.used > 0 && password_find((const char *)bytes.bytes, bytes.used, &search->server->settings,
                                                    search->database, ret_password);
    if (bytes.bytes != NULL)
        explicit_bzero(bytes.bytes, bytes.used);
    if (!is_found)
        note(search, path, "no line fits");
    return is_found;
}

bool password_file_is_private(const char *path)
{
    struct stat status;

    return config_find_credential(path) != NULL || stat(path, &status) < 0 ||
           (status.st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

static bool search_home(struct search *search, char ret_password[PASSWORD_SIZE])
{
    const struct passwd *user = getpwuid(geteuid());

    if (user == NULL || text_is_empty(user->pw_dir))
        return false;
    char *path SCOPED(scoped_free) = memory_text("%s/.pgpass", user->pw_dir);
    if (password_file_is_private(path))
        return search_file(search, path, ret_password);
    note(search, path, "ignored, its mode lets others read it");
    return false;
}

/* systemd guards the folder; its access list shows as group bits, so the mode says nothing here. */
static bool search_credential(struct search *search, char ret_password[PASSWORD_SIZE])
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");

    if (text_is_empty(folder))
        return false;
    char *path SCOPED(scoped_free) = memory_text("%s/pgcoffer-pgpass-%s", folder, search->server->name);
    return search_file(search, path, ret_password);
}

/* `check` looks at a configured file before any login and finds the same. */
static void name_check(const struct settings *settings, struct error *err)
{
    if (!text_is_empty(settings->password_file))
        error_check(err, "file.password");
}

bool password_look_up(const struct server_config *server, const char *database, char ret_password[PASSWORD_SIZE],
                      struct error *err)
{
    const struct settings *settings = &server->settings;
    struct search search = {.server = server, .database = database};
    bool has_file = !text_is_empty(settings->password_file);
    const char *host = text_is_empty(settings->host) ? settings->hostaddr : settings->host;
    char setting[TLS_SETTING_NAME_SIZE];

    if (has_file && !password_file_is_private(settings->password_file)) {
        error_set(err, ERROR_CONFIG, "password_file \"%s\" may be read by others", settings->password_file);
        name_check(settings, err);
        return error_hint(err, "Type: chmod 0600 \"%s\".", settings->password_file);
    }
    if (has_file && search_file(&search, settings->password_file, ret_password))
        return true;
    if (search_home(&search, ret_password) || search_credential(&search, ret_password))
        return true;
    error_set(err, ERROR_SERVER, "the server asks for a password and there is none for user \"%s\"", settings->user);
    name_check(settings, err);
    error_detail(err, "Looked at: %s.", search.tried[0] == '\0' ? "nothing, no place is known" : search.tried);
    return error_hint(
        err,
        "Put the line %s:%ld:%s:%s:PASSWORD into a file of mode 0600 and name it as %s; or use the method "
        "cert in pg_hba.conf, which needs no password.",
        host, settings->port, database, settings->user, tls_setting_name(server, "password_file", setting));
}
