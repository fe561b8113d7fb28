#include "pgcoffer/config/config.h"

#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "support/suite.h"

#define FOLDER "/run/credentials/pgcofferd.service"
#define TEXT                                                                                                           \
    "[pgcoffer]\nmanagement=7432\ntls_cert_file=credential:gateway.crt\ntls_key_file=credential:gateway.key\n"         \
    "tls_ca_file=/t/ca\n[primary]\nhost=db1\nuser=repl\ntls_cert_file=/t/c\ntls_key_file=credential:repl.key\n"        \
    "tls_ca_file=/t/a\npassword_file=credential:pgpass\n[client]\nconnect=b:7432\ntls_cert_file=/t/c\n"                \
    "tls_key_file=credential:restore.key\ntls_ca_file=/t/a\n"

static struct config *parse(const char *folder, const char *text)
{
    struct config *config = NULL;
    struct error err;

    if (folder != NULL)
        setenv("CREDENTIALS_DIRECTORY", folder, 1);
    else
        unsetenv("CREDENTIALS_DIRECTORY");
    ck_assert_msg(config_parse(text, strlen(text), "c", &config, &err), "%s (%s)", err.message, err.hint);
    return config;
}

START_TEST(a_process_with_credentials_has_their_paths)
{
    struct config *config SCOPED(scoped_config) = parse(FOLDER, TEXT);
    const struct settings *primary = &config->servers[0].settings;

    ck_assert_str_eq(config->settings.tls_cert_file, FOLDER "/gateway.crt");
    ck_assert_str_eq(config->settings.tls_key_file, FOLDER "/gateway.key");
    ck_assert_str_eq(config->client->settings.tls_key_file, FOLDER "/restore.key");
    ck_assert_str_eq(primary->tls_cert_file, "/t/c");
    ck_assert_str_eq(primary->tls_key_file, FOLDER "/repl.key");
    ck_assert_str_eq(primary->password_file, FOLDER "/pgpass");
    ck_assert_str_eq(config_find_credential(primary->tls_key_file), "repl.key");
    ck_assert_ptr_null(config_find_credential(primary->tls_cert_file));
    ck_assert_ptr_null(config_find_credential(FOLDER "s/repl.key"));
    ck_assert_ptr_null(config_find_credential(FOLDER "/deeper/repl.key"));
    ck_assert_ptr_null(config_credential_name(primary->tls_key_file));
    /* As a worker gets it. */
    char *text SCOPED(scoped_free) = config_to_text(config);
    struct config *again SCOPED(scoped_config) = parse(NULL, text);
    ck_assert_str_eq(again->servers[0].settings.tls_key_file, FOLDER "/repl.key");
}
END_TEST

START_TEST(any_other_process_has_their_names)
{
    static const char *const folders[] = {NULL, "", "relative"};

    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        struct config *config SCOPED(scoped_config) = parse(folders[i], TEXT);
        ck_assert_str_eq(config->servers[0].settings.tls_key_file, "credential:repl.key");
        ck_assert_str_eq(config_find_credential(config->servers[0].settings.tls_key_file), "repl.key");
    }
}
END_TEST

static void assert_refuses(const char *text, const char *message)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(!config_parse(text, strlen(text), "c", &config, &err), "accepted %s", text);
    ck_assert_str_eq(err.message, message);
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
    ck_assert_uint_gt(strlen(err.hint), 0);
}

START_TEST(a_name_stays_in_its_folder_and_no_directory_is_a_credential)
{
    setenv("CREDENTIALS_DIRECTORY", FOLDER, 1);
    assert_refuses("[p]\ntls_key_file = credential:\n", "c:2: tls_key_file = credential: names no credential");
    assert_refuses("[p]\ntls_key_file = credential:../k\n", "c:2: tls_key_file = credential:../k names no credential");
    assert_refuses("[p]\npassword_file = credential:..\n", "c:2: password_file = credential:.. names no credential");
    assert_refuses("[p]\ntls_key_file = credential:a b\n", "c:2: tls_key_file = credential:a b names no credential");
    assert_refuses("[pgcoffer]\nbase_dir = credential:base\n",
                   "c:2: base_dir = credential:base is not an absolute path");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config_credentials");

    tcase_add_test(tests, a_process_with_credentials_has_their_paths);
    tcase_add_test(tests, any_other_process_has_their_names);
    tcase_add_test(tests, a_name_stays_in_its_folder_and_no_directory_is_a_credential);
    return suite_run("config_credentials", tests);
}
