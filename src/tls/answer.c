#include "pgcoffer/tls/answer.h"

#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/text.h"

#define LINE_MOST         80
#define BYTES_SHOWN       4
#define ERROR_HEADER_SIZE 5
#define ERROR_LEAST       8
#define ERROR_MOST        30000 /* libpq's limit: what is longer is an old server's text */

static size_t line_size(const uint8_t *bytes, size_t size)
{
    size_t length = 0;

    while (length < size && length < LINE_MOST && bytes[length] >= ' ' && bytes[length] != 0x7f)
        length++;
    return length;
}

bool tls_answer_is_line(const uint8_t *bytes, size_t size)
{
    size_t length = line_size(bytes, size);

    return length < size || length == LINE_MOST;
}

static void describe_bytes(const uint8_t *bytes, size_t size, char *ret_words, size_t words_size)
{
    char digits[2 * BYTES_SHOWN + 1];

    /* No more of them than decided, so that the words do not depend on the pieces. */
    text_from_hex_bytes(bytes, size, digits);
    snprintf(ret_words, words_size, "bytes that begin with 0x%s", digits);
}

void tls_answer_describe(const uint8_t *bytes, size_t size, char *ret_words, size_t words_size)
{
    static const struct {
        const char *prefix, *name;
    } services[] = {{"HTTP/", "HTTP"}, {"SSH-", "SSH"}, {"RFB ", "VNC"}, {"220", "FTP or SMTP"}, {"* OK", "IMAP"}};
    size_t length = line_size(bytes, size);
    char line[LINE_MOST + 1];

    snprintf(line, sizeof line, "%.*s", (int)length, (const char *)bytes);
    text_make_printable(line);
    if (size > 0 && (bytes[0] == 0x15 || bytes[0] == 0x16))
        snprintf(ret_words, words_size, "a TLS record (0x%02x): what listens there speaks TLS from the first byte on",
                 bytes[0]);
    else if (length < 3)
        describe_bytes(bytes, length < size ? length + 1 : length, ret_words, words_size);
    else {
        snprintf(ret_words, words_size, "\"%s\"", line);
        for (size_t i = 0; i < sizeof services / sizeof *services; i++)
            if (text_starts_with(line, services[i].prefix))
                snprintf(ret_words, words_size, "\"%s\", which is %s", line, services[i].name);
    }
}

/* Of an ErrorResponse the primary message; "" when it has none. */
static void find_message(const uint8_t *fields, size_t size, char *ret_words, size_t words_size)
{
    ret_words[0] = '\0';
    while (size > 0 && fields[0] != '\0') {
        const uint8_t *end = memchr(fields, '\0', size);
        if (end == NULL)
            return;
        if (fields[0] == 'M')
            snprintf(ret_words, words_size, "%s", (const char *)fields + 1);
        size -= (size_t)(end + 1 - fields);
        fields = end + 1;
    }
}

/* An ErrorResponse of protocol 3, or 'E' and a text, as servers send it that could not fork. */
static enum tls_answer read_error(const uint8_t *bytes, size_t size, bool is_end, char *ret_words, size_t words_size)
{
    if (size < ERROR_HEADER_SIZE && !is_end)
        return TLS_ANSWER_MORE;
    size_t length = 0;
    if (size >= ERROR_HEADER_SIZE)
        length = (size_t)bytes[1] << 24 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 8 | bytes[4];
    if (length >= ERROR_LEAST && length <= ERROR_MOST) {
        bool is_whole = size >= 1 + length || size >= TLS_ANSWER_MOST;
        if (!is_whole && !is_end)
            return TLS_ANSWER_MORE;
        size_t end = size < 1 + length ? size : 1 + length;
        find_message(bytes + ERROR_HEADER_SIZE, end - ERROR_HEADER_SIZE, ret_words, words_size);
    } else {
        const uint8_t *end = memchr(bytes, '\0', size);
        if (end == NULL && size < TLS_ANSWER_MOST && !is_end)
            return TLS_ANSWER_MORE;
        size_t text_size = end == NULL ? size - 1 : (size_t)(end - bytes) - 1;
        while (text_size > 0 && bytes[text_size] == '\n')
            text_size--;
        snprintf(ret_words, words_size, "%.*s", (int)text_size, (const char *)bytes + 1);
    }
    text_make_printable(ret_words);
    return TLS_ANSWER_ERROR;
}

enum tls_answer tls_answer_read(const uint8_t *bytes, size_t size, bool is_end, char *ret_words, size_t words_size)
{
    ret_words[0] = '\0';
    if (size == 0)
        return TLS_ANSWER_MORE;
    if (size == 1 && bytes[0] == 'S')
        return TLS_ANSWER_YES;
    if (bytes[0] == 'N')
        return TLS_ANSWER_NO;
    if (bytes[0] == 'E')
        return read_error(bytes, size, is_end, ret_words, words_size);
    /* Also 'S' with more behind it: nothing may come in the clear after the yes. */
    if (!is_end && !tls_answer_is_line(bytes, size))
        return TLS_ANSWER_MORE;
    tls_answer_describe(bytes, size, ret_words, words_size);
    return TLS_ANSWER_FOREIGN;
}
