#include "pgcoffer/pg/hosts.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "pg/connection_internal.h"
#include "pg/hosts_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"

#define SECOND INT64_C(1000000)
/* One that has not answered by then does not hold up the next. */
#define HEAD_START SECOND
/* Once a standby is at hand, so long for a primary that may be slow; it is looked for later anyway. */
#define PATIENCE_WITH_STANDBY (3 * SECOND)

static const struct conninfo_wish physical = {.replication = "true", .database = "replication"};

struct attempt {
    bool is_begun, is_pending;
    int64_t begun_at;
    struct pg_connection *connection;
    struct conninfo_wish wish;
};

/* One search for the host to use. */
struct search {
    const struct server_config *server;
    const char *application_name;
    int interrupt_fd;
    struct pg_hosts *hosts;
    size_t count;
    size_t order[CONFIG_MOST_HOSTS];
    size_t begun; /* of `order` */
    struct attempt attempts[CONFIG_MOST_HOSTS];
    size_t standby; /* the best so far; `count`: none */
    size_t chosen;  /* a primary; `count`: none */
};

static void search_done(struct search *search)
{
    for (size_t host = 0; host < search->count; host++)
        pg_disconnect(TAKE(search->attempts[host].connection));
}

static void refuse(struct search *search, size_t host, const struct error *reason)
{
    struct pg_host_report *report = &search->hosts->reports[host];

    report->is_refused = true;
    report->reason = *reason;
    search->attempts[host].is_pending = false;
    pg_disconnect(TAKE(search->attempts[host].connection));
}

static bool is_interrupt(const struct error *err)
{
    return err->errnum == ECANCELED;
}

static struct pg_connection *new_connection(const struct server_config *server, size_t host, long most_seconds,
                                            const char *application_name, int interrupt_fd)
{
    struct server_config *view SCOPED(scoped_free) = memory_new(sizeof *view);

    config_take_host(server, host, view);
    if (view->settings.connect_timeout > most_seconds)
        view->settings.connect_timeout = most_seconds;
    return pg_connection_new(view, application_name, interrupt_fd);
}

static void begin(struct search *search, size_t host)
{
    struct attempt *attempt = &search->attempts[host];
    struct error reason;

    search->hosts->reports[host] = (struct pg_host_report){.is_asked = true};
    *attempt = (struct attempt){.is_begun = true, .is_pending = true, .begun_at = clock_monotonic(), .wish = physical};
    attempt->connection =
        new_connection(search->server, host, LONG_MAX, search->application_name, search->interrupt_fd);
    if (!pg_begin_connecting(attempt->connection, &attempt->wish, &reason))
        refuse(search, host, &reason);
}

static bool has_pending(const struct search *search)
{
    for (size_t host = 0; host < search->count; host++)
        if (search->attempts[host].is_pending)
            return true;
    return false;
}

/* When the next one's turn comes: at once when nothing is under way. */
static int64_t next_begin(const struct search *search)
{
    if (search->begun == search->count)
        return INT64_MAX;
    if (!has_pending(search))
        return 0;
    return search->attempts[search->order[search->begun - 1]].begun_at + HEAD_START;
}

static int64_t deadline_of(const struct search *search, const struct attempt *attempt)
{
    int64_t patience = attempt->connection->server.settings.connect_timeout * SECOND;

    if (search->standby < search->count && patience > PATIENCE_WITH_STANDBY)
        patience = PATIENCE_WITH_STANDBY;
    return attempt->begun_at + patience;
}

static bool learn_role(struct pg_connection *connection, struct error *err)
{
    return connection->session.role != PG_ROLE_UNKNOWN || pg_ask_role(connection, &connection->session.role, err);
}

/* It let us in. Who is it, and may it be used? */
static bool examine(struct search *search, size_t host, struct error *err)
{
    struct pg_hosts *hosts = search->hosts;
    struct pg_host_report *report = &hosts->reports[host];
    struct pg_connection *connection = search->attempts[host].connection;
    bool is_good = false;

    pg_set_deadline(connection, clock_monotonic() + connection->server.settings.connect_timeout * SECOND);
    if (learn_role(connection, err)) {
        report->role = connection->session.role;
        is_good = pg_identify(connection, &report->identity, err) &&
                  (hosts->judge == NULL || hosts->judge(hosts->context, connection, &report->identity, err));
    }
    pg_set_deadline(connection, 0);
    return is_good;
}

static void keep(struct search *search, size_t host)
{
    const struct pg_host_report *reports = search->hosts->reports;

    if (reports[host].role == PG_ROLE_PRIMARY) {
        search->chosen = host;
        return;
    }
    if (search->standby == search->count) {
        search->standby = host;
        return;
    }
    bool is_better = hosts_is_better(&reports[host].identity, &reports[search->standby].identity);
    size_t worse = is_better ? search->standby : host;
    if (is_better)
        search->standby = host;
    pg_disconnect(TAKE(search->attempts[worse].connection));
}

/* False only when the caller was interrupted. */
static bool settle(struct search *search, size_t host, struct error *err)
{
    struct attempt *attempt = &search->attempts[host];

    attempt->is_pending = false;
    if (pg_end_connecting(attempt->connection, &attempt->wish, err) && examine(search, host, err)) {
        keep(search, host);
        return true;
    }
    refuse(search, host, err);
    return !is_interrupt(err);
}

static bool go_on(struct search *search, size_t host, bool is_ready, struct error *err)
{
    struct attempt *attempt = &search->attempts[host];

    if (!attempt->is_pending)
        return true;
    /* One that could not even begin is told by the end. */
    if (PQstatus(attempt->connection->handle) == CONNECTION_BAD ||
        (is_ready && pg_go_on_connecting(attempt->connection)))
        return settle(search, host, err);
    if (clock_monotonic() >= deadline_of(search, attempt)) {
        pg_explain_timeout(attempt->connection, err);
        refuse(search, host, err);
    }
    return true;
}

/* Until a socket is ready or something is due. False with ECANCELED when interrupted. */
static bool wait_for_any(struct search *search, bool ret_ready[CONFIG_MOST_HOSTS], struct error *err)
{
    struct pollfd watched[CONFIG_MOST_HOSTS + 1];
    int64_t due = next_begin(search);

    for (size_t host = 0; host < search->count; host++) {
        const struct attempt *attempt = &search->attempts[host];
        watched[host] = (struct pollfd){.fd = -1};
        if (!attempt->is_pending)
            continue;
        short events = attempt->connection->wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        watched[host] = (struct pollfd){.fd = PQsocket(attempt->connection->handle), .events = events};
        int64_t deadline = PQstatus(attempt->connection->handle) == CONNECTION_BAD ? 0 : deadline_of(search, attempt);
        if (deadline < due)
            due = deadline;
    }
    watched[search->count] = (struct pollfd){.fd = search->interrupt_fd, .events = POLLIN};
    int64_t left = due - clock_monotonic();
    int count = poll(watched, search->count + 1, left <= 0 ? 0 : (int)(left / 1000 + 1));
    if (count > 0 && watched[search->count].revents != 0) {
        error_set(err, ERROR_FAILED, "could not connect to server \"%s\": interrupted", search->server->name);
        err->errnum = ECANCELED;
        return false;
    }
    for (size_t host = 0; host < search->count; host++)
        ret_ready[host] = count > 0 && watched[host].revents != 0;
    return true;
}

static bool run(struct search *search, struct error *err)
{
    bool is_ready[CONFIG_MOST_HOSTS];

    while (search->chosen == search->count) {
        if (next_begin(search) <= clock_monotonic())
            begin(search, search->order[search->begun++]);
        if (!has_pending(search) && search->begun == search->count)
            return true;
        if (!has_pending(search))
            continue;
        if (!wait_for_any(search, is_ready, err))
            return false;
        for (size_t host = 0; host < search->count && search->chosen == search->count; host++)
            if (!go_on(search, host, is_ready[host], err))
                return false;
    }
    return true;
}

bool pg_connect_one_of(const struct server_config *server, const char *application_name, int interrupt_fd,
                       struct pg_hosts *hosts, struct pg_connection **ret_connection, struct error *err)
{
    size_t count = config_host_count(server);
    struct conninfo_wish wish = physical;

    if (count == 1)
        return pg_connect_as(server, application_name, interrupt_fd, &wish, ret_connection, err);
    struct search search SCOPED(search_done) = {
        .server = server,
        .application_name = application_name,
        .interrupt_fd = interrupt_fd,
        .hosts = hosts,
        .count = count,
        .standby = count,
        .chosen = count,
    };
    memset(hosts->reports, 0, sizeof hosts->reports);
    hosts_order(hosts->preferred, count, search.order);
    if (!run(&search, err))
        return false;
    size_t host = search.chosen < count ? search.chosen : search.standby;
    if (host == count)
        return hosts_set_error(server, hosts->reports, count, err);
    hosts->preferred = host;
    *ret_connection = TAKE(search.attempts[host].connection);
    return true;
}

bool pg_connect_host(const struct server_config *server, size_t host, long most_seconds, const char *application_name,
                     int interrupt_fd, struct pg_connection **ret_connection, struct error *err)
{
    struct pg_connection *connection SCOPED(scoped_pg_connection) =
        new_connection(server, host, most_seconds, application_name, interrupt_fd);
    struct conninfo_wish wish = physical;

    if (!pg_connect_this(connection, &wish, err))
        return false;
    pg_set_deadline(connection, clock_monotonic() + connection->server.settings.connect_timeout * SECOND);
    if (!learn_role(connection, err))
        return false;
    pg_set_deadline(connection, 0);
    *ret_connection = TAKE(connection);
    return true;
}

bool pg_connect(const struct server_config *server, const char *application_name, int interrupt_fd,
                struct pg_connection **ret_connection, struct error *err)
{
    struct pg_hosts *hosts SCOPED(scoped_free) = memory_new(sizeof *hosts);

    return pg_connect_one_of(server, application_name, interrupt_fd, hosts, ret_connection, err);
}
