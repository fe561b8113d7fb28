#include "pgcoffer/wal/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/text.h"

static bool refuse(struct error *err, struct timeline timeline, unsigned line, const char *why)
{
    return error_set(err, ERROR_INTEGRITY, "history of timeline %" PRIu32 ", line %u: %s", timeline.value, line, why);
}

static bool is_blank(char character)
{
    return character == ' ' || character == '\t' || character == '\r' || character == '\f' || character == '\v';
}

/* The word at *next, cut off into `ret_word`; false when it is empty or too long. Moves *next behind it. */
static bool take_word(const char **next, const char *end, char *ret_word, size_t room)
{
    const char *start = *next;

    while (*next < end && !is_blank(**next))
        (*next)++;
    size_t size = (size_t)(*next - start);
    if (size == 0 || size >= room || memchr(start, '\0', size) != NULL)
        return false;
    memcpy(ret_word, start, size);
    ret_word[size] = '\0';
    return true;
}

static const char *skip_blanks(const char *next, const char *end)
{
    while (next < end && is_blank(*next))
        next++;
    return next;
}

/*
 * "1<tab>0/3000000<tab>reason". `is_ended` tells that a newline follows: without one, a line that stops within its
 * switch point may have lost digits and is refused.
 */
static bool parse_entry(const char *next, const char *end, bool is_ended, struct history_entry *ret_entry,
                        const char **ret_why)
{
    char word[24];
    uint64_t number = 0;
    struct error ignored;

    *ret_why = "expected a timeline number";
    if (!take_word(&next, end, word, sizeof word) || !text_parse_unsigned(word, UINT32_MAX, &number) || number == 0)
        return false;
    ret_entry->timeline = (struct timeline){(uint32_t)number};

    *ret_why = "expected a switch point such as 0/3000000";
    next = skip_blanks(next, end);
    if (!take_word(&next, end, word, sizeof word) || !wal_position_parse(word, &ret_entry->switched_at, &ignored))
        return false;
    *ret_why = "it ends within the switch point";
    return is_ended || next < end;
}

static bool check_order(struct timeline own, const struct history_entry *before, const struct history_entry *entry,
                        const char **ret_why)
{
    *ret_why = "timelines must be below the history's own";
    if (entry->timeline.value >= own.value)
        return false;
    if (before == NULL)
        return true;
    *ret_why = "timelines must increase";
    if (entry->timeline.value <= before->timeline.value)
        return false;
    *ret_why = "switch points must not decrease";
    return entry->switched_at.value >= before->switched_at.value;
}

static bool parse_lines(struct timeline timeline, const char *next, const char *end, struct buffer *entries,
                        struct error *err)
{
    struct history_entry entry = {0}, before = {0};
    const char *why = NULL;

    for (unsigned line = 1; next < end; line++) {
        const char *newline = memchr(next, '\n', (size_t)(end - next));
        const char *line_end = newline != NULL ? newline : end;
        const char *start = skip_blanks(next, line_end);

        next = newline != NULL ? newline + 1 : end;
        if (start == line_end || *start == '#')
            continue;
        if (!parse_entry(start, line_end, newline != NULL, &entry, &why) ||
            !check_order(timeline, entries->used > 0 ? &before : NULL, &entry, &why))
            return refuse(err, timeline, line, why);
        if (entries->used == HISTORY_MOST_ENTRIES * sizeof entry)
            return refuse(err, timeline, line, "too many ancestors");
        if (!buffer_append(entries, &entry, sizeof entry, err))
            return false;
        before = entry;
    }
    return true;
}

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

bool history_parse(struct timeline timeline, const void *text, size_t size, struct history *ret_history,
                   struct error *err)
{
    struct buffer entries SCOPED(scoped_buffer) =
        BUFFER_WITH_LIMIT(HISTORY_MOST_ENTRIES * sizeof(struct history_entry));

    if (size > HISTORY_MOST_BYTES)
        return error_set(err, ERROR_INTEGRITY, "history of timeline %" PRIu32 " is too large: %zu bytes",
                         timeline.value, size);
    if (size > 0 && !parse_lines(timeline, text, (const char *)text + size, &entries, err))
        return false;
    if (timeline.value != 1 && entries.used == 0)
        return error_set(err, ERROR_INTEGRITY, "history of timeline %" PRIu32 " names no ancestor", timeline.value);

    *ret_history = (struct history){.timeline = timeline, .entry_count = entries.used / sizeof(struct history_entry)};
    ret_history->entries = (struct history_entry *)(void *)TAKE(entries.bytes);
    return true;
}

void history_done(struct history *history)
{
    free(history->entries);
    *history = (struct history){0};
}

static const struct history_entry *find(const struct history *history, struct timeline timeline)
{
    for (size_t i = 0; i < history->entry_count; i++)
        if (history->entries[i].timeline.value == timeline.value)
            return &history->entries[i];
    return NULL;
}

bool history_contains(const struct history *history, struct timeline timeline)
{
    return history->timeline.value == timeline.value || find(history, timeline) != NULL;
}

bool history_switch_point(const struct history *history, struct timeline timeline, struct wal_position *ret_position)
{
    const struct history_entry *entry = find(history, timeline);

    if (entry == NULL)
        return false;
    *ret_position = entry->switched_at;
    return true;
}

bool history_passes(const struct history *history, struct timeline timeline, struct wal_position position)
{
    struct wal_position switched_at;

    if (!history_contains(history, timeline))
        return false;
    return !history_switch_point(history, timeline, &switched_at) || position.value <= switched_at.value;
}

bool history_next(const struct history *history, struct timeline timeline, struct timeline *ret_next)
{
    const struct history_entry *entry = find(history, timeline);

    if (entry == NULL)
        return false;
    bool is_last = entry == &history->entries[history->entry_count - 1];
    *ret_next = is_last ? history->timeline : entry[1].timeline;
    return true;
}

struct timeline history_timeline_at(const struct history *history, struct wal_position position)
{
    for (size_t i = 0; i < history->entry_count; i++)
        if (position.value < history->entries[i].switched_at.value)
            return history->entries[i].timeline;
    return history->timeline;
}

bool history_is_same(const struct history *one, const struct history *other)
{
    if (one->timeline.value != other->timeline.value || one->entry_count != other->entry_count)
        return false;
    for (size_t i = 0; i < one->entry_count; i++)
        if (one->entries[i].timeline.value != other->entries[i].timeline.value ||
            one->entries[i].switched_at.value != other->entries[i].switched_at.value)
            return false;
    return true;
}

const struct history *histories_find(const struct history *histories, size_t count, struct timeline timeline)
{
    for (size_t i = 0; i < count; i++)
        if (histories[i].timeline.value == timeline.value)
            return &histories[i];
    return NULL;
}
