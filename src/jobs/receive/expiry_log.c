#include "jobs/receive/expiry_log_internal.h"

#include <string.h>

#include "pgcoffer/base/log.h"
#include "pgcoffer/tls/finding.h"

#define SECOND INT64_C(1000000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

/* Of what a server sends behind its certificate; whoever sends more does not do so to be understood. */
#define MOST_SERVED_CHAIN 8

/* One that ends, whatever it is. */
struct ending {
    char what[CONFIG_TEXT_SIZE + 256]; /* "the client certificate in /etc/..." */
    const char *subject, *name;
    enum check_id check;
    struct timestamp not_after;
    const char *fix;
};

static bool is_served(const struct inventory_entry *entry)
{
    return (entry->kind == INVENTORY_SERVED || entry->kind == INVENTORY_SERVED_CHAIN) &&
           entry->state != INVENTORY_UNKNOWN;
}

static bool is_same_text(const char *left, const char *right)
{
    return strcmp(left, right) == 0;
}

static bool authority_matters(const struct inventory *inventory, const struct inventory_entry *authority)
{
    unsigned authorities = 0;
    bool is_needed = false;

    for (size_t i = 0; i < inventory->count; i++) {
        const struct inventory_entry *other = &inventory->entries[i];
        bool is_newer = other->text.not_after.microseconds > authority->text.not_after.microseconds;
        authorities += other->kind == INVENTORY_AUTHORITY;
        is_needed = is_needed || (is_served(other) && is_same_text(other->text.issuer, authority->text.subject));
        if (other->kind == INVENTORY_AUTHORITY && is_newer &&
            is_same_text(other->text.subject, authority->text.subject))
            return false;
    }
    return is_needed || authorities == 1;
}

bool expiry_matters(const struct inventory *inventory, const struct inventory_entry *entry)
{
    if (entry->state == INVENTORY_UNKNOWN || entry->is_endless)
        return false;
    return entry->kind != INVENTORY_AUTHORITY || authority_matters(inventory, entry);
}

/* What each kind is called, the check that looks at it, and what to do about its end. */
static const struct {
    const char *what;
    enum check_id check;
    const char *fix;
} kinds[] = {
    [INVENTORY_CLIENT] = {"the client certificate in", CHECK_ID_expiry_client,
                          "Put the new certificate and its key there; they are taken up without a restart."},
    [INVENTORY_CLIENT_CHAIN] = {"an intermediate certificate in", CHECK_ID_expiry_client,
                                "Put the client certificate there again, followed by the CA's new intermediate "
                                "certificate."},
    [INVENTORY_AUTHORITY] = {"the CA certificate in", CHECK_ID_expiry_ca,
                             "Append the CA's new certificate to the file before the server gets one that it signed."},
    [INVENTORY_REVOCATION_LIST] = {"the revocation list in", CHECK_ID_expiry_crl,
                                   "Put the CA's current list there; with an outdated one no connection is made."},
    [INVENTORY_SERVED] = {"the server's certificate, as served at", CHECK_ID_expiry_server,
                          "Renew it on the server, then SELECT pg_reload_conf(); a restart is not needed."},
    [INVENTORY_SERVED_CHAIN] = {"a CA certificate that the server sends, as served at", CHECK_ID_expiry_server,
                                "Put the CA's new certificate into ssl_cert_file on the server, then SELECT "
                                "pg_reload_conf();"},
};

static void format_rest(struct timestamp not_after, struct timestamp now, char *ret_text, size_t size)
{
    int64_t left = not_after.microseconds - now.microseconds;
    char date[TIMESTAMP_TEXT_SIZE];

    timestamp_format(not_after, date);
    if (left <= 0)
        snprintf(ret_text, size, "ended on %s", date);
    else if (left >= 2 * DAY)
        snprintf(ret_text, size, "ends on %s, in %ld days", date, (long)(left / DAY));
    else
        snprintf(ret_text, size, "ends on %s, in %ld hours", date, (long)(left / HOUR));
}

static void tell(const struct ending *ending, enum expiry_level level, struct timestamp now)
{
    struct error err;
    char rest[96];

    format_rest(ending->not_after, now, rest, sizeof rest);
    error_set(&err, ERROR_TLS, "%s (\"%s\") %s", ending->what, ending->subject, rest);
    error_hint(&err, "%s", ending->fix);
    error_check(&err, check_rows[ending->check].name);
    log_failure(level == EXPIRY_NEAR ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, &err);
}

/* When it becomes worse, in monotonic time. */
static int64_t judge(struct expiry_memory *memory, const struct settings *settings, const struct ending *ending)
{
    const struct expiry_limits limits = {settings->expiry_warn_days, settings->expiry_critical_days};
    struct timestamp now = clock_now(), next;
    enum expiry_level level = expiry_judge(ending->not_after, now, limits);

    if (expiry_is_due(memory, ending->name, level, clock_monotonic()))
        tell(ending, level, now);
    if (!expiry_next_change(ending->not_after, now, limits, &next))
        return INT64_MAX;
    return clock_monotonic() + (next.microseconds - now.microseconds);
}

static int64_t judge_entry(struct expiry_memory *memory, const struct settings *settings,
                           const struct inventory_entry *entry)
{
    bool is_list = entry->kind == INVENTORY_REVOCATION_LIST;
    const char *subject = is_list ? entry->text.issuer : entry->text.subject;
    const char *fingerprint = entry->text.fingerprint;
    struct ending ending = {.subject = subject,
                            .name = fingerprint[0] != '\0' ? fingerprint : subject,
                            .check = kinds[entry->kind].check,
                            .not_after = entry->text.not_after,
                            .fix = kinds[entry->kind].fix};

    snprintf(ending.what, sizeof ending.what, "%s %s", kinds[entry->kind].what, entry->place);
    return judge(memory, settings, &ending);
}

static bool is_listed(const struct inventory *inventory, const char *fingerprint)
{
    for (size_t i = 0; i < inventory->count; i++)
        if (is_same_text(inventory->entries[i].text.fingerprint, fingerprint))
            return true;
    return false;
}

static int64_t judge_own(struct expiry_memory *memory, const struct settings *settings,
                         const struct pg_certificate *own)
{
    struct ending ending = {
        .what = "the client certificate of the running stream",
        .subject = own->subject,
        .name = own->fingerprint,
        .check = CHECK_ID_expiry_client,
        .fix = "The stream goes on, but a new connection needs the new certificate: pgcoffer status tells why it is "
               "not used yet.",
    };
    struct error ignored;

    return timestamp_parse(own->not_after, &ending.not_after, &ignored) ? judge(memory, settings, &ending) : INT64_MAX;
}

int64_t expiry_log(struct expiry_memory *memory, const struct server_config *server, const struct inventory *inventory,
                   const struct pg_certificate *own)
{
    int64_t next = INT64_MAX;
    unsigned sent = 0;

    for (size_t i = 0; i < inventory->count; i++) {
        const struct inventory_entry *entry = &inventory->entries[i];
        sent += entry->kind == INVENTORY_SERVED_CHAIN;
        if (sent > MOST_SERVED_CHAIN || !expiry_matters(inventory, entry))
            continue;
        int64_t worse = judge_entry(memory, &server->settings, entry);
        next = worse < next ? worse : next;
    }
    if (own != NULL && own->fingerprint[0] != '\0' && !is_listed(inventory, own->fingerprint)) {
        int64_t worse = judge_own(memory, &server->settings, own);
        next = worse < next ? worse : next;
    }
    return next;
}
