#include "pgcoffer/base/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define WORD_SIZE     64
#define MOST_DISTANCE 2
#define NAME_SIZE     63

bool text_is_empty(const char *text)
{
    return text == NULL || text[0] == '\0';
}

bool text_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *text, const char *suffix)
{
    size_t size = strlen(text);
    size_t suffix_size = strlen(suffix);

    return size >= suffix_size && memcmp(text + size - suffix_size, suffix, suffix_size) == 0;
}

bool text_parse_unsigned(const char *text, uint64_t most, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (text[0] == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (!isdigit((unsigned char)*text))
            return false;
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, *text - '0', &number))
            return false;
    }
    if (number > most)
        return false;
    *ret_number = number;
    return true;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

bool text_parse_hex(const char *digits, size_t count, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (count == 0 || count > 16)
        return false;
    for (size_t i = 0; i < count; i++) {
        int value = hex_value(digits[i]);
        if (value < 0)
            return false;
        number = number << 4 | (uint64_t)value;
    }
    *ret_number = number;
    return true;
}

void text_from_hex_bytes(const uint8_t *bytes, size_t size, char *ret_hex)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *ret_hex++ = digits[bytes[i] >> 4];
        *ret_hex++ = digits[bytes[i] & 15];
    }
    *ret_hex = '\0';
}

static size_t least_of(size_t first, size_t second)
{
    return first < second ? first : second;
}

/* Edits between two words shorter than WORD_SIZE; two letters swapped count as one. */
static size_t edit_distance(const char *left, const char *right)
{
    size_t rows[3][WORD_SIZE];
    size_t left_size = strlen(left);
    size_t right_size = strlen(right);

    for (size_t j = 0; j <= right_size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= left_size; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= right_size; j++) {
            row[j] = least_of(above[j - 1] + (left[i - 1] != right[j - 1]), least_of(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1])
                row[j] = least_of(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[left_size % 3][right_size];
}

const char *text_closest(const char *word, const char *const *names, size_t count)
{
    const char *closest = NULL;
    size_t size = strlen(word);
    /* A word of which nothing would remain is close to everything. */
    size_t closest_distance = least_of(MOST_DISTANCE, size > 0 ? size - 1 : 0) + 1;

    if (size >= WORD_SIZE)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) >= WORD_SIZE)
            continue;
        size_t distance = edit_distance(word, names[i]);
        if (distance < closest_distance) {
            closest_distance = distance;
            closest = names[i];
        }
    }
    return closest;
}

void text_format_bytes(uint64_t bytes, char ret_text[TEXT_BYTES_SIZE])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(ret_text, TEXT_BYTES_SIZE, "%u bytes", (unsigned)bytes);
        return;
    }
    double value = (double)bytes / 1024;
    while (value >= 1023.5 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(ret_text, TEXT_BYTES_SIZE, "%.*f %s", value < 99.95 ? 1 : 0, value, units[unit]);
}

void text_format_duration(double seconds, char ret_text[TEXT_DURATION_SIZE])
{
    if (!(seconds >= 0))
        seconds = 0;
    if (seconds > 1e12)
        seconds = 1e12;
    if (seconds < 59.95) {
        snprintf(ret_text, TEXT_DURATION_SIZE, "%.1fs", seconds);
        return;
    }
    uint64_t whole = (uint64_t)(seconds + 0.5);
    unsigned long long hours = whole / 3600;
    unsigned minutes = (unsigned)(whole / 60 % 60);
    if (hours == 0)
        snprintf(ret_text, TEXT_DURATION_SIZE, "%um%02us", minutes, (unsigned)(whole % 60));
    else
        snprintf(ret_text, TEXT_DURATION_SIZE, "%lluh%02um", hours, minutes);
}

void text_make_printable(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at != '\0'; at++) {
        if (*at < ' ' || *at == 0x7f) {
            *at = '?';
        } else if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0) { /* the same controls in UTF-8 */
            *at++ = '?';
            *at = '?';
        }
    }
}

/* Length of the valid UTF-8 sequence at `at`, 0 when there is none. */
static size_t sequence_size(const unsigned char *at)
{
    size_t size;
    uint32_t code;

    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xc2 && at[0] < 0xe0) {
        size = 2;
        code = at[0] & 0x1fu;
    } else if (at[0] >= 0xe0 && at[0] < 0xf0) {
        size = 3;
        code = at[0] & 0x0fu;
    } else if (at[0] >= 0xf0 && at[0] < 0xf5) {
        size = 4;
        code = at[0] & 0x07u;
    } else {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) /* also the final NUL */
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    bool is_overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
    bool is_surrogate = code >= 0xd800 && code < 0xe000;
    return is_overlong || is_surrogate || code > 0x10ffff ? 0 : size;
}

void text_make_valid(char *text)
{
    unsigned char *at = (unsigned char *)text;

    while (*at != '\0') {
        size_t size = sequence_size(at);
        if (size == 0)
            *at = '?';
        at += size > 0 ? size : 1;
    }
}

bool text_is_loopback(const char *host)
{
    struct in6_addr six;
    struct in_addr four;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

bool text_is_server_name(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > NAME_SIZE || !isalnum((unsigned char)text[0]))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '_' && text[i] != '-')
            return false;
    return true;
}
