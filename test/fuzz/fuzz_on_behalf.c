#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/caller_internal.h"
#include "pgcoffer/control/stream.h"

/* The first line of a connection of the gateway's, should somebody else have taken that process over: whatever names
 * come of it are such as stand in a list of a configuration, and what is logged of them is one line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
    const char *colon = strchr(name, ':');

    if (colon == NULL || colon[1] == '\0' || (strncmp(name, "cert:", 5) != 0 && strncmp(name, "san:", 4) != 0) ||
        strlen(name) >= CALLER_NAME_SIZE)
        abort();
    for (; *name != '\0'; name++)
        if ((unsigned char)*name <= ' ' || *name == 0x7f || *name == ',')
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct caller caller = {.gid_count = 0};
    struct error err;
    size_t count = 0;

    json_t *message SCOPED(scoped_json) = control_parse_line((const char *)data, size, &err);
    if (message == NULL)
        return 0;
    if (caller_take_identity(&caller, message, &err)) /* of nobody who came through the gateway */
        abort();
    caller_become_remote(&caller);
    if (caller_take_identity(&caller, message, &err)) {
        for (; caller.certificate_names[count] != NULL; count++)
            check_name(caller.certificate_names[count]);
        if (count > CALLER_MOST_NAMES || strchr(caller.text, '\n') != NULL || strchr(caller.user, '\n') != NULL ||
            caller_take_identity(&caller, message, &err)) /* twice */
            abort();
    }
    caller_done(&caller);
    return 0;
}
