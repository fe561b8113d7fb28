#include <stdio.h>
#include <time.h>

#include "jobs/exporter/page_internal.h"

#define SECOND     INT64_C(1000000)
#define MINUTE     (60 * SECOND)
#define HOUR       (60 * MINUTE)
#define DAY        (24 * HOUR)
#define MOST_TICKS 7
/* Percent of the width. */
#define MARGIN       1.0  /* on both sides */
#define FIRST_MIDDLE 7.0  /* dates further left begin at their line, to stay in the picture */
#define LAST_DATE    89.0 /* behind it stands "now" */
#define LAST_NARROW  76.0 /* the same where letters take more of the width */

double axis_place(const struct axis *axis, int64_t time)
{
    if (time < axis->from)
        time = axis->from;
    if (time > axis->until)
        time = axis->until;
    return MARGIN + (100 - 2 * MARGIN) * (double)(time - axis->from) / (double)(axis->until - axis->from);
}

enum date { DATE_HOUR, DATE_DAY, DATE_MONTH, DATE_YEAR };

static void write_date(const struct tm *parts, enum date date, char ret_text[32])
{
    switch (date) {
    case DATE_HOUR:
        strftime(ret_text, 32, "%e %b %H:%M", parts);
        break;
    case DATE_DAY:
        strftime(ret_text, 32, "%e %b", parts);
        break;
    case DATE_MONTH:
        strftime(ret_text, 32, "%b %Y", parts);
        break;
    case DATE_YEAR:
        strftime(ret_text, 32, "%Y", parts);
        break;
    }
}

/* Every second label goes where the picture is narrow. */
static void write_tick(const struct page *page, const struct axis *axis, int64_t at, unsigned number, enum date date,
                       int top, int bottom)
{
    time_t seconds = (time_t)(at / SECOND);
    double place = axis_place(axis, at);
    struct tm parts;
    char text[32];

    gmtime_r(&seconds, &parts);
    write_date(&parts, date, text);
    write_format(page->out, "<line class=\"tick\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%d\" y2=\"%d\"/>", place, place, top,
                 bottom);
    if (place <= LAST_DATE)
        write_format(page->out, "<text class=\"date%s\" x=\"%.2f%%\" y=\"%d\" text-anchor=\"%s\">%s</text>",
                     number % 2 == 1 || place > LAST_NARROW ? " every-second" : "", place, bottom + 15,
                     place < FIRST_MIDDLE ? "start" : "middle", text);
    write_text(page->out, "\n");
}

/* The first of a month, `months` of them since the year 0. */
static int64_t month_start(int months)
{
    struct tm parts = {.tm_year = months / 12 - 1900, .tm_mon = months % 12, .tm_mday = 1};

    return timegm(&parts) * SECOND;
}

static void write_months(const struct page *page, const struct axis *axis, int top, int bottom)
{
    static const int steps[] = {1, 2, 3, 6, 12, 24, 60, 120, 600, 1200};
    const int64_t month = (axis->until - axis->from) / (30 * DAY);
    time_t first_seconds = (time_t)(axis->from / SECOND);
    struct tm first;
    size_t i = 0;

    while (i + 1 < sizeof steps / sizeof steps[0] && month / steps[i] > MOST_TICKS)
        i++;
    gmtime_r(&first_seconds, &first);
    int months = ((first.tm_year + 1900) * 12 + first.tm_mon) / steps[i] * steps[i];
    for (unsigned number = 0; month_start(months) <= axis->until && number < 64; months += steps[i])
        if (month_start(months) >= axis->from)
            write_tick(page, axis, month_start(months), number++, steps[i] < 12 ? DATE_MONTH : DATE_YEAR, top, bottom);
}

void axis_write(const struct page *page, const struct axis *axis, int top, int bottom)
{
    static const int64_t steps[] = {MINUTE,  2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
                                    HOUR,    2 * HOUR,   3 * HOUR,   6 * HOUR,    12 * HOUR,   DAY,
                                    2 * DAY, 4 * DAY,    7 * DAY,    14 * DAY};
    unsigned number = 0;

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if ((axis->until - axis->from) / steps[i] > MOST_TICKS)
            continue;
        for (int64_t at = (axis->from + steps[i] - 1) / steps[i] * steps[i]; at <= axis->until; at += steps[i])
            write_tick(page, axis, at, number++, steps[i] < DAY ? DATE_HOUR : DATE_DAY, top, bottom);
        return;
    }
    write_months(page, axis, top, bottom);
}
