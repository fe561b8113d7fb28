
#include "jobs/exporter/metrics_internal.h"
#include "jobs/receive/report_internal.h"

#define FARTHEST_SECONDS (10 * 365 * 86400.0) /* beyond that a date says nothing */

/* Figures of the WAL's receiver. */

static const json_t *receiver_of(const json_t *server)
{
    return json_object_get(server, "receiver");
}

static bool is_streaming(const json_t *receiver)
{
    return json_text_is(receiver, "state", "streaming");
}

void metric_pgcoffer_server_up(struct scrape *scrape, const json_t *server)
{
    scrape_boolean(scrape, receiver_of(server), "up");
}

void metric_pgcoffer_server_in_recovery(struct scrape *scrape, const json_t *server)
{
    scrape_boolean(scrape, receiver_of(server), "in_recovery");
}

void metric_pgcoffer_wal_streaming(struct scrape *scrape, const json_t *server)
{
    if (json_is_object(receiver_of(server)))
        scrape_sample(scrape, is_streaming(receiver_of(server)));
}

void metric_pgcoffer_receiver_state(struct scrape *scrape, const json_t *server)
{
    static const char *const words[] = {"starting", "connecting", "streaming", "waiting", "alarm", "stopped", NULL};

    scrape_choice(scrape, receiver_of(server), "state", words);
}

void metric_pgcoffer_sync_wanted(struct scrape *scrape, const json_t *server)
{
    scrape_boolean(scrape, json_object_get(receiver_of(server), "sync"), "wanted");
}

void metric_pgcoffer_sync_state(struct scrape *scrape, const json_t *server)
{
    static const char *const words[] = {"sync", "potential", "quorum", "async", NULL};

    scrape_choice(scrape, json_object_get(receiver_of(server), "sync"), "state", words);
}

/* ---- how far behind ---- */

/* Of one that is silent nobody knows what it has. */
static bool is_heard(const struct scrape *scrape, const json_t *receiver)
{
    struct timestamp heard_at;

    if (!is_streaming(receiver) || !json_find_time(receiver, "last_message_at", &heard_at))
        return false;
    int64_t silence = scrape->now.microseconds - heard_at.microseconds;
    return silence >= -RECEIVE_SILENCE && silence <= RECEIVE_SILENCE; /* before: the clock was set back */
}

void metric_pgcoffer_wal_lag_bytes(struct scrape *scrape, const json_t *server)
{
    static const char *const stages[] = {"received", "flushed"};
    uint64_t bytes;

    for (size_t i = 0; i < sizeof stages / sizeof stages[0] && is_heard(scrape, receiver_of(server)); i++)
        if (state_get_lag(receiver_of(server), stages[i], &bytes))
            scrape_sample_with(scrape, stages[i], NULL, (double)bytes);
}

/* All that the server has is here, as far as anybody can know. */
static bool is_caught_up(const struct scrape *scrape, const json_t *receiver)
{
    uint64_t bytes;

    return is_heard(scrape, receiver) && state_get_lag(receiver, "flushed", &bytes) && bytes == 0;
}

void metric_pgcoffer_wal_lag_seconds(struct scrape *scrape, const json_t *server)
{
    const json_t *receiver = receiver_of(server);
    struct timestamp at;

    if (!json_find_time(receiver, "caught_up_at", &at))
        return;
    int64_t lag = is_caught_up(scrape, receiver) ? 0 : scrape->now.microseconds - at.microseconds;
    if (lag >= 0) /* otherwise the clock was set back, and nobody knows */
        scrape_sample(scrape, (double)lag / 1e6);
}

/* ---- what came ---- */

void metric_pgcoffer_wal_received_bytes_total(struct scrape *scrape, const json_t *server)
{
    scrape_number(scrape, json_object_get(server, "counts"), "received_bytes");
}

void metric_pgcoffer_receiver_reconnects_total(struct scrape *scrape, const json_t *server)
{
    scrape_number(scrape, json_object_get(server, "counts"), "reconnects");
}

void metric_pgcoffer_wal_complete_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_time(scrape, json_object_get(receiver_of(server), "complete"), "at");
}

void metric_pgcoffer_wal_gaps(struct scrape *scrape, const json_t *server)
{
    scrape_number(scrape, json_object_get(receiver_of(server), "gaps"), "count");
}

/* ---- the disk ---- */

/* NULL: no receiver looks at it now. */
static const json_t *room_of(const json_t *server)
{
    const json_t *room = json_object_get(receiver_of(server), "room");

    return json_is_object(room) && !json_text_is(receiver_of(server), "state", "stopped") ? room : NULL;
}

void metric_pgcoffer_repository_free_bytes(struct scrape *scrape, const json_t *server)
{
    const json_t *seen = room_of(server);

    scrape_number(scrape, seen != NULL ? seen : json_object_get(json_object_get(server, "survey"), "room"), "free");
}

void metric_pgcoffer_repository_reserve_bytes(struct scrape *scrape, const json_t *server)
{
    scrape_number(scrape, room_of(server), "reserve");
}

static json_t *NEVER_NULL add_up_rates(const json_t *servers)
{
    json_t *rates = json_object();
    const json_t *server;
    size_t i;

    json_array_foreach(servers, i, server)
    {
        const char *disk = json_text_or_null(room_of(server), "disk");
        if (disk != NULL)
            json_object_set_new(rates, disk,
                                json_real(json_number_value(json_object_get(rates, disk)) +
                                          (double)json_number_or(room_of(server), "rate", 0)));
    }
    return rates;
}

/* Bytes an hour of all servers that fill that disk. */
static double rate_on_disk(struct scrape *scrape, const char *disk)
{
    if (scrape->disk_rates == NULL)
        scrape->disk_rates = add_up_rates(json_object_get(scrape->state, "servers"));
    return json_number_value(json_object_get(scrape->disk_rates, disk));
}

/* A receiver foresees by its own rate; others may fill the same disk. */
void metric_pgcoffer_repository_full_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    const json_t *room = room_of(server);
    const char *disk = json_text_or_null(room, "disk");
    double rate = (double)json_number_or(room, "rate", 0), all = disk != NULL ? rate_on_disk(scrape, disk) : 0;
    int64_t free_bytes = json_number_or(room, "free", -1);
    double now = (double)scrape->now.microseconds / 1e6, full = now + FARTHEST_SECONDS;
    struct timestamp at;

    if (json_find_time(room, "full_at", &at))
        full = (double)at.microseconds / 1e6;
    if (all > rate && free_bytes >= 0 && full > now + 3600 * (double)free_bytes / all)
        full = now + 3600 * (double)free_bytes / all;
    if (full < now + FARTHEST_SECONDS)
        scrape_sample(scrape, full);
}
