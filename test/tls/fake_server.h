#ifndef PGCOFFER_TEST_TLS_FAKE_SERVER_H
#define PGCOFFER_TEST_TLS_FAKE_SERVER_H

#include <openssl/ssl.h>
#include <string.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/tls/probe.h"
#include "support/imitation.h"
#include "tls/pki.h"

/* A child that speaks the first steps of PostgreSQL's protocol: SSLRequest, one byte of answer, TLS. And the
 * configuration of a client that wants to talk to it. */
static struct scene {
    char folder[64];
    char server_certificate[128], server_key[128], server_authorities[128], server_lists[128];
    char answer;
    int least_version, most_version;
    const char *ciphers;
    const char *greeting;        /* said behind TLS to whatever comes first */
    void (*instead)(int client); /* of all that, what the child does with a connection */
    pid_t child;
    struct pki_pair root;
    struct server_config config;
} scene;

static inline void set_path(char *text, size_t size, const char *name)
{
    snprintf(text, size, "%s/%s", scene.folder, name);
}

static inline void make_scene(void)
{
    struct settings *settings = &scene.config.settings;

    scene = (struct scene){.answer = 'S'};
    pki_scratch(scene.folder);
    scene.root = pki_authority("Lab Root");
    snprintf(scene.config.name, sizeof scene.config.name, "primary");
    snprintf(settings->host, sizeof settings->host, "localhost");
    snprintf(settings->hostaddr, sizeof settings->hostaddr, "127.0.0.1");
    snprintf(settings->tls_mode, sizeof settings->tls_mode, "verify-full");
    settings->connect_timeout = 10;
    set_path(settings->tls_ca_file, CONFIG_TEXT_SIZE, "root.crt");
    pki_write_certificate(settings->tls_ca_file, &scene.root);
    set_path(scene.server_certificate, sizeof scene.server_certificate, "server.crt");
    set_path(scene.server_key, sizeof scene.server_key, "server.key");
}

static inline void stop_server(void)
{
    imitation_stop(&scene.child);
}

static inline void forget_scene(void)
{
    stop_server();
    pki_done(&scene.root);
}

static inline void serve_one(SSL_CTX *context, int client)
{
    char request[64];
    SSL *ssl = SSL_new(context);

    if (recv(client, request, 8, MSG_WAITALL) == 8 && send(client, &scene.answer, 1, 0) == 1 && scene.answer == 'S') {
        SSL_set_fd(ssl, client);
        if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request) > 0 && scene.greeting != NULL)
            SSL_write(ssl, scene.greeting, (int)strlen(scene.greeting));
    }
    SSL_free(ssl);
    close(client);
}

static inline SSL_CTX *make_server_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_min_proto_version(context, scene.least_version == 0 ? TLS1_VERSION : scene.least_version);
    SSL_CTX_set_max_proto_version(context, scene.most_version);
    if (scene.most_version == TLS1_1_VERSION)
        SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
    if (scene.ciphers != NULL)
        SSL_CTX_set_cipher_list(context, scene.ciphers);
    SSL_CTX_use_certificate_chain_file(context, scene.server_certificate);
    SSL_CTX_use_PrivateKey_file(context, scene.server_key, SSL_FILETYPE_PEM);
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
    if (scene.server_authorities[0] != '\0') {
        SSL_CTX_load_verify_locations(context, scene.server_authorities, NULL);
        SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(scene.server_authorities));
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    if (scene.server_lists[0] != '\0') {
        X509_STORE *store = SSL_CTX_get_cert_store(context);
        X509_STORE_load_locations(store, scene.server_lists, NULL);
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    return context;
}

static inline void serve(int listener)
{
    SSL_CTX *context = scene.answer == 'S' && scene.instead == NULL ? make_server_context() : NULL;

    if (context == NULL)
        context = SSL_CTX_new(TLS_server_method());
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0 && scene.instead != NULL) {
            scene.instead(client);
            close(client);
        } else if (client >= 0) {
            serve_one(context, client);
        }
    }
}

/* Starts the child with what the scene says. */
static inline void start_server(void)
{
    scene.child = imitation_start(serve, &scene.config.settings.port);
}

/* A certificate for the server, of the usual name unless the wish has one; `above` is sent along. */
static inline void use_server(struct pki_wish wish, const struct pki_pair *above)
{
    if (wish.names == NULL)
        wish.names = "DNS:localhost";
    if (wish.common_name == NULL)
        wish.common_name = "db1";
    struct pki_pair pair = pki_make(wish);

    pki_write_certificate(scene.server_certificate, &pair);
    if (above != NULL)
        pki_write_certificate(scene.server_certificate, above);
    pki_write_key(scene.server_key, &pair, NULL);
    pki_done(&pair);
}

/* The client certificate CN=repl; `above` stands behind it. */
static inline void use_client(struct pki_wish wish, const struct pki_pair *above)
{
    struct settings *settings = &scene.config.settings;

    wish.common_name = "repl";
    struct pki_pair pair = pki_make(wish);
    set_path(settings->tls_cert_file, CONFIG_TEXT_SIZE, "repl.crt");
    set_path(settings->tls_key_file, CONFIG_TEXT_SIZE, "repl.key");
    pki_write_certificate(settings->tls_cert_file, &pair);
    if (above != NULL)
        pki_write_certificate(settings->tls_cert_file, above);
    pki_write_key(settings->tls_key_file, &pair, NULL);
    pki_done(&pair);
}

/* A server that is all right and takes clients of `authority`. */
static inline void use_good_server(const struct pki_pair *authority)
{
    use_server((struct pki_wish){.issuer = &scene.root}, NULL);
    set_path(scene.server_authorities, sizeof scene.server_authorities, "clients.crt");
    pki_write_certificate(scene.server_authorities, authority);
}

static inline struct tls_probe_request make_request(void)
{
    return (struct tls_probe_request){.server = &scene.config, .deadline = clock_monotonic() + 10000000};
}

#endif
