#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "cli/tls_kit_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/restore.h"

/* What to write where, so that the files of `tls init` are used: as lists of lines, and from these for people. */

#define SERVER_FOLDER "/etc/postgresql/tls"
#define CLIENT_FOLDER "/etc/pgcoffer/tls"

enum reader { READER_SERVER, READER_CLIENT, READER_NOBODY };

/* In the order in which they are printed. */
static const struct {
    enum tls_kit_part part;
    enum reader reader;
    const char *what;
} rows[] = {
    {TLS_KIT_SERVER_CERTIFICATE, READER_SERVER, "the server's certificate"},
    {TLS_KIT_SERVER_KEY, READER_SERVER, "its key; must belong to the OS user that runs PostgreSQL"},
    {TLS_KIT_CLIENT_CA_CERTIFICATE, READER_SERVER, "the CA whose client certificates PostgreSQL takes"},
    {TLS_KIT_CLIENT_CA_LIST, READER_SERVER, "its revocation list, empty so far"},
    {TLS_KIT_CLIENT_CERTIFICATE, READER_CLIENT, "the client's certificate: its CN is the role"},
    {TLS_KIT_CLIENT_KEY, READER_CLIENT, "its key; must belong to the OS user that runs pgcofferd"},
    {TLS_KIT_SERVER_CA_CERTIFICATE, READER_CLIENT, "the CA that signed the server's certificate"},
    {TLS_KIT_SERVER_CA_LIST, READER_CLIENT, "its revocation list, empty so far"},
    {TLS_KIT_SERVER_CA_KEY, READER_NOBODY, "signs certificates of servers: keep it elsewhere"},
    {TLS_KIT_CLIENT_CA_KEY, READER_NOBODY, "signs logins: keep it elsewhere"},
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

static const char *const reader_words[] = {
    [READER_SERVER] = "PostgreSQL", [READER_CLIENT] = "pgcoffer", [READER_NOBODY] = "neither"};

char *tls_init_absolute_path(const char *directory)
{
    char *real SCOPED(scoped_free) = realpath(directory, NULL);

    if (real != NULL)
        return TAKE(real);
    if (directory[0] == '/')
        return memory_copy_text(directory);
    char *current SCOPED(scoped_free) = getcwd(NULL, 0);
    return memory_text("%s/%s", current != NULL ? current : "", directory);
}

/* ---- quoting ---- */

/* Puts a backslash in front of each of `special`, or doubles it. */
static char *escape(const char *text, const char *special, bool is_doubled)
{
    char *escaped = memory_new(2 * strlen(text) + 1);
    char *end = escaped;

    for (; *text != '\0'; text++) {
        bool is_special = strchr(special, *text) != NULL;
        if (is_special && is_doubled)
            *end++ = *text;
        else if (is_special)
            *end++ = '\\';
        *end++ = *text;
    }
    return escaped;
}

/* Of postgresql.conf: 'it''s' */
static char *setting_line(const char *name, const char *directory, const char *file)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", directory, file);
    char *escaped SCOPED(scoped_free) = escape(path, "'\\", true);

    return memory_text("%s = '%s'", name, escaped);
}

/* Of pgcoffer.conf: quotes only where they are needed. */
static char *pair_line(const char *name, const char *directory, const char *file)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", directory, file);

    if (strpbrk(path, " \"#;\\") == NULL)
        return memory_text("%s = %s", name, path);
    char *escaped SCOPED(scoped_free) = escape(path, "\"\\", false);
    return memory_text("%s = \"%s\"", name, escaped);
}

static void append(json_t *list, char *line)
{
    json_array_append_new(list, control_text(line));
    free(line);
}

/* ---- lists ---- */

static json_t *list_files(const struct tls_kit *kit, const char *directory)
{
    json_t *files = json_array();

    for (size_t i = 0; i < ROW_COUNT; i++) {
        char *path SCOPED(scoped_free) = memory_text("%s/%s", directory, kit->files[rows[i].part].name);
        json_array_append_new(files, json_pack("{s:o, s:s, s:s}", "path", control_text(path), "for",
                                               reader_words[rows[i].reader], "what", rows[i].what));
    }
    return files;
}

static json_t *postgresql_lines(const struct tls_kit *kit, const char *directory)
{
    json_t *lines = json_array();

    append(lines, memory_copy_text("ssl = on"));
    append(lines, setting_line("ssl_cert_file", directory, kit->files[TLS_KIT_SERVER_CERTIFICATE].name));
    append(lines, setting_line("ssl_key_file", directory, kit->files[TLS_KIT_SERVER_KEY].name));
    append(lines, setting_line("ssl_ca_file", directory, kit->files[TLS_KIT_CLIENT_CA_CERTIFICATE].name));
    append(lines, setting_line("ssl_crl_file", directory, kit->files[TLS_KIT_CLIENT_CA_LIST].name));
    return lines;
}

static bool is_loopback(const char *name)
{
    return strcasecmp(name, "localhost") == 0 || strcmp(name, "::1") == 0 || text_starts_with(name, "127.");
}

/*
 * pgcoffer on the same machine when the server has a loopback name to be called by, else anywhere in its networks. The
 * machine's own name beside a loopback name changes nothing: pgcoffer.conf gets the first.
 */
static size_t find_addresses(const char *const *names, const char *ret_addresses[2])
{
    if (is_loopback(names[0])) {
        ret_addresses[0] = "127.0.0.1/32";
        ret_addresses[1] = "::1/128";
        return 2;
    }
    ret_addresses[0] = "samenet";
    return 1;
}

static json_t *hba_lines(const struct tls_kit_wish *wish)
{
    static const char *const databases[] = {"replication", "postgres"};
    const char *addresses[2] = {NULL, NULL};
    size_t count = find_addresses(wish->names, addresses);
    /* A role of that name must not stand for everybody. */
    const char *user = strcmp(wish->user, "all") == 0 ? "\"all\"" : wish->user;
    json_t *lines = json_array();

    for (size_t database = 0; database < 2; database++)
        for (size_t i = 0; i < count; i++)
            append(lines, memory_text("%-8s %-12s %-10s %-14s %s", "hostssl", databases[database], user, addresses[i],
                                      "cert"));
    return lines;
}

static json_t *pgcoffer_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory)
{
    json_t *lines = json_array();

    append(lines, memory_copy_text("[primary]"));
    append(lines, memory_text("host = %s", wish->names[0]));
    append(lines, memory_text("user = %s", wish->user));
    append(lines, pair_line("tls_cert_file", directory, kit->files[TLS_KIT_CLIENT_CERTIFICATE].name));
    append(lines, pair_line("tls_key_file", directory, kit->files[TLS_KIT_CLIENT_KEY].name));
    append(lines, pair_line("tls_ca_file", directory, kit->files[TLS_KIT_SERVER_CA_CERTIFICATE].name));
    append(lines, pair_line("tls_crl_file", directory, kit->files[TLS_KIT_SERVER_CA_LIST].name));
    return lines;
}

static void append_copy(json_t *lines, const struct tls_kit *kit, const char *directory, enum reader reader)
{
    const char *owner = reader == READER_SERVER ? "postgres" : "pgcoffer";
    const char *folder = reader == READER_SERVER ? SERVER_FOLDER : CLIENT_FOLDER;

    append(lines, memory_text("install -d -o %s -g %s -m 0700 %s", owner, owner, folder));
    char *command = memory_text("install -o %s -g %s -m 0600 -t %s", owner, owner, folder);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].reader != reader)
            continue;
        char *path SCOPED(scoped_free) = memory_text("%s/%s", directory, kit->files[rows[i].part].name);
        char *quoted SCOPED(scoped_free) = restore_quote_for_shell(path);
        char *longer = memory_text("%s %s", command, quoted);
        free(command);
        command = longer;
    }
    append(lines, command);
}

/* A new certificate for the old key, with the old one's names and usages. */
static char *renewal(const char *authority, const char *stem, long days)
{
    return memory_text("openssl x509 -x509toreq -copy_extensions copyall -in %s.crt -key %s.key | openssl x509 -req "
                       "-copy_extensions copyall -CA %s-ca.crt -CAkey %s-ca.key -CAcreateserial -days %ld -out "
                       "%s.crt.new && mv %s.crt.new %s.crt",
                       stem, stem, authority, authority, days, stem, stem, stem);
}

static json_t *renewal_lines(const struct tls_kit_wish *wish, const char *directory)
{
    json_t *lines = json_array();
    char *quoted SCOPED(scoped_free) = restore_quote_for_shell(directory);

    append(lines, memory_text("cd %s && umask 077", quoted));
    append(lines, renewal("client", wish->user, wish->days));
    append(lines, renewal("server", "server", wish->days));
    return lines;
}

json_t *tls_init_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory)
{
    json_t *copies = json_array();
    json_t *role_lines = json_array();

    append_copy(copies, kit, directory, READER_SERVER);
    append_copy(copies, kit, directory, READER_CLIENT);
    append(role_lines, memory_text("CREATE ROLE \"%s\" LOGIN REPLICATION;", wish->user));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "directory", control_text(directory), "files",
                     list_files(kit, directory), "postgresql_conf", postgresql_lines(kit, directory), "pg_hba_conf",
                     hba_lines(wish), "sql", role_lines, "pgcoffer_conf", pgcoffer_lines(kit, wish, directory),
                     "copy_commands", copies, "renewal_commands", renewal_lines(wish, directory));
}

/* ---- for people ---- */

static void print_files(const struct invocation *invocation, const json_t *files)
{
    static const char *const titles[] = {"FILE", "FOR", "WHAT"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 3);
    const json_t *file;
    size_t i;

    json_array_foreach(files, i, file)
    {
        const char *path = json_text_or_null(file, "path");
        table_add_row(table);
        table_set(table, 0, "%s", strrchr(path, '/') + 1);
        table_set_text(table, 1, file, "for");
        table_set_text(table, 2, file, "what");
    }
    table_print(table);
}

static void print_comment(const struct invocation *invocation, const char *text)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(text);
    char *rest = copy;

    output_line(invocation, "%s", "");
    for (const char *line; (line = strsep(&rest, "\n")) != NULL;)
        output_line(invocation, "# %s", line);
}

/* Without an indent: they are there to be copied. */
static void print_lines(const struct invocation *invocation, const json_t *data, const char *key, const char *comment)
{
    const json_t *line;
    size_t i;

    print_comment(invocation, comment);
    json_array_foreach(json_object_get(data, key), i, line)
    {
        output_line(invocation, "%s", json_string_value(line));
    }
}

void tls_init_print(const struct invocation *invocation, const json_t *data)
{
    output_line(invocation, "Certificates for development are in %s:", json_text_or_null(data, "directory"));
    output_line(invocation, "%s", "");
    print_files(invocation, json_object_get(data, "files"));
    print_lines(invocation, data, "postgresql_conf", "postgresql.conf; takes effect at a reload");
    print_lines(invocation, data, "pg_hba_conf",
                "pg_hba.conf, above every other line: the first that matches decides. The address is where pgcoffer\n"
                "comes from. Take out lines like \"host ... trust\": they let others in without a certificate.");
    print_lines(invocation, data, "sql", "the role, in psql");
    print_lines(invocation, data, "pgcoffer_conf", "pgcoffer.conf, with \"port = ...\" if it is not 5432");
    print_lines(invocation, data, "copy_commands",
                "The lines are right where PostgreSQL and pgcofferd run as the user who owns these files. Others need\n"
                "copies of their own: as root, and with " SERVER_FOLDER " and " CLIENT_FOLDER " in the lines:");
    print_lines(invocation, data, "renewal_commands",
                "New certificates before the days are over. pgcofferd takes them by itself, PostgreSQL at a reload.");
    print_comment(invocation,
                  "With the keys of the two CAs anybody makes certificates and logins: move them to another machine.\n"
                  "Until then \"pgcoffer check\" warns of them.");
}
