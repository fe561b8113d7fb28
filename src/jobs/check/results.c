#include <ctype.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>

#include "jobs/check/check_internal.h"
#include "jobs/check/patience_internal.h"
#include "pgcoffer/base/text.h"

void check_run_done(struct check_run *run)
{
    sk_X509_pop_free(run->own, X509_free);
    sk_X509_pop_free(run->trusted, X509_free);
    if (run->addresses != NULL)
        freeaddrinfo(run->addresses);
    if (run->has_bare)
        tls_probe_done(&run->bare);
    if (run->has_shown)
        tls_probe_done(&run->shown);
    if (run->has_answer)
        startup_answer_done(&run->answer);
    pg_disconnect(run->connection);
    pg_disconnect(run->database);
    check_patience_free(run->watch);
    *run = (struct check_run){0};
}

bool check_is_set(const struct check_run *run, enum check_id id)
{
    return run->is_set[id];
}

bool check_has_failed(const struct check_run *run, enum check_id id)
{
    return run->is_set[id] && run->results[id].state == CHECK_FAIL;
}

/* A check that a level skipped of its own accord had nothing to look at: that stands in nobody's way. */
bool check_may(const struct check_run *run, enum check_id id)
{
    enum check_id needed = check_rows[id].needs;

    return needed == CHECK_ID_NOTHING || (run->is_set[needed] && run->results[needed].state != CHECK_FAIL);
}

bool check_is_needed(const struct check_run *run, enum check_id id)
{
    return run->is_needed[id];
}

bool check_is_interrupted(const struct check_run *run)
{
    struct pollfd watched = {.fd = run->request->interrupt_fd, .events = POLLIN};

    return watched.fd >= 0 && poll(&watched, 1, 0) > 0;
}

static int weight(const struct check_run *run, enum check_id id)
{
    if (!run->is_set[id])
        return -1;
    switch (run->results[id].state) {
    case CHECK_PASS:
    case CHECK_SKIP:
        return 0;
    case CHECK_WARN:
        return 1;
    case CHECK_FAIL:
        break;
    }
    return 2;
}

/* The result to fill, or NULL when what is there already counts more. */
static struct check_result *start(struct check_run *run, enum check_id id, enum check_state state, int new_weight)
{
    if (id >= CHECK_COUNT || weight(run, id) >= new_weight)
        return NULL;
    run->is_set[id] = true;
    run->results[id] = (struct check_result){.id = id, .state = state};
    return &run->results[id];
}

static void fill(char *text, size_t size, const char *words)
{
    snprintf(text, size, "%s", words);
    text_make_printable(text);
}

void check_pass(struct check_run *run, enum check_id id, const char *seen, ...)
{
    struct check_result *result = start(run, id, CHECK_PASS, 0);
    va_list args;

    if (result == NULL)
        return;
    va_start(args, seen);
    vsnprintf(result->seen, sizeof result->seen, seen, args);
    va_end(args);
    text_make_printable(result->seen);
}

void check_skip(struct check_run *run, enum check_id id, const char *reason, ...)
{
    struct check_result *result = start(run, id, CHECK_SKIP, 0);
    va_list args;

    if (result == NULL)
        return;
    va_start(args, reason);
    vsnprintf(result->seen, sizeof result->seen, reason, args);
    va_end(args);
    text_make_printable(result->seen);
}

static void put_finding(struct check_result *result, const struct finding *finding)
{
    if (result == NULL)
        return;
    fill(result->seen, sizeof result->seen, finding->seen);
    fill(result->cause, sizeof result->cause, finding->cause);
    fill(result->fix, sizeof result->fix, finding->fix);
}

void check_warn(struct check_run *run, const struct finding *finding)
{
    put_finding(start(run, finding->check, CHECK_WARN, 1), finding);
}

void check_fail(struct check_run *run, const struct finding *finding)
{
    put_finding(start(run, finding->check, CHECK_FAIL, 2), finding);
}

/* Messages of errors are pieces of a log line; a cause is a sentence. */
static void make_sentence(char *cause, size_t size)
{
    size_t length = strlen(cause);

    cause[0] = (char)toupper((unsigned char)cause[0]);
    if (length > 0 && length + 1 < size && strchr(".!?;", cause[length - 1]) == NULL)
        memcpy(cause + length, ".", sizeof ".");
}

void check_fail_error(struct check_run *run, enum check_id otherwise, const struct error *err)
{
    struct finding finding = {.check = otherwise};

    if (!finding_from_error(err, &finding)) {
        snprintf(finding.seen, sizeof finding.seen, "%s", err->detail);
        snprintf(finding.cause, sizeof finding.cause, "%.*s", (int)sizeof finding.cause - 1, err->message);
        snprintf(finding.fix, sizeof finding.fix, "%s", err->hint);
    }
    make_sentence(finding.cause, sizeof finding.cause);
    check_fail(run, &finding);
    if (finding.check != otherwise)
        check_block(run, otherwise, finding.check);
}

void check_block(struct check_run *run, enum check_id id, enum check_id fault)
{
    if (run->is_blocked[id])
        return;
    run->is_blocked[id] = true;
    run->blocked_by[id] = fault;
}

/* The first failed check of a level, and if there is none of the level before it. */
static enum check_id find_failure(const struct check_run *run, int level)
{
    for (; level >= 0; level--)
        for (enum check_id id = 0; id < CHECK_COUNT; id++)
            if ((int)check_rows[id].level == level && check_has_failed(run, id))
                return id;
    return CHECK_ID_NOTHING;
}

enum check_id check_completed_by(enum check_id id)
{
    static const struct {
        enum check_id id, completed_by;
    } rows[] = {
        {CHECK_ID_expiry_ca, CHECK_ID_chain_server},               /* which of several CAs counts */
        {CHECK_ID_chain_ca, CHECK_ID_chain_server},                /* is it the server's own certificate? */
        {CHECK_ID_identity_common_name, CHECK_ID_hba_replication}, /* does a map tie another name to the role? */
        /* What SHOW leaves open is asked by SQL. */
        {CHECK_ID_replication_slot, CHECK_ID_identity_recorded},
        {CHECK_ID_replication_senders, CHECK_ID_identity_recorded},
        {CHECK_ID_replication_synchronous, CHECK_ID_replication_sync_state},
        {CHECK_ID_server_tls_files, CHECK_ID_identity_recorded},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].id == id)
            return rows[i].completed_by;
    return CHECK_ID_NOTHING;
}

/* What it was left unset for, what it needs, or what that was waiting for; NOTHING with the last of them. */
static enum check_id find_needed_failure(const struct check_run *run, enum check_id id, enum check_id *ret_last)
{
    for (;;) {
        enum check_id needed = check_rows[id].needs;
        *ret_last = id;
        if (run->is_blocked[id])
            return run->blocked_by[id];
        if (needed == CHECK_ID_NOTHING)
            return CHECK_ID_NOTHING;
        if (run->is_set[needed])
            return check_has_failed(run, needed) ? needed : CHECK_ID_NOTHING;
        id = needed;
    }
}

/* The failed check that kept this one from being looked at; else the last failure before it, for what is wrong with the
 * files ends every connection. */
static enum check_id find_obstacle(const struct check_run *run, enum check_id id)
{
    enum check_id later = check_completed_by(id), last = id;
    enum check_id obstacle = find_needed_failure(run, id, &last);

    if (obstacle == CHECK_ID_NOTHING && later != CHECK_ID_NOTHING)
        obstacle = check_has_failed(run, later) ? later : find_needed_failure(run, later, &last);
    if (obstacle != CHECK_ID_NOTHING || check_rows[id].level >= CHECK_LEVEL_STORE)
        return obstacle;
    return find_failure(run, (int)check_rows[last].level);
}

void check_set_measure(struct check_run *run, enum check_id id, const char *unit, int64_t value, int64_t warn,
                       int64_t critical)
{
    run->results[id].measure = (struct check_measure){.unit = unit, .value = value, .warn = warn, .critical = critical};
}

void check_run_settle(struct check_run *run, enum check_level first, enum check_level last)
{
    /* What was skipped here is no answer to what needs it. */
    struct check_result skipped[CHECK_COUNT];
    bool is_new[CHECK_COUNT] = {false};

    for (enum check_id id = 0; id < CHECK_COUNT; id++) {
        if (run->is_set[id] || check_rows[id].level < first || check_rows[id].level > last)
            continue;
        enum check_id obstacle = find_obstacle(run, id);
        struct check_result *result = &skipped[id];
        *result = (struct check_result){.id = id, .state = CHECK_SKIP};
        is_new[id] = true;
        if (check_rows[id].is_negative && run->request->options.is_passive)
            snprintf(result->seen, sizeof result->seen, "left out by --passive");
        else if (obstacle != CHECK_ID_NOTHING)
            snprintf(result->seen, sizeof result->seen, "not looked at: %s failed", check_rows[obstacle].name);
        else
            snprintf(result->seen, sizeof result->seen, "not reached");
    }
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (is_new[id]) {
            run->results[id] = skipped[id];
            run->is_set[id] = true;
        }
}

bool check_run_tell(const struct check_run *run, enum check_level first, enum check_level last, check_sink *sink,
                    void *context, struct error *err)
{
    const bool *is_wanted = run->request->options.is_wanted;

    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (is_wanted[id] && check_rows[id].level >= first && check_rows[id].level <= last &&
            !sink(context, &run->results[id], err))
            return false;
    return true;
}

const char *check_host(const struct check_run *run)
{
    return tls_host_name(run->server);
}

_Static_assert(CHECK_SETTING_SIZE == TLS_SETTING_NAME_SIZE, "check_setting() gives its room to tls_setting_name()");

const char *check_setting(const struct check_run *run, const char *name, char ret_text[CHECK_SETTING_SIZE])
{
    return tls_setting_name(run->server, name, ret_text);
}
