#include "pgcoffer/tls/finding.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/text.h"

#define BEFORE_WORDS " (libpq: "
#define BEHIND_WORDS ")"

#define WORD_FILES     "files"
#define WORD_NETWORK   "network"
#define WORD_HANDSHAKE "handshake"
#define WORD_STARTUP   "startup"
#define WORD_LOGIN     "login"
#define WORD_SHOW      "show"
#define WORD_SQL       "sql"
#define WORD_STORE     "store"
#define WORD_DAEMON    "daemon"
#define WORD_CLIENT    "client"
#define WORD_GATEWAY   "gateway"

enum probe_kind { POSITIVE, NEGATIVE };

const struct check_row check_rows[CHECK_COUNT] = {
#define CHECK(row_group, row_name, row_level, row_probe, row_needs, row_sentence)                                      \
    [CHECK_ID_##row_group##_##row_name] = {                                                                            \
        .id = CHECK_ID_##row_group##_##row_name,                                                                       \
        .name = #row_group "." #row_name,                                                                              \
        .group = #row_group,                                                                                           \
        .level = CHECK_LEVEL_##row_level,                                                                              \
        .level_word = WORD_##row_level,                                                                                \
        .is_negative = (row_probe) == NEGATIVE,                                                                        \
        .needs = CHECK_ID_##row_needs,                                                                                 \
        .sentence = (row_sentence),                                                                                    \
    },
#include "pgcoffer/tls/checks.def"
#undef CHECK
};

bool check_is_of_walk(enum check_id id)
{
    return check_rows[id].level < CHECK_LEVEL_DAEMON;
}

bool check_find(const char *name, enum check_id *ret_id)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (strcmp(check_rows[id].name, name) == 0) {
            *ret_id = id;
            return true;
        }
    return false;
}

void finding_seen(struct finding *finding, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(finding->seen, sizeof finding->seen, format, args);
    va_end(args);
    text_make_printable(finding->seen);
}

void finding_cause(struct finding *finding, enum check_id check, const char *format, ...)
{
    va_list args;

    finding->check = check;
    va_start(args, format);
    vsnprintf(finding->cause, sizeof finding->cause, format, args);
    va_end(args);
    text_make_printable(finding->cause);
}

void finding_fix(struct finding *finding, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(finding->fix, sizeof finding->fix, format, args);
    va_end(args);
    text_make_printable(finding->fix);
}

/* Is the first word a plain one, whose capital only marks the beginning of the sentence? */
static bool begins_with_plain_word(const char *text)
{
    size_t length = strspn(text + (text[0] != '\0'), "abcdefghijklmnopqrstuvwxyz");

    return isalpha((unsigned char)text[0]) && (text[1 + length] == ' ' || text[1 + length] == '\'');
}

/* A sentence inside a message begins in lower case and has no full stop. */
static void make_clause(const char *sentence, char *ret_clause, size_t size)
{
    snprintf(ret_clause, size, "%s", sentence);
    size_t length = strlen(ret_clause);
    if (length > 0 && ret_clause[length - 1] == '.')
        ret_clause[length - 1] = '\0';
    if (begins_with_plain_word(ret_clause))
        ret_clause[0] = (char)tolower((unsigned char)ret_clause[0]);
}

static void make_sentence(const char *clause, size_t length, char *ret_sentence, size_t size)
{
    if (length + 2 > size)
        length = size - 2;
    snprintf(ret_sentence, size, "%.*s%s", (int)length, clause, length > 0 && clause[length - 1] != '.' ? "." : "");
    if (begins_with_plain_word(ret_sentence))
        ret_sentence[0] = (char)toupper((unsigned char)ret_sentence[0]);
}

bool finding_to_plain_error(const struct finding *finding, enum error_kind kind, struct error *err)
{
    char clause[sizeof finding->cause];

    make_clause(finding->cause, clause, sizeof clause);
    error_set_cause(err, kind, "", clause, "");
    error_detail(err, "%s", finding->seen);
    error_hint(err, "%s", finding->fix);
    return error_check(err, check_rows[finding->check].name);
}

bool finding_to_error(const struct finding *finding, const struct server_config *server, enum error_kind kind,
                      const char *libpq_words, struct error *err)
{
    bool has_words = !text_is_empty(libpq_words);
    char clause[sizeof finding->cause], name[sizeof server->name + 4] = "";
    char before[sizeof err->message], behind[sizeof err->message] = "";

    make_clause(finding->cause, clause, sizeof clause);
    if (server->name[0] != '\0')
        snprintf(name, sizeof name, " \"%s\"", server->name);
    snprintf(before, sizeof before, "could not connect to server%s (%s port %ld): ", name, tls_host_name(server),
             server->settings.port);
    if (has_words)
        snprintf(behind, sizeof behind, BEFORE_WORDS "%s" BEHIND_WORDS, libpq_words);
    error_set_cause(err, kind, before, clause, behind);
    text_make_printable(err->message);
    /* The words stand in the message already. */
    if (!has_words || strncmp(finding->seen, libpq_words, sizeof finding->seen - 1) != 0)
        error_detail(err, "%s", finding->seen);
    error_hint(err, "%s", finding->fix);
    return error_check(err, check_rows[finding->check].name);
}

/* libpq's words, as they stand behind the cause; the bracket that ends them is missing where the message was cut. */
static void take_words(const char *behind, struct finding *finding)
{
    if (!text_starts_with(behind, BEFORE_WORDS))
        return;
    const char *words = behind + strlen(BEFORE_WORDS);
    size_t length = strlen(words);
    if (text_ends_with(words, BEHIND_WORDS))
        length -= strlen(BEHIND_WORDS);
    finding_seen(finding, "%.*s", (int)length, words);
}

bool finding_from_error(const struct error *err, struct finding *ret_finding)
{
    bool is_marked = err->cause_size > 0;
    const char *clause = is_marked ? err->message + err->cause_at : err->message;
    size_t length = is_marked ? err->cause_size : strlen(clause);
    struct finding finding = {0};

    if (!check_find(err->check, &finding.check))
        return false;
    make_sentence(clause, length, finding.cause, sizeof finding.cause);
    if (err->detail[0] != '\0')
        finding_seen(&finding, "%s", err->detail);
    else
        take_words(clause + length, &finding);
    finding_fix(&finding, "%s", err->hint);
    *ret_finding = finding;
    return true;
}

const char *tls_setting_name(const struct server_config *server, const char *setting,
                             char ret_text[TLS_SETTING_NAME_SIZE])
{
    if (server->is_gateway && strcmp(setting, "host") == 0)
        setting = "connect";
    if (server->name[0] != '\0') {
        snprintf(ret_text, TLS_SETTING_NAME_SIZE, "%s in section [%s]", setting, server->name);
        return ret_text;
    }
    snprintf(ret_text, TLS_SETTING_NAME_SIZE, "--%s", setting);
    for (char *at = ret_text; *at != '\0'; at++)
        if (*at == '_')
            *at = '-';
    return ret_text;
}

const char *tls_host_name(const struct server_config *server)
{
    const struct settings *settings = &server->settings;

    return text_is_empty(settings->host) ? settings->hostaddr : settings->host;
}
