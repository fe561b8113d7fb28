#include "jobs/exporter/http_internal.h"

#include <stdio.h>
#include <string.h>

#include "jobs/exporter/server_internal.h"
#include "support/suite.h"

static struct http_request request;
static size_t used;

static enum http_status parse(const char *text)
{
    return http_parse(text, strlen(text), &request, &used);
}

#define HOST "Host: localhost:9187\r\n"

START_TEST(a_request_of_prometheus_is_understood)
{
    const char text[] = "GET /metrics?name=a HTTP/1.1\r\nHost: [::1]:9187\r\nUser-Agent: Prometheus/2.42.0\r\n"
                        "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
                        "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n"
                        "X-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n";
    char two[1024];

    ck_assert_int_eq(parse(text), HTTP_OK);
    ck_assert_uint_eq(used, strlen(text));
    ck_assert_str_eq(request.path, "/metrics");
    ck_assert_str_eq(request.host, "[::1]:9187");
    ck_assert(request.has_host && request.wants_openmetrics && request.keeps_alive && !request.is_head);
    snprintf(two, sizeof two, "%sGET", text);
    ck_assert_int_eq(parse(two), HTTP_OK);
    ck_assert_uint_eq(used, strlen(text)); /* what follows is the next one's */
    for (size_t size = 0; size < strlen(text); size++)
        ck_assert_int_eq(http_parse(text, size, &request, &used), HTTP_MORE);
}
END_TEST

START_TEST(which_format_is_meant_is_told_by_accept)
{
    static const struct {
        const char *accept;
        bool is_open;
    } cases[] = {
        {"*/*", false},
        {"text/plain", false},
        {"application/openmetrics-text", true},
        {"Application/OpenMetrics-Text ; q=1.0", true},
        {"text/plain;q=0.5 , application/openmetrics-text;q=0.6", true},
        {"text/plain, application/openmetrics-text;q=0.9", false},
        {"application/openmetrics-text;q=0", false},
        {"application/openmetrics-text;q=0.000", false},
        {"application/openmetrics-textual", false},
        {"application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", false},
        {"application/openmetrics-text;version=2.0.0", false},
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
         "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
         "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         true}, /* Prometheus 3 */
        {",;,;q=,", false},
        {"", false},
    };
    char text[512];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "GET /metrics HTTP/1.1\r\n" HOST "Accept: %s\r\n\r\n", cases[i].accept);
        ck_assert_int_eq(parse(text), HTTP_OK);
        ck_assert_msg(request.wants_openmetrics == cases[i].is_open, "%s", cases[i].accept);
    }
}
END_TEST

START_TEST(a_connection_stays_as_the_version_and_its_header_say)
{
    ck_assert_int_eq(parse("HEAD / HTTP/1.1\r\n" HOST "\r\n"), HTTP_OK);
    ck_assert(request.keeps_alive && request.is_head);
    ck_assert_int_eq(parse("GET / HTTP/1.1\r\n" HOST "Connection: te, Close\r\n\r\n"), HTTP_OK);
    ck_assert(!request.keeps_alive);
    ck_assert_int_eq(parse("GET / HTTP/1.0\r\n\r\n"), HTTP_OK);
    ck_assert(!request.keeps_alive && !request.has_host);
}
END_TEST

START_TEST(what_is_no_request_is_refused)
{
    static const struct {
        enum http_status status;
        const char *text;
    } cases[] = {
        {HTTP_BAD_REQUEST, "\r\n\r\n"},
        {HTTP_BAD_REQUEST, "\x16\x03\x01"},
        {HTTP_BAD_REQUEST, "GET /\r\n\r\n"},
        {HTTP_BAD_REQUEST, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1 \r\n" HOST "\r\n"},
        {HTTP_BAD_REQUEST, "GET metrics HTTP/1.1\r\n" HOST "\r\n"},
        {HTTP_BAD_REQUEST, "GET http://localhost/metrics HTTP/1.1\r\n" HOST "\r\n"},
        {HTTP_BAD_REQUEST, "GET /\x80 HTTP/1.1\r\n" HOST "\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\n\r\n"}, /* without Host */
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "nothing\r\n\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST ": empty\r\n\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\n" HOST "\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.0\n\n"}, /* at once, as no end of a head may follow */
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "A: b\rc: d\r\n\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n"},
        {HTTP_BAD_REQUEST, "GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n"},
        {HTTP_VERSION_UNKNOWN, "GET / HTTP/2.0\r\n\r\n"},
        {HTTP_METHOD_NOT_ALLOWED, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"},
        {HTTP_METHOD_NOT_ALLOWED, "POST /metrics HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"},
        {HTTP_METHOD_NOT_ALLOWED, "get / HTTP/1.1\r\n" HOST "\r\n"},
        {HTTP_CONTENT_TOO_LARGE, "GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"},
        {HTTP_CONTENT_TOO_LARGE, "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"},
        {HTTP_OK, "GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(parse(cases[i].text) == cases[i].status, "%s", cases[i].text);
}
END_TEST

START_TEST(a_head_has_its_size_and_no_more)
{
    char text[HTTP_HEAD_SIZE + 1], many[HTTP_HEAD_SIZE] = "GET / HTTP/1.1\r\n" HOST;

    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    ck_assert_int_eq(http_parse(text, HTTP_HEAD_SIZE - 1, &request, &used), HTTP_MORE);
    ck_assert_int_eq(http_parse(text, HTTP_HEAD_SIZE, &request, &used), HTTP_HEADERS_TOO_LARGE);
    for (int i = 0; i < HTTP_MOST_HEADERS; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "a: b\r\n");
    snprintf(many + strlen(many), sizeof many - strlen(many), "\r\n");
    ck_assert_int_eq(parse(many), HTTP_HEADERS_TOO_LARGE);
    snprintf(text, sizeof text, "GET /%0*d HTTP/1.1\r\n" HOST "\r\n", HTTP_PATH_SIZE, 7);
    ck_assert_int_eq(parse(text), HTTP_OK);
    ck_assert_str_eq(request.path, ""); /* none of ours */
}
END_TEST

START_TEST(without_tls_only_names_of_loopback_are_meant)
{
    static const char *const good[] = {"localhost", "LocalHost:9187", "127.0.0.1",  "127.1.2.3:80",
                                       "[::1]",     "[::1]:9187",     "localhost.", "backup.example.com:9187"};
    static const char *const bad[] = {"",
                                      "evil.example",
                                      "evil.example:9187",
                                      "10.0.0.1",
                                      "[::2]:1",
                                      "[::1",
                                      "::1",
                                      "localhost.evil.example",
                                      "127.0.0.1.evil.example",
                                      "localhost:x",
                                      "[::1]x",
                                      "0.0.0.0",
                                      "[::ffff:127.0.0.1]"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(http_host_is_loopback(good[i], "backup.example.com"), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!http_host_is_loopback(bad[i], "backup.example.com"), "%s", bad[i]);
    ck_assert(!http_host_is_loopback("", ""));
}
END_TEST

static bool health(const char *interrupted_at, char ret_words[256])
{
    struct buffer words SCOPED(buffer_done) = BUFFER_WITH_LIMIT(256);
    json_t *state SCOPED(scoped_json) =
        json_pack("{s:s, s:[{s:s, s:{s:s}, s:s?}]}", "now", "2026-11-22T12:05:00Z", "servers", "server", "one",
                  "receiver", "state", "waiting", "interrupted_at", interrupted_at);
    bool is_good = health_is_good(state, &words);

    snprintf(ret_words, 256, "%.*s", (int)words.used, (const char *)words.bytes);
    return is_good;
}

/* A connection that is made again changes nothing: the word does not flap. */
START_TEST(only_wal_that_is_missing_for_minutes_is_no_health)
{
    char words[256];

    ck_assert(health(NULL, words));
    ck_assert(health("2026-11-22T12:00:01Z", words));
    ck_assert_str_eq(words, "");
    ck_assert(!health("2026-11-22T12:00:00Z", words));
    ck_assert_ptr_nonnull(strstr(words, "one: no WAL is received since 2026-11-22T12:00:00Z (waiting)"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("exporter_http");

    tcase_add_test(tests, a_request_of_prometheus_is_understood);
    tcase_add_test(tests, which_format_is_meant_is_told_by_accept);
    tcase_add_test(tests, a_connection_stays_as_the_version_and_its_header_say);
    tcase_add_test(tests, what_is_no_request_is_refused);
    tcase_add_test(tests, a_head_has_its_size_and_no_more);
    tcase_add_test(tests, without_tls_only_names_of_loopback_are_meant);
    tcase_add_test(tests, only_wal_that_is_missing_for_minutes_is_no_health);
    return suite_run("exporter_http", tests);
}
