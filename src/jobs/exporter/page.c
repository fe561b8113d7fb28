#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/exporter/page_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define REFRESH_SECONDS 30

static const json_t *servers_of(const struct page *page)
{
    return json_object_get(page->state, "servers");
}

/* How many servers are of each level. */
static void count_levels(const struct page *page, size_t counts[LEVEL_COUNT])
{
    const json_t *server;
    size_t i;

    memset(counts, 0, LEVEL_COUNT * sizeof *counts);
    json_array_foreach(servers_of(page), i, server)
    {
        struct reasons reasons SCOPED(reasons_done) = page_judge_server(page, server);
        counts[reasons.level]++;
    }
}

/* The worst first: what the tab of a browser shows begins with it. */
static void write_title(const struct page *page, const size_t counts[LEVEL_COUNT])
{
    size_t all = json_array_size(servers_of(page));
    enum level worst = LEVEL_BAD;

    write_text(page->out, "<title>");
    while (worst > LEVEL_GOOD && counts[worst] == 0)
        worst--;
    if (all == 0)
        write_text(page->out, "no server");
    else if (all == 1)
        page_format(page, "%s: %s", json_text_or(json_array_get(servers_of(page), 0), "server", "?"),
                    page_verdict_word(worst));
    else
        page_format(page, "%zu of %zu: %s", counts[worst], all, page_verdict_word(worst));
    write_text(page->out, " – pgcoffer</title>\n");
}

static void write_head(const struct page *page, const size_t counts[LEVEL_COUNT])
{
    write_format(page->out,
                 "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
                 "<meta charset=\"utf-8\"/>\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                 "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
                 "<meta name=\"robots\" content=\"noindex\"/>\n"
                 "<meta http-equiv=\"refresh\" content=\"%d\"/>\n",
                 REFRESH_SECONDS);
    write_title(page, counts);
    write_format(page->out, "<style>\n%s</style>\n</head>\n", page_style);
}

static void write_banner(const struct page *page)
{
    write_text(page->out,
               "<header>\n<svg class=\"logo\" aria-hidden=\"true\" width=\"30\" height=\"30\" viewBox=\"0 0 30 30\">"
               "<path d=\"M4 12C4 7 8 4 15 4S26 7 26 12Z\"/><path d=\"M4 14.500H26V26H4Z\"/>"
               "<path class=\"lock\" d=\"M15 13.500V19\"/></svg>\n<h1>pgcoffer</h1>\n<p class=\"quiet\">");
    page_format(page, "version %s", json_text_or(page->state, "version", "?"));
    if (page->now.microseconds != 0) {
        write_text(page->out, ", as of ");
        page_time(page, page->state, "now");
    }
    write_text(page->out, "</p>\n</header>\n");
}

/* One line for each server, when there are several. */
static void write_summary(const struct page *page)
{
    const json_t *server;
    size_t i;

    if (json_array_size(servers_of(page)) < 2)
        return;
    write_text(page->out, "<nav class=\"card summary\" aria-label=\"Servers\"><ul>\n");
    json_array_foreach(servers_of(page), i, server)
    {
        struct reasons reasons SCOPED(reasons_done) = page_judge_server(page, server);
        const json_t *restorable = json_object_get(json_object_get(server, "survey"), "restorable");
        write_text(page->out, "<li>");
        page_badge(page, reasons.level, page_verdict_word(reasons.level));
        write_format(page->out, "<a href=\"#server-%zu\">", i);
        page_text(page, json_text_or(server, "server", "?"));
        write_text(page->out, "</a><span class=\"line\">");
        struct restorable_words words SCOPED(restorable_words_done) = restorable_words(restorable, MOMENTS_SECONDS);
        page_words(page, json_is_object(restorable) ? words.can : "what can be restored is not known yet");
        write_text(page->out, words.cannot[0] != '\0' ? ", with exceptions</span></li>\n" : "</span></li>\n");
    }
    write_text(page->out, "</ul></nav>\n");
}

/* ---- the daemon ---- */

static void write_port(const struct page *page, const char *title, const json_t *port)
{
    const char *state = json_text_or_null(port, "state"), *host = json_text_or_null(port, "host");

    if (state == NULL)
        return;
    page_fact_begin(page, title);
    page_badge(page,
               json_text_is(port, "state", "listening")         ? LEVEL_GOOD
               : json_is_object(json_object_get(port, "error")) ? LEVEL_BAD
                                                                : LEVEL_UNKNOWN,
               state);
    page_format(page, " %s port %" PRId64 ", connections: %" PRId64, text_is_empty(host) ? "localhost" : host,
                json_number_or(port, "port", 0), json_number_or(port, "connections", 0));
    page_fact_end(page);
}

static void write_daemon_facts(const struct page *page)
{
    static const struct {
        const char *name, *key;
    } facts[] = {{"Repository", "base_dir"}, {"Configuration", "config"}};

    write_text(page->out, "<div class=\"panel\"><h3>Process</h3><dl>\n");
    page_fact_begin(page, "Started");
    page_time(page, page->state, "started_at");
    page_ago(page, page->state, "started_at");
    page_format(page, ", pid %" PRId64, json_number_or(page->state, "pid", 0));
    page_fact_end(page);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        page_fact_begin(page, facts[i].name);
        write_text(page->out, "<code>");
        page_text(page, json_text_or_null(page->state, facts[i].key));
        write_text(page->out, "</code>");
        page_fact_end(page);
    }
    write_port(page, "Gateway", json_object_get(page->state, "gateway"));
    write_port(page, "This page", json_object_get(page->state, "exporter"));
    write_text(page->out, "</dl></div>\n");
}

static void write_daemon_certificates(const struct page *page)
{
    const json_t *gateway = json_object_get(json_object_get(page->state, "gateway"), "certificate");
    const json_t *exporter = json_object_get(json_object_get(page->state, "exporter"), "certificate");

    if (!json_is_object(gateway) && !json_is_object(exporter))
        return;
    page_certificates_begin(page);
    page_certificate(page, "Gateway", gateway);
    page_certificate(page, "This page", exporter);
    page_certificates_end(page);
}

static void write_daemon(const struct page *page)
{
    const json_t *gateway = json_object_get(page->state, "gateway"),
                 *exporter = json_object_get(page->state, "exporter");
    struct reasons reasons SCOPED(reasons_done) = page_judge_daemon(page);

    write_format(page->out,
                 "<section class=\"card %s\" aria-labelledby=\"daemon\">\n<h2 id=\"daemon\">The daemon</h2>\n",
                 page_level_word(reasons.level));
    write_text(page->out, "<div class=\"panels\">\n");
    write_daemon_facts(page);
    page_jobs(page, "");
    write_daemon_certificates(page);
    write_text(page->out, "</div>\n");
    page_fault(page, LEVEL_BAD, "gateway", json_object_get(gateway, "error"));
    page_fault(page, LEVEL_WARNING, "gateway warns", json_object_get(gateway, "warning"));
    page_fault(page, LEVEL_BAD, "this page", json_object_get(exporter, "error"));
    page_fault(page, LEVEL_WARNING, "this page warns", json_object_get(exporter, "warning"));
    page_failures(page, "");
    write_text(page->out, "</section>\n");
}

void page_write(struct buffer *out, const json_t *state)
{
    struct page page = {.out = out, .state = state};
    size_t counts[LEVEL_COUNT], i;
    const json_t *server;

    if (!json_find_time(state, "now", &page.now))
        page.now.microseconds = 0;
    count_levels(&page, counts);
    write_head(&page, counts);
    write_text(out, "<body>\n");
    page_symbols(&page);
    write_banner(&page);
    write_text(out, "<main>\n");
    write_summary(&page);
    if (json_array_size(servers_of(&page)) == 0)
        write_text(out,
                   "<section class=\"card\"><p class=\"verdict\">No server is configured: nothing is backed up.</p>"
                   "<p>A server is a section of the configuration; <code>pgcoffer config sample</code> shows one.</p>"
                   "</section>\n");
    json_array_foreach(servers_of(&page), i, server)
    {
        page_server(&page, server, i);
    }
    write_daemon(&page);
    write_format(out,
                 "</main>\n<footer class=\"quiet\">\n<p>Times are in UTC. The page loads itself anew every %d seconds. "
                 "The same as data: <a href=\"/status.json\">status.json</a>, <a href=\"/metrics\">metrics</a>.</p>\n"
                 "</footer>\n</body>\n</html>\n",
                 REFRESH_SECONDS);
}
