#include "jobs/check/hba_rule_internal.h"
#include "jobs/check/server_files_internal.h"
#include "jobs/check/sql_internal.h"
#include "jobs/check/sync_internal.h"

#include "support/suite.h"

/* What the server's own files and views mean: lines of pg_hba.conf, names of pg_ident.conf, the key's mode, ciphers. */
static struct hba_rule rules[8];
static size_t count;

static void begin(void)
{
    count = 0;
}

static struct hba_rule *add(const char *type, const char *bases, const char *users, const char *address,
                            const char *netmask, const char *method, const char *options)
{
    static const char *const lines[] = {"1", "2", "3", "4", "5", "6", "7", "8"};

    rules[count] = (struct hba_rule){lines[count], type, bases, users, address, netmask, method, options, NULL};
    return &rules[count++];
}

static const struct hba_rule *looser(void)
{
    return hba_rule_find_looser(rules, count, hba_rule_find_ours(rules, count, "repl", "192.0.2.9"), "repl");
}

START_TEST(the_first_line_that_fits_is_ours)
{
    add("local", "replication", "all", NULL, NULL, "trust", NULL);
    add("hostssl", "all", "all", "all", NULL, "cert", NULL);
    add("hostssl", "replication", "standby", "all", NULL, "cert", NULL);
    add("hostssl", "replication", "repl", "198.51.100.0", "255.255.255.0", "cert", NULL);
    add("hostssl", "replication", "repl", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "cert", NULL);
    add("hostnossl", "replication", "repl", "all", NULL, "reject", NULL);
    const struct hba_rule *ours =
        add("hostssl", "postgres,replication", "repl", "192.0.2.0", "255.255.255.0", "cert", "");
    ck_assert_ptr_eq(hba_rule_find_ours(rules, count, "repl", "192.0.2.9"), ours);
    ck_assert_ptr_null(hba_rule_find_ours(rules, count, "repl", "203.0.113.1"));
    ck_assert_ptr_null(looser());
}
END_TEST

START_TEST(an_ipv6_client_is_matched_by_its_network)
{
    const struct hba_rule *ours =
        add("hostssl", "replication", "all", "2001:db8::", "ffff:ffff::", "scram-sha-256", NULL);

    ck_assert_ptr_eq(hba_rule_find_ours(rules, count, "repl", "2001:db8::7"), ours);
    ck_assert_ptr_null(hba_rule_find_ours(rules, count, "repl", "2001:db9::7"));
    ck_assert_ptr_null(hba_rule_find_ours(rules, count, "repl", "192.0.2.9"));
}
END_TEST

START_TEST(groups_and_expressions_are_taken_to_fit)
{
    const struct hba_rule *ours = add("hostssl", "replication", "x,+agents", "samenet", NULL, "cert", NULL);

    ck_assert_ptr_eq(hba_rule_find_ours(rules, count, "repl", "192.0.2.9"), ours);
}
END_TEST

START_TEST(a_trust_line_above_is_looser_for_whomever_it_is)
{
    const struct hba_rule *trust =
        add("host", "replication", "standby", "198.51.100.0", "255.255.255.0", "trust", NULL);

    add("hostssl", "replication", "repl", "all", NULL, "cert", NULL);
    ck_assert_ptr_eq(looser(), trust);
}
END_TEST

START_TEST(a_line_below_ours_or_that_rejects_is_not_looser)
{
    add("host", "replication", "all", "198.51.100.0", "255.255.255.0", "reject", NULL);
    add("hostssl", "replication", "repl", "all", NULL, "cert", NULL);
    add("host", "replication", "all", "all", NULL, "trust", NULL);
    ck_assert_ptr_null(looser());
}
END_TEST

START_TEST(a_password_alone_is_less_than_a_certificate)
{
    const struct hba_rule *password =
        add("hostssl", "replication", "all", "198.51.100.0", "255.255.255.0", "scram-sha-256", NULL);

    add("hostssl", "replication", "repl", "all", NULL, "scram-sha-256", "clientcert=verify-full");
    ck_assert_ptr_eq(looser(), password);
    rules[0].options = "clientcert=verify-ca";
    ck_assert_ptr_null(looser());
    rules[0].options = NULL;
    rules[0].users = "standby";
    ck_assert_ptr_null(looser());
}
END_TEST

START_TEST(host_is_less_than_hostssl)
{
    const struct hba_rule *plain =
        add("host", "replication", "repl", "198.51.100.0", "255.255.255.0", "scram-sha-256", NULL);

    add("hostssl", "replication", "repl", "all", NULL, "scram-sha-256", NULL);
    ck_assert_ptr_eq(looser(), plain);
    rules[0].type = "hostssl";
    ck_assert_ptr_null(looser());
}
END_TEST

START_TEST(a_line_that_was_not_understood_is_passed_over)
{
    add(NULL, "", "", NULL, NULL, NULL, NULL);
    add("hostssl", "replication", "repl", "all", NULL, "cert", NULL);
    ck_assert_ptr_null(looser());
}
END_TEST

START_TEST(only_expressions_that_take_every_name_are_open)
{
    ck_assert(ident_name_catches_all("/^(.*)$"));
    ck_assert(ident_name_catches_all("/.*"));
    ck_assert(ident_name_catches_all("/."));
    ck_assert(!ident_name_catches_all("/^(.*)@example\\.com$"));
    ck_assert(!ident_name_catches_all("repl"));
    ck_assert(!ident_name_catches_all("/("));
    ck_assert(!ident_name_catches_all(NULL));
}
END_TEST

START_TEST(the_key_is_the_servers_alone_or_roots)
{
    static const struct {
        uid_t owner;
        mode_t mode;
        bool is_fine;
    } cases[] = {
        {100, S_IFREG | 0600, true},  {100, S_IFREG | 0400, true}, {100, S_IFREG | 0640, false},
        {100, S_IFREG | 0604, false}, {0, S_IFREG | 0640, true},   {0, S_IFREG | 0600, true},
        {0, S_IFREG | 0660, false},   {0, S_IFREG | 0644, false},  {200, S_IFREG | 0600, false},
        {100, S_IFDIR | 0700, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stat about = {.st_uid = cases[i].owner, .st_mode = cases[i].mode};
        ck_assert_msg((server_key_fault(&about, 100) == NULL) == cases[i].is_fine, "case %zu", i);
    }
}
END_TEST

START_TEST(a_path_is_in_the_data_directory_or_not)
{
    struct server_place place = {.data_directory = "/srv/pg/data"};
    char path[PATH_MAX];

    ck_assert(server_place_is_in_data(&place, "server.key"));
    ck_assert(server_place_is_in_data(&place, "/srv/pg/data/tls/server.key"));
    ck_assert(!server_place_is_in_data(&place, "/srv/pg/data-tls/server.key"));
    ck_assert(!server_place_is_in_data(&place, "../server.key"));
    ck_assert(server_place_path(&place, "server.key", path));
    ck_assert_str_eq(path, "/srv/pg/data/server.key");
    place.data_directory[0] = '\0';
    ck_assert(!server_place_path(&place, "server.key", path));
    ck_assert(!server_place_is_in_data(&place, "/etc/server.key"));
}
END_TEST

START_TEST(ciphers_without_certificate_or_encryption_are_found)
{
    char name[64];

    ck_assert_int_eq(sql_judge_ciphers("HIGH:MEDIUM:+3DES:!aNULL", name), SQL_CIPHERS_FINE);
    ck_assert_str_eq(name, "");
    ck_assert_int_eq(sql_judge_ciphers("ALL", name), SQL_CIPHERS_ANONYMOUS);
    ck_assert_str_ne(name, "");
    ck_assert_int_eq(sql_judge_ciphers("HIGH:!aNULL:eNULL", name), SQL_CIPHERS_UNENCRYPTED);
    ck_assert_int_eq(sql_judge_ciphers("no such thing", name), SQL_CIPHERS_FINE);
    ck_assert_int_eq(sql_judge_ciphers("", name), SQL_CIPHERS_FINE);
}
END_TEST

START_TEST(an_expression_made_to_exhaust_us_is_not_tried)
{
    size_t depth = 100000;
    char *brackets = malloc(2 * depth + 3);

    memset(brackets, '/', 1);
    memset(brackets + 1, '(', depth);
    brackets[depth + 1] = 'x';
    memset(brackets + depth + 2, ')', depth);
    brackets[2 * depth + 2] = '\0';
    ck_assert(!ident_name_catches_all(brackets));
    free(brackets);
    ck_assert(!ident_name_catches_all("/((a{255}){255}){255}"));
}
END_TEST

START_TEST(settings_of_roles_and_databases_are_named_as_sql_takes_them)
{
    char text[SYNC_OWNER_SIZE];

    ck_assert_str_eq(sync_settings_owner("app", NULL, text), "ROLE app");
    ck_assert_str_eq(sync_settings_owner("My App", "Sales \"x\"", text),
                     "ROLE \"My App\" IN DATABASE \"Sales \"\"x\"\"\"");
    ck_assert_str_eq(sync_settings_owner(NULL, "Sales", text), "DATABASE \"Sales\"");
    ck_assert_str_eq(sync_settings_owner(NULL, NULL, text), "ROLE ALL");
    ck_assert_str_eq(sync_settings_owner("all", NULL, text), "ROLE \"all\"");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("check_server_rules");

    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, the_first_line_that_fits_is_ours);
    tcase_add_test(tests, an_ipv6_client_is_matched_by_its_network);
    tcase_add_test(tests, groups_and_expressions_are_taken_to_fit);
    tcase_add_test(tests, a_trust_line_above_is_looser_for_whomever_it_is);
    tcase_add_test(tests, a_line_below_ours_or_that_rejects_is_not_looser);
    tcase_add_test(tests, a_password_alone_is_less_than_a_certificate);
    tcase_add_test(tests, host_is_less_than_hostssl);
    tcase_add_test(tests, a_line_that_was_not_understood_is_passed_over);
    tcase_add_test(tests, only_expressions_that_take_every_name_are_open);
    tcase_add_test(tests, an_expression_made_to_exhaust_us_is_not_tried);
    tcase_add_test(tests, the_key_is_the_servers_alone_or_roots);
    tcase_add_test(tests, a_path_is_in_the_data_directory_or_not);
    tcase_add_test(tests, ciphers_without_certificate_or_encryption_are_found);
    tcase_add_test(tests, settings_of_roles_and_databases_are_named_as_sql_takes_them);
    return suite_run("check_server_rules", tests);
}
