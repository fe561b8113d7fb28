#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "jobs/check/check_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/diagnosis.h"

#define MOST_ADDRESSES (sizeof((struct check_run *)0)->is_reached / sizeof(bool))
/* Once one address has answered: how long the others may take. */
#define STRAGGLER_MICROSECONDS INT64_C(1000000)
#define ADDRESS_SIZE           64

/* ---- server.resolve ---- */

static void resolve(struct check_run *run)
{
    struct finding finding = {0};
    char words[256] = "";

    if (tls_probe_resolve(run->server, &run->addresses, words, sizeof words)) {
        size_t count = 0;
        for (struct addrinfo *at = run->addresses; at != NULL; at = at->ai_next)
            count++;
        check_pass(run, CHECK_ID_server_resolve, "%s: %zu address%s", check_host(run), count, count == 1 ? "" : "es");
        return;
    }
    const struct settings *settings = &run->server->settings;
    bool is_address = !text_is_empty(settings->hostaddr);
    char setting[CHECK_SETTING_SIZE];
    check_setting(run, is_address ? "hostaddr" : "host", setting);
    finding_seen(&finding, "%s", words);
    if (is_address) {
        finding_cause(&finding, CHECK_ID_server_resolve, "hostaddr \"%s\" is no numeric address.", settings->hostaddr);
        finding_fix(&finding, "Correct %s; a name belongs into host.", setting);
    } else {
        finding_cause(&finding, CHECK_ID_server_resolve, "The host name \"%s\" has no address: %s.", settings->host,
                      words);
        finding_fix(&finding, "Correct %s, or the name service; this shows what it says: getent hosts %s", setting,
                    settings->host);
    }
    check_fail(run, &finding);
}

/* ---- server.connect: all addresses at once ---- */

struct attempt {
    const struct addrinfo *address;
    int fd;
    int failure; /* errno; EINPROGRESS while it is open */
    char name[ADDRESS_SIZE];
};

static void begin(struct attempt *attempt, const struct addrinfo *address)
{
    attempt->address = address;
    attempt->failure = EINPROGRESS;
    if (getnameinfo(address->ai_addr, address->ai_addrlen, attempt->name, sizeof attempt->name, NULL, 0,
                    NI_NUMERICHOST) != 0)
        snprintf(attempt->name, sizeof attempt->name, "?");
    attempt->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (attempt->fd < 0 || connect(attempt->fd, address->ai_addr, address->ai_addrlen) < 0)
        attempt->failure = errno;
    else
        attempt->failure = 0;
}

static void settle(struct attempt *attempt)
{
    socklen_t size = sizeof attempt->failure;

    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &attempt->failure, &size) < 0)
        attempt->failure = errno;
}

/* Waits until every attempt is decided, one has succeeded and the others had their time, or the deadline. */
static void wait_for_attempts(const struct check_run *run, struct attempt *attempts, size_t count)
{
    int64_t deadline = clock_monotonic() + run->patience;
    bool is_shortened = false;

    for (;;) {
        struct pollfd watched[MOST_ADDRESSES + 1];
        size_t open = 0;
        for (size_t i = 0; i < count; i++) {
            if (attempts[i].failure == 0 && !is_shortened) {
                int64_t soon = clock_monotonic() + STRAGGLER_MICROSECONDS;
                deadline = soon < deadline ? soon : deadline;
                is_shortened = true;
            }
            watched[i] =
                (struct pollfd){.fd = attempts[i].failure == EINPROGRESS ? attempts[i].fd : -1, .events = POLLOUT};
            open += attempts[i].failure == EINPROGRESS;
        }
        watched[count] = (struct pollfd){.fd = run->request->interrupt_fd, .events = POLLIN};
        int64_t left = deadline - clock_monotonic();
        if (open == 0 || left <= 0 || check_is_interrupted(run))
            return;
        if (poll(watched, count + 1, (int)(left / 1000 + 1)) < 0 && errno != EINTR)
            return;
        for (size_t i = 0; i < count; i++)
            if (watched[i].fd >= 0 && watched[i].revents != 0)
                settle(&attempts[i]);
    }
}

static const char *say_failure(const struct attempt *attempt)
{
    if (attempt->failure == EINPROGRESS)
        return "no answer";
    return strerror(attempt->failure);
}

static void list_failures(const struct attempt *attempts, size_t count, char *ret_text, size_t size)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < count && used < size; i++)
        if (attempts[i].failure != 0)
            used += (size_t)snprintf(ret_text + used, size - used, "%s%s: %s", used == 0 ? "" : ", ", attempts[i].name,
                                     say_failure(&attempts[i]));
}

static bool all_failed_with(const struct attempt *attempts, size_t count, int failure)
{
    for (size_t i = 0; i < count; i++)
        if (attempts[i].failure != failure)
            return false;
    return true;
}

static void fail_to_connect(struct check_run *run, const struct attempt *attempts, size_t count, const char *failures)
{
    const char *host = check_host(run);
    long port = run->server->settings.port;
    char setting[CHECK_SETTING_SIZE];
    struct finding finding = {0};
    bool is_refused = false;

    for (size_t i = 0; i < count; i++)
        is_refused = is_refused || attempts[i].failure == ECONNREFUSED;
    check_setting(run, "host", setting);
    finding_seen(&finding, "%s", failures);
    if (is_refused) {
        finding_cause(&finding, CHECK_ID_server_connect, "Nothing listens at %s port %ld (%s).", host, port, failures);
        finding_fix(&finding,
                    "Start PostgreSQL there; listen_addresses and port in its postgresql.conf must cover this address; "
                    "or correct %s, or the port.",
                    setting);
    } else if (all_failed_with(attempts, count, EINPROGRESS) || all_failed_with(attempts, count, ETIMEDOUT)) {
        finding_cause(&finding, CHECK_ID_server_connect,
                      "%s port %ld took no connection within %ld seconds: the machine is down, or a packet filter "
                      "drops what is sent.",
                      host, port, run->server->settings.connect_timeout);
        finding_fix(&finding, "Look at the machine and at packet filters between: nc -vz %s %ld", host, port);
    } else {
        finding_cause(&finding, CHECK_ID_server_connect, "The network does not reach %s port %ld (%s).", host, port,
                      failures);
        finding_fix(&finding, "Look at this machine's route there: ip route get ADDRESS; then at %s.", setting);
    }
    check_fail(run, &finding);
}

/* An address that refuses costs nothing, the next one is tried at once; one that is silent costs connect_timeout each
 * time when it stands above one that answers. */
static bool is_slow(const struct attempt *attempts, size_t count, size_t *ret_at)
{
    for (size_t i = 0; i < count; i++) {
        if (attempts[i].failure == 0)
            return false;
        if (attempts[i].failure == EINPROGRESS || attempts[i].failure == ETIMEDOUT) {
            *ret_at = i;
            return true;
        }
    }
    return false;
}

static void warn_of_silent(struct check_run *run, const struct attempt *silent, const char *failures)
{
    struct finding finding = {0};

    finding_seen(&finding, "%s", failures);
    finding_cause(&finding, CHECK_ID_server_connect,
                  "Of the addresses of %s the first, %s, does not answer: every connection waits for it before it "
                  "tries the next one.",
                  check_host(run), silent->name);
    finding_fix(&finding,
                "Let the server listen there or take the address out of the name service; or set hostaddr to the one "
                "that answers.");
    check_warn(run, &finding);
}

static void tell_attempts(struct check_run *run, const struct attempt *attempts, size_t count)
{
    char failures[512], reached[256] = "";
    size_t used = 0, silent = 0;

    list_failures(attempts, count, failures, sizeof failures);
    for (size_t i = 0; i < count; i++) {
        run->is_reached[i] = attempts[i].failure == 0;
        if (run->is_reached[i] && used < sizeof reached)
            used += (size_t)snprintf(reached + used, sizeof reached - used, "%s%s", used == 0 ? "" : " and ",
                                     attempts[i].name);
    }
    if (used == 0)
        fail_to_connect(run, attempts, count, failures);
    else if (is_slow(attempts, count, &silent))
        warn_of_silent(run, &attempts[silent], failures);
    else
        check_pass(run, CHECK_ID_server_connect, "%s port %ld%s%s", reached, run->server->settings.port,
                   failures[0] == '\0' ? "" : "; not: ", failures);
}

static void try_addresses(struct check_run *run)
{
    struct attempt attempts[MOST_ADDRESSES];
    size_t count = 0;

    for (struct addrinfo *at = run->addresses; at != NULL && count < MOST_ADDRESSES; at = at->ai_next)
        begin(&attempts[count++], at);
    wait_for_attempts(run, attempts, count);
    for (size_t i = 0; i < count; i++)
        if (attempts[i].fd >= 0)
            close(attempts[i].fd);
    tell_attempts(run, attempts, count);
}

/* ---- protocol.answer ---- */

void check_probe(const struct check_run *run, struct tls_probe_request request, struct tls_probe *ret_probe)
{
    const struct addrinfo *at = run->addresses;

    if (request.server == NULL)
        request.server = &run->prober;
    request.deadline = clock_monotonic() + run->patience;
    for (size_t i = 0; at != NULL && i < MOST_ADDRESSES && !run->is_reached[i]; i++)
        at = at->ai_next;
    if (request.address == NULL && at != NULL) {
        request.address = at->ai_addr;
        request.address_size = at->ai_addrlen;
    }
    tls_probe_run(&request, ret_probe);
}

/* A handshake at once: the answer to the request for TLS is its beginning. */
static void ask_for_tls(struct check_run *run)
{
    struct finding finding = {0};

    check_probe(run, (struct tls_probe_request){.certificate_path = "", .key_path = ""}, &run->bare);
    run->has_bare = true;
    if (!run->bare.is_unprepared && run->bare.outcome != TLS_PROBE_UNREACHABLE &&
        run->bare.outcome != TLS_PROBE_NO_TLS && run->bare.outcome != TLS_PROBE_NOT_POSTGRES) {
        check_pass(run, CHECK_ID_protocol_answer, "the server at %s says yes to TLS", run->bare.address);
        return;
    }
    if (!tls_explain(run->server, &run->bare, "", &finding)) {
        finding_seen(&finding, "%s", run->bare.words);
        finding_cause(&finding, CHECK_ID_protocol_answer, "The server did not answer the request for TLS: %s.",
                      run->bare.words);
        finding_fix(&finding, "Look at the server's log, and whether it is PostgreSQL that listens there.");
    }
    /* It said yes, and what came then was no TLS. */
    if (finding.check == CHECK_ID_protocol_handshake && run->bare.answer == 'S')
        check_pass(run, CHECK_ID_protocol_answer, "the server at %s says yes to TLS", run->bare.address);
    else
        finding.check = CHECK_ID_protocol_answer;
    check_fail(run, &finding);
}

void check_level_network(struct check_run *run)
{
    resolve(run);
    if (check_may(run, CHECK_ID_server_connect))
        try_addresses(run);
    if (check_may(run, CHECK_ID_protocol_answer) && !check_is_interrupted(run))
        ask_for_tls(run);
}
