#include "jobs/receive/receiver_internal.h"

#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/file_lock.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/jobs/jobs.h"
#include "pgcoffer/repo/catalogue.h"

#define MILLISECOND        INT64_C(1000)
#define SECOND             INT64_C(1000000)
#define STEADY_AFTER       (60 * SECOND)  /* of streaming: the next fault starts with short waits again */
#define SAME_FAULT_LOGGED  (600 * SECOND) /* a fault that lasts is logged again so often */
#define THREADS_WAITED_FOR SECOND

/* ---- waiting ---- */

static void compress_what_waits(struct receiver *receiver)
{
    struct error err;

    if (receiver->compressor != NULL && !receive_compressor_turn(receiver->compressor, &err))
        log_failure(LOG_LEVEL_WARNING, &err);
}

/* Whatever else comes is read too, so that poll(2) does not spin on it. */
static void read_channel(struct receiver *receiver)
{
    json_t *message SCOPED(scoped_json) = NULL;
    struct error ignored;

    if (!control_receive(receiver->worker->channel, &message, &ignored))
        return;
    if (!worker_answer_alive(receiver->worker, message, &ignored))
        log_debug("could not give a sign of life: %s", ignored.message);
    const char *event = json_text_or_null(message, "event");
    if (event != NULL && strcmp(event, "verified") == 0)
        receive_gaps_look_now(&receiver->gaps);
    if (event == NULL || strcmp(event, "look") != 0)
        return;
    receive_certificates_look_now(&receiver->certificates);
    receive_gaps_look_now(&receiver->gaps);
    receive_sync_look_now(&receiver->sync);
}

static int64_t earliest(const struct receiver *receiver, int64_t until)
{
    const int64_t dues[] = {
        receive_report_due(&receiver->report),
        receive_certificates_due(&receiver->certificates),
        receive_sync_due(&receiver->sync),
        receive_gaps_due(receiver),
        receive_hosts_due(&receiver->hosts),
        receive_room_due(receiver),
        receiver->compressor == NULL ? INT64_MAX : receive_compressor_due(receiver->compressor),
    };

    for (size_t i = 0; i < sizeof dues / sizeof dues[0]; i++)
        if (dues[i] < until)
            until = dues[i];
    return until;
}

enum receive_wake receiver_wait(struct receiver *receiver, int socket, bool is_output_pending, int64_t until)
{
    struct receive_certificates *certificates = &receiver->certificates;

    for (;;) {
        receive_certificates_turn(certificates);
        receive_sync_turn(&receiver->sync);
        receive_hosts_turn(&receiver->hosts);
        receive_room_turn(receiver);
        receive_gaps_turn(receiver);
        receive_report_turn(&receiver->report);
        compress_what_waits(receiver);
        if (worker_is_interrupted(receiver->worker))
            return RECEIVE_WAKE_INTERRUPTED;
        bool is_to_change = certificates->is_renewed || receiver->hosts.is_elsewhere;
        if (is_to_change && receiver->report.state == RECEIVE_STREAMING)
            return RECEIVE_WAKE_RENEWED;

        struct pollfd descriptors[] = {
            {.fd = socket, .events = (short)(is_output_pending ? POLLIN | POLLOUT : POLLIN)},
            {.fd = receiver->worker->interrupt_fd, .events = POLLIN},
            {.fd = control_stream_descriptor(receiver->worker->channel), .events = POLLIN},
            {.fd = receiver->compressor == NULL ? -1 : receive_compressor_descriptor(receiver->compressor),
             .events = POLLIN},
            {.fd = receive_certificates_watch_descriptor(certificates), .events = POLLIN},
            {.fd = receive_certificates_task_descriptor(certificates), .events = POLLIN},
            {.fd = receive_sync_descriptor(&receiver->sync), .events = POLLIN},
            {.fd = receive_hosts_descriptor(&receiver->hosts), .events = POLLIN},
            {.fd = receive_gaps_descriptor(&receiver->gaps), .events = POLLIN},
            {.fd = receive_gaps_finished_descriptor(&receiver->gaps), .events = POLLIN},
        };
        int64_t left = earliest(receiver, until) - clock_monotonic();
        int milliseconds = left <= 0 ? 0 : left > 60 * SECOND ? 60000 : (int)((left + MILLISECOND - 1) / MILLISECOND);
        if (poll(descriptors, sizeof descriptors / sizeof descriptors[0], milliseconds) > 0) {
            bool is_called = descriptors[1].revents != 0 || descriptors[2].revents != 0;
            if (is_called && worker_is_interrupted(receiver->worker))
                return RECEIVE_WAKE_INTERRUPTED;
            certificates->is_signalled = descriptors[4].revents != 0 || descriptors[5].revents != 0;
            if (descriptors[2].revents != 0)
                read_channel(receiver);
            if (descriptors[0].revents != 0)
                return RECEIVE_WAKE_SOCKET;
        }
        if (clock_monotonic() >= until)
            return RECEIVE_WAKE_TIME;
    }
}

/* ---- faults and the next try ---- */

struct retry {
    unsigned failures; /* in a row */
    char logged[sizeof(((struct error *)0)->message)];
    int64_t logged_at;
};

/* With another host at hand the wait is short: it may be promoted any moment. */
static int64_t back_off(unsigned failures, bool has_others)
{
    static const int64_t waits[] = {SECOND / 5, SECOND / 2, SECOND, 2 * SECOND, 5 * SECOND};
    size_t most = sizeof waits / sizeof waits[0] - 1 - has_others;

    return waits[failures < most ? failures : most];
}

static void log_fault(struct retry *retry, enum receive_verdict verdict, const struct error *err)
{
    int64_t now = clock_monotonic();

    if (strcmp(retry->logged, err->message) == 0 && now - retry->logged_at < SAME_FAULT_LOGGED)
        return;
    snprintf(retry->logged, sizeof retry->logged, "%s", err->message);
    retry->logged_at = now;
    bool is_alarm = verdict == RECEIVE_REFUSED || verdict == RECEIVE_LOST_WAL;
    log_failure(is_alarm ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, err);
}

/* How long to wait before the next try. */
static int64_t judge(struct retry *retry, enum receive_verdict verdict, bool has_others)
{
    switch (verdict) {
    case RECEIVE_SHUTDOWN:
        retry->failures = 0;
        return back_off(retry->failures++, has_others);
    case RECEIVE_SLOT_BUSY:
        return SECOND;
    case RECEIVE_LOST_WAL:
        return back_off(0, has_others);
    case RECEIVE_INTERRUPTED:
    case RECEIVE_RENEWED:
    case RECEIVE_RETRY:
    case RECEIVE_REFUSED:
        break;
    }
    return back_off(retry->failures++, has_others);
}

/* False when the worker is to end. */
static bool wait_after(struct receiver *receiver, struct retry *retry, enum receive_verdict verdict,
                       const struct error *err)
{
    bool is_alarm = verdict == RECEIVE_REFUSED || verdict == RECEIVE_LOST_WAL;

    log_fault(retry, verdict, err);
    receive_report_state(&receiver->report, is_alarm ? RECEIVE_ALARM : RECEIVE_WAITING, err);
    int64_t until = clock_monotonic() + judge(retry, verdict, receiver->hosts.count > 1);
    return receiver_wait(receiver, -1, false, until) != RECEIVE_WAKE_INTERRUPTED;
}

/* ---- the whole life ---- */

static bool try_lock(struct receiver *receiver, struct file_lock *ret_lock, struct error *err)
{
    const char *name = receiver->server->name;
    char *folder SCOPED(scoped_free) = repo_server_path(receiver->repo, name, "");
    char *path SCOPED(scoped_free) = repo_lock_path(receiver->repo, name, "wal.lock");
    char *holder SCOPED(scoped_free) = memory_text("pid %d, the WAL receiver of %s", (int)getpid(), name);

    return file_make_directories(folder, receiver->repo->folder_mode, err) &&
           file_lock_exclusive(path, holder, ret_lock, err);
}

/* What a killed one left of server.json and tls.json. */
static bool clean_up(struct receiver *receiver, struct error *err)
{
    unsigned removed = 0;

    return catalogue_sweep_server(receiver->repo, receiver->server->name, &removed, err);
}

/* The lock, and what is stored in order; false when the worker is to end. */
static bool prepare(struct receiver *receiver, struct file_lock *lock)
{
    struct retry retry = {0};
    struct error err;

    for (;;) {
        if ((lock->fd >= 0 || try_lock(receiver, lock, &err)) && clean_up(receiver, &err) &&
            receive_cluster_open_stored(receiver, &err))
            return true;
        enum receive_verdict verdict = err.kind == ERROR_INTEGRITY ? RECEIVE_REFUSED : RECEIVE_RETRY;
        if (!wait_after(receiver, &retry, verdict, &err))
            return false;
    }
}

static void stream_for_ever(struct receiver *receiver)
{
    struct retry retry = {0};
    struct error err;

    for (;;) {
        enum receive_verdict verdict = receive_session_run(receiver, &err);
        if (verdict == RECEIVE_INTERRUPTED)
            return;
        if (verdict == RECEIVE_RENEWED)
            continue;
        receive_certificates_give_up(&receiver->certificates);
        bool was_streaming = receiver->report.state == RECEIVE_STREAMING;
        receiver->report.reconnects += was_streaming;
        if (was_streaming && clock_now().microseconds - receiver->report.since.microseconds >= STEADY_AFTER)
            retry.failures = 0;
        if (was_streaming)
            retry.logged[0] = '\0';
        if (verdict == RECEIVE_RETRY && room_is_short(&err)) {
            if (!receive_room_pause(receiver, &err))
                return;
            continue;
        }
        if (!wait_after(receiver, &retry, verdict, &err))
            return;
    }
}

/* Ends the process when that takes too long. */
static void wait_for_thread(int descriptor, int64_t until)
{
    struct pollfd done = {.fd = descriptor, .events = POLLIN};
    int64_t left = until - clock_monotonic();

    if (left <= 0 || poll(&done, 1, (int)(left / MILLISECOND) + 1) == 0)
        _exit(EXIT_SUCCESS);
}

/*
 * A segment of 1 GB takes seconds to compress, a server that does not answer as long to look at, and the daemon waits
 * for us. Cut off, it is as after kill -9: the raw segment stays and the next start removes the temporary file.
 */
static void end_threads(struct receiver *receiver)
{
    int64_t until = clock_monotonic() + THREADS_WAITED_FOR;

    receive_gaps_cancel(&receiver->gaps);
    if (receiver->gaps.is_busy)
        wait_for_thread(receive_gaps_descriptor(&receiver->gaps), until);
    receive_gaps_end(&receiver->gaps);
    if (receiver->compressor != NULL)
        receive_compressor_end(receiver->compressor);
    if (receiver->compressor != NULL && receive_compressor_is_working(receiver->compressor))
        wait_for_thread(receive_compressor_descriptor(receiver->compressor), until);
    receive_compressor_free(TAKE(receiver->compressor));
    if (receiver->certificates.is_busy)
        wait_for_thread(receive_certificates_task_descriptor(&receiver->certificates), until);
    receive_certificates_end(&receiver->certificates);
    if (receiver->sync.thread != NULL)
        wait_for_thread(receive_sync_descriptor(&receiver->sync), until);
    receive_sync_end(&receiver->sync);
    if (receiver->hosts.is_busy)
        wait_for_thread(receive_hosts_descriptor(&receiver->hosts), until);
    receive_hosts_end(&receiver->hosts);
}

int job_receive_main(struct job *job)
{
    struct file_lock lock SCOPED(file_lock_done) = FILE_LOCK_NONE;
    struct receiver receiver = {
        .worker = job->worker,
        .server = job->server,
        .repo = &job->repo,
        .report = {.channel = job->worker->channel,
                   .slot = job->server->settings.wal_slot,
                   .is_sync_wanted = job->server->settings.synchronous},
    };

    /* It runs for months: what a segment's compression or a burst of WAL took goes back at once. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 1 << 18);
    mallopt(M_TRIM_THRESHOLD, 1 << 18);
    receive_report_state(&receiver.report, RECEIVE_STARTING, NULL);
    if (prepare(&receiver, &lock)) {
        receive_hosts_begin(&receiver.hosts, job->server, &receiver.report, job->worker->interrupt_fd);
        receive_certificates_begin(&receiver.certificates, receive_hosts_view(&receiver.hosts), &job->repo,
                                   &receiver.report, job->worker->interrupt_fd);
        receive_sync_begin(&receiver.sync, receive_hosts_view(&receiver.hosts), &receiver.report,
                           job->worker->interrupt_fd);
        receive_gaps_begin(&receiver);
        stream_for_ever(&receiver);
    }
    log_info("ends");
    end_threads(&receiver);
    receive_report_done(&receiver.report);
    return EXIT_SUCCESS;
}
