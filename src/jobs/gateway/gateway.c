#include "jobs/gateway/gateway_internal.h"

#include <string.h>

/* A restore has one connection a job and one more, replay another: 16 jobs and what others of that machine do. */
const struct gateway_limits gateway_usual_limits = {
    .handshakes = 128,
    .handshakes_of_address = 32,
    .connections = 120, /* a little less than the supervisor takes of a gateway */
    .connections_of_address = 64,
    .connections_of_identity = 40,
    .handshake_seconds = 10,
    .idle_seconds = 4000, /* a session itself ends after an hour without a request */
    .stall_seconds = 120,
    .parting_seconds = 10,
};

const struct port_words gateway_words = {
    .owner = "the gateway",
    .port = "management",
    .cert_file = "tls_cert_file",
    .key_file = "tls_key_file",
    .ca_file = "tls_ca_file",
    .crl_file = "tls_crl_file",
};

/* ---- who comes ---- */

static bool is_unfinished(const struct connection *connection)
{
    return connection->state == CONNECTION_SHAKES_HANDS || connection->state == CONNECTION_LINGERS;
}

static size_t count_unfinished(const struct gateway *gateway, const char *place)
{
    size_t count = 0;

    for (const struct connection *at = gateway->first; at != NULL; at = at->next)
        if (is_unfinished(at) && strcmp(at->place, place) == 0)
            count++;
    return count;
}

static const char *most_crowded_place(const struct gateway *gateway)
{
    const char *place = "";
    size_t most = 0;

    for (const struct connection *at = gateway->first; at != NULL; at = at->next) {
        size_t found = is_unfinished(at) ? count_unfinished(gateway, at->place) : 0;
        if (found > 0 && found >= most) { /* newest first: of many with as many, who has waited longest */
            most = found;
            place = at->place;
        }
    }
    return place;
}

/* Who waits silently for long gives way to who comes: a crowd of half-open connections cannot close the door, as one
 * that means it is through the handshake long before its turn. */
static void displace_oldest(struct gateway *gateway, const char *place)
{
    struct connection *oldest = NULL;

    for (struct connection *at = gateway->first; at != NULL; at = at->next) /* newest first */
        if (is_unfinished(at) && strcmp(at->place, place) == 0)
            oldest = at;
    if (oldest != NULL)
        connection_drop(oldest, oldest->state == CONNECTION_LINGERS
                                    ? NULL
                                    : "no connection: too many handshakes at once, the oldest is given up");
}

static void on_accepted(void *owner, int fd, const struct sockaddr_storage *address)
{
    char text[PORT_ADDRESS_SIZE], place[PORT_ADDRESS_SIZE];
    struct gateway *gateway = owner;

    port_describe_address(address, text, place);
    if (count_unfinished(gateway, place) >= gateway->limits->handshakes_of_address)
        displace_oldest(gateway, place);
    else if (gateway->handshake_count >= gateway->limits->handshakes)
        displace_oldest(gateway, most_crowded_place(gateway));
    connection_new(gateway, fd, address);
}

/* Who is in goes on only if the files of now would let it in. What is dropped is freed later. */
static void on_renewed(void *owner)
{
    const struct gateway *gateway = owner;

    for (struct connection *at = gateway->first; at != NULL; at = at->next)
        if (at->state == CONNECTION_PUMPS)
            connection_verify_again(at);
}

/* ---- life ---- */

void gateway_begin(struct gateway *gateway, struct event_base *events, const struct gateway_limits *limits)
{
    gateway->limits = limits;
    gateway->port.words = &gateway_words;
    gateway->port.demands_client = true;
    gateway->port.accepted = on_accepted;
    gateway->port.renewed = on_renewed;
    gateway->port.owner = gateway;
    port_begin(&gateway->port, events);
}

void gateway_end_softly(struct gateway *gateway)
{
    struct connection *next;

    port_close(&gateway->port);
    for (struct connection *at = gateway->first; at != NULL; at = next) {
        next = at->next;
        if (at->state != CONNECTION_PUMPS)
            connection_drop(at, NULL);
    }
    if (gateway->first == NULL)
        event_base_loopbreak(gateway->port.events);
}

void gateway_end(struct gateway *gateway)
{
    gateway->port.changed = NULL;
    for (struct connection *at = gateway->first; at != NULL; at = at->next)
        connection_drop(at, NULL);
    while (gateway->first != NULL)
        connection_free(gateway->first);
    port_end(&gateway->port);
}
