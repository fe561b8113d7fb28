#include "support/suite.h"

#include <fcntl.h>
#include <string.h>

#include "jobs/receive/expiry_log_internal.h"
#include "pgcoffer/base/memory.h"
#include "support/scratch.h"

#define DAY INT64_C(86400000000)

static struct server_config config;
static struct expiry_memory memory;
static struct inventory_entry entries[64];
static struct inventory inventory;

static void inventory_make(void)
{
    scratch_make();
    config = (struct server_config){.name = "primary"};
    config.settings.expiry_warn_days = 21;
    config.settings.expiry_critical_days = 3;
    inventory = (struct inventory){.entries = entries};
    memory = (struct expiry_memory){.next = 0};
    int log SCOPED(scoped_close) = open(scratch_path("log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ck_assert_int_eq(dup2(log, STDERR_FILENO), STDERR_FILENO);
}

static struct inventory_entry *add(enum inventory_kind kind, const char *subject, const char *issuer, int64_t left)
{
    struct inventory_entry *entry = &entries[inventory.count++];

    *entry = (struct inventory_entry){.kind = kind, .state = INVENTORY_VALID, .place = "/etc/x.crt"};
    snprintf(entry->text.subject, sizeof entry->text.subject, "%s", subject);
    snprintf(entry->text.issuer, sizeof entry->text.issuer, "%s", issuer);
    snprintf(entry->text.fingerprint, sizeof entry->text.fingerprint, "%zu", inventory.count);
    entry->text.not_after.microseconds = clock_now().microseconds + left;
    return entry;
}

static bool has_told(const char *words)
{
    struct buffer log = BUFFER_WITH_LIMIT(1 << 20);
    struct error err;

    ck_assert_msg(file_read_whole(scratch_path("log"), &log, &err), "%s", err.message);
    char *text SCOPED(scoped_free) = memory_text("%.*s", (int)log.used, (const char *)log.bytes);
    buffer_done(&log);
    return strstr(text, words) != NULL;
}

static void forget_told(void)
{
    ck_assert_int_eq(truncate(scratch_path("log"), 0), 0);
}

START_TEST(each_kind_is_named_with_what_to_do)
{
    static const char *const words[] = {
        [INVENTORY_CLIENT] = "the client certificate in /etc/x.crt (\"CN=a\")",
        [INVENTORY_CLIENT_CHAIN] = "an intermediate certificate in /etc/x.crt",
        [INVENTORY_AUTHORITY] = "the CA certificate in /etc/x.crt",
        [INVENTORY_REVOCATION_LIST] = "the revocation list in /etc/x.crt (\"CN=b\")",
        [INVENTORY_SERVED] = "the server's certificate, as served at /etc/x.crt",
        [INVENTORY_SERVED_CHAIN] = "a CA certificate that the server sends",
    };

    for (enum inventory_kind kind = INVENTORY_CLIENT; kind <= INVENTORY_SERVED_CHAIN; kind++) {
        inventory.count = 0;
        memory = (struct expiry_memory){.next = 0};
        add(kind, "CN=a", "CN=b", 5 * DAY + DAY / 2);
        expiry_log(&memory, &config, &inventory, NULL);
        ck_assert_msg(has_told(words[kind]), "%s", words[kind]);
        ck_assert(has_told(" warning ") && has_told("in 5 days"));
        forget_told();
    }
}
END_TEST

START_TEST(it_is_told_once_and_again_when_it_becomes_worse)
{
    struct inventory_entry *entry = add(INVENTORY_CLIENT, "CN=a", "CN=b", 30 * DAY);
    int64_t next = expiry_log(&memory, &config, &inventory, NULL);

    ck_assert_int_le(next, clock_monotonic() + 9 * DAY + 1000000);
    ck_assert_int_ge(next, clock_monotonic() + 9 * DAY - 60000000);
    ck_assert(!has_told("CN=a"));
    entry->text.not_after.microseconds -= 10 * DAY;
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(has_told(" warning "));
    forget_told();
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(!has_told("CN=a"));
    entry->text.not_after.microseconds -= 18 * DAY + DAY / 2;
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(has_told(" error ") && has_told("in 35 hours"));
    forget_told();
    entry->text.not_after.microseconds -= 10 * DAY;
    ck_assert_int_eq(expiry_log(&memory, &config, &inventory, NULL), INT64_MAX);
    ck_assert(has_told(" error ") && has_told("ended on"));
}
END_TEST

START_TEST(of_the_ca_file_only_what_the_served_chain_needs_is_told)
{
    add(INVENTORY_AUTHORITY, "CN=left", "CN=left", -100 * DAY);
    add(INVENTORY_AUTHORITY, "CN=renewed", "CN=renewed", 5 * DAY); /* its successor stands beside it */
    add(INVENTORY_AUTHORITY, "CN=renewed", "CN=renewed", 500 * DAY);
    add(INVENTORY_AUTHORITY, "CN=root", "CN=root", 5 * DAY);
    add(INVENTORY_SERVED, "CN=db1", "CN=between", 500 * DAY);
    add(INVENTORY_SERVED_CHAIN, "CN=between", "CN=root", 500 * DAY);
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(has_told("CN=root"));
    ck_assert(!has_told("CN=left") && !has_told("CN=renewed"));
}
END_TEST

START_TEST(of_a_server_out_of_reach_only_the_one_ca_is_told)
{
    add(INVENTORY_AUTHORITY, "CN=root", "CN=root", 5 * DAY);
    add(INVENTORY_SERVED, "", "", 0)->state = INVENTORY_UNKNOWN;
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(has_told("CN=root"));
    forget_told();
    memory = (struct expiry_memory){.next = 0};
    add(INVENTORY_AUTHORITY, "CN=other", "CN=other", 5 * DAY);
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(!has_told("CN="));
}
END_TEST

START_TEST(what_is_endless_or_unknown_is_not_told)
{
    add(INVENTORY_REVOCATION_LIST, "", "CN=b", -DAY)->is_endless = true;
    add(INVENTORY_CLIENT, "", "", 0)->state = INVENTORY_UNKNOWN;
    ck_assert_int_eq(expiry_log(&memory, &config, &inventory, NULL), INT64_MAX);
    ck_assert(!has_told("end"));
}
END_TEST

START_TEST(the_certificate_of_the_stream_is_told_unless_it_lies_in_the_file)
{
    struct pg_certificate own = {.subject = "CN=own", .fingerprint = "1"};

    timestamp_format((struct timestamp){clock_now().microseconds + DAY}, own.not_after);
    add(INVENTORY_CLIENT, "CN=a", "CN=b", 500 * DAY);
    expiry_log(&memory, &config, &inventory, &own);
    ck_assert(!has_told("CN=own"));
    snprintf(own.fingerprint, sizeof own.fingerprint, "former");
    int64_t next = expiry_log(&memory, &config, &inventory, &own);
    ck_assert(has_told("the client certificate of the running stream (\"CN=own\")"));
    ck_assert_int_le(next, clock_monotonic() + DAY);
}
END_TEST

START_TEST(a_long_name_is_told_once_too)
{
    char name[200];

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    add(INVENTORY_REVOCATION_LIST, "", name, DAY)->text.fingerprint[0] = '\0';
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(has_told("the revocation list"));
    forget_told();
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(!has_told("the revocation list"));
}
END_TEST

START_TEST(of_a_chain_without_end_the_first_are_told_and_not_again)
{
    char subject[16];

    for (int number = 0; number < 60; number++) {
        snprintf(subject, sizeof subject, "CN=%02d", number);
        add(number == 0 ? INVENTORY_SERVED : INVENTORY_SERVED_CHAIN, subject, "CN=root", DAY);
    }
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(has_told("CN=00") && has_told("CN=01"));
    ck_assert(!has_told("CN=59"));
    forget_told();
    expiry_log(&memory, &config, &inventory, NULL);
    ck_assert(!has_told("CN="));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive expiry log");

    tcase_add_checked_fixture(tests, inventory_make, scratch_remove);
    tcase_add_test(tests, each_kind_is_named_with_what_to_do);
    tcase_add_test(tests, it_is_told_once_and_again_when_it_becomes_worse);
    tcase_add_test(tests, of_the_ca_file_only_what_the_served_chain_needs_is_told);
    tcase_add_test(tests, of_a_server_out_of_reach_only_the_one_ca_is_told);
    tcase_add_test(tests, what_is_endless_or_unknown_is_not_told);
    tcase_add_test(tests, the_certificate_of_the_stream_is_told_unless_it_lies_in_the_file);
    tcase_add_test(tests, a_long_name_is_told_once_too);
    tcase_add_test(tests, of_a_chain_without_end_the_first_are_told_and_not_again);
    return suite_run("receive_expiry_log", tests);
}
