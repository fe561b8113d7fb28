#ifndef PGCOFFER_BASE_ERROR_H
#define PGCOFFER_BASE_ERROR_H

#include <stdbool.h>

#include "pgcoffer/base/attributes.h"

/*
 * One failure, told in one place.
 *
 * A function that can fail returns bool and takes `struct error *err` last.
 * On failure it fills *err and returns false; on success it leaves *err alone.
 * Each caller may add one line of context with error_wrap() and returns false
 * in turn. Only main() and the daemon's job loop print or log it.
 *
 * The struct holds no pointers, so reporting a failure can never itself fail.
 * Messages read as PostgreSQL's: "could not open ...", lower case, no full
 * stop. Hints are sentences and say what to type or change next.
 */
enum error_kind {
#define ERROR_KIND(name, status, word) ERROR_##name,
#include "pgcoffer/base/error_kinds.def"
#undef ERROR_KIND
    ERROR_KIND_COUNT
};

struct error {
    enum error_kind kind;
    int errnum;                    /* errno at the time, or 0 */
    char message[2048];            /* "could not open \"base.tar.zst\": No such file or directory" */
    char detail[1024];             /* what was seen: a certificate, the server's own words; may be empty */
    char hint[1024];               /* what the operator could try next; may be empty */
    char check[32];                /* the name of the check that tells this fault ("expiry.server"), or "" */
    unsigned cause_at, cause_size; /* where in the message the cause stands; size 0: it is not marked */
};

/* All of these return false, so a failing path is one line long. */
bool error_set(struct error *err, enum error_kind kind, const char *format, ...) PRINTF_LIKE(3, 4);
/* Appends ": strerror(errno)" and keeps errno; the kind is STORAGE. */
bool error_set_errno(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);
bool error_set_kind_errno(struct error *err, enum error_kind kind, const char *format, ...) PRINTF_LIKE(3, 4);
/* The message is `before`, `cause` and `behind`, one after the other; the cause is marked. */
bool error_set_cause(struct error *err, enum error_kind kind, const char *before, const char *cause,
                     const char *behind);
/* Puts "context: " before the message; a marked cause stays marked, as far as it still fits. */
bool error_wrap(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);
bool error_detail(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);
bool error_hint(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);
bool error_check(struct error *err, const char *name);

int error_exit_status(const struct error *err);
const char *error_kind_word(enum error_kind kind);
/* FAILED for a word that is not in the table: a newer peer may know more kinds. */
enum error_kind error_kind_from_word(const char *word);

#endif
