#include "pg/refusal_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"

/* Facts about our own certificate that decide between rows with the same words. */
enum refusal_condition {
    ALWAYS,
    WITHOUT_CERTIFICATE,
    WITHOUT_COMMON_NAME,
    COMMON_NAME_DIFFERS_BY_CASE,
    COMMON_NAME_DIFFERS,
};

static const struct refusal {
    const char *words, *sqlstate;
    enum refusal_condition condition;
    enum error_kind kind;
    enum check_id check;
    const char *cause, *fix;
} refusals[] = {
#define REFUSAL(words, sqlstate, condition, kind, check, cause, fix)                                                   \
    {words, sqlstate, condition, ERROR_##kind, CHECK_ID_##check, cause, fix},
#include "pg/refusals.def"
#undef REFUSAL
};

/* What the placeholders of the table stand for. */
struct facts {
    const struct server_config *server;
    bool has_certificate;
    char role[2 * CONFIG_TEXT_SIZE];
    char passwords[CONFIG_TEXT_SIZE + 64];
    char common_name[128];
    char mapped[160]; /* as pg_ident.conf wants it */
    char certificate[CERTIFICATE_PHRASE_SIZE + CONFIG_TEXT_SIZE];
    char client[64];
};

/* ":  " SQLSTATE ": " after the severity, which may be in any language. */
static const char *find_sqlstate(const char *words)
{
    for (const char *at = strstr(words, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        size_t length = strspn(at + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (length == 5 && text_starts_with(at + 8, ": "))
            return at + 3;
    }
    return NULL;
}

void refusal_clean_words(const char *libpq_words, char ret_words[REFUSAL_WORDS_SIZE], char ret_sqlstate[6])
{
    const char *sqlstate = find_sqlstate(libpq_words);
    size_t used = 0;

    snprintf(ret_sqlstate, 6, "%.5s", sqlstate == NULL ? "" : sqlstate);
    for (const char *next = libpq_words; *next != '\0' && used + 3 < REFUSAL_WORDS_SIZE; next++) {
        if (next == sqlstate)
            next += strlen("28000: ");
        /* The LOCATION line is the last one of a verbose message. */
        if (*next == '\n' && sqlstate != NULL && text_starts_with(next + 1, "LOCATION:"))
            next += 1 + strcspn(next + 1, "\n");
        if (*next == '\0')
            break;
        if (*next != '\n' && *next != '\t')
            ret_words[used++] = *next;
        else if (used > 0 && ret_words[used - 1] != ' ') {
            ret_words[used++] = ';';
            ret_words[used++] = ' ';
        }
    }
    while (used > 0 && (ret_words[used - 1] == ' ' || ret_words[used - 1] == ';'))
        used--;
    ret_words[used] = '\0';
    text_make_printable(ret_words);
}

/* Do the pieces of `pattern`, separated by '*', occur in this order? */
static bool has_words(const char *words, const char *pattern)
{
    char piece[128];

    while (*pattern != '\0') {
        size_t length = strcspn(pattern, "*");
        snprintf(piece, sizeof piece, "%.*s", (int)length, pattern);
        words = strstr(words, piece);
        if (words == NULL)
            return false;
        words += length;
        pattern += length + (pattern[length] == '*');
    }
    return true;
}

static bool has_condition(const struct facts *facts, enum refusal_condition condition)
{
    const char *user = facts->server->settings.user;
    bool differs = strcmp(facts->common_name, user) != 0;

    switch (condition) {
    case ALWAYS:
        return true;
    case WITHOUT_CERTIFICATE:
        return !facts->has_certificate;
    case WITHOUT_COMMON_NAME:
        return facts->has_certificate && facts->common_name[0] == '\0';
    case COMMON_NAME_DIFFERS_BY_CASE:
        return facts->has_certificate && differs && strcasecmp(facts->common_name, user) == 0;
    case COMMON_NAME_DIFFERS:
        return facts->has_certificate && differs;
    }
    return false;
}

static const struct refusal *find_refusal(const struct facts *facts, const char *words, const char *sqlstate)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *refusal = &refusals[i];
        bool fits =
            refusal->words[0] == '\0' ? strcmp(refusal->sqlstate, sqlstate) == 0 : has_words(words, refusal->words);
        if (fits && has_condition(facts, refusal->condition))
            return refusal;
    }
    return NULL;
}

/* The first quoted text of the server's words that is an address is ours; libpq's own prefix names the server's. */
static void find_client(const char *words, char ret_client[64])
{
    const char *said = strstr(words, "pg_hba.conf");
    struct in6_addr binary;
    char text[INET6_ADDRSTRLEN];

    snprintf(ret_client, 64, "ADDRESS/32");
    for (const char *quote = said == NULL ? NULL : strchr(said, '"'); quote != NULL; quote = strchr(quote + 1, '"')) {
        size_t length = strcspn(quote + 1, "\"%");
        snprintf(text, sizeof text, "%.*s", length < sizeof text ? (int)length : 0, quote + 1);
        if (inet_pton(AF_INET, text, &binary) == 1) {
            snprintf(ret_client, 64, "%s/32", text);
            return;
        }
        if (inet_pton(AF_INET6, text, &binary) == 1) {
            snprintf(ret_client, 64, "%s/128", text);
            return;
        }
    }
}

/* As SQL and pg_hba.conf want a name: quoted, unless it is plain. */
static void quote_role(const char *name, char *ret_role, size_t size)
{
    size_t plain = strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789"), used = 1;

    if (plain > 0 && name[plain] == '\0' && !isdigit((unsigned char)name[0])) {
        snprintf(ret_role, size, "%s", name);
        return;
    }
    ret_role[0] = '"';
    for (; *name != '\0' && used + 4 < size; name++) {
        if (*name == '"')
            ret_role[used++] = '"';
        ret_role[used++] = *name;
    }
    ret_role[used++] = '"';
    ret_role[used] = '\0';
}

static void gather_facts(const struct server_config *server, const char *words, struct facts *ret_facts)
{
    const char *path = server->settings.tls_cert_file;
    X509 *certificate SCOPED(scoped_certificate) = NULL;
    struct error ignored = {0};

    *ret_facts = (struct facts){.server = server, .has_certificate = !text_is_empty(path)};
    find_client(words, ret_facts->client);
    quote_role(server->settings.user, ret_facts->role, sizeof ret_facts->role);
    if (text_is_empty(server->settings.password_file))
        snprintf(ret_facts->passwords, sizeof ret_facts->passwords, "~/.pgpass");
    else
        snprintf(ret_facts->passwords, sizeof ret_facts->passwords, "password_file \"%s\"",
                 server->settings.password_file);
    if (!ret_facts->has_certificate)
        snprintf(ret_facts->certificate, sizeof ret_facts->certificate, "none is configured");
    else if (!certificate_read(path, &certificate, &ignored))
        snprintf(ret_facts->certificate, sizeof ret_facts->certificate, "\"%s\", which can no longer be read", path);
    else {
        struct certificate_text text;
        char phrase[CERTIFICATE_PHRASE_SIZE];
        certificate_describe(certificate, &text);
        certificate_phrase(certificate, phrase);
        snprintf(ret_facts->common_name, sizeof ret_facts->common_name, "%s", text.common_name);
        if (strpbrk(text.common_name, " ,#\"") == NULL)
            snprintf(ret_facts->mapped, sizeof ret_facts->mapped, "%s", text.common_name);
        else
            quote_role(text.common_name, ret_facts->mapped, sizeof ret_facts->mapped);
        snprintf(ret_facts->certificate, sizeof ret_facts->certificate, "\"%s\", %s", path, phrase);
    }
}

static bool is_named(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && strncmp(name, text, length) == 0;
}

static const char *fact_named(const struct facts *facts, const char *name, size_t length,
                              char scratch[TLS_SETTING_NAME_SIZE])
{
    static const char before_setting[] = "setting:";
    const struct settings *settings = &facts->server->settings;
    const struct {
        const char *name, *value;
    } values[] = {
        {"user", settings->user},
        {"role", facts->role},
        {"host", tls_host_name(facts->server)},
        {"common_name", facts->common_name},
        {"mapped", facts->mapped},
        {"certificate", facts->certificate},
        {"client", facts->client},
        {"method", facts->has_certificate ? "cert" : "scram-sha-256"},
        {"passwords", facts->passwords},
    };

    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (is_named(values[i].name, name, length))
            return values[i].value;
    if (is_named("port", name, length)) {
        snprintf(scratch, TLS_SETTING_NAME_SIZE, "%ld", settings->port);
        return scratch;
    }
    assert(length > strlen(before_setting) && text_starts_with(name, before_setting));
    char setting[64];
    snprintf(setting, sizeof setting, "%.*s", (int)(length - strlen(before_setting)), name + strlen(before_setting));
    return tls_setting_name(facts->server, setting, scratch);
}

static void expand(const struct facts *facts, const char *text, char *ret_text, size_t size)
{
    size_t used = 0;
    char scratch[TLS_SETTING_NAME_SIZE];

    ret_text[0] = '\0';
    while (*text != '\0' && used + 1 < size) {
        size_t length = strcspn(text, "{");
        used += (size_t)snprintf(ret_text + used, size - used, "%.*s", (int)length, text);
        text += length;
        if (*text != '{' || used >= size)
            continue;
        length = strcspn(text + 1, "}");
        used += (size_t)snprintf(ret_text + used, size - used, "%s", fact_named(facts, text + 1, length, scratch));
        text += length + 2;
    }
}

static const struct refusal *find(const struct server_config *server, const char *words, const char *sqlstate,
                                  struct finding *ret_finding)
{
    struct facts facts;
    struct finding finding = {0};

    gather_facts(server, words, &facts);
    const struct refusal *refusal = find_refusal(&facts, words, sqlstate);
    if (refusal == NULL)
        return NULL;
    finding.check = refusal->check;
    finding_seen(&finding, "%s", words);
    expand(&facts, refusal->cause, finding.cause, sizeof finding.cause);
    expand(&facts, refusal->fix, finding.fix, sizeof finding.fix);
    *ret_finding = finding;
    return refusal;
}

bool refusal_find(const struct server_config *server, const char *words, const char *sqlstate,
                  struct finding *ret_finding)
{
    return find(server, words, sqlstate, ret_finding) != NULL;
}

bool refusal_explain(const struct server_config *server, const char *words, const char *sqlstate,
                     bool *ret_is_explained, struct error *err)
{
    struct finding finding;
    const struct refusal *refusal = find(server, words, sqlstate, &finding);

    *ret_is_explained = refusal != NULL;
    if (refusal != NULL)
        return finding_to_error(&finding, server, refusal->kind, words, err);
    error_set(err, ERROR_SERVER, "could not connect to server \"%s\": %s", server->name, words);
    return error_hint(err, "Look at the server's log for the same moment.");
}
