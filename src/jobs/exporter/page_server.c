#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/exporter/page_internal.h"
#include "pgcoffer/base/memory.h"

#define OLD_END INT64_C(300000000) /* microseconds */

/* Each once, as they come. */
static void write_reasons(const struct page *page, const struct reasons *reasons)
{
    const json_t *word;
    size_t i;

    page_badge(page, reasons->level, page_verdict_word(reasons->level));
    json_array_foreach(reasons->words, i, word)
    {
        write_text(page->out, i == 0 ? " <span class=\"reasons\">" : "; ");
        page_text(page, json_string_value(word));
    }
    if (json_array_size(reasons->words) > 0)
        write_text(page->out, "</span>");
}

static void write_verdict(const struct page *page, const json_t *survey)
{
    const json_t *restorable = json_object_get(survey, "restorable");

    if (!json_is_object(restorable)) {
        write_text(page->out, "<p class=\"verdict\">What can be restored is not known yet.</p>\n");
        return;
    }
    struct restorable_words words SCOPED(restorable_words_done) = restorable_words(restorable, MOMENTS_SECONDS);
    write_text(page->out, "<p class=\"verdict\">");
    words.can[0] = (char)toupper((unsigned char)words.can[0]);
    page_words(page, words.can);
    if (json_is_object(json_object_get(survey, "error"))) {
        write_text(page->out, " (as of ");
        page_time(page, survey, "at");
        write_text(page->out, ")");
    }
    if (words.cannot[0] != '\0') {
        write_text(page->out, "<span class=\"but\">");
        page_words(page, words.cannot);
        write_text(page->out, ".</span></p>\n");
    } else {
        write_text(page->out, ".</p>\n");
    }
}

static void write_sentence(const struct page *page, const char *class, char *words_stolen)
{
    char *words SCOPED(scoped_free) = words_stolen;

    if (words == NULL)
        return;
    write_format(page->out, "<li class=\"%s\">", class);
    page_sentence(page, words);
    write_text(page->out, "</li>\n");
}

static bool is_failure(const json_t *proofs, enum proof_sentence sentence)
{
    const json_t *drill = json_object_get(proofs, "drill"), *verify = json_object_get(proofs, "verify");

    switch (sentence) {
    case PROOF_DRILL:
        return json_is_object(drill) && !json_is_set(drill, "good");
    case PROOF_VERIFY:
        return json_is_object(verify) && !json_is_set(verify, "good");
    case PROOF_FAILED:
    case PROOF_UNREADABLE:
        return true;
    case PROOF_SENTENCE_COUNT:
        break;
    }
    return false;
}

static void write_last_backup(const struct page *page, const json_t *backup, int64_t count)
{
    const char *id = json_text_or_null(backup, "id"), *label = json_text_or(backup, "label", "");
    bool has_label = label[0] != '\0';

    if (id == NULL)
        return;
    write_text(page->out, "<li>");
    if (count > 1)
        write_format(page->out, "%" PRId64 " backups, the last: ", count);
    else
        write_text(page->out, "Last backup: ");
    page_format(page, "%s%s%s%s, %s, at ", id, has_label ? " \"" : "", label, has_label ? "\"" : "",
                json_text_or(backup, "state", "?"));
    page_time(page, backup, "stopped_at");
    page_ago(page, backup, "stopped_at");
    write_text(page->out, ".</li>\n");
}

/* The end of what can be restored moves along with what comes in; when it does not, that is said. */
static void write_old_end(const struct page *page, const json_t *restorable)
{
    const json_t *windows = json_object_get(restorable, "windows");
    const json_t *last = json_array_get(windows, json_array_size(windows) - 1);
    struct timestamp until;

    if (!json_find_time(last, "until", &until) || page->now.microseconds - until.microseconds < OLD_END)
        return;
    write_text(page->out, "<li>The last moment that can be restored is ");
    page_time(page, last, "until");
    page_ago(page, last, "until");
    write_text(page->out, ": nothing was committed since, or nothing vouches for it.</li>\n");
}

static void write_stored(const struct page *page, const json_t *server, const char *name)
{
    const json_t *survey = json_object_get(server, "survey"), *proofs = json_object_get(survey, "proofs");

    write_text(page->out, "<ul class=\"stored\">\n");
    write_old_end(page, json_object_get(survey, "restorable"));
    write_last_backup(page, json_object_get(server, "last_backup"),
                      json_number_or(json_object_get(survey, "backups"), "count", 0));
    for (enum proof_sentence sentence = 0; sentence < PROOF_SENTENCE_COUNT; sentence++)
        write_sentence(page, is_failure(proofs, sentence) ? "bad" : "",
                       proof_words(name, proofs, sentence, MOMENTS_SECONDS));
    write_sentence(page, json_is_object(json_object_get(survey, "error")) ? "bad" : "",
                   survey_trouble_words(survey, MOMENTS_SECONDS));
    if (json_text_or_null(survey, "at") != NULL) {
        write_text(page->out, "<li class=\"quiet\">What is stored was looked at on ");
        page_time(page, survey, "at");
        page_ago(page, survey, "at");
        write_text(page->out, ".</li>\n");
    }
    write_text(page->out, "</ul>\n");
}

/* The server's last errors, and what to type next. */
static void write_faults(const struct page *page, const json_t *server, const char *name)
{
    const json_t *receiver = json_object_get(server, "receiver");
    enum level level = page_judge_receiver(json_text_or_null(receiver, "state"));

    page_fault(page, level > LEVEL_WARNING ? level : LEVEL_WARNING, "receiver", json_object_get(receiver, "error"));
    page_fault(page, LEVEL_WARNING, "receiver warns", json_object_get(receiver, "warning"));
    page_fault(page, LEVEL_WARNING, "survey", json_object_get(json_object_get(server, "survey"), "error"));
    page_failures(page, name);
}

void page_server(const struct page *page, const json_t *server, size_t number)
{
    struct reasons reasons SCOPED(reasons_done) = page_judge_server(page, server);
    const char *name = json_text_or(server, "server", "?");

    write_format(page->out,
                 "<section id=\"server-%zu\" class=\"card %s\" aria-labelledby=\"name-%zu\">\n<h2 id=\"name-%zu\">",
                 number, page_level_word(reasons.level), number, number);
    page_text(page, name);
    write_text(page->out, "</h2>\n");
    write_verdict(page, json_object_get(server, "survey"));
    write_text(page->out, "<p class=\"state\">");
    write_reasons(page, &reasons);
    write_text(page->out, "</p>\n");
    page_timeline(page, server, number);
    write_stored(page, server, name);
    write_text(page->out, "<div class=\"panels\">\n");
    page_wal(page, server);
    page_jobs(page, name);
    page_certificates(page, server);
    page_room(page, server);
    write_text(page->out, "</div>\n");
    write_faults(page, server, name);
    write_text(page->out, "</section>\n");
}
