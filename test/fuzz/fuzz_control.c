#include <stdint.h>
#include <stdlib.h>

#include "pgcoffer/control/stream.h"

/* A line as any local user may send it: whatever passes must be written back as the same request. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request request, again;
    struct progress progress;
    struct error err;

    json_t *message SCOPED(scoped_json) = control_parse_line((const char *)data, size, &err);
    if (message == NULL)
        return 0;
    (void)progress_from_json(message, &progress);
    control_error_from_json(message, &err);
    if (!request_parse(message, &request, &err))
        return 0;
    json_t *written SCOPED(scoped_json) = request_to_json(&request);
    if (!request_parse(written, &again, &err) || again.command != request.command ||
        !json_equal(again.options, request.options) || strcmp(again.server, request.server) != 0 ||
        strcmp(again.backup, request.backup) != 0 || strcmp(again.job, request.job) != 0)
        abort();
    request_done(&request);
    request_done(&again);
    return 0;
}
