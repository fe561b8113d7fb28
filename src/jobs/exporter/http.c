#include "jobs/exporter/http_internal.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "pgcoffer/base/text.h"

/* A piece of the request. */
struct piece {
    const char *start;
    size_t size;
};

struct parse {
    struct http_request *request;
    size_t header_count;
    bool is_method_known, is_newest, has_body, has_length, takes_all, takes_page;
    unsigned openmetrics_quality, text_quality; /* thousandths, as Accept says */
};

/* ---- words ---- */

static bool is_word(struct piece piece, const char *word)
{
    return piece.size == strlen(word) && strncasecmp(piece.start, word, piece.size) == 0;
}

/* RFC 9110, 5.6.2 */
static bool is_token_byte(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static bool is_token(struct piece piece)
{
    for (size_t i = 0; i < piece.size; i++)
        if (!is_token_byte(piece.start[i]))
            return false;
    return piece.size > 0;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static struct piece trim(struct piece piece)
{
    while (piece.size > 0 && is_blank(piece.start[0])) {
        piece.start++;
        piece.size--;
    }
    while (piece.size > 0 && is_blank(piece.start[piece.size - 1]))
        piece.size--;
    return piece;
}

/* What stands before the next `separator`, which is taken with it; false when nothing is left. */
static bool cut(struct piece *rest, char separator, struct piece *ret_part)
{
    if (rest->start == NULL)
        return false;
    const char *end = memchr(rest->start, separator, rest->size);
    if (end == NULL) {
        *ret_part = *rest;
        *rest = (struct piece){NULL, 0};
        return true;
    }
    size_t size = (size_t)(end - rest->start);
    *ret_part = (struct piece){rest->start, size};
    *rest = (struct piece){end + 1, rest->size - size - 1};
    return true;
}

/* ---- the header Accept ---- */

/* "0.75" is 750; what is no number is 1000, as without. */
static unsigned quality_of(struct piece text)
{
    unsigned quality = 0, weight = 100;

    if (text.size == 0 || text.size > 5 || (text.start[0] != '0' && text.start[0] != '1') ||
        (text.size > 1 && text.start[1] != '.'))
        return 1000;
    if (text.start[0] == '1')
        return 1000;
    for (size_t i = 2; i < text.size; i++, weight /= 10) {
        if (text.start[i] < '0' || text.start[i] > '9')
            return 1000;
        quality += (unsigned)(text.start[i] - '0') * weight;
    }
    return quality;
}

static void take_media_range(struct parse *parse, struct piece range)
{
    struct piece type, parameter;
    unsigned quality = 1000;
    bool is_our_version = true; /* of OpenMetrics */

    if (!cut(&range, ';', &type))
        return;
    while (cut(&range, ';', &parameter)) {
        parameter = trim(parameter);
        if (parameter.size >= 2 && strncasecmp(parameter.start, "q=", 2) == 0)
            quality = quality_of((struct piece){parameter.start + 2, parameter.size - 2});
        else if (parameter.size >= 8 && strncasecmp(parameter.start, "version=", 8) == 0)
            is_our_version = is_word(parameter, "version=1.0.0");
    }
    type = trim(type);
    if (is_word(type, "application/openmetrics-text") && is_our_version && quality > parse->openmetrics_quality)
        parse->openmetrics_quality = quality;
    else if (is_word(type, "text/plain") && quality > parse->text_quality)
        parse->text_quality = quality;
    else if (is_word(type, "*/*"))
        parse->takes_all = true;
    else if (is_word(type, "text/html") && quality > 0)
        parse->takes_page = true;
}

/* ---- headers ---- */

static enum http_status take_host(struct parse *parse, struct piece value)
{
    struct http_request *request = parse->request;

    if (request->has_host)
        return HTTP_BAD_REQUEST;
    request->has_host = true;
    for (size_t i = 0; i < value.size; i++)
        if (value.start[i] <= ' ' || value.start[i] > '~')
            return HTTP_BAD_REQUEST;
    if (value.size < HTTP_HOST_SIZE)
        snprintf(request->host, sizeof request->host, "%.*s", (int)value.size, value.start);
    return HTTP_OK;
}

static enum http_status take_length(struct parse *parse, struct piece value)
{
    if (parse->has_length || value.size == 0)
        return HTTP_BAD_REQUEST;
    parse->has_length = true;
    for (size_t i = 0; i < value.size; i++) {
        if (value.start[i] < '0' || value.start[i] > '9')
            return HTTP_BAD_REQUEST;
        parse->has_body = parse->has_body || value.start[i] != '0';
    }
    return HTTP_OK;
}

static enum http_status take_header(struct parse *parse, struct piece line)
{
    struct piece name, part;

    if (++parse->header_count > HTTP_MOST_HEADERS)
        return HTTP_HEADERS_TOO_LARGE;
    if (memchr(line.start, ':', line.size) == NULL || !cut(&line, ':', &name) || !is_token(name))
        return HTTP_BAD_REQUEST; /* also a line that goes on, which begins with a blank */
    line = trim(line);
    if (is_word(name, "host"))
        return take_host(parse, line);
    if (is_word(name, "content-length"))
        return take_length(parse, line);
    if (is_word(name, "transfer-encoding") || is_word(name, "expect"))
        parse->has_body = true;
    while (is_word(name, "accept") && cut(&line, ',', &part))
        take_media_range(parse, part);
    while (is_word(name, "connection") && cut(&line, ',', &part)) {
        part = trim(part);
        if (is_word(part, "close"))
            parse->request->keeps_alive = false;
    }
    return HTTP_OK;
}

/* ---- the first line ---- */

static enum http_status take_target(struct http_request *request, struct piece target)
{
    struct piece path;

    if (target.size == 0 || target.start[0] != '/')
        return HTTP_BAD_REQUEST;
    for (size_t i = 0; i < target.size; i++)
        if (target.start[i] <= ' ' || target.start[i] > '~')
            return HTTP_BAD_REQUEST;
    if (cut(&target, '?', &path) && path.size < HTTP_PATH_SIZE)
        snprintf(request->path, sizeof request->path, "%.*s", (int)path.size, path.start);
    return HTTP_OK;
}

static enum http_status take_request_line(struct parse *parse, struct piece line)
{
    struct http_request *request = parse->request;
    struct piece method, target, version;

    if (!cut(&line, ' ', &method) || !cut(&line, ' ', &target) || !cut(&line, ' ', &version) || line.start != NULL ||
        !is_token(method) || version.size != 8 || memcmp(version.start, "HTTP/", 5) != 0)
        return HTTP_BAD_REQUEST;
    parse->is_newest = memcmp(version.start, "HTTP/1.1", 8) == 0;
    if (!parse->is_newest && memcmp(version.start, "HTTP/1.0", 8) != 0)
        return HTTP_VERSION_UNKNOWN;
    request->keeps_alive = parse->is_newest;
    request->is_head = method.size == 4 && memcmp(method.start, "HEAD", 4) == 0;
    parse->is_method_known = request->is_head || (method.size == 3 && memcmp(method.start, "GET", 3) == 0);
    return parse->is_method_known ? take_target(request, target) : HTTP_OK;
}

/* ---- the head ---- */

/* Lines end with CR LF, and neither of the two stands anywhere else, nor does a NUL. */
static bool next_line(struct piece *rest, struct piece *ret_line)
{
    const char *end = memchr(rest->start, '\n', rest->size);

    if (end == NULL || end == rest->start || end[-1] != '\r')
        return false;
    *ret_line = (struct piece){rest->start, (size_t)(end - rest->start) - 1};
    rest->size -= (size_t)(end + 1 - rest->start);
    rest->start = end + 1;
    return memchr(ret_line->start, '\r', ret_line->size) == NULL &&
           memchr(ret_line->start, '\0', ret_line->size) == NULL;
}

static enum http_status take_head(struct piece head, struct parse *parse)
{
    enum http_status status;
    struct piece line;

    if (!next_line(&head, &line))
        return HTTP_BAD_REQUEST;
    status = take_request_line(parse, line);
    while (status == HTTP_OK && head.size > 0)
        status = next_line(&head, &line) ? take_header(parse, line) : HTTP_BAD_REQUEST;
    if (status != HTTP_OK)
        return status;
    if (parse->is_newest && !parse->request->has_host)
        return HTTP_BAD_REQUEST;
    if (!parse->is_method_known)
        return HTTP_METHOD_NOT_ALLOWED;
    return parse->has_body ? HTTP_CONTENT_TOO_LARGE : HTTP_OK;
}

enum http_status http_parse(const char *bytes, size_t size, struct http_request *ret_request, size_t *ret_used)
{
    struct parse parse = {.request = ret_request};
    size_t looked_at = size < HTTP_HEAD_SIZE ? size : HTTP_HEAD_SIZE;
    const char *end = memmem(bytes, looked_at, "\r\n\r\n", 4), *first_end = memchr(bytes, '\n', looked_at);

    *ret_request = (struct http_request){.path = ""};
    *ret_used = 0;
    /* Whatever it speaks, or a person at nc(1): there may never be an end. */
    if (size > 0 && (!is_token_byte(bytes[0]) || (first_end != NULL && first_end[-1] != '\r')))
        return HTTP_BAD_REQUEST;
    if (end == NULL)
        return size >= HTTP_HEAD_SIZE ? HTTP_HEADERS_TOO_LARGE : HTTP_MORE;
    *ret_used = (size_t)(end + 4 - bytes);
    enum http_status status = take_head((struct piece){bytes, *ret_used - 2}, &parse);
    ret_request->wants_openmetrics = parse.openmetrics_quality > 0 && parse.openmetrics_quality >= parse.text_quality;
    ret_request->takes_all_but_page = parse.takes_all && !parse.takes_page;
    return status;
}

const char *http_status_words(enum http_status status)
{
    switch (status) {
    case HTTP_OK:
        return "OK";
    case HTTP_NOT_FOUND:
        return "Not Found";
    case HTTP_METHOD_NOT_ALLOWED:
        return "Method Not Allowed";
    case HTTP_CONTENT_TOO_LARGE:
        return "Content Too Large";
    case HTTP_MISDIRECTED:
        return "Misdirected Request";
    case HTTP_HEADERS_TOO_LARGE:
        return "Request Header Fields Too Large";
    case HTTP_UNAVAILABLE:
        return "Service Unavailable";
    case HTTP_VERSION_UNKNOWN:
        return "HTTP Version Not Supported";
    case HTTP_INTERNAL:
        return "Internal Server Error";
    case HTTP_MORE:
    case HTTP_BAD_REQUEST:
        break;
    }
    return "Bad Request";
}

/* ---- whose name it is ---- */

/* Without the port, and an address without its brackets; false: no name. */
static bool strip_port(const char *host, char ret_name[HTTP_HOST_SIZE])
{
    bool is_bracketed = host[0] == '[';
    const char *start = is_bracketed ? host + 1 : host;
    size_t size = strcspn(start, is_bracketed ? "]" : ":");
    const char *port = start + size;

    if (is_bracketed && *port++ != ']')
        return false;
    if (*port == ':')
        port += 1 + strspn(port + 1, "0123456789");
    if (*port != '\0' || size == 0 || size >= HTTP_HOST_SIZE)
        return false;
    snprintf(ret_name, HTTP_HOST_SIZE, "%.*s", (int)size, start);
    return true;
}

bool http_host_is_loopback(const char *host, const char *own)
{
    char name[HTTP_HOST_SIZE];

    if (!strip_port(host, name))
        return false;
    return text_is_loopback(name) || strcasecmp(name, "localhost.") == 0 ||
           (own[0] != '\0' && strcasecmp(name, own) == 0);
}
