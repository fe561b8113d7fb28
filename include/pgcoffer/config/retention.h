#ifndef PGCOFFER_CONFIG_RETENTION_H
#define PGCOFFER_CONFIG_RETENTION_H

#include <stdint.h>

#include "pgcoffer/config/config.h"

/*
 * What the settings of retention mean. "7, 4, 12, 5" are days, weeks, months and years: `-` leaves a place out, and so
 * do places that are not there at the end. One of them must be given: a policy that keeps nothing is refused.
 */
struct retention_places {
    unsigned days, weeks, months, years; /* 0: left out */
};
/* CONFIG. */
bool retention_places_parse(const char *text, struct retention_places *ret_places, struct error *err) NODISCARD;
/* "7, 4, 12, 5": all four, as retention_places_parse() reads them back. */
#define RETENTION_PLACES_TEXT_SIZE 32
void retention_places_format(const struct retention_places *places, char ret_text[RETENTION_PLACES_TEXT_SIZE]);

/* "90min", "36 h", "7d", "2w": a whole number and its unit (min, h, d, w), at least a minute, at most 100 years.
 * CONFIG. */
bool retention_duration_parse(const char *text, int64_t *ret_seconds, struct error *err) NODISCARD;

#endif
