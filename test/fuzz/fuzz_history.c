#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "pgcoffer/wal/history.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A .history file: what parses must keep its own promises. The first byte chooses whose history it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct history history;
    struct error err;

    if (size == 0)
        return 0;
    struct timeline timeline = {data[0] == 'z' ? UINT32_MAX : data[0] % 16U + 1};
    if (!history_parse(timeline, data + 1, size - 1, &history, &err))
        return 0;
    if (!history_contains(&history, timeline) || !history_is_same(&history, &history))
        abort();

    /* From the oldest ancestor each step leads to a higher timeline, and the last one is our own. */
    struct timeline at = history.entry_count > 0 ? history.entries[0].timeline : timeline, next;
    struct wal_position fork, before = {0};
    while (history_switch_point(&history, at, &fork)) {
        if (fork.value < before.value || !history_next(&history, at, &next) || next.value <= at.value)
            abort();
        if (fork.value > before.value && history_timeline_at(&history, before).value != at.value)
            abort();
        before = fork;
        at = next;
    }
    if (at.value != timeline.value || history_timeline_at(&history, before).value != timeline.value)
        abort();
    history_done(&history);
    return 0;
}
