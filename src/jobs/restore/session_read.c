#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/checksum.h"

/* One request for a whole small file; larger ones come in ranges of this size. */
#define RANGE_SIZE (UINT64_C(8) << 20)
#define PIECE_SIZE 65536

static json_t *range_to_json(const struct read_range *range)
{
    struct request request = {.command = COMMAND_ID_read, .options = json_object()};
    char number[24];

    snprintf(request.server, sizeof request.server, "%s", range->server);
    snprintf(request.backup, sizeof request.backup, "%s", range->backup);
    json_object_set_new(request.options, "file", json_string(range->file));
    snprintf(number, sizeof number, "%" PRIu64, range->offset);
    json_object_set_new(request.options, "offset", json_string(number));
    snprintf(number, sizeof number, "%" PRIu64, range->length);
    json_object_set_new(request.options, "length", json_string(number));
    json_t *message = request_to_json(&request);
    request_done(&request);
    return message;
}

/* What the plan named was there when it was made, and no session has held it since: a connection had broken. */
static bool fail_to_read(const struct read_range *range, const json_t *answer, struct error *err)
{
    control_error_from_json(answer, err);
    if (err->kind != ERROR_USAGE)
        return false;
    err->kind = ERROR_INTEGRITY;
    error_wrap(err, "backup %s was deleted or changed while it was restored", range->backup);
    return error_hint(err, "Restore another one: \"pgcoffer list %s\" has those that are there.", range->server);
}

bool session_read_begin(struct control_stream *stream, const struct read_range *range, struct error *err)
{
    json_t *request SCOPED(scoped_json) = range_to_json(range);
    json_t *answer SCOPED(scoped_json) = NULL;

    if (!control_send(stream, request, err) || !control_receive(stream, &answer, err))
        return false;
    if (answer == NULL)
        return error_set(err, ERROR_DAEMON, "the session ended before it answered");
    const char *event = json_text_or_null(answer, "event");
    if (event != NULL && strcmp(event, "error") == 0)
        return fail_to_read(range, answer, err);
    if (event == NULL || strcmp(event, "bytes") != 0 || json_number_or(answer, "length", -1) != (int64_t)range->length)
        return error_set(err, ERROR_DAEMON, "the session did not send the %" PRIu64 " bytes of \"%s\" it was asked for",
                         range->length, range->file);
    return true;
}

bool session_read_end(struct control_stream *stream, struct error *err)
{
    json_t *result SCOPED(scoped_json) = control_await_result(stream, NULL, NULL, err);

    return result != NULL;
}

struct whole_file {
    struct control_stream *stream;
    struct checksum *checksum;
    bytes_function *sink;
    void *context;
};

/* range->offset is behind what came, whether or not all of it did. */
static bool read_range(const struct whole_file *whole, struct read_range *range, struct error *err)
{
    uint8_t piece[PIECE_SIZE];

    if (!session_read_begin(whole->stream, range, err))
        return false;
    for (uint64_t left = range->length; left > 0;) {
        size_t size = left < sizeof piece ? (size_t)left : sizeof piece;
        if (!control_receive_bytes(whole->stream, piece, size, err))
            return false;
        checksum_update(whole->checksum, piece, size);
        if (!whole->sink(whole->context, piece, size, err))
            return false;
        left -= size;
        range->offset += size;
    }
    return session_read_end(whole->stream, err);
}

/* The session of the plan, or one in its place. */
static bool ensure_session(struct restore *restore, struct error *err)
{
    if (restore->session != NULL)
        return true;
    if (!connector_open(restore->connector, &restore->session, err))
        return false;
    restore->session_opened_at = clock_monotonic();
    return true;
}

static bool read_ranges(struct restore *restore, const struct plan_file *file, struct whole_file *whole,
                        struct error *err)
{
    struct read_range range = {.server = restore->plan.server, .backup = restore->plan.backup, .file = file->name};
    struct patience patience = {0};
    char sha256[CHECKSUM_HEX_SIZE];

    while (range.offset < file->size) {
        uint64_t before = range.offset;
        uint64_t left = file->size - range.offset;
        range.length = left < RANGE_SIZE ? left : RANGE_SIZE;
        bool is_read = ensure_session(restore, err);
        whole->stream = restore->session;
        bool has_come = is_read && read_range(whole, &range, err);
        if (range.offset > before) {
            patience_renew(&patience);
            outage_ends(restore, restore->session_opened_at);
        }
        if (has_come)
            continue;
        control_stream_free(TAKE(restore->session));
        if (!patience_allows(&patience, restore->connector, err) || !restore_may_go_on(restore, err))
            return false;
        outage_goes_on(restore, &patience, err);
    }
    checksum_final(whole->checksum, sha256);
    if (strcmp(sha256, file->sha256) == 0)
        return true;
    error_set(err, ERROR_INTEGRITY, "\"%s\" of backup %s is damaged: its SHA-256 is not the one in backup.json",
              file->name, restore->plan.backup);
    return error_hint(err, "Restore another backup; `pgcoffer verify %s` says which are sound.", restore->plan.server);
}

bool session_read_file(struct restore *restore, const char *name, bytes_function *sink, void *context,
                       struct error *err)
{
    const struct plan_file *file = restore_plan_file(&restore->plan, name);

    if (file == NULL)
        return error_set(err, ERROR_INTEGRITY, "backup %s has no \"%s\"", restore->plan.backup, name);
    struct whole_file whole = {.checksum = checksum_new(CHECKSUM_SHA256), .sink = sink, .context = context};
    bool is_read = read_ranges(restore, file, &whole, err);
    checksum_free(whole.checksum);
    return is_read;
}
