#include "pgcoffer/tls/inventory.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/files.h"
#include "pgcoffer/tls/probe.h"
#include "tls/files_internal.h"

const char *inventory_kind_word(enum inventory_kind kind)
{
    static const char *const words[] = {
        [INVENTORY_CLIENT] = "client",       [INVENTORY_CLIENT_CHAIN] = "client chain",
        [INVENTORY_AUTHORITY] = "server CA", [INVENTORY_REVOCATION_LIST] = "revocation list",
        [INVENTORY_SERVED] = "served",       [INVENTORY_SERVED_CHAIN] = "served chain",
    };

    return words[kind];
}

const char *inventory_state_word(enum inventory_state state)
{
    static const char *const words[] = {
        [INVENTORY_VALID] = "valid",
        [INVENTORY_SOON] = "soon",
        [INVENTORY_CRITICAL] = "critical",
        [INVENTORY_EXPIRED] = "expired",
        [INVENTORY_NOT_YET_VALID] = "not yet valid",
        [INVENTORY_UNKNOWN] = "unknown",
    };

    return words[state];
}

/* ---- entries ---- */

static struct inventory_entry *add_entry(struct inventory *inventory, enum inventory_kind kind, const char *place)
{
    struct inventory_entry *entries = memory_new((inventory->count + 1) * sizeof *entries);

    if (inventory->count > 0)
        memcpy(entries, inventory->entries, inventory->count * sizeof *entries);
    free(inventory->entries);
    inventory->entries = entries;
    struct inventory_entry *entry = &entries[inventory->count++];
    entry->kind = kind;
    entry->state = INVENTORY_UNKNOWN;
    snprintf(entry->place, sizeof entry->place, "%s", place);
    return entry;
}

static enum inventory_state judge(const struct inventory_entry *entry, const struct settings *settings)
{
    if (entry->text.not_before.microseconds > clock_now().microseconds)
        return INVENTORY_NOT_YET_VALID;
    if (entry->is_endless)
        return INVENTORY_VALID;
    if (entry->text.days_left < 0)
        return INVENTORY_EXPIRED;
    if (entry->text.days_left < settings->expiry_critical_days)
        return INVENTORY_CRITICAL;
    return entry->text.days_left < settings->expiry_warn_days ? INVENTORY_SOON : INVENTORY_VALID;
}

static void add_certificate(struct inventory *inventory, enum inventory_kind kind, const char *place, X509 *certificate,
                            const struct settings *settings)
{
    struct inventory_entry *entry = add_entry(inventory, kind, place);

    certificate_describe(certificate, &entry->text);
    entry->state = judge(entry, settings);
}

/* ---- our files ---- */

static bool read_file(const struct configured_file *file, STACK_OF(X509) * *ret_certificates, struct error *err)
{
    return files_check_access(file, err) && certificate_read_all(file->path, ret_certificates, err);
}

static void take_client(const struct server_config *server, struct inventory *inventory)
{
    const struct settings *settings = &server->settings;
    struct configured_file file = {"tls_cert_file", settings->tls_cert_file, server, CHECK_ID_file_certificate};
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = NULL;
    struct error fault = {0};

    if (text_is_empty(file.path))
        return;
    if (!read_file(&file, &certificates, &fault))
        add_entry(inventory, INVENTORY_CLIENT, file.path)->fault = fault;
    for (int i = 0; i < sk_X509_num(certificates); i++)
        add_certificate(inventory, i == 0 ? INVENTORY_CLIENT : INVENTORY_CLIENT_CHAIN, file.path,
                        sk_X509_value(certificates, i), settings);
}

static bool is_part_of(X509 *authority, const STACK_OF(X509) * served)
{
    for (int i = 0; i < sk_X509_num(served); i++) {
        X509 *certificate = sk_X509_value(served, i);
        if (X509_cmp(authority, certificate) == 0 || X509_check_issued(authority, certificate) == X509_V_OK)
            return true;
    }
    return false;
}

static void take_authorities(const struct server_config *server, const STACK_OF(X509) * served,
                             struct inventory *inventory)
{
    struct configured_file file = {"tls_ca_file", tls_files_ca_path(&server->settings), server, CHECK_ID_file_ca};
    STACK_OF(X509) * certificates SCOPED(scoped_certificates) = NULL;
    struct error fault = {0};

    if (text_is_empty(file.path))
        return;
    if (!read_file(&file, &certificates, &fault))
        add_entry(inventory, INVENTORY_AUTHORITY, file.path)->fault = fault;
    int count = sk_X509_num(certificates);
    for (int i = 0; i < count; i++) {
        X509 *authority = sk_X509_value(certificates, i);
        if (count <= TLS_MOST_OWN_AUTHORITIES || is_part_of(authority, served))
            add_certificate(inventory, INVENTORY_AUTHORITY, file.path, authority, &server->settings);
        else
            inventory->left_out_count++;
    }
}

static void add_list(struct inventory *inventory, const char *path, X509_CRL *list, const struct settings *settings)
{
    struct inventory_entry *entry = add_entry(inventory, INVENTORY_REVOCATION_LIST, path);
    struct certificate_text *text = &entry->text;

    certificate_name_format(X509_CRL_get_issuer(list), text->issuer, sizeof text->issuer);
    int revoked = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(list));
    entry->revoked_count = revoked > 0 ? revoked : 0;
    text->not_before = certificate_time(X509_CRL_get0_lastUpdate(list));
    text->not_after = certificate_time(X509_CRL_get0_nextUpdate(list));
    entry->is_endless = text->not_after.microseconds == 0;
    if (!entry->is_endless) {
        text->days_left = certificate_days_left(text->not_after);
        timestamp_format(text->not_after, text->not_after_text);
    }
    entry->state = judge(entry, settings);
}

static bool add_lists(const struct configured_file *file, const struct settings *settings, struct inventory *inventory,
                      struct error *err)
{
    unsigned count = 0;

    errno = 0;
    BIO *bio = BIO_new_file(file->path, "r");
    if (bio == NULL) {
        ERR_clear_error();
        return error_set_kind_errno(err, ERROR_TLS, "could not open tls_crl_file \"%s\"", file->path);
    }
    for (X509_CRL *list; (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL; count++) {
        add_list(inventory, file->path, list, settings);
        X509_CRL_free(list);
    }
    BIO_free(bio);
    ERR_clear_error();
    return count > 0 ||
           error_set(err, ERROR_TLS, "tls_crl_file \"%s\" holds no revocation list in PEM form", file->path);
}

static void take_lists(const struct server_config *server, struct inventory *inventory)
{
    struct configured_file file = {"tls_crl_file", server->settings.tls_crl_file, server, CHECK_ID_file_crl};
    struct error fault = {0};

    if (text_is_empty(file.path))
        return;
    if (!files_check_access(&file, &fault) || !add_lists(&file, &server->settings, inventory, &fault))
        add_entry(inventory, INVENTORY_REVOCATION_LIST, file.path)->fault = fault;
}

/* ---- what the server serves ---- */

static void describe_place(const struct server_config *server, char *ret_place, size_t size)
{
    const char *host = tls_host_name(server);
    bool has_colon = strchr(host, ':') != NULL;

    snprintf(ret_place, size, "%s%s%s:%ld", has_colon ? "[" : "", host, has_colon ? "]" : "", server->settings.port);
}

static void explain_absence(const struct server_config *server, const char *place, const struct tls_probe *probe,
                            struct error *fault)
{
    switch (probe->outcome) {
    case TLS_PROBE_UNREACHABLE:
        error_set(fault, ERROR_SERVER, "could not reach %s: %s", place, probe->words);
        break;
    case TLS_PROBE_NO_TLS:
        error_set(fault, ERROR_TLS, "%s speaks no TLS (\"ssl = off\" in postgresql.conf)", place);
        break;
    case TLS_PROBE_NOT_POSTGRES:
        error_set(fault, ERROR_SERVER, "what listens at %s is not PostgreSQL", place);
        break;
    case TLS_PROBE_REFUSED_BY_PEER:
        error_set(fault, ERROR_TLS, "%s refused the TLS handshake before it showed a certificate: %s", place,
                  SSL_alert_desc_string_long(probe->alert));
        break;
    case TLS_PROBE_REFUSED_BY_US:
    case TLS_PROBE_BROKEN:
    case TLS_PROBE_ACCEPTED:
        error_set(fault, ERROR_TLS, "the TLS handshake with %s showed no certificate: %s", place, probe->words);
        break;
    }
    error_hint(fault, "\"pgcoffer check %s\" tells the cause.", server->name);
}

static void end_at_once(void *context, struct tls_talk *talk)
{
    (void)context;
    (void)talk;
}

/* Trusts whatever comes, since it is only looked at: a CA file that cannot be read hides nothing. */
static void look_at_server(const struct server_config *server, struct tls_probe *ret_probe)
{
    struct server_config trusting = *server;
    struct tls_probe_request request = {.server = &trusting,
                                        .certificate_path = "",
                                        .key_path = "",
                                        .is_weak_allowed = true,
                                        .converse = end_at_once,
                                        .deadline = clock_monotonic() + server->settings.connect_timeout * 1000000};

    trusting.settings.tls_ca_file[0] = '\0';
    trusting.settings.tls_crl_file[0] = '\0';
    tls_probe_run(&request, ret_probe);
}

static void add_served(const struct server_config *server, const struct tls_probe *probe, struct inventory *inventory)
{
    char place[sizeof inventory->entries->place];

    describe_place(server, place, sizeof place);
    if (sk_X509_num(probe->chain) <= 0)
        explain_absence(server, place, probe, &add_entry(inventory, INVENTORY_SERVED, place)->fault);
    for (int i = 0; i < sk_X509_num(probe->chain); i++)
        add_certificate(inventory, i == 0 ? INVENTORY_SERVED : INVENTORY_SERVED_CHAIN, place,
                        sk_X509_value(probe->chain, i), &server->settings);
}

static void take_host(const struct server_config *server, struct inventory *ret_inventory)
{
    struct inventory inventory = {0};
    struct tls_probe probe SCOPED(tls_probe_done) = {.alert = -1};
    bool is_encrypted = config_tls_mode(&server->settings) != TLS_DISABLE;

    if (is_encrypted)
        look_at_server(server, &probe);
    take_client(server, &inventory);
    take_authorities(server, probe.chain, &inventory);
    take_lists(server, &inventory);
    if (is_encrypted)
        add_served(server, &probe, &inventory);
    snprintf(inventory.address, sizeof inventory.address, "%s", probe.address);
    *ret_inventory = inventory;
}

/* Of several hosts the files are the same, and each serves its own. */
void inventory_take(const struct server_config *server, struct inventory *ret_inventory)
{
    struct server_config view;

    config_take_host(server, 0, &view);
    take_host(&view, ret_inventory);
    for (size_t host = 1; host < config_host_count(server); host++) {
        struct tls_probe probe SCOPED(tls_probe_done) = {.alert = -1};
        config_take_host(server, host, &view);
        if (config_tls_mode(&view.settings) == TLS_DISABLE)
            continue;
        look_at_server(&view, &probe);
        add_served(&view, &probe, ret_inventory);
    }
}

void inventory_done(struct inventory *inventory)
{
    free(inventory->entries);
    *inventory = (struct inventory){0};
}
