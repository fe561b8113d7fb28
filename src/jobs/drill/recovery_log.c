#include <stdio.h>
#include <string.h>

#include "jobs/drill/drill_internal.h"
#include "pgcoffer/base/text.h"

/* Copies what follows `start` in `line` up to one of `ends`; nothing when it is not there. */
static void take_behind(const char *line, const char *start, const char *ends, char *ret_text, size_t size)
{
    const char *at = strstr(line, start);

    if (at == NULL)
        return;
    at += strlen(start);
    size_t length = strcspn(at, ends);
    snprintf(ret_text, size, "%.*s", (int)(length < size ? length : size - 1), at);
}

/* The last words count: what is too much goes from the front, line by line. */
static void add_words(struct recovery_log *log, const char *line)
{
    size_t size = strlen(line);
    size_t used = strlen(log->words);

    while (used > 0 && used + size + 2 > sizeof log->words) {
        const char *next = strchr(log->words, '\n');
        size_t gone = next != NULL ? (size_t)(next - log->words) + 1 : used;
        used -= gone;
        memmove(log->words, log->words + gone, used + 1);
    }
    snprintf(log->words + used, sizeof log->words - used, "%s%s", used > 0 ? "\n" : "", line);
}

void recovery_log_tell(const struct recovery_log *log, struct error *err)
{
    char words[sizeof log->words];

    snprintf(words, sizeof words, "%s", log->words);
    for (char *at = words; (at = strchr(at, '\n')) != NULL;)
        *at = ' ';
    if (words[0] != '\0')
        error_detail(err, "%s", words);
}

enum error_kind recovery_log_kind(const char *words, enum error_kind kind)
{
    static const struct {
        const char *words;
        enum error_kind kind;
    } of_host[] = {{"No space left on device", ERROR_STORAGE},   {"Disk quota exceeded", ERROR_STORAGE},
                   {"Cannot allocate memory", ERROR_SERVER},     {"out of memory", ERROR_SERVER},
                   {"was terminated by signal 9", ERROR_SERVER}, {"was terminated by signal 15", ERROR_SERVER}};

    for (size_t i = 0; i < sizeof of_host / sizeof of_host[0]; i++)
        if (strstr(words, of_host[i].words) != NULL)
            return of_host[i].kind;
    return kind;
}

/* "could not restore file "..." from archive: child process exited with exit code 207" */
static void take_restore_command(struct recovery_log *log, const char *line)
{
    char status[8] = "";
    uint64_t number = 0;

    if (strstr(line, "could not restore file") == NULL)
        return;
    take_behind(line, "exited with exit code ", "\n ", status, sizeof status);
    if (text_parse_unsigned(status, 255, &number))
        log->restore_command = (int)number;
}

static void take_trouble(struct recovery_log *log, const char *line)
{
    bool is_end = text_starts_with(line, "FATAL:") || text_starts_with(line, "PANIC:");

    if (is_end && log->failure[0] == '\0') {
        const char *words = strchr(line, ':') + 1;
        snprintf(log->failure, sizeof log->failure, "%s", words + strspn(words, " "));
        take_restore_command(log, line);
    }
    if (is_end || text_starts_with(line, "ERROR:") || text_starts_with(line, "WARNING:") ||
        text_starts_with(line, "DETAIL:") || text_starts_with(line, "HINT:") || text_starts_with(line, "CONTEXT:") ||
        text_starts_with(line, "pgcoffer:"))
        add_words(log, line);
}

static void take_line(struct recovery_log *log, const char *line)
{
    if (!text_starts_with(line, "LOG:")) {
        take_trouble(log, line);
        return;
    }
    if (strstr(line, "restored log file \"") != NULL && strstr(line, ".history\"") == NULL) {
        log->file_count++;
        take_behind(line, "restored log file \"", "\"", log->file, sizeof log->file);
    }
    log->is_recovering |= strstr(line, "starting archive recovery") != NULL ||
                          strstr(line, "starting point-in-time recovery") != NULL ||
                          strstr(line, "starting backup recovery") != NULL;
    log->has_redo_begun |= strstr(line, "redo starts at ") != NULL;
    log->is_open |= strstr(line, "database system is ready to accept connections") != NULL;
    /* "startup process (PID 12) was terminated by signal 9: Killed" */
    if (strstr(line, "was terminated by signal") != NULL && log->failure[0] == '\0')
        take_behind(line, "LOG:  ", "\n", log->failure, sizeof log->failure);
    take_behind(line, "redo done at ", " \n", log->replayed_to, sizeof log->replayed_to);
    take_behind(line, "last completed transaction was at log time ", "\n", log->last_commit, sizeof log->last_commit);
}

/* A line that is too long is taken as far as it fits. */
void recovery_log_take(void *context, bool is_error, const char *bytes, size_t size)
{
    struct recovery_log *log = context;

    (void)is_error;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != '\n') {
            if (log->used + 1 < sizeof log->line && bytes[i] != '\0')
                log->line[log->used++] = bytes[i];
            continue;
        }
        log->line[log->used] = '\0';
        text_make_printable(log->line);
        take_line(log, log->line);
        log->used = 0;
    }
}
