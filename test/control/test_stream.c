#include "pgcoffer/control/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "support/scratch.h"
#include "support/suite.h"

static struct control_stream *near_end, *far_end;

static void make_pair(void)
{
    int ends[2];

    scratch_make();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    near_end = control_stream_new(ends[0], CONTROL_LINE_SIZE);
    far_end = control_stream_new(ends[1], CONTROL_LINE_SIZE);
}

static void free_pair(void)
{
    control_stream_free(near_end);
    control_stream_free(far_end);
    scratch_remove();
}

static void hang_up(void)
{
    control_stream_free(far_end);
    far_end = NULL;
}

static void send_raw(const char *bytes, size_t size)
{
    ck_assert_int_eq(send(control_stream_descriptor(far_end), bytes, size, 0), (ssize_t)size);
}

static json_t *receive(void)
{
    struct error err;
    json_t *message = NULL;

    ck_assert_msg(control_receive(near_end, &message, &err), "%s", err.message);
    return message;
}

START_TEST(objects_arrive_as_they_were_sent)
{
    struct error err;

    for (int i = 0; i < 50; i++) {
        json_t *sent SCOPED(scoped_json) = json_pack("{s:i, s:s}", "n", i, "t", "line\nbreak");
        ck_assert(control_send(far_end, sent, &err));
    }
    for (int i = 0; i < 50; i++) {
        json_t *message SCOPED(scoped_json) = receive();
        ck_assert_int_eq(json_number_or(message, "n", -1), i);
        ck_assert_str_eq(json_text_or_null(message, "t"), "line\nbreak");
        ck_assert_int_eq(control_stream_has_input(near_end), i < 49);
    }
    hang_up();
    ck_assert_ptr_null(receive());
}
END_TEST

static const size_t piece_sizes[] = {1, 7, 4096, 1 << 20};

START_TEST(pieces_of_any_size_make_the_same_objects)
{
    static const char text[] = "{\"a\":1}\n{\"event\":\"bytes\",\"length\":5}\nh\nllo{\"b\":2}\n";
    size_t piece = piece_sizes[_i];

    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        for (size_t at = 0; at < sizeof text - 1; at += piece)
            send_raw(text + at, piece < sizeof text - 1 - at ? piece : sizeof text - 1 - at);
        _exit(0);
    }
    char bytes[5];
    struct error err;
    json_t *first SCOPED(scoped_json) = receive();
    ck_assert_int_eq(json_number_or(first, "a", -1), 1);
    json_t *header SCOPED(scoped_json) = receive();
    ck_assert_int_eq(json_number_or(header, "length", -1), 5);
    ck_assert(control_receive_bytes(near_end, bytes, 2, &err));
    ck_assert(control_receive_bytes(near_end, bytes + 2, 3, &err));
    ck_assert_mem_eq(bytes, "h\nllo", 5);
    json_t *last SCOPED(scoped_json) = receive();
    ck_assert_int_eq(json_number_or(last, "b", -1), 2);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

START_TEST(a_half_line_garbage_and_a_huge_line_are_errors)
{
    char *huge SCOPED(scoped_free) = memory_new(CONTROL_LINE_SIZE + 2);
    struct error err;
    json_t *message;

    send_raw("what?\n{", 7);
    ck_assert(!control_receive(near_end, &message, &err));
    ck_assert_int_eq(err.kind, ERROR_DAEMON);
    hang_up();
    ck_assert(!control_receive(near_end, &message, &err));
    ck_assert_int_eq(err.kind, ERROR_DAEMON);
    ck_assert_str_eq(err.message, "the connection ended in the middle of a line");

    free_pair();
    make_pair();
    memset(huge, ' ', CONTROL_LINE_SIZE + 1);
    send_raw(huge, CONTROL_LINE_SIZE + 1);
    ck_assert(!control_receive(near_end, &message, &err));
    ck_assert_str_eq(err.message, "the peer sent a line of more than 65536 bytes");
}
END_TEST

START_TEST(the_longest_line_passes_and_one_byte_more_does_not_leave)
{
    char *text SCOPED(scoped_free) = memory_new(CONTROL_LINE_SIZE);
    struct error err;

    memset(text, 'x', CONTROL_LINE_SIZE - 1);
    text[CONTROL_LINE_SIZE - 9] = '\0'; /* {"t":"..."} and the newline */
    json_t *longest SCOPED(scoped_json) = json_pack("{s:s}", "t", text);
    ck_assert(control_send(far_end, longest, &err));
    json_t *message SCOPED(scoped_json) = receive();
    ck_assert(json_equal(message, longest));

    text[CONTROL_LINE_SIZE - 9] = 'x';
    text[CONTROL_LINE_SIZE - 8] = '\0';
    json_t *longer SCOPED(scoped_json) = json_pack("{s:s}", "t", text);
    ck_assert(!control_send(far_end, longer, &err));
    ck_assert(!control_stream_has_input(near_end));
    hang_up();
    ck_assert_ptr_null(receive());
}
END_TEST

START_TEST(a_peer_that_left_is_an_error_and_no_signal)
{
    json_t *message SCOPED(scoped_json) = json_pack("{s:b}", "a", true);
    struct error err;

    hang_up();
    ck_assert(!control_send(near_end, message, &err));
    ck_assert_int_eq(err.kind, ERROR_DAEMON);
    ck_assert_str_eq(err.message, "the peer closed the connection: Broken pipe");
}
END_TEST

START_TEST(a_silent_peer_is_waited_for_only_so_long)
{
    struct error err;
    json_t *message;
    char byte;

    control_stream_set_timeout(near_end, 20);
    ck_assert(!control_receive(near_end, &message, &err));
    ck_assert_int_eq(err.kind, ERROR_DAEMON);
    ck_assert_str_eq(err.message, "the peer sent nothing for 0.0 s");
    ck_assert(!control_receive_bytes(near_end, &byte, 1, &err));
}
END_TEST

START_TEST(a_peer_that_takes_nothing_does_not_hold_us)
{
    static char bytes[1 << 20];
    struct error err;

    control_stream_set_timeout(near_end, 20);
    ck_assert(!control_send_bytes(near_end, bytes, sizeof bytes, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "the peer took nothing"));
}
END_TEST

static int make_file(const char *text)
{
    int fd = open(scratch_path("file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

START_TEST(a_range_of_a_file_is_sent)
{
    int fd SCOPED(scoped_close) = make_file("0123456789");
    struct error err;
    char bytes[4];

    ck_assert(control_send_file(far_end, fd, 3, 4, &err));
    ck_assert(control_send_file(far_end, fd, 0, 0, &err));
    json_t *header SCOPED(scoped_json) = receive();
    ck_assert_int_eq(json_number_or(header, "length", -1), 4);
    ck_assert(control_receive_bytes(near_end, bytes, 4, &err));
    ck_assert_mem_eq(bytes, "3456", 4);
    json_t *empty SCOPED(scoped_json) = receive();
    ck_assert_int_eq(json_number_or(empty, "length", -1), 0);
}
END_TEST

START_TEST(a_file_that_ends_too_early_ends_the_connection)
{
    int fd SCOPED(scoped_close) = make_file("0123456789");
    struct error err;
    char bytes[8];

    ck_assert(!control_send_file(far_end, fd, 8, 8, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_str_eq(err.message, "the file ends 6 bytes too early");
    json_t *header SCOPED(scoped_json) = receive();
    ck_assert(!control_receive_bytes(near_end, bytes, sizeof bytes, &err));
    ck_assert_str_eq(err.message, "the connection ended 6 bytes too early");
    ck_assert(!control_send(far_end, header, &err));
    ck_assert_str_eq(err.message, "the connection is closed");
}
END_TEST

START_TEST(a_peer_that_leaves_in_the_middle_of_a_file_raises_no_signal)
{
    int fd SCOPED(scoped_close) = make_file("");
    struct error err;
    char byte;

    ck_assert_int_eq(ftruncate(fd, 8 << 20), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(control_receive_bytes(far_end, &byte, 1, &err) ? 0 : 1);
    hang_up();
    ck_assert(!control_send_file(near_end, fd, 0, 8 << 20, &err));
    ck_assert_int_eq(err.kind, ERROR_DAEMON);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

static void *part(void *unused)
{
    struct error refusal = {.kind = ERROR_TLS, .message = "not you"};
    struct error err;

    (void)unused;
    ck_assert(control_part_with_error(far_end, &refusal, 20000, &err));
    hang_up();
    return NULL;
}

START_TEST(a_refusal_before_the_question_is_read_after_it)
{
    json_t *question SCOPED(scoped_json) = json_pack("{s:s}", "command", "ping");
    struct pollfd end = {.fd = control_stream_descriptor(near_end), .events = POLLRDHUP};
    struct error err;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, part, NULL), 0);
    ck_assert_int_eq(poll(&end, 1, 20000), 1); /* it will say no more */
    ck_assert_msg(control_send(near_end, question, &err), "%s", err.message);
    ck_assert_ptr_null(control_await_result(near_end, NULL, NULL, &err));
    ck_assert_int_eq(err.kind, ERROR_TLS);
    ck_assert_str_eq(err.message, "not you");
    control_stream_free(TAKE(near_end));
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(connecting_says_what_to_type)
{
    struct control_stream *stream;
    struct error err;
    char long_path[200];

    ck_assert(!control_connect(scratch_path("none.sock"), &stream, &err));
    ck_assert_int_eq(err.kind, ERROR_DAEMON);
    ck_assert_ptr_nonnull(strstr(err.message, "No such file or directory"));
    ck_assert_ptr_nonnull(strstr(err.hint, "systemctl start pgcofferd"));
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    ck_assert(!control_connect(long_path, &stream, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "is longer than 107 bytes"));
    ck_assert_ptr_nonnull(strstr(err.hint, "unix_socket_dir"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("stream");

    tcase_add_checked_fixture(tests, make_pair, free_pair);
    tcase_add_test(tests, objects_arrive_as_they_were_sent);
    tcase_add_loop_test(tests, pieces_of_any_size_make_the_same_objects, 0, 4);
    tcase_add_test(tests, a_half_line_garbage_and_a_huge_line_are_errors);
    tcase_add_test(tests, the_longest_line_passes_and_one_byte_more_does_not_leave);
    tcase_add_test(tests, a_peer_that_left_is_an_error_and_no_signal);
    tcase_add_test(tests, a_silent_peer_is_waited_for_only_so_long);
    tcase_add_test(tests, a_peer_that_takes_nothing_does_not_hold_us);
    tcase_add_test(tests, a_range_of_a_file_is_sent);
    tcase_add_test(tests, a_file_that_ends_too_early_ends_the_connection);
    tcase_add_test(tests, a_peer_that_leaves_in_the_middle_of_a_file_raises_no_signal);
    tcase_add_test(tests, a_refusal_before_the_question_is_read_after_it);
    tcase_add_test(tests, connecting_says_what_to_type);
    return suite_run("stream", tests);
}
