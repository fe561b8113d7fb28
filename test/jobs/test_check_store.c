#include <string.h>

#include "jobs/check/check_internal.h"
#include "repo/repository.h"
#include "repo/sample_backup.h"

/*
 * What `check` tells of a repository, in one that was made by hand: backup A on timeline 1 from 3 to 4 MB, just taken,
 * and WAL from 3 MB to the middle of the segment at 6 MB. Tests spoil one thing.
 */
#define BACKUP_A "20261122T013000Z"
#define BACKUP_B "20261123T013000Z"

static struct config *config;
static struct check_run run;
static struct check_request request;

static void add_backup(const char *id, enum backup_state state, int64_t age_seconds)
{
    struct error err;
    struct backup_meta *meta SCOPED(scoped_backup_meta) = sample_backup(id, system_id.text);

    meta->state = state;
    meta->segment_size.bytes = ONE_MB;
    meta->start_timeline.value = meta->end_timeline.value = 1;
    meta->start_position.value = 3 * ONE_MB + 40;
    meta->end_position.value = 4 * ONE_MB - 8;
    meta->stopped_at.microseconds = clock_now().microseconds - age_seconds * 1000000;
    meta->stored_bytes = 1000;
    meta->checksum_failures = state == BACKUP_DAMAGED ? 2 : 0;
    for (size_t i = 0; i < meta->file_list_count; i++) {
        char *name SCOPED(scoped_free) = memory_text("backup/%s/%s", id, meta->files[i].name);
        meta->files[i].size = 5;
        repository_put(name, "hello", 5);
    }
    MUST(backup_meta_write(&repo, meta, &err));
}

static void make(void)
{
    struct error err;

    repository_make();
    MUST(repo_write_server(&repo, "primary", &system_id, &err));
    for (uint64_t number = 3; number <= 5; number++)
        hold_segment(1, number);
    hold_partial(1, 6, 77);
    char *text SCOPED(scoped_free) = memory_text("[pgcoffer]\nbase_dir = %s\n[primary]\nhost = a\nuser = repl\n"
                                                 "tls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = /a\n",
                                                 repo.base_dir);
    MUST(config_parse(text, strlen(text), "test", &config, &err));
    request = (struct check_request){.server = &config->servers[0],
                                     .config = config,
                                     .repo = &repo,
                                     .repo_words = "",
                                     .options = check_options_default(&config->servers[0].settings),
                                     .interrupt_fd = -1};
    run = (struct check_run){.request = &request, .server = request.server};
}

static void take_down(void)
{
    check_run_done(&run);
    config_free(config);
    repository_remove();
}

static void look(void)
{
    check_level_store(&run);
    check_run_settle(&run, CHECK_LEVEL_FILES, CHECK_LEVEL_STORE);
}

static void expect(enum check_id id, enum check_state state, const char *part)
{
    const struct check_result *result = &run.results[id];

    ck_assert_msg(result->state == state, "%s is %s: %s %s", check_rows[id].name, check_state_word(result->state),
                  result->seen, result->cause);
    ck_assert_msg(strstr(result->seen, part) != NULL || strstr(result->cause, part) != NULL, "%s: %s / %s",
                  check_rows[id].name, result->seen, result->cause);
    ck_assert_str_ne(result->seen, "");
    ck_assert_int_eq(result->fix[0] != '\0', state == CHECK_WARN || state == CHECK_FAIL);
}

/* Nothing failed but these two; NOTHING for none. */
static void expect_no_failure_but(enum check_id id, enum check_id other)
{
    for (enum check_id at = 0; at < CHECK_COUNT; at++)
        if (check_rows[at].level == CHECK_LEVEL_STORE && at != id && at != other)
            ck_assert_msg(!check_has_failed(&run, at), "%s: %s", check_rows[at].name, run.results[at].cause);
}

START_TEST(a_healthy_repository_passes)
{
    add_backup(BACKUP_A, BACKUP_COMPLETE, 3600);
    look();
    expect(CHECK_ID_repository_folder, CHECK_PASS, "mode 0700");
    expect(CHECK_ID_repository_room, CHECK_PASS, "free at");
    expect(CHECK_ID_repository_cluster, CHECK_SKIP, "after a login only");
    expect(CHECK_ID_backup_newest, CHECK_PASS, BACKUP_A);
    expect(CHECK_ID_backup_intact, CHECK_PASS, "1 backup:");
    expect(CHECK_ID_wal_continuity, CHECK_PASS, "segment 000000010000000000000006");
    const struct check_measure *age = &run.results[CHECK_ID_backup_newest].measure;
    ck_assert_str_eq(age->unit, "seconds");
    ck_assert(age->value >= 3600 && age->value < 3700 && age->warn == 8 * 86400);
}
END_TEST

static void demand_reserve(uint64_t bytes)
{
    config->servers[0].settings.wal_reserve = bytes;
}

START_TEST(a_disk_that_belongs_to_wal_fails_and_a_backup_is_not_thought_of)
{
    add_backup(BACKUP_A, BACKUP_COMPLETE, 60);
    demand_reserve(0);
    look();
    expect(CHECK_ID_repository_reserve, CHECK_PASS, "no reserve (wal_reserve = 0)");
    run = (struct check_run){.request = &request, .server = request.server};
    demand_reserve(UINT64_C(1) << 60);
    look();
    expect(CHECK_ID_repository_reserve, CHECK_FAIL, "no base backup is taken");
    ck_assert_ptr_nonnull(strstr(run.results[CHECK_ID_repository_reserve].seen, "wal_reserve = 1.0 EB"));
    ck_assert_ptr_nonnull(strstr(run.results[CHECK_ID_repository_reserve].fix, "df -h /"));
    ck_assert_ptr_nonnull(strstr(run.results[CHECK_ID_repository_reserve].fix, "pgcoffer delete primary BACKUP"));
    expect(CHECK_ID_repository_room, CHECK_SKIP, "repository.reserve failed");
    expect_no_failure_but(CHECK_ID_repository_reserve, CHECK_ID_repository_reserve);
}
END_TEST

/* Segments of the last hours that take so much that the disk cannot last the day. */
START_TEST(the_end_of_the_room_is_foretold_from_what_is_stored)
{
    struct error err;
    char name[96];

    for (uint64_t number = 3; number <= 5; number++)
        MUST(wal_archive_compress(&archive, segment_of(1, number), 3, &err));
    look();
    expect(CHECK_ID_repository_forecast, CHECK_SKIP, "too little WAL came in the last 24 hours");
    for (uint64_t number = 7; number <= 12; number++) {
        hold_segment(1, number);
        MUST(wal_archive_compress(&archive, segment_of(1, number), 3, &err));
        snprintf(name, sizeof name, "wal/00000001/00000000/0000000100000000%08X.zst", (unsigned)number);
        time_t at = time(NULL) - (time_t)(12 - number) * 600;
        const struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};
        ck_assert_int_eq(utimensat(AT_FDCWD, repository_path(name), times, 0), 0);
    }
    run = (struct check_run){.request = &request, .server = request.server};
    look();
    expect(CHECK_ID_repository_forecast, CHECK_PASS, "WAL takes ");
    ck_assert_int_eq(truncate(repository_path("wal/00000001/00000000/00000001000000000000000C.zst"), (off_t)1 << 43),
                     0);
    run = (struct check_run){.request = &request, .server = request.server};
    look();
    expect(CHECK_ID_repository_forecast, CHECK_WARN, "The disk of the repository, ");
    ck_assert_ptr_nonnull(strstr(run.results[CHECK_ID_repository_forecast].cause, " at 20"));
    ck_assert_ptr_nonnull(strstr(run.results[CHECK_ID_repository_forecast].seen, "TB an hour: full at 20"));
}
END_TEST

START_TEST(without_a_configuration_there_is_no_repository)
{
    request.config = NULL;
    request.repo = NULL;
    look();
    expect(CHECK_ID_repository_folder, CHECK_SKIP, "no configuration was read");
    expect(CHECK_ID_wal_continuity, CHECK_SKIP, "no configuration was read");
}
END_TEST

START_TEST(a_repository_that_is_not_for_this_user_is_skipped_with_that_reason)
{
    request.repo = NULL;
    request.repo_words = "could not read \"/x\": Permission denied";
    look();
    expect(CHECK_ID_repository_folder, CHECK_PASS, "mode 0700");
    expect(CHECK_ID_backup_newest, CHECK_SKIP, "cannot be read by this user: could not read \"/x\"");
}
END_TEST

START_TEST(a_missing_folder_fails_and_the_rest_waits_for_it)
{
    snprintf(config->settings.base_dir, sizeof config->settings.base_dir, "%s/nowhere", repo.base_dir);
    request.repo = NULL;
    look();
    expect(CHECK_ID_repository_folder, CHECK_FAIL, "does not exist");
    ck_assert_ptr_nonnull(strstr(run.results[CHECK_ID_repository_folder].fix, "install -d -m 0700"));
    expect(CHECK_ID_backup_newest, CHECK_SKIP, "repository.folder failed");
    expect(CHECK_ID_wal_continuity, CHECK_SKIP, "repository.folder failed");
}
END_TEST

START_TEST(others_may_neither_write_nor_look)
{
    add_backup(BACKUP_A, BACKUP_COMPLETE, 60);
    ck_assert_int_eq(chmod(repo.base_dir, 0755), 0);
    look();
    expect(CHECK_ID_repository_folder, CHECK_WARN, "may look into");
    expect(CHECK_ID_backup_intact, CHECK_PASS, "1 backup");
    run = (struct check_run){.request = &request, .server = request.server};
    ck_assert_int_eq(chmod(repo.base_dir, 0770), 0);
    look();
    expect(CHECK_ID_repository_folder, CHECK_FAIL, "may write into");
    ck_assert_ptr_nonnull(strstr(run.results[CHECK_ID_repository_folder].fix, "chmod 0700"));
}
END_TEST

START_TEST(a_folder_of_somebody_else_inside_is_named)
{
    if (geteuid() != 0)
        return;
    ck_assert_int_eq(chown(repository_path("backup"), 1, 1), 0);
    look();
    expect(CHECK_ID_repository_folder, CHECK_FAIL, "the daemon cannot write there");
    ck_assert_ptr_nonnull(strstr(run.results[CHECK_ID_repository_folder].fix, "chown -R root: "));
}
END_TEST

START_TEST(no_backup_yet_is_a_warning_with_the_command)
{
    look();
    expect(CHECK_ID_backup_newest, CHECK_WARN, "There is no complete backup");
    ck_assert_str_eq(run.results[CHECK_ID_backup_newest].fix, "pgcoffer backup primary");
    expect(CHECK_ID_backup_intact, CHECK_SKIP, "no backup yet");
    expect(CHECK_ID_wal_continuity, CHECK_SKIP, "no complete backup yet");
}
END_TEST

START_TEST(an_old_backup_is_warned_of)
{
    add_backup(BACKUP_A, BACKUP_COMPLETE, 9 * 86400);
    look();
    expect(CHECK_ID_backup_newest, CHECK_WARN, "is 9 days old");
}
END_TEST

START_TEST(a_file_of_another_size_or_none_fails)
{
    add_backup(BACKUP_A, BACKUP_COMPLETE, 60);
    repository_put("backup/" BACKUP_A "/base.tar.zst", "hell", 4);
    look();
    expect(CHECK_ID_backup_intact, CHECK_FAIL, "has 4 bytes instead of 5");
    expect(CHECK_ID_wal_continuity, CHECK_SKIP, "backup.intact failed");
    expect_no_failure_but(CHECK_ID_backup_intact, CHECK_ID_backup_intact);
    run = (struct check_run){.request = &request, .server = request.server};
    ck_assert_int_eq(unlink(repository_path("backup/" BACKUP_A "/base.tar.zst")), 0);
    look();
    expect(CHECK_ID_backup_intact, CHECK_FAIL, "is gone");
}
END_TEST

START_TEST(metadata_that_cannot_be_read_fails)
{
    add_backup(BACKUP_A, BACKUP_COMPLETE, 60);
    add_backup(BACKUP_B, BACKUP_COMPLETE, 30);
    repository_put("backup/" BACKUP_A "/backup.json", "{}", 2);
    look();
    expect(CHECK_ID_backup_intact, CHECK_FAIL, "metadata of backup " BACKUP_A);
    expect(CHECK_ID_backup_newest, CHECK_PASS, BACKUP_B);
}
END_TEST

START_TEST(a_damaged_backup_fails_until_there_is_a_better_one)
{
    add_backup(BACKUP_A, BACKUP_DAMAGED, 60);
    look();
    expect(CHECK_ID_backup_intact, CHECK_FAIL, "2 pages with a wrong checksum");
    expect(CHECK_ID_backup_newest, CHECK_WARN, "none of them complete");
    run = (struct check_run){.request = &request, .server = request.server};
    add_backup(BACKUP_B, BACKUP_COMPLETE, 30);
    look();
    expect(CHECK_ID_backup_intact, CHECK_WARN, "2 pages with a wrong checksum");
    expect_no_failure_but(CHECK_ID_NOTHING, CHECK_ID_NOTHING);
}
END_TEST

START_TEST(a_backup_without_its_wal_fails_once)
{
    add_backup(BACKUP_A, BACKUP_COMPLETE, 60);
    ck_assert_int_eq(unlink(repository_path("wal/00000001/00000000/000000010000000000000003")), 0);
    look();
    expect(CHECK_ID_backup_intact, CHECK_FAIL, "segment 000000010000000000000003");
    expect(CHECK_ID_wal_continuity, CHECK_SKIP, "backup.intact failed");
    expect_no_failure_but(CHECK_ID_backup_intact, CHECK_ID_backup_intact);
}
END_TEST

START_TEST(a_gap_behind_the_newest_backup_fails)
{
    add_backup(BACKUP_A, BACKUP_COMPLETE, 60);
    ck_assert_int_eq(unlink(repository_path("wal/00000001/00000000/000000010000000000000005")), 0);
    look();
    expect(CHECK_ID_backup_intact, CHECK_PASS, "1 backup");
    expect(CHECK_ID_wal_continuity, CHECK_FAIL, "WAL is missing after backup " BACKUP_A);
    expect(CHECK_ID_wal_continuity, CHECK_FAIL, "from 0/500000 to 0/600000 on timeline 1 (missing from the archive)");
}
END_TEST

START_TEST(the_newest_timeline_is_the_one_that_counts)
{
    struct error err;
    static const char history[] = "1\t0/400100\tforked\n";

    add_backup(BACKUP_A, BACKUP_COMPLETE, 60);
    /* The old timeline's WAL behind the fork may be full of holes. */
    ck_assert_int_eq(unlink(repository_path("wal/00000001/00000000/000000010000000000000005")), 0);
    MUST(wal_archive_copy_fork(&archive, (struct timeline){1}, (struct timeline){2}, (struct wal_position){0x400100},
                               &err));
    MUST(wal_archive_write_history(&archive, (struct timeline){2}, history, sizeof history - 1, &err));
    look();
    expect(CHECK_ID_wal_continuity, CHECK_PASS, "on timeline 2");
}
END_TEST

START_TEST(a_copied_backup_may_wait_for_an_hour)
{
    add_backup(BACKUP_A, BACKUP_COMPLETE, 7200);
    add_backup(BACKUP_B, BACKUP_COPIED, 60);
    look();
    expect(CHECK_ID_backup_intact, CHECK_PASS, "2 backups");
    run = (struct check_run){.request = &request, .server = request.server};
    add_backup(BACKUP_B, BACKUP_COPIED, 3700);
    look();
    expect(CHECK_ID_backup_intact, CHECK_WARN, "for more than an hour");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("check_store");

    tcase_add_checked_fixture(tests, make, take_down);
    tcase_add_test(tests, a_healthy_repository_passes);
    tcase_add_test(tests, a_disk_that_belongs_to_wal_fails_and_a_backup_is_not_thought_of);
    tcase_add_test(tests, the_end_of_the_room_is_foretold_from_what_is_stored);
    tcase_add_test(tests, without_a_configuration_there_is_no_repository);
    tcase_add_test(tests, a_repository_that_is_not_for_this_user_is_skipped_with_that_reason);
    tcase_add_test(tests, a_missing_folder_fails_and_the_rest_waits_for_it);
    tcase_add_test(tests, others_may_neither_write_nor_look);
    tcase_add_test(tests, a_folder_of_somebody_else_inside_is_named);
    tcase_add_test(tests, no_backup_yet_is_a_warning_with_the_command);
    tcase_add_test(tests, an_old_backup_is_warned_of);
    tcase_add_test(tests, a_file_of_another_size_or_none_fails);
    tcase_add_test(tests, metadata_that_cannot_be_read_fails);
    tcase_add_test(tests, a_damaged_backup_fails_until_there_is_a_better_one);
    tcase_add_test(tests, a_backup_without_its_wal_fails_once);
    tcase_add_test(tests, a_gap_behind_the_newest_backup_fails);
    tcase_add_test(tests, the_newest_timeline_is_the_one_that_counts);
    tcase_add_test(tests, a_copied_backup_may_wait_for_an_hour);
    return suite_run("check_store", tests);
}
