#include "pgcoffer/base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/text.h"

static const json_t *find(const json_t *object, const char *key, struct error *err)
{
    const json_t *value = json_object_get(object, key);

    if (value == NULL)
        error_set(err, ERROR_INTEGRITY, "\"%s\" is missing", key);
    return value;
}

bool json_get_text(const json_t *object, const char *key, const char **ret_text, struct error *err)
{
    const json_t *value = find(object, key, err);

    if (value == NULL)
        return false;
    if (!json_is_string(value))
        return error_set(err, ERROR_INTEGRITY, "\"%s\" is not a text", key);
    *ret_text = json_string_value(value);
    return true;
}

bool json_get_number(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *ret_number,
                     struct error *err)
{
    const json_t *value = find(object, key, err);

    if (value == NULL)
        return false;
    if (!json_is_integer(value))
        return error_set(err, ERROR_INTEGRITY, "\"%s\" is not a whole number", key);
    int64_t number = json_integer_value(value);
    if (number < least || number > most)
        return error_set(err, ERROR_INTEGRITY, "\"%s\" is %lld, not between %lld and %lld", key, (long long)number,
                         (long long)least, (long long)most);
    *ret_number = number;
    return true;
}

bool json_get_boolean(const json_t *object, const char *key, bool *ret_value, struct error *err)
{
    const json_t *value = find(object, key, err);

    if (value == NULL)
        return false;
    if (!json_is_boolean(value))
        return error_set(err, ERROR_INTEGRITY, "\"%s\" is neither true nor false", key);
    *ret_value = json_is_true(value);
    return true;
}

const char *json_text_or_null(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

const char *json_text_or(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_text_or_null(object, key);

    return text_is_empty(text) ? otherwise : text;
}

bool json_text_is(const json_t *object, const char *key, const char *text)
{
    const char *found = json_text_or_null(object, key);

    return found != NULL && strcmp(found, text) == 0;
}

bool json_find_time(const json_t *object, const char *key, struct timestamp *ret_time)
{
    const char *text = json_text_or_null(object, key);
    struct error ignored;

    return text != NULL && timestamp_parse(text, ret_time, &ignored);
}

json_t *json_time(struct timestamp time)
{
    char text[TIMESTAMP_TEXT_SIZE];

    if (time.microseconds == 0)
        return json_null();
    timestamp_format(time, text);
    return json_string(text);
}

int64_t json_number_or(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? (int64_t)json_integer_value(value) : otherwise;
}

bool json_is_set(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

json_t *json_parse_object(const char *text, size_t size, struct error *err)
{
    json_error_t failure;
    json_t *json SCOPED(scoped_json) = json_loadb(text, size, JSON_REJECT_DUPLICATES, &failure);

    if (json == NULL) {
        text_make_printable(failure.text);
        error_set(err, ERROR_INTEGRITY, "could not parse JSON: %s (line %d, byte %d)", failure.text, failure.line,
                  failure.position);
        return NULL;
    }
    if (!json_is_object(json)) {
        error_set(err, ERROR_INTEGRITY, "could not parse JSON: not an object");
        return NULL;
    }
    return TAKE(json);
}

char *json_to_line(const json_t *json)
{
    char *line = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

    if (line == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return line;
}
