#include "cli/tls_kit_internal.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/tls/certificate.h"

#define MOST_COMMON_NAME 64 /* of X.520 */
#define MOST_BUNDLE      65536
#define PASSWORD_LETTERS 24 /* of 5 random bits each */

/* ---- what is made, as PEM ---- */

static void keep_bytes(struct tls_kit *kit, enum tls_kit_part part, const void *bytes, size_t size)
{
    kit->files[part].text = memory_new(size + 1);
    memcpy(kit->files[part].text, bytes, size);
    kit->files[part].size = size;
}

static bool take_pem(struct tls_kit *kit, enum tls_kit_part part, BIO *bio, bool is_written, struct error *err)
{
    char *bytes = NULL;
    char words[256];
    long size = bio != NULL ? BIO_get_mem_data(bio, &bytes) : 0;

    if (is_written && size > 0) {
        keep_bytes(kit, part, bytes, (size_t)size);
        return true;
    }
    certificate_openssl_words(words, sizeof words);
    return error_set(err, ERROR_TLS, "could not write %s in PEM form: %s", kit->files[part].name, words);
}

static bool keep_certificate(struct tls_kit *kit, enum tls_kit_part part, X509 *certificate, struct error *err)
{
    BIO *bio SCOPED(scoped_bio) = BIO_new(BIO_s_mem());

    return take_pem(kit, part, bio, bio != NULL && PEM_write_bio_X509(bio, certificate) == 1, err);
}

static bool keep_key(struct tls_kit *kit, enum tls_kit_part part, EVP_PKEY *key, struct error *err)
{
    BIO *bio SCOPED(scoped_bio) = BIO_new(BIO_s_mem());

    return take_pem(kit, part, bio,
                    bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1, err);
}

static bool keep_list(struct tls_kit *kit, enum tls_kit_part part, X509_CRL *list, struct error *err)
{
    BIO *bio SCOPED(scoped_bio) = BIO_new(BIO_s_mem());

    return take_pem(kit, part, bio, bio != NULL && PEM_write_bio_X509_CRL(bio, list) == 1, err);
}

/* The password follows its part, as a line: so openssl and pk12util read it. */
static bool keep_bundle(struct tls_kit *kit, const struct issue_wish *wish, X509 *certificate, enum tls_kit_part part,
                        const char *password, struct error *err)
{
    struct buffer bytes SCOPED(buffer_done) = BUFFER_WITH_LIMIT(MOST_BUNDLE);
    char *line SCOPED(scoped_free) = memory_text("%s\n", password);

    if (!issue_bundle(wish, certificate, "pgcoffer " TLS_KIT_BROWSER, password, &bytes, err))
        return false;
    keep_bytes(kit, part, bytes.bytes, bytes.used);
    keep_bytes(kit, part + 1, line, strlen(line));
    explicit_bzero(line, strlen(line));
    return true;
}

/* ---- who signs whom ---- */

struct authority {
    X509 *certificate;
    EVP_PKEY *key;
};

static void authority_done(struct authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
}

/* Two CAs of one name and different keys are hard to tell apart in messages: so each gets a name of its own. */
static char *name_authority(const char *role)
{
    unsigned char number[4] = {0};

    RAND_bytes(number, sizeof number);
    return memory_text("pgcoffer development %s CA %02X%02X%02X%02X", role, number[0], number[1], number[2], number[3]);
}

static bool make_list(struct tls_kit *kit, const struct authority *authority, enum tls_kit_part part, struct error *err)
{
    X509_CRL *list SCOPED(scoped_revocations) = NULL;

    return issue_revocation_list(authority->certificate, authority->key, TLS_KIT_AUTHORITY_DAYS, &list, err) &&
           keep_list(kit, part, list, err);
}

/* `first` is its certificate's part; the key follows. */
static bool make_authority(struct tls_kit *kit, const char *role, enum issue_algorithm algorithm,
                           enum tls_kit_part first, struct authority *ret_authority, struct error *err)
{
    char *name SCOPED(scoped_free) = name_authority(role);
    struct issue_wish wish = {.purpose = ISSUE_AUTHORITY, .common_name = name, .days = TLS_KIT_AUTHORITY_DAYS};

    if (!issue_key(algorithm, &ret_authority->key, err))
        return false;
    wish.key = ret_authority->key;
    return issue_certificate(&wish, &ret_authority->certificate, err) &&
           keep_certificate(kit, first, ret_authority->certificate, err) &&
           keep_key(kit, first + 1, ret_authority->key, err);
}

/* `first` is its certificate's part; the key follows. With a password its bundle and that follow these. */
static bool make_leaf_and_bundle(struct tls_kit *kit, struct issue_wish wish, enum issue_algorithm algorithm,
                                 const struct authority *authority, enum tls_kit_part first, const char *password,
                                 struct error *err)
{
    EVP_PKEY *key SCOPED(scoped_key) = NULL;
    X509 *certificate SCOPED(scoped_certificate) = NULL;

    if (!issue_key(algorithm, &key, err))
        return false;
    wish.key = key;
    wish.issuer = authority->certificate;
    wish.issuer_key = authority->key;
    return issue_certificate(&wish, &certificate, err) && keep_certificate(kit, first, certificate, err) &&
           keep_key(kit, first + 1, key, err) &&
           (password == NULL || keep_bundle(kit, &wish, certificate, first + 2, password, err));
}

static bool make_leaf(struct tls_kit *kit, struct issue_wish wish, enum issue_algorithm algorithm,
                      const struct authority *authority, enum tls_kit_part first, struct error *err)
{
    return make_leaf_and_bundle(kit, wish, algorithm, authority, first, NULL, err);
}

/* Whoever connects looks at the alternative names. */
static const char *first_name(const char *const *names, const char *instead)
{
    return strlen(names[0]) <= MOST_COMMON_NAME ? names[0] : instead;
}

static bool make_replication(struct tls_kit *kit, const struct tls_kit_wish *wish, struct error *err)
{
    struct authority of_server SCOPED(authority_done) = {0};
    struct authority of_client SCOPED(authority_done) = {0};
    /* Channel binding takes the digest of the signature on the server's certificate, and Ed25519 has none. */
    enum issue_algorithm signs_server = wish->algorithm == ISSUE_ED25519 ? ISSUE_EC_P256 : wish->algorithm;
    struct issue_wish server = {.purpose = ISSUE_SERVER,
                                .common_name = first_name(wish->names, "PostgreSQL"),
                                .names = wish->names,
                                .days = wish->days};
    struct issue_wish client = {.purpose = ISSUE_CLIENT, .common_name = wish->user, .days = wish->days};

    return make_authority(kit, "server", signs_server, TLS_KIT_SERVER_CA_CERTIFICATE, &of_server, err) &&
           make_list(kit, &of_server, TLS_KIT_SERVER_CA_LIST, err) &&
           make_authority(kit, "client", wish->algorithm, TLS_KIT_CLIENT_CA_CERTIFICATE, &of_client, err) &&
           make_list(kit, &of_client, TLS_KIT_CLIENT_CA_LIST, err) &&
           make_leaf(kit, server, wish->algorithm, &of_server, TLS_KIT_SERVER_CERTIFICATE, err) &&
           make_leaf(kit, client, wish->algorithm, &of_client, TLS_KIT_CLIENT_CERTIFICATE, err);
}

/* Without letters that look alike. */
static bool make_password(char password[PASSWORD_LETTERS + 1], struct error *err)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    unsigned char numbers[PASSWORD_LETTERS];

    _Static_assert(sizeof letters == 32 + 1, "each letter stands for 5 bits");
    if (RAND_bytes(numbers, sizeof numbers) != 1)
        return error_set(err, ERROR_TLS, "could not make a password: there are no random numbers");
    for (size_t i = 0; i < PASSWORD_LETTERS; i++)
        password[i] = letters[numbers[i] % 32];
    password[PASSWORD_LETTERS] = '\0';
    explicit_bzero(numbers, sizeof numbers);
    return true;
}

/* One CA for both ends: each is told from the other by what its certificate may be used for. */
static bool make_metrics(struct tls_kit *kit, const struct tls_kit_wish *wish, struct error *err)
{
    struct authority authority SCOPED(authority_done) = {0};
    /* No browser takes Ed25519, neither for itself nor from others. */
    enum issue_algorithm algorithm = wish->algorithm == ISSUE_ED25519 ? ISSUE_EC_P256 : wish->algorithm;
    struct issue_wish endpoint = {.purpose = ISSUE_SERVER,
                                  .common_name = first_name(wish->metrics_names, "metrics"),
                                  .names = wish->metrics_names,
                                  .days = wish->days};
    struct issue_wish prometheus = {.purpose = ISSUE_CLIENT, .common_name = "prometheus", .days = wish->days};
    struct issue_wish browser = {.purpose = ISSUE_CLIENT, .common_name = TLS_KIT_BROWSER, .days = wish->days};
    char password[PASSWORD_LETTERS + 1];
    bool is_made =
        make_password(password, err) &&
        make_authority(kit, "metrics", algorithm, TLS_KIT_METRICS_CA_CERTIFICATE, &authority, err) &&
        make_leaf(kit, endpoint, algorithm, &authority, TLS_KIT_METRICS_CERTIFICATE, err) &&
        make_leaf(kit, prometheus, algorithm, &authority, TLS_KIT_PROMETHEUS_CERTIFICATE, err) &&
        make_leaf_and_bundle(kit, browser, algorithm, &authority, TLS_KIT_BROWSER_CERTIFICATE, password, err);

    explicit_bzero(password, sizeof password);
    return is_made;
}

/* One CA for both ends, as above. */
static bool make_gateway(struct tls_kit *kit, const struct tls_kit_wish *wish, struct error *err)
{
    struct authority authority SCOPED(authority_done) = {0};
    struct issue_wish gateway = {.purpose = ISSUE_SERVER,
                                 .common_name = first_name(wish->gateway_names, "gateway"),
                                 .names = wish->gateway_names,
                                 .days = wish->days};
    struct issue_wish restorer = {.purpose = ISSUE_CLIENT, .common_name = TLS_KIT_RESTORER, .days = wish->days};

    return make_authority(kit, "gateway", wish->algorithm, TLS_KIT_GATEWAY_CA_CERTIFICATE, &authority, err) &&
           make_list(kit, &authority, TLS_KIT_GATEWAY_CA_LIST, err) &&
           make_leaf(kit, gateway, wish->algorithm, &authority, TLS_KIT_GATEWAY_CERTIFICATE, err) &&
           make_leaf(kit, restorer, wish->algorithm, &authority, TLS_KIT_RESTORER_CERTIFICATE, err);
}

/* NULL where the role is the name. */
static const char *const file_names[TLS_KIT_PARTS] = {
    [TLS_KIT_SERVER_CA_CERTIFICATE] = "server-ca.crt",
    [TLS_KIT_SERVER_CA_KEY] = "server-ca.key",
    [TLS_KIT_SERVER_CA_LIST] = "server-ca.crl",
    [TLS_KIT_CLIENT_CA_CERTIFICATE] = "client-ca.crt",
    [TLS_KIT_CLIENT_CA_KEY] = "client-ca.key",
    [TLS_KIT_CLIENT_CA_LIST] = "client-ca.crl",
    [TLS_KIT_SERVER_CERTIFICATE] = "server.crt",
    [TLS_KIT_SERVER_KEY] = "server.key",
    [TLS_KIT_METRICS_CA_CERTIFICATE] = "metrics-ca.crt",
    [TLS_KIT_METRICS_CA_KEY] = "metrics-ca.key",
    [TLS_KIT_METRICS_CERTIFICATE] = "metrics.crt",
    [TLS_KIT_METRICS_KEY] = "metrics.key",
    [TLS_KIT_PROMETHEUS_CERTIFICATE] = "prometheus.crt",
    [TLS_KIT_PROMETHEUS_KEY] = "prometheus.key",
    [TLS_KIT_BROWSER_CERTIFICATE] = TLS_KIT_BROWSER ".crt",
    [TLS_KIT_BROWSER_KEY] = TLS_KIT_BROWSER ".key",
    [TLS_KIT_BROWSER_BUNDLE] = TLS_KIT_BROWSER ".p12",
    [TLS_KIT_BROWSER_PASSWORD] = TLS_KIT_BROWSER ".password",
    [TLS_KIT_GATEWAY_CA_CERTIFICATE] = "gateway-ca.crt",
    [TLS_KIT_GATEWAY_CA_KEY] = "gateway-ca.key",
    [TLS_KIT_GATEWAY_CA_LIST] = "gateway-ca.crl",
    [TLS_KIT_GATEWAY_CERTIFICATE] = "gateway.crt",
    [TLS_KIT_GATEWAY_KEY] = "gateway.key",
    [TLS_KIT_RESTORER_CERTIFICATE] = TLS_KIT_RESTORER ".crt",
    [TLS_KIT_RESTORER_KEY] = TLS_KIT_RESTORER ".key",
};

static bool is_wished(const struct tls_kit_wish *wish, int part)
{
    return part < TLS_KIT_METRICS_CA_CERTIFICATE ||
           (part < TLS_KIT_GATEWAY_CA_CERTIFICATE && wish->metrics_names != NULL) ||
           (part >= TLS_KIT_GATEWAY_CA_CERTIFICATE && wish->gateway_names != NULL);
}

static bool name_files(struct tls_kit *kit, const struct tls_kit_wish *wish, struct error *err)
{
    for (int part = 0; part < TLS_KIT_PARTS; part++)
        if (file_names[part] != NULL && is_wished(wish, part))
            kit->files[part].name = memory_copy_text(file_names[part]);
    kit->files[TLS_KIT_CLIENT_CERTIFICATE].name = memory_text("%s.crt", wish->user);
    kit->files[TLS_KIT_CLIENT_KEY].name = memory_text("%s.key", wish->user);
    for (int part = 0; part < TLS_KIT_PARTS; part++)
        if (file_names[part] != NULL && tls_kit_holds(kit, part) &&
            strcmp(file_names[part], kit->files[TLS_KIT_CLIENT_CERTIFICATE].name) == 0) {
            error_set(err, ERROR_USAGE, "--user: the files of \"%s\" would have the names of other files", wish->user);
            return error_hint(err, "Choose another role than server, server-ca, client-ca%s%s.",
                              tls_kit_has_metrics(kit) ? ", metrics, metrics-ca, prometheus, " TLS_KIT_BROWSER : "",
                              tls_kit_has_gateway(kit) ? ", gateway, gateway-ca, " TLS_KIT_RESTORER : "");
        }
    return true;
}

bool tls_kit_make(const struct tls_kit_wish *wish, struct tls_kit **ret_kit, struct error *err)
{
    struct tls_kit *kit SCOPED(scoped_tls_kit) = memory_new(sizeof *kit);

    if (!name_files(kit, wish, err) || !make_replication(kit, wish, err) ||
        (wish->metrics_names != NULL && !make_metrics(kit, wish, err)) ||
        (wish->gateway_names != NULL && !make_gateway(kit, wish, err)))
        return false;
    *ret_kit = TAKE(kit);
    return true;
}

void tls_kit_free(struct tls_kit *kit)
{
    if (kit == NULL)
        return;
    for (int part = 0; part < TLS_KIT_PARTS; part++) {
        free(kit->files[part].name);
        if (kit->files[part].text != NULL)
            explicit_bzero(kit->files[part].text, kit->files[part].size);
        free(kit->files[part].text);
    }
    free(kit);
}
