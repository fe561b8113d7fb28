#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/control/progress_words.h"

#define BAR_MOST           30
#define BAR_LEAST          8
#define DEFAULT_WIDTH      80
#define LINE_SIZE          512
#define PLAIN_MICROSECONDS INT64_C(10000000) /* between two lines in a log */

static void format_elapsed(const struct progress *progress, char *ret_text, size_t size)
{
    char duration[TEXT_DURATION_SIZE];

    text_format_duration(progress->elapsed_seconds, duration);
    snprintf(ret_text, size, "%s", duration);
}

void progress_bar_line(const struct progress *progress, size_t width, char *ret_line, size_t size)
{
    const char *words = progress_phase_words(progress->phase);
    char numbers[PROGRESS_NUMBERS_SIZE];
    char bar[BAR_MOST + 1] = "";

    if (progress->total_bytes == 0 && progress->done_bytes == 0) {
        format_elapsed(progress, numbers, sizeof numbers);
        snprintf(ret_line, size, "%s  %s", words, numbers);
    } else if (progress->total_bytes == 0) {
        progress_numbers(progress, numbers, sizeof numbers);
        snprintf(ret_line, size, "%s  %s", words, numbers);
    } else {
        progress_numbers(progress, numbers, sizeof numbers);
        size_t others = strlen(words) + strlen(numbers) + sizeof "  []  100%  " - 1;
        size_t room = width > others ? width - others : 0;
        size_t length = room > BAR_MOST ? BAR_MOST : room;
        size_t filled = length * progress_percent(progress) / 100;
        memset(bar, '#', filled);
        memset(bar + filled, '-', length - filled);
        if (length < BAR_LEAST)
            snprintf(ret_line, size, "%s  %3u%%  %s", words, progress_percent(progress), numbers);
        else
            snprintf(ret_line, size, "%s  [%s]  %3u%%  %s", words, bar, progress_percent(progress), numbers);
    }
    if (strlen(ret_line) > width && width < size)
        ret_line[width] = '\0';
}

void progress_plain_line(const struct progress *progress, char *ret_line, size_t size)
{
    char numbers[PROGRESS_NUMBERS_SIZE];
    char elapsed[TEXT_DURATION_SIZE];

    text_format_duration(progress->elapsed_seconds, elapsed);
    progress_numbers(progress, numbers, sizeof numbers);
    if (progress->total_bytes > 0)
        snprintf(ret_line, size, "%s: %u%%, %s, running for %s", progress_phase_words(progress->phase),
                 progress_percent(progress), numbers, elapsed);
    else if (progress->done_bytes > 0)
        snprintf(ret_line, size, "%s: %s, running for %s", progress_phase_words(progress->phase), numbers, elapsed);
    else
        snprintf(ret_line, size, "%s: running for %s", progress_phase_words(progress->phase), elapsed);
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
