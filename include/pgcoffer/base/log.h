#ifndef PGCOFFER_BASE_LOG_H
#define PGCOFFER_BASE_LOG_H

#include <sys/types.h>

#include "pgcoffer/base/json.h"

/*
 * The program's one voice, used by main(), the daemon and the jobs' top
 * functions only: library code is silent and returns errors. One line an
 * event, never more.
 *
 * A line goes to stderr, or to the file of log_open_file(). As text it carries
 * a time and the level; on the journal's own stream (JOURNAL_STREAM names what
 * stderr is) a "<N>" priority in their place. As JSON it is one object with
 * "time", "level", "pid", "who", "server", "job", "message", "detail", "hint",
 * "kind" and "check", as far as known, and the figures of the event.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* `who` is the role and the server, as "receive primary"; copied. */
void log_set_identity(const char *who);
/* What every line of this process is about, for JSON; NULL: nothing of the kind. Copied. */
void log_set_subject(const char *server, const char *job);
void log_set_level(enum log_level least);
bool log_level_from_word(const char *word, enum log_level *ret_level);
void log_set_format(enum log_format format);
bool log_format_from_word(const char *word, enum log_format *ret_format);

void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);
/* message, detail and hint of a failure in one line. */
void log_failure(enum log_level level, const struct error *err);
/* The same with figures, an object whose keys become those of a JSON line; as text the words must tell them. */
void log_event(enum log_level level, json_t *figures_stolen, const char *format, ...) PRINTF_LIKE(3, 4);
void log_failed_event(enum log_level level, json_t *figures_stolen, const struct error *err);

/*
 * Lines go to the end of that file from now on, which is made with mode 0640 if need be; "": to stderr again. Called
 * with the path in use it opens anew what bears the name now. On failure all stays as it was. A line that cannot be
 * written, or that stderr does not take within 100 ms, is counted: stderr is told the first time of the file's, and
 * how many they were is told as soon as lines are taken again.
 */
bool log_open_file(const char *path, struct error *err) NODISCARD;
/* The path in use; "" for stderr. */
const char *log_file_path(void);
/* Tells of lines that are missing, if there are any, without waiting for the next line. */
void log_catch_up(void);

/*
 * Between processes: whose stderr is a socket of the kind SOCK_SEQPACKET sends its lines there as JSON, whatever the
 * format, so that one process writes all lines (false: stderr is something else). That one hands over what it receives
 * to log_on_behalf(): a line of ours, or anything else that a process says on its stderr, then one line each. A line
 * waits for so long when that one does not read; those after it do not wait until one is taken again.
 */
bool log_through_socket(int patience_milliseconds);
void log_on_behalf(const char *bytes, size_t size, pid_t sender);

#endif
