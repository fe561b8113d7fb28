#include "pgcoffer/wal/position.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/text.h"

/* One half of an LSN: one to eight hex digits. */
static bool parse_half(const char *digits, size_t count, uint64_t *ret_half)
{
    return count >= 1 && count <= 8 && text_parse_hex(digits, count, ret_half);
}

bool wal_position_parse(const char *text, struct wal_position *ret_position, struct error *err)
{
    uint64_t high = 0, low = 0;
    const char *slash = strchr(text, '/');

    if (slash == NULL || !parse_half(text, (size_t)(slash - text), &high) ||
        !parse_half(slash + 1, strlen(slash + 1), &low))
        return error_set(err, ERROR_SERVER, "\"%.64s\" is not a WAL position such as 16/B374D848", text);
    *ret_position = (struct wal_position){high << 32 | low};
    return true;
}

void wal_position_format(struct wal_position position, char ret_text[WAL_POSITION_TEXT_SIZE])
{
    snprintf(ret_text, WAL_POSITION_TEXT_SIZE, "%" PRIX32 "/%" PRIX32, (uint32_t)(position.value >> 32),
             (uint32_t)position.value);
}
