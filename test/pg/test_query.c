#include "pgcoffer/pg/query.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "support/suite.h"

/* A server in a process of its own, which answers each statement with the rows the test wishes for. */
static int listener;
static pid_t child;
static struct server_config server;

struct wish {
    int rows;
    uint32_t size;    /* of the one field */
    const char *text; /* instead of `size`; NULL with both: SQL's NULL */
    bool is_failing;  /* an error comes behind the rows instead of their end */
};

static void make_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    server = (struct server_config){.name = "primary", .settings.port = ntohs(address.sin_port)};
    server.settings.connect_timeout = 10;
    server.settings.allow_insecure = true;
    snprintf(server.settings.host, CONFIG_TEXT_SIZE, "127.0.0.1");
    snprintf(server.settings.user, CONFIG_TEXT_SIZE, "repl");
    snprintf(server.settings.tls_mode, sizeof server.settings.tls_mode, "disable");
}

static void close_server(void)
{
    int status;

    close(listener);
    waitpid(child, &status, 0);
}

static void put_number(FILE *out, uint32_t number, int bytes)
{
    while (bytes-- > 0)
        fputc((int)(number >> (8 * bytes) & 0xff), out);
}

static void put_message(FILE *out, char type, const char *payload, size_t size)
{
    fputc(type, out);
    put_number(out, (uint32_t)size + 4, 4);
    fwrite(payload, 1, size, out);
}
#define PUT(out, type, payload) put_message(out, type, payload, sizeof(payload) - 1)

static void put_row(FILE *out, const struct wish *wish)
{
    uint32_t size = wish->text != NULL ? (uint32_t)strlen(wish->text) : wish->size;
    bool is_null = wish->text == NULL && wish->size == 0;

    fputc('D', out);
    put_number(out, 4 + 2 + 4 + (is_null ? 0 : size), 4);
    put_number(out, 1, 2);
    put_number(out, is_null ? UINT32_MAX : size, 4);
    for (uint32_t i = 0; i < size; i++)
        fputc(wish->text != NULL ? wish->text[i] : 'x', out);
}

static void put_answer(FILE *out, const struct wish *wish)
{
    PUT(out, 'T', "\0\1a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    for (int i = 0; i < wish->rows; i++)
        put_row(out, wish);
    if (wish->is_failing)
        PUT(out, 'E', "SERROR\0C22012\0Mbroken\0\0");
    else
        PUT(out, 'C', "SELECT 1\0");
    PUT(out, 'Z', "I");
    fflush(out);
}

/* The bytes of a message, its length before them. */
static bool read_message(int fd, char *ret_message, size_t size)
{
    uint32_t length;

    if (recv(fd, &length, 4, MSG_WAITALL) != 4 || ntohl(length) > size)
        return false;
    return recv(fd, ret_message, ntohl(length) - 4, MSG_WAITALL) == (ssize_t)ntohl(length) - 4;
}

static void serve(const struct wish *wish)
{
    char message[1024], type;
    int fd = accept(listener, NULL, NULL);
    FILE *out = fdopen(fd, "w");

    signal(SIGPIPE, SIG_IGN);
    if (!read_message(fd, message, sizeof message))
        return;
    PUT(out, 'R', "\0\0\0\0");
    PUT(out, 'S', "server_version\00015.20\0");
    PUT(out, 'Z', "I");
    fflush(out);
    while (recv(fd, &type, 1, MSG_WAITALL) == 1 && type == 'Q' && read_message(fd, message, sizeof message))
        put_answer(out, wish);
}

static bool query(struct wish wish, struct pg_connection **ret_connection, struct pg_rows **ret_rows, struct error *err)
{
    child = fork();
    if (child == 0) {
        serve(&wish);
        _exit(0);
    }
    ck_assert_msg(pg_connect_sql(&server, "postgres", "pgcoffer check", -1, ret_connection, err), "%s", err->message);
    return pg_query(*ret_connection, "SELECT a", ret_rows, err);
}

START_TEST(rows_are_given_as_printable_text)
{
    struct pg_connection *connection SCOPED(scoped_pg_connection) = NULL;
    struct pg_rows *rows SCOPED(scoped_pg_rows) = NULL;
    struct error err = {0};

    ck_assert(query((struct wish){.rows = 10000, .text = "a\x1b[2J"}, &connection, &rows, &err));
    ck_assert_int_eq(pg_rows_count(rows), 10000);
    ck_assert_str_eq(pg_rows_text(rows, 0, 0), "a?[2J");
    ck_assert_str_eq(pg_rows_text(rows, 9999, 0), "a?[2J");
    ck_assert_ptr_null(pg_rows_text(rows, 10000, 0));
    ck_assert_ptr_null(pg_rows_text(rows, -1, 0));
    ck_assert_ptr_null(pg_rows_text(rows, 0, 1));
    ck_assert_ptr_null(pg_rows_text(rows, 0, -1));
}
END_TEST

START_TEST(null_and_no_rows_at_all_are_told_apart)
{
    struct pg_connection *connection SCOPED(scoped_pg_connection) = NULL;
    struct pg_rows *rows SCOPED(scoped_pg_rows) = NULL;
    struct error err = {0};

    ck_assert(query((struct wish){.rows = _i}, &connection, &rows, &err));
    ck_assert_int_eq(pg_rows_count(rows), _i);
    ck_assert_ptr_null(pg_rows_text(rows, 0, 0));
}
END_TEST

START_TEST(too_many_rows_and_too_many_bytes_are_errors_and_the_end)
{
    static const struct wish wishes[] = {{.rows = 10001, .text = "a"}, {.rows = 5, .size = 1024 * 1024}};
    struct pg_connection *connection SCOPED(scoped_pg_connection) = NULL;
    struct pg_rows *rows = NULL;
    struct error err = {0};

    ck_assert(!query(wishes[_i], &connection, &rows, &err));
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_ptr_nonnull(strstr(err.message, "more than"));
    ck_assert(!pg_query(connection, "SELECT a", &rows, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "gone"));
    ck_assert_ptr_null(rows);
}
END_TEST

START_TEST(an_error_in_the_midst_of_rows_gives_none_and_the_connection_stays)
{
    struct pg_connection *connection SCOPED(scoped_pg_connection) = NULL;
    struct pg_rows *rows = NULL;
    struct error err = {0};

    ck_assert(!query((struct wish){.rows = 3, .text = "a", .is_failing = true}, &connection, &rows, &err));
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert(!pg_query(connection, "SELECT a", &rows, &err));
    ck_assert_str_eq(err.message, "could not query the server: broken (SQLSTATE 22012)");
    ck_assert_ptr_null(rows);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("query");

    tcase_add_checked_fixture(tests, make_server, close_server);
    tcase_add_test(tests, rows_are_given_as_printable_text);
    tcase_add_loop_test(tests, null_and_no_rows_at_all_are_told_apart, 0, 3);
    tcase_add_loop_test(tests, too_many_rows_and_too_many_bytes_are_errors_and_the_end, 0, 2);
    tcase_add_test(tests, an_error_in_the_midst_of_rows_gives_none_and_the_connection_stays);
    return suite_run("query", tests);
}
