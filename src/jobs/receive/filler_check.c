#include <inttypes.h>

#include "jobs/receive/filler_internal.h"
#include "jobs/receive/start_internal.h"
#include "jobs/receive/timelines_internal.h"

/* What a session demands of a host: the same cluster, and no other way through its timelines than the one held. */
bool filler_check_host(const struct wal_archive *archive, struct pg_connection *connection, struct error *err)
{
    struct receive_history history SCOPED(scoped_receive_history) = {.text = NULL};
    struct wal_histories stored SCOPED(wal_histories_done) = {.count = 0};
    struct pg_identity server;

    if (!pg_identify(connection, &server, err))
        return false;
    if (server.system_identifier != system_id_value(&archive->system))
        return error_set(err, ERROR_SERVER, "it has system identifier %" PRIu64 ", and WAL of %s is missing",
                         server.system_identifier, archive->system.text);
    if (!receive_timelines_fetch(connection, server.timeline, &history, err) ||
        !receive_timelines_load(archive, &stored, err))
        return false;
    for (size_t i = 0; i < stored.count; i++)
        if (!receive_start_histories_agree(&history.history, &stored.histories[i]))
            return error_set(err, ERROR_INTEGRITY,
                             "its history of timeline %" PRIu32 " differs from the one held: they forked elsewhere",
                             stored.histories[i].timeline.value);
    return true;
}

/* The timeline that is held behind the fork has the same bytes up to it. */
bool filler_check_fork(const struct wal_archive *archive, struct timeline timeline, struct wal_position end,
                       struct error *err)
{
    struct wal_histories stored SCOPED(wal_histories_done) = {.count = 0};
    struct wal_segment segment = wal_segment_before(timeline, end, archive->segment_size);
    uint64_t start = wal_segment_start(segment, archive->segment_size).value;

    if (!receive_timelines_load(archive, &stored, err))
        return false;
    for (size_t i = 0; i < stored.count; i++) {
        const struct history *history = &stored.histories[i];
        struct timeline next;
        struct wal_position fork;
        if (!history_switch_point(history, segment.timeline, &fork) || fork.value <= start ||
            !history_next(history, segment.timeline, &next))
            continue;
        uint64_t common = fork.value < end.value ? fork.value : end.value;
        struct wal_segment other = {next, segment.number};
        if (!wal_archive_compare_beginnings(archive, segment, other, (uint32_t)(common - start), err))
            return error_wrap(err, "its WAL does not fit what is held behind the fork");
    }
    return true;
}
