#include "jobs/serve/remote_log_internal.h"

#include <string.h>

#include "pgcoffer/base/log.h"

void remote_log_end(struct remote_log *log)
{
    if (log->reads > 0)
        log_info("%s: read of \"%s\" %s: %llu ranges done, %llu bytes", log->caller, log->server, log->backup,
                 (unsigned long long)log->reads, (unsigned long long)log->read_bytes);
    log->reads = log->read_bytes = 0;
}

static void add_read(struct remote_log *log, const struct request *request, uint64_t bytes)
{
    if (log->reads == 0) {
        snprintf(log->server, sizeof log->server, "%s", request->server);
        snprintf(log->backup, sizeof log->backup, "%s", request->backup);
    }
    log->reads++;
    log->read_bytes += bytes;
}

static void describe(const struct request *request, char ret_text[640])
{
    const char *file = request_wire_text(request, "file");
    const char *object = request->backup[0] != '\0' ? request->backup : file;

    snprintf(ret_text, 640, "%s%s%s%s%s%.200s", commands[request->command].words,
             request->server[0] != '\0' ? " of \"" : "", request->server, request->server[0] != '\0' ? "\"" : "",
             object != NULL ? " " : "", object != NULL ? object : "");
}

void remote_log_request(struct remote_log *log, const struct request *request, uint64_t bytes,
                        const struct error *failure)
{
    char what[640];

    if (log->caller == NULL)
        return;
    bool is_read = request->command == COMMAND_ID_read && failure == NULL;
    bool is_same = strcmp(log->server, request->server) == 0 && strcmp(log->backup, request->backup) == 0;
    if (!is_read || !is_same)
        remote_log_end(log);
    if (is_read) {
        add_read(log, request, bytes);
        return;
    }
    describe(request, what);
    if (failure == NULL)
        log_info("%s: %s: done, %llu bytes", log->caller, what, (unsigned long long)bytes);
    else
        log_info("%s: %s: failed (%s: %s), %llu bytes", log->caller, what, error_kind_word(failure->kind),
                 failure->message, (unsigned long long)bytes);
}
