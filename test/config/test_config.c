#include "pgcoffer/config/config.h"

#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "support/suite.h"

#define FILES "tls_cert_file=/t/c\ntls_key_file=/t/k\ntls_ca_file=/t/a\n"
#define GOOD  "[primary]\nhost=db1\nuser=repl\n" FILES

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(config_parse(text, strlen(text), "c", &config, &err), "%s (%s)", err.message, err.hint);
    return config;
}

static void assert_refuses(const char *text, const char *message, const char *hint)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(!config_parse(text, strlen(text), "c", &config, &err), "accepted %s", text);
    ck_assert_ptr_null(config);
    ck_assert_str_eq(err.message, message);
    ck_assert_str_eq(err.hint, hint);
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
}

START_TEST(the_server_section_of_the_tutorials_is_enough)
{
    struct config *config SCOPED(scoped_config) = parse("[primary]\nhost=db1.example.com\nport=5433\nuser=repl\n"
                                                        "tls_cert_file=/path/to/home/.postgresql/postgresql.crt\n"
                                                        "tls_key_file=/path/to/home/.postgresql/postgresql.key\n"
                                                        "tls_ca_file=/path/to/home/.postgresql/ca.crt\n");

    ck_assert_uint_eq(config->server_count, 1);
    ck_assert_str_eq(config->servers[0].name, "primary");
    const struct settings *settings = &config->servers[0].settings;
    ck_assert_int_eq(settings->port, 5433);
    ck_assert_str_eq(settings->host, "db1.example.com");
    ck_assert_str_eq(settings->wal_slot, "pgcoffer");
    ck_assert(settings->create_slot);
    ck_assert(!settings->synchronous);
    ck_assert_str_eq(settings->application_name, "pgcoffer");
    ck_assert_int_eq(config_tls_mode(settings), TLS_VERIFY_FULL);
    ck_assert_str_eq(config->settings.base_dir, "/var/lib/pgcoffer");
    ck_assert(!config->is_admin_group_written);
}
END_TEST

START_TEST(an_empty_configuration_has_no_servers)
{
    struct config *config SCOPED(scoped_config) = parse("");

    ck_assert_uint_eq(config->server_count, 0);
    ck_assert_int_eq(config->settings.compression_level, 3);
}
END_TEST

START_TEST(a_server_overrides_the_daemon_and_inherits_the_rest)
{
    struct config *config SCOPED(scoped_config) =
        parse(GOOD "workers = 2\n[pgcoffer] # later\ncompression_level = 9 # high\nworkers = 7\nadmin_group = dba\n");

    ck_assert_int_eq(config->servers[0].settings.workers, 2);
    ck_assert_int_eq(config->servers[0].settings.compression_level, 9);
    ck_assert_int_eq(config->settings.workers, 7);
    ck_assert(config->is_admin_group_written);
}
END_TEST

START_TEST(sizes_have_units_and_are_printed_with_the_largest_that_fits)
{
    static const struct {
        const char *written;
        uint64_t bytes;
        const char *printed;
    } cases[] = {
        {"0", 0, "0"},
        {"0 GB", 0, "0"},
        {"1kB", 1024, "1kB"},
        {"7 MB", 7 << 20, "7MB"},
        {"2048mb", UINT64_C(2) << 30, "2GB"},
        {"1500MB", UINT64_C(1500) << 20, "1500MB"},
        {"8388607 TB", UINT64_C(8388607) << 40, "8388607TB"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text SCOPED(scoped_free) = memory_text(GOOD "wal_reserve = %s\n", cases[i].written);
        struct config *config SCOPED(scoped_config) = parse(text);
        char *again SCOPED(scoped_free) = config_to_text(config);
        char *line SCOPED(scoped_free) = memory_text("\nwal_reserve = \"%s\"\n", cases[i].printed);
        ck_assert_uint_eq(config->servers[0].settings.wal_reserve, cases[i].bytes);
        ck_assert_uint_eq(config->settings.wal_reserve, UINT64_C(256) << 20);
        ck_assert_msg(strstr(again, line) != NULL, "%s", again);
    }
}
END_TEST

START_TEST(misspelt_and_misplaced_keys_are_told_the_right_ones)
{
    assert_refuses("[primary]\ntls_cret_file=/x\n", "c:2: there is no setting \"tls_cret_file\"",
                   "Did you mean \"tls_cert_file\"?");
    assert_refuses("[primary]\ntls_cert=/x\n", "c:2: there is no setting \"tls_cert\"",
                   "Did you mean \"tls_cert_file\"?");
    assert_refuses("[primary]\nsslmode=require\n", "c:2: there is no setting \"sslmode\"",
                   "Did you mean \"tls_mode\"?");
    assert_refuses("[primary]\nfancy_colors=1\n", "c:2: there is no setting \"fancy_colors\"",
                   "Every setting is listed by: pgcoffer config sample");
    assert_refuses("[primary]\npassword=geheim\n", "c:2: there is no setting \"password\"",
                   "A password never stands here: name a file in .pgpass form with password_file.");
    assert_refuses("[pgcoffer]\nuser = repl\n", "c:2: user belongs into a server's section, not into [pgcoffer]",
                   "Move the line below the server's name, such as [primary].");
    assert_refuses("[primary]\nbase_dir = /x\n",
                   "c:2: base_dir belongs into the section [pgcoffer], not into [primary]",
                   "Move the line below [pgcoffer].");
    assert_refuses("host = db1\n", "c:1: \"host\" stands outside of a section",
                   "Put it below a line such as [pgcoffer] or [primary].");
}
END_TEST

START_TEST(what_is_given_twice_is_named_with_both_places)
{
    assert_refuses("[primary]\nport=1\n\nport=1\n", "c:4: port is given twice in [primary], first at c:2",
                   "Remove one of the two lines.");
    assert_refuses(GOOD "[primary]\n", "c:7: section [primary] is given twice, first at c:1",
                   "Put all its lines below one [primary].");
    assert_refuses("[pgcoffer]\n[pgcoffer]\n", "c:2: section [pgcoffer] is given twice, first at c:1",
                   "Put all its lines below one [pgcoffer].");
}
END_TEST

START_TEST(bad_values_are_told_good_ones)
{
    assert_refuses("[p]\nport = 65536\n", "c:2: \"65536\" is no value for port",
                   "Give a whole number from 1 to 65535; the default is 5432.");
    assert_refuses("[p]\nport = ...\n", "c:2: \"...\" is no value for port",
                   "Give a whole number from 1 to 65535; the default is 5432.");
    assert_refuses("[p]\nconnect_timeout = 1\n", "c:2: \"1\" is no value for connect_timeout",
                   "Give a whole number from 2 to 600; the default is 10.");
    assert_refuses("[p]\nwal_reserve = 5\n", "c:2: \"5\" is no value for wal_reserve",
                   "Give a whole number with its unit, kB, MB, GB or TB, such as 256MB, or 0.");
    assert_refuses("[p]\nwal_reserve = -1GB\n", "c:2: \"-1GB\" is no value for wal_reserve",
                   "Give a whole number with its unit, kB, MB, GB or TB, such as 256MB, or 0.");
    assert_refuses("[p]\nwal_reserve = 8388608 TB\n", "c:2: \"8388608 TB\" is no value for wal_reserve",
                   "Give a whole number with its unit, kB, MB, GB or TB, such as 256MB, or 0.");
    assert_refuses("[p]\nwal_reserve = GB\n", "c:2: \"GB\" is no value for wal_reserve",
                   "Give a whole number with its unit, kB, MB, GB or TB, such as 256MB, or 0.");
    assert_refuses("[p]\ncreate_slot = maybe\n", "c:2: \"maybe\" is no value for create_slot",
                   "Write create_slot = yes or create_slot = no.");
    assert_refuses("[p]\ntls_mode = verify\n", "c:2: \"verify\" is no value for tls_mode",
                   "Choose one of: verify-full verify-ca require disable");
    assert_refuses("[p]\ntls_mode =\n", "c:2: \"\" is no value for tls_mode",
                   "Choose one of: verify-full verify-ca require disable");
    assert_refuses("[pgcoffer]\nbase_dir = backups\n", "c:2: base_dir = backups is not an absolute path",
                   "Write the whole path from the root, as in: base_dir = /var/lib/pgcoffer");
    assert_refuses("[p]\ntls_key_file = ~/key\n", "c:2: tls_key_file = ~/key is not an absolute path",
                   "Write the whole path from the root, as in: tls_key_file = /etc/pgcoffer/tls/repl.key");
    assert_refuses("[p]\ntls_key_file = system\n", "c:2: tls_key_file = system is not an absolute path",
                   "Write the whole path from the root, as in: tls_key_file = /etc/pgcoffer/tls/repl.key");
    assert_refuses("[pgcoffer]\nbase_dir =\n", "c:2: base_dir has no value",
                   "Leave the line out for the default, /var/lib/pgcoffer.");
    assert_refuses("[p]\nhostaddr = db1\n", "c:2: \"db1\" is no IP address",
                   "hostaddr takes an address such as 192.0.2.10 or 2001:db8::10; a name belongs into host.");
    assert_refuses("[p]\nhost = a b\n", "c:2: \"a b\" is no host name",
                   "Separate the hosts of one cluster with commas, as in: host = db1, db2");
    assert_refuses("[p]\nwal_slot = Pg-1\n", "c:2: \"Pg-1\" is no name for a replication slot",
                   "Use up to 63 of a-z, 0-9 and _.");
    assert_refuses("[p]\napplication_name = a,b\n", "c:2: \"a,b\" is no application name",
                   "Use up to 63 letters of ASCII, digits, blanks in between, and _ - . : @");
    assert_refuses("[p]\napplication_name = *\n", "c:2: \"*\" is no application name",
                   "Use up to 63 letters of ASCII, digits, blanks in between, and _ - . : @");
    assert_refuses("[p]\napplication_name = a234567890b234567890c234567890d234567890e234567890f2345678901234\n",
                   "c:2: \"a234567890b234567890c234567890d234567890e234567890f2345678901234\" is no application name",
                   "Use up to 63 letters of ASCII, digits, blanks in between, and _ - . : @");
    assert_refuses("[p]\napplication_name =\n", "c:2: application_name has no value",
                   "Leave the line out for the default, pgcoffer.");
    assert_refuses("[a b]\n", "c:1: \"a b\" is no name for a server",
                   "Use up to 63 letters, digits, - and _, and begin with a letter or digit.");
}
END_TEST

START_TEST(lists_are_names_between_commas)
{
    static const char *const bad[] = {"a b", ",", "a,", "a,,b", "a, ,b", "@", ",a", "a , "};
    const char *groups[] = {"dba", "ops"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        char message[256];
        snprintf(text, sizeof text, "[p]\nrestorers = %s\n", bad[i]);
        snprintf(message, sizeof message, "c:2: \"%s\" is no list for restorers",
                 strcmp(bad[i], "a , ") ? bad[i] : "a ,");
        assert_refuses(text, message,
                       "Write names separated by commas, groups as @name, certificates as cert:NAME: "
                       "restorers = postgres, @dba, cert:db1");
    }
    struct config *config SCOPED(scoped_config) = parse(GOOD "restorers = postgres , @dba,cert:x\n");
    const char *list = config->servers[0].settings.restorers;
    ck_assert_str_eq(list, "postgres,@dba,cert:x");
    ck_assert(config_list_has(list, "postgres", NULL, 0));
    ck_assert(!config_list_has(list, "postgre", NULL, 0));
    ck_assert(!config_list_has(list, "dba", NULL, 0));
    ck_assert(!config_list_has(list, "@dba", NULL, 0));
    ck_assert(config_list_has(list, "eve", groups, 2));
    ck_assert(!config_list_has(list, "eve", groups + 1, 1));
    ck_assert(!config_list_has("", "", groups, 2));
    ck_assert(config_list_has("a, @ops", "x", groups, 2));
}
END_TEST

START_TEST(a_server_must_say_where_and_as_whom)
{
    assert_refuses("[p]\nuser = repl\n" FILES, "c:1: server [p] has no host",
                   "Add the name that stands in PostgreSQL's certificate: host = db1.example.com");
    assert_refuses("[p]\nhost = a\n" FILES, "c:1: server [p] has no user",
                   "Add the role with the REPLICATION attribute: user = repl");
    assert_refuses("[p]\nhostaddr = 192.0.2.1\nuser = repl\n" FILES,
                   "c:2: server [p] has hostaddr but no host, and verify-full compares the host name",
                   "Add the name that stands in PostgreSQL's certificate: host = db1.example.com");
    assert_refuses("[p]\nhost = /run/postgresql\nuser = repl\n" FILES,
                   "c:2: host = /run/postgresql is a Unix socket, which has no TLS",
                   "Give the host name that stands in PostgreSQL's certificate.");
    assert_refuses("[p]\nhost = a,@abstract\nuser = repl\n" FILES,
                   "c:2: host = @abstract is a Unix socket, which has no TLS",
                   "Give the host name that stands in PostgreSQL's certificate.");
    config_free(parse("[p]\nhostaddr = fe80::1%eth0\nuser = repl\ntls_mode = verify-ca\n" FILES));
}
END_TEST

START_TEST(weaker_tls_must_be_stated)
{
    const char *state = "Write tls_mode = verify-full, or state that you accept it: allow_insecure = yes";
    const char *system_hint = "The distribution's CAs sign for everybody, so only the host name tells who it is: write "
                              "tls_mode = verify-full, or name your own CA.";

    assert_refuses(GOOD "tls_mode = require\n", "c:7: tls_mode = require leaves PostgreSQL unverified", state);
    assert_refuses(GOOD "tls_mode = disable\n", "c:7: tls_mode = disable leaves PostgreSQL unverified", state);
    assert_refuses("[p]\nhost=a\nuser=b\ntls_mode=verify-ca\ntls_ca_file=system\n",
                   "c:5: tls_ca_file = system demands tls_mode = verify-full, not verify-ca", system_hint);
    assert_refuses("[p]\nhost=a\nuser=b\ntls_cert_file=/c\ntls_key_file=/k\n",
                   "c:1: server [p] has no tls_ca_file, which tls_mode = verify-full needs",
                   "Name the CA that signed PostgreSQL's certificate, as in: tls_ca_file = /etc/pgcoffer/tls/root.crt");
    struct config *config SCOPED(scoped_config) =
        parse("[p]\nhost=a\nuser=b\ntls_mode=disable\nallow_insecure=yes\n[q]\nhost=a\nuser=b\n"
              "tls_mode=require\nallow_insecure=on\n[r]\nhost=a\nuser=b\ntls_ca_file=system\npassword_file=/x\n");
    ck_assert_int_eq(config_tls_mode(&config->servers[0].settings), TLS_DISABLE);
    ck_assert_int_eq(config_tls_mode(&config->servers[1].settings), TLS_REQUIRE);
    ck_assert_int_eq(config_tls_mode(&config->servers[2].settings), TLS_VERIFY_FULL);
}
END_TEST

START_TEST(a_missing_client_certificate_must_be_stated)
{
    assert_refuses("[p]\nhost=a\nuser=b\ntls_ca_file=/a\n", "c:1: server [p] has no client certificate",
                   "Add tls_cert_file and tls_key_file; for a server that asks for a password instead, add "
                   "password_file.");
    assert_refuses("[p]\nhost=a\nuser=b\ntls_ca_file=/a\ntls_key_file=/k\n",
                   "c:5: tls_key_file is given without tls_cert_file",
                   "Add the other half, as in: tls_cert_file = /etc/pgcoffer/tls/repl.crt");
    assert_refuses("[p]\nhost=a\nuser=b\ntls_ca_file=/a\ntls_cert_file=/k\npassword_file=/x\n",
                   "c:5: tls_cert_file is given without tls_key_file",
                   "Add the other half, as in: tls_key_file = /etc/pgcoffer/tls/repl.key");
    config_free(parse("[p]\nhost=a\nuser=b\ntls_ca_file=/a\npassword_file=/x\n"));
    config_free(parse("[p]\nhost=a\nuser=b\ntls_ca_file=/a\nallow_insecure=yes\n"));
}
END_TEST

START_TEST(settings_can_be_made_without_a_file)
{
    struct settings settings, other;
    char names[CONFIG_TEXT_SIZE];
    struct error err;

    config_default_settings(&settings);
    ck_assert_int_eq(settings.port, 5432);
    ck_assert_int_eq(config_tls_mode(&settings), TLS_VERIFY_FULL);
    other = settings;
    ck_assert(config_set(&settings, "port", "5433", &err));
    /* No text of a value can become another setting. */
    ck_assert(config_set(&settings, "user", "re\"pl\nallow_insecure = yes", &err));
    ck_assert_str_eq(settings.user, "re\"pl\nallow_insecure = yes");
    ck_assert(!settings.allow_insecure);
    ck_assert(!config_set(&settings, "port", "99999", &err));
    ck_assert_str_eq(err.message, "\"99999\" is no value for port");
    ck_assert(!config_set(&settings, "prot", "1", &err));
    ck_assert_str_eq(err.hint, "Did you mean \"port\"?");
    config_differences(&settings, &other, names);
    ck_assert_str_eq(names, "port, user");
    config_differences(&settings, &settings, names);
    ck_assert_str_eq(names, "");
}
END_TEST

START_TEST(too_many_servers_and_too_many_bytes_are_refused)
{
    char *text SCOPED(scoped_free) = memory_new(1024 * 1024 + 2);
    size_t used = 0;
    struct config *config;
    struct error err;

    for (int i = 0; i < CONFIG_MOST_SERVERS; i++)
        used += (size_t)snprintf(text + used, 1000, "[s%d]\nhost=a\nuser=b\n" FILES, i);
    ck_assert(config_parse(text, used, "c", &config, &err));
    ck_assert_uint_eq(config->server_count, CONFIG_MOST_SERVERS);
    config_free(config);
    used += (size_t)snprintf(text + used, 1000, "[one_more]\n");
    ck_assert(!config_parse(text, used, "c", &config, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "more than 256 servers"));

    memset(text, '\n', 1024 * 1024 + 1);
    ck_assert(!config_parse(text, 1024 * 1024 + 1, "c", &config, &err));
    ck_assert_str_eq(err.message, "configuration \"c\" is larger than 1048576 bytes");

    char long_value[1200];
    memset(long_value, 'v', sizeof long_value);
    int size = snprintf(text, 2000, "[a]\nuser = %.1024s", long_value);
    ck_assert(!config_parse(text, (size_t)size, "c", &config, &err));
    ck_assert_str_eq(err.message, "c:2: the value of user is longer than 1023 bytes");
    size = snprintf(text, 2000, "[a]\nrestorers = %.1023s", long_value);
    ck_assert(!config_parse(text, (size_t)size, "c", &config, &err));
    ck_assert_str_eq(err.message, "c:2: the value of restorers is longer than 1023 bytes");
}
END_TEST

#define GATEWAY "[pgcoffer]\nmanagement = 7432\ntls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = /a\n"

START_TEST(a_gateway_needs_its_files_and_a_server_inherits_none_of_them)
{
    static const char text[] = GATEWAY "host = ::\n[one]\nuser = repl\n";
    static const char good[] = GATEWAY "[one]\nhost = db1\nuser = repl\ntls_ca_file = /other\nallow_insecure = yes\n";
    struct config *config;
    struct error err;

    ck_assert(!config_parse(text, sizeof text - 1, "c", &config, &err));
    ck_assert_str_eq(err.message, "c:7: server [one] has no host");
    ck_assert_msg(config_parse(good, sizeof good - 1, "c", &config, &err), "%s", err.message);
    ck_assert_str_eq(config->settings.tls_cert_file, "/c");
    ck_assert_str_eq(config->servers[0].settings.tls_cert_file, "");
    ck_assert_str_eq(config->servers[0].settings.tls_ca_file, "/other");
    config_free(config);
    assert_refuses("[pgcoffer]\nmanagement = 7432\n",
                   "c:2: management = 7432 opens the gateway, and [pgcoffer] has no "
                   "tls_cert_file",
                   "Without TLS on both sides nobody is let in. Add, as in: tls_cert_file = "
                   "/etc/pgcoffer/tls/repl.crt");
    assert_refuses("[pgcoffer]\nmanagement = 1\ntls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = system\n",
                   "c:5: tls_ca_file = system lets in whoever has a certificate of a public CA",
                   "Name a CA of your own that signs for the gateway's clients and for nobody else.");
    assert_refuses(GATEWAY "host = a, b\n", "c:6: host = a, b is not one name or address to listen on",
                   "Name one, as in host = backup.example.com; host = 0.0.0.0 or host = :: is every address.");
    assert_refuses(GATEWAY "metrics = 7432\n", "c:6: metrics = 7432 is the port of the gateway as well (management)",
                   "Choose another port for one of the two.");
}
END_TEST

START_TEST(certificates_stand_in_lists_by_kind_and_name_and_alone_in_admins)
{
    struct config *config;
    struct error err;
    static const char text[] = "[pgcoffer]\nadmins = cert:boss , san:b.example.com\n";

    ck_assert_msg(config_parse(text, sizeof text - 1, "c", &config, &err), "%s", err.message);
    ck_assert_str_eq(config->settings.admins, "cert:boss,san:b.example.com");
    config_free(config);
    assert_refuses("[pgcoffer]\nadmins = cert:boss, root\n", "c:2: \"root\" in admins is no certificate",
                   "Write cert:NAME or san:NAME; OS users who may give every command are members of admin_group.");
    assert_refuses("[pgcoffer]\nmonitors = cert:\n", "c:2: \"cert:\" is no list for monitors",
                   "Write names separated by commas, groups as @name, certificates as cert:NAME: "
                   "monitors = postgres, @dba, cert:db1");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config");

    tcase_add_test(tests, the_server_section_of_the_tutorials_is_enough);
    tcase_add_test(tests, an_empty_configuration_has_no_servers);
    tcase_add_test(tests, a_server_overrides_the_daemon_and_inherits_the_rest);
    tcase_add_test(tests, sizes_have_units_and_are_printed_with_the_largest_that_fits);
    tcase_add_test(tests, misspelt_and_misplaced_keys_are_told_the_right_ones);
    tcase_add_test(tests, what_is_given_twice_is_named_with_both_places);
    tcase_add_test(tests, bad_values_are_told_good_ones);
    tcase_add_test(tests, lists_are_names_between_commas);
    tcase_add_test(tests, a_server_must_say_where_and_as_whom);
    tcase_add_test(tests, weaker_tls_must_be_stated);
    tcase_add_test(tests, a_missing_client_certificate_must_be_stated);
    tcase_add_test(tests, settings_can_be_made_without_a_file);
    tcase_add_test(tests, too_many_servers_and_too_many_bytes_are_refused);
    tcase_add_test(tests, a_gateway_needs_its_files_and_a_server_inherits_none_of_them);
    tcase_add_test(tests, certificates_stand_in_lists_by_kind_and_name_and_alone_in_admins);
    return suite_run("config", tests);
}
