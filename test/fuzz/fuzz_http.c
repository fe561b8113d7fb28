#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/exporter/http_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

/* What a client sends to the port of metrics, and whose name it says: in a block of its own size, so that a byte read
 * behind it is noticed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size + 1);
    struct http_request request;
    size_t used;

    if (bytes == NULL)
        return 0;
    bytes = realloc(bytes, size == 0 ? 1 : size);
    memcpy(bytes, data, size);
    enum http_status status = size == 0 ? HTTP_MORE : http_parse(bytes, size, &request, &used);
    if (http_status_words(status)[0] == '\0')
        abort();
    if (status == HTTP_OK) {
        if (used < 16 || used > size || used > HTTP_HEAD_SIZE || memcmp(bytes + used - 4, "\r\n\r\n", 4) != 0)
            abort();
        if (!is_printable(request.path) || (request.path[0] != '/' && request.path[0] != '\0') ||
            !is_printable(request.host))
            abort();
        if (http_host_is_loopback(request.host, "backup.example.com") && request.host[0] == '\0')
            abort();
    } else if (status == HTTP_MORE && size >= HTTP_HEAD_SIZE) {
        abort();
    }
    free(bytes);
    return 0;
}
