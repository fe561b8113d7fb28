#include "pgcoffer/tls/probe.h"

#include <netdb.h>
#include <poll.h>

#include "support/suite.h"
#include "tls/fake_server.h"

#define MILLISECOND  INT64_C(1000)
#define UNKNOWN_CA   48
#define MOST_REFUSED 100

static struct tls_probe run(struct tls_probe_request request)
{
    struct tls_probe probe;

    tls_probe_run(&request, &probe);
    return probe;
}

/* ---- a server that is one ---- */

START_TEST(a_good_server_is_accepted_and_described)
{
    struct tls_probe_request request = make_request();

    use_client((struct pki_wish){.issuer = &scene.root}, NULL);
    use_good_server(&scene.root);
    scene.most_version = _i == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    start_server();
    int64_t start = clock_monotonic();
    struct tls_probe probe = run(request);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_ACCEPTED);
    ck_assert_int_lt(clock_monotonic() - start, 1500 * MILLISECOND);
    ck_assert_str_eq(probe.version, _i == 0 ? "TLSv1.2" : "TLSv1.3");
    ck_assert_str_eq(probe.address, "127.0.0.1");
    ck_assert_str_eq(probe.words, "");
    ck_assert_uint_gt(strlen(probe.cipher), 0);
    ck_assert(probe.is_certificate_wanted);
    ck_assert(!probe.is_name_wrong);
    ck_assert_int_eq(probe.alert, -1);
    ck_assert_int_eq(sk_X509_num(probe.chain), 1);
    ck_assert_int_eq(sk_X509_NAME_num(probe.accepted), 1);
    tls_probe_done(&probe);
}
END_TEST

START_TEST(keys_of_every_usual_kind_are_shown)
{
    EVP_PKEY *keys[] = {EVP_EC_gen("P-256"), EVP_RSA_gen(2048), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};

    use_good_server(&scene.root);
    use_client((struct pki_wish){.issuer = &scene.root, .key = keys[_i % 3]}, NULL);
    for (int i = 0; i < 3; i++)
        if (i != _i % 3)
            EVP_PKEY_free(keys[i]);
    scene.most_version = _i < 3 ? TLS1_2_VERSION : TLS1_3_VERSION;
    start_server();
    struct tls_probe probe = run(make_request());
    ck_assert_msg(probe.outcome == TLS_PROBE_ACCEPTED, "outcome %d: %s", (int)probe.outcome, probe.words);
    tls_probe_done(&probe);
}
END_TEST

START_TEST(every_certificate_of_the_file_is_sent)
{
    struct pki_pair clients = pki_authority("Client Root");
    struct pki_pair middle =
        pki_make((struct pki_wish){.common_name = "Middle", .issuer = &clients, .is_authority = true});
    struct pki_pair lower =
        pki_make((struct pki_wish){.common_name = "Lower", .issuer = &middle, .is_authority = true});

    use_good_server(&clients);
    use_client((struct pki_wish){.issuer = &lower}, &lower);
    if (_i == 1)
        pki_write_certificate(scene.config.settings.tls_cert_file, &middle);
    start_server();
    struct tls_probe probe = run(make_request());
    ck_assert_int_eq(probe.outcome, _i == 1 ? TLS_PROBE_ACCEPTED : TLS_PROBE_REFUSED_BY_PEER);
    tls_probe_done(&probe);
    pki_done(&clients);
    pki_done(&middle);
    pki_done(&lower);
}
END_TEST

START_TEST(a_certificate_may_come_from_memory_or_not_at_all)
{
    struct pki_pair other = pki_make((struct pki_wish){.common_name = "repl"});
    struct tls_probe_request request = make_request();

    use_good_server(&scene.root);
    use_client((struct pki_wish){.issuer = &scene.root}, NULL);
    start_server();
    request.certificate = other.certificate;
    request.key = other.key;
    struct tls_probe probe = run(request);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_REFUSED_BY_PEER);
    ck_assert_int_eq(probe.alert, UNKNOWN_CA);
    tls_probe_done(&probe);
    request = make_request();
    request.certificate_path = request.key_path = "";
    probe = run(request);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_ACCEPTED);
    ck_assert(probe.is_certificate_wanted);
    tls_probe_done(&probe);
    pki_done(&other);
}
END_TEST

START_TEST(only_the_ciphers_that_were_asked_for_are_offered)
{
    struct tls_probe_request request = make_request();

    use_good_server(&scene.root);
    scene.most_version = TLS1_2_VERSION;
    start_server();
    request.ciphers = "ECDHE-ECDSA-AES128-SHA";
    struct tls_probe probe = run(request);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_ACCEPTED);
    ck_assert_str_eq(probe.cipher, "ECDHE-ECDSA-AES128-SHA");
    tls_probe_done(&probe);
    request.ciphers = "aNULL:eNULL";
    request.is_weak_allowed = true;
    probe = run(request);
    ck_assert_int_ne(probe.outcome, TLS_PROBE_ACCEPTED);
    ck_assert(!probe.is_unprepared);
    tls_probe_done(&probe);
}
END_TEST

START_TEST(an_anonymous_handshake_succeeds_where_it_is_offered)
{
    struct tls_probe_request request = make_request();

    use_good_server(&scene.root);
    scene.most_version = TLS1_2_VERSION;
    scene.ciphers = "ALL:aNULL:@SECLEVEL=0";
    start_server();
    request.ciphers = "aNULL";
    request.is_weak_allowed = true;
    struct tls_probe probe = run(request);
    ck_assert_msg(probe.outcome == TLS_PROBE_ACCEPTED, "%s", probe.words);
    ck_assert_ptr_null(probe.chain);
    tls_probe_done(&probe);
}
END_TEST

START_TEST(one_address_may_be_chosen)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
    struct tls_probe_request request = make_request();

    use_good_server(&scene.root);
    start_server();
    address.sin_port = htons((uint16_t)scene.config.settings.port);
    request.address = (struct sockaddr *)&address;
    request.address_size = sizeof address;
    struct tls_probe probe = run(request);
    /* The child listens on 127.0.0.1 only. */
    ck_assert_int_eq(probe.outcome, TLS_PROBE_UNREACHABLE);
    ck_assert_str_eq(probe.address, "");
    ck_assert(!probe.is_unresolved);
    tls_probe_done(&probe);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(scene.config.settings.hostaddr, sizeof scene.config.settings.hostaddr, "192.0.2.1");
    probe = run(request);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_ACCEPTED);
    tls_probe_done(&probe);
}
END_TEST

START_TEST(files_that_do_not_serve_are_told_before_the_server_hears_of_us)
{
    struct settings *settings = &scene.config.settings;

    use_client((struct pki_wish){.issuer = &scene.root, .key = EVP_RSA_gen(1024)}, NULL);
    settings->port = 1;
    struct tls_probe probe = run(make_request());
    ck_assert_int_eq(probe.outcome, TLS_PROBE_BROKEN);
    ck_assert(probe.is_unprepared);
    ck_assert_ptr_nonnull(strstr(probe.words, "too small"));
    tls_probe_done(&probe);
}
END_TEST

/* ---- talking ---- */

struct chat {
    const char *question;
    char answer[64];
    size_t answer_size;
    bool is_written;
    int reads;
};

static void chat(void *context, struct tls_talk *talk)
{
    struct chat *chat = context;
    char bytes[64];

    chat->is_written = tls_talk_write(talk, chat->question, strlen(chat->question));
    for (size_t size; (size = tls_talk_read(talk, bytes, sizeof bytes)) > 0; chat->reads++) {
        size_t room = sizeof chat->answer - chat->answer_size;
        memcpy(chat->answer + chat->answer_size, bytes, size < room ? size : room);
        chat->answer_size += size < room ? size : room;
    }
}

START_TEST(one_may_talk_on_behind_the_handshake)
{
    struct tls_probe_request request = make_request();
    struct chat said = {.question = "who is there?"};

    use_good_server(&scene.root);
    use_client((struct pki_wish){.issuer = &scene.root}, NULL);
    scene.greeting = "it is me";
    scene.most_version = _i == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    start_server();
    request.converse = chat;
    request.context = &said;
    struct tls_probe probe = run(request);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_ACCEPTED);
    ck_assert(said.is_written);
    ck_assert_uint_eq(said.answer_size, strlen(scene.greeting));
    ck_assert_int_eq(memcmp(said.answer, scene.greeting, said.answer_size), 0);
    ck_assert_str_eq(probe.words, "the server closed the connection");
    tls_probe_done(&probe);
}
END_TEST

static void echo(int client)
{
    char bytes[64];
    ssize_t size = read(client, bytes, sizeof bytes);

    if (size > 0)
        (void)!write(client, bytes, (size_t)size);
}

START_TEST(one_may_talk_in_the_clear)
{
    struct tls_probe_request request = make_request();
    struct chat said = {.question = "in the clear"};

    scene.instead = echo;
    start_server();
    request.is_plain = true;
    request.converse = chat;
    request.context = &said;
    struct tls_probe probe = run(request);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_ACCEPTED);
    ck_assert_uint_eq(said.answer_size, strlen(said.question));
    ck_assert_int_eq(memcmp(said.answer, said.question, said.answer_size), 0);
    ck_assert_str_eq(probe.version, "");
    tls_probe_done(&probe);
}
END_TEST

/* ---- a refusal after the handshake ---- */

START_TEST(a_refusal_of_tls_1_3_is_never_lost)
{
    struct pki_pair clients = pki_authority("Client Root");
    int told = 0;

    use_good_server(&clients);
    use_client((struct pki_wish){.issuer = &scene.root}, NULL);
    scene.least_version = TLS1_3_VERSION;
    start_server();
    for (int i = 0; i < MOST_REFUSED; i++) {
        struct tls_probe_request request = make_request();
        struct chat said = {.question = "a startup packet, so to say"};
        if (_i == 1) {
            request.converse = chat;
            request.context = &said;
        }
        struct tls_probe probe = run(request);
        told += probe.outcome == TLS_PROBE_REFUSED_BY_PEER && probe.alert == UNKNOWN_CA;
        ck_assert_uint_eq(said.answer_size, 0);
        tls_probe_done(&probe);
    }
    ck_assert_int_eq(told, MOST_REFUSED);
    pki_done(&clients);
}
END_TEST

/* Our flight is longer than what the server reads before it decides: the rest meets a closed connection. */
START_TEST(a_refusal_in_the_middle_of_our_flight_is_not_lost_either)
{
    struct pki_pair clients = pki_authority("Client Root");
    int told = 0;

    use_good_server(&clients);
    use_client((struct pki_wish){.issuer = &scene.root}, &scene.root);
    for (int i = 0; i < 60; i++)
        pki_write_certificate(scene.config.settings.tls_cert_file, &scene.root);
    scene.most_version = _i == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    start_server();
    for (int i = 0; i < 20; i++) {
        struct tls_probe probe = run(make_request());
        told += probe.outcome == TLS_PROBE_REFUSED_BY_PEER && probe.alert == UNKNOWN_CA;
        tls_probe_done(&probe);
    }
    ck_assert_int_eq(told, 20);
    pki_done(&clients);
}
END_TEST

/* ---- servers that are none ---- */

static void yes(int client)
{
    char bytes[8];

    (void)!recv(client, bytes, sizeof bytes, MSG_WAITALL);
    (void)!write(client, "S", 1);
}

static void hear(int client)
{
    char bytes[4096];

    (void)!read(client, bytes, sizeof bytes);
}

static void listen_for_ever(int client)
{
    char bytes[4096];

    while (read(client, bytes, sizeof bytes) > 0)
        continue;
}

static void say_nothing(int client)
{
    listen_for_ever(client);
}

static void say_yes_and_nothing_more(int client)
{
    yes(client);
    listen_for_ever(client);
}

static void say_garbage(int client)
{
    char bytes[4096];

    yes(client);
    hear(client);
    memset(bytes, 'Z', sizeof bytes);
    (void)!write(client, bytes, sizeof bytes);
    listen_for_ever(client);
}

static void say_half_a_record(int client)
{
    yes(client);
    hear(client);
    (void)!write(client, "\x16\x03\x03\x40\x00\x02", 6);
    listen_for_ever(client);
}

static void hang_up_in_a_record(int client)
{
    yes(client);
    hear(client);
    (void)!write(client, "\x16\x03\x03\x40\x00\x02", 6);
}

static void pour(int client, const char *bytes, size_t size)
{
    char many[8190];
    size_t used = 0;

    while (used + size <= sizeof many) {
        memcpy(many + used, bytes, size);
        used += size;
    }
    while (write(client, many, used) == (ssize_t)used)
        continue;
}

/* OpenSSL passes these over, one after the other, as long as there are any. */
static void pour_hello_requests(int client)
{
    yes(client);
    hear(client);
    pour(client, "\x16\x03\x03\x00\x04\x00\x00\x00\x00", 9);
}

static void pour_warnings(int client)
{
    yes(client);
    hear(client);
    pour(client, "\x15\x03\x03\x00\x02\x01\x64", 7);
}

static void pour_changes(int client)
{
    yes(client);
    hear(client);
    pour(client, "\x14\x03\x03\x00\x01\x01", 6);
}

static void pour_bytes(int client)
{
    pour(client, "x", 1);
}

static void pour_errors(int client)
{
    pour(client, "Esorry ", 7);
}

/* One byte of a long record every few milliseconds: never silent, never done. */
static void drip(int client)
{
    struct pollfd never = {.fd = -1};

    yes(client);
    hear(client);
    (void)!write(client, "\x16\x03\x03\x40\x00", 5);
    while (write(client, "\x02", 1) == 1)
        poll(&never, 1, 10);
}

static const struct misbehaviour {
    const char *name;
    void (*instead)(int client);
    enum tls_probe_outcome outcome;
    bool is_patient; /* nothing but the deadline ends it */
} misbehaviours[] = {
    {"nothing", say_nothing, TLS_PROBE_UNREACHABLE, true},
    {"yes and nothing", say_yes_and_nothing_more, TLS_PROBE_BROKEN, true},
    {"garbage", say_garbage, TLS_PROBE_BROKEN, false},
    {"half a record", say_half_a_record, TLS_PROBE_BROKEN, true},
    {"half a record and an end", hang_up_in_a_record, TLS_PROBE_BROKEN, false},
    {"endless handshake", pour_hello_requests, TLS_PROBE_BROKEN, false},
    {"endless warnings", pour_warnings, TLS_PROBE_BROKEN, false},
    {"endless changes", pour_changes, TLS_PROBE_BROKEN, false},
    {"endless bytes", pour_bytes, TLS_PROBE_NOT_POSTGRES, false},
    {"endless errors", pour_errors, TLS_PROBE_NOT_POSTGRES, false},
    {"drops", drip, TLS_PROBE_BROKEN, true},
};

START_TEST(a_server_that_misbehaves_costs_no_more_than_the_deadline)
{
    const struct misbehaviour *misbehaviour = &misbehaviours[_i];
    struct tls_probe_request request = make_request();

    scene.instead = misbehaviour->instead;
    start_server();
    int64_t start = clock_monotonic();
    request.deadline = start + (misbehaviour->is_patient ? 300 : 8000) * MILLISECOND;
    struct tls_probe probe = run(request);
    int64_t taken = clock_monotonic() - start;
    ck_assert_msg(probe.outcome == misbehaviour->outcome, "%s: outcome %d, %s", misbehaviour->name, (int)probe.outcome,
                  probe.words);
    ck_assert_uint_gt(strlen(probe.words), 0);
    ck_assert_msg(taken < (misbehaviour->is_patient ? 1300 : 6000) * MILLISECOND, "%s: %ld ms", misbehaviour->name,
                  (long)(taken / MILLISECOND));
    tls_probe_done(&probe);
}
END_TEST

/* After a good handshake as well, and in the clear. */
static void pour_behind_tls(int client)
{
    SSL_CTX *context = make_server_context();
    SSL *ssl = SSL_new(context);
    char bytes[4096];

    yes(client);
    SSL_set_fd(ssl, client);
    memset(bytes, 'x', sizeof bytes);
    if (SSL_accept(ssl) == 1)
        while (SSL_write(ssl, bytes, sizeof bytes) > 0)
            continue;
    SSL_free(ssl);
    SSL_CTX_free(context);
}

START_TEST(endless_talk_ends_too)
{
    struct tls_probe_request request = make_request();
    struct chat said = {.question = "stop"};

    use_good_server(&scene.root);
    scene.instead = _i == 2 ? pour_bytes : pour_behind_tls;
    start_server();
    request.is_plain = _i == 2;
    if (_i > 0) {
        request.converse = chat;
        request.context = &said;
    }
    int64_t start = clock_monotonic();
    struct tls_probe probe = run(request);
    ck_assert_int_lt(clock_monotonic() - start, 8000 * MILLISECOND);
    ck_assert_ptr_nonnull(strstr(probe.words, "without coming to an end"));
    ck_assert_int_eq(probe.outcome, _i == 0 ? TLS_PROBE_BROKEN : TLS_PROBE_ACCEPTED);
    tls_probe_done(&probe);
}
END_TEST

START_TEST(talk_ends_at_the_deadline)
{
    struct tls_probe_request request = make_request();
    struct chat said = {.question = "hello?"};

    scene.instead = say_nothing;
    start_server();
    request.is_plain = true;
    request.converse = chat;
    request.context = &said;
    request.deadline = clock_monotonic() + 200 * MILLISECOND;
    struct tls_probe probe = run(request);
    ck_assert_int_eq(probe.outcome, TLS_PROBE_BROKEN);
    ck_assert_str_eq(probe.words, "no answer in time");
    tls_probe_done(&probe);
}
END_TEST

/* ---- names ---- */

START_TEST(names_are_compared_as_libpq_compares_them)
{
    static const struct {
        const char *common_name, *names, *host;
        bool fits;
    } cases[] = {
        {"db1", "DNS:db1.example.com", "db1.example.com", true},
        {"db1", "DNS:db1.example.com", "DB1.Example.COM", true},
        {"db1", "DNS:db1.example.com", "db1", false},
        {"db1", NULL, "db1", true},
        {"db1", "IP:192.0.2.1", "db1", true},
        {"db1", "email:root@example.com", "db1", true},
        {"other", "DNS:*.example.com", "db1.example.com", true},
        {"other", "DNS:*.example.com", "a.db1.example.com", false},
        {"other", "DNS:*.example.com", "example.com", false},
        {"other", "DNS:db*.example.com", "db1.example.com", false},
        {"other", "DNS:*", "db1", false},
        {"db1", "DNS:db1", "192.0.2.1", false},
        {"db1", "IP:192.0.2.1", "192.0.2.1", true},
        {"db1", "IP:192.0.2.1", "192.0.2.2", false},
        {"db1", "IP:2001:db8::1", "2001:db8:0:0::1", true},
        {"db1", "IP:2001:db8::1", "2001:db8::2", false},
        {"db1", "DNS:192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", NULL, "192.0.2.1", true},
        {"192.0.2.1", "IP:192.0.2.9", "192.0.2.1", false},
        {NULL, NULL, "db1", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pki_pair pair =
            pki_make((struct pki_wish){.common_name = cases[i].common_name, .names = cases[i].names});
        ck_assert_msg(tls_name_matches(pair.certificate, cases[i].host) == cases[i].fits, "%zu: %s", i, cases[i].host);
        pki_done(&pair);
    }
}
END_TEST

START_TEST(a_name_that_ends_early_is_no_name)
{
    struct pki_pair pair = pki_make((struct pki_wish){.is_tied = false});
    X509_NAME *subject = X509_get_subject_name(pair.certificate);

    X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC, (const unsigned char *)"db1\0.evil.example", 17,
                               -1, 0);
    ck_assert(!tls_name_matches(pair.certificate, "db1"));
    pki_done(&pair);
}
END_TEST

START_TEST(a_host_leads_to_addresses_or_to_words)
{
    struct addrinfo *addresses = NULL;
    struct settings *settings = &scene.config.settings;
    char words[128] = "";

    settings->port = 5432;
    ck_assert(tls_probe_resolve(&scene.config, &addresses, words, sizeof words));
    ck_assert_int_eq(addresses->ai_family, AF_INET);
    freeaddrinfo(addresses);
    snprintf(settings->hostaddr, sizeof settings->hostaddr, "localhost");
    ck_assert(!tls_probe_resolve(&scene.config, &addresses, words, sizeof words));
    ck_assert_ptr_null(addresses);
    ck_assert_uint_gt(strlen(words), 0);
    struct tls_probe probe = run(make_request());
    ck_assert_int_eq(probe.outcome, TLS_PROBE_UNREACHABLE);
    ck_assert(probe.is_unresolved);
    tls_probe_done(&probe);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("probe");

    tcase_add_checked_fixture(tests, make_scene, forget_scene);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, a_good_server_is_accepted_and_described, 0, 2);
    tcase_add_loop_test(tests, keys_of_every_usual_kind_are_shown, 0, 6);
    tcase_add_loop_test(tests, every_certificate_of_the_file_is_sent, 0, 2);
    tcase_add_test(tests, a_certificate_may_come_from_memory_or_not_at_all);
    tcase_add_test(tests, only_the_ciphers_that_were_asked_for_are_offered);
    tcase_add_test(tests, an_anonymous_handshake_succeeds_where_it_is_offered);
    tcase_add_test(tests, one_address_may_be_chosen);
    tcase_add_test(tests, files_that_do_not_serve_are_told_before_the_server_hears_of_us);
    tcase_add_loop_test(tests, one_may_talk_on_behind_the_handshake, 0, 2);
    tcase_add_test(tests, one_may_talk_in_the_clear);
    tcase_add_loop_test(tests, a_refusal_of_tls_1_3_is_never_lost, 0, 2);
    tcase_add_loop_test(tests, a_refusal_in_the_middle_of_our_flight_is_not_lost_either, 0, 2);
    tcase_add_loop_test(tests, a_server_that_misbehaves_costs_no_more_than_the_deadline, 0,
                        (int)(sizeof misbehaviours / sizeof *misbehaviours));
    tcase_add_loop_test(tests, endless_talk_ends_too, 0, 3);
    tcase_add_test(tests, talk_ends_at_the_deadline);
    tcase_add_test(tests, names_are_compared_as_libpq_compares_them);
    tcase_add_test(tests, a_name_that_ends_early_is_no_name);
    tcase_add_test(tests, a_host_leads_to_addresses_or_to_words);
    return suite_run("probe", tests);
}
