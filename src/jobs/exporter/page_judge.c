#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "jobs/exporter/page_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/control/stream.h"

#define SECOND INT64_C(1000000)
#define DAY    (86400 * SECOND)
/* A survey is made every ten minutes while the port listens. */
#define OLD_SURVEY       (30 * 60 * SECOND)
#define FEW_DAYS_TO_END  21 /* as expiry_warn_days has it by default */
#define FEW_DAYS_TO_FULL 3

static void find(struct reasons *reasons, enum level level, const char *format, ...) PRINTF_LIKE(3, 4);
static void find(struct reasons *reasons, enum level level, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(reasons->words, control_text(text));
    if (level > reasons->level)
        reasons->level = level;
}

void reasons_done(struct reasons *reasons)
{
    json_decref(reasons->words);
    reasons->words = NULL;
}

/* ---- certificates ---- */

bool page_days_left(const struct page *page, const json_t *object, const char *key, int64_t *ret_days)
{
    struct timestamp end;

    if (page->now.microseconds == 0 || !json_find_time(object, key, &end))
        return false;
    int64_t left = end.microseconds - page->now.microseconds;
    *ret_days = left < 0 ? -((DAY - 1 - left) / DAY) : left / DAY;
    return true;
}

enum level page_judge_days(int64_t days)
{
    return days < 0 ? LEVEL_BAD : days < FEW_DAYS_TO_END ? LEVEL_WARNING : LEVEL_GOOD;
}

static void judge_certificate(const struct page *page, const json_t *object, const char *key, const char *whose,
                              struct reasons *reasons)
{
    int64_t days;

    if (!page_days_left(page, object, key, &days) || page_judge_days(days) == LEVEL_GOOD)
        return;
    if (days < 0)
        find(reasons, LEVEL_BAD, "%s has expired", whose);
    else
        find(reasons, LEVEL_WARNING, "%s ends in %" PRId64 " day%s", whose, days, days == 1 ? "" : "s");
}

/* ---- a server ---- */

enum level page_judge_receiver(const char *state)
{
    static const struct {
        const char *state;
        enum level level;
    } known[] = {{"streaming", LEVEL_GOOD},  {"starting", LEVEL_UNKNOWN}, {"connecting", LEVEL_WARNING},
                 {"waiting", LEVEL_WARNING}, {"alarm", LEVEL_BAD},        {"stopped", LEVEL_BAD}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (state != NULL && strcmp(known[i].state, state) == 0)
            return known[i].level;
    return LEVEL_UNKNOWN;
}

static void judge_receiver(const struct page *page, const json_t *receiver, struct reasons *reasons)
{
    const char *state = json_text_or_null(receiver, "state");
    enum level level = page_judge_receiver(state);

    if (state == NULL)
        find(reasons, LEVEL_UNKNOWN, "nothing is known of its WAL");
    else if (level != LEVEL_GOOD)
        find(reasons, level, "no WAL comes in: the receiver is %s", strcmp(state, "alarm") == 0 ? "in alarm" : state);
    if (json_is_object(json_object_get(receiver, "warning")))
        find(reasons, LEVEL_WARNING, "the receiver warns");
    judge_certificate(page, json_object_get(receiver, "certificate"), "not_after", "the client certificate", reasons);
    judge_certificate(page, json_object_get(receiver, "server_certificate"), "not_after", "PostgreSQL's certificate",
                      reasons);
    judge_certificate(page, receiver, "authorities_not_after", "the certificate authority", reasons);
}

static void judge_windows(const json_t *restorable, struct reasons *reasons)
{
    const json_t *gaps = json_object_get(restorable, "gaps");
    const json_t *last = json_array_get(gaps, json_array_size(gaps) - 1);
    int64_t count = json_number_or(restorable, "gap_count", 0);
    bool has_end = json_array_size(gaps) > 0 && json_text_or_null(last, "until") == NULL;

    if (json_array_size(json_object_get(restorable, "windows")) == 0) {
        find(reasons, LEVEL_BAD, "no span of time can be restored");
        return;
    }
    if (has_end)
        find(reasons, LEVEL_BAD, "nothing later than the last window can be restored");
    count -= has_end;
    if (count > 0)
        find(reasons, LEVEL_WARNING, "%" PRId64 " gap%s", count, count == 1 ? "" : "s");
}

static void judge_proofs(const json_t *proofs, struct reasons *reasons)
{
    const json_t *drill = json_object_get(proofs, "drill");
    int64_t failed = json_number_or(proofs, "failed_count", 0);

    if (failed > 0)
        find(reasons, LEVEL_BAD, "%" PRId64 " backup%s found damaged", failed, failed == 1 ? "" : "s");
    if (json_is_object(drill) && !json_is_set(drill, "good") && !json_is_set(proofs, "drill_former"))
        find(reasons, LEVEL_BAD, "the last drill failed");
    if (json_text_or_null(proofs, "unreadable") != NULL)
        find(reasons, LEVEL_WARNING, "a proof cannot be read");
}

static void judge_survey(const struct page *page, const json_t *survey, struct reasons *reasons)
{
    struct timestamp at;

    if (json_is_object(json_object_get(survey, "error")))
        find(reasons, LEVEL_WARNING, "what is stored could not be looked at");
    if (!json_find_time(survey, "at", &at)) {
        find(reasons, LEVEL_UNKNOWN, "what is stored is not known yet");
        return;
    }
    if (page->now.microseconds - at.microseconds > OLD_SURVEY)
        find(reasons, LEVEL_WARNING, "what is stored was not looked at for %" PRId64 " min",
             (page->now.microseconds - at.microseconds) / (60 * SECOND));
    judge_windows(json_object_get(survey, "restorable"), reasons);
    judge_proofs(json_object_get(survey, "proofs"), reasons);
    int64_t days = json_number_or(json_object_get(survey, "room"), "days_until_full", -1);
    if (days >= 0 && days < FEW_DAYS_TO_FULL)
        find(reasons, LEVEL_WARNING, "the disk is full in %" PRId64 " day%s", days, days == 1 ? "" : "s");
}

static void judge_jobs(const struct page *page, const char *server, struct reasons *reasons)
{
    size_t index = 0;

    for (const json_t *job; (job = page_failed_job(page, server, &index)) != NULL;)
        find(reasons, LEVEL_WARNING, "the last %s failed", json_text_or(job, "command", "job"));
}

struct reasons page_judge_server(const struct page *page, const json_t *server)
{
    struct reasons reasons = {.level = LEVEL_GOOD, .words = json_array()};
    const char *name = json_text_or_null(server, "server");

    judge_survey(page, json_object_get(server, "survey"), &reasons);
    judge_receiver(page, json_object_get(server, "receiver"), &reasons);
    if (name != NULL)
        judge_jobs(page, name, &reasons);
    return reasons;
}

/* ---- the daemon ---- */

static void judge_port(const struct page *page, const char *name, struct reasons *reasons)
{
    const json_t *port = json_object_get(page->state, name);
    char *certificate SCOPED(scoped_free) = memory_text("the certificate of %s", name);

    if (!json_is_object(port))
        return;
    if (json_is_object(json_object_get(port, "error")))
        find(reasons, LEVEL_BAD, "%s does not listen", name);
    if (json_is_object(json_object_get(port, "warning")))
        find(reasons, LEVEL_WARNING, "%s warns", name);
    judge_certificate(page, json_object_get(port, "certificate"), "not_after", certificate, reasons);
}

struct reasons page_judge_daemon(const struct page *page)
{
    struct reasons reasons = {.level = LEVEL_GOOD, .words = json_array()};
    const json_t *reload = json_object_get(json_object_get(page->state, "counts"), "reload");

    judge_port(page, "gateway", &reasons);
    judge_port(page, "exporter", &reasons);
    if (json_is_false(json_object_get(reload, "good")))
        find(&reasons, LEVEL_WARNING, "the changed configuration could not be taken");
    judge_jobs(page, "", &reasons);
    return reasons;
}
