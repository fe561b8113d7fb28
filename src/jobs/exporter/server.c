#include "jobs/exporter/server_internal.h"

#include <string.h>

#include "jobs/tls_port/context_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

const struct port_words exporter_words = {
    .owner = "the metrics port",
    .port = "metrics",
    .cert_file = "metrics_cert_file",
    .key_file = "metrics_key_file",
    .ca_file = "metrics_ca_file",
};

const struct exporter_limits exporter_usual_limits = {
    .handshakes = 128,
    .visitors = 384,
    .unsent_bytes = (size_t)32 * 1024 * 1024,
    .handshake_seconds = 3,
    .request_seconds = 5,
    .answer_seconds = 30,
    .idle_seconds = 120, /* Prometheus asks every minute unless told otherwise */
    .state_seconds = 2,
};

/* ---- who comes, and who has to go ---- */

/* NULL: there is none in that state. */
static struct visitor *oldest_that(const struct exporter *exporter, enum visitor_state state,
                                   const struct visitor *newcomer)
{
    struct visitor *oldest = NULL;

    for (struct visitor *at = exporter->first; at != NULL; at = at->next) /* newest first */
        if (at->state == state && at != newcomer)
            oldest = at;
    return oldest;
}

static bool drop_oldest_that(const struct exporter *exporter, enum visitor_state state, const struct visitor *newcomer,
                             const char *reason)
{
    struct visitor *oldest = oldest_that(exporter, state, newcomer);

    if (oldest == NULL)
        return false;
    visitor_drop(oldest, reason);
    return true;
}

void exporter_make_room(struct exporter *exporter, const struct visitor *newcomer)
{
    static const char reason[] = "dropped: too many connections, the oldest of those who say nothing has to go";

    while (exporter->visitor_count > exporter->limits->visitors)
        if (!drop_oldest_that(exporter, VISITOR_LINGERS, newcomer, NULL) &&
            !drop_oldest_that(exporter, VISITOR_IDLE, newcomer, NULL) &&
            !drop_oldest_that(exporter, VISITOR_ASKS, newcomer, reason) &&
            !drop_oldest_that(exporter, VISITOR_TAKES, newcomer, reason) &&
            !drop_oldest_that(exporter, VISITOR_WAITS, newcomer, reason))
            return;
}

static void make_room_for_bytes(struct exporter *exporter)
{
    while (exporter->unsent_bytes > exporter->limits->unsent_bytes)
        if (!drop_oldest_that(exporter, VISITOR_TAKES, NULL,
                              "dropped: too many take their answer slowly, the oldest is given up"))
            return;
}

static void on_accepted(void *owner, int fd, const struct sockaddr_storage *address)
{
    struct exporter *exporter = owner;

    if (exporter->handshake_count >= exporter->limits->handshakes &&
        !drop_oldest_that(exporter, VISITOR_REFUSED, NULL, NULL))
        drop_oldest_that(exporter, VISITOR_SHAKES_HANDS, NULL,
                         "no connection: too many handshakes at once, the oldest is given up");
    visitor_new(exporter, fd, address);
}

bool exporter_lets_in(const struct exporter *exporter, struct visitor *visitor)
{
    char reason[256];
    const char *fault;

    if (visitor->tls == NULL || port_context_trusts(exporter->port.tls, visitor->tls, &fault))
        return true;
    snprintf(reason, sizeof reason, "dropped: its certificate is not let in any more: %s", fault);
    visitor_drop(visitor, reason);
    return false;
}

/* Who is in goes on only if the files of now would let it in. What is dropped is freed later. */
static void on_renewed(void *owner)
{
    const struct exporter *exporter = owner;

    for (struct visitor *at = exporter->first; at != NULL; at = at->next)
        if (at->state == VISITOR_ASKS || at->state == VISITOR_IDLE || at->state == VISITOR_WAITS ||
            at->state == VISITOR_TAKES)
            (void)!exporter_lets_in(exporter, at);
}

/* ---- the supervisor's word ---- */

/* Each kind of answer is written once, for all that have waited. */
static void answer_waiting(struct exporter *exporter, const json_t *state)
{
    struct answer_body *bodies[ANSWER_KIND_COUNT] = {NULL};

    evtimer_del(exporter->patience);
    for (struct visitor *at = exporter->first; at != NULL; at = at->next) {
        if (at->state != VISITOR_WAITS)
            continue;
        enum answer_kind kind = answer_kind_of(&at->request);
        if (bodies[kind] == NULL)
            bodies[kind] = answer_make(kind, state, &exporter->unsent_bytes);
        visitor_answer(at, bodies[kind]);
    }
    for (size_t i = 0; i < ANSWER_KIND_COUNT; i++)
        answer_release(bodies[i]);
    make_room_for_bytes(exporter);
}

/* Whoever comes next asks again: of many questions the supervisor makes one. */
static void on_patience_over(evutil_socket_t fd, short what, void *context)
{
    struct exporter *exporter = context;

    (void)fd;
    (void)what;
    exporter->is_asked = false;
    answer_waiting(exporter, NULL);
}

void exporter_ask(struct exporter *exporter)
{
    const struct timeval patience = {.tv_sec = exporter->limits->state_seconds};

    if (!evtimer_pending(exporter->patience, NULL))
        evtimer_add(exporter->patience, &patience);
    if (exporter->is_asked)
        return;
    exporter->is_asked = true;
    exporter->ask(exporter->context);
}

static void take_item(struct exporter *exporter, const json_t *data)
{
    static const char *const lists[][2] = {{"server", "servers"}, {"job", "jobs"}, {"recent", "recent"}};

    if (exporter->arriving == NULL)
        exporter->arriving = json_pack("{s:[], s:[], s:[]}", "servers", "jobs", "recent");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        json_t *element = json_object_get(data, lists[i][0]);
        if (element != NULL)
            json_array_append(json_object_get(exporter->arriving, lists[i][1]), element);
    }
}

void exporter_take(struct exporter *exporter, const json_t *message)
{
    const char *event = json_text_or_null(message, "event");
    const json_t *data = json_object_get(message, "data");

    if (event == NULL || !json_is_object(data))
        return;
    if (strcmp(event, "item") == 0) {
        take_item(exporter, data);
    } else if (strcmp(event, "state") == 0) {
        take_item(exporter, NULL);
        json_t *state SCOPED(scoped_json) = TAKE(exporter->arriving);
        json_object_update(state, (json_t *)data);
        exporter->is_asked = false;
        answer_waiting(exporter, state);
    }
}

/* ---- life ---- */

json_t *exporter_report(const struct exporter *exporter)
{
    json_t *report = port_report(&exporter->port, exporter->visitor_count);

    json_object_set_new(report, "https", json_boolean(exporter->is_https));
    json_object_set_new(report, "client_certificates", json_boolean(exporter->port.demands_client));
    return report;
}

void exporter_begin(struct exporter *exporter, struct event_base *events, const struct exporter_limits *limits)
{
    exporter->limits = limits;
    exporter->port.words = &exporter_words;
    exporter->port.accepted = on_accepted;
    exporter->port.renewed = on_renewed;
    exporter->port.owner = exporter;
    exporter->patience = evtimer_new(events, on_patience_over, exporter);
    if (exporter->patience == NULL)
        abort();
    port_begin(&exporter->port, events);
}

void exporter_end_softly(struct exporter *exporter)
{
    struct visitor *next;

    port_close(&exporter->port);
    for (struct visitor *at = exporter->first; at != NULL; at = next) {
        next = at->next;
        if (at->state != VISITOR_TAKES && at->state != VISITOR_WAITS)
            visitor_drop(at, NULL);
    }
    if (exporter->first == NULL)
        event_base_loopbreak(exporter->port.events);
}

void exporter_end(struct exporter *exporter)
{
    exporter->port.changed = NULL;
    for (struct visitor *at = exporter->first; at != NULL; at = at->next)
        visitor_drop(at, NULL);
    while (exporter->first != NULL)
        visitor_free(exporter->first);
    event_free(exporter->patience);
    json_decref(exporter->arriving);
    port_end(&exporter->port);
}
