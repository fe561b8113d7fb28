#include "jobs/receive/timelines_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

void receive_history_done(struct receive_history *history)
{
    history_done(&history->history);
    free(history->text);
    *history = (struct receive_history){.text = NULL};
}

bool receive_timelines_fetch(struct pg_connection *connection, struct timeline timeline,
                             struct receive_history *ret_history, struct error *err)
{
    struct receive_history fetched SCOPED(scoped_receive_history) = {.history = {.timeline = timeline}};

    if (timeline.value > 1 && !(pg_timeline_history(connection, timeline, &fetched.text, &fetched.size, err) &&
                                history_parse(timeline, fetched.text, fetched.size, &fetched.history, err)))
        return false;
    *ret_history = fetched;
    fetched = (struct receive_history){.text = NULL};
    return true;
}

bool receive_timelines_load(const struct wal_archive *archive, struct wal_histories *ret_stored, struct error *err)
{
    struct wal_histories stored = {.count = 0};

    if (!wal_archive_histories(archive, &stored, err))
        return false;
    if (stored.has_damage) {
        *err = stored.damage;
        wal_histories_done(&stored);
        return false;
    }
    /* Timeline 1 has none that could differ, and need not be held. */
    memmove(stored.histories, stored.histories + 1, --stored.count * sizeof *stored.histories);
    *ret_stored = stored;
    return true;
}

bool receive_timelines_copy_fork(const struct wal_archive *archive, struct timeline from, struct timeline to,
                                 struct wal_position fork, struct error *err)
{
    struct wal_segment first = wal_segment_at(to, fork, archive->segment_size);
    struct wal_partial *partial = NULL;

    if (fork.value != wal_segment_start(first, archive->segment_size).value)
        return wal_archive_copy_fork(archive, from, to, fork, err);
    /*
     * No byte to copy, and yet a file is needed: a recovery that found none would take the segment of that number from
     * the old timeline, which is the dead branch.
     */
    if (!wal_partial_open(archive, first, &partial, err))
        return err->kind == ERROR_BUSY;
    wal_partial_free(partial);
    return true;
}

static bool is_stored(const struct wal_archive *archive, struct timeline timeline, bool *ret_stored, struct error *err)
{
    struct buffer text SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(HISTORY_MOST_BYTES);

    *ret_stored = wal_archive_read_history(archive, timeline, &text, err);
    return *ret_stored || err->errnum == ENOENT;
}

static bool publish_ancestor(const struct wal_archive *archive, struct pg_connection *connection,
                             struct timeline timeline, struct timeline *ret_missing, struct error *err)
{
    struct receive_history fetched SCOPED(scoped_receive_history) = {.text = NULL};
    bool is_known = false;

    if (!is_stored(archive, timeline, &is_known, err))
        return false;
    if (is_known)
        return true;
    if (receive_timelines_fetch(connection, timeline, &fetched, err))
        return wal_archive_write_history(archive, timeline, fetched.text, fetched.size, err);
    /* undefined_file; anything else is a fault */
    if (strcmp(pg_last_sqlstate(connection), "58P01") != 0)
        return false;
    *ret_missing = timeline;
    return true;
}

bool receive_timelines_publish(const struct wal_archive *archive, struct pg_connection *connection,
                               const struct receive_history *server_history, struct timeline newest,
                               struct timeline *ret_missing, struct error *err)
{
    const struct history *history = &server_history->history;

    *ret_missing = (struct timeline){0};
    for (size_t i = 0; i < history->entry_count; i++) {
        struct timeline timeline = history->entries[i].timeline;
        if (timeline.value > 1 && timeline.value <= newest.value &&
            !publish_ancestor(archive, connection, timeline, ret_missing, err))
            return false;
    }
    return server_history->text == NULL || newest.value < history->timeline.value ||
           wal_archive_write_history(archive, history->timeline, server_history->text, server_history->size, err);
}

bool receive_timelines_switch(const struct wal_archive *archive, struct pg_connection *connection, struct timeline from,
                              struct timeline to, struct wal_position fork, struct error *err)
{
    struct receive_history fetched SCOPED(scoped_receive_history) = {.text = NULL};
    struct wal_position said = {0};
    char fork_text[WAL_POSITION_TEXT_SIZE];

    wal_position_format(fork, fork_text);
    if (to.value <= from.value)
        return error_set(err, ERROR_SERVER,
                         "the server says that timeline %" PRIu32 " is followed by timeline %" PRIu32, from.value,
                         to.value);
    if (!receive_timelines_fetch(connection, to, &fetched, err))
        return false;
    if (!history_switch_point(&fetched.history, from, &said) || said.value != fork.value)
        return error_set(err, ERROR_INTEGRITY,
                         "the server ended timeline %" PRIu32 " at %s, but its history of timeline %" PRIu32
                         " says otherwise",
                         from.value, fork_text, to.value);
    return receive_timelines_copy_fork(archive, from, to, fork, err) &&
           wal_archive_write_history(archive, to, fetched.text, fetched.size, err);
}
