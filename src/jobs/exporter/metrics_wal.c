#include <string.h>

#include "jobs/exporter/metrics_internal.h"
#include "jobs/receive/report_internal.h"
#include "pgcoffer/wal/position.h"

/* Figures of the WAL's receiver. */

static const json_t *receiver_of(const json_t *server)
{
    return json_object_get(server, "receiver");
}

static bool is_streaming(const json_t *receiver)
{
    const char *state = json_text_or_null(receiver, "state");

    return state != NULL && strcmp(state, "streaming") == 0;
}

void metric_pgcoffer_server_up(struct scrape *scrape, const json_t *server)
{
    scrape_boolean(scrape, receiver_of(server), "up");
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

/* False: there is none yet. */
static bool get_position(const json_t *receiver, const char *key, uint64_t *ret_position)
{
    const char *text = json_text_or_null(receiver, key);
    struct wal_position position;
    struct error ignored;

    if (text == NULL || !wal_position_parse(text, &position, &ignored) || position.value == 0)
        return false;
    *ret_position = position.value;
    return true;
}

static bool get_lag(const json_t *receiver, const char *stage, uint64_t *ret_bytes)
{
    uint64_t position, end;

    if (!get_position(receiver, stage, &position) || !get_position(receiver, "server_position", &end))
        return false;
    *ret_bytes = position < end ? end - position : 0;
    return true;
}

void metric_pgcoffer_wal_lag_bytes(struct scrape *scrape, const json_t *server)
{
    static const char *const stages[] = {"received", "flushed"};
    uint64_t bytes;

    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++)
        if (get_lag(receiver_of(server), stages[i], &bytes))
            scrape_sample_with(scrape, stages[i], NULL, (double)bytes);
}

/* All that the server has is here, as far as anybody can know. */
static bool is_caught_up(const struct scrape *scrape, const json_t *receiver)
{
    struct timestamp heard_at;
    uint64_t bytes;

    return is_streaming(receiver) && get_lag(receiver, "flushed", &bytes) && bytes == 0 &&
           scrape_get_time(receiver, "last_message_at", &heard_at) &&
           scrape->now.microseconds - heard_at.microseconds <= RECEIVE_SILENCE;
}

void metric_pgcoffer_wal_lag_seconds(struct scrape *scrape, const json_t *server)
{
    const json_t *receiver = receiver_of(server);
    struct timestamp at;

    if (!scrape_get_time(receiver, "caught_up_at", &at))
        return;
    int64_t lag = scrape->now.microseconds - at.microseconds;
    scrape_sample(scrape, lag < 0 || is_caught_up(scrape, receiver) ? 0 : (double)lag / 1e6);
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

static const json_t *room_of(const json_t *server)
{
    return json_object_get(receiver_of(server), "room");
}

void metric_pgcoffer_repository_free_bytes(struct scrape *scrape, const json_t *server)
{
    scrape_number(scrape, room_of(server), "free");
}

void metric_pgcoffer_repository_reserve_bytes(struct scrape *scrape, const json_t *server)
{
    scrape_number(scrape, room_of(server), "reserve");
}

void metric_pgcoffer_repository_full_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_time(scrape, room_of(server), "full_at");
}
