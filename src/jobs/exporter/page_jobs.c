#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/exporter/page_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/control/progress_words.h"

#define MOST_FAILURES 5

/* ---- running ---- */

static void write_bar(const struct page *page, double part)
{
    write_format(page->out,
                 "<svg class=\"bar\" role=\"img\" width=\"100%%\" height=\"10\"><title>%.0f %%</title>"
                 "<rect class=\"track\" width=\"100%%\" height=\"10\" rx=\"5\"/>"
                 "<rect class=\"done\" width=\"%.1f%%\" height=\"10\" rx=\"5\"/></svg>",
                 part * 100, part * 100);
}

static void write_progress(const struct page *page, const json_t *told)
{
    struct progress progress;
    char numbers[PROGRESS_NUMBERS_SIZE];
    char elapsed[TEXT_DURATION_SIZE];

    if (!progress_from_json(told, &progress))
        return;
    if (progress.total_bytes > 0)
        write_bar(page, progress_percent(&progress) / 100.0);
    text_format_duration(progress.elapsed_seconds, elapsed);
    progress_numbers(&progress, numbers, sizeof numbers);
    write_text(page->out, "<p class=\"numbers\">");
    page_text(page, progress_phase_words(progress.phase));
    if (progress.total_bytes > 0)
        page_format(page, ", %u %%", progress_percent(&progress));
    if (progress.total_bytes > 0 || progress.done_bytes > 0)
        page_format(page, ": %s", numbers);
    page_format(page, ", running for %s", elapsed);
    write_text(page->out, "</p>");
}

static void write_job(const struct page *page, const json_t *job)
{
    write_text(page->out, "<li><p><strong>");
    page_text(page, json_text_or(job, "command", "?"));
    write_text(page->out, "</strong> <span class=\"quiet\">");
    page_format(page, "job %s, by %s, since ", json_text_or(job, "job", "?"), json_text_or(job, "caller", "?"));
    page_time(page, job, "started_at");
    write_text(page->out, "</span></p>");
    write_progress(page, json_object_get(job, "progress"));
    write_text(page->out, "</li>\n");
}

void page_jobs(const struct page *page, const char *server)
{
    const json_t *job;
    size_t i, count = 0;

    json_array_foreach(json_object_get(page->state, "jobs"), i, job)
    {
        if (!json_text_is(job, "server", server))
            continue;
        if (count++ == 0)
            write_text(page->out, "<div class=\"panel jobs\"><h3>Running jobs</h3><ul>\n");
        write_job(page, job);
    }
    if (count > 0)
        write_text(page->out, "</ul></div>\n");
}

/* ---- what went wrong ---- */

static void write_line(const struct page *page, const char *class, const char *title, const char *text)
{
    if (text_is_empty(text))
        return;
    write_format(page->out, "<p class=\"%s\">%s", class, title);
    page_words(page, text);
    write_text(page->out, "</p>");
}

void page_fault(const struct page *page, enum level level, const char *title, const json_t *error)
{
    const char *message = json_text_or_null(error, "message"), *check = json_text_or_null(error, "check");

    if (message == NULL)
        return;
    write_format(page->out, "<div class=\"fault %s\">", page_level_word(level));
    page_badge(page, level, title);
    write_line(page, "message", "", message);
    write_line(page, "quiet", "", json_text_or_null(error, "detail"));
    write_line(page, "hint", "<b>What to do:</b> ", json_text_or_null(error, "hint"));
    if (!text_is_empty(check)) {
        write_text(page->out, "<p class=\"quiet\">check: <code>");
        page_text(page, check);
        write_text(page->out, "</code></p>");
    }
    write_text(page->out, "</div>\n");
}

/* Has it been told already, or has it gone well since? */
static bool is_answered(const json_t *recent, size_t index, const json_t *job, const char *server)
{
    const char *command = json_text_or_null(job, "command");

    for (size_t i = 0; i < index; i++) {
        const json_t *later = json_array_get(recent, i);
        if (json_text_is(later, "server", server) && command != NULL && json_text_is(later, "command", command) &&
            !json_text_is(later, "state", "cancelled"))
            return true;
    }
    return false;
}

const json_t *page_failed_job(const struct page *page, const char *server, size_t *index)
{
    const json_t *recent = json_object_get(page->state, "recent");

    while (*index < json_array_size(recent)) {
        const json_t *job = json_array_get(recent, (*index)++);
        if (json_text_is(job, "server", server) && json_text_is(job, "state", "failed") &&
            !is_answered(recent, *index - 1, job, server))
            return job;
    }
    return NULL;
}

void page_failures(const struct page *page, const char *server)
{
    const json_t *job;
    size_t i, count = 0;

    json_array_foreach(json_object_get(page->state, "recent"), i, job)
    {
        if (!json_text_is(job, "server", server) || !json_text_is(job, "state", "failed") || count++ >= MOST_FAILURES)
            continue;
        char *ended SCOPED(scoped_free) =
            moment_words(json_text_or_null(job, "ended_at"), MOMENTS_SECONDS, MOMENT_LAST);
        char *title SCOPED(scoped_free) = memory_text("%s failed, job %s, %s", json_text_or(job, "command", "?"),
                                                      json_text_or(job, "job", "?"), ended);
        bool is_open = !is_answered(json_object_get(page->state, "recent"), i, job, server);
        page_fault(page, is_open ? LEVEL_BAD : LEVEL_UNKNOWN, title, json_object_get(job, "error"));
    }
}
