#include "daemon/socket_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/caller_internal.h"
#include "pgcoffer/control/stream.h"
#include "support/scratch.h"
#include "support/suite.h"

START_TEST(everybody_may_connect_and_the_file_goes_with_the_socket)
{
    struct control_socket control_socket;
    struct stat status;
    struct error err;

    umask(0077);
    ck_assert_msg(control_socket_open(scratch_path("run"), &control_socket, &err), "%s", err.message);
    ck_assert_int_eq(stat(scratch_path("run"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0755);
    ck_assert_int_eq(stat(control_socket.path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, 0666);
    ck_assert_uint_eq(umask(0077), 0077);
    control_socket_close(&control_socket);
    ck_assert_int_lt(stat(scratch_path("run/pgcoffer.sock"), &status), 0);
}
END_TEST

START_TEST(the_socket_of_a_killed_daemon_is_replaced)
{
    struct control_socket killed, next;
    struct error err;

    ck_assert(control_socket_open(scratch_path("run"), &killed, &err));
    close(killed.fd); /* without removing the file */
    ck_assert_msg(control_socket_open(scratch_path("run"), &next, &err), "%s", err.message);
    control_socket_close(&next);
}
END_TEST

START_TEST(the_socket_of_a_living_daemon_is_left_alone)
{
    struct control_socket first, second;
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    struct error err;

    ck_assert(control_socket_open(scratch_path("run"), &first, &err));
    ck_assert(!control_socket_open(scratch_path("run"), &second, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    ck_assert(control_connect(first.path, &stream, &err));
    control_socket_close(&first);
}
END_TEST

START_TEST(a_file_in_the_way_and_a_long_path_are_errors)
{
    struct control_socket control_socket;
    struct error err;
    char folder[200];

    ck_assert(file_make_directories(scratch_path("run"), 0755, &err));
    int fd SCOPED(scoped_close) = open(scratch_path("run/pgcoffer.sock"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert(!control_socket_open(scratch_path("run"), &control_socket, &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    memset(folder, 'x', sizeof folder - 1);
    folder[sizeof folder - 1] = '\0';
    ck_assert(!control_socket_open(folder, &control_socket, &err));
    ck_assert_int_eq(err.kind, ERROR_CONFIG);
    ck_assert(!control_socket_open(scratch_path("no/such"), &control_socket, &err));
    ck_assert_ptr_nonnull(strstr(err.hint, "install -d -m 0755"));
}
END_TEST

START_TEST(only_the_own_file_is_removed)
{
    struct control_socket old, new;
    struct stat status;
    struct error err;

    ck_assert(control_socket_open(scratch_path("run"), &old, &err));
    ck_assert_int_eq(unlink(old.path), 0);
    ck_assert(control_socket_open(scratch_path("run"), &new, &err));
    control_socket_close(&old);
    ck_assert_int_eq(stat(new.path, &status), 0);
    control_socket_close(&new);
}
END_TEST

START_TEST(the_kernel_says_who_is_calling)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    struct control_socket control_socket;
    struct caller caller;
    struct error err;

    ck_assert(control_socket_open(scratch_path("run"), &control_socket, &err));
    ck_assert(control_connect(control_socket.path, &stream, &err));
    int fd SCOPED(scoped_close) = accept4(control_socket.fd, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_msg(caller_of_socket(fd, &caller, &err), "%s", err.message);
    ck_assert_uint_eq(caller.uid, geteuid());
    ck_assert_int_eq(caller.pid, getpid());
    ck_assert_uint_ge(caller.gid_count, 1);
    ck_assert_uint_eq(caller.gids[0], getegid());
    caller_find_names(&caller);
    ck_assert(strncmp(caller.text, "uid ", 4) == 0);
    caller_done(&caller);
    control_socket_close(&control_socket);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("socket");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, everybody_may_connect_and_the_file_goes_with_the_socket);
    tcase_add_test(tests, the_socket_of_a_killed_daemon_is_replaced);
    tcase_add_test(tests, the_socket_of_a_living_daemon_is_left_alone);
    tcase_add_test(tests, a_file_in_the_way_and_a_long_path_are_errors);
    tcase_add_test(tests, only_the_own_file_is_removed);
    tcase_add_test(tests, the_kernel_says_who_is_calling);
    return suite_run("socket", tests);
}
