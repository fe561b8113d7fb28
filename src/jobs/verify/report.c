#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/text.h"

bool verify_problem(struct verify *verify, const char *backup, const char *file, int64_t frame, json_t *suffering,
                    struct error *err, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    text_make_printable(text);
    if (verify->problem_count == verify->mark && frame >= 0)
        snprintf(verify->problem_since_mark, sizeof verify->problem_since_mark, "%s, frame %lld: %.300s", file,
                 (long long)frame, text);
    else if (verify->problem_count == verify->mark)
        snprintf(verify->problem_since_mark, sizeof verify->problem_since_mark, "%s: %.300s", file, text);
    if (verify->problem_count++ == 0)
        snprintf(verify->first_problem, sizeof verify->first_problem, "%s: %s%s%s: %.300s", verify->server,
                 backup != NULL ? backup : "", backup != NULL ? " " : "", file, text);
    if (suffering == NULL) {
        suffering = json_array();
        if (backup != NULL)
            json_array_append_new(suffering, json_string(backup));
    }
    return control_send_item(verify->events,
                             json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "server", verify->server, "backup",
                                       backup != NULL ? json_string(backup) : json_null(), "file", control_text(file),
                                       "frame", frame >= 0 ? json_integer(frame) : json_null(), "problem",
                                       control_text(text), "backups", suffering),
                             err);
}

static bool is_interrupted(const struct verify *verify)
{
    struct pollfd descriptor = {.fd = verify->interrupt_fd, .events = POLLIN};

    return verify->interrupt_fd >= 0 && poll(&descriptor, 1, 0) > 0;
}

bool verify_advance(struct verify *verify, uint64_t bytes, const char *item, struct error *err)
{
    verify->done_bytes += bytes;
    if (is_interrupted(verify)) {
        error_set(err, ERROR_FAILED, "the verification was cancelled");
        err->errnum = ECANCELED;
        return false;
    }
    if (verify->deadline != 0 && clock_monotonic() >= verify->deadline) {
        error_set(err, ERROR_FAILED, "the time for the verification is over");
        err->errnum = ETIME;
        return false;
    }
    if (!progress_meter_advance(&verify->meter, clock_monotonic(), verify->done_bytes))
        return true;
    progress_meter_item(&verify->meter, item);
    return progress_meter_send(&verify->meter, verify->events, err);
}

bool verify_is_damage(const struct error *failure)
{
    return failure->kind == ERROR_INTEGRITY || failure->errnum == EIO || failure->errnum == ENOENT;
}

bool verify_read_failure(struct verify *verify, const char *backup, const char *file, int64_t frame, json_t *suffering,
                         const struct error *failure, struct error *err)
{
    if (verify_is_damage(failure))
        return verify_problem(verify, backup, file, frame, suffering, err, "%s", failure->message);
    json_decref(suffering);
    *err = *failure;
    return false;
}
