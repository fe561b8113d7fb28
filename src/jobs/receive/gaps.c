#include "jobs/receive/gaps_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "jobs/gap_told_internal.h"
#include "jobs/receive/receiver_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

#define RESTS_AT_LATEST 2000 /* milliseconds */

static bool run_task(void *shared, void *worker, void *task, struct error *err)
{
    (void)shared;
    (void)worker;
    (void)err;
    filler_run(task);
    return true;
}

static const struct pool_ops thread_ops = {.work = run_task};

/* ---- what is told ---- */

static bool touches_any(const struct wal_gaps *gaps, const struct wal_gap *gap)
{
    for (size_t i = 0; i < gaps->count; i++) {
        const struct wal_gap *other = &gaps->gaps[i];
        if (other->timeline.value == gap->timeline.value && other->reason == gap->reason &&
            (gap->end.value == 0 || other->start.value < gap->end.value) &&
            (other->end.value == 0 || gap->start.value < other->end.value))
            return true;
    }
    return false;
}

/* What is new, what is no longer, and once a day what still is. */
static void log_news(struct receive_gaps *gaps, const struct wal_gaps *now)
{
    const struct wal_gaps *before = &gaps->known;
    bool is_due = clock_monotonic() - gaps->told_at >= GAPS_TOLD_AGAIN_AFTER;
    char text[GAP_TOLD_SIZE];

    if (is_due)
        gaps->told_at = clock_monotonic();
    for (size_t i = 0; i < now->count; i++)
        if (is_due || !touches_any(before, &now->gaps[i])) {
            gap_describe(&now->gaps[i], text);
            log_warning("WAL is missing: %s; a recovery cannot pass it", text);
        }
    for (size_t i = 0; i < before->count; i++)
        if (!touches_any(now, &before->gaps[i])) {
            gap_describe(&before->gaps[i], text);
            log_info("WAL is missing no longer: %s", text);
        }
}

/* Told once, until it is another one. */
static void log_once(struct receive_gaps *gaps, enum log_level level, const struct error *failure)
{
    if (strcmp(gaps->told, failure->message) == 0)
        return;
    snprintf(gaps->told, sizeof gaps->told, "%s", failure->message);
    log_failure(level, failure);
}

/* ---- the record ---- */

/* A record that cannot be read must not keep the next loss from being recorded. False when it was not set aside. */
static bool set_record_aside(const struct wal_archive *archive, const struct error *damage)
{
    struct error told = *damage, failure;
    char *path SCOPED(scoped_free) = NULL;

    /* Without a path the record is sound, and something else is damaged. */
    if (damage->kind != ERROR_INTEGRITY || !wal_gaps_set_aside(archive, &path, &failure) || path == NULL)
        return false;
    error_detail(&told, "it is kept aside as \"%s\", and a new one begun", path);
    log_failure(LOG_LEVEL_ERROR, &told);
    return true;
}

static bool record(const struct wal_archive *archive, const struct wal_gap *gap, struct error *err)
{
    return wal_gaps_record(archive, gap, err) || (set_record_aside(archive, err) && wal_gaps_record(archive, gap, err));
}

static void scoped_wal_ranges(struct wal_ranges *ranges)
{
    wal_ranges_done(ranges);
}

/* The first byte that is not held; false when nothing at all is, and so nothing is lost either. */
static bool find_loss(const struct wal_archive *archive, struct timeline timeline, struct wal_position position,
                      struct wal_position *ret_start, bool *ret_is_anything_held, struct error *err)
{
    struct wal_ranges held SCOPED(scoped_wal_ranges) = {NULL, 0};

    if (!wal_archive_ranges(archive, &held, err))
        return false;
    *ret_start = position;
    for (size_t i = 0; i < held.count; i++)
        if (held.ranges[i].timeline.value == timeline.value && held.ranges[i].start.value <= position.value &&
            position.value <= held.ranges[i].end.value)
            *ret_start = held.ranges[i].end;
    *ret_is_anything_held = held.count > 0;
    return true;
}

void receive_gaps_note_slot_lost(struct receive_gaps *gaps, const char *words)
{
    gaps->is_slot_lost = true;
    snprintf(gaps->slot_words, sizeof gaps->slot_words, "%s", words);
}

bool receive_gaps_note_loss(struct receiver *receiver, struct timeline timeline, struct wal_position position,
                            const char *words, struct error *err)
{
    struct receive_gaps *gaps = &receiver->gaps;
    struct wal_gap gap = {.timeline = timeline, .reason = WAL_GAP_REMOVED};
    bool is_anything_held = false;

    if (!find_loss(&receiver->archive, timeline, position, &gap.start, &is_anything_held, err))
        return false;
    if (gaps->is_slot_lost)
        gap.reason = WAL_GAP_SLOT_LOST;
    snprintf(gap.words, sizeof gap.words, "%s%s%s", gaps->is_slot_lost ? gaps->slot_words : "",
             gaps->is_slot_lost ? "; " : "", words);
    if (is_anything_held && !record(&receiver->archive, &gap, err))
        return error_wrap(err, "could not record that WAL is lost");
    gaps->is_slot_lost = false;
    gaps->is_settle_due = true;
    return true;
}

/* ---- the loop ---- */

/* The stream alone writes the end of what is held: only before something that is held there is anything to fetch. */
static bool is_fetchable(const struct receive_gaps *gaps, const struct wal_gap *gap)
{
    for (size_t i = 0; gap->end.value != 0 && i < gaps->held.count; i++) {
        const struct wal_range *range = &gaps->held.ranges[i];
        if (range->timeline.value > gap->timeline.value ||
            (range->timeline.value == gap->timeline.value && range->start.value >= gap->end.value))
            return true;
    }
    return false;
}

static void find_next_gap(struct receive_gaps *gaps)
{
    while (gaps->next_gap < gaps->known.count && !is_fetchable(gaps, &gaps->known.gaps[gaps->next_gap]))
        gaps->next_gap++;
}

static void end_round(struct receive_gaps *gaps)
{
    gaps->is_round_due = false;
    gaps->next_gap = 0;
    gaps->round_at = gaps->known.count > 0 || gaps->has_failed ? clock_monotonic() + GAPS_TRIED_AGAIN_AFTER : INT64_MAX;
}

static void take_settled(struct receiver *receiver, struct filler_task *task)
{
    struct receive_gaps *gaps = &receiver->gaps;

    if (!task->is_done) {
        bool is_new_record = set_record_aside(&task->archive, &task->failure);
        gaps->is_settle_due = gaps->is_settle_due || is_new_record;
        gaps->has_failed = !is_new_record;
        if (!is_new_record)
            log_once(gaps, LOG_LEVEL_WARNING, &task->failure);
        return;
    }
    gaps->has_failed = false;
    log_news(gaps, &task->gaps);
    wal_gaps_done(&gaps->known);
    wal_ranges_done(&gaps->held);
    gaps->known = task->gaps;
    gaps->held = task->held;
    task->gaps = (struct wal_gaps){NULL, 0};
    task->held = (struct wal_ranges){NULL, 0};
    gaps->is_known = true;
    if (gaps->known.count == 0)
        gaps->told[0] = '\0';
    receive_report_gaps(&receiver->report, &gaps->known, task->archive.segment_size);
}

/* What is finished takes four times its room until it is compressed. */
static void hand_over(struct receiver *receiver)
{
    struct receive_gaps *gaps = &receiver->gaps;
    size_t finished = filler_finished(&gaps->task);
    eventfd_t ignored;

    eventfd_read(gaps->finished_fd, &ignored);
    for (; gaps->handed_over < finished && receiver->compressor != NULL; gaps->handed_over++)
        receive_compressor_add(receiver->compressor, gaps->task.finished[gaps->handed_over]);
}

static void take_fetched(struct receiver *receiver, struct filler_task *task)
{
    struct receive_gaps *gaps = &receiver->gaps;
    char text[GAP_TOLD_SIZE];

    gap_describe(&task->gap, text);
    if (task->finished_count > 0)
        log_info("fetched %zu segment%s of what is missing %s", task->finished_count,
                 task->finished_count == 1 ? "" : "s", text);
    if (task->has_advanced) {
        gaps->is_settle_due = true;
        gaps->next_gap = 0;
        return;
    }
    gaps->next_gap++;
    if (task->is_done || task->failure.errnum == ECANCELED)
        return;
    error_wrap(&task->failure, "what is missing %s cannot be fetched yet", text);
    log_once(gaps, LOG_LEVEL_INFO, &task->failure);
}

static void take_result(struct receiver *receiver)
{
    struct receive_gaps *gaps = &receiver->gaps;
    struct filler_task *task = &gaps->task;
    void *done = NULL;
    struct error ignored; /* a task never fails as such */
    eventfd_t calls;

    if (!gaps->is_busy)
        return;
    bool is_done = !pool_try_take(gaps->thread, &done, &ignored) || done != NULL;
    hand_over(receiver);
    if (!is_done)
        return;
    gaps->is_busy = false;
    eventfd_read(gaps->cancel_fd, &calls);
    if (task->kind == FILLER_SETTLE)
        take_settled(receiver, task);
    else
        take_fetched(receiver, task);
    filler_done(task);
}

static void submit(struct receiver *receiver, enum filler_kind kind)
{
    struct receive_gaps *gaps = &receiver->gaps;

    gaps->task = (struct filler_task){.kind = kind,
                                      .server = receiver->server,
                                      .archive = receiver->archive,
                                      .interrupt_fd = gaps->cancel_fd,
                                      .finished_fd = gaps->finished_fd};
    gaps->handed_over = 0;
    if (kind == FILLER_FETCH)
        gaps->task.gap = gaps->known.gaps[gaps->next_gap];
    pool_submit(gaps->thread, &gaps->task);
    gaps->is_busy = true;
}

static void begin_what_is_due(struct receiver *receiver)
{
    struct receive_gaps *gaps = &receiver->gaps;

    if (clock_monotonic() >= gaps->round_at)
        receive_gaps_look_now(gaps);
    if (gaps->is_settle_due) {
        gaps->is_settle_due = false;
        submit(receiver, FILLER_SETTLE);
        return;
    }
    if (!gaps->is_round_due || receiver->room.is_paused)
        return;
    find_next_gap(gaps);
    if (gaps->next_gap < gaps->known.count)
        submit(receiver, FILLER_FETCH);
    else
        end_round(gaps);
}

/* While the archive is to be cleaned up nobody else may be at it. */
static bool is_on(const struct receiver *receiver)
{
    return receiver->gaps.thread != NULL && receiver->has_archive && !receiver->is_to_recover;
}

void receive_gaps_turn(struct receiver *receiver)
{
    struct receive_gaps *gaps = &receiver->gaps;

    take_result(receiver);
    if (!is_on(receiver))
        return;
    /* The first byte behind a loss tells where it ends. */
    if (gaps->was_lost && !receiver->is_lost)
        receive_gaps_look_now(gaps);
    gaps->was_lost = receiver->is_lost;
    if (!gaps->is_busy && clock_monotonic() >= receive_gaps_due(receiver))
        begin_what_is_due(receiver);
}

int64_t receive_gaps_due(const struct receiver *receiver)
{
    const struct receive_gaps *gaps = &receiver->gaps;

    if (!is_on(receiver) || gaps->is_busy)
        return INT64_MAX;
    if (gaps->is_settle_due || (gaps->is_round_due && !receiver->room.is_paused))
        return 0;
    return gaps->round_at;
}

bool receive_gaps_rest(struct receiver *receiver, struct error *err)
{
    struct receive_gaps *gaps = &receiver->gaps;
    struct pollfd done = {.fd = receive_gaps_descriptor(gaps), .events = POLLIN};

    if (!gaps->is_busy)
        return true;
    receive_gaps_cancel(gaps);
    if (poll(&done, 1, RESTS_AT_LATEST) > 0)
        take_result(receiver);
    return !gaps->is_busy ||
           error_set(err, ERROR_BUSY, "the WAL archive cannot be cleaned up yet: missing WAL is being looked for");
}

int receive_gaps_descriptor(const struct receive_gaps *gaps)
{
    return gaps->is_busy ? pool_event_descriptor(gaps->thread) : -1;
}

int receive_gaps_finished_descriptor(const struct receive_gaps *gaps)
{
    return gaps->is_busy ? gaps->finished_fd : -1;
}

void receive_gaps_look_now(struct receive_gaps *gaps)
{
    gaps->is_settle_due = true;
    gaps->is_round_due = true;
    gaps->next_gap = 0;
    gaps->round_at = INT64_MAX;
}

/* ---- the whole life ---- */

void receive_gaps_begin(struct receiver *receiver)
{
    struct receive_gaps *gaps = &receiver->gaps;
    struct error err;

    /* What is missing is known from the disk, also while the server cannot be reached. */
    *gaps = (struct receive_gaps){.is_settle_due = true,
                                  .cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                  .finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                  .round_at = INT64_MAX,
                                  .told_at = clock_monotonic()};
    bool has_descriptors = gaps->cancel_fd >= 0 && gaps->finished_fd >= 0;
    if (!has_descriptors)
        error_set_kind_errno(&err, ERROR_FAILED, "could not make an eventfd");
    if (has_descriptors && pool_new(&thread_ops, NULL, 1, 1, &gaps->thread, &err))
        return;
    error_wrap(&err, "WAL that is missing will not be looked for");
    log_failure(LOG_LEVEL_WARNING, &err);
}

void receive_gaps_cancel(struct receive_gaps *gaps)
{
    if (gaps->thread != NULL)
        eventfd_write(gaps->cancel_fd, 1);
}

void receive_gaps_end(struct receive_gaps *gaps)
{
    if (gaps->thread == NULL)
        return;
    receive_gaps_cancel(gaps);
    pool_free(TAKE(gaps->thread), NULL);
    if (gaps->is_busy)
        filler_done(&gaps->task);
    gaps->is_busy = false;
    wal_gaps_done(&gaps->known);
    wal_ranges_done(&gaps->held);
    scoped_close(&gaps->cancel_fd);
    scoped_close(&gaps->finished_fd);
}
