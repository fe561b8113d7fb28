#ifndef PGCOFFER_JOBS_GAP_TOLD_INTERNAL_H
#define PGCOFFER_JOBS_GAP_TOLD_INTERNAL_H

#include <jansson.h>

#include "pgcoffer/repo/wal_gaps.h"

/* A gap of the WAL as everybody tells it. */

/* "from 0/3000000 to 0/5000000 on timeline 1 (removed by the server before it was received)" */
#define GAP_TOLD_SIZE 192
void gap_describe(const struct wal_gap *gap, char ret_text[GAP_TOLD_SIZE]);
/* {"timeline","start","end","segments","first_segment","last_segment","reason","what","noticed_at","words"}; of an open
 * one "end", "segments" and "last_segment" are null. New reference. */
json_t *gap_to_json(const struct wal_gap *gap, struct wal_segment_size size);

#endif
