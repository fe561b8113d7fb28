#include <string.h>

#include "jobs/drill/drill_internal.h"

/*
 * What stands in pg_control in front of a number that is always the same, since PostgreSQL 9.4 (src/include/catalog/
 * pg_control.h): the five limits, track_commit_timestamp, maxAlign, and floatFormat, by which PostgreSQL itself knows
 * whether the file is one of its kind of machine. Where that lies depends on the version.
 */
#define FLOAT_FORMAT 1234567.0
#define LIMITS_SIZE  28 /* in bytes, in front of floatFormat */
#define MOST_OFFSET  512
#define MOST_LIMIT   (1u << 23) /* above what PostgreSQL takes */

bool control_limits_read(const uint8_t *bytes, size_t size, struct control_limits *ret_limits, struct error *err)
{
    const double wanted = FLOAT_FORMAT;
    uint32_t limits[5];

    for (size_t at = 32; at + sizeof wanted <= size && at <= MOST_OFFSET; at += sizeof wanted) {
        if (memcmp(bytes + at, &wanted, sizeof wanted) != 0)
            continue;
        memcpy(limits, bytes + at - LIMITS_SIZE, sizeof limits);
        for (size_t i = 0; i < 5; i++)
            if (limits[i] > MOST_LIMIT)
                return error_set(err, ERROR_INTEGRITY, "pg_control names the limit %u", limits[i]);
        *ret_limits = (struct control_limits){limits[0], limits[1], limits[2], limits[3], limits[4]};
        return true;
    }
    return error_set(err, ERROR_INTEGRITY, "pg_control is none of this kind of machine");
}
