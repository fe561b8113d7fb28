#include "daemon/rights_internal.h"

#include <string.h>

#include "support/suite.h"

#define OWN_UID 990

static const char text[] = "[pgcoffer]\n"
                           "admin_group = dba\n"
                           "monitors = nagios, cert:watch-all\n"
                           "admins = cert:boss, san:root.example.com\n"
                           "[one]\n"
                           "host = a\nuser = repl\n"
                           "tls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = /a\n"
                           "restorers = postgres, @restore, cert:db1, san:db1.example.com\n"
                           "[two]\n"
                           "host = b\nuser = repl\n"
                           "tls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = /a\n"
                           "monitors = watcher\n";
static struct config *config;

static void read_configuration(void)
{
    struct error err;

    ck_assert_msg(config_parse(text, sizeof text - 1, "test", &config, &err), "%s", err.message);
}

static void free_configuration(void)
{
    config_free(config);
}

static struct caller caller(uid_t uid, const char *user, char **groups, size_t group_count)
{
    struct caller made = {.uid = uid, .has_names = true, .groups = groups, .group_count = group_count};

    snprintf(made.user, sizeof made.user, "%s", user);
    snprintf(made.text, sizeof made.text, "uid %u (%s)", (unsigned)uid, user);
    return made;
}

static bool may(const struct caller *who, enum command_id command, const char *server, enum right *ret_right,
                struct error *err)
{
    struct request request = {.command = command};

    snprintf(request.server, sizeof request.server, "%s", server);
    return rights_demand(who, config, OWN_UID, &request, ret_right, err);
}

START_TEST(root_the_own_user_and_the_group_may_all)
{
    char admin[] = "dba";
    char *groups[] = {admin};
    const struct caller admins[] = {caller(0, "root", NULL, 0), caller(OWN_UID, "pgcoffer", NULL, 0),
                                    caller(5, "anna", groups, 1)};
    enum right right;
    struct error err;

    for (size_t i = 0; i < 3; i++) {
        ck_assert(may(&admins[i], COMMAND_ID_backup, "one", &right, &err));
        ck_assert_int_eq(right, RIGHT_ADMIN);
        ck_assert(may(&admins[i], COMMAND_ID_shutdown, "", &right, &err));
        ck_assert(may(&admins[i], COMMAND_ID_verify, "", &right, &err));
        ck_assert_int_eq(right, RIGHT_ADMIN);
    }
}
END_TEST

START_TEST(a_restorer_restores_that_server_and_nothing_more)
{
    char group[] = "restore";
    char *groups[] = {group};
    const struct caller restorers[] = {caller(26, "postgres", NULL, 0), caller(27, "bob", groups, 1)};
    enum right right;
    struct error err;

    for (size_t i = 0; i < 2; i++) {
        ck_assert(may(&restorers[i], COMMAND_ID_restore, "one", &right, &err));
        ck_assert_int_eq(right, RIGHT_RESTORER);
        ck_assert(may(&restorers[i], COMMAND_ID_list, "one", &right, &err));
        ck_assert(!may(&restorers[i], COMMAND_ID_restore, "two", &right, &err));
        ck_assert_int_eq(err.kind, ERROR_DENIED);
        ck_assert(!may(&restorers[i], COMMAND_ID_backup, "one", &right, &err));
        ck_assert(!may(&restorers[i], COMMAND_ID_list, "two", &right, &err));
    }
}
END_TEST

START_TEST(a_list_without_a_server_gives_no_right_over_all)
{
    const struct caller restorer = caller(26, "postgres", NULL, 0);
    enum right right;
    struct error err;

    ck_assert(may(&restorer, COMMAND_ID_list, "", &right, &err));
    ck_assert_int_eq(right, RIGHT_MONITOR);
    ck_assert_int_eq(rights_over_any(&restorer, config, OWN_UID), RIGHT_RESTORER);
    ck_assert_int_eq(rights_over_daemon(&restorer, config, OWN_UID), RIGHT_ANYBODY);
}
END_TEST

START_TEST(monitors_of_the_daemon_are_those_of_servers_without_their_own)
{
    const struct caller daemons = caller(50, "nagios", NULL, 0);
    const struct caller own = caller(51, "watcher", NULL, 0);
    enum right right;
    struct error err;

    ck_assert(may(&daemons, COMMAND_ID_status, "one", &right, &err));
    ck_assert(!may(&daemons, COMMAND_ID_status, "two", &right, &err));
    ck_assert(may(&own, COMMAND_ID_status, "two", &right, &err));
    ck_assert(!may(&own, COMMAND_ID_status, "one", &right, &err));
    ck_assert(!may(&own, COMMAND_ID_wal_get, "two", &right, &err));
    ck_assert_int_eq(rights_over_daemon(&daemons, config, OWN_UID), RIGHT_MONITOR);
    ck_assert_int_eq(rights_over_daemon(&own, config, OWN_UID), RIGHT_ANYBODY);
}
END_TEST

START_TEST(a_refusal_names_the_list_that_would_allow_it)
{
    const struct caller nobody = caller(65534, "nobody", NULL, 0);
    enum right right;
    struct error err;

    ck_assert(!may(&nobody, COMMAND_ID_restore, "one", &right, &err));
    ck_assert_str_eq(err.message, "uid 65534 (nobody) may not ask for \"restore\" of server \"one\"");
    ck_assert_ptr_nonnull(strstr(err.hint, "Add nobody to restorers of [one]"));
    ck_assert(!may(&nobody, COMMAND_ID_status, "", &right, &err));
    ck_assert_ptr_nonnull(strstr(err.hint, "Add nobody to monitors of [pgcoffer]"));
    ck_assert(!may(&nobody, COMMAND_ID_reload, "", &right, &err));
    ck_assert_ptr_nonnull(strstr(err.hint, "the group \"dba\" (admin_group)"));
}
END_TEST

START_TEST(only_an_admin_learns_which_servers_there_are)
{
    const struct caller root = caller(0, "root", NULL, 0);
    const struct caller restorer = caller(26, "postgres", NULL, 0);
    enum right right;
    struct error err;

    ck_assert(!may(&root, COMMAND_ID_list, "onne", &right, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_str_eq(err.hint, "Did you mean \"one\"?");
    ck_assert(!may(&restorer, COMMAND_ID_list, "onne", &right, &err));
    ck_assert_int_eq(err.kind, ERROR_DENIED);
    ck_assert_int_eq(rights_over_name(&restorer, config, OWN_UID, ""), RIGHT_ANYBODY);
    ck_assert_int_eq(rights_over_name(&root, config, OWN_UID, "gone"), RIGHT_ADMIN);
}
END_TEST

START_TEST(a_caller_without_a_name_is_in_no_list)
{
    const struct caller nameless = caller(4711, "", NULL, 0);

    ck_assert_int_eq(rights_over_any(&nameless, config, OWN_UID), RIGHT_ANYBODY);
}
END_TEST

/* As caller_take_identity() makes one. */
static struct caller remote(char **names)
{
    struct caller made = {.uid = CALLER_NOBODY, .has_names = true, .is_remote = true, .certificate_names = names};

    snprintf(made.user, sizeof made.user, "%s", names[0]);
    snprintf(made.text, sizeof made.text, "%s from 192.0.2.1:5555", names[0]);
    return made;
}

START_TEST(a_certificate_has_the_rights_of_its_entries_and_no_others)
{
    char cn[] = "cert:db1", san[] = "san:db1.example.com", other[] = "cert:other", all[] = "cert:watch-all";
    char *by_cn[] = {cn, NULL}, *by_san[] = {other, san, NULL}, *watcher[] = {all, NULL};
    const struct caller restorers[] = {remote(by_cn), remote(by_san)};
    const struct caller watches = remote(watcher);
    enum right right;
    struct error err;

    for (size_t i = 0; i < 2; i++) {
        ck_assert(may(&restorers[i], COMMAND_ID_restore, "one", &right, &err));
        ck_assert_int_eq(right, RIGHT_RESTORER);
        ck_assert(!may(&restorers[i], COMMAND_ID_list, "two", &right, &err));
        ck_assert(!may(&restorers[i], COMMAND_ID_backup, "one", &right, &err));
        ck_assert_str_eq(err.hint, i == 0 ? "Add cert:db1 to admins of [pgcoffer] in the configuration and give "
                                            "\"pgcoffer reload\" there."
                                          : "Add cert:other to admins of [pgcoffer] in the configuration and give "
                                            "\"pgcoffer reload\" there.");
    }
    ck_assert(may(&watches, COMMAND_ID_status, "one", &right, &err));
    ck_assert(!may(&watches, COMMAND_ID_wal_get, "one", &right, &err));
    ck_assert_ptr_nonnull(strstr(err.hint, "on the machine of the daemon"));
}
END_TEST

START_TEST(only_a_listed_certificate_is_an_admin)
{
    char cn[] = "cert:boss", san[] = "san:root.example.com", swapped[] = "san:boss";
    char *boss[] = {cn, NULL}, *by_san[] = {san, NULL}, *wrong_kind[] = {swapped, NULL};
    const struct caller admins[] = {remote(boss), remote(by_san)};
    const struct caller no_admin = remote(wrong_kind);
    enum right right;
    struct error err;

    for (size_t i = 0; i < 2; i++) {
        ck_assert(may(&admins[i], COMMAND_ID_shutdown, "", &right, &err));
        ck_assert_int_eq(right, RIGHT_ADMIN);
    }
    ck_assert_int_eq(rights_over_any(&no_admin, config, OWN_UID), RIGHT_ANYBODY);
}
END_TEST

START_TEST(whoever_comes_through_the_gateway_is_no_user_and_no_user_is_a_certificate)
{
    char name[] = "cert:postgres", admins[] = "dba";
    char *names[] = {name, NULL}, *nothing[] = {NULL}, *groups[] = {admins};
    struct caller postgres = remote(names), unnamed = remote(names), as_user = caller(26, "cert:boss", NULL, 0);
    const struct caller with_uid[] = {
        {.uid = 0, .has_names = true, .is_remote = true, .certificate_names = nothing},
        {.uid = OWN_UID, .has_names = true, .is_remote = true, .groups = groups, .group_count = 1},
    };

    ck_assert_int_eq(rights_over_any(&postgres, config, OWN_UID), RIGHT_ANYBODY);
    unnamed.certificate_names = NULL;
    ck_assert_int_eq(rights_over_any(&unnamed, config, OWN_UID), RIGHT_ANYBODY);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(rights_over_any(&with_uid[i], config, OWN_UID), RIGHT_ANYBODY);
    ck_assert(!rights_is_admin(&as_user, config, OWN_UID));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("rights");

    tcase_add_checked_fixture(tests, read_configuration, free_configuration);
    tcase_add_test(tests, root_the_own_user_and_the_group_may_all);
    tcase_add_test(tests, a_restorer_restores_that_server_and_nothing_more);
    tcase_add_test(tests, a_list_without_a_server_gives_no_right_over_all);
    tcase_add_test(tests, monitors_of_the_daemon_are_those_of_servers_without_their_own);
    tcase_add_test(tests, a_refusal_names_the_list_that_would_allow_it);
    tcase_add_test(tests, only_an_admin_learns_which_servers_there_are);
    tcase_add_test(tests, a_caller_without_a_name_is_in_no_list);
    tcase_add_test(tests, a_certificate_has_the_rights_of_its_entries_and_no_others);
    tcase_add_test(tests, only_a_listed_certificate_is_an_admin);
    tcase_add_test(tests, whoever_comes_through_the_gateway_is_no_user_and_no_user_is_a_certificate);
    return suite_run("rights", tests);
}
