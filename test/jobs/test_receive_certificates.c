#include <poll.h>
#include <sys/socket.h>

#include "repo/repository.h"

#include "jobs/receive/certificates_internal.h"

/*
 * What is done with the results of the thread: the test gives them, and its own connections that are only counted. The
 * words of the log go into a file.
 */
#define CONNECTION ((struct pg_connection *)&connections)

static struct server_config config;
static struct control_stream *supervisor;
static struct receive_report report;
static struct receive_certificates certificates;
static struct aside_task result; /* of the next task */
static unsigned looks, tries, connections;
static bool is_served_in_turn; /* each look finds another certificate */

void aside_run(struct aside_task *task)
{
    if (task->kind == ASIDE_LOOK)
        looks++;
    else
        tries++;
    task->verdict = result.verdict;
    task->connection = result.connection;
    task->failure = result.failure;
    task->is_refused = result.is_refused;
    task->is_answered = result.is_answered;
    task->served = result.served;
    if (is_served_in_turn && task->kind == ASIDE_LOOK)
        snprintf(task->served.fingerprint, sizeof task->served.fingerprint, "%02u", looks);
    tls_set_read(&task->server->settings, &task->found);
}

void aside_done(struct aside_task *task)
{
    pg_disconnect(TAKE(task->connection));
}

void pg_disconnect(struct pg_connection *connection)
{
    connections -= connection != NULL;
}

static void write_file(const char *name, const char *text)
{
    struct error err;

    MUST(repo_put_file(&repo, scratch_path(name), text, strlen(text), &err));
}

static void begin(void)
{
    receive_certificates_begin(&certificates, &config, &repo, &report, -1);
    ck_assert(certificates.is_on);
}

static void certificates_make(void)
{
    int ends[2];

    repository_make();
    config = (struct server_config){.name = "primary"};
    config.settings.expiry_warn_days = 21;
    config.settings.expiry_critical_days = 3;
    snprintf(config.settings.tls_mode, sizeof config.settings.tls_mode, "verify-full");
    snprintf(config.settings.tls_cert_file, sizeof config.settings.tls_cert_file, "%s", scratch_path("repl.crt"));
    snprintf(config.settings.tls_key_file, sizeof config.settings.tls_key_file, "%s", scratch_path("repl.key"));
    write_file("repl.crt", "one");
    write_file("repl.key", "one");
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    supervisor = control_stream_new(ends[0], CONTROL_CHANNEL_SIZE);
    report = (struct receive_report){.channel = control_stream_new(ends[1], CONTROL_CHANNEL_SIZE), .slot = "pgcoffer"};
    result = (struct aside_task){.verdict = ASIDE_SAME, .is_answered = true};
    int log SCOPED(scoped_close) = open(scratch_path("log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ck_assert_int_eq(dup2(log, STDERR_FILENO), STDERR_FILENO);
    begin();
}

static void certificates_remove(void)
{
    receive_certificates_end(&certificates);
    ck_assert_uint_eq(connections, 0);
    receive_report_done(&report);
    control_stream_free(report.channel);
    control_stream_free(supervisor);
    repository_remove();
}

/* How often the words stand in the log. */
static unsigned told(const char *words)
{
    struct buffer log = BUFFER_WITH_LIMIT(1 << 20);
    struct error err;
    unsigned count = 0;

    MUST(file_read_whole(scratch_path("log"), &log, &err));
    char *text SCOPED(scoped_free) = memory_text("%.*s", (int)log.used, (const char *)log.bytes);
    for (const char *at = text; (at = strstr(at, words)) != NULL; at++)
        count++;
    buffer_done(&log);
    return count;
}

/* Until the thread has nothing more to do. */
static void turn(void)
{
    certificates.is_signalled = true;
    receive_certificates_turn(&certificates);
    while (certificates.is_busy) {
        struct pollfd done = {.fd = receive_certificates_task_descriptor(&certificates), .events = POLLIN};
        ck_assert_int_eq(poll(&done, 1, 10000), 1);
        certificates.is_signalled = true;
        receive_certificates_turn(&certificates);
    }
    ck_assert_int_gt(receive_certificates_due(&certificates), clock_monotonic());
}

static void connect_with(const char *fingerprint)
{
    struct pg_session session = {.own = {.subject = "CN=repl", .not_after = "2036-01-01T00:00:00Z"},
                                 .peer = {"CN=db1", "2036-01-01T00:00:00Z", "12:34"}};

    snprintf(session.own.fingerprint, sizeof session.own.fingerprint, "%s", fingerprint);
    report.state = RECEIVE_CONNECTING;
    struct pg_connection *connection = receive_certificates_take_connection(&certificates);
    receive_certificates_connected(&certificates, &session);
    pg_disconnect(connection);
    report.state = RECEIVE_STREAMING;
}

static void change(const char *name, const char *text)
{
    write_file(name, text);
    certificates.is_try_due = true; /* as the watch says it, a second later */
}

START_TEST(a_look_is_taken_at_the_start_and_when_it_streams)
{
    turn();
    ck_assert_uint_eq(looks, 1);
    connect_with("AA");
    turn();
    ck_assert_uint_eq(looks, 2);
    connect_with("AA");
    turn();
    ck_assert_uint_eq(looks, 2);
    write_file("repl.crt", "two");
    connect_with("BB"); /* what is new ends another day */
    turn();
    ck_assert_uint_eq(looks, 3);
    ck_assert_uint_eq(tries, 0);
    ck_assert_int_ge(certificates.look_at, clock_monotonic() + CERTIFICATES_LOOKED_AT_EVERY / 2);
}
END_TEST

START_TEST(a_look_that_is_asked_for_during_another_one_is_taken_after_it)
{
    connect_with("AA");
    turn();
    receive_certificates_look_now(&certificates);
    receive_certificates_turn(&certificates);
    ck_assert(certificates.is_busy);
    receive_certificates_look_now(&certificates);
    turn();
    ck_assert_uint_eq(looks, 3);
}
END_TEST

START_TEST(a_set_that_was_proved_ends_the_stream_and_goes_on_with_its_connection)
{
    connect_with("AA");
    turn();
    change("repl.crt", "two");
    result.verdict = ASIDE_PROVED;
    result.connection = CONNECTION;
    connections = 1;
    turn();
    ck_assert_uint_eq(tries, 1);
    ck_assert(certificates.is_renewed);
    turn();
    ck_assert_uint_eq(tries, 1);
    struct pg_connection *connection = receive_certificates_take_connection(&certificates);
    ck_assert_ptr_eq(connection, CONNECTION);
    ck_assert(!certificates.is_renewed);
    pg_disconnect(connection);

    result.connection = NULL; /* no WAL sender was free for it */
    certificates.is_try_due = true;
    turn();
    ck_assert(certificates.is_renewed);
    connect_with("BB");
    ck_assert(!certificates.is_renewed);
    ck_assert_uint_eq(told("the client certificate was renewed: fingerprint AA -> BB, subject \"CN=repl\""), 1);
    ck_assert(report.warnings[RECEIVE_WARNING_CERTIFICATES] == NULL);
}
END_TEST

START_TEST(without_a_stream_nothing_is_tried_and_what_was_proved_is_let_go)
{
    connect_with("AA");
    turn();
    report.state = RECEIVE_WAITING;
    change("repl.crt", "two");
    turn();
    ck_assert_uint_eq(tries, 0);
    report.state = RECEIVE_STREAMING;
    result.verdict = ASIDE_PROVED;
    result.connection = CONNECTION;
    connections = 1;
    receive_certificates_turn(&certificates);
    report.state = RECEIVE_WAITING; /* the stream breaks while the login is under way */
    turn();
    ck_assert_uint_eq(tries, 1);
    ck_assert_uint_eq(connections, 0);
    ck_assert(!certificates.is_renewed);

    report.state = RECEIVE_STREAMING;
    certificates.is_try_due = true;
    connections = 1;
    turn();
    ck_assert(certificates.is_renewed);
    receive_certificates_give_up(&certificates); /* it breaks before it could end in order */
    ck_assert_uint_eq(connections, 0);
    ck_assert(!certificates.is_renewed);
}
END_TEST

START_TEST(a_broken_set_is_warned_of_once_and_tried_again)
{
    connect_with("AA");
    turn();
    change("repl.crt", "tw");
    result.verdict = ASIDE_BROKEN;
    error_set(&result.failure, ERROR_TLS, "it holds no certificate");
    turn();
    ck_assert(report.warnings[RECEIVE_WARNING_CERTIFICATES] != NULL);
    ck_assert_str_eq(report.warnings[RECEIVE_WARNING_CERTIFICATES]->message,
                     "the stream goes on without the changed tls_cert_file: it holds no certificate");
    ck_assert_int_gt(certificates.try_at, clock_monotonic() + CERTIFICATES_TRIED_AGAIN_AFTER / 2);
    for (int again = 0; again < 3; again++) {
        certificates.try_at = 0;
        turn();
    }
    ck_assert_uint_eq(tries, 4);
    ck_assert_uint_eq(told("the stream goes on without"), 1);
    change("repl.key", "tw"); /* broken in another way */
    turn();
    ck_assert_uint_eq(told("the stream goes on without"), 2);
    ck_assert_uint_eq(told("tls_cert_file, tls_key_file"), 1);

    write_file("repl.crt", "one");
    change("repl.key", "one");
    result.verdict = ASIDE_SAME;
    turn();
    ck_assert(report.warnings[RECEIVE_WARNING_CERTIFICATES] == NULL);
    ck_assert_uint_eq(told("the TLS files are good again"), 1);
    ck_assert_int_eq(certificates.try_at, INT64_MAX);
}
END_TEST

START_TEST(a_connection_ends_the_warning)
{
    connect_with("AA");
    turn();
    change("repl.crt", "tw");
    result.verdict = ASIDE_BROKEN;
    error_set(&result.failure, ERROR_TLS, "expired");
    turn();
    ck_assert(report.warnings[RECEIVE_WARNING_CERTIFICATES] != NULL);
    write_file("repl.crt", "three");
    connect_with("CC");
    ck_assert(report.warnings[RECEIVE_WARNING_CERTIFICATES] == NULL);
    turn();
    ck_assert_uint_eq(told("fingerprint AA -> CC"), 1);
}
END_TEST

START_TEST(a_server_that_cannot_be_asked_is_asked_again_and_nothing_is_said)
{
    connect_with("AA");
    turn();
    change("repl.crt", "two");
    result.verdict = ASIDE_UNDECIDED;
    error_set(&result.failure, ERROR_SERVER, "nobody there");
    turn();
    ck_assert(report.warnings[RECEIVE_WARNING_CERTIFICATES] == NULL && !certificates.is_renewed);
    ck_assert_int_le(certificates.try_at, clock_monotonic() + CERTIFICATES_ASKED_AGAIN_AFTER);
    ck_assert_uint_eq(told("nobody there"), 0);
}
END_TEST

START_TEST(changed_trust_without_a_new_certificate_is_told_by_the_setting)
{
    snprintf(config.settings.tls_ca_file, sizeof config.settings.tls_ca_file, "%s", scratch_path("root.crt"));
    write_file("root.crt", "one");
    connect_with("AA");
    write_file("root.crt", "two");
    connect_with("AA");
    connect_with("AA");
    ck_assert_uint_eq(told("connected with the changed tls_ca_file"), 1);
    ck_assert_uint_eq(told("was renewed"), 0);
}
END_TEST

START_TEST(another_served_certificate_is_told_once_and_known_after_a_restart)
{
    connect_with("AA");
    ck_assert_uint_eq(told("the server's certificate: fingerprint 12:34, subject \"CN=db1\""), 1);
    result.served = (struct pg_certificate){"CN=db1", "2037-01-01T00:00:00Z", "56:78"};
    for (int again = 0; again < 3; again++) {
        receive_certificates_look_now(&certificates);
        ck_assert_int_le(receive_certificates_due(&certificates), clock_monotonic());
        turn();
    }
    ck_assert_uint_eq(told("another one: fingerprint 12:34 -> 56:78, subject \"CN=db1\", valid until 2037-01-01"), 1);
    ck_assert_str_eq(report.server_certificate.fingerprint, "56:78");
    receive_certificates_end(&certificates);
    begin();
    ck_assert_str_eq(certificates.served.fingerprint, "56:78");
    connect_with("AA");
    ck_assert_uint_eq(told("another one: fingerprint 56:78 -> 12:34"), 1);
}
END_TEST

/* Behind one address two servers may answer in turn. */
START_TEST(a_server_that_serves_another_one_each_time_is_not_asked_again_at_once)
{
    is_served_in_turn = true;
    result.served = (struct pg_certificate){"CN=db1", "2037-01-01T00:00:00Z", ""};
    connect_with("AA");
    turn();
    ck_assert_uint_eq(looks, 1);
    ck_assert_uint_eq(told("the server's certificate is another one"), 1);
    ck_assert_int_gt(certificates.look_at, clock_monotonic() + CERTIFICATES_LOOKED_AT_EVERY / 2);
}
END_TEST

START_TEST(a_damaged_note_is_told_and_written_anew)
{
    char path[512];

    receive_certificates_end(&certificates);
    snprintf(path, sizeof path, "%s/primary/tls.json", repo.base_dir);
    struct error err;
    MUST(repo_put_file(&repo, path, "{", 1, &err));
    begin();
    ck_assert_uint_eq(told("tls.json"), 1);
    connect_with("AA");
    receive_certificates_end(&certificates);
    begin();
    ck_assert_str_eq(certificates.served.fingerprint, "12:34");
    ck_assert_uint_eq(told("tls.json"), 1);
}
END_TEST

START_TEST(a_server_that_would_refuse_is_warned_of_until_it_does_not)
{
    connect_with("AA");
    turn();
    result.is_refused = true;
    error_set(&result.failure, ERROR_TLS, "the chain is of another CA");
    for (int again = 0; again < 3; again++) {
        receive_certificates_look_now(&certificates);
        turn();
        ck_assert(report.warnings[RECEIVE_WARNING_CERTIFICATES] != NULL);
    }
    ck_assert_uint_eq(told("a new connection would fail: the chain is of another CA"), 1);
    ck_assert_int_le(certificates.look_at, clock_monotonic() + CERTIFICATES_TRIED_AGAIN_AFTER);
    result.is_refused = result.is_answered = false; /* not reached: nothing new is known */
    receive_certificates_look_now(&certificates);
    turn();
    ck_assert(report.warnings[RECEIVE_WARNING_CERTIFICATES] != NULL);
    result.is_answered = true;
    receive_certificates_look_now(&certificates);
    turn();
    ck_assert(report.warnings[RECEIVE_WARNING_CERTIFICATES] == NULL);
    ck_assert_uint_eq(told("a new connection to the server is possible again"), 1);
}
END_TEST

START_TEST(without_tls_there_is_nothing_to_look_after)
{
    const struct pg_session session = {.is_encrypted = false};

    receive_certificates_end(&certificates);
    snprintf(config.settings.tls_mode, sizeof config.settings.tls_mode, "disable");
    receive_certificates_begin(&certificates, &config, &repo, &report, -1);
    report.state = RECEIVE_STREAMING;
    ck_assert_ptr_null(receive_certificates_take_connection(&certificates));
    receive_certificates_connected(&certificates, &session);
    receive_certificates_look_now(&certificates);
    turn();
    ck_assert_uint_eq(looks, 0);
    ck_assert_int_eq(receive_certificates_due(&certificates), INT64_MAX);
    ck_assert_int_eq(receive_certificates_watch_descriptor(&certificates), -1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive certificates");

    tcase_add_checked_fixture(tests, certificates_make, certificates_remove);
    tcase_add_test(tests, a_look_is_taken_at_the_start_and_when_it_streams);
    tcase_add_test(tests, a_look_that_is_asked_for_during_another_one_is_taken_after_it);
    tcase_add_test(tests, a_set_that_was_proved_ends_the_stream_and_goes_on_with_its_connection);
    tcase_add_test(tests, without_a_stream_nothing_is_tried_and_what_was_proved_is_let_go);
    tcase_add_test(tests, a_broken_set_is_warned_of_once_and_tried_again);
    tcase_add_test(tests, a_connection_ends_the_warning);
    tcase_add_test(tests, a_server_that_cannot_be_asked_is_asked_again_and_nothing_is_said);
    tcase_add_test(tests, changed_trust_without_a_new_certificate_is_told_by_the_setting);
    tcase_add_test(tests, another_served_certificate_is_told_once_and_known_after_a_restart);
    tcase_add_test(tests, a_server_that_serves_another_one_each_time_is_not_asked_again_at_once);
    tcase_add_test(tests, a_damaged_note_is_told_and_written_anew);
    tcase_add_test(tests, a_server_that_would_refuse_is_warned_of_until_it_does_not);
    tcase_add_test(tests, without_tls_there_is_nothing_to_look_after);
    return suite_run("receive_certificates", tests);
}
