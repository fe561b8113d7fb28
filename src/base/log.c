#include "pgcoffer/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define STDERR_PATIENCE 100 /* milliseconds: a reader that is only busy */
#define MOST_RAW_LINES  64  /* of one message that is no line of ours */

static struct {
    char who[128], server[64], job[24];
    enum log_level least_level;
    enum log_format format;
    bool is_through_socket;
    int patience;  /* milliseconds that a line waits for who reads stderr, unless the one before has waited in vain */
    uint64_t lost; /* lines that the file or stderr has not taken */
} voice = {.least_level = LOG_LEVEL_INFO, .patience = STDERR_PATIENCE};

void log_set_identity(const char *who)
{
    snprintf(voice.who, sizeof voice.who, "%s", who);
}

void log_set_subject(const char *server, const char *job)
{
    snprintf(voice.server, sizeof voice.server, "%s", server != NULL ? server : "");
    snprintf(voice.job, sizeof voice.job, "%s", job != NULL ? job : "");
}

void log_set_level(enum log_level least)
{
    voice.least_level = least;
}

void log_set_format(enum log_format format)
{
    voice.format = format;
}

bool log_format_from_word(const char *word, enum log_format *ret_format)
{
    bool is_json = strcmp(word, "json") == 0;

    if (!is_json && strcmp(word, "text") != 0)
        return false;
    *ret_format = is_json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    return true;
}

bool log_through_socket(int patience_milliseconds)
{
    int type = 0;
    socklen_t size = sizeof type;

    voice.is_through_socket =
        getsockopt(STDERR_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
    if (voice.is_through_socket)
        voice.patience = patience_milliseconds;
    return voice.is_through_socket;
}

/* ---- a line goes out ---- */

static struct log_record begin(enum log_level level, const char *message)
{
    struct log_record record = {.level = level,
                                .pid = getpid(),
                                .who = voice.who,
                                .server = voice.server,
                                .job = voice.job,
                                .message = message,
                                .detail = "",
                                .hint = "",
                                .kind = "",
                                .check = ""};

    timestamp_format(clock_now(), record.time);
    return record;
}

static bool write_out(const char *line, size_t size, bool is_for_stderr)
{
    int patience = voice.lost > 0 ? 0 : voice.patience;

    if (!is_for_stderr)
        return log_file_write(line, size);
    return voice.is_through_socket ? log_stderr_send(line, size, patience) : log_stderr_write(line, size, patience);
}

static bool put(const struct log_record *record, bool is_for_stderr)
{
    bool is_for_journal = is_for_stderr && !voice.is_through_socket && log_file_stderr_is_journal();
    char text[LOG_LINE_SIZE];

    if (!voice.is_through_socket && voice.format == LOG_FORMAT_TEXT)
        return write_out(text, log_record_to_text(record, is_for_journal, text), is_for_stderr);
    char *line SCOPED(scoped_free) = log_record_to_json(record, is_for_journal);
    return write_out(line, strlen(line), is_for_stderr);
}

static bool is_stderr_in_use(void)
{
    return log_file_path()[0] == '\0';
}

static void note_loss(void)
{
    char message[LOG_LINE_SIZE];

    if (voice.lost++ > 0 || is_stderr_in_use())
        return;
    snprintf(message, sizeof message, "the log file \"%s\" takes no line: %s", log_file_path(), strerror(errno));
    struct log_record record = begin(LOG_LEVEL_ERROR, message);
    (void)!put(&record, true); /* there is nobody left to tell */
}

static bool tell_losses(void)
{
    char message[128];

    if (voice.lost == 1)
        snprintf(message, sizeof message, "1 line is missing here: it could not be written");
    else
        snprintf(message, sizeof message, "%llu lines are missing here: they could not be written",
                 (unsigned long long)voice.lost);
    struct log_record record = begin(LOG_LEVEL_WARNING, message);
    if (!put(&record, is_stderr_in_use()))
        return false;
    voice.lost = 0;
    return true;
}

static void emit(const struct log_record *record)
{
    if ((voice.lost > 0 && !tell_losses()) || !put(record, is_stderr_in_use()))
        note_loss();
}

void log_catch_up(void)
{
    if (voice.lost > 0)
        (void)!tell_losses(); /* another time */
}

/* ---- our own lines ---- */

static void PRINTF_LIKE(3, 0) write_line(enum log_level level, const json_t *figures, const char *format, va_list args)
{
    char message[LOG_LINE_SIZE];
    int errnum = errno;

    if (level > voice.least_level)
        return;
    vsnprintf(message, sizeof message, format, args);
    struct log_record record = begin(level, message);
    record.figures = figures;
    emit(&record);
    errno = errnum;
}

void log_warning(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(LOG_LEVEL_WARNING, NULL, format, args);
    va_end(args);
}

void log_info(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(LOG_LEVEL_INFO, NULL, format, args);
    va_end(args);
}

void log_debug(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(LOG_LEVEL_DEBUG, NULL, format, args);
    va_end(args);
}

void log_event(enum log_level level, json_t *figures_stolen, const char *format, ...)
{
    json_t *figures SCOPED(scoped_json) = figures_stolen;
    va_list args;

    va_start(args, format);
    write_line(level, figures, format, args);
    va_end(args);
}

void log_failed_event(enum log_level level, json_t *figures_stolen, const struct error *err)
{
    json_t *figures SCOPED(scoped_json) = figures_stolen;
    int errnum = errno;

    if (level > voice.least_level)
        return;
    struct log_record record = begin(level, err->message);
    record.detail = err->detail;
    record.hint = err->hint;
    record.kind = error_kind_word(err->kind);
    record.check = err->check;
    record.figures = figures;
    emit(&record);
    errno = errnum;
}

void log_failure(enum log_level level, const struct error *err)
{
    log_failed_event(level, NULL, err);
}

/* ---- others' lines ---- */

static void emit_raw_line(const char *line, pid_t sender)
{
    struct log_record record = begin(LOG_LEVEL_ERROR, line);
    char who[32];

    snprintf(who, sizeof who, "process %d", (int)sender);
    record.pid = sender;
    record.who = who;
    record.server = record.job = "";
    emit(&record);
}

/* A sanitizer's report, an assertion, the last words of a library: whatever was written, line by line. */
static void emit_raw(const char *bytes, size_t size, pid_t sender)
{
    char *words SCOPED(scoped_free) = strndup(bytes, size);
    char *rest = words, *line;
    int count = 0;

    if (words == NULL)
        return;
    while (count < MOST_RAW_LINES && (line = strsep(&rest, "\n")) != NULL) {
        if (line[0] == '\0')
            continue;
        emit_raw_line(line, sender);
        count++;
    }
    if (!text_is_empty(rest))
        emit_raw_line("and more, which is left out", sender);
}

void log_on_behalf(const char *bytes, size_t size, pid_t sender)
{
    struct log_record record;
    struct error ignored;
    json_t *line SCOPED(scoped_json) = NULL;

    if (size > 0 && bytes[0] == '{')
        line = json_parse_object(bytes, size, &ignored);
    if (line == NULL || !log_record_from_json(line, &record)) {
        emit_raw(bytes, size, sender);
        return;
    }
    record.pid = sender;
    emit(&record);
}
