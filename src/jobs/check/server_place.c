#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "jobs/check/server_files_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/pg/query.h"

bool server_show(struct check_run *run, const char *name, char *ret_value, size_t size)
{
    struct error ignored;

    ret_value[0] = '\0';
    return pg_show(run->connection, name, ret_value, size, &ignored);
}

static bool read_process_file(int process, const char *name, char *ret_text, size_t size)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", process, name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t got = fread(ret_text, 1, size - 1, file);
    fclose(file);
    ret_text[got] = '\0';
    return got > 0;
}

/* Our end of the connection, as the server writes it: "(50312)". */
static bool find_own_port(int socket, char ret_text[16])
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    char port[8];

    if (getsockname(socket, (struct sockaddr *)&own, &size) != 0 ||
        getnameinfo((struct sockaddr *)&own, size, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
        return false;
    snprintf(ret_text, 16, "(%s)", port);
    return true;
}

/* The title of a server process tells whom it serves: "postgres: 15/main: walsender repl 192.0.2.1(50312) idle". The
 * number of a process alone may be that of another server's on this machine, and it is the server who names it. */
static bool is_our_walsender(int process, int socket)
{
    char title[512], port[16];

    return process > 0 && read_process_file(process, "cmdline", title, sizeof title) &&
           text_starts_with(title, "postgres:") && strstr(title, "walsender ") != NULL && find_own_port(socket, port) &&
           strstr(title, port) != NULL;
}

static bool find_owner(int process, struct server_place *place)
{
    char status[4096];
    unsigned user = 0, group = 0;

    if (!read_process_file(process, "status", status, sizeof status))
        return false;
    const char *users = strstr(status, "\nUid:\t");
    const char *groups = strstr(status, "\nGid:\t");
    if (users == NULL || groups == NULL || sscanf(users, "\nUid:\t%*u\t%u", &user) != 1 ||
        sscanf(groups, "\nGid:\t%*u\t%u", &group) != 1)
        return false;
    place->owner = user;
    place->group = group;
    return true;
}

/* Asked for only where it is not refused: a refusal would be an error in the server's log. */
static void find_data_directory(struct check_run *run, char ret_path[PATH_MAX])
{
    char is_superuser[16];

    ret_path[0] = '\0';
    if (run->database != NULL) {
        struct error ignored;
        struct pg_rows *rows SCOPED(scoped_pg_rows) = NULL;
        if (pg_query(run->database, "SELECT setting FROM pg_settings WHERE name = 'data_directory'", &rows, &ignored) &&
            pg_rows_text(rows, 0, 0) != NULL)
            snprintf(ret_path, PATH_MAX, "%s", pg_rows_text(rows, 0, 0));
    } else if (server_show(run, "is_superuser", is_superuser, sizeof is_superuser) && strcmp(is_superuser, "on") == 0)
        server_show(run, "data_directory", ret_path, PATH_MAX);
}

void server_place_find(struct check_run *run, struct server_place *ret_place)
{
    int process = pg_server_process(run->connection);
    char link[64];

    *ret_place = (struct server_place){0};
    find_data_directory(run, ret_place->data_directory);
    if (!is_our_walsender(process, pg_socket(run->connection)) || !find_owner(process, ret_place))
        return;
    ret_place->is_here = true;
    if (ret_place->data_directory[0] != '\0')
        return;
    snprintf(link, sizeof link, "/proc/%d/cwd", process);
    ssize_t size = readlink(link, ret_place->data_directory, sizeof ret_place->data_directory - 1);
    ret_place->data_directory[size < 0 ? 0 : size] = '\0';
}

bool server_place_path(const struct server_place *place, const char *setting, char ret_path[PATH_MAX])
{
    if (setting[0] == '/')
        return snprintf(ret_path, PATH_MAX, "%s", setting) < PATH_MAX;
    return place->data_directory[0] != '\0' &&
           snprintf(ret_path, PATH_MAX, "%s/%s", place->data_directory, setting) < PATH_MAX;
}

bool server_place_is_in_data(const struct server_place *place, const char *setting)
{
    size_t length = strlen(place->data_directory);

    if (setting[0] != '/')
        return !text_starts_with(setting, "../");
    return length > 0 && strncmp(setting, place->data_directory, length) == 0 && setting[length] == '/';
}
