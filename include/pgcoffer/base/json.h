#ifndef PGCOFFER_BASE_JSON_H
#define PGCOFFER_BASE_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/error.h"

/*
 * Typed access to jansson objects that came from outside: a missing key and a
 * wrong type are errors with the key's name, never a crash. Kind INTEGRITY.
 * Strings stay owned by the object.
 */
static inline void scoped_json(json_t **json)
{
    json_decref(*json);
}

bool json_get_text(const json_t *object, const char *key, const char **ret_text, struct error *err) NODISCARD;
bool json_get_number(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *ret_number,
                     struct error *err) NODISCARD;
bool json_get_boolean(const json_t *object, const char *key, bool *ret_value, struct error *err) NODISCARD;
/* NULL or the default when the key is absent; a wrong type counts as absent. */
const char *json_text_or_null(const json_t *object, const char *key);
const char *json_text_or(const json_t *object, const char *key, const char *otherwise); /* also of an empty text */
int64_t json_number_or(const json_t *object, const char *key, int64_t otherwise);
bool json_is_set(const json_t *object, const char *key); /* true only for the value true */
bool json_text_is(const json_t *object, const char *key, const char *text);
/* False, and *ret_time untouched: the key is absent, or tells no time. */
bool json_find_time(const json_t *object, const char *key, struct timestamp *ret_time) NODISCARD;

/* RFC 3339; null for 0, which stands for never and for not known. New reference. */
json_t *json_time(struct timestamp time);

/* One object from `size` bytes; duplicate keys, invalid UTF-8 and trailing bytes are errors. NULL on failure. */
json_t *json_parse_object(const char *text, size_t size, struct error *err) NODISCARD;
/* Compact text without a newline, malloc'd; never NULL. */
char *json_to_line(const json_t *json);

#endif
