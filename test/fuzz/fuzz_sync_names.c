#include <stdint.h>
#include <stdlib.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/pg/sync_names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* synchronous_standby_names as a server says it: what was read keeps its own promises. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *names SCOPED(scoped_free) = memory_text("%.*s", (int)(size < 65536 ? size : 65536), (const char *)data);
    struct sync_match match;
    struct error err;

    if (!sync_names_match(names, "pgcoffer", &match, &err))
        return 0;
    if (match.position > match.listed || (match.method == SYNC_METHOD_NONE) != (names[0] == '\0'))
        abort();
    if (match.method != SYNC_METHOD_NONE && (match.needed == 0 || match.listed == 0))
        abort();
    if ((match.is_by_star && !match.has_star) || (match.has_star && match.position == 0))
        abort();
    if (sync_match_is_indispensable(&match) && sync_match_state(&match) == SYNC_STATE_ASYNC)
        abort();
    return 0;
}
