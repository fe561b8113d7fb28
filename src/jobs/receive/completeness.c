#include "jobs/receive/completeness_internal.h"

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/log.h"

#define SECOND     INT64_C(1000000)
#define NOTE_EVERY (10 * SECOND)
/*
 * A commit has its time before its record is written out, with synchronous_commit = off up to three wal_writer_delay
 * (by default 200 ms) before; and what is at hand is looked at a little before it is sent.
 */
#define MARGIN (2 * SECOND)

static void prove(struct receive_completeness *completeness, struct wal_position end, struct timestamp at)
{
    if (at.microseconds > MARGIN)
        completeness->proven = (struct wal_complete){end, {at.microseconds - MARGIN}};
}

void receive_completeness_data(struct receive_completeness *completeness, const struct wal_message *message,
                               struct wal_position end)
{
    completeness->first_at.microseconds = 0;
    completeness->has_caught_up = message->server_end.value <= end.value;
    if (completeness->is_primary && completeness->has_caught_up)
        prove(completeness, end, message->sent_at);
}

bool receive_completeness_keepalive(struct receive_completeness *completeness, const struct wal_message *message,
                                    struct wal_position end)
{
    bool is_answer = !message->is_reply_requested && completeness->unanswered > 0;

    if (is_answer)
        completeness->unanswered--;
    if (!completeness->is_primary || !completeness->has_caught_up || message->server_end.value != end.value) {
        completeness->first_at.microseconds = 0;
        return false;
    }
    if (completeness->first_at.microseconds != 0 && completeness->is_asked && is_answer) {
        prove(completeness, end, completeness->first_at);
        completeness->first_at.microseconds = 0;
        return false;
    }
    completeness->first_at = message->sent_at;
    completeness->is_asked = false;
    return completeness->unanswered == 0;
}

void receive_completeness_asked(struct receive_completeness *completeness)
{
    /* An answer to an earlier question must not be taken for the one to this. */
    completeness->is_asked = completeness->unanswered == 0;
    completeness->unanswered++;
}

bool receive_completeness_is_due(const struct receive_completeness *completeness, struct wal_position durable)
{
    return completeness->proven.at.microseconds != 0 && completeness->proven.position.value <= durable.value &&
           clock_monotonic() >= completeness->note_at;
}

bool receive_completeness_note(struct receive_completeness *completeness, const struct wal_archive *archive,
                               struct timeline timeline, struct wal_complete *ret_noted)
{
    struct error ignored; /* a disk that fails shows with the next bytes */

    completeness->note_at = clock_monotonic() + NOTE_EVERY;
    if (!wal_complete_write(archive, timeline, &completeness->proven, &ignored)) {
        log_debug("%s", ignored.message);
        return false;
    }
    *ret_noted = completeness->proven;
    completeness->proven.at.microseconds = 0;
    return true;
}
