#include "pgcoffer/base/file_lock.h"

#include <string.h>
#include <sys/wait.h>

#include "support/scratch.h"
#include "support/suite.h"

START_TEST(the_second_holder_is_told_who_the_first_is)
{
    struct file_lock first = FILE_LOCK_NONE;
    struct file_lock second = FILE_LOCK_NONE;
    struct error err;

    ck_assert(file_lock_exclusive(scratch_path("lock"), "backup 20261122T013000Z", &first, &err));
    ck_assert(!file_lock_exclusive(scratch_path("lock"), "other", &second, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    ck_assert_ptr_nonnull(strstr(err.message, "/lock\" is locked by backup 20261122T013000Z"));
    ck_assert_int_eq(second.fd, -1);
    ck_assert(!file_lock_shared(scratch_path("lock"), &second, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);

    file_lock_done(&first);
    file_lock_done(&first);
    ck_assert(file_lock_exclusive(scratch_path("lock"), NULL, &second, &err));
    ck_assert(!file_lock_exclusive(scratch_path("lock"), NULL, &first, &err));
    char pid[32];
    snprintf(pid, sizeof pid, "locked by pid %d", (int)getpid());
    ck_assert_ptr_nonnull(strstr(err.message, pid));
    file_lock_done(&second);
}
END_TEST

START_TEST(readers_share_and_keep_a_writer_out)
{
    struct file_lock readers[2] = {FILE_LOCK_NONE, FILE_LOCK_NONE};
    struct file_lock writer = FILE_LOCK_NONE;
    struct error err;

    ck_assert(!file_lock_shared(scratch_path("lock"), &readers[0], &err));
    ck_assert(file_lock_exclusive(scratch_path("lock"), NULL, &writer, &err));
    file_lock_done(&writer);
    ck_assert(file_lock_shared(scratch_path("lock"), &readers[0], &err));
    ck_assert(file_lock_shared(scratch_path("lock"), &readers[1], &err));
    ck_assert(!file_lock_exclusive(scratch_path("lock"), NULL, &writer, &err));
    file_lock_done(&readers[0]);
    ck_assert(!file_lock_exclusive(scratch_path("lock"), NULL, &writer, &err));
    file_lock_done(&readers[1]);
    ck_assert(file_lock_exclusive(scratch_path("lock"), NULL, &writer, &err));
    file_lock_done(&writer);
}
END_TEST

START_TEST(a_killed_holder_leaves_no_lock_and_is_not_named)
{
    struct file_lock lock = FILE_LOCK_NONE;
    struct error err;

    pid_t child = fork();
    if (child == 0) {
        struct file_lock own;
        _exit(file_lock_exclusive(scratch_path("lock"), NULL, &own, &err) ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert(file_lock_shared(scratch_path("lock"), &lock, &err));
    struct file_lock other = FILE_LOCK_NONE;
    ck_assert(!file_lock_exclusive(scratch_path("lock"), NULL, &other, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "is locked by another process"));
    file_lock_done(&lock);
}
END_TEST

START_TEST(a_lock_file_that_was_removed_is_made_anew)
{
    struct file_lock first = FILE_LOCK_NONE;
    struct file_lock second = FILE_LOCK_NONE;
    struct error err;

    ck_assert(file_lock_exclusive(scratch_path("lock"), NULL, &first, &err));
    ck_assert_int_eq(unlink(scratch_path("lock")), 0);
    ck_assert(file_lock_exclusive(scratch_path("lock"), NULL, &second, &err));
    file_lock_done(&first);
    file_lock_done(&second);
    ck_assert(!file_lock_exclusive(scratch_path("no/lock"), NULL, &first, &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
}
END_TEST

START_TEST(who_awaits_it_gets_it_when_the_holder_lets_go)
{
    struct file_lock lock = FILE_LOCK_NONE;
    struct error err;
    int ready[2], status;
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    ck_assert(file_lock_await(scratch_path("lock"), &lock, &err));
    pid_t child = fork();
    if (child == 0) {
        struct file_lock own = FILE_LOCK_NONE;
        bool is_taken = !file_lock_exclusive(scratch_path("lock"), NULL, &own, &err) && err.kind == ERROR_BUSY;
        file_lock_done(&lock); /* its share of the parent's */
        _exit(is_taken && write(ready[1], "x", 1) == 1 && file_lock_await(scratch_path("lock"), &own, &err) ? 0 : 1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    file_lock_done(&lock);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    close(ready[0]);
    close(ready[1]);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("file_lock");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, the_second_holder_is_told_who_the_first_is);
    tcase_add_test(tests, readers_share_and_keep_a_writer_out);
    tcase_add_test(tests, a_killed_holder_leaves_no_lock_and_is_not_named);
    tcase_add_test(tests, a_lock_file_that_was_removed_is_made_anew);
    tcase_add_test(tests, who_awaits_it_gets_it_when_the_holder_lets_go);
    return suite_run("file_lock", tests);
}
