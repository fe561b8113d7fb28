#ifndef PGCOFFER_TEST_JOBS_CHECK_STAGE_H
#define PGCOFFER_TEST_JOBS_CHECK_STAGE_H

#include <openssl/ssl.h>

#include "jobs/check_scene.h"
#include "support/imitation.h"

/* A child that speaks the first steps of PostgreSQL's protocol: SSLRequest, one byte of answer, TLS. */
static struct stage {
    char certificate[CONFIG_TEXT_SIZE], key[CONFIG_TEXT_SIZE], authorities[CONFIG_TEXT_SIZE];
    const char *answer; /* to the request for TLS; NULL: yes */
    bool is_silent;
    int least_version, most_version;
    const char *ciphers;
    pid_t child;
} stage;

static inline void stage_make(void)
{
    stage = (struct stage){0};
    scene_make();
    scene_path(stage.certificate, "server.crt");
    scene_path(stage.key, "served.secret"); /* no name a key has: it is not the client's */
}

static inline void stage_end(void)
{
    imitation_stop(&stage.child);
    pki_done(&scene.root);
}

static inline void talk_tls(SSL_CTX *context, int client)
{
    SSL *ssl = SSL_new(context);
    char bytes[256];

    SSL_set_fd(ssl, client);
    if (SSL_accept(ssl) == 1) {
        while (SSL_read(ssl, bytes, sizeof bytes) > 0)
            continue;
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
}

static inline void serve_one(SSL_CTX *context, int client)
{
    char request[8];

    if (recv(client, request, sizeof request, MSG_WAITALL) == 8) {
        if (stage.is_silent)
            (void)!recv(client, request, sizeof request, 0);
        else if (stage.answer != NULL)
            (void)!send(client, stage.answer, strlen(stage.answer), 0);
        else if (send(client, "S", 1, 0) == 1)
            talk_tls(context, client);
    }
    close(client);
}

static inline SSL_CTX *make_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    SSL_CTX_use_certificate_chain_file(context, stage.certificate);
    SSL_CTX_use_PrivateKey_file(context, stage.key, SSL_FILETYPE_PEM);
    SSL_CTX_set_min_proto_version(context, stage.least_version == 0 ? TLS1_2_VERSION : stage.least_version);
    SSL_CTX_set_max_proto_version(context, stage.most_version);
    if (stage.ciphers != NULL)
        SSL_CTX_set_cipher_list(context, stage.ciphers);
    if (stage.authorities[0] != '\0') {
        SSL_CTX_load_verify_locations(context, stage.authorities, NULL);
        SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(stage.authorities));
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    return context;
}

static inline void serve(int listener)
{
    SSL_CTX *context = make_context();

    for (;;)
        serve_one(context, accept(listener, NULL, NULL));
}

static inline void start_server(void)
{
    stage.child = imitation_start(serve, &scene.config.settings.port);
}

static inline void serve_pair(const struct pki_pair *pair)
{
    pki_write_certificate(stage.certificate, pair);
    pki_write_key(stage.key, pair, NULL);
}

static inline void serve_certificate(struct pki_wish wish)
{
    struct pki_pair pair = pki_make(wish);

    serve_pair(&pair);
    pki_done(&pair);
}

static inline void serve_good(void)
{
    serve_certificate((struct pki_wish){
        .common_name = "localhost", .names = "DNS:localhost", .usage = "serverAuth", .issuer = &scene.root});
}

static inline void accept_clients_of(const struct pki_pair *authority)
{
    pki_write_certificate(scene_path(stage.authorities, "clients.crt"), authority);
}

static inline void use_client_of(const struct pki_pair *issuer)
{
    struct pki_pair pair = pki_make((struct pki_wish){.common_name = "repl", .usage = "clientAuth", .issuer = issuer});

    scene_use_client(&pair, NULL);
    pki_done(&pair);
}

static inline void look(void)
{
    start_server();
    scene_look(CHECK_LEVEL_HANDSHAKE);
}

#endif
