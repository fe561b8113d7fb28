#include "daemon/access_internal.h"

#include <string.h>

#include "pgcoffer/base/log.h"

void access_begin(struct access *access, const struct caller *caller, const struct request *request)
{
    if (!caller->is_remote)
        return;
    *access = (struct access){.is_open = true};
    snprintf(access->what, sizeof access->what, "%s%s%s%s", commands[request->command].words,
             request->server[0] != '\0' ? " of \"" : "", request->server, request->server[0] != '\0' ? "\"" : "");
}

static const char *what(const struct access *access)
{
    return access->is_open ? access->what : "a line that is no request";
}

void access_sent(struct access *access, const struct caller *caller, const json_t *message, size_t size)
{
    const char *event = json_text_or_null(message, "event");
    struct error failure;

    if (!caller->is_remote)
        return;
    access->bytes += size;
    if (strcmp(event, "error") == 0) {
        control_error_from_json(message, &failure);
        log_info("%s: %s: failed (%s: %s), %llu bytes", caller->text, what(access), error_kind_word(failure.kind),
                 failure.message, (unsigned long long)access->bytes);
    } else if (strcmp(event, "result") == 0) {
        log_info("%s: %s: done, %llu bytes", caller->text, what(access), (unsigned long long)access->bytes);
    } else {
        return;
    }
    *access = (struct access){.is_open = false};
}

void access_broken(struct access *access, const struct caller *caller)
{
    if (access->is_open)
        log_info("%s: %s: the client went away, %llu bytes", caller->text, what(access),
                 (unsigned long long)access->bytes);
    access->is_open = false;
}
