#ifndef PGCOFFER_TEST_JOBS_GATEWAY_SCENE_H
#define PGCOFFER_TEST_JOBS_GATEWAY_SCENE_H

#include <check.h>
#include <openssl/pem.h>

#include "jobs/tls_port/context_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/tls/issue.h"

/* A CA, and certificates by it, as the texts that the gateway's reader sends. */

struct scene_pair {
    X509 *certificate;
    EVP_PKEY *key;
    char *certificate_pem, *key_pem;
};

static struct scene_pair scene_authority, scene_server, scene_client;

static inline char *scene_text(BIO *bio)
{
    char *bytes = NULL;
    long size = BIO_get_mem_data(bio, &bytes);
    char *text = memory_text("%.*s", (int)size, bytes);

    BIO_free(bio);
    return text;
}

static inline struct scene_pair scene_issue(enum issue_purpose purpose, const char *name, const struct scene_pair *by)
{
    static const char *const names[] = {"localhost", NULL};
    struct scene_pair pair;
    struct error err;
    BIO *bio = BIO_new(BIO_s_mem());

    ck_assert(issue_key(ISSUE_EC_P256, &pair.key, &err));
    const struct issue_wish wish = {purpose,
                                    name,
                                    purpose == ISSUE_SERVER ? names : NULL,
                                    pair.key,
                                    by == NULL ? NULL : by->certificate,
                                    by == NULL ? NULL : by->key,
                                    5};
    ck_assert_msg(issue_certificate(&wish, &pair.certificate, &err), "%s", err.message);
    PEM_write_bio_X509(bio, pair.certificate);
    pair.certificate_pem = scene_text(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, pair.key, NULL, NULL, 0, NULL, NULL);
    pair.key_pem = scene_text(bio);
    return pair;
}

static inline void scene_forget(struct scene_pair *pair)
{
    X509_free(pair->certificate);
    EVP_PKEY_free(pair->key);
    free(pair->certificate_pem);
    free(pair->key_pem);
}

static inline void scene_begin(void)
{
    scene_authority = scene_issue(ISSUE_AUTHORITY, "CA", NULL);
    scene_server = scene_issue(ISSUE_SERVER, "gateway", &scene_authority);
    scene_client = scene_issue(ISSUE_CLIENT, "db1", &scene_authority);
}

static inline void scene_end(void)
{
    scene_forget(&scene_authority);
    scene_forget(&scene_server);
    scene_forget(&scene_client);
}

/* The client of the scene over that socket, which becomes the connection's; NULL: it was not let in. */
static inline SSL *scene_shake_hands(int fd)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    SSL_CTX_use_certificate(context, scene_client.certificate);
    SSL_CTX_use_PrivateKey(context, scene_client.key);
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, fd);
    return SSL_connect(tls) == 1 ? tls : NULL;
}

static inline struct port_files scene_files(void)
{
    return (struct port_files){.certificate = scene_server.certificate_pem,
                               .key = scene_server.key_pem,
                               .authorities = scene_authority.certificate_pem};
}

#endif
