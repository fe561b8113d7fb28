#include "pg/base_backup_internal.h"
#include "pgcoffer/base/memory.h"
#include "support/suite.h"

static char *command_for(const char *label, int version, bool is_fast, bool is_lz4)
{
    struct base_backup_options options = {
        .label = label,
        .is_fast_checkpoint = is_fast,
        .checksum_algorithm = "SHA256",
    };
    struct error err = {0};
    char *command = NULL;

    ck_assert_msg(base_backup_command(&options, version, is_lz4, &command, &err), "%s", err.message);
    return command;
}

START_TEST(each_grammar_is_spelled_as_its_servers_want_it)
{
    char *old SCOPED(scoped_free) = command_for("nightly", 140023, false, false);
    char *old_fast SCOPED(scoped_free) = command_for("nightly", 130000, true, false);
    char *new SCOPED(scoped_free) = command_for("nightly", 150000, false, false);
    char *new_lz4 SCOPED(scoped_free) = command_for("nightly", 180004, true, true);

    ck_assert_str_eq(old, "BASE_BACKUP LABEL 'nightly' PROGRESS NOWAIT TABLESPACE_MAP MANIFEST 'yes' "
                          "MANIFEST_CHECKSUMS 'SHA256'");
    ck_assert_str_eq(old_fast, "BASE_BACKUP LABEL 'nightly' PROGRESS FAST NOWAIT TABLESPACE_MAP MANIFEST 'yes' "
                               "MANIFEST_CHECKSUMS 'SHA256'");
    ck_assert_str_eq(new, "BASE_BACKUP (LABEL 'nightly', PROGRESS true, CHECKPOINT 'spread', WAIT false, "
                          "TABLESPACE_MAP true, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256')");
    ck_assert_str_eq(new_lz4, "BASE_BACKUP (LABEL 'nightly', PROGRESS true, CHECKPOINT 'fast', WAIT false, "
                              "TABLESPACE_MAP true, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256', COMPRESSION 'lz4')");
}
END_TEST

START_TEST(quotes_in_a_label_are_doubled)
{
    char *command SCOPED(scoped_free) = command_for("'; it's \\", 150000, false, false);

    ck_assert_ptr_nonnull(strstr(command, "(LABEL '''; it''s \\', PROGRESS"));
}
END_TEST

START_TEST(a_label_the_server_could_not_keep_is_refused)
{
    char label[1026], *command = NULL;
    struct base_backup_options options = {.label = label, .checksum_algorithm = "NONE"};
    struct error err = {0};

    memset(label, 'x', sizeof label);
    label[1025] = '\0';
    ck_assert(!base_backup_command(&options, 150000, false, &command, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    label[1024] = '\0';
    ck_assert(base_backup_command(&options, 150000, false, &command, &err));
    free(command);
    label[3] = '\n';
    ck_assert(!base_backup_command(&options, 150000, false, &command, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
}
END_TEST

/* A result as the server would send it: rows of oid, path, size; NULL stays NULL. */
static PGresult *table_of(const char *const (*rows)[3], int count)
{
    static char names[][4] = {"oid", "loc", "siz"};
    PGresAttDesc columns[3] = {{.name = names[0]}, {.name = names[1]}, {.name = names[2]}};
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

    ck_assert(PQsetResultAttrs(result, 3, columns));
    for (int row = 0; row < count; row++)
        for (int column = 0; column < 3; column++) {
            const char *text = rows[row][column];
            char *value SCOPED(scoped_free) = memory_copy_text(text == NULL ? "" : text);
            ck_assert(PQsetvalue(result, row, column, value, text == NULL ? -1 : (int)strlen(text)));
        }
    return result;
}

static bool takes(const char *const (*rows)[3], int count)
{
    struct base_backup *backup = memory_new(sizeof *backup);
    PGresult *result SCOPED(scoped_result) = table_of(rows, count);
    struct error err = {0};

    bool is_taken = base_backup_take_tablespaces(backup, result, &err);
    if (is_taken) {
        size_t found = 0;
        const struct base_backup_tablespace *list = base_backup_tablespaces(backup, &found);
        ck_assert_uint_eq(found, (size_t)count);
        ck_assert_uint_eq(list[found - 1].oid, 0);
        ck_assert_ptr_null(list[found - 1].path);
        if (count > 1) {
            ck_assert_uint_eq(list[0].oid, 16389);
            ck_assert_str_eq(list[0].path, "/srv/fast");
            ck_assert_uint_eq(list[0].size_estimate, 42 * 1024);
        }
    }
    base_backup_free(backup);
    return is_taken;
}

START_TEST(the_data_directory_is_the_last_tablespace)
{
    static const char *const good[][3] = {{"16389", "/srv/fast", "42"}, {NULL, NULL, "7"}};
    static const char *const bad_order[][3] = {{NULL, NULL, "7"}, {"16389", "/srv/fast", "42"}};
    static const char *const bad_oid[][3] = {{"0", "/srv/fast", "42"}, {NULL, NULL, "7"}};
    static const char *const bad_size[][3] = {{"16389", "/srv/fast", "99999999999999999999"}, {NULL, NULL, "7"}};
    static const char *const no_path[][3] = {{"16389", NULL, "42"}, {NULL, NULL, "7"}};
    static const char *const alone[][3] = {{NULL, NULL, NULL}};

    ck_assert(takes(good, 2));
    ck_assert(takes(alone, 1));
    ck_assert(!takes(bad_order, 2));
    ck_assert(!takes(bad_oid, 2));
    ck_assert(!takes(bad_size, 2));
    ck_assert(!takes(no_path, 2));
    ck_assert(!takes(alone, 0));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("base_backup");

    tcase_add_test(tests, each_grammar_is_spelled_as_its_servers_want_it);
    tcase_add_test(tests, quotes_in_a_label_are_doubled);
    tcase_add_test(tests, a_label_the_server_could_not_keep_is_refused);
    tcase_add_test(tests, the_data_directory_is_the_last_tablespace);
    return suite_run("base_backup", tests);
}
