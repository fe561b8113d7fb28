#include "daemon/caller_internal.h"

#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MOST_NAME_SIZE 255

void caller_become_remote(struct caller *caller)
{
    free(caller->gids);
    *caller = (struct caller){.uid = CALLER_NOBODY, .pid = caller->pid, .has_names = true, .is_remote = true};
    snprintf(caller->text, sizeof caller->text, "a client of the gateway");
}

/* A name with a comma or a blank could not stand in a list, and one with more would not be what was signed. */
static bool is_plain_name(const char *name)
{
    if (name == NULL || name[0] == '\0' || strlen(name) > MOST_NAME_SIZE)
        return false;
    for (const char *at = name; *at != '\0'; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f || *at == ',')
            return false;
    return true;
}

static void add_name(struct caller *caller, size_t *count, const char *kind, const char *name)
{
    if (is_plain_name(name) && *count < CALLER_MOST_NAMES)
        caller->certificate_names[(*count)++] = memory_text("%s:%s", kind, name);
}

bool caller_take_identity(struct caller *caller, const json_t *message, struct error *err)
{
    const char *command = json_text_or_null(message, "command");
    const char *address = json_text_or_null(message, "address");
    size_t count = 0, index;
    json_t *name;

    if (!caller->is_remote || caller->certificate_names != NULL || command == NULL ||
        strcmp(command, "on-behalf") != 0 || address == NULL)
        return error_set(err, ERROR_USAGE, "the gateway did not say on whose behalf it speaks");
    caller->certificate_names = memory_new((CALLER_MOST_NAMES + 1) * sizeof(char *));
    add_name(caller, &count, "cert", json_text_or_null(message, "cn"));
    json_array_foreach(json_object_get(message, "san"), index, name)
    {
        add_name(caller, &count, "san", json_string_value(name));
    }
    snprintf(caller->user, sizeof caller->user, "%s", count > 0 ? caller->certificate_names[0] : "");
    snprintf(caller->text, sizeof caller->text, "%s from %s",
             count > 0 ? caller->user : "a certificate without a usable name", address);
    text_make_printable(caller->user);
    text_make_printable(caller->text);
    return true;
}
