#include "pgcoffer/tls/inventory.h"

#include <openssl/ssl.h>

#include "pgcoffer/base/clock.h"
#include "support/imitation.h"
#include "support/suite.h"
#include "tls/pki.h"

/* A child that speaks the first steps of PostgreSQL's protocol: SSLRequest, one byte of answer, TLS. */
static struct scene {
    char folder[64];
    char answer;
    bool wants_certificate;
    pid_t child;
    struct pki_pair root;
    struct server_config server;
} scene;

static void set_path(char *text, const char *name)
{
    snprintf(text, CONFIG_TEXT_SIZE, "%s/%s", scene.folder, name);
}

static void make_scene(void)
{
    struct settings *settings = &scene.server.settings;

    scene = (struct scene){.answer = 'S'};
    pki_scratch(scene.folder);
    scene.root = pki_authority("Lab Root");
    snprintf(scene.server.name, sizeof scene.server.name, "primary");
    snprintf(settings->host, sizeof settings->host, "localhost");
    snprintf(settings->hostaddr, sizeof settings->hostaddr, "127.0.0.1");
    snprintf(settings->tls_mode, sizeof settings->tls_mode, "verify-full");
    settings->port = 1; /* nobody listens there */
    settings->connect_timeout = 10;
    settings->expiry_warn_days = 21;
    settings->expiry_critical_days = 3;
    set_path(settings->tls_ca_file, "root.crt");
    pki_write_certificate(settings->tls_ca_file, &scene.root);
}

static void forget_scene(void)
{
    imitation_stop(&scene.child);
    pki_done(&scene.root);
}

/* Writes it, with the root behind it if that is wished. */
static void make_files(const char *certificate, const char *key, struct pki_wish wish, bool has_root)
{
    char path[CONFIG_TEXT_SIZE];
    wish.issuer = &scene.root;
    struct pki_pair pair = pki_make(wish);

    set_path(path, certificate);
    pki_write_certificate(path, &pair);
    if (has_root)
        pki_write_certificate(path, &scene.root);
    set_path(path, key);
    pki_write_key(path, &pair, NULL);
    pki_done(&pair);
}

static void serve_one(SSL_CTX *context, int client)
{
    char request[8];
    SSL *ssl = SSL_new(context);

    if (recv(client, request, sizeof request, MSG_WAITALL) == 8 && send(client, &scene.answer, 1, 0) == 1 &&
        scene.answer == 'S') {
        SSL_set_fd(ssl, client);
        if (SSL_accept(ssl) == 1)
            (void)!SSL_read(ssl, request, 1);
    }
    SSL_free(ssl);
    close(client);
}

static void serve(int listener)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    char path[CONFIG_TEXT_SIZE];

    set_path(path, "server.crt");
    SSL_CTX_use_certificate_chain_file(context, path);
    set_path(path, "server.key");
    SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM);
    if (scene.wants_certificate)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0)
            serve_one(context, client);
    }
}

static void start_server(void)
{
    scene.child = imitation_start(serve, &scene.server.settings.port);
}

static const struct inventory_entry *find(const struct inventory *inventory, enum inventory_kind kind)
{
    for (size_t i = 0; i < inventory->count; i++)
        if (inventory->entries[i].kind == kind)
            return &inventory->entries[i];
    ck_abort_msg("no %s", inventory_kind_word(kind));
}

START_TEST(everything_that_matters_is_listed_in_the_order_of_its_use)
{
    static const enum inventory_kind kinds[] = {INVENTORY_CLIENT,    INVENTORY_CLIENT_CHAIN,
                                                INVENTORY_AUTHORITY, INVENTORY_REVOCATION_LIST,
                                                INVENTORY_SERVED,    INVENTORY_SERVED_CHAIN};
    struct settings *settings = &scene.server.settings;
    struct inventory inventory SCOPED(inventory_done) = {0};

    set_path(settings->tls_cert_file, "repl.crt");
    set_path(settings->tls_key_file, "no such file");
    set_path(settings->tls_crl_file, "root.crl");
    make_files("repl.crt", "repl.key", (struct pki_wish){.common_name = "repl"}, true);
    make_files("server.crt", "server.key", (struct pki_wish){.common_name = "db1", .names = "DNS:localhost"}, true);
    pki_write_list(settings->tls_crl_file, &scene.root, scene.root.certificate, 30);
    start_server();
    inventory_take(&scene.server, &inventory);

    ck_assert_uint_eq(inventory.count, sizeof kinds / sizeof kinds[0]);
    for (size_t i = 0; i < inventory.count; i++) {
        ck_assert_int_eq(inventory.entries[i].kind, kinds[i]);
        ck_assert_int_eq(inventory.entries[i].state, INVENTORY_VALID);
        ck_assert_str_eq(inventory.entries[i].text.issuer, "CN=Lab Root,O=Lab");
    }
    ck_assert_str_eq(inventory.entries[0].text.subject, "CN=repl,O=Lab");
    ck_assert_str_eq(inventory.entries[0].place, settings->tls_cert_file);
    ck_assert_str_eq(inventory.entries[4].text.names, "DNS:localhost");
    ck_assert_int_eq(inventory.entries[3].revoked_count, 1);
    ck_assert_str_eq(inventory.entries[2].text.fingerprint, inventory.entries[5].text.fingerprint);
    char place[64];
    snprintf(place, sizeof place, "localhost:%ld", settings->port);
    ck_assert_str_eq(inventory.entries[4].place, place);
}
END_TEST

START_TEST(a_server_that_is_gone_hides_no_file)
{
    struct inventory inventory SCOPED(inventory_done) = {0};

    inventory_take(&scene.server, &inventory);
    ck_assert_uint_eq(inventory.count, 2);
    ck_assert_int_eq(find(&inventory, INVENTORY_AUTHORITY)->state, INVENTORY_VALID);
    const struct inventory_entry *served = find(&inventory, INVENTORY_SERVED);
    ck_assert_int_eq(served->state, INVENTORY_UNKNOWN);
    ck_assert_int_eq(served->fault.kind, ERROR_SERVER);
    ck_assert_str_eq(served->fault.message, "could not reach localhost:1: Connection refused");
    ck_assert_ptr_nonnull(strstr(served->fault.hint, "pgcoffer check primary"));
}
END_TEST

START_TEST(a_file_that_is_missing_hides_nothing_else)
{
    struct settings *settings = &scene.server.settings;
    struct inventory inventory SCOPED(inventory_done) = {0};

    set_path(settings->tls_cert_file, "repl.crt");
    set_path(settings->tls_ca_file, "nowhere.crt");
    set_path(settings->tls_crl_file, "repl.crt");
    make_files("repl.crt", "repl.key", (struct pki_wish){.common_name = "repl"}, false);
    make_files("server.crt", "server.key", (struct pki_wish){.common_name = "db1"}, false);
    start_server();
    inventory_take(&scene.server, &inventory);

    ck_assert_uint_eq(inventory.count, 4);
    ck_assert_int_eq(find(&inventory, INVENTORY_CLIENT)->state, INVENTORY_VALID);
    ck_assert_int_eq(find(&inventory, INVENTORY_SERVED)->state, INVENTORY_VALID);
    const struct error *fault = &find(&inventory, INVENTORY_AUTHORITY)->fault;
    ck_assert_ptr_nonnull(strstr(fault->message, settings->tls_ca_file));
    ck_assert_str_eq(fault->check, "file.ca");
    fault = &find(&inventory, INVENTORY_REVOCATION_LIST)->fault;
    ck_assert_ptr_nonnull(strstr(fault->message, "holds no revocation list"));
}
END_TEST

START_TEST(a_server_that_wants_a_certificate_still_shows_its_own)
{
    struct inventory inventory SCOPED(inventory_done) = {0};

    make_files("server.crt", "server.key", (struct pki_wish){.common_name = "db1"}, false);
    scene.wants_certificate = true;
    start_server();
    int64_t begin = clock_monotonic();
    inventory_take(&scene.server, &inventory);
    ck_assert_int_eq(find(&inventory, INVENTORY_SERVED)->state, INVENTORY_VALID);
    ck_assert_int_lt(clock_monotonic() - begin, 1500000);
}
END_TEST

START_TEST(a_server_without_tls_is_told)
{
    struct inventory inventory SCOPED(inventory_done) = {0};

    make_files("server.crt", "server.key", (struct pki_wish){.common_name = "db1"}, false);
    scene.answer = 'N';
    start_server();
    inventory_take(&scene.server, &inventory);
    const struct error *fault = &find(&inventory, INVENTORY_SERVED)->fault;
    ck_assert_int_eq(fault->kind, ERROR_TLS);
    ck_assert_ptr_nonnull(strstr(fault->message, "no TLS"));
}
END_TEST

START_TEST(days_left_decide_the_state)
{
    static const struct {
        long from, until;
        enum inventory_state state;
    } rows[] = {
        /* 21 days less a moment are 20 whole days. */
        {-1, 22, INVENTORY_VALID},        {-1, 21, INVENTORY_SOON},    {-1, 3, INVENTORY_CRITICAL},
        {-1, 1, INVENTORY_CRITICAL},      {-9, -2, INVENTORY_EXPIRED}, {-9, -1, INVENTORY_EXPIRED},
        {1, 30, INVENTORY_NOT_YET_VALID},
    };
    struct settings *settings = &scene.server.settings;
    struct inventory inventory SCOPED(inventory_done) = {0};

    set_path(settings->tls_cert_file, "repl.crt");
    make_files("repl.crt", "repl.key",
               (struct pki_wish){.common_name = "repl", .from_days = rows[_i].from, .until_days = rows[_i].until},
               false);
    snprintf(settings->tls_mode, sizeof settings->tls_mode, "disable");
    inventory_take(&scene.server, &inventory);
    ck_assert_int_eq(find(&inventory, INVENTORY_CLIENT)->state, rows[_i].state);
}
END_TEST

START_TEST(of_a_bundle_only_the_served_chains_ca_is_shown)
{
    struct inventory inventory SCOPED(inventory_done) = {0};

    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "Foreign %d", i);
        struct pki_pair foreign = pki_authority(name);
        pki_write_certificate(scene.server.settings.tls_ca_file, &foreign);
        pki_done(&foreign);
    }
    make_files("server.crt", "server.key", (struct pki_wish){.common_name = "db1"}, false);
    start_server();
    inventory_take(&scene.server, &inventory);
    ck_assert_uint_eq(inventory.count, 2);
    ck_assert_uint_eq(inventory.left_out_count, 20);
    ck_assert_str_eq(find(&inventory, INVENTORY_AUTHORITY)->text.subject, "CN=Lab Root,O=Lab");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("inventory");

    tcase_add_checked_fixture(tests, make_scene, forget_scene);
    tcase_add_test(tests, everything_that_matters_is_listed_in_the_order_of_its_use);
    tcase_add_test(tests, a_server_that_is_gone_hides_no_file);
    tcase_add_test(tests, a_file_that_is_missing_hides_nothing_else);
    tcase_add_test(tests, a_server_that_wants_a_certificate_still_shows_its_own);
    tcase_add_test(tests, a_server_without_tls_is_told);
    tcase_add_loop_test(tests, days_left_decide_the_state, 0, 7);
    tcase_add_test(tests, of_a_bundle_only_the_served_chains_ca_is_shown);
    return suite_run("inventory", tests);
}
