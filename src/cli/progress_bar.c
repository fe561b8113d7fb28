#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/text.h"

#define BAR_MOST           30
#define BAR_LEAST          8
#define DEFAULT_WIDTH      80
#define LINE_SIZE          512
#define PLAIN_MICROSECONDS INT64_C(10000000) /* between two lines in a log */

/* What the words of struct progress mean to people. */
static const char *phase_words(const char *phase)
{
    static const struct {
        const char *phase, *words;
    } known[] = {
        {"checkpoint", "waiting for the checkpoint"},
        {"copy", "copying"},
        {"wal", "WAL"},
        {"verify", "verifying"},
        {"restore", "restoring"},
        {"sync", "to disk"},
        {"start", "starting PostgreSQL"},
        {"replay", "replaying WAL"},
        {"amcheck", "running pg_amcheck"},
        {"query", "running the query"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].phase, phase) == 0)
            return known[i].words;
    return phase;
}

/* 0 to 100; a total that grew past its estimate stays below the end. */
static unsigned percent(const struct progress *progress)
{
    if (progress->done_bytes >= progress->total_bytes)
        return 100;
    return (unsigned)((double)progress->done_bytes / (double)progress->total_bytes * 100);
}

/* "1.2 GB / 2.6 GB  120.3 MB/s  ETA 12.0s" */
static void format_numbers(const struct progress *progress, char *ret_text, size_t size)
{
    char done[TEXT_BYTES_SIZE];
    char total[TEXT_BYTES_SIZE];
    char rate[TEXT_BYTES_SIZE];
    char duration[TEXT_DURATION_SIZE];
    size_t used;

    text_format_bytes(progress->done_bytes, done);
    text_format_bytes(progress->total_bytes, total);
    used = (size_t)snprintf(ret_text, size, "%s%s%s", done, progress->total_bytes > 0 ? " / " : "",
                            progress->total_bytes > 0 ? total : "");
    if (progress->rate_bytes_per_second >= 1 && used < size) {
        text_format_bytes((uint64_t)progress->rate_bytes_per_second, rate);
        used += (size_t)snprintf(ret_text + used, size - used, "  %s/s", rate);
    }
    if (progress->eta_seconds >= 0 && used < size) {
        text_format_duration(progress->eta_seconds, duration);
        snprintf(ret_text + used, size - used, "  ETA %s", duration);
    }
}

static void format_elapsed(const struct progress *progress, char *ret_text, size_t size)
{
    char duration[TEXT_DURATION_SIZE];

    text_format_duration(progress->elapsed_seconds, duration);
    snprintf(ret_text, size, "%s", duration);
}

void progress_bar_line(const struct progress *progress, size_t width, char *ret_line, size_t size)
{
    const char *words = phase_words(progress->phase);
    char numbers[128];
    char bar[BAR_MOST + 1] = "";

    if (progress->total_bytes == 0 && progress->done_bytes == 0) {
        format_elapsed(progress, numbers, sizeof numbers);
        snprintf(ret_line, size, "%s  %s", words, numbers);
    } else if (progress->total_bytes == 0) {
        format_numbers(progress, numbers, sizeof numbers);
        snprintf(ret_line, size, "%s  %s", words, numbers);
    } else {
        format_numbers(progress, numbers, sizeof numbers);
        size_t others = strlen(words) + strlen(numbers) + sizeof "  []  100%  " - 1;
        size_t room = width > others ? width - others : 0;
        size_t length = room > BAR_MOST ? BAR_MOST : room;
        size_t filled = length * percent(progress) / 100;
        memset(bar, '#', filled);
        memset(bar + filled, '-', length - filled);
        if (length < BAR_LEAST)
            snprintf(ret_line, size, "%s  %3u%%  %s", words, percent(progress), numbers);
        else
            snprintf(ret_line, size, "%s  [%s]  %3u%%  %s", words, bar, percent(progress), numbers);
    }
    if (strlen(ret_line) > width && width < size)
        ret_line[width] = '\0';
}

void progress_plain_line(const struct progress *progress, char *ret_line, size_t size)
{
    char numbers[128];
    char elapsed[TEXT_DURATION_SIZE];

    text_format_duration(progress->elapsed_seconds, elapsed);
    format_numbers(progress, numbers, sizeof numbers);
    if (progress->total_bytes > 0)
        snprintf(ret_line, size, "%s: %u%%, %s, running for %s", phase_words(progress->phase), percent(progress),
                 numbers, elapsed);
    else if (progress->done_bytes > 0)
        snprintf(ret_line, size, "%s: %s, running for %s", phase_words(progress->phase), numbers, elapsed);
    else
        snprintf(ret_line, size, "%s: running for %s", phase_words(progress->phase), elapsed);
}

struct progress_bar progress_bar_new(const struct invocation *invocation)
{
    return (struct progress_bar){.is_shown =
                                     !output_is_quiet(invocation) && !invocation_has(invocation, OPTION_ID_no_progress),
                                 .is_terminal = isatty(STDERR_FILENO),
                                 .last_line_at = clock_monotonic()};
}

static size_t terminal_width(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : DEFAULT_WIDTH - 1u;
}

static void draw(struct progress_bar *bar, const struct progress *progress)
{
    char line[LINE_SIZE];

    progress_bar_line(progress, terminal_width(), line, sizeof line);
    text_make_printable(line);
    fprintf(stderr, "\r%s\033[K", line);
    bar->is_drawn = true;
}

/* A new phase is worth a line only after the first ten seconds: most jobs are shorter. */
static void log_line(struct progress_bar *bar, const struct progress *progress)
{
    char line[LINE_SIZE];
    int64_t now = clock_monotonic();

    if (now - bar->last_line_at < PLAIN_MICROSECONDS)
        return;
    bar->last_line_at = now;
    progress_plain_line(progress, line, sizeof line);
    text_make_printable(line);
    fprintf(stderr, "pgcoffer: %s\n", line);
}

void progress_bar_show(struct progress_bar *bar, const struct progress *progress)
{
    if (!bar->is_shown)
        return;
    if (bar->is_terminal)
        draw(bar, progress);
    else
        log_line(bar, progress);
}

void progress_bar_clear(struct progress_bar *bar)
{
    if (bar->is_drawn)
        fputs("\r\033[K", stderr);
    bar->is_drawn = false;
}
