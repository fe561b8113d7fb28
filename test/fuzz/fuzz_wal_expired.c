#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "pgcoffer/repo/wal_expire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* expired.json: what is read from it must be stretches, for what they cover is no gap. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wal_ranges expired;
    struct error err;

    if (!wal_expired_parse((const char *)data, size, &expired, &err))
        return 0;
    for (size_t i = 0; i < expired.count; i++) {
        const struct wal_range *range = &expired.ranges[i];
        if (range->timeline.value == 0 || range->start.value >= range->end.value ||
            !wal_expired_has(&expired, range->timeline, range->start, range->end))
            abort();
    }
    wal_ranges_done(&expired);
    return 0;
}
