#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/exporter/page_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/stored_words.h"

static void write_fact(const struct page *page, const char *name, const json_t *object, const char *key)
{
    const char *text = json_text_or_null(object, key);

    if (text_is_empty(text))
        return;
    page_fact_begin(page, name);
    page_text(page, text);
    page_fact_end(page);
}

static void write_time(const struct page *page, const char *name, const json_t *object, const char *key)
{
    if (json_text_or_null(object, key) == NULL)
        return;
    page_fact_begin(page, name);
    page_time(page, object, key);
    page_ago(page, object, key);
    page_fact_end(page);
}

/* ---- WAL ---- */

static void write_state(const struct page *page, const json_t *receiver)
{
    const char *state = json_text_or_null(receiver, "state");

    page_fact_begin(page, "Receiver");
    page_badge(page, page_judge_receiver(state), json_text_or(receiver, "state", "not known"));
    if (json_text_or_null(receiver, "since") != NULL) {
        write_text(page->out, " since ");
        page_time(page, receiver, "since");
    }
    page_fact_end(page);
}

static void write_host(const struct page *page, const json_t *receiver)
{
    const json_t *recovery = json_object_get(receiver, "in_recovery");
    const char *host = json_text_or_null(receiver, "host");

    if (text_is_empty(host))
        return;
    page_fact_begin(page, "From");
    page_format(page, "%s port %" PRId64 "%s", host, json_number_or(receiver, "port", 0),
                json_is_true(recovery)    ? ", a standby"
                : json_is_false(recovery) ? ", the primary"
                                          : "");
    page_fact_end(page);
}

/* How far behind it was when the server was heard last. */
static void write_lag(const struct page *page, const json_t *receiver)
{
    bool is_now = json_text_is(receiver, "state", "streaming");
    char text[TEXT_BYTES_SIZE];
    uint64_t bytes;

    if (!state_get_lag(receiver, "flushed", &bytes))
        return;
    text_format_bytes(bytes, text);
    page_fact_begin(page, "WAL lag");
    page_format(page, "%s%s, stored to %s", text, is_now ? "" : " when it was heard last",
                json_text_or(receiver, "flushed", "?"));
    page_fact_end(page);
}

static void write_sync(const struct page *page, const json_t *receiver)
{
    const json_t *sync = json_object_get(receiver, "sync");
    const char *names = json_text_or_null(sync, "names");

    if (!json_is_object(sync))
        return;
    page_fact_begin(page, "Synchronous");
    page_format(page, "%s%s", json_is_set(sync, "wanted") ? "wanted; " : "", json_text_or(sync, "state", "unknown"));
    if (!text_is_empty(names)) {
        write_text(page->out, ", by <code>");
        page_format(page, "synchronous_standby_names = '%s'", names);
        write_text(page->out, "</code>");
    }
    page_fact_end(page);
}

static void write_gaps(const struct page *page, const json_t *receiver)
{
    const json_t *gaps = json_object_get(receiver, "gaps"), *newest = json_object_get(gaps, "newest");
    const char *end = json_text_or_null(newest, "end");
    int64_t count = json_number_or(gaps, "count", 0);
    char *title SCOPED(scoped_free) = memory_text("%" PRId64 " gap%s", count, count == 1 ? "" : "s");

    if (count == 0)
        return;
    page_fact_begin(page, "Gaps");
    page_badge(page, LEVEL_WARNING, title);
    page_format(page, "%s from %s %s%s on timeline %" PRId64 " (%s)", count == 1 ? "" : " the newest",
                json_text_or(newest, "start", "?"), end != NULL ? "to " : "on,", end != NULL ? end : "",
                json_number_or(newest, "timeline", 0), json_text_or(newest, "what", "?"));
    page_fact_end(page);
}

void page_wal(const struct page *page, const json_t *server)
{
    const json_t *receiver = json_object_get(server, "receiver");
    const char *version = json_text_or_null(receiver, "tls_version");
    const char *cipher = json_text_or_null(receiver, "tls_cipher");

    write_text(page->out, "<div class=\"panel\"><h3>WAL</h3><dl>\n");
    write_state(page, receiver);
    write_host(page, receiver);
    if (json_number_or(receiver, "timeline", 0) > 0)
        write_lag(page, receiver);
    write_time(page, "Complete to", json_object_get(receiver, "complete"), "at");
    write_time(page, "Heard last", receiver, "last_message_at");
    write_gaps(page, receiver);
    write_sync(page, receiver);
    write_fact(page, "Slot", receiver, "slot");
    page_fact_begin(page, "Connection");
    page_format(page, "%s%s%s, reconnects: %" PRId64, text_is_empty(version) ? "no TLS" : version,
                text_is_empty(cipher) ? "" : ", ", text_is_empty(cipher) ? "" : cipher,
                json_number_or(receiver, "reconnects", 0));
    page_fact_end(page);
    write_text(page->out, "</dl></div>\n");
}

/* ---- room ---- */

/* Backups, WAL and what is free beside each other; what others have on the disk is not known. */
static void write_shares(const struct page *page, const json_t *room)
{
    static const struct {
        const char *key, *class, *name;
    } shares[] = {{"backup_bytes", "backups", "backups"}, {"wal_bytes", "wal", "WAL"}, {"free", "free", "free"}};
    double all = 0, before = 0;

    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
        all += (double)json_number_or(room, shares[i].key, 0);
    if (!(all > 0))
        return;
    write_text(page->out, "<svg class=\"shares\" role=\"img\" width=\"100%\" height=\"16\">"
                          "<title>Backups, WAL and what is free</title>");
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        double share = (double)json_number_or(room, shares[i].key, 0) / all * 100;
        write_format(page->out,
                     "<rect class=\"%s\" x=\"%.2f%%\" width=\"%.2f%%\" height=\"16\"><title>%s</title></rect>",
                     shares[i].class, before, share, shares[i].name);
        before += share;
    }
    write_text(page->out, "</svg>\n<ul class=\"legend\">");
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        char text[TEXT_BYTES_SIZE];
        text_format_bytes((uint64_t)json_number_or(room, shares[i].key, 0), text);
        write_format(page->out,
                     "<li><svg class=\"shares\" aria-hidden=\"true\" width=\"20\" height=\"20\">"
                     "<rect class=\"%s\" x=\"3\" y=\"4\" width=\"12\" height=\"12\"/></svg>%s %s</li>",
                     shares[i].class, shares[i].name, text);
    }
    write_text(page->out, "</ul>\n");
}

/* By the WAL of late, as the receiver foresees it. */
static void write_forecast(const struct page *page, const json_t *room)
{
    int64_t hourly = json_number_or(room, "rate", -1);
    char rate[TEXT_BYTES_SIZE];

    if (hourly <= 0)
        return;
    text_format_bytes((uint64_t)hourly, rate);
    page_fact_begin(page, "By WAL alone");
    page_format(page, "%s an hour: ", rate);
    if (json_text_or_null(room, "full_at") == NULL) {
        write_text(page->out, "room for years");
    } else {
        write_text(page->out, "full at ");
        page_time(page, room, "full_at");
    }
    page_fact_end(page);
}

static void write_days(const struct page *page, const json_t *stored)
{
    char *words SCOPED(scoped_free) = room_forecast_words(stored);

    page_fact_begin(page, "Forecast");
    page_text(page, words);
    page_fact_end(page);
}

void page_room(const struct page *page, const json_t *server)
{
    const json_t *room = json_object_get(json_object_get(server, "receiver"), "room");
    const json_t *stored = json_object_get(json_object_get(server, "survey"), "room");
    int64_t reserve = json_number_or(room, "reserve", -1);
    char text[TEXT_BYTES_SIZE];

    write_text(page->out, "<div class=\"panel\"><h3>Room</h3>\n");
    if (json_is_object(stored))
        write_shares(page, stored);
    write_text(page->out, "<dl>\n");
    write_fact(page, "Disk", json_is_object(stored) ? stored : room, "disk");
    if (json_is_object(stored))
        write_days(page, stored);
    write_forecast(page, room);
    if (reserve >= 0) {
        text_format_bytes((uint64_t)reserve, text);
        page_fact_begin(page, "Reserve");
        page_format(page, "%s are kept for WAL", text);
        page_fact_end(page);
    }
    if (!json_is_object(stored) && !json_is_object(room))
        write_text(page->out, "<dt>Disk</dt><dd>not known yet</dd>");
    write_text(page->out, "</dl></div>\n");
}

/* ---- certificates ---- */

void page_certificates_begin(const struct page *page)
{
    write_text(page->out, "<div class=\"panel\"><h3>Certificates</h3>\n<ul class=\"certificates\">\n");
}

void page_certificates_end(const struct page *page)
{
    write_text(page->out, "</ul></div>\n");
}

static void write_certificate(const struct page *page, const char *whose, const char *subject, const json_t *object,
                              const char *key)
{
    char *words SCOPED(scoped_free) = NULL;
    int64_t days;

    if (!page_days_left(page, object, key, &days))
        return;
    words = days < 0 ? memory_text("expired") : memory_text("%" PRId64 " day%s left", days, days == 1 ? "" : "s");
    write_format(page->out, "<li><p><strong>%s</strong> ", whose);
    page_badge(page, page_judge_days(days), words);
    write_text(page->out, "</p><p class=\"quiet\">");
    if (!text_is_empty(subject))
        page_format(page, "%s, ", subject);
    write_text(page->out, "until ");
    page_time(page, object, key);
    write_text(page->out, "</p></li>\n");
}

void page_certificate(const struct page *page, const char *whose, const json_t *certificate)
{
    write_certificate(page, whose, json_text_or_null(certificate, "subject"), certificate, "not_after");
}

void page_certificates(const struct page *page, const json_t *server)
{
    const json_t *receiver = json_object_get(server, "receiver");
    const json_t *client = json_object_get(receiver, "certificate");
    const json_t *served = json_object_get(receiver, "server_certificate");

    page_certificates_begin(page);
    page_certificate(page, "Client", client);
    page_certificate(page, "PostgreSQL", served);
    write_certificate(page, "Authority", NULL, receiver, "authorities_not_after");
    if (!json_is_object(client) && !json_is_object(served))
        write_text(page->out, "<li>none was seen yet</li>\n");
    page_certificates_end(page);
}
