#include "jobs/exporter/server_internal.h"

#include <string.h>
#include <time.h>

#include "pgcoffer/base/memory.h"

/* 128 kB for each of the servers that there can be; alone it is never more than may be untaken (unsent_bytes). */
#define MOST_ANSWER ((size_t)32 * 1024 * 1024)

static const struct {
    const char *path;
    enum answer_kind kind;
    const char *content_type;
} routes[] = {
    {"/metrics", ANSWER_METRICS, "text/plain; version=0.0.4; charset=utf-8"},
    {"/metrics", ANSWER_OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"},
    {"/", ANSWER_PAGE, "text/html; charset=utf-8"},
    {"/status.json", ANSWER_STATUS, "application/json"},
    {"/healthz", ANSWER_HEALTH, "text/plain; charset=utf-8"},
};

enum answer_kind answer_kind_of(const struct http_request *request)
{
    /* Whoever comes from pgexporter and pgmoneta types the address alone into curl, and looks for figures there. */
    if (request->takes_all_but_page && strcmp(request->path, "/") == 0)
        return ANSWER_METRICS;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strcmp(request->path, routes[i].path) == 0)
            return routes[i].kind == ANSWER_METRICS && request->wants_openmetrics ? ANSWER_OPENMETRICS : routes[i].kind;
    return ANSWER_NONE;
}

static void write_status(struct buffer *out, const json_t *state)
{
    json_t *whole SCOPED(scoped_json) = json_pack("{s:i}", "schema", 1);

    json_object_update(whole, (json_t *)state);
    char *text SCOPED(scoped_free) = json_to_line(whole);
    write_text(out, text);
    write_text(out, "\n");
}

/* Not a word about the rest, so that nobody has to read a page to know. */
static enum http_status write_health(struct buffer *out, const json_t *state)
{
    struct buffer faults SCOPED(buffer_done) = BUFFER_WITH_LIMIT(MOST_ANSWER);

    if (health_is_good(state, &faults)) {
        write_text(out, "ok\n");
        return HTTP_OK;
    }
    write_text(out, "not ok\n");
    write_bytes(out, (const char *)faults.bytes, faults.used);
    return HTTP_UNAVAILABLE;
}

static enum http_status write_body(struct buffer *out, enum answer_kind kind, const json_t *state)
{
    switch (kind) {
    case ANSWER_METRICS:
        metrics_write(out, state, METRICS_PROMETHEUS);
        break;
    case ANSWER_OPENMETRICS:
        metrics_write(out, state, METRICS_OPENMETRICS);
        break;
    case ANSWER_PAGE:
        page_write(out, state);
        break;
    case ANSWER_STATUS:
        write_status(out, state);
        break;
    case ANSWER_HEALTH:
        return write_health(out, state);
    case ANSWER_NONE:
        return HTTP_NOT_FOUND;
    }
    return HTTP_OK;
}

static struct answer_body *body_new(void)
{
    struct answer_body *body = memory_new(sizeof *body);

    *body = (struct answer_body){
        .references = 1, .content_type = "text/plain; charset=utf-8", .bytes = BUFFER_WITH_LIMIT(MOST_ANSWER)};
    return body;
}

struct answer_body *answer_refusal(enum http_status status)
{
    struct answer_body *body = body_new();

    body->status = status;
    write_format(&body->bytes, "%d %s", (int)status, http_status_words(status));
    if (status == HTTP_NOT_FOUND)
        write_text(&body->bytes, ": there are /, /metrics, /status.json and /healthz");
    else if (status == HTTP_MISDIRECTED)
        write_text(&body->bytes, ": ask for localhost, or for the host in the configuration");
    else if (status == HTTP_UNAVAILABLE)
        write_text(&body->bytes, ": pgcofferd does not say what it knows; ask again");
    write_text(&body->bytes, "\n");
    return body;
}

struct answer_body *answer_make(enum answer_kind kind, const json_t *state, size_t *account)
{
    if (state == NULL || kind == ANSWER_NONE)
        return answer_refusal(kind == ANSWER_NONE ? HTTP_NOT_FOUND : HTTP_UNAVAILABLE);
    struct answer_body *body = body_new();
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (routes[i].kind == kind)
            body->content_type = routes[i].content_type;
    body->status = write_body(&body->bytes, kind, state);
    if (body->bytes.limit == 0) { /* outgrown */
        answer_release(body);
        return answer_refusal(HTTP_INTERNAL);
    }
    body->account = account;
    *account += body->bytes.used;
    return body;
}

size_t answer_head(const struct answer_body *body, bool keeps_alive, char ret_head[ANSWER_HEAD_SIZE])
{
    char date[64];
    time_t now = time(NULL);
    struct tm parts;

    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &parts));
    int size = snprintf(
        ret_head, ANSWER_HEAD_SIZE,
        "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
        "Cross-Origin-Resource-Policy: same-origin\r\n"
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'\r\n%s\r\n",
        (int)body->status, http_status_words(body->status), date, body->content_type, body->bytes.used,
        body->status == HTTP_METHOD_NOT_ALLOWED ? "Allow: GET, HEAD\r\n" : "",
        keeps_alive ? "" : "Connection: close\r\n");
    if (size < 0 || size >= ANSWER_HEAD_SIZE)
        abort(); /* our own words, all of them bounded */
    return (size_t)size;
}

void answer_release(struct answer_body *body)
{
    if (body == NULL || --body->references > 0)
        return;
    if (body->account != NULL)
        *body->account -= body->bytes.used;
    buffer_done(&body->bytes);
    free(body);
}
