#include "jobs/exporter/exporter_internal.h"
#include "pgcoffer/wal/position.h"

/* False: there is none yet. */
static bool get_position(const json_t *receiver, const char *key, uint64_t *ret_position)
{
    const char *text = json_text_or_null(receiver, key);
    struct wal_position position;
    struct error ignored;

    if (text == NULL || !wal_position_parse(text, &position, &ignored) || position.value == 0)
        return false;
    *ret_position = position.value;
    return true;
}

bool state_get_lag(const json_t *receiver, const char *stage, uint64_t *ret_bytes)
{
    uint64_t position, end;

    if (!get_position(receiver, stage, &position) || !get_position(receiver, "server_position", &end))
        return false;
    *ret_bytes = position < end ? end - position : 0;
    return true;
}
