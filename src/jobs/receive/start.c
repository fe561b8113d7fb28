#include "jobs/receive/start_internal.h"

#include <inttypes.h>

/* The newest end held of a timeline; false when nothing of it is. */
static bool find_held_end(const struct wal_ranges *held, struct timeline timeline, struct wal_position *ret_end)
{
    bool is_found = false;

    for (size_t i = 0; i < held->count; i++) {
        const struct wal_range *range = &held->ranges[i];
        if (range->timeline.value != timeline.value || (is_found && range->end.value <= ret_end->value))
            continue;
        *ret_end = range->end;
        is_found = true;
    }
    return is_found;
}

static struct timeline newest_known_timeline(const struct receive_start_input *input)
{
    struct timeline newest = {0};

    for (size_t i = 0; i < input->held->count; i++)
        if (input->held->ranges[i].timeline.value > newest.value)
            newest = input->held->ranges[i].timeline;
    for (size_t i = 0; i < input->stored_history_count; i++)
        if (input->stored_histories[i].timeline.value > newest.value)
            newest = input->stored_histories[i].timeline;
    return newest;
}

static struct wal_position segment_start_of(const struct receive_start_input *input, struct wal_position position)
{
    struct wal_segment segment = wal_segment_at((struct timeline){1}, position, input->segment_size);

    return wal_segment_start(segment, input->segment_size);
}

bool receive_start_histories_agree(const struct history *server_history, const struct history *stored)
{
    size_t count = 0;

    if (stored->timeline.value == server_history->timeline.value)
        return history_is_same(server_history, stored);
    if (!history_contains(server_history, stored->timeline))
        return true;
    while (count < server_history->entry_count &&
           server_history->entries[count].timeline.value < stored->timeline.value)
        count++;
    const struct history ancestors = {
        .timeline = stored->timeline, .entries = server_history->entries, .entry_count = count};
    return history_is_same(&ancestors, stored);
}

bool receive_start_is_upgrade(int stored_server_version, int server_version)
{
    return stored_server_version > 0 && server_version / 10000 > stored_server_version / 10000;
}

static bool check_timelines(const struct receive_start_input *input, enum receive_obstacle *ret_obstacle,
                            struct error *err)
{
    struct timeline newest = newest_known_timeline(input);

    if (newest.value > input->server->timeline.value) {
        *ret_obstacle = RECEIVE_OBSTACLE_OLD_TIMELINE;
        error_set(err, ERROR_INTEGRITY,
                  "the server is on timeline %" PRIu32 ", but WAL of timeline %" PRIu32 " is held already",
                  input->server->timeline.value, newest.value);
        return error_hint(err, "This looks like an old primary that was replaced by a promoted standby. Point host at "
                               "the present primary, or give a server that is old on purpose a section with another "
                               "name.");
    }
    for (size_t i = 0; i < input->stored_history_count; i++) {
        const struct history *stored = &input->stored_histories[i];
        if (receive_start_histories_agree(input->server_history, stored))
            continue;
        *ret_obstacle = RECEIVE_OBSTACLE_OTHER_HISTORY;
        error_set(err, ERROR_INTEGRITY,
                  "the server's history of timeline %" PRIu32 " differs from the one held: they forked elsewhere",
                  stored->timeline.value);
        return error_hint(err, "Two servers were promoted to the same timeline. Nothing was changed. Find out which "
                               "one is right, and give the other one a section with another name.");
    }
    return true;
}

/* Is every byte of the fork's segment up to the fork held? Only then is there something to copy. */
static bool is_fork_held(const struct receive_start_input *input, struct timeline timeline, struct wal_position fork)
{
    struct wal_position start = segment_start_of(input, fork);

    for (size_t i = 0; i < input->held->count; i++) {
        const struct wal_range *range = &input->held->ranges[i];
        if (range->timeline.value == timeline.value && range->start.value <= start.value &&
            range->end.value >= fork.value)
            return true;
    }
    return false;
}

static bool decide_from_held(const struct receive_start_input *input, struct timeline timeline,
                             struct wal_position held_end, struct receive_start *ret_start,
                             enum receive_obstacle *ret_obstacle, struct error *err)
{
    struct receive_start start = {.reason = RECEIVE_START_HELD, .timeline = timeline, .held_end = held_end};
    struct wal_position fork;
    char held_text[WAL_POSITION_TEXT_SIZE], server_text[WAL_POSITION_TEXT_SIZE];

    if (timeline.value == input->server->timeline.value && held_end.value > input->server->position.value) {
        *ret_obstacle = RECEIVE_OBSTACLE_BEHIND;
        wal_position_format(held_end, held_text);
        wal_position_format(input->server->position, server_text);
        error_set(err, ERROR_INTEGRITY,
                  "the server is at %s on timeline %" PRIu32 ", behind the end of what is held, %s", server_text,
                  timeline.value, held_text);
        return error_hint(err, "A standby that lags, or a server in recovery, catches up by itself. Otherwise this is "
                               "an older copy of the server, or it has lost WAL: nothing held was changed.");
    }
    if (history_switch_point(input->server_history, timeline, &fork) && held_end.value >= fork.value &&
        history_next(input->server_history, timeline, &start.timeline)) {
        start.reason = RECEIVE_START_FORK;
        start.has_fork_copy = is_fork_held(input, timeline, fork);
        start.fork_from = timeline;
        start.fork_position = fork;
        start.held_end = (struct wal_position){0};
        held_end = fork;
    }
    start.position = segment_start_of(input, held_end);
    *ret_start = start;
    return true;
}

static void decide_from_server(const struct receive_start_input *input, struct receive_start *ret_start)
{
    const struct pg_slot *slot = input->slot;
    bool is_usable = slot->exists && slot->is_physical && slot->has_position;

    /* A slot that keeps no more than what is gone is of no use. */
    if (is_usable && input->is_lost)
        is_usable = segment_start_of(input, slot->restart_position).value > input->lost_position.value;
    struct wal_position position = is_usable ? slot->restart_position : input->server->position;
    struct timeline timeline = input->server->timeline;
    if (is_usable && history_contains(input->server_history, slot->restart_timeline))
        timeline = slot->restart_timeline;
    else if (is_usable)
        timeline = history_timeline_at(input->server_history, position);
    *ret_start = (struct receive_start){.reason = is_usable ? RECEIVE_START_SLOT : RECEIVE_START_CURRENT,
                                        .timeline = timeline,
                                        .position = segment_start_of(input, position)};
}

bool receive_start_decide(const struct receive_start_input *input, struct receive_start *ret_start,
                          enum receive_obstacle *ret_obstacle, struct error *err)
{
    const struct history *history = input->server_history;
    struct timeline timeline = input->server->timeline;
    struct wal_position held_end = {0};

    *ret_obstacle = RECEIVE_OBSTACLE_NONE;
    if (!check_timelines(input, ret_obstacle, err))
        return false;
    if (input->is_lost) {
        decide_from_server(input, ret_start);
        return true;
    }
    /* The newest timeline of the server's history of which something is held; a dead branch does not count. */
    for (size_t older = history->entry_count + 1; older > 0; older--) {
        if (older <= history->entry_count)
            timeline = history->entries[older - 1].timeline;
        if (find_held_end(input->held, timeline, &held_end))
            return decide_from_held(input, timeline, held_end, ret_start, ret_obstacle, err);
    }
    decide_from_server(input, ret_start);
    return true;
}
