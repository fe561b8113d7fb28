#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs/drill/drill_internal.h"
#include "pgcoffer/base/memory.h"
#include "support/scratch.h"
#include "support/suite.h"

static struct error err;

/* ---- postgres --version ---- */

static int version_of(const char *words, const char *text)
{
    char version[64] = "";
    int number = binaries_read_version(words, version, sizeof version);

    ck_assert_str_eq(version, text);
    return number;
}

START_TEST(a_version_is_read_from_what_every_packager_writes)
{
    ck_assert_int_eq(version_of("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", "15.20"), 150020);
    ck_assert_int_eq(version_of("postgres (PostgreSQL) 13.0\n", "13.0"), 130000);
    ck_assert_int_eq(version_of("postgres (PostgreSQL) 19devel\n", "19devel"), 190000);
    ck_assert_int_eq(version_of("postgres (PostgreSQL) 18beta1", "18beta1"), 180000);
    ck_assert_int_eq(version_of("postgres (EnterpriseDB Advanced Server) 15", ""), 0);
    ck_assert_int_eq(version_of("", ""), 0);
    ck_assert_int_eq(version_of("postgres (PostgreSQL) ", ""), 0);
    ck_assert_int_eq(version_of("postgres (PostgreSQL) 99999999999999999999.1", "99999999999999999999.1"), 0);
}
END_TEST

/* ---- pg_control ---- */

#define CONTROL_SIZE 8192

/* As PostgreSQL 13 to 18 lay it out: 208 is the place of floatFormat. */
static void make_control(uint8_t control[CONTROL_SIZE], size_t at)
{
    const double format = 1234567.0;
    const uint32_t limits[5] = {130, 8, 12, 3, 96};

    memset(control, 0, CONTROL_SIZE);
    memcpy(control + at, &format, sizeof format);
    memcpy(control + at - 28, limits, sizeof limits);
}

START_TEST(the_limits_stand_in_front_of_the_number_that_is_always_the_same)
{
    static const size_t places[] = {200, 208, 216};
    uint8_t control[CONTROL_SIZE];
    struct control_limits limits;

    make_control(control, places[_i]);
    ck_assert(control_limits_read(control, sizeof control, &limits, &err));
    ck_assert_uint_eq(limits.max_connections, 130);
    ck_assert_uint_eq(limits.max_worker_processes, 8);
    ck_assert_uint_eq(limits.max_wal_senders, 12);
    ck_assert_uint_eq(limits.max_prepared_transactions, 3);
    ck_assert_uint_eq(limits.max_locks_per_transaction, 96);
}
END_TEST

START_TEST(what_is_no_pg_control_is_refused)
{
    uint8_t control[CONTROL_SIZE] = {0};
    const uint32_t absurd = UINT32_MAX;
    struct control_limits limits;

    ck_assert(!control_limits_read(control, sizeof control, &limits, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert(!control_limits_read(control, 0, &limits, &err));
    make_control(control, 208);
    ck_assert(!control_limits_read(control, 215, &limits, &err));
    ck_assert(control_limits_read(control, 216, &limits, &err));
    memcpy(control + 208 - 28, &absurd, sizeof absurd);
    ck_assert(!control_limits_read(control, sizeof control, &limits, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

/* ---- what PostgreSQL says ---- */

static struct recovery_log heard(const char *words, size_t piece)
{
    struct recovery_log log = {.used = 0};

    for (size_t at = 0, size = strlen(words); at < size; at += piece)
        recovery_log_take(&log, true, words + at, size - at < piece ? size - at : piece);
    return log;
}

#define GOOD                                                                                                           \
    "LOG:  starting PostgreSQL 15.20\n"                                                                                \
    "LOG:  starting point-in-time recovery to WAL location (LSN) \"0/500000\"\n"                                       \
    "LOG:  restored log file \"00000002.history\" from archive\n"                                                      \
    "LOG:  restored log file \"000000020000000000000003\" from archive\n"                                              \
    "LOG:  redo starts at 0/300028\n"                                                                                  \
    "LOG:  restored log file \"000000020000000000000004\" from archive\n"                                              \
    "LOG:  redo done at 0/4FFF28 system usage: CPU: user: 0.00 s\n"                                                    \
    "LOG:  last completed transaction was at log time 2026-11-22 10:00:00.5+00\n"                                      \
    "LOG:  archive recovery complete\n"

START_TEST(a_recovery_is_followed_in_pieces_of_any_size)
{
    static const size_t pieces[] = {1, 7, 4096};
    struct recovery_log log = heard(GOOD, pieces[_i]);

    ck_assert(log.is_recovering && log.has_redo_begun && !log.is_open);
    ck_assert_uint_eq(log.file_count, 2);
    ck_assert_str_eq(log.file, "000000020000000000000004");
    ck_assert_str_eq(log.replayed_to, "0/4FFF28");
    ck_assert_str_eq(log.last_commit, "2026-11-22 10:00:00.5+00");
    ck_assert_str_eq(log.failure, "");
    log = heard(GOOD "LOG:  database system is ready to accept connections\n", pieces[_i]);
    ck_assert(log.is_open);
}
END_TEST

START_TEST(what_the_host_lacks_says_nothing_of_the_backup)
{
    struct recovery_log log = heard("FATAL:  could not extend file \"base/5/16384\": No space left on device\n"
                                    "LOG:  startup process (PID 12) exited with exit code 1\n",
                                    4096);

    ck_assert_int_eq(recovery_log_kind(log.failure, ERROR_INTEGRITY), ERROR_STORAGE);
    log = heard("LOG:  startup process (PID 12) was terminated by signal 9: Killed\n"
                "LOG:  aborting startup due to startup process failure\n",
                4096);
    ck_assert_str_eq(log.failure, "startup process (PID 12) was terminated by signal 9: Killed");
    ck_assert_int_eq(recovery_log_kind(log.failure, ERROR_INTEGRITY), ERROR_SERVER);
    log = heard("LOG:  startup process (PID 12) was terminated by signal 11: Segmentation fault\n", 4096);
    ck_assert_int_eq(recovery_log_kind(log.failure, ERROR_INTEGRITY), ERROR_INTEGRITY);
    log = heard("FATAL:  could not open file \"base/5/16384\": No such file or directory\n", 4096);
    ck_assert_int_eq(recovery_log_kind(log.failure, ERROR_INTEGRITY), ERROR_INTEGRITY);
    ck_assert_str_ne(log.failure, "");
}
END_TEST

START_TEST(a_restore_command_that_failed_is_told_by_its_status)
{
    struct recovery_log log =
        heard("pgcoffer: WAL segment 000000010000000000000004 is damaged\n"
              "FATAL:  could not restore file \"000000010000000000000004\" from archive: child process exited with "
              "exit code 207\n"
              "FATAL:  the second one is a consequence\n",
              5);

    ck_assert_int_eq(log.restore_command, 207);
    ck_assert_msg(strstr(log.failure, "could not restore file") == log.failure, "%s", log.failure);
    ck_assert_ptr_nonnull(strstr(log.words, "is damaged"));
}
END_TEST

START_TEST(a_log_without_end_keeps_its_last_words)
{
    struct recovery_log log = {.used = 0};
    char line[2 * RECOVERY_LINE_SIZE];

    memset(line, 'x', sizeof line);
    memcpy(line, "PANIC:  ", 8);
    line[sizeof line - 1] = '\n';
    for (int i = 0; i < 100; i++)
        recovery_log_take(&log, true, line, sizeof line);
    recovery_log_take(&log, true, "HINT:  the end\n", 15);
    ck_assert(strlen(log.words) < sizeof log.words);
    ck_assert_ptr_nonnull(strstr(log.words, "HINT:  the end"));
}
END_TEST

/* ---- the folder ---- */

START_TEST(only_folders_that_nobody_holds_are_swept)
{
    const char *parent = scratch_directory;
    struct drill_scratch held = {NULL, -1};
    struct drill_scratch other = {NULL, -1};
    struct stat status;

    ck_assert_msg(drill_scratch_make(parent, &held, &err), "%s", err.message);
    char *left SCOPED(scoped_free) = memory_text("%s/pgcoffer-drill.abcdef", parent);
    char *shared SCOPED(scoped_free) = memory_text("%s/pgcoffer-drill.shared", parent);
    ck_assert(mkdir(left, 0700) == 0 && mkdir(shared, 0755) == 0);
    ck_assert_msg(drill_scratch_make(parent, &other, &err), "%s", err.message);
    ck_assert(stat(left, &status) < 0 && stat(shared, &status) == 0 && stat(held.path, &status) == 0);
    ck_assert_int_eq(status.st_mode & 07777, 0700);
    char *path SCOPED(scoped_free) = memory_copy_text(held.path);
    ck_assert(drill_scratch_remove(&held, &err) && drill_scratch_remove(&other, &err) &&
              drill_scratch_remove(&other, &err));
    ck_assert(stat(path, &status) < 0);
}
END_TEST

/* Its parent's setgid bit does not save it, and its lock lasts until it is gone. */
START_TEST(a_folder_in_a_group_folder_is_swept_too)
{
    const char *parent = scratch_directory;
    struct drill_scratch scratch = {NULL, -1};
    struct stat status;

    ck_assert_int_eq(chmod(parent, 02700), 0);
    char *left SCOPED(scoped_free) = memory_text("%s/pgcoffer-drill.abcdef", parent);
    ck_assert(mkdir(left, 0700) == 0 && stat(left, &status) == 0 && (status.st_mode & S_ISGID) != 0);
    ck_assert_msg(drill_scratch_make(parent, &scratch, &err), "%s", err.message);
    ck_assert(stat(left, &status) < 0);
    ck_assert(drill_scratch_remove(&scratch, &err));
    ck_assert(!drill_scratch_make("/tmp/a,b", &scratch, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
}
END_TEST

/* ---- how far it came ---- */

static bool is_accepted(const char *promised, const char *reached)
{
    json_t *plan SCOPED(scoped_json) = promised != NULL ? json_pack("{s:s}", "last_record", promised) : json_object();
    const struct drill_options options = {.role = ""};
    struct drill drill = {.options = &options, .plan = plan};

    snprintf(drill.log.replayed_to, sizeof drill.log.replayed_to, "%s", reached);
    return drill_check_end(&drill, &err);
}

START_TEST(a_recovery_has_to_reach_the_last_record_that_is_held)
{
    ck_assert(is_accepted("0/5000100", "0/5000100"));
    ck_assert(is_accepted("0/5000100", "1/0"));
    ck_assert(is_accepted(NULL, "0/3000000")); /* a target, or an older daemon */
    ck_assert(!is_accepted("0/5000100", "0/50000D8"));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert(!is_accepted("0/5000100", ""));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("drill");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, a_version_is_read_from_what_every_packager_writes);
    tcase_add_loop_test(tests, the_limits_stand_in_front_of_the_number_that_is_always_the_same, 0, 3);
    tcase_add_test(tests, what_is_no_pg_control_is_refused);
    tcase_add_loop_test(tests, a_recovery_is_followed_in_pieces_of_any_size, 0, 3);
    tcase_add_test(tests, what_the_host_lacks_says_nothing_of_the_backup);
    tcase_add_test(tests, a_restore_command_that_failed_is_told_by_its_status);
    tcase_add_test(tests, a_log_without_end_keeps_its_last_words);
    tcase_add_test(tests, only_folders_that_nobody_holds_are_swept);
    tcase_add_test(tests, a_folder_in_a_group_folder_is_swept_too);
    tcase_add_test(tests, a_recovery_has_to_reach_the_last_record_that_is_held);
    return suite_run("drill", tests);
}
