#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_trailer.h"
#include "pgcoffer/wal/segment.h"

#define PIECE_SIZE 65536

/* What the session says it is going to send. */
struct announced {
    bool is_found;
    char encoding[16]; /* "zstd", "plain", "partial", "history" */
    uint64_t stored, length;
};

struct output {
    int fd;
    const char *path;
    uint64_t written, limit;
};

static bool write_piece(void *context, const void *bytes, size_t size, struct error *err)
{
    struct output *output = context;

    if (size > output->limit - output->written)
        return error_set(err, ERROR_INTEGRITY, "it is longer than the %" PRIu64 " bytes it should have", output->limit);
    output->written += size;
    return file_write_all(output->fd, bytes, size, output->path, err);
}

static json_t *fetch_to_json(const struct wal_fetch *fetch)
{
    struct request request = {.command = COMMAND_ID_wal_get, .options = json_object()};

    snprintf(request.server, sizeof request.server, "%s", fetch->server);
    json_object_set_new(request.options, "file", json_string(fetch->file));
    if (fetch->system_id != NULL)
        json_object_set_new(request.options, option_rows[OPTION_ID_system_id].name, json_string(fetch->system_id));
    if (fetch->is_to_target)
        json_object_set_new(request.options, option_rows[OPTION_ID_to_target].name, json_true());
    json_t *message = request_to_json(&request);
    request_done(&request);
    return message;
}

static bool parse_item(const json_t *data, struct announced *ret_announced, struct error *err)
{
    const char *encoding;
    int64_t stored;
    int64_t length;

    if (!json_get_text(data, "encoding", &encoding, err) ||
        !json_get_number(data, "stored", 0, WAL_SEGMENT_SIZE_MOST * INT64_C(2), &stored, err) ||
        !json_get_number(data, "length", 0, WAL_SEGMENT_SIZE_MOST, &length, err))
        return error_set(err, ERROR_DAEMON, "the session's answer to wal-get is not understood");
    ret_announced->is_found = true;
    ret_announced->stored = (uint64_t)stored;
    ret_announced->length = (uint64_t)length;
    snprintf(ret_announced->encoding, sizeof ret_announced->encoding, "%s", encoding);
    return true;
}

/* Everything up to the raw bytes, or the word that there are none. */
static bool ask(struct control_stream *stream, const struct wal_fetch *fetch, struct announced *ret_announced,
                struct error *err)
{
    json_t *request SCOPED(scoped_json) = fetch_to_json(fetch);

    *ret_announced = (struct announced){0};
    if (!control_send(stream, request, err))
        return false;
    for (;;) {
        json_t *answer SCOPED(scoped_json) = NULL;
        if (!control_receive(stream, &answer, err))
            return false;
        if (answer == NULL)
            return error_set(err, ERROR_DAEMON, "the session ended before it answered");
        const json_t *data = json_object_get(answer, "data");
        if (json_text_is(answer, "event", "error"))
            return control_error_from_json(answer, err);
        if (json_text_is(answer, "event", "item") && parse_item(data, ret_announced, err))
            continue;
        if (json_text_is(answer, "event", "bytes") && ret_announced->is_found &&
            json_number_or(answer, "length", -1) == (int64_t)ret_announced->stored)
            return true;
        if (json_text_is(answer, "event", "result") && !ret_announced->is_found &&
            json_is_false(json_object_get(data, "found")))
            return true;
        return error_set(err, ERROR_DAEMON, "the session's answer to wal-get is not understood");
    }
}

static bool receive_into(struct control_stream *stream, uint64_t size, bytes_function *sink, void *context,
                         struct error *err)
{
    uint8_t piece[PIECE_SIZE];

    while (size > 0) {
        size_t part = size < sizeof piece ? (size_t)size : sizeof piece;
        if (!control_receive_bytes(stream, piece, part, err) || !sink(context, piece, part, err))
            return false;
        size -= part;
    }
    return true;
}

struct compressed {
    struct inflater *inflater;
    struct wal_trailer *trailer;
};

static bool take_compressed(void *context, const void *bytes, size_t size, struct error *err)
{
    struct compressed *compressed = context;

    wal_trailer_feed(compressed->trailer, bytes, size);
    return inflater_feed(compressed->inflater, bytes, size, err);
}

/* The segment as it is stored: it is checked here again, because the session does not look into it. */
static bool receive_compressed(struct control_stream *stream, uint64_t stored, struct output *output, struct error *err)
{
    struct inflater *inflater SCOPED(scoped_inflater) = inflater_new(write_piece, output);
    struct wal_trailer *trailer SCOPED(scoped_wal_trailer) = wal_trailer_new();
    struct compressed compressed = {inflater, trailer};
    uint8_t found[WAL_TRAILER_SIZE];

    if (stored < sizeof found)
        return error_set(err, ERROR_INTEGRITY, "it is too short");
    return receive_into(stream, stored - sizeof found, take_compressed, &compressed, err) &&
           inflater_finish(inflater, err) && control_receive_bytes(stream, found, sizeof found, err) &&
           wal_trailer_check(trailer, found, err);
}

static bool receive_content(struct control_stream *stream, const struct announced *announced, struct output *output,
                            struct error *err)
{
    if (strcmp(announced->encoding, "zstd") == 0) {
        if (!receive_compressed(stream, announced->stored, output, err))
            return false;
    } else if (!receive_into(stream, announced->stored, write_piece, output, err)) {
        return false;
    }
    /* The rest of a segment that is still being written is zeros: recovery ends at the first record that is none. */
    if (strcmp(announced->encoding, "partial") == 0) {
        if (ftruncate(output->fd, (off_t)announced->length) < 0)
            return error_set_errno(err, "could not extend \"%s\"", output->path);
    } else if (output->written != announced->length) {
        return error_set(err, ERROR_INTEGRITY, "it has %" PRIu64 " bytes and should have %" PRIu64, output->written,
                         announced->length);
    }
    return true;
}

/*
 * "<path>.tmp", empty and ours alone. What a killed process left is used again; one that is being written by another
 * call for the same path is waited for.
 */
static bool open_temporary(const char *temporary, mode_t mode, int *ret_fd, struct error *err)
{
    for (;;) {
        struct stat opened;
        struct stat named;
        int fd SCOPED(scoped_close) = open(temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0)
            return error_set_errno(err, "could not create \"%s\"", temporary);
        while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
            continue; /* any other failure is that of a file system without locks */
        if (fstat(fd, &opened) < 0)
            return error_set_errno(err, "could not look at \"%s\"", temporary);
        if (lstat(temporary, &named) < 0 || named.st_ino != opened.st_ino || named.st_dev != opened.st_dev)
            continue;
        if (ftruncate(fd, 0) < 0)
            return error_set_errno(err, "could not empty \"%s\"", temporary);
        *ret_fd = file_take_descriptor(&fd);
        return true;
    }
}

static void claim_temporary(const struct wal_fetch *fetch, bool is_ours)
{
    if (fetch->is_temporary_ours != NULL)
        *fetch->is_temporary_ours = is_ours;
}

static bool fill(struct control_stream *stream, const struct wal_fetch *fetch, const struct announced *announced,
                 struct output *output, struct error *err)
{
    if (!receive_content(stream, announced, output, err))
        return error_wrap(err, "could not fetch \"%s\"", fetch->file);
    return !fetch->is_durable || file_sync(output->fd, output->path, err);
}

static bool store(struct control_stream *stream, const struct wal_fetch *fetch, const struct announced *announced,
                  struct error *err)
{
    char *temporary SCOPED(scoped_free) = memory_text("%s.tmp", fetch->path);
    int fd SCOPED(scoped_close) = -1;

    if (!open_temporary(temporary, fetch->mode, &fd, err))
        return false;
    struct output output = {.fd = fd, .path = temporary, .limit = announced->length};
    claim_temporary(fetch, true);
    bool is_whole = fill(stream, fetch, announced, &output, err);
    claim_temporary(fetch, false); /* behind the rename the name may be another call's */
    if (is_whole && rename(temporary, fetch->path) == 0)
        return true;
    if (is_whole)
        error_set_errno(err, "could not rename \"%s\" to \"%s\"", temporary, fetch->path);
    unlink(temporary);
    return false;
}

static struct wal_fetched fetched_of(const struct announced *announced)
{
    struct wal_fetched fetched = {WAL_FETCHED_NOTHING, announced->length};

    if (announced->is_found)
        fetched.kind = strcmp(announced->encoding, "partial") == 0   ? WAL_FETCHED_UNFINISHED
                       : strcmp(announced->encoding, "history") == 0 ? WAL_FETCHED_HISTORY
                                                                     : WAL_FETCHED_WHOLE;
    return fetched;
}

bool wal_fetch(struct control_stream *stream, const struct wal_fetch *fetch, struct wal_fetched *ret_fetched,
               struct error *err)
{
    struct announced announced;

    if (!ask(stream, fetch, &announced, err))
        return false;
    *ret_fetched = fetched_of(&announced);
    if (!announced.is_found)
        return true;
    if (!store(stream, fetch, &announced, err))
        return false;
    json_t *result SCOPED(scoped_json) = control_await_result(stream, NULL, NULL, err);
    return result != NULL;
}

static bool fetch_into(struct control_stream *stream, const struct wal_fetch *fetch, bool is_any_kind, int fd,
                       struct wal_fetched *ret_fetched, struct error *err)
{
    struct announced announced;

    if (!ask(stream, fetch, &announced, err))
        return false;
    *ret_fetched = fetched_of(&announced);
    if (ret_fetched->kind == WAL_FETCHED_NOTHING || (!is_any_kind && ret_fetched->kind != WAL_FETCHED_WHOLE))
        return true;
    struct output output = {.fd = fd, .path = fetch->path, .limit = announced.length};
    if (!receive_content(stream, &announced, &output, err))
        return error_wrap(err, "could not fetch \"%s\"", fetch->file);
    json_t *result SCOPED(scoped_json) = control_await_result(stream, NULL, NULL, err);
    return result != NULL;
}

bool wal_fetch_whole(struct control_stream *stream, const struct wal_fetch *fetch, int fd,
                     struct wal_fetched *ret_fetched, struct error *err)
{
    return fetch_into(stream, fetch, false, fd, ret_fetched, err);
}

bool wal_fetch_into(struct control_stream *stream, const struct wal_fetch *fetch, int fd,
                    struct wal_fetched *ret_fetched, struct error *err)
{
    return fetch_into(stream, fetch, true, fd, ret_fetched, err);
}
