#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/repo_internal.h"

/* How many bytes the UTF-8 character at `text` has; 0 when it is none. */
static size_t utf8_size(const unsigned char *text)
{
    unsigned least = 0x80, most = 0xBF; /* of the second byte */
    size_t size;

    if (text[0] < 0x80)
        return 1;
    if (text[0] >= 0xC2 && text[0] <= 0xDF)
        size = 2;
    else if (text[0] >= 0xE0 && text[0] <= 0xEF)
        size = 3;
    else if (text[0] >= 0xF0 && text[0] <= 0xF4)
        size = 4;
    else
        return 0;
    /* Overlong forms, surrogates and what lies beyond Unicode. */
    if (text[0] == 0xE0)
        least = 0xA0;
    if (text[0] == 0xED)
        most = 0x9F;
    if (text[0] == 0xF0)
        least = 0x90;
    if (text[0] == 0xF4)
        most = 0x8F;
    if (text[1] < least || text[1] > most)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (text[i] < 0x80 || text[i] > 0xBF)
            return 0;
    return size;
}

json_t *repo_json_text(const char *text)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(text);

    for (size_t at = 0, size; copy[at] != '\0'; at += size) {
        size = utf8_size((unsigned char *)copy + at);
        if (size == 0) {
            copy[at] = '?';
            size = 1;
        }
    }
    return json_string(copy);
}

/* Of ASCII and of Latin 1, which terminals obey as well. */
static bool is_control(const unsigned char *character)
{
    return character[0] < ' ' || character[0] == 0x7F || (character[0] == 0xC2 && character[1] < 0xA0);
}

bool repo_is_plain_text(const char *text)
{
    for (size_t at = 0, size; text[at] != '\0'; at += size) {
        size = utf8_size((const unsigned char *)text + at);
        if (size == 0 || is_control((const unsigned char *)text + at))
            return false;
    }
    return true;
}

char *repo_hex_from_text(const char *text)
{
    size_t size = strlen(text);
    char *hex = memory_new(2 * size + 1);

    text_from_hex_bytes((const uint8_t *)text, size, hex);
    return hex;
}

bool repo_is_hex(const char *text, size_t size)
{
    return strlen(text) == size && strspn(text, "0123456789abcdef") == size;
}

char *repo_text_from_hex(const char *hex)
{
    size_t size = strlen(hex);

    if (size % 2 != 0 || !repo_is_hex(hex, size))
        return NULL;
    char *text SCOPED(scoped_free) = memory_new(size / 2 + 1);
    for (size_t i = 0; i < size; i += 2) {
        uint64_t byte = 0;
        if (!text_parse_hex(hex + i, 2, &byte) || byte == 0)
            return NULL;
        text[i / 2] = (char)byte;
    }
    return TAKE(text);
}
