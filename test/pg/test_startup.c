#include "pgcoffer/pg/startup.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "pgcoffer/base/clock.h"
#include "support/suite.h"
#include "tls/pki.h"

#define BYTES(text) .bytes = (text), .size = sizeof(text) - 1

#define ADMITTED "R\0\0\0\x08\0\0\0\0"
#define SCRAM    "R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
#define NO_ENTRY                                                                                                       \
    "E\0\0\0\x7dSFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for replication connection from host \"192.0.2.7\", "    \
    "user \"repl\", no encryption\0\0"
#define PATIENCE    INT64_C(1000000)
#define LATE_MOST   INT64_C(3000000)
#define MOST_BEHIND 64

/* What the fake server does with the one connection it takes. */
struct script {
    const char *bytes; /* its answer to the startup packet */
    size_t size;
    size_t step;            /* sent in pieces of so many bytes; 0: in one */
    const char *tls_answer; /* to SSLRequest; NULL: none is read */
    bool is_refusing;       /* refuses every client certificate, in the handshake */
    enum { CLOSES, WAITS, SENDS_ENDLESSLY } end;
};

static int listener;
static pid_t child;
static char folder[64];
static struct server_config server;
static struct startup_request request;
static struct pki_pair authority, own;

static void make_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    server = (struct server_config){.name = "primary", .settings.port = ntohs(address.sin_port)};
    snprintf(server.settings.host, CONFIG_TEXT_SIZE, "127.0.0.1");
    snprintf(server.settings.user, CONFIG_TEXT_SIZE, "repl");
    snprintf(server.settings.tls_mode, sizeof server.settings.tls_mode, "verify-full");
    request = (struct startup_request){.tls.server = &server, .tls.is_plain = true, .user = "repl"};
}

static void close_server(void)
{
    close(listener);
}

/* A CA, and a certificate of it that serves and is shown to servers. */
static void make_certificates(void)
{
    pki_scratch(folder);
    authority = pki_authority("Lab CA");
    own = pki_make((struct pki_wish){.common_name = "repl", .names = "IP:127.0.0.1", .issuer = &authority});
    snprintf(server.settings.tls_ca_file, CONFIG_TEXT_SIZE, "%s/ca.crt", folder);
    snprintf(server.settings.tls_cert_file, CONFIG_TEXT_SIZE, "%s/repl.crt", folder);
    snprintf(server.settings.tls_key_file, CONFIG_TEXT_SIZE, "%s/repl.key", folder);
    pki_write_certificate(server.settings.tls_ca_file, &authority);
    pki_write_certificate(server.settings.tls_cert_file, &own);
    pki_write_key(server.settings.tls_key_file, &own, NULL);
    request.tls.is_plain = false;
}

/* ---- the fake server, in a process of its own ---- */

struct peer {
    int fd;
    SSL *ssl; /* NULL: in the clear */
};

static ssize_t peer_read(struct peer *peer, void *ret_bytes, size_t size)
{
    return peer->ssl == NULL ? read(peer->fd, ret_bytes, size) : SSL_read(peer->ssl, ret_bytes, (int)size);
}

static bool peer_write(struct peer *peer, const char *bytes, size_t size)
{
    if (peer->ssl != NULL)
        return SSL_write(peer->ssl, bytes, (int)size) == (int)size;
    return send(peer->fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static int refuse_certificate(int is_good, X509_STORE_CTX *context)
{
    (void)is_good;
    X509_STORE_CTX_set_error(context, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    return 0;
}

static bool begin_tls(const struct script *script, struct peer *peer)
{
    char asked[8];
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (read(peer->fd, asked, sizeof asked) != sizeof asked ||
        send(peer->fd, script->tls_answer, strlen(script->tls_answer), MSG_NOSIGNAL) < 1 ||
        script->tls_answer[0] != 'S')
        return false;
    SSL_CTX_use_certificate(context, own.certificate);
    SSL_CTX_use_PrivateKey(context, own.key);
    SSL_CTX_set_num_tickets(context, 0);
    if (script->is_refusing)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, refuse_certificate);
    peer->ssl = SSL_new(context);
    SSL_set_fd(peer->ssl, peer->fd);
    return SSL_accept(peer->ssl) == 1;
}

/* How many bytes came behind the startup packet: what no server may ever get from a probe. */
static int serve(const struct script *script)
{
    struct peer peer = {.fd = accept(listener, NULL, NULL)};
    char packet[1024], behind[MOST_BEHIND];
    int one = 1, count = 0;

    setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (script->tls_answer != NULL && !begin_tls(script, &peer))
        return 0;
    if (peer_read(&peer, packet, sizeof packet) < 8)
        return MOST_BEHIND;
    size_t step = script->step == 0 ? script->size : script->step;
    for (size_t at = 0; at < script->size; at += step)
        if (!peer_write(&peer, script->bytes + at, script->size - at < step ? script->size - at : step))
            return 0;
    if (script->end == CLOSES && script->size == 0)
        return 0;
    while (script->end == SENDS_ENDLESSLY && peer_write(&peer, script->bytes, script->size))
        continue;
    if (script->end == CLOSES)
        shutdown(peer.fd, SHUT_WR);
    for (ssize_t got; count < MOST_BEHIND && (got = peer_read(&peer, behind, sizeof behind)) > 0;)
        count += (int)got;
    return count;
}

/* The answer, and what the server got behind the startup packet. */
static struct startup_answer probe_script(const struct script *script, int *ret_behind)
{
    struct startup_answer answer;
    int status = 0;

    child = fork();
    if (child == 0) {
        signal(SIGPIPE, SIG_IGN);
        _exit(serve(script));
    }
    int64_t start = clock_monotonic();
    request.tls.deadline = start + PATIENCE;
    startup_probe(&request, &answer);
    ck_assert_int_lt(clock_monotonic() - start, LATE_MOST);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    *ret_behind = WEXITSTATUS(status);
    return answer;
}

static void expect(struct script script, enum startup_kind kind, const char *phrase)
{
    char seen[STARTUP_TEXT_SIZE];
    int behind = 0;
    struct startup_answer answer = probe_script(&script, &behind);

    startup_answer_phrase(&answer, seen, sizeof seen);
    ck_assert_msg(answer.kind == kind, "kind %d: %s", answer.kind, seen);
    ck_assert_msg(strstr(seen, phrase) != NULL, "%s", seen);
    /* Terminate has five bytes; a password would have more. */
    ck_assert_int_eq(behind, kind == STARTUP_ADMITTED ? 5 : 0);
    startup_answer_done(&answer);
}

/* ---- in the clear ---- */

static const size_t steps[] = {0, 1, 7};

START_TEST(each_answer_is_told_in_pieces_of_any_size)
{
    size_t step = steps[_i];

    expect((struct script){BYTES(ADMITTED "Z\0\0\0\5I"), .step = step, .end = WAITS}, STARTUP_ADMITTED,
           "AuthenticationOk");
    expect((struct script){BYTES(SCRAM), .step = step, .end = WAITS}, STARTUP_SCRAM,
           "SCRAM-SHA-256-PLUS, SCRAM-SHA-256");
    expect((struct script){BYTES("R\0\0\0\x08\0\0\0\3"), .step = step, .end = WAITS}, STARTUP_CLEARTEXT, "clear text");
    expect((struct script){BYTES("R\0\0\0\x0c\0\0\0\5salt"), .step = step, .end = WAITS}, STARTUP_MD5, "MD5");
    expect((struct script){BYTES("R\0\0\0\x08\0\0\0\7"), .step = step, .end = WAITS}, STARTUP_OTHER, "GSSAPI");
    expect((struct script){BYTES(NO_ENTRY), .step = step}, STARTUP_REFUSED, "28000: no pg_hba.conf entry");
    expect((struct script){BYTES("Ecould not fork\n\0"), .step = step}, STARTUP_REFUSED, "could not fork");
    expect((struct script){BYTES("Ecould not fork\n"), .step = step}, STARTUP_REFUSED, "could not fork");
    expect((struct script){BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"), .step = step}, STARTUP_GARBAGE,
           "\"HTTP/1.1 400 Bad Request\", which is HTTP");
    expect((struct script){BYTES("v\0\0\0\x0c\0\3\0\0\0\0\0\0" SCRAM), .step = step, .end = WAITS}, STARTUP_SCRAM,
           "SCRAM-SHA-256");
}
END_TEST

START_TEST(nothing_and_half_an_answer_end_at_once_or_at_the_deadline)
{
    expect((struct script){.end = CLOSES}, STARTUP_NO_ANSWER, "closed");
    expect((struct script){BYTES("R\0\0\0"), .end = CLOSES}, STARTUP_NO_ANSWER, "half a message");
    expect((struct script){.end = WAITS}, STARTUP_NO_ANSWER, "in time");
    expect((struct script){BYTES("R\0\0\0"), .end = WAITS}, STARTUP_NO_ANSWER, "half a message");
    expect((struct script){BYTES("HTTP"), .end = WAITS}, STARTUP_GARBAGE, "\"HTTP\"");
}
END_TEST

START_TEST(endless_data_is_not_read_to_the_end)
{
    expect((struct script){BYTES("N\0\0\0\7MM\0"), .end = SENDS_ENDLESSLY}, STARTUP_GARBAGE, "64 kB");
    expect((struct script){BYTES("EFATAL:  xxxxxxxxxxxxxxxxxxxxx"), .end = SENDS_ENDLESSLY}, STARTUP_GARBAGE, "64 kB");
    expect((struct script){BYTES("\x80\x81\x82\x83"), .end = SENDS_ENDLESSLY}, STARTUP_GARBAGE, "not PostgreSQL's");
}
END_TEST

START_TEST(a_refusal_after_the_admission_is_told_beside_it)
{
    expect((struct script){BYTES(ADMITTED NO_ENTRY), .end = WAITS}, STARTUP_ADMITTED,
           "AuthenticationOk, and then 28000: no pg_hba.conf entry");
}
END_TEST

START_TEST(a_refusal_is_explained_as_that_of_a_connection)
{
    struct script script = {BYTES(NO_ENTRY)};
    struct finding finding = {0};
    int behind = 0;
    struct startup_answer answer = probe_script(&script, &behind);

    ck_assert(startup_explain(&server, &answer, &finding));
    ck_assert_ptr_nonnull(strstr(finding.fix, "192.0.2.7/32"));
    ck_assert_ptr_nonnull(strstr(finding.seen, "FATAL:  no pg_hba.conf entry"));
    startup_answer_done(&answer);
    script = (struct script){BYTES(SCRAM), .end = WAITS};
    answer = probe_script(&script, &behind);
    ck_assert(!startup_explain(&server, &answer, &finding));
    startup_answer_done(&answer);
}
END_TEST

START_TEST(a_port_nobody_listens_at_gives_no_answer)
{
    struct startup_answer answer;

    close(listener);
    request.tls.deadline = clock_monotonic() + PATIENCE;
    startup_probe(&request, &answer);
    ck_assert_int_eq(answer.kind, STARTUP_NO_ANSWER);
    ck_assert_int_eq(answer.probe.outcome, TLS_PROBE_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(answer.words, "refused"));
    startup_answer_done(&answer);
}
END_TEST

START_TEST(a_role_that_fits_into_no_packet_is_not_tried)
{
    static char user[9000];
    struct startup_answer answer;

    memset(user, 'u', sizeof user - 1);
    request.user = user;
    startup_probe(&request, &answer);
    ck_assert_int_eq(answer.kind, STARTUP_NO_ANSWER);
    ck_assert_ptr_nonnull(strstr(answer.words, "startup packet"));
    startup_answer_done(&answer);
}
END_TEST

/* ---- over TLS ---- */

START_TEST(the_answer_over_tls_is_the_same)
{
    make_certificates();
    for (size_t i = 0; i < 3; i++) {
        expect((struct script){BYTES(ADMITTED "Z\0\0\0\5I"), .tls_answer = "S", .step = steps[i], .end = WAITS},
               STARTUP_ADMITTED, "AuthenticationOk");
        expect((struct script){BYTES(SCRAM), .tls_answer = "S", .step = steps[i], .end = WAITS}, STARTUP_SCRAM,
               "SCRAM-SHA-256");
        expect((struct script){BYTES(NO_ENTRY), .tls_answer = "S", .step = steps[i]}, STARTUP_REFUSED, "28000");
    }
}
END_TEST

START_TEST(without_tls_nothing_of_the_startup_packet_is_sent)
{
    make_certificates();
    expect((struct script){.tls_answer = "N"}, STARTUP_NO_ANSWER, "does not speak TLS");
    expect((struct script){.tls_answer = "HTTP/1.1 400 Bad Request\r\n"}, STARTUP_NO_ANSWER, "HTTP");
    expect((struct script){.tls_answer = "SSH-2.0-OpenSSH\r\n"}, STARTUP_NO_ANSWER, "SSH");
    expect((struct script){.tls_answer = "Ecould not fork\n"}, STARTUP_NO_ANSWER, "could not fork");
}
END_TEST

START_TEST(a_server_of_another_ca_gets_no_startup_packet)
{
    struct pki_pair other = pki_authority("Other CA");

    make_certificates();
    ck_assert_int_eq(unlink(server.settings.tls_ca_file), 0);
    pki_write_certificate(server.settings.tls_ca_file, &other);
    expect((struct script){.tls_answer = "S"}, STARTUP_NO_ANSWER, "certificate is not good");
    pki_done(&other);
}
END_TEST

START_TEST(a_refused_client_certificate_is_never_lost)
{
    make_certificates();
    for (int i = 0; i < 100; i++)
        expect((struct script){.tls_answer = "S", .is_refusing = true}, STARTUP_NO_ANSWER, "alert \"unknown CA\"");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("startup");

    tcase_add_checked_fixture(tests, make_server, close_server);
    tcase_add_loop_test(tests, each_answer_is_told_in_pieces_of_any_size, 0, 3);
    tcase_add_test(tests, nothing_and_half_an_answer_end_at_once_or_at_the_deadline);
    tcase_add_test(tests, endless_data_is_not_read_to_the_end);
    tcase_add_test(tests, a_refusal_after_the_admission_is_told_beside_it);
    tcase_add_test(tests, a_refusal_is_explained_as_that_of_a_connection);
    tcase_add_test(tests, a_port_nobody_listens_at_gives_no_answer);
    tcase_add_test(tests, a_role_that_fits_into_no_packet_is_not_tried);
    tcase_add_test(tests, the_answer_over_tls_is_the_same);
    tcase_add_test(tests, without_tls_nothing_of_the_startup_packet_is_sent);
    tcase_add_test(tests, a_server_of_another_ca_gets_no_startup_packet);
    tcase_add_test(tests, a_refused_client_certificate_is_never_lost);
    return suite_run("startup", tests);
}
