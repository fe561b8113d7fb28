#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/config/config.h"
#include "support/scratch.h"
#include "support/suite.h"

#define REST "host=a\nuser=b\ntls_cert_file=/t/c\ntls_key_file=/t/k\ntls_ca_file=/t/a\n"

static void put(const char *name, const char *text)
{
    FILE *file = fopen(scratch_path(name), "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void make_folder(void)
{
    ck_assert_int_eq(mkdir(scratch_path("conf.d"), 0700), 0);
}

START_TEST(files_in_conf_d_are_read_in_the_order_of_their_names)
{
    struct config *config SCOPED(scoped_config) = NULL;
    struct error err;

    make_folder();
    put("main.conf", "[pgcoffer]\nworkers = 5\n[one]\n" REST);
    put("conf.d/20.conf", "[three]\n" REST);
    put("conf.d/10.conf", "[two]\n" REST);
    put("conf.d/30.conf.bak", "garbage");
    put("conf.d/.hidden.conf", "garbage");
    ck_assert_msg(config_load(scratch_path("main.conf"), &config, &err), "%s", err.message);
    ck_assert_uint_eq(config->server_count, 3);
    ck_assert_str_eq(config->servers[1].name, "two");
    ck_assert_str_eq(config->servers[2].name, "three");
    ck_assert_int_eq(config->servers[2].settings.workers, 5);
    ck_assert_str_eq(config->path, scratch_path("main.conf"));
}
END_TEST

START_TEST(a_server_in_two_files_is_named_with_both)
{
    struct config *config = NULL;
    struct error err;
    char wanted[512];

    make_folder();
    put("main.conf", "\n[one]\n" REST);
    put("conf.d/one.conf", "[one]\n" REST);
    ck_assert(!config_load(scratch_path("main.conf"), &config, &err));
    snprintf(wanted, sizeof wanted, "%s/conf.d/one.conf:1: section [one] is given twice, first at %s/main.conf:2",
             scratch_directory, scratch_directory);
    ck_assert_str_eq(err.message, wanted);
}
END_TEST

START_TEST(a_missing_file_is_told_how_to_make_one)
{
    struct config *config = NULL;
    struct error err;
    char wanted[512];

    ck_assert(!config_load(scratch_path("none.conf"), &config, &err));
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
    ck_assert_int_eq(err.errnum, ENOENT);
    snprintf(wanted, sizeof wanted, "could not read configuration file \"%s/none.conf\": No such file or directory",
             scratch_directory);
    ck_assert_str_eq(err.message, wanted);
    snprintf(wanted, sizeof wanted, "Make one to start from: pgcoffer config sample > %s/none.conf", scratch_directory);
    ck_assert_str_eq(err.hint, wanted);
}
END_TEST

START_TEST(an_unreadable_file_names_the_user_who_must_read_it)
{
    struct config *config = NULL;
    struct error err;

    put("main.conf", "");
    chmod(scratch_path("main.conf"), 0);
    if (geteuid() == 0) {
        chmod(scratch_directory, 0755);
        ck_assert_int_eq(seteuid(65534), 0);
    }
    ck_assert(!config_load(scratch_path("main.conf"), &config, &err));
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "main.conf\": Permission denied"));
    ck_assert_ptr_nonnull(strstr(err.hint, "chmod 640"));
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(odd_files_are_refused)
{
    struct config *config = NULL;
    struct error err;

    char *huge SCOPED(scoped_free) = memory_new(1024 * 1024 + 2);
    memset(huge, '\n', 1024 * 1024 + 1);
    put("huge.conf", huge);
    ck_assert(!config_load(scratch_path("huge.conf"), &config, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "huge.conf\" is larger than 1 MiB"));
    ck_assert(!config_load(scratch_directory, &config, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "Is a directory"));
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
}
END_TEST

START_TEST(a_relative_path_becomes_absolute)
{
    struct config *config SCOPED(scoped_config) = NULL;
    struct error err;

    put("main.conf", "");
    ck_assert_int_eq(chdir(scratch_directory), 0);
    ck_assert(config_load("main.conf", &config, &err));
    ck_assert_str_eq(config->path, scratch_path("main.conf"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config_files");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, files_in_conf_d_are_read_in_the_order_of_their_names);
    tcase_add_test(tests, a_server_in_two_files_is_named_with_both);
    tcase_add_test(tests, a_missing_file_is_told_how_to_make_one);
    tcase_add_test(tests, an_unreadable_file_names_the_user_who_must_read_it);
    tcase_add_test(tests, odd_files_are_refused);
    tcase_add_test(tests, a_relative_path_becomes_absolute);
    return suite_run("config_files", tests);
}
