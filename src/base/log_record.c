#include <string.h>

#include "base/log_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

static const struct {
    const char *word;
    int journal_priority; /* syslog(3) */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

bool log_level_from_word(const char *word, enum log_level *ret_level)
{
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
        if (strcmp(levels[level].word, word) == 0) {
            *ret_level = (enum log_level)level;
            return true;
        }
    }
    return false;
}

/* ---- text ---- */

static size_t write_head(const struct log_record *record, bool is_for_journal, char line[LOG_LINE_SIZE])
{
    const char *separator = record->who[0] == '\0' ? "" : ": ";

    if (is_for_journal)
        return (size_t)snprintf(line, LOG_LINE_SIZE, "<%d>%s%s", levels[record->level].journal_priority, record->who,
                                separator);
    return (size_t)snprintf(line, LOG_LINE_SIZE, "%s %-7s %s%s", record->time, levels[record->level].word, record->who,
                            separator);
}

size_t log_record_to_text(const struct log_record *record, bool is_for_journal, char ret_line[LOG_LINE_SIZE])
{
    const char *before_detail = record->detail[0] != '\0' ? "; detail: " : "";
    const char *before_hint = record->hint[0] != '\0' ? "; hint: " : "";
    size_t used = write_head(record, is_for_journal, ret_line);

    snprintf(ret_line + used, LOG_LINE_SIZE - used - 1, "%s%s%s%s%s", record->message, before_detail, record->detail,
             before_hint, record->hint);
    text_make_printable(ret_line);
    used = strlen(ret_line);
    ret_line[used++] = '\n';
    ret_line[used] = '\0';
    return used;
}

/* ---- JSON ---- */

/* The same characters as in a line of text, so that what is shown of it moves no cursor either. */
static json_t *printable(const char *text)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(text);

    text_make_printable(copy);
    text_make_valid(copy);
    return json_string(copy);
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(object, key, printable(text));
}

static bool is_own_key(const char *key)
{
    static const char *const keys[] = {"time",    "level",  "pid",  "who",  "server", "job",
                                       "message", "detail", "hint", "kind", "check"};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static void set_figures(json_t *object, const json_t *figures)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)figures, key, value)
    {
        bool is_set = json_object_get(object, key) != NULL;
        if (is_own_key(key) && is_set)
            continue;
        if (json_is_string(value))
            json_object_set_new(object, key, printable(json_string_value(value)));
        else
            json_object_set(object, key, value);
    }
}

char *log_record_to_json(const struct log_record *record, bool is_for_journal)
{
    json_t *object SCOPED(scoped_json) = json_object();
    char priority[8] = "";

    set_text(object, "time", record->time);
    set_text(object, "level", levels[record->level].word);
    json_object_set_new(object, "pid", json_integer(record->pid));
    set_text(object, "who", record->who);
    set_text(object, "server", record->server);
    set_text(object, "job", record->job);
    set_text(object, "message", record->message);
    set_text(object, "detail", record->detail);
    set_text(object, "hint", record->hint);
    set_text(object, "kind", record->kind);
    set_text(object, "check", record->check);
    set_figures(object, record->figures);
    char *text SCOPED(scoped_free) = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (text == NULL)
        abort();
    if (is_for_journal)
        snprintf(priority, sizeof priority, "<%d>", levels[record->level].journal_priority);
    return memory_text("%s%s\n", priority, text);
}

/* A figure is a text, a number or a boolean: whoever sends more shall not make others parse it. */
static bool has_plain_figures(const json_t *line)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)line, key, value)
    {
        if (!is_own_key(key) && (json_is_object(value) || json_is_array(value)))
            return false;
    }
    return true;
}

bool log_record_from_json(const json_t *line, struct log_record *ret_record)
{
    const char *level = json_text_or_null(line, "level"), *message = json_text_or_null(line, "message");
    const char *time = json_text_or(line, "time", "");
    struct log_record record = {.pid = (pid_t)json_number_or(line, "pid", 0),
                                .who = json_text_or(line, "who", ""),
                                .server = json_text_or(line, "server", ""),
                                .job = json_text_or(line, "job", ""),
                                .message = message,
                                .detail = json_text_or(line, "detail", ""),
                                .hint = json_text_or(line, "hint", ""),
                                .kind = json_text_or(line, "kind", ""),
                                .check = json_text_or(line, "check", ""),
                                .figures = line};
    struct timestamp ignored_time;
    struct error ignored;

    if (level == NULL || message == NULL || !log_level_from_word(level, &record.level) ||
        strlen(time) >= sizeof record.time || !timestamp_parse(time, &ignored_time, &ignored) ||
        !has_plain_figures(line))
        return false;
    snprintf(record.time, sizeof record.time, "%s", time);
    *ret_record = record;
    return true;
}
