#include "pg/error_response_internal.h"

#include "pg/startup_message_internal.h"
#include "pgcoffer/base/text.h"

static void keep(const char *text, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "%s", text);
    text_make_printable(ret_text);
}

static bool is_sqlstate(const char *text)
{
    return strlen(text) == 5 && strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5;
}

static void keep_field(char code, const char *text, struct startup_answer *answer)
{
    if (code == 'V' || (code == 'S' && answer->severity[0] == '\0'))
        keep(text, answer->severity, sizeof answer->severity);
    else if (code == 'C' && is_sqlstate(text))
        keep(text, answer->sqlstate, sizeof answer->sqlstate);
    else if (code == 'M')
        keep(text, answer->message, sizeof answer->message);
}

bool error_response_read(const uint8_t *bytes, size_t size, struct startup_answer *answer)
{
    while (size > 0 && bytes[0] != '\0') {
        char code = (char)*bytes++;
        size--;
        const char *text = startup_message_take_text(&bytes, &size);
        if (text == NULL)
            return startup_message_reject(answer, "an ErrorResponse with a field that does not end");
        keep_field(code, text, answer);
    }
    return size == 1 || startup_message_reject(answer, size == 0 ? "an ErrorResponse that does not end"
                                                                 : "an ErrorResponse with bytes behind its end");
}

void error_response_read_old(const uint8_t *bytes, size_t size, struct startup_answer *answer)
{
    char text[STARTUP_TEXT_SIZE];

    while (size > 0 && (bytes[size - 1] == '\n' || bytes[size - 1] == '\0'))
        size--;
    snprintf(text, sizeof text, "%.*s", (int)size, (const char *)bytes);
    text_make_printable(text);
    const char *words = strstr(text, ":  ");
    size_t severity_size = words == NULL ? 0 : (size_t)(words - text);
    if (severity_size > 0 && severity_size < sizeof answer->severity) {
        snprintf(answer->severity, sizeof answer->severity, "%.*s", (int)severity_size, text);
        words += strlen(":  ");
    } else
        words = text;
    snprintf(answer->message, sizeof answer->message, "%s", words);
    answer->kind = STARTUP_REFUSED;
}
