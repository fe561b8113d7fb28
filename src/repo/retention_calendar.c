#include <stdio.h>
#include <time.h>

#include "repo/retention_internal.h"

#define DAYS_TO_FIRST_MONDAY 3 /* 1970 began on a Thursday: its week three days before */

static struct tm as_parts(struct timestamp time)
{
    time_t seconds = (time_t)(retention_day_number(time) * 86400);
    struct tm parts = {0};

    gmtime_r(&seconds, &parts);
    return parts;
}

static int64_t divide_down(int64_t number, int64_t by)
{
    return number / by - (number % by < 0 ? 1 : 0);
}

int64_t retention_day_number(struct timestamp time)
{
    return divide_down(time.microseconds, RETENTION_DAY_MICROSECONDS);
}

int64_t retention_period_number(enum retention_period period, struct timestamp time)
{
    struct tm parts = as_parts(time);

    switch (period) {
    case RETENTION_OF_WEEK:
        return divide_down(retention_day_number(time) + DAYS_TO_FIRST_MONDAY, 7);
    case RETENTION_OF_MONTH:
        return (int64_t)parts.tm_year * 12 + parts.tm_mon;
    case RETENTION_OF_YEAR:
        break;
    }
    return parts.tm_year;
}

void retention_period_words(enum retention_period period, struct timestamp time, char ret_words[RETENTION_WORDS_SIZE])
{
    struct tm parts = as_parts(time);

    switch (period) {
    case RETENTION_OF_WEEK:
        strftime(ret_words, RETENTION_WORDS_SIZE, "week %G-W%V", &parts);
        return;
    case RETENTION_OF_MONTH:
        strftime(ret_words, RETENTION_WORDS_SIZE, "month %Y-%m", &parts);
        return;
    case RETENTION_OF_YEAR:
        break;
    }
    strftime(ret_words, RETENTION_WORDS_SIZE, "year %Y", &parts);
}
