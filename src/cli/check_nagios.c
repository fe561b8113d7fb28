#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/check_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/*
 * The plugin's line: a word for the state, what is wrong with the worst first, and behind '|' numbers as
 * LABEL=VALUE[UNIT];WARN;CRITICAL. Monitoring systems split it there and at the end of the line.
 */
static const struct {
    enum check_id check;
    const char *label;
    const char *unit;
    bool is_floor; /* less is worse: its limits are written "21:", as the plugins' guidelines have it */
} numbers[] = {
    {CHECK_ID_expiry_client, "days_client", "", true}, {CHECK_ID_expiry_server, "days_server", "", true},
    {CHECK_ID_expiry_ca, "days_ca", "", true},         {CHECK_ID_expiry_crl, "days_crl", "", true},
    {CHECK_ID_receiver_lag, "lag_bytes", "B", false},  {CHECK_ID_backup_newest, "backup_age", "s", false},
    {CHECK_ID_repository_room, "room", "B", true},     {CHECK_ID_client_expiry, "days_client", "", true},
    {CHECK_ID_client_served, "days_server", "", true}, {CHECK_ID_gateway_expiry, "days_served", "", true},
};

static void append_text(FILE *line, const char *text)
{
    char *printable SCOPED(scoped_free) = output_printable(text);

    for (const char *at = printable; *at != '\0'; at++)
        fputc(*at == '|' ? '/' : *at, line);
}

/* Without the full stop, as more comes behind it. */
static void append_sentence(FILE *line, const char *text)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(text);
    size_t size = strlen(copy);

    if (size > 0 && copy[size - 1] == '.')
        copy[size - 1] = '\0';
    append_text(line, copy);
}

static const json_t *first_in_state(const struct check_page *page, enum check_state wanted)
{
    enum check_state state;
    const json_t *check;
    size_t i;

    json_array_foreach(page->checks, i, check)
    {
        if (check_state_find(json_text_or_null(check, "state"), &state) && state == wanted)
            return check;
    }
    return NULL;
}

static void append_counts(FILE *line, const struct check_page *page)
{
    const size_t *counts = page->counts;

    if (counts[CHECK_FAIL] > 0)
        fprintf(line, "%zu failed, ", counts[CHECK_FAIL]);
    if (counts[CHECK_WARN] > 0)
        fprintf(line, "%zu warning%s, ", counts[CHECK_WARN], counts[CHECK_WARN] == 1 ? "" : "s");
    fprintf(line, "%zu checks passed", counts[CHECK_PASS]);
}

static void append_page(FILE *line, const struct check_page *page)
{
    const json_t *worst = first_in_state(page, CHECK_FAIL);

    if (worst == NULL)
        worst = first_in_state(page, CHECK_WARN);
    append_text(line, page->title);
    fputs(": ", line);
    if (worst == NULL) {
        append_counts(line, page);
        return;
    }
    const char *name = json_text_or_null(worst, "id");
    const char *cause = json_text_or_null(worst, "cause");
    char *host SCOPED(scoped_free) = check_host_prefix(worst);
    append_text(line, name);
    fprintf(line, ": %s", host);
    append_sentence(line, !text_is_empty(cause) ? cause : "no cause was told");
    fputs(" (", line);
    append_counts(line, page);
    fputc(')', line);
}

static const json_t *find_measure(const struct check_page *page, enum check_id id)
{
    const json_t *check;
    size_t i;

    json_array_foreach(page->checks, i, check)
    {
        const char *name = json_text_or_null(check, "id");
        bool is_other = json_text_or_null(check, "host") != NULL;
        if (!is_other && name != NULL && strcmp(name, check_rows[id].name) == 0)
            return json_object_get(check, "measure");
    }
    return NULL;
}

/* A gateway beside it makes no server's label another one. */
static bool has_several_servers(const struct check_report *report)
{
    size_t count = 0;

    for (size_t i = 0; i < report->count; i++)
        count += report->pages[i].server[0] != '\0';
    return count > 1;
}

/* With several servers each label begins with the server's name; names hold nothing that would need quotes. */
static void append_label(FILE *line, const struct check_report *report, const struct check_page *page,
                         const char *label)
{
    fputc(' ', line);
    if (page->server[0] == '\0' && report->count > 1)
        fputs("gateway_", line);
    else if (page->server[0] != '\0' && has_several_servers(report))
        fprintf(line, "%s_", page->server);
    fputs(label, line);
}

static void append_limit(FILE *line, int64_t limit, bool is_floor)
{
    fputc(';', line);
    if (limit >= 0)
        fprintf(line, "%" PRId64 "%s", limit, is_floor ? ":" : "");
}

static void append_numbers(FILE *line, const struct check_report *report, const struct check_page *page)
{
    static const char *const labels[] = {
        [CHECK_PASS] = "passed", [CHECK_WARN] = "warnings", [CHECK_FAIL] = "failed", [CHECK_SKIP] = "skipped"};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const json_t *measure = find_measure(page, numbers[i].check);
        if (measure == NULL)
            continue;
        append_label(line, report, page, numbers[i].label);
        fprintf(line, "=%" PRId64 "%s", json_number_or(measure, "value", 0), numbers[i].unit);
        append_limit(line, json_number_or(measure, "warn", -1), numbers[i].is_floor);
        append_limit(line, json_number_or(measure, "critical", -1), numbers[i].is_floor);
    }
    for (enum check_state state = CHECK_PASS; state <= CHECK_SKIP; state++) {
        append_label(line, report, page, labels[state]);
        fprintf(line, "=%zu", page->counts[state]);
    }
}

static enum check_state worst_of(const struct check_page *page)
{
    if (page->counts[CHECK_FAIL] > 0)
        return CHECK_FAIL;
    return page->counts[CHECK_WARN] > 0 ? CHECK_WARN : CHECK_PASS;
}

static void append_pages(FILE *line, const struct check_report *report)
{
    static const enum check_state order[] = {CHECK_FAIL, CHECK_WARN, CHECK_PASS};
    bool is_first = true;

    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        for (size_t j = 0; j < report->count; j++) {
            if (worst_of(&report->pages[j]) != order[i])
                continue;
            if (!is_first)
                fputs("; ", line);
            is_first = false;
            append_page(line, &report->pages[j]);
        }
}

char *check_nagios_line(const struct check_report *report, int *ret_status)
{
    static const char *const words[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
    char *text = NULL;
    size_t size = 0;
    FILE *line = open_memstream(&text, &size);

    if (line == NULL)
        abort();
    if (check_report_count(report, CHECK_FAIL) > 0)
        *ret_status = 2;
    else if (check_report_count(report, CHECK_WARN) > 0)
        *ret_status = 1;
    else
        *ret_status = check_report_count(report, CHECK_PASS) > 0 ? 0 : CHECK_NAGIOS_UNKNOWN;
    fprintf(line, "PGCOFFER %s - ", words[*ret_status]);
    append_pages(line, report);
    fputs(" |", line);
    for (size_t i = 0; i < report->count; i++)
        append_numbers(line, report, &report->pages[i]);
    if (fclose(line) != 0)
        abort();
    return text;
}

char *check_nagios_failure(const struct error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *line = open_memstream(&text, &size);

    if (line == NULL)
        abort();
    fputs("PGCOFFER UNKNOWN - ", line);
    append_text(line, err->message);
    if (err->hint[0] != '\0') {
        fputs(": ", line);
        append_sentence(line, err->hint);
    }
    if (fclose(line) != 0)
        abort();
    return text;
}
