#ifndef PGCOFFER_CONFIG_INI_H
#define PGCOFFER_CONFIG_INI_H

#include <stddef.h>

#include "pgcoffer/base/error.h"

/*
 * The INI reader: `[section]`, `key = value`, comments from # or ; at the start
 * of a line or after a blank, values bare or in double quotes (with \" and \\).
 * A line has at most INI_LINE_SIZE bytes; NUL and other control characters are errors.
 * It knows nothing of settings: every pair is handed to `pair`, in order.
 */
#define INI_LINE_SIZE 4096

struct ini_place {
    const char *file;
    unsigned line;
};

typedef bool ini_pair_function(void *context, const struct ini_place *place, const char *section, const char *key,
                               const char *value, struct error *err);

struct ini_handler {
    /* A section begins; called also for an empty one. */
    bool (*section)(void *context, const struct ini_place *place, const char *section, struct error *err);
    ini_pair_function *pair;
    void *context;
};

bool ini_parse(const char *text, size_t size, const char *file_name, const struct ini_handler *handler,
               struct error *err) NODISCARD;

#endif
