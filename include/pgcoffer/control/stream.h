#ifndef PGCOFFER_CONTROL_STREAM_H
#define PGCOFFER_CONTROL_STREAM_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/control/command.h"

/*
 * The control protocol on one descriptor, blocking, both ends (doc/control-protocol.md): JSON objects, one a line of at
 * most CONTROL_LINE_SIZE bytes, and byte ranges announced by {"event":"bytes","length":N}. Used by the CLI, by serve
 * workers and on the channel between supervisor and worker. The supervisor itself, which must not block, uses
 * control_parse_line() and its event loop.
 */
#define CONTROL_LINE_SIZE    65536   /* 64 KiB */
#define CONTROL_CHANNEL_SIZE 4194304 /* 4 MiB, between supervisor and worker: the configuration travels in a line */
#define CONTROL_VERSION      1

struct control_stream;

/* Owns the descriptor. `most_line` is the ceiling for lines read. */
struct control_stream *control_stream_new(int fd, size_t most_line);
void control_stream_free(struct control_stream *stream); /* closes; NULL is fine */
static inline void scoped_control_stream(struct control_stream **stream)
{
    control_stream_free(*stream);
}
int control_stream_descriptor(const struct control_stream *stream);
/* True when bytes read earlier wait in the stream: check before poll(2). */
bool control_stream_has_input(const struct control_stream *stream);
/* Bytes sent so far. */
uint64_t control_stream_sent(const struct control_stream *stream);
/* Deadline for each wait for the peer, in and out, milliseconds; -1 (the default) waits for ever. */
void control_stream_set_timeout(struct control_stream *stream, int milliseconds);

/* connect(2) to the socket. Kind DAEMON with what to type; a path longer than sun_path is said so. */
bool control_connect(const char *socket_path, struct control_stream **ret_stream, struct error *err) NODISCARD;

/* One object as a line. `message` is borrowed. EPIPE is kind DAEMON. A line over the ceiling is an error before a byte
 * is sent. */
bool control_send(struct control_stream *stream, const json_t *message, struct error *err) NODISCARD;
/* {"event":"bytes","length":size} and the bytes. */
bool control_send_bytes(struct control_stream *stream, const void *bytes, size_t size, struct error *err) NODISCARD;
/* The same with bytes from a file (sendfile); exactly `size` bytes from `offset` or an error after which the stream is
 * closed. */
bool control_send_file(struct control_stream *stream, int fd, uint64_t offset, uint64_t size,
                       struct error *err) NODISCARD;

/* The next object. *ret_message NULL at an orderly end of the stream. Half lines, long lines, garbage: DAEMON. */
bool control_receive(struct control_stream *stream, json_t **ret_message, struct error *err) NODISCARD;
/* The N raw bytes after a "bytes" event; in pieces if the caller likes. */
bool control_receive_bytes(struct control_stream *stream, void *bytes, size_t size, struct error *err) NODISCARD;
/* One line without its newline -> object. Pure; fuzzed. Kind USAGE. */
json_t *control_parse_line(const char *line, size_t size, struct error *err) NODISCARD;

/* ---- replies ---- */
bool control_send_result(struct control_stream *stream, json_t *data_stolen, struct error *err) NODISCARD;
bool control_send_item(struct control_stream *stream, json_t *data_stolen, struct error *err) NODISCARD;
bool control_send_error(struct control_stream *stream, const struct error *failure, struct error *err) NODISCARD;
/* The last word to a peer that may not have asked yet: its question is taken, so that it finds the answer and no broken
 * connection. Until the peer leaves, `milliseconds` at most. */
bool control_part_with_error(struct control_stream *stream, const struct error *failure, int milliseconds,
                             struct error *err) NODISCARD;
/* A JSON text from any bytes: what is not UTF-8 (a file's name, a text cut short) becomes '?'. */
json_t *control_text(const char *text);
json_t *control_error_to_json(const struct error *failure);             /* {"event":"error","kind":...} */
json_t *control_failure_to_json(const struct error *failure);           /* ERROR: the same without "event" */
bool control_error_from_json(const json_t *message, struct error *err); /* fills *err; returns false */
/* Reads until result or error; items and everything else go to `event` (may be NULL). NULL and *err on failure. */
json_t *control_await_result(struct control_stream *stream,
                             bool (*event)(void *context, const json_t *message, struct error *err), void *context,
                             struct error *err) NODISCARD;

/* ---- requests ---- */
struct request {
    enum command_id command;
    char server[64];  /* "" : none given */
    char backup[256]; /* id, "latest", "oldest", a label, or "" */
    char job[32];     /* follow, cancel */
    json_t *options;  /* object; owned */
};
/*
 * Checks version, command, types, that what the command needs is given and nothing else, and that each option belongs
 * to the command. Texts hold no control characters. USAGE.
 */
bool request_parse(const json_t *message, struct request *ret_request, struct error *err) NODISCARD;
json_t *request_to_json(const struct request *request);
void request_done(struct request *request);
bool request_has(const struct request *request, enum option_id option);         /* flag set */
const char *request_text(const struct request *request, enum option_id option); /* NULL: not given */
/* What only programs send: "file", "offset", "length" of read, "file" of wal-get, "annotations" of annotate, "result"
 * of drill-result; given when request_parse() passed. */
const char *request_wire_text(const struct request *request, const char *name);

/* ---- progress, the same numbers everywhere ---- */
struct progress {
    char phase[32];                   /* "checkpoint", "copy", "wal", "verify", "plan", "restore", "sync", "replay" */
    char item[256];                   /* the file at hand; may be empty */
    uint64_t done_bytes, total_bytes; /* total 0: unknown */
    double rate_bytes_per_second;
    double eta_seconds; /* < 0: unknown */
    double elapsed_seconds;
};
json_t *progress_to_json(const struct progress *progress); /* {"event":"progress",...} */
bool progress_from_json(const json_t *message, struct progress *ret_progress);
/* What somebody else has sent, fit to be shown: words without control characters, numbers that can be. */
void progress_tame(struct progress *progress);

#endif
