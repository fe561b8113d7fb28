#include "jobs/receive/certificates_internal.h"

#include <errno.h>
#include <string.h>

#include "jobs/receive/expiry_log_internal.h"
#include "pgcoffer/base/log.h"

static bool run_task(void *shared, void *worker, void *task, struct error *err)
{
    (void)shared;
    (void)worker;
    (void)err;
    aside_run(task);
    return true;
}

static const struct pool_ops thread_ops = {.work = run_task};

static bool is_streaming(const struct receive_certificates *certificates)
{
    return certificates->report->state == RECEIVE_STREAMING;
}

static int64_t earlier(int64_t left, int64_t right)
{
    return left < right ? left : right;
}

static int64_t later(int64_t left, int64_t right)
{
    return left > right ? left : right;
}

/* ---- what status warns of ---- */

static void update_warning(struct receive_certificates *certificates)
{
    const struct error *warning = certificates->is_refused ? &certificates->refused : NULL;

    receive_report_warning(certificates->report, RECEIVE_WARNING_CERTIFICATES,
                           certificates->is_broken ? &certificates->broken : warning);
}

/* Told once in the log, until it is another one or was mended in between. */
static void warn(bool *is_known, struct error *known, const struct error *fault, bool is_news)
{
    if (!*is_known || is_news || strcmp(known->message, fault->message) != 0)
        log_failure(LOG_LEVEL_WARNING, fault);
    *is_known = true;
    *known = *fault;
}

/* ---- our files ---- */

static void take_broken(struct receive_certificates *certificates, const struct aside_task *task)
{
    bool is_other = !tls_set_is_same(&certificates->broken_set, &task->found);
    struct error fault = task->failure;
    char names[TLS_SET_NAMES_SIZE];

    tls_set_name_changed(&certificates->in_use, &task->found, names);
    error_wrap(&fault, "the stream goes on without the changed %s", names[0] != '\0' ? names : "TLS files");
    warn(&certificates->is_broken, &certificates->broken, &fault, is_other);
    certificates->broken_set = task->found;
    certificates->try_at = clock_monotonic() + CERTIFICATES_TRIED_AGAIN_AFTER;
}

static void take_mended(struct receive_certificates *certificates)
{
    if (certificates->is_broken)
        log_info("the TLS files are good again, and those that the stream uses");
    certificates->is_broken = false;
}

/* A stream that has ended meanwhile begins anew with whatever lies there. */
static void take_proved(struct receive_certificates *certificates, struct aside_task *task)
{
    if (!is_streaming(certificates))
        return;
    certificates->is_renewed = true;
    certificates->connection = TAKE(task->connection);
    certificates->proved = task->found;
}

static void take_try(struct receive_certificates *certificates, struct aside_task *task)
{
    certificates->try_at = INT64_MAX;
    switch (task->verdict) {
    case ASIDE_SAME:
        take_mended(certificates);
        break;
    case ASIDE_PROVED:
        take_proved(certificates, task);
        break;
    case ASIDE_BROKEN:
        take_broken(certificates, task);
        break;
    case ASIDE_UNDECIDED:
        certificates->try_at = clock_monotonic() + CERTIFICATES_ASKED_AGAIN_AFTER;
        break;
    }
    update_warning(certificates);
}

struct pg_connection *receive_certificates_take_connection(struct receive_certificates *certificates)
{
    struct pg_connection *connection = TAKE(certificates->connection);

    if (!certificates->is_on)
        return NULL;
    certificates->is_renewed = false;
    if (connection != NULL)
        certificates->connecting = certificates->proved;
    else
        tls_set_read(&certificates->server->settings, &certificates->connecting);
    return connection;
}

static void log_renewal(const struct receive_certificates *certificates, const struct pg_certificate *own)
{
    const struct pg_certificate *former = &certificates->own;
    char names[TLS_SET_NAMES_SIZE];

    tls_set_name_changed(&certificates->in_use, &certificates->connecting, names);
    if (strcmp(former->fingerprint, own->fingerprint) != 0)
        log_info("the client certificate was renewed: fingerprint %s -> %s, subject \"%s\", valid until %s",
                 former->fingerprint[0] != '\0' ? former->fingerprint : "(none)",
                 own->fingerprint[0] != '\0' ? own->fingerprint : "(none)", own->subject, own->not_after);
    else if (names[0] != '\0')
        log_info("connected with the changed %s", names);
}

static bool note_served(struct receive_certificates *certificates, const struct pg_certificate *served);

void receive_certificates_connected(struct receive_certificates *certificates, const struct pg_session *session)
{
    if (!certificates->is_on)
        return;
    bool is_same = tls_set_has_same_content(&certificates->in_use, &certificates->connecting);
    if (certificates->has_session)
        log_renewal(certificates, &session->own);
    if (!certificates->has_session || !is_same)
        certificates->is_look_due = true; /* what is new ends another day */
    certificates->has_session = true;
    certificates->in_use = certificates->connecting;
    certificates->own = session->own;
    certificates->is_broken = false;
    certificates->is_refused = false;
    if (note_served(certificates, &session->peer))
        certificates->is_look_due = true; /* a new chain comes with it */
    update_warning(certificates);
}

void receive_certificates_give_up(struct receive_certificates *certificates)
{
    certificates->is_renewed = false;
    pg_disconnect(TAKE(certificates->connection));
}

/* ---- what the server serves ---- */

static void remember_served(struct receive_certificates *certificates)
{
    struct error err;

    if (!served_certificate_write(certificates->repo, certificates->server->name, &certificates->served, &err))
        log_failure(LOG_LEVEL_WARNING, &err);
}

/* Is it another one than before? */
static bool note_served(struct receive_certificates *certificates, const struct pg_certificate *served)
{
    struct served_certificate *former = &certificates->served;

    if (served->fingerprint[0] == '\0' || strcmp(served->fingerprint, former->fingerprint) == 0)
        return false;
    if (former->fingerprint[0] == '\0')
        log_info("the server's certificate: fingerprint %s, subject \"%s\", valid until %s", served->fingerprint,
                 served->subject, served->not_after);
    else
        log_info("the server's certificate is another one: fingerprint %s -> %s, subject \"%s\", valid until %s (the "
                 "former one until %s)",
                 former->fingerprint, served->fingerprint, served->subject, served->not_after, former->not_after);
    *former = (struct served_certificate){.first_seen_at = clock_now()};
    snprintf(former->subject, sizeof former->subject, "%s", served->subject);
    snprintf(former->not_after, sizeof former->not_after, "%s", served->not_after);
    snprintf(former->fingerprint, sizeof former->fingerprint, "%s", served->fingerprint);
    remember_served(certificates);
    return true;
}

static void recall_served(struct receive_certificates *certificates)
{
    struct error err;

    if (!served_certificate_read(certificates->repo, certificates->server->name, &certificates->served, &err) &&
        err.errnum != ENOENT)
        log_failure(LOG_LEVEL_WARNING, &err);
}

static void report_recalled(struct receive_certificates *certificates)
{
    const struct served_certificate *served = &certificates->served;
    struct pg_certificate told = {.subject = ""};

    snprintf(told.subject, sizeof told.subject, "%s", served->subject);
    snprintf(told.not_after, sizeof told.not_after, "%s", served->not_after);
    snprintf(told.fingerprint, sizeof told.fingerprint, "%s", served->fingerprint);
    if (served->fingerprint[0] != '\0')
        receive_report_served(certificates->report, &told);
}

/* ---- a look ---- */

static void judge_look(struct receive_certificates *certificates, struct aside_task *task)
{
    struct error fault = task->failure;

    /* Its chain was looked at just now. Two servers behind one address may serve another one each time. */
    (void)note_served(certificates, &task->served);
    if (task->served.fingerprint[0] != '\0')
        receive_report_served(certificates->report, &task->served);
    if (!task->is_answered)
        return;
    if (task->is_refused) {
        error_wrap(&fault, "the stream goes on, but a new connection would fail");
        warn(&certificates->is_refused, &certificates->refused, &fault, false);
        certificates->look_at = earlier(certificates->look_at, clock_monotonic() + CERTIFICATES_TRIED_AGAIN_AFTER);
        return;
    }
    if (certificates->is_refused)
        log_info("a new connection to the server is possible again");
    certificates->is_refused = false;
}

/* Of those in use. Without one the last look tells no other: the server was not reached. */
static void report_authorities(struct receive_certificates *certificates, const struct inventory *inventory)
{
    struct timestamp first = {INT64_MAX};

    for (size_t i = 0; i < inventory->count; i++) {
        const struct inventory_entry *entry = &inventory->entries[i];
        if (entry->kind == INVENTORY_AUTHORITY && expiry_matters(inventory, entry) &&
            entry->text.not_after.microseconds < first.microseconds)
            first = entry->text.not_after;
    }
    if (first.microseconds != INT64_MAX)
        receive_report_authorities(certificates->report, first);
}

/* Before the first session: with one that has ended there will be none, and who asks why is to see it. */
static void report_ours(struct receive_certificates *certificates, const struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->count && !certificates->has_session; i++) {
        const struct inventory_entry *entry = &inventory->entries[i];
        if (entry->kind == INVENTORY_CLIENT && entry->state != INVENTORY_UNKNOWN)
            receive_report_client(certificates->report, &entry->text);
    }
}

static void take_look(struct receive_certificates *certificates, struct aside_task *task)
{
    int64_t now = clock_monotonic(), next = now + CERTIFICATES_LOOKED_AT_EVERY;
    int64_t worse = expiry_log(&certificates->told, certificates->server, &task->inventory,
                               is_streaming(certificates) ? &certificates->own : NULL);

    next = earlier(next, later(worse, now + CERTIFICATES_LOOKS_APART));
    certificates->look_at = earlier(certificates->look_at, next); /* it may have been asked for again */
    report_authorities(certificates, &task->inventory);
    report_ours(certificates, &task->inventory);
    if (task->is_to_connect)
        judge_look(certificates, task);
    update_warning(certificates);
}

/* ---- the loop ---- */

static void take_result(struct receive_certificates *certificates)
{
    struct aside_task *task = &certificates->task;
    void *done = NULL;
    struct error ignored; /* a task never fails as such */

    if (!certificates->is_busy || (pool_try_take(certificates->thread, &done, &ignored) && done == NULL))
        return;
    certificates->is_busy = false;
    if (task->kind == ASIDE_TRY)
        take_try(certificates, task);
    else
        take_look(certificates, task);
    aside_done(task);
}

static void submit(struct receive_certificates *certificates, enum aside_kind kind)
{
    certificates->task = (struct aside_task){
        .kind = kind,
        .server = certificates->server,
        .application_name = certificates->server->settings.application_name,
        .interrupt_fd = certificates->interrupt_fd,
        .is_to_connect = is_streaming(certificates),
        .is_without_ours = certificates->is_broken,
        .in_use = certificates->in_use,
    };
    pool_submit(certificates->thread, &certificates->task);
    certificates->is_busy = true;
}

static int64_t try_due(const struct receive_certificates *certificates)
{
    if (!is_streaming(certificates) || certificates->is_renewed)
        return INT64_MAX;
    return certificates->is_try_due ? 0 : certificates->try_at;
}

static int64_t look_due(const struct receive_certificates *certificates)
{
    return certificates->is_look_due && is_streaming(certificates) ? 0 : certificates->look_at;
}

static void begin_what_is_due(struct receive_certificates *certificates)
{
    int64_t now = clock_monotonic();

    if (certificates->is_busy)
        return;
    if (now >= try_due(certificates)) {
        certificates->is_try_due = false;
        certificates->try_at = INT64_MAX;
        submit(certificates, ASIDE_TRY);
    } else if (now >= look_due(certificates)) {
        certificates->is_look_due = certificates->is_look_due && !is_streaming(certificates);
        certificates->look_at = INT64_MAX;
        submit(certificates, ASIDE_LOOK);
    }
}

void receive_certificates_turn(struct receive_certificates *certificates)
{
    if (!certificates->is_signalled && clock_monotonic() < receive_certificates_due(certificates))
        return;
    certificates->is_signalled = false;
    if (!certificates->is_on)
        return;
    take_result(certificates);
    if (file_watch_turn(certificates->watch, clock_monotonic()))
        certificates->is_try_due = true;
    begin_what_is_due(certificates);
}

int64_t receive_certificates_due(const struct receive_certificates *certificates)
{
    if (!certificates->is_on)
        return INT64_MAX;
    int64_t due = file_watch_due(certificates->watch);
    if (certificates->is_busy)
        return due;
    return earlier(due, earlier(look_due(certificates), try_due(certificates)));
}

int receive_certificates_watch_descriptor(const struct receive_certificates *certificates)
{
    return certificates->is_on ? file_watch_descriptor(certificates->watch, clock_monotonic()) : -1;
}

int receive_certificates_task_descriptor(const struct receive_certificates *certificates)
{
    return certificates->is_busy ? pool_event_descriptor(certificates->thread) : -1;
}

void receive_certificates_look_now(struct receive_certificates *certificates)
{
    if (!certificates->is_on)
        return;
    file_watch_look_now(certificates->watch);
    certificates->look_at = 0;
    certificates->is_try_due = certificates->is_try_due || certificates->is_broken;
}

/* ---- the whole life ---- */

void receive_certificates_begin(struct receive_certificates *certificates, const struct server_config *server,
                                const struct repo *repo, struct receive_report *report, int interrupt_fd)
{
    const char *paths[TLS_SET_COUNT];
    struct error err;

    *certificates = (struct receive_certificates){
        .server = server, .repo = repo, .report = report, .interrupt_fd = interrupt_fd, .try_at = INT64_MAX};
    if (config_tls_mode(&server->settings) == TLS_DISABLE)
        return;
    if (!pool_new(&thread_ops, NULL, 1, 1, &certificates->thread, &err)) {
        error_wrap(&err, "renewed certificates will not be noticed");
        log_failure(LOG_LEVEL_WARNING, &err);
        return;
    }
    for (enum tls_set_file file = 0; file < TLS_SET_COUNT; file++)
        paths[file] = tls_set_path(&server->settings, file);
    certificates->watch = file_watch_new(paths, TLS_SET_COUNT, clock_monotonic());
    recall_served(certificates);
    report_recalled(certificates);
    certificates->is_on = true;
}

void receive_certificates_end(struct receive_certificates *certificates)
{
    if (!certificates->is_on)
        return;
    pool_free(TAKE(certificates->thread), NULL);
    if (certificates->is_busy)
        aside_done(&certificates->task);
    receive_certificates_give_up(certificates);
    file_watch_free(TAKE(certificates->watch));
    certificates->is_busy = certificates->is_on = false;
}
