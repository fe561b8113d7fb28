#ifndef PGCOFFER_BASE_LOG_H
#define PGCOFFER_BASE_LOG_H

#include "pgcoffer/base/error.h"

/*
 * The program's one voice, used by main(), the daemon and the jobs' top
 * functions only: library code is silent and returns errors. Lines go to
 * stderr. Under systemd (JOURNAL_STREAM is set) each carries a "<N>" priority,
 * otherwise a time and the level. One line an event, never more.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* `who` is the role and the server, as "receive primary"; copied. */
void log_set_identity(const char *who);
void log_set_level(enum log_level least);
bool log_level_from_word(const char *word, enum log_level *ret_level);

void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);
/* message, detail and hint of a failure in one line. */
void log_failure(enum log_level level, const struct error *err);

#endif
