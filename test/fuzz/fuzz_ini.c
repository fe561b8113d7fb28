#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted means the same after a way through config_to_text(); whatever is refused says why. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config SCOPED(scoped_config) = NULL;
    struct config *again SCOPED(scoped_config) = NULL;
    struct error err = {.kind = ERROR_NONE};

    if (!config_parse((const char *)data, size, "fuzz", &config, &err)) {
        if (err.kind != ERROR_CONFIG || err.message[0] == '\0')
            abort();
        return 0;
    }
    char *text SCOPED(scoped_free) = config_to_text(config);
    if (!config_parse(text, strlen(text), "again", &again, &err))
        abort();
    char *text_again SCOPED(scoped_free) = config_to_text(again);
    if (strcmp(text, text_again) != 0)
        abort();
    return 0;
}
