#include "pg/password_internal.h"

#include <sys/stat.h>

#include "support/suite.h"

static struct server_config server;

static void make_server(void)
{
    server = (struct server_config){.name = "primary", .settings.port = 5432};
    snprintf(server.settings.host, sizeof server.settings.host, "db1");
    snprintf(server.settings.user, sizeof server.settings.user, "repl");
    unsetenv("CREDENTIALS_DIRECTORY");
}

static const char *find(const char *text)
{
    static char password[PASSWORD_SIZE];

    return password_find(text, strlen(text), &server.settings, "replication", password) ? password : NULL;
}

START_TEST(the_first_line_that_fits_counts)
{
    ck_assert_str_eq(find("db1:5432:replication:repl:one\ndb1:5432:replication:repl:two\n"), "one");
    ck_assert_str_eq(find("db2:5432:replication:repl:one\n*:*:*:*:two"), "two");
    ck_assert_str_eq(find("# db1\n#db1:5432:replication:repl:no\ndb1:*:replication:repl:yes\r\n"), "yes");
}
END_TEST

START_TEST(every_field_must_fit)
{
    ck_assert_ptr_null(find("db2:5432:replication:repl:x\n"));
    ck_assert_ptr_null(find("db1:5433:replication:repl:x\n"));
    ck_assert_ptr_null(find("db1:5432:postgres:repl:x\n"));
    ck_assert_ptr_null(find("db1:5432:replication:other:x\n"));
    ck_assert_ptr_null(find("db1:5432:replication:repl\n"));
    ck_assert_ptr_null(find("db1:5432:replication:repl:\n"));
    ck_assert_ptr_null(find("db1:5432\n\n\n:::\n"));
    ck_assert_ptr_null(find(""));
}
END_TEST

START_TEST(a_backslash_takes_the_next_character_as_it_is)
{
    snprintf(server.settings.host, sizeof server.settings.host, "fe80::1");
    ck_assert_str_eq(find("fe80\\:\\:1:5432:replication:repl:a\\:b\\\\c\n"), "a:b\\c");
    ck_assert_str_eq(find("fe80\\:\\:1:5432:replication:repl:a:b\n"), "a:b");
    /* Only a bare star is any. */
    ck_assert_ptr_null(find("\\*:5432:replication:repl:x\n"));
}
END_TEST

START_TEST(a_password_too_long_is_not_cut)
{
    char text[PASSWORD_SIZE + 64];

    int used = snprintf(text, sizeof text, "*:*:*:*:");
    memset(text + used, 'x', PASSWORD_SIZE);
    text[used + PASSWORD_SIZE] = '\0';
    ck_assert_ptr_null(find(text));
}
END_TEST

START_TEST(a_file_others_may_read_is_refused)
{
    char path[] = "/tmp/pgcoffer-password-XXXXXX", password[PASSWORD_SIZE];
    struct error err = {0};
    int fd = mkstemp(path);

    ck_assert_int_eq(write(fd, "*:*:*:*:secret\n", 15), 15);
    close(fd);
    snprintf(server.settings.password_file, sizeof server.settings.password_file, "%s", path);
    ck_assert_int_eq(chmod(path, 0640), 0);
    ck_assert(!password_look_up(&server, "replication", password, &err));
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, path));
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert(password_look_up(&server, "replication", password, &err));
    ck_assert_str_eq(password, "secret");
    /* systemd's access list shows as bits of the group. */
    ck_assert_int_eq(chmod(path, 0440), 0);
    ck_assert(!password_look_up(&server, "replication", password, &err));
    setenv("CREDENTIALS_DIRECTORY", "/tmp", 1);
    ck_assert(password_look_up(&server, "replication", password, &err));
    unlink(path);
}
END_TEST

START_TEST(the_places_that_were_looked_at_are_named)
{
    char password[PASSWORD_SIZE];
    struct error err = {0};

    setenv("CREDENTIALS_DIRECTORY", "/nowhere", 1);
    snprintf(server.settings.password_file, sizeof server.settings.password_file, "/nowhere/pgpass");
    ck_assert(!password_look_up(&server, "nobody's database", password, &err));
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_ptr_nonnull(strstr(err.detail, "/nowhere/pgpass: "));
    ck_assert_ptr_nonnull(strstr(err.detail, "/nowhere/pgcoffer-pgpass-primary: "));
    ck_assert_ptr_nonnull(strstr(err.hint, "password_file"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("password");

    tcase_add_checked_fixture(tests, make_server, NULL);
    tcase_add_test(tests, the_first_line_that_fits_counts);
    tcase_add_test(tests, every_field_must_fit);
    tcase_add_test(tests, a_backslash_takes_the_next_character_as_it_is);
    tcase_add_test(tests, a_password_too_long_is_not_cut);
    tcase_add_test(tests, a_file_others_may_read_is_refused);
    tcase_add_test(tests, the_places_that_were_looked_at_are_named);
    return suite_run("password", tests);
}
