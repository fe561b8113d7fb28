#include "pgcoffer/tls/diagnosis.h"

#include <openssl/ssl.h>

#include "support/suite.h"
#include "tls/fake_server.h"

/* libpq's words for the two directions of refusal, as version 15 has them. */
#define REFUSED_BY_US  "SSL error: certificate verify failed"
#define OTHER_NAME     "server certificate for \"x\" does not match host name \"localhost\""
#define WE_ARE_REFUSED "SSL error: tlsv1 alert unknown ca"

/* ---- set-ups, each with one fault ---- */

static void server_expired(void)
{
    use_server((struct pki_wish){.issuer = &scene.root, .from_days = -9, .until_days = -3}, NULL);
}

static void server_of_the_future(void)
{
    use_server((struct pki_wish){.issuer = &scene.root, .from_days = 3, .until_days = 9}, NULL);
}

static void server_intermediate_expired(void)
{
    struct pki_pair middle = pki_make((struct pki_wish){.common_name = "Lab Intermediate",
                                                        .issuer = &scene.root,
                                                        .is_authority = true,
                                                        .from_days = -9,
                                                        .until_days = -3});

    use_server((struct pki_wish){.issuer = &middle}, &middle);
    pki_done(&middle);
}

static void server_of_another_ca(void)
{
    struct pki_pair other = pki_authority("Other Root");

    use_server((struct pki_wish){.issuer = &other}, NULL);
    pki_done(&other);
}

static void server_sends_another_root(void)
{
    struct pki_pair other = pki_authority("Other Root");

    use_server((struct pki_wish){.issuer = &other}, &other);
    pki_done(&other);
}

static void server_of_an_unclear_ca(void)
{
    struct pki_pair other = pki_authority("Something");

    use_server((struct pki_wish){.issuer = &other}, NULL);
    pki_done(&other);
}

static void server_self_signed(void)
{
    use_server((struct pki_wish){.is_tied = false}, NULL);
}

static void server_of_a_ca_made_anew(void)
{
    struct pki_pair again = pki_authority("Lab Root");

    use_server((struct pki_wish){.issuer = &again, .is_tied = true}, NULL);
    pki_done(&again);
}

static void server_of_a_ca_made_anew_untied(void)
{
    struct pki_pair again = pki_authority("Lab Root");

    use_server((struct pki_wish){.issuer = &again}, &again);
    pki_done(&again);
}

static void server_for_clients(void)
{
    use_server((struct pki_wish){.usage = "clientAuth", .issuer = &scene.root}, NULL);
}

static struct pki_pair make_middle(const char *name)
{
    return pki_make(
        (struct pki_wish){.common_name = name, .issuer = &scene.root, .is_authority = true, .is_tied = true});
}

static void server_without_its_intermediate(void)
{
    struct pki_pair middle = make_middle("Lab Intermediate");

    use_server((struct pki_wish){.issuer = &middle}, NULL);
    pki_done(&middle);
}

static void server_without_its_public_intermediate(void)
{
    struct pki_pair middle = make_middle("R11");

    use_server((struct pki_wish){.issuer = &middle, .extra = "caIssuers;URI:http://r11.i.lencr.org/"}, NULL);
    pki_done(&middle);
}

static void server_below_no_ca(void)
{
    struct pki_pair leaf = pki_make((struct pki_wish){.common_name = "Not A CA", .issuer = &scene.root});

    use_server((struct pki_wish){.issuer = &leaf}, &leaf);
    pki_done(&leaf);
}

static void trust(const struct pki_pair *pair)
{
    ck_assert_int_eq(unlink(scene.config.settings.tls_ca_file), 0);
    pki_write_certificate(scene.config.settings.tls_ca_file, pair);
}

static void server_named_like_its_ca(void)
{
    struct pki_pair twin = pki_authority("localhost");

    trust(&twin);
    use_server((struct pki_wish){.common_name = "localhost", .issuer = &twin}, NULL);
    pki_done(&twin);
}

static void leaf_as_root(void)
{
    struct pki_pair leaf =
        pki_make((struct pki_wish){.common_name = "db1", .names = "DNS:localhost", .issuer = &scene.root});

    trust(&leaf);
    pki_write_certificate(scene.server_certificate, &leaf);
    pki_write_key(scene.server_key, &leaf, NULL);
    pki_done(&leaf);
}

static void intermediate_as_root(void)
{
    struct pki_pair middle = make_middle("Lab Intermediate");

    trust(&middle);
    use_server((struct pki_wish){.issuer = &middle}, &middle);
    pki_done(&middle);
}

static void server_of_another_name(void)
{
    use_server((struct pki_wish){.common_name = "db9", .names = "DNS:db9.example.com,DNS:db9", .issuer = &scene.root},
               NULL);
}

static void server_revoked(void)
{
    struct settings *settings = &scene.config.settings;
    struct pki_pair pair =
        pki_make((struct pki_wish){.common_name = "db1", .names = "DNS:localhost", .issuer = &scene.root});

    pki_write_certificate(scene.server_certificate, &pair);
    pki_write_key(scene.server_key, &pair, NULL);
    set_path(settings->tls_crl_file, CONFIG_TEXT_SIZE, "root.crl");
    pki_write_list(settings->tls_crl_file, &scene.root, pair.certificate, 10);
    pki_done(&pair);
}

static void our_list_of_another_ca(void)
{
    struct settings *settings = &scene.config.settings;
    struct pki_pair other = pki_authority("Other Root");

    use_server((struct pki_wish){.issuer = &scene.root}, NULL);
    set_path(settings->tls_crl_file, CONFIG_TEXT_SIZE, "other.crl");
    pki_write_list(settings->tls_crl_file, &other, NULL, 10);
    pki_done(&other);
}

static void our_list_expired(void)
{
    struct settings *settings = &scene.config.settings;

    use_server((struct pki_wish){.issuer = &scene.root}, NULL);
    set_path(settings->tls_crl_file, CONFIG_TEXT_SIZE, "root.crl");
    pki_write_list(settings->tls_crl_file, &scene.root, NULL, -5);
}

/* A server that is right and takes clients of "Client Root"; the client that root gave out is returned by use. */
static struct pki_pair make_clients_root(void)
{
    struct pki_pair clients = pki_authority("Client Root");

    use_good_server(&clients);
    return clients;
}

static void client_of_another_ca(void)
{
    struct pki_pair clients = make_clients_root(), other = pki_authority("Other Root");

    use_client((struct pki_wish){.issuer = &other}, NULL);
    pki_done(&clients);
    pki_done(&other);
}

static void client_of_a_ca_and_server_knows_its_own(void)
{
    struct pki_pair clients = pki_authority("Client Root");

    use_good_server(&scene.root);
    use_client((struct pki_wish){.issuer = &clients}, NULL);
    pki_done(&clients);
}

static void client_and_a_public_bundle(void)
{
    struct pki_pair clients = pki_authority("Client CA");

    use_good_server(&scene.root);
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "Public CA %d", i);
        struct pki_pair authority = pki_authority(name);
        pki_write_certificate(scene.server_authorities, &authority);
        pki_done(&authority);
    }
    use_client((struct pki_wish){.issuer = &clients}, NULL);
    pki_done(&clients);
}

static void client_self_signed(void)
{
    struct pki_pair clients = make_clients_root();

    use_client((struct pki_wish){.is_tied = false}, NULL);
    pki_done(&clients);
}

static void client_for_servers(void)
{
    struct pki_pair clients = make_clients_root();

    use_client((struct pki_wish){.usage = "serverAuth", .issuer = &clients}, NULL);
    pki_done(&clients);
}

static void client_expired(void)
{
    struct pki_pair clients = make_clients_root();

    use_client((struct pki_wish){.issuer = &clients, .from_days = -9, .until_days = -3}, NULL);
    pki_done(&clients);
}

static void client_of_tomorrow(void)
{
    struct pki_pair clients = make_clients_root();

    use_client((struct pki_wish){.issuer = &clients, .from_days = 1, .until_days = 9}, NULL);
    pki_done(&clients);
}

/* Below "Client Root": a certificate, its intermediate sent or not, and which of the two CAs the server has. */
static void use_client_below(bool is_sent, bool has_server_root)
{
    struct pki_pair clients = pki_authority("Client Root");
    struct pki_pair middle = pki_make(
        (struct pki_wish){.common_name = "Client Issuing", .issuer = &clients, .is_authority = true, .is_tied = true});

    use_good_server(has_server_root ? &clients : &middle);
    use_client((struct pki_wish){.issuer = &middle, .is_tied = true}, is_sent ? &middle : NULL);
    pki_done(&clients);
    pki_done(&middle);
}

static void client_without_its_intermediate(void)
{
    use_client_below(false, true);
}

static void server_knows_the_intermediate_only(void)
{
    use_client_below(true, false);
}

static void client_below_no_ca(void)
{
    struct pki_pair clients = make_clients_root();
    struct pki_pair leaf = pki_make((struct pki_wish){.common_name = "Not A CA", .issuer = &clients});

    use_client((struct pki_wish){.issuer = &leaf}, &leaf);
    pki_done(&clients);
    pki_done(&leaf);
}

static void use_client_of_replaced(bool is_tied)
{
    struct pki_pair clients = make_clients_root(), again = pki_authority("Client Root");

    use_client((struct pki_wish){.issuer = &again, .is_tied = is_tied}, NULL);
    pki_done(&clients);
    pki_done(&again);
}

static void client_of_a_replaced_ca(void)
{
    use_client_of_replaced(true);
}

static void client_of_a_replaced_ca_untied(void)
{
    use_client_of_replaced(false);
}

static void use_server_list(const struct pki_pair *issuer, X509 *revoked, long days)
{
    set_path(scene.server_lists, sizeof scene.server_lists, "clients.crl");
    pki_write_list(scene.server_lists, issuer, revoked, days);
}

static void server_lacks_a_list(void)
{
    struct pki_pair clients = make_clients_root(), other = pki_authority("Other Root");

    use_client((struct pki_wish){.issuer = &clients, .is_tied = true}, NULL);
    use_server_list(&other, NULL, 10);
    pki_done(&clients);
    pki_done(&other);
}

static void server_lacks_the_list_of_an_intermediate(void)
{
    struct pki_pair clients = make_clients_root();
    struct pki_pair middle = pki_make(
        (struct pki_wish){.common_name = "Client Issuing", .issuer = &clients, .is_authority = true, .is_tied = true});

    use_client((struct pki_wish){.issuer = &middle, .is_tied = true}, &middle);
    use_server_list(&clients, NULL, 10);
    pki_done(&clients);
    pki_done(&middle);
}

static void servers_list_expired(void)
{
    struct pki_pair clients = make_clients_root();

    use_client((struct pki_wish){.issuer = &clients}, NULL);
    use_server_list(&clients, NULL, -3);
    pki_done(&clients);
}

static void client_revoked(void)
{
    struct pki_pair clients = make_clients_root();
    X509 *certificate = NULL;

    use_client((struct pki_wish){.issuer = &clients}, NULL);
    FILE *file = fopen(scene.config.settings.tls_cert_file, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(PEM_read_X509(file, &certificate, NULL, NULL));
    fclose(file);
    use_server_list(&clients, certificate, 10);
    X509_free(certificate);
    pki_done(&clients);
}

static void client_key_weak(void)
{
    struct pki_pair clients = make_clients_root();

    use_client((struct pki_wish){.issuer = &clients, .key = EVP_RSA_gen(1024)}, NULL);
    pki_done(&clients);
}

static void client_signed_by_sha1(void)
{
    struct pki_pair clients = make_clients_root();

    use_client((struct pki_wish){.issuer = &clients, .digest = EVP_sha1()}, NULL);
    pki_done(&clients);
}

static void server_too_old(void)
{
    use_server((struct pki_wish){.issuer = &scene.root}, NULL);
    scene.most_version = TLS1_1_VERSION;
}

static void server_with_other_ciphers(void)
{
    use_server((struct pki_wish){.issuer = &scene.root}, NULL);
    scene.most_version = TLS1_2_VERSION;
    scene.ciphers = "ECDHE-RSA-AES256-GCM-SHA384";
}

static void server_without_tls(void)
{
    scene.answer = 'N';
}

static void other_service(void)
{
    scene.answer = 'H';
}

static void say_http(int client)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";

    (void)!write(client, answer, sizeof answer - 1);
}

static void web_server(void)
{
    scene.instead = say_http;
}

static void hang_up(int client)
{
    char bytes[64];

    (void)!read(client, bytes, sizeof bytes);
}

static void server_that_hangs_up(void)
{
    scene.instead = hang_up;
}

static void say_garbage(int client)
{
    char bytes[64];

    (void)!read(client, bytes, sizeof bytes);
    memset(bytes, 'Z', sizeof bytes);
    bytes[0] = 'S';
    (void)!write(client, bytes, sizeof bytes);
    (void)!read(client, bytes, sizeof bytes);
}

static void garbage_after_yes(void)
{
    scene.instead = say_garbage;
}

static void say_yes_then_garbage(int client)
{
    char bytes[64];

    (void)!read(client, bytes, 8);
    (void)!write(client, "S", 1);
    (void)!read(client, bytes, sizeof bytes);
    memset(bytes, 'Z', sizeof bytes);
    (void)!write(client, bytes, sizeof bytes);
    (void)!read(client, bytes, sizeof bytes);
}

static void garbage_instead_of_tls(void)
{
    scene.instead = say_yes_then_garbage;
}

/* What libpq would say, the check that must tell it, a phrase that no other cause has, and one of the fix. */
static const struct fault {
    const char *name;
    void (*prepare)(void);
    const char *words, *check, *cause, *fix;
} faults[] = {
#define FAULT(name, words, check, cause, fix)                                                                          \
    {                                                                                                                  \
#name, name, words, check, cause, fix                                                                          \
    }
    FAULT(server_expired, REFUSED_BY_US, "expiry.server", "The server's certificate expired on 20",
          "Renew the server's certificate"),
    FAULT(server_of_the_future, REFUSED_BY_US, "expiry.server", "is valid only from 20", "date -u"),
    FAULT(server_intermediate_expired, REFUSED_BY_US, "expiry.server",
          "The CA \"CN=Lab Intermediate,O=Lab\" in the chain of the server's certificate expired", "ssl_cert_file"),
    FAULT(server_of_another_ca, REFUSED_BY_US, "chain.server",
          "was signed by \"CN=Other Root,O=Lab\", which is not in tls_ca_file", "another machine answers"),
    FAULT(server_sends_another_root, REFUSED_BY_US, "chain.server",
          "was signed by \"CN=Other Root,O=Lab\", which is not in tls_ca_file", "another machine answers"),
    FAULT(server_of_an_unclear_ca, REFUSED_BY_US, "chain.server", "or it is an intermediate of your CA",
          "If \"CN=Something,O=Lab\" is your CA"),
    FAULT(server_self_signed, REFUSED_BY_US, "chain.server", "is self-signed and does not stand in tls_ca_file",
          "copy it"),
    FAULT(server_of_a_ca_made_anew, REFUSED_BY_US, "chain.server", "the same name, but another key than",
          "present certificate of that CA"),
    FAULT(server_of_a_ca_made_anew_untied, REFUSED_BY_US, "chain.server", "the same name, but another key than",
          "present certificate of that CA"),
    FAULT(server_for_clients, REFUSED_BY_US, "chain.server", "lacks serverAuth", "extendedKeyUsage = serverAuth"),
    FAULT(server_without_its_intermediate, REFUSED_BY_US, "chain.sent",
          "does not send the intermediate CA \"CN=Lab Intermediate,O=Lab\"",
          "append the intermediate to ssl_cert_file"),
    FAULT(server_without_its_public_intermediate, REFUSED_BY_US, "chain.sent",
          "does not send the intermediate CA \"CN=R11,O=Lab\"", "fullchain.pem"),
    FAULT(server_below_no_ca, REFUSED_BY_US, "chain.server", "\"CN=Not A CA,O=Lab\", sent by the server, may not sign",
          "CA:TRUE"),
    FAULT(server_named_like_its_ca, REFUSED_BY_US, "chain.server", "has the same subject as the CA that signed it",
          "different subject"),
    FAULT(leaf_as_root, REFUSED_BY_US, "chain.server", "itself, not its CA \"CN=Lab Root,O=Lab\"",
          "the CA that signed it"),
    FAULT(intermediate_as_root, REFUSED_BY_US, "chain.server", "without the root above it, \"CN=Lab Root,O=Lab\"",
          "Add the certificate of the root"),
    FAULT(server_of_another_name, OTHER_NAME, "name.match",
          "is not for host \"localhost\": its names are DNS:db9.example.com, DNS:db9",
          "subjectAltName = DNS:localhost"),
    FAULT(server_revoked, REFUSED_BY_US, "chain.revocation", "was revoked by its CA, says the list in tls_crl_file",
          "new certificate and key for the server"),
    FAULT(our_list_of_another_ca, REFUSED_BY_US, "chain.revocation", "holds no list of CA \"CN=Lab Root,O=Lab\"",
          "tls_crl_file"),
    FAULT(our_list_expired, REFUSED_BY_US, "expiry.crl", "The revocation list of CA \"CN=Lab Root,O=Lab\"", "gencrl"),
    FAULT(client_of_another_ca, WE_ARE_REFUSED, "identity.chain",
          "does not know CA \"CN=Other Root,O=Lab\", it accepts certificates of \"CN=Client Root,O=Lab\"",
          "Append the certificate of \"CN=Other Root,O=Lab\""),
    FAULT(client_of_a_ca_and_server_knows_its_own, WE_ARE_REFUSED, "identity.chain", "the server's own CA only",
          "client CA"),
    FAULT(client_and_a_public_bundle, WE_ARE_REFUSED, "identity.chain", "is a bundle of 41 CAs",
          "holds the certificate of \"CN=Client CA,O=Lab\" alone"),
    FAULT(client_self_signed, WE_ARE_REFUSED, "identity.chain", "it is self-signed, and the server accepts",
          "sign the client certificate"),
    FAULT(client_for_servers, WE_ARE_REFUSED, "identity.usage", "lacks clientAuth", "your own CA"),
    FAULT(client_expired, "SSL error: sslv3 alert certificate expired", "expiry.client",
          "\"CN=repl,O=Lab\" expired on 20", "Renew the client certificate"),
    FAULT(client_of_tomorrow, "SSL error: sslv3 alert bad certificate", "expiry.client", "by the clock here too",
          "date -u"),
    FAULT(client_without_its_intermediate, WE_ARE_REFUSED, "identity.chain",
          "lacks the intermediate CA \"CN=Client Issuing,O=Lab\"", "Append the intermediate"),
    FAULT(server_knows_the_intermediate_only, WE_ARE_REFUSED, "identity.chain",
          "an intermediate CA of ours, but not the root \"CN=Client Root,O=Lab\"", "Append the root"),
    FAULT(client_below_no_ca, WE_ARE_REFUSED, "identity.chain", "\"CN=Not A CA,O=Lab\" behind it is no CA", "CA:TRUE"),
    FAULT(client_of_a_replaced_ca, WE_ARE_REFUSED, "identity.chain", "has another key than the CA that signed ours",
          "present CA"),
    FAULT(client_of_a_replaced_ca_untied, "SSL error: tlsv1 alert decrypt error", "identity.chain",
          "but that one has another key, so it did not sign", "present CA"),
    FAULT(server_lacks_a_list, WE_ARE_REFUSED, "identity.revocation", "list of a CA of the chain is missing",
          "lists of all CAs"),
    FAULT(server_lacks_the_list_of_an_intermediate, WE_ARE_REFUSED, "identity.revocation",
          "list of a CA of the chain is missing", "lists of all CAs"),
    FAULT(servers_list_expired, "SSL error: sslv3 alert certificate expired", "identity.revocation",
          "list (ssl_crl_file) has expired", "openssl crl"),
    FAULT(client_revoked, "SSL error: sslv3 alert certificate revoked", "identity.revocation",
          "was revoked, says the server's ssl_crl_file", "new certificate and key, and replace"),
    FAULT(client_key_weak, "could not read certificate file: ee key too small", "key.strength",
          "it has an RSA key of 1024 bits", "openssl genpkey"),
    FAULT(client_signed_by_sha1, "could not read certificate file: ca md too weak", "key.strength",
          "it has a signature by SHA-1", "-sha256"),
    FAULT(server_too_old, "SSL error: unsupported protocol", "protocol.handshake", "only up to TLSv1.1",
          "ssl_min_protocol_version"),
    FAULT(server_with_other_ciphers, "SSL error: sslv3 alert handshake failure", "protocol.handshake",
          "no cipher in common", "ssl_ciphers"),
    FAULT(server_without_tls, "server does not support SSL", "protocol.answer",
          "does not speak TLS, and nothing was sent after that", "ssl = on"),
    FAULT(other_service, "received invalid response to SSL negotiation: H", "protocol.answer",
          "it answered bytes that begin with 0x48", "Correct host in section [primary] and port"),
    FAULT(web_server, "received invalid response to SSL negotiation: H", "protocol.answer", "which is HTTP", "port"),
    FAULT(server_that_hangs_up, "server closed the connection unexpectedly", "protocol.answer",
          "closed the connection when it was asked for TLS", "speaks TLS at once"),
    FAULT(garbage_after_yes, "received unencrypted data after SSL response", "protocol.answer",
          "behind its yes the server sent more in the clear", "server's log"),
    FAULT(garbage_instead_of_tls, "SSL error: wrong version number", "protocol.handshake",
          "The TLS handshake broke:", "server's log"),
#undef FAULT
};
#define FAULT_COUNT (sizeof faults / sizeof *faults)

static void probe_and_explain(const struct fault *fault, struct finding *ret_finding)
{
    struct tls_probe_request request = make_request();
    struct tls_probe probe;

    *ret_finding = (struct finding){.check = CHECK_ID_NOTHING};
    request.deadline = clock_monotonic() + 2000000;
    tls_probe_run(&request, &probe);
    ck_assert_msg(tls_explain(&scene.config, &probe, "", ret_finding), "%s: nothing is wrong", fault->name);
    tls_probe_done(&probe);
}

START_TEST(a_fault_is_told_by_its_check_with_cause_and_fix)
{
    const struct fault *fault = &faults[_i];
    struct finding finding;

    fault->prepare();
    start_server();
    probe_and_explain(fault, &finding);
    ck_assert_msg(strcmp(check_rows[finding.check].name, fault->check) == 0, "%s: check %s, cause %s", fault->name,
                  check_rows[finding.check].name, finding.cause);
    ck_assert_msg(strstr(finding.cause, fault->cause) != NULL, "%s: cause %s", fault->name, finding.cause);
    ck_assert_msg(strstr(finding.fix, fault->fix) != NULL, "%s: fix %s", fault->name, finding.fix);
    ck_assert_uint_gt(strlen(finding.seen), 0);
    ck_assert_int_eq(finding.cause[strlen(finding.cause) - 1], '.');
}
END_TEST

START_TEST(a_failed_connection_says_the_same)
{
    const struct fault *fault = &faults[_i];
    struct error err = {.kind = ERROR_SERVER, .message = "as it was"};
    struct finding finding;

    fault->prepare();
    start_server();
    ck_assert(!tls_diagnose(&scene.config, fault->words, &err));
    ck_assert_msg(strcmp(err.check, fault->check) == 0, "%s: check \"%s\", %s", fault->name, err.check, err.message);
    ck_assert_ptr_nonnull(strstr(err.message, "could not connect to server \"primary\" (localhost port "));
    ck_assert_ptr_nonnull(strstr(err.message, fault->words));
    ck_assert_ptr_nonnull(strstr(err.hint, fault->fix));
    ck_assert_int_eq(err.kind, fault->prepare == server_that_hangs_up ? ERROR_SERVER : ERROR_TLS);
    ck_assert(finding_from_error(&err, &finding));
    ck_assert_msg(strstr(finding.cause, fault->cause) != NULL, "%s: cause %s", fault->name, finding.cause);
}
END_TEST

START_TEST(no_fault_is_told_in_the_words_of_another)
{
    static struct finding findings[FAULT_COUNT];

    for (size_t i = 0; i < FAULT_COUNT; i++) {
        struct error ignored;
        forget_scene();
        ck_assert(file_remove_tree(scene.folder, &ignored));
        make_scene();
        faults[i].prepare();
        start_server();
        probe_and_explain(&faults[i], &findings[i]);
    }
    for (size_t i = 0; i < FAULT_COUNT; i++)
        for (size_t j = 0; j < FAULT_COUNT; j++)
            if (strcmp(faults[i].cause, faults[j].cause) != 0)
                ck_assert_msg(strstr(findings[j].cause, faults[i].cause) == NULL, "%s is told as %s: %s",
                              faults[j].name, faults[i].name, findings[j].cause);
}
END_TEST

START_TEST(a_refusal_that_does_not_come_again_is_told_from_libpqs_words)
{
    struct error err = {.kind = ERROR_SERVER};

    use_good_server(&scene.root);
    use_client((struct pki_wish){.issuer = &scene.root}, NULL);
    start_server();
    ck_assert(!tls_diagnose(&scene.config, "SSL error: sslv3 alert certificate expired", &err));
    ck_assert_str_eq(err.check, "identity.revocation");
}
END_TEST

START_TEST(what_is_not_about_tls_stays_as_it_was)
{
    struct error err = {.kind = ERROR_SERVER, .message = "as it was"};

    use_good_server(&scene.root);
    start_server();
    ck_assert(!tls_diagnose(&scene.config, "FATAL:  no pg_hba.conf entry for host \"::1\", SSL encryption", &err));
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_str_eq(err.message, "as it was");
    ck_assert_str_eq(err.check, "");
}
END_TEST

START_TEST(a_good_server_has_no_finding)
{
    struct tls_probe_request request = make_request();
    struct tls_probe probe;
    struct finding finding;

    use_client((struct pki_wish){.issuer = &scene.root}, NULL);
    use_good_server(&scene.root);
    start_server();
    tls_probe_run(&request, &probe);
    ck_assert(!tls_explain(&scene.config, &probe, "", &finding));
    tls_probe_done(&probe);
}
END_TEST

START_TEST(an_address_that_is_not_in_the_certificate_is_asked_for_as_an_address)
{
    struct settings *settings = &scene.config.settings;
    const struct fault fault = {.name = "address"};
    struct finding finding;

    use_good_server(&scene.root);
    snprintf(settings->host, sizeof settings->host, "127.0.0.1");
    settings->hostaddr[0] = '\0';
    start_server();
    probe_and_explain(&fault, &finding);
    ck_assert_int_eq(finding.check, CHECK_ID_name_match);
    ck_assert_ptr_nonnull(strstr(finding.cause, "IP:127.0.0.1"));
    ck_assert_ptr_nonnull(strstr(finding.fix, "subjectAltName = IP:127.0.0.1"));
}
END_TEST

START_TEST(what_the_network_says_is_told_by_its_own_checks)
{
    struct settings *settings = &scene.config.settings;
    const struct fault fault = {.name = "network"};
    struct finding finding;

    settings->port = 1;
    probe_and_explain(&fault, &finding);
    ck_assert_int_eq(finding.check, CHECK_ID_server_connect);
    snprintf(settings->hostaddr, sizeof settings->hostaddr, "no address");
    probe_and_explain(&fault, &finding);
    ck_assert_int_eq(finding.check, CHECK_ID_server_resolve);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("diagnosis");

    tcase_add_checked_fixture(tests, make_scene, forget_scene);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, a_fault_is_told_by_its_check_with_cause_and_fix, 0, (int)FAULT_COUNT);
    tcase_add_loop_test(tests, a_failed_connection_says_the_same, 0, (int)FAULT_COUNT);
    tcase_add_test(tests, no_fault_is_told_in_the_words_of_another);
    tcase_add_test(tests, a_refusal_that_does_not_come_again_is_told_from_libpqs_words);
    tcase_add_test(tests, what_is_not_about_tls_stays_as_it_was);
    tcase_add_test(tests, a_good_server_has_no_finding);
    tcase_add_test(tests, an_address_that_is_not_in_the_certificate_is_asked_for_as_an_address);
    tcase_add_test(tests, what_the_network_says_is_told_by_its_own_checks);
    return suite_run("diagnosis", tests);
}
