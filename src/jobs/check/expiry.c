#include <ctype.h>
#include <stdio.h>

#include "jobs/check/expiry_internal.h"
#include "pgcoffer/base/text.h"

static const char *plural(long count)
{
    return count == 1 ? "" : "s";
}

/* What is wrong with it, or CHECK_PASS. */
static enum check_state judge(const struct check_options *options, const struct check_span *span, enum check_id id,
                              struct finding *finding)
{
    char not_before[TIMESTAMP_TEXT_SIZE], not_after[TIMESTAMP_TEXT_SIZE];
    enum check_state state = span->days_left < options->critical_days ? CHECK_FAIL : CHECK_WARN;

    timestamp_format(span->not_before, not_before);
    timestamp_format(span->not_after, not_after);
    finding_seen(finding, "%s: valid from %s until %s", span->what, not_before, not_after);
    if (span->not_before.microseconds > clock_now().microseconds) {
        finding_cause(finding, id,
                      "%s is not valid before %s: this machine's clock is behind, or that of the one that made it was "
                      "ahead.",
                      span->what, not_before);
        finding_fix(finding, "Compare the clocks, date -u on both machines; if they are right, wait until then.");
        return CHECK_FAIL;
    }
    if (span->days_left < 0) {
        finding_cause(finding, id, "%s expired on %s.", span->what, not_after);
        return CHECK_FAIL;
    }
    if (span->days_left >= options->critical_days && span->days_left >= options->warn_days)
        return CHECK_PASS;
    finding_cause(finding, id, "%s ends in %ld day%s, on %s.", span->what, span->days_left, plural(span->days_left),
                  not_after);
    return state;
}

void check_validity(struct check_run *run, enum check_id id, const struct check_span *span, const char *fix)
{
    const struct check_options *options = &run->request->options;
    struct finding finding = {.check = id};
    char not_after[TIMESTAMP_TEXT_SIZE];

    finding_fix(&finding, "%s", fix);
    enum check_state state = judge(options, span, id, &finding);
    timestamp_format(span->not_after, not_after);
    finding.cause[0] = (char)toupper((unsigned char)finding.cause[0]);
    if (state == CHECK_FAIL)
        check_fail(run, &finding);
    else if (state == CHECK_WARN)
        check_warn(run, &finding);
    else
        check_pass(run, id, "%s is valid until %s, %ld days left", span->what, not_after, span->days_left);
    const struct check_measure *measure = &run->results[id].measure;
    if (measure->unit == NULL || span->days_left < measure->value)
        check_set_measure(run, id, "days", span->days_left, options->warn_days, options->critical_days);
}

/* One that has not begun stands above all, then the one that ends first. */
static bool is_worse(const struct certificate_text *text, const struct certificate_text *other)
{
    int64_t now = clock_now().microseconds;
    bool is_early = text->not_before.microseconds > now;
    bool is_other_early = other->not_before.microseconds > now;

    if (is_early != is_other_early)
        return is_early;
    return text->not_after.microseconds < other->not_after.microseconds;
}

void check_expiry(struct check_run *run, enum check_id id, STACK_OF(X509) * certificates, const char *what,
                  const char *fix)
{
    struct certificate_text worst = {0};
    int worst_at = -1;

    for (int i = 0; i < sk_X509_num(certificates); i++) {
        struct certificate_text text;
        certificate_describe(sk_X509_value(certificates, i), &text);
        if (worst_at < 0 || is_worse(&text, &worst)) {
            worst = text;
            worst_at = i;
        }
    }
    if (worst_at < 0)
        return;
    struct check_span span = {
        .not_before = worst.not_before, .not_after = worst.not_after, .days_left = worst.days_left};
    if (worst_at == 0)
        snprintf(span.what, sizeof span.what, "%s (subject \"%s\")", what, worst.subject);
    else
        snprintf(span.what, sizeof span.what, "the CA \"%s\" in the chain of %s", worst.subject, what);
    check_validity(run, id, &span, fix);
}
