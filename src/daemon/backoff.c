#include "daemon/backoff_internal.h"

static const unsigned steps[] = {1, 2, 5, 10, 30};
#define STEP_COUNT (sizeof steps / sizeof steps[0])

unsigned backoff_next_seconds(struct backoff *backoff)
{
    unsigned seconds = steps[backoff->failures];

    if (backoff->failures + 1 < STEP_COUNT)
        backoff->failures++;
    return seconds;
}

void backoff_reset(struct backoff *backoff)
{
    backoff->failures = 0;
}
