#include <grp.h>
#include <sys/wait.h>

#include "pgcoffer/base/json.h"
#include "repo/repository.h"

static void assert_mode(const char *path, mode_t mode)
{
    struct stat status;

    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, mode);
}

START_TEST(folders_and_files_are_for_the_owner_alone)
{
    struct error err;

    umask(0);
    MUST(repo_write_server(&repo, "primary", &system_id, &err));
    assert_mode(scratch_path("primary"), 0700);
    assert_mode(repository_path(""), 0700);
    assert_mode(repository_path("wal"), 0700);
    assert_mode(repository_path("backup"), 0700);
    assert_mode(scratch_path("primary/server.json"), 0600);
    umask(0177);
    MUST(repo_create_system(&repo, "other", &system_id, &err));
    assert_mode(scratch_path("other"), 0700);
}
END_TEST

START_TEST(a_configured_group_may_read_everything)
{
    struct error err;
    struct backup_id id;
    struct repo shared;
    struct stat status;
    const struct group *own = getgrgid(getegid());

    ck_assert_ptr_nonnull(own);
    char *name SCOPED(scoped_free) = memory_copy_text(own->gr_name);
    MUST(repo_open(scratch_directory, name, &shared, &err));
    MUST(repo_create_system(&shared, "shared", &system_id, &err));
    MUST(repo_write_server(&shared, "shared", &system_id, &err));
    MUST(repo_create_backup(&shared, "shared", &system_id, (struct timestamp){0}, &id, &err));
    assert_mode(scratch_path("shared"), 0750);
    assert_mode(scratch_path("shared/7000000000000000001/backup/19700101T000000Z"), 0750);
    assert_mode(scratch_path("shared/7000000000000000001/backup/19700101T000000Z/lock"), 0640);
    assert_mode(scratch_path("shared/server.json"), 0640);
    ck_assert_int_eq(stat(scratch_path("shared/server.json"), &status), 0);
    ck_assert_uint_eq(status.st_gid, getegid());
    repo_done(&shared);
}
END_TEST

/* As nobody, with a group that nobody is not in. */
static void try_foreign_group(const struct repo *foreign)
{
    struct error err;

    if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
        _exit(2);
    _exit(repo_create_system(foreign, "primary2", &system_id, &err) ? 1 : strstr(err.message, "group") ? 0 : 3);
}

START_TEST(a_group_that_cannot_be_given_is_an_error)
{
    int status = 0;
    struct repo foreign = repo;

    if (geteuid() != 0)
        return; /* needs a user to become */
    foreign.group = 1;
    ck_assert_int_eq(chown(scratch_directory, 65534, 65534), 0);
    pid_t child = fork();
    if (child == 0)
        try_foreign_group(&foreign);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_repository_that_is_not_there_says_how_to_make_it)
{
    struct error err;
    struct repo other;

    ck_assert(!repo_open(scratch_path("missing"), "", &other, &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    ck_assert_int_eq(err.errnum, ENOENT);
    ck_assert_ptr_nonnull(strstr(err.hint, "install -d"));
    MUST(repo_write_server(&repo, "primary", &system_id, &err));
    ck_assert(!repo_open(scratch_path("primary/server.json"), "", &other, &err));
    ck_assert_int_eq(err.errnum, ENOTDIR);
    ck_assert(!repo_open(scratch_directory, "no-such-group-here", &other, &err));
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
}
END_TEST

START_TEST(a_system_identifier_has_one_spelling)
{
    static const char *const bad[] = {
        "", "0", "07", "-1", "+1", "1 ", "1a", "18446744073709551616", "..", "111111111111111111111"};
    struct error err;
    struct system_id id;

    MUST(system_id_parse("18446744073709551615", &id, &err));
    ck_assert_uint_eq(system_id_value(&id), UINT64_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!system_id_parse(bad[i], &id, &err), "accepted \"%s\"", bad[i]);
}
END_TEST

START_TEST(a_backup_id_has_one_spelling)
{
    static const char *const good[] = {"20261122T013000Z", "20261122T013000Z-2", "20261122T235959Z-9999"};
    static const char *const bad[] = {"",
                                      "20261122",
                                      "20261122T013000",
                                      "20261322T013000Z",
                                      "20261100T013000Z",
                                      "20261122T243000Z",
                                      "20261122T016000Z",
                                      "20261122t013000Z",
                                      "20261122T013000Z-",
                                      "20261122T013000Z-1",
                                      "20261122T013000Z-02",
                                      "20261122T013000Z-10000",
                                      "20261122T013000Z-2x",
                                      "20261122T013000Z.deleted",
                                      "../20261122T01300Z",
                                      "99999999999999999999999999999999"};
    struct backup_id id;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ck_assert_msg(backup_id_parse(good[i], &id), "%s", good[i]);
        ck_assert_str_eq(id.text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!backup_id_parse(bad[i], &id), "accepted \"%s\"", bad[i]);
}
END_TEST

START_TEST(a_second_backup_in_the_same_second_gets_a_number)
{
    struct error err;
    struct timestamp start = {INT64_C(1795311000) * 1000000 + 999999};
    struct backup_id id;

    MUST(repo_create_backup(&repo, "primary", &system_id, start, &id, &err));
    ck_assert_str_eq(id.text, "20261122T013000Z");
    MUST(repo_create_backup(&repo, "primary", &system_id, start, &id, &err));
    ck_assert_str_eq(id.text, "20261122T013000Z-2");
    MUST(repo_create_backup(&repo, "primary", &system_id, start, &id, &err));
    ck_assert_str_eq(id.text, "20261122T013000Z-3");
    ck_assert(repository_has("backup/20261122T013000Z-3/lock"));
    ck_assert(!repo_create_backup(&repo, "primary", &system_id, (struct timestamp){-1}, &id, &err));
    ck_assert(!repo_create_backup(&repo, "primary", &system_id, (struct timestamp){INT64_MAX}, &id, &err));
}
END_TEST

START_TEST(the_server_remembers_its_system_and_keeps_what_it_does_not_know)
{
    struct error err;
    struct system_id found, other;
    static const char newer_writer[] = "{\"format\":1,\"colour\":\"blue\",\"system_identifier\":\"7\"}";
    struct buffer text = BUFFER_WITH_LIMIT(4096);

    ck_assert(!repo_read_server(&repo, "primary", &found, &err));
    ck_assert_int_eq(err.errnum, ENOENT);
    MUST(repo_write_server(&repo, "primary", &system_id, &err));
    MUST(repo_read_server(&repo, "primary", &found, &err));
    ck_assert_str_eq(found.text, system_id.text);

    repository_put("../server.json", newer_writer, strlen(newer_writer));
    MUST(system_id_parse("8", &other, &err));
    MUST(repo_write_server_version(&repo, "primary", &other, 150018, &err));
    MUST(repo_read_server(&repo, "primary", &found, &err));
    ck_assert_str_eq(found.text, "8");
    MUST(file_read_whole(scratch_path("primary/server.json"), &text, &err));
    json_t *document SCOPED(scoped_json) = json_parse_object((char *)text.bytes, text.used, &err);
    ck_assert_str_eq(json_text_or_null(document, "colour"), "blue");
    int version = 0;
    MUST(repo_read_server_version(&repo, "primary", &version, &err));
    ck_assert_int_eq(version, 150018);
    buffer_done(&text);
}
END_TEST

START_TEST(a_damaged_server_document_is_told_and_written_anew)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "{\"format\":1}",
                                      "{\"format\":1,\"system_identifier\":7}",
                                      "{\"format\":1,\"system_identifier\":\"x\"}",
                                      "{\"system_identifier\":\"7\"}"};
    struct error err;
    struct system_id found;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        repository_put("../server.json", bad[i], strlen(bad[i]));
        ck_assert_msg(!repo_read_server(&repo, "primary", &found, &err), "accepted %s", bad[i]);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_ptr_nonnull(strstr(err.message, "server.json"));
        MUST(repo_write_server(&repo, "primary", &system_id, &err));
        MUST(repo_read_server(&repo, "primary", &found, &err));
    }
}
END_TEST

START_TEST(a_newer_server_document_is_refused_and_left_alone)
{
    static const char newer[] = "{\"format\":2,\"system_identifier\":\"7\"}";
    struct error err;
    struct system_id found;

    repository_put("../server.json", newer, strlen(newer));
    ck_assert(!repo_read_server(&repo, "primary", &found, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.message, "has format 2"));
    ck_assert_ptr_nonnull(strstr(err.hint, "newer pgcoffer"));
    ck_assert(!repo_write_server(&repo, "primary", &system_id, &err));
    struct buffer text = repository_get("../server.json");
    ck_assert_uint_eq(text.used, strlen(newer));
    buffer_done(&text);
}
END_TEST

START_TEST(lock_files_lie_beside_what_they_guard)
{
    char *daemon SCOPED(scoped_free) = repo_lock_path(&repo, NULL, "lock");
    char *wal SCOPED(scoped_free) = repo_lock_path(&repo, "primary", "wal.lock");

    ck_assert_str_eq(daemon, scratch_path("lock"));
    ck_assert_str_eq(wal, scratch_path("primary/wal.lock"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("layout");

    tcase_add_checked_fixture(tests, repository_make, repository_remove);
    tcase_add_test(tests, folders_and_files_are_for_the_owner_alone);
    tcase_add_test(tests, a_configured_group_may_read_everything);
    tcase_add_test(tests, a_group_that_cannot_be_given_is_an_error);
    tcase_add_test(tests, a_repository_that_is_not_there_says_how_to_make_it);
    tcase_add_test(tests, a_system_identifier_has_one_spelling);
    tcase_add_test(tests, a_backup_id_has_one_spelling);
    tcase_add_test(tests, a_second_backup_in_the_same_second_gets_a_number);
    tcase_add_test(tests, the_server_remembers_its_system_and_keeps_what_it_does_not_know);
    tcase_add_test(tests, a_damaged_server_document_is_told_and_written_anew);
    tcase_add_test(tests, a_newer_server_document_is_refused_and_left_alone);
    tcase_add_test(tests, lock_files_lie_beside_what_they_guard);
    return suite_run("layout", tests);
}
