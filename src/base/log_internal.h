#ifndef PGCOFFER_SRC_BASE_LOG_INTERNAL_H
#define PGCOFFER_SRC_BASE_LOG_INTERNAL_H

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/log.h"

/* ---- a line, before it has a form (log_record.c) ---- */

#define LOG_LINE_SIZE 8192 /* the longest as text, with its newline */

struct log_record {
    char time[TIMESTAMP_TEXT_SIZE];
    enum log_level level;
    pid_t pid;
    const char *who, *server, *job;                     /* "": none */
    const char *message, *detail, *hint, *kind, *check; /* any bytes; "": none */
    const json_t *figures;                              /* NULL: none */
};

/* With its newline and printable throughout; the number of bytes. */
size_t log_record_to_text(const struct log_record *record, bool is_for_journal, char ret_line[LOG_LINE_SIZE]);
/* The same as one object; malloc'd. */
char *log_record_to_json(const struct log_record *record, bool is_for_journal);
/* A line of log_record_to_json() that another process sent; *ret_record points into it. False: it is none. */
bool log_record_from_json(const json_t *line, struct log_record *ret_record);

/* ---- where lines go (log_file.c) ---- */

bool log_file_stderr_is_journal(void);
/* To the file in use. Whole or not at all; false with errno. */
bool log_file_write(const char *line, size_t size);

/* ---- stderr, which perhaps nobody reads (log_stderr.c) ---- */

/* False with errno: it was not taken within that time. Of a line that is taken in part the rest goes before the next.
 */
bool log_stderr_write(const char *line, size_t size, int patience_milliseconds);
/* The same as one message to a socket of the kind SOCK_SEQPACKET. */
bool log_stderr_send(const char *line, size_t size, int patience_milliseconds);

#endif
