#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jobs/restore/wal_spool_internal.h"
#include "support/scratch.h"
#include "support/suite.h"

#define TEMPORARY "pg_wal/RECOVERYXLOG.tmp"

/* What other calls do just before the spool asks for the lock on their file. */
static void (*meanwhile)(void);

int flock(int fd, int operation)
{
    struct stat asked, named;

    if (meanwhile != NULL && fstat(fd, &asked) == 0 && stat(TEMPORARY, &named) == 0 && asked.st_ino == named.st_ino)
        meanwhile();
    return (int)syscall(SYS_flock, fd, operation);
}

static struct wal_spool *spool;

static void put(const char *name)
{
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void make(void)
{
    scratch_make();
    ck_assert_int_eq(chdir(scratch_directory), 0);
    ck_assert_int_eq(mkdir("pg_wal", 0700), 0);
    put("recovery.signal");
    spool = wal_spool_enter("pg_wal/RECOVERYXLOG", "primary", "7000000000000000001", "");
    ck_assert_ptr_nonnull(spool);
    ck_assert(wal_spool_lead(spool));
}

static void drop(void)
{
    meanwhile = NULL;
    wal_spool_free(spool);
    ck_assert_int_eq(chdir("/"), 0);
    scratch_remove();
}

START_TEST(what_a_killed_call_left_goes)
{
    put(TEMPORARY);
    wal_spool_remove(spool);
    ck_assert_int_lt(access(TEMPORARY, F_OK), 0);
}
END_TEST

static void finish_and_begin_another(void)
{
    meanwhile = NULL;
    ck_assert_int_eq(rename(TEMPORARY, "pg_wal/RECOVERYXLOG"), 0);
    put(TEMPORARY);
}

START_TEST(the_file_of_the_call_after_the_one_that_was_looked_at_stays)
{
    put(TEMPORARY);
    meanwhile = finish_and_begin_another;
    wal_spool_remove(spool);
    ck_assert_ptr_null(meanwhile);
    ck_assert_int_eq(access(TEMPORARY, F_OK), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal spool");

    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, what_a_killed_call_left_goes);
    tcase_add_test(tests, the_file_of_the_call_after_the_one_that_was_looked_at_stays);
    return suite_run("wal_spool", tests);
}
