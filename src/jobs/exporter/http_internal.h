#ifndef PGCOFFER_SRC_JOBS_EXPORTER_HTTP_INTERNAL_H
#define PGCOFFER_SRC_JOBS_EXPORTER_HTTP_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * As much of HTTP/1.1 (RFC 9112) as a port needs that is read only: the head of a GET or HEAD, and nothing behind it.
 * Pure; fuzzed.
 */
#define HTTP_HEAD_SIZE    8192 /* of a request, with its empty line */
#define HTTP_MOST_HEADERS 100
#define HTTP_PATH_SIZE    64 /* a longer one is no path of ours */
#define HTTP_HOST_SIZE    256

enum http_status {
    HTTP_MORE = 0, /* the head has not come whole */
    HTTP_OK = 200,
    HTTP_BAD_REQUEST = 400,
    HTTP_NOT_FOUND = 404,
    HTTP_METHOD_NOT_ALLOWED = 405,
    HTTP_CONTENT_TOO_LARGE = 413,
    HTTP_MISDIRECTED = 421,
    HTTP_HEADERS_TOO_LARGE = 431,
    HTTP_INTERNAL = 500,
    HTTP_UNAVAILABLE = 503,
    HTTP_VERSION_UNKNOWN = 505,
};

struct http_request {
    bool is_head;              /* HEAD, otherwise GET */
    char path[HTTP_PATH_SIZE]; /* "/metrics": what stands before a '?'; "" when it is too long */
    bool has_host;
    char host[HTTP_HOST_SIZE]; /* of the header Host, with its port; "" when it is too long */
    bool wants_openmetrics;    /* by the header Accept */
    bool takes_all_but_page;   /* by the same: anything, and it does not name HTML as browsers do; curl is so */
    bool keeps_alive;          /* the connection is to stay */
};

/* HTTP_OK with the request and the bytes it took; HTTP_MORE; otherwise what is answered, and the connection is over. */
enum http_status http_parse(const char *bytes, size_t size, struct http_request *ret_request, size_t *ret_used);
/* "Not Found" */
const char *http_status_words(enum http_status status);

/*
 * Does the name in Host, with or without a port, mean this port, which listens on loopback without TLS? Whatever page a
 * browser shows may ask it under that page's own name, once that leads to 127.0.0.1 (DNS rebinding), and read the
 * answer; so only localhost, the addresses of loopback and `own`, the name in the configuration, are taken.
 */
bool http_host_is_loopback(const char *host, const char *own);

#endif
