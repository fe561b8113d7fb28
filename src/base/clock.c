#include "pgcoffer/base/clock.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MICROSECONDS    INT64_C(1000000)
#define FRACTION_DIGITS 9

static int64_t read_clock(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return now.tv_sec * MICROSECONDS + now.tv_nsec / 1000;
}

struct timestamp clock_now(void)
{
    return (struct timestamp){read_clock(CLOCK_REALTIME)};
}

int64_t clock_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

void timestamp_format(struct timestamp timestamp, char ret_text[TIMESTAMP_TEXT_SIZE])
{
    time_t seconds = (time_t)(timestamp.microseconds / MICROSECONDS);
    int64_t fraction = timestamp.microseconds % MICROSECONDS;
    struct tm parts;

    if (fraction < 0) {
        fraction += MICROSECONDS;
        seconds--;
    }
    gmtime_r(&seconds, &parts);
    size_t used = strftime(ret_text, TIMESTAMP_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    if (fraction != 0)
        snprintf(ret_text + used, TIMESTAMP_TEXT_SIZE - used, ".%06dZ", (int)fraction);
    else
        snprintf(ret_text + used, TIMESTAMP_TEXT_SIZE - used, "Z");
}

/* Exactly `count` digits at *at, which moves behind them. */
static bool take_digits(const char **at, int count, int most, int *ret_number)
{
    int number = 0;

    for (int i = 0; i < count; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return false;
        number = number * 10 + (**at - '0');
    }
    *ret_number = number;
    return number <= most;
}

static bool take_character(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

/* ".5": rounded to microseconds, as PostgreSQL does. */
static bool take_fraction(const char **at, int64_t *ret_microseconds)
{
    int64_t nanoseconds = 0;
    int digits = 0;

    for (; isdigit((unsigned char)**at); (*at)++, digits++) {
        if (digits >= FRACTION_DIGITS)
            return false;
        nanoseconds = nanoseconds * 10 + (**at - '0');
    }
    for (int i = digits; i < FRACTION_DIGITS; i++)
        nanoseconds *= 10;
    *ret_microseconds = (nanoseconds + 500) / 1000;
    return digits > 0;
}

static bool take_date(const char **at, struct tm *parts)
{
    if (!take_digits(at, 4, 9999, &parts->tm_year) || !take_character(at, '-') ||
        !take_digits(at, 2, 12, &parts->tm_mon) || !take_character(at, '-') || !take_digits(at, 2, 31, &parts->tm_mday))
        return false;
    if (parts->tm_year < 1970 || parts->tm_mon < 1 || parts->tm_mday < 1)
        return false;
    parts->tm_year -= 1900;
    parts->tm_mon -= 1;
    return true;
}

static bool take_time(const char **at, struct tm *parts, int64_t *ret_microseconds)
{
    if (!take_digits(at, 2, 23, &parts->tm_hour) || !take_character(at, ':') || !take_digits(at, 2, 59, &parts->tm_min))
        return false;
    if (!take_character(at, ':'))
        return true;
    if (!take_digits(at, 2, 59, &parts->tm_sec))
        return false;
    return !take_character(at, '.') || take_fraction(at, ret_microseconds);
}

enum zone { ZONE_LOCAL, ZONE_OFFSET, ZONE_BAD };

/* "", "Z", "UTC", "GMT", "+02", "-0330", "+05:30", "+00:19:32" */
static enum zone read_zone(const char *at, long *ret_offset_seconds)
{
    int hours;
    int minutes = 0;
    int seconds = 0;

    *ret_offset_seconds = 0;
    if (*at == '\0')
        return ZONE_LOCAL;
    if (strcasecmp(at, "Z") == 0 || strcasecmp(at, "UTC") == 0 || strcasecmp(at, "GMT") == 0)
        return ZONE_OFFSET;
    if (*at != '+' && *at != '-')
        return ZONE_BAD;
    bool is_west = *at++ == '-';
    if (!take_digits(&at, 2, 15, &hours))
        return ZONE_BAD;
    bool has_colon = take_character(&at, ':');
    if ((has_colon || *at != '\0') && !take_digits(&at, 2, 59, &minutes))
        return ZONE_BAD;
    if (has_colon && take_character(&at, ':') && !take_digits(&at, 2, 59, &seconds))
        return ZONE_BAD;
    if (*at != '\0')
        return ZONE_BAD;
    long offset = hours * 3600L + minutes * 60L + seconds;
    *ret_offset_seconds = is_west ? -offset : offset;
    return ZONE_OFFSET;
}

static bool fail_to_parse(struct error *err, const char *text)
{
    error_set(err, ERROR_USAGE, "\"%s\" is not a time", text);
    return error_hint(err, "Write it as \"2026-11-22 01:30:00+00\" or \"2026-11-22T01:30:00Z\"; without a zone it is "
                           "local time.");
}

bool timestamp_parse(const char *text, struct timestamp *ret_timestamp, struct error *err)
{
    const char *at = text;
    struct tm parts = {.tm_isdst = -1};
    int64_t microseconds = 0;
    long offset_seconds;

    if (!take_date(&at, &parts))
        return fail_to_parse(err, text);
    if ((*at == 'T' || *at == 't' || *at == ' ') && isdigit((unsigned char)at[1])) {
        at++;
        if (!take_time(&at, &parts, &microseconds))
            return fail_to_parse(err, text);
    }
    while (*at == ' ')
        at++;

    int day = parts.tm_mday;
    time_t seconds;
    switch (read_zone(at, &offset_seconds)) {
    case ZONE_LOCAL:
        seconds = mktime(&parts);
        break;
    case ZONE_OFFSET:
        seconds = timegm(&parts) - offset_seconds;
        break;
    case ZONE_BAD:
        return fail_to_parse(err, text);
    }
    if (parts.tm_mday != day) /* the 30th of February was made the 2nd of March */
        return fail_to_parse(err, text);
    *ret_timestamp = (struct timestamp){seconds * MICROSECONDS + microseconds};
    return true;
}

struct timestamp timestamp_from_postgres(int64_t microseconds_since_2000)
{
    int64_t sum;

    /* A peer may send anything; the far end of time is as good as what lies behind it. */
    if (__builtin_add_overflow(microseconds_since_2000, CLOCK_POSTGRES_EPOCH_SECONDS * MICROSECONDS, &sum))
        sum = INT64_MAX;
    return (struct timestamp){sum};
}

int64_t timestamp_to_postgres(struct timestamp timestamp)
{
    int64_t difference;

    if (__builtin_sub_overflow(timestamp.microseconds, CLOCK_POSTGRES_EPOCH_SECONDS * MICROSECONDS, &difference))
        difference = INT64_MIN;
    return difference;
}
