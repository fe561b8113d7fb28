#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "jobs/exporter/page_internal.h"
#include "pgcoffer/base/memory.h"

#define SECOND       INT64_C(1000000)
#define REPLACEMENT  "\xef\xbf\xbd"
#define MOMENT_SIZE  23 /* "2026-11-22 01:30:06 UTC" */
#define MOMENT_SHAPE "dddd-dd-dd dd:dd:dd UTC"

/* ---- escaping ---- */

/* The code point at `text`, valid UTF-8 as jansson gives it; where it is cut short it ends at the NUL. */
static uint32_t code_point(const char *text, size_t *ret_size)
{
    unsigned char first = (unsigned char)text[0];
    size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t code = size == 1 ? first : first & (0xffu >> (size + 1));

    *ret_size = 1;
    for (; *ret_size < size && text[*ret_size] != '\0'; (*ret_size)++)
        code = code << 6 | ((unsigned char)text[*ret_size] & 0x3f);
    return code;
}

static bool is_line_end(uint32_t code)
{
    return code == '\n' || code == '\t';
}

/* Control characters, noncharacters, and what makes text run the other way. */
static bool is_forbidden(uint32_t code)
{
    return (code < 0x20 && !is_line_end(code)) || (code >= 0x7f && code < 0xa0) || (code & 0xfffe) == 0xfffe ||
           (code >= 0xfdd0 && code <= 0xfdef) || code == 0x061c || code == 0x200e || code == 0x200f ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
           (code >= 0xd800 && code < 0xe000);
}

static const char *entity_of(uint32_t code)
{
    switch (code) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return is_forbidden(code) ? REPLACEMENT : NULL;
    }
}

static void write_escaped(const struct page *page, const char *text, size_t size)
{
    const char *written = text, *end = text + size;

    while (text < end && *text != '\0') {
        size_t length;
        const char *entity = entity_of(code_point(text, &length));
        if (entity != NULL) {
            write_bytes(page->out, written, (size_t)(text - written));
            write_text(page->out, entity);
            written = text + length;
        }
        text += length;
    }
    if (text > written)
        write_bytes(page->out, written, (size_t)(text - written));
}

void page_text(const struct page *page, const char *text)
{
    if (text != NULL)
        write_escaped(page, text, strlen(text));
}

void page_format(const struct page *page, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *text SCOPED(scoped_free) = memory_text_of(format, arguments);
    va_end(arguments);
    page_text(page, text);
}

/* ---- times ---- */

static bool is_moment(const char *text)
{
    for (size_t i = 0; i < MOMENT_SIZE; i++)
        if (MOMENT_SHAPE[i] == 'd' ? !isdigit((unsigned char)text[i]) : text[i] != MOMENT_SHAPE[i])
            return false;
    return true;
}

static void write_moment(const struct page *page, const char *text)
{
    write_format(page->out, "<time datetime=\"%.10sT%.8sZ\">%.23s</time>", text, text + 11, text);
}

void page_words(const struct page *page, const char *text)
{
    const char *written = text;

    for (; *text != '\0'; text++) {
        if (!is_moment(text))
            continue;
        write_escaped(page, written, (size_t)(text - written));
        write_moment(page, text);
        written = text + MOMENT_SIZE;
        text = written - 1;
    }
    write_escaped(page, written, (size_t)(text - written));
}

void page_sentence(const struct page *page, const char *text)
{
    char *sentence SCOPED(scoped_free) = memory_copy_text(text);
    size_t size = strlen(sentence);

    if (size == 0)
        return;
    sentence[0] = (char)toupper((unsigned char)sentence[0]);
    page_words(page, sentence);
    if (strchr(".!?", sentence[size - 1]) == NULL)
        write_text(page->out, ".");
}

void page_time(const struct page *page, const json_t *object, const char *key)
{
    char *moment SCOPED(scoped_free) = moment_words(json_text_or_null(object, key), MOMENTS_SECONDS, MOMENT_LAST);

    page_words(page, moment);
}

void page_ago(const struct page *page, const json_t *object, const char *key)
{
    struct timestamp time;

    if (page->now.microseconds == 0 || !json_find_time(object, key, &time))
        return;
    int64_t seconds = (page->now.microseconds - time.microseconds) / SECOND;
    if (seconds < 0)
        return;
    if (seconds < 60)
        write_format(page->out, " (%" PRId64 " s ago)", seconds);
    else if (seconds < 7200)
        write_format(page->out, " (%" PRId64 " min ago)", seconds / 60);
    else if (seconds < 172800)
        write_format(page->out, " (%" PRId64 " h ago)", seconds / 3600);
    else
        write_format(page->out, " (%" PRId64 " days ago)", seconds / 86400);
}

/* ---- pieces ---- */

const char *page_level_word(enum level level)
{
    static const char *const words[LEVEL_COUNT] = {"good", "unknown", "warning", "bad"};

    return words[level];
}

const char *page_verdict_word(enum level level)
{
    static const char *const words[LEVEL_COUNT] = {"all well", "not known yet", "needs attention", "problem"};

    return words[level];
}

void page_badge(const struct page *page, enum level level, const char *word)
{
    const char *name = page_level_word(level);

    write_format(page->out,
                 "<span class=\"badge %s\"><svg class=\"icon\" aria-hidden=\"true\" width=\"14\" height=\"14\">"
                 "<use href=\"#is-%s\"/></svg>",
                 name, name);
    page_text(page, word);
    write_text(page->out, "</span>");
}

void page_fact_begin(const struct page *page, const char *name)
{
    write_text(page->out, "<dt>");
    page_text(page, name);
    write_text(page->out, "</dt><dd>");
}

void page_fact_end(const struct page *page)
{
    write_text(page->out, "</dd>\n");
}
