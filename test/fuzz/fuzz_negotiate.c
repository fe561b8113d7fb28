#include "fuzz/startup_reading.h"
#include "pg/startup_message_internal.h"

/* Whatever answers the startup packet: NegotiateProtocolVersion, authentication requests, notices, anything else. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct startup_answer answer;

    if (!read_every_way(bytes, size, &answer))
        return 0;
    assert(answer.kind != STARTUP_SCRAM || answer.has_scram || answer.has_scram_plus);
    assert(answer.kind != STARTUP_ADMITTED || answer.method == 0);
    return 0;
}
