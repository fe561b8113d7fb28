#include "fuzz/startup_reading.h"
#include "pg/startup_message_internal.h"

/* An ErrorResponse as the first answer: the bytes follow the 'E', so that every input is one. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct startup_answer answer;
    uint8_t *message = malloc(size + 1);

    message[0] = 'E';
    if (size > 0)
        memcpy(message + 1, bytes, size);
    if (read_every_way(message, size + 1, &answer))
        assert(answer.kind == STARTUP_REFUSED || answer.kind == STARTUP_GARBAGE);
    assert(answer.sqlstate[0] == '\0' || strlen(answer.sqlstate) == 5);
    free(message);
    return 0;
}
