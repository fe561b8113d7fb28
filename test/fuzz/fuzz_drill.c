#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/drill/drill_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * What a drill reads of others: pg_control of a backup, and the words of the programs it starts. The first byte chooses
 * the size of the pieces in which the words come, and nothing may depend on that.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control_limits limits;
    struct recovery_log whole = {.used = 0};
    struct recovery_log pieces = {.used = 0};
    struct error err;

    if (size == 0)
        return 0;
    if (!control_limits_read(data + 1, size - 1, &limits, &err) && err.kind != ERROR_INTEGRITY)
        abort();
    const char *words = (const char *)data + 1;
    size_t piece = (size_t)data[0] + 1;
    recovery_log_take(&whole, true, words, size - 1);
    for (size_t at = 0; at < size - 1; at += piece)
        recovery_log_take(&pieces, true, words + at, size - 1 - at < piece ? size - 1 - at : piece);
    if (strlen(whole.words) >= sizeof whole.words || strlen(whole.failure) >= sizeof whole.failure)
        abort();
    if (strcmp(whole.words, pieces.words) != 0 || strcmp(whole.failure, pieces.failure) != 0 ||
        strcmp(whole.file, pieces.file) != 0 || whole.file_count != pieces.file_count ||
        whole.restore_command != pieces.restore_command || whole.is_open != pieces.is_open)
        abort();
    return 0;
}
