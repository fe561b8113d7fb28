#include "pgcoffer/pg/sync_names.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include "pgcoffer/base/text.h"

enum token {
    TOKEN_END,
    TOKEN_NAME,
    TOKEN_NUMBER, /* a name too, where a name is due */
    TOKEN_FIRST,
    TOKEN_ANY,
    TOKEN_COMMA,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_JUNK,
};

/* A name is compared where it stands: nothing of it is stored. */
struct scanner {
    const char *at;
    enum token token;
    const char *begin; /* of the token; of a quoted name, behind the quote */
    size_t size;
    bool is_quoted;
};

/* ---- words ---- */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool begins_name(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || ((unsigned char)c & 0x80) != 0;
}

static bool continues_name(char c)
{
    return begins_name(c) || is_digit(c) || c == '$';
}

static enum token scan_quoted(struct scanner *scanner)
{
    const char *at = ++scanner->begin;

    scanner->is_quoted = true;
    for (;;) {
        at += strcspn(at, "\"");
        if (*at == '\0')
            return TOKEN_JUNK; /* the quote is not closed */
        if (at[1] != '"')
            break;
        at += 2;
    }
    scanner->size = (size_t)(at - scanner->begin);
    scanner->at = at + 1;
    return TOKEN_NAME;
}

static enum token scan_word(struct scanner *scanner)
{
    size_t size = 1;

    while (continues_name(scanner->begin[size]))
        size++;
    scanner->size = size;
    scanner->at = scanner->begin + size;
    if (size == 3 && strncasecmp(scanner->begin, "any", size) == 0)
        return TOKEN_ANY;
    if (size == 5 && strncasecmp(scanner->begin, "first", size) == 0)
        return TOKEN_FIRST;
    return TOKEN_NAME;
}

static enum token scan_sign(char c)
{
    switch (c) {
    case ',':
        return TOKEN_COMMA;
    case '(':
        return TOKEN_OPEN;
    case ')':
        return TOKEN_CLOSE;
    case '*':
        return TOKEN_NAME;
    default:
        return TOKEN_JUNK;
    }
}

static enum token scan(struct scanner *scanner)
{
    while (is_blank(*scanner->at))
        scanner->at++;
    scanner->begin = scanner->at;
    scanner->is_quoted = false;
    if (*scanner->at == '\0')
        return TOKEN_END;
    if (*scanner->at == '"')
        return scan_quoted(scanner);
    if (begins_name(*scanner->at))
        return scan_word(scanner);
    scanner->size = 1;
    if (is_digit(*scanner->at)) {
        while (is_digit(scanner->begin[scanner->size]))
            scanner->size++;
        scanner->at = scanner->begin + scanner->size;
        return TOKEN_NUMBER;
    }
    return scan_sign(*scanner->at++);
}

static void advance(struct scanner *scanner)
{
    scanner->token = scan(scanner);
}

/* ---- names ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* As pg_strcasecmp() for an ASCII `name`; of a quoted token each pair of quotes is one. */
static bool is_name(const struct scanner *scanner, const char *name)
{
    const char *end = scanner->begin + scanner->size;

    for (const char *at = scanner->begin; at < end; at++, name++) {
        if (lower(*at) != lower(*name))
            return false;
        if (*at == '"' && scanner->is_quoted)
            at++;
    }
    return *name == '\0';
}

/* A quoted star is one like any other. */
static bool is_star(const struct scanner *scanner)
{
    return scanner->size == 1 && scanner->begin[0] == '*';
}

static bool read_name(struct scanner *scanner, const char *application_name, struct sync_match *match)
{
    if (scanner->token != TOKEN_NAME && scanner->token != TOKEN_NUMBER)
        return false;
    match->listed++;
    bool is_by_star = is_star(scanner);
    match->has_star = match->has_star || is_by_star;
    if (match->position == 0 && (is_by_star || is_name(scanner, application_name))) {
        match->position = match->listed;
        match->is_by_star = is_by_star;
    }
    advance(scanner);
    return true;
}

static bool read_list(struct scanner *scanner, const char *application_name, struct sync_match *match)
{
    do {
        if (!read_name(scanner, application_name, match))
            return false;
        if (scanner->token != TOKEN_COMMA)
            return true;
        advance(scanner);
    } while (true);
}

/* ---- the whole ---- */

/* `2 (a, b)` is FIRST 2, and `2, b` are two names: what follows the number tells. */
static bool is_count(const struct scanner *scanner)
{
    struct scanner ahead = *scanner;

    return scanner->token == TOKEN_NUMBER && scan(&ahead) == TOKEN_OPEN;
}

static bool read_count(struct scanner *scanner, struct sync_match *match)
{
    char digits[12];
    uint64_t number = 0;

    if (scanner->token != TOKEN_NUMBER || scanner->size >= sizeof digits)
        return false;
    memcpy(digits, scanner->begin, scanner->size);
    digits[scanner->size] = '\0';
    if (!text_parse_unsigned(digits, INT_MAX, &number) || number == 0)
        return false;
    match->needed = (unsigned)number;
    advance(scanner);
    return true;
}

static bool read_in_brackets(struct scanner *scanner, const char *application_name, struct sync_match *match)
{
    if (!read_count(scanner, match) || scanner->token != TOKEN_OPEN)
        return false;
    advance(scanner);
    if (!read_list(scanner, application_name, match) || scanner->token != TOKEN_CLOSE)
        return false;
    advance(scanner);
    return true;
}

static bool read_all(struct scanner *scanner, const char *application_name, struct sync_match *match)
{
    bool is_any = scanner->token == TOKEN_ANY;

    match->method = is_any ? SYNC_METHOD_ANY : SYNC_METHOD_FIRST;
    match->needed = 1;
    bool has_word = is_any || scanner->token == TOKEN_FIRST;
    bool is_bracketed = has_word || is_count(scanner);
    if (has_word)
        advance(scanner);
    bool ok =
        is_bracketed ? read_in_brackets(scanner, application_name, match) : read_list(scanner, application_name, match);
    return ok && scanner->token == TOKEN_END;
}

bool sync_names_match(const char *names, const char *application_name, struct sync_match *ret_match, struct error *err)
{
    struct sync_match match = {0};
    struct scanner scanner = {.at = names};

    if (names[0] != '\0') {
        advance(&scanner);
        if (!read_all(&scanner, application_name, &match))
            return error_set(err, ERROR_SERVER, "could not read synchronous_standby_names = '%s'", names);
    }
    *ret_match = match;
    return true;
}

enum sync_state sync_match_state(const struct sync_match *match)
{
    if (match->position == 0)
        return SYNC_STATE_ASYNC;
    if (match->method == SYNC_METHOD_ANY)
        return SYNC_STATE_QUORUM;
    return match->position <= match->needed ? SYNC_STATE_SYNC : SYNC_STATE_POTENTIAL;
}

bool sync_match_is_indispensable(const struct sync_match *match)
{
    if (match->position == 0 || match->has_star)
        return false; /* of a star there may be any number */
    if (match->method == SYNC_METHOD_ANY)
        return match->needed >= match->listed;
    return match->position <= match->needed;
}

const char *sync_state_word(enum sync_state state)
{
    switch (state) {
    case SYNC_STATE_UNKNOWN:
        return "unknown";
    case SYNC_STATE_ASYNC:
        return "async";
    case SYNC_STATE_POTENTIAL:
        return "potential";
    case SYNC_STATE_SYNC:
        return "sync";
    case SYNC_STATE_QUORUM:
        return "quorum";
    }
    return "unknown";
}
