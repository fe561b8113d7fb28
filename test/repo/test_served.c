#include "pgcoffer/repo/served.h"
#include "repo/repository.h"

static const struct served_certificate first = {
    .subject = "CN=db1",
    .not_after = "2026-12-01T00:00:00Z",
    .fingerprint = "AB:CD",
    .first_seen_at = {INT64_C(1795000000000000)},
};

static const char *document_path(void)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/primary/tls.json", repo.base_dir);
    return path;
}

static void put(const char *text)
{
    struct error err;

    MUST(repo_put_file(&repo, document_path(), text, strlen(text), &err));
}

static void expect_damage(const char *text)
{
    struct served_certificate found;
    struct error err;

    put(text);
    ck_assert_msg(!served_certificate_read(&repo, "primary", &found, &err), "%s", text);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.message, "tls.json"));
}

START_TEST(what_was_noted_last_is_read_back)
{
    struct served_certificate found, second = first;
    struct error err;

    MUST(served_certificate_write(&repo, "primary", &first, &err));
    snprintf(second.fingerprint, sizeof second.fingerprint, "12:34");
    MUST(served_certificate_write(&repo, "primary", &second, &err));
    MUST(served_certificate_read(&repo, "primary", &found, &err));
    ck_assert_str_eq(found.subject, "CN=db1");
    ck_assert_str_eq(found.not_after, "2026-12-01T00:00:00Z");
    ck_assert_str_eq(found.fingerprint, "12:34");
    ck_assert_int_eq(found.first_seen_at.microseconds, first.first_seen_at.microseconds);
}
END_TEST

START_TEST(a_server_that_was_never_seen_has_none)
{
    struct served_certificate found;
    struct error err;

    ck_assert(!served_certificate_read(&repo, "primary", &found, &err));
    ck_assert_int_eq(err.errnum, ENOENT);
}
END_TEST

START_TEST(a_subject_in_any_encoding_is_written_down)
{
    struct served_certificate found, foreign = first;
    struct error err;

    snprintf(foreign.subject, sizeof foreign.subject, "CN=\xff\"db\"");
    MUST(served_certificate_write(&repo, "primary", &foreign, &err));
    MUST(served_certificate_read(&repo, "primary", &found, &err));
    ck_assert_str_eq(found.subject, "CN=?\"db\"");
}
END_TEST

START_TEST(what_is_damaged_or_newer_is_told)
{
    expect_damage("{\"format\":1}\n");
    expect_damage("{\"format\":1,\"server_certificate\":7}\n");
    expect_damage("{\"format\":1,\"server_certificate\":{\"subject\":\"a\",\"not_after\":\"b\",\"fingerprint\":\"c\","
                  "\"first_seen_at\":\"yesterday\"}}\n");
    expect_damage("{\"format\":1,\"server_cert");
    expect_damage("{\"format\":2}\n");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("served");

    tcase_add_checked_fixture(tests, repository_make, repository_remove);
    tcase_add_test(tests, what_was_noted_last_is_read_back);
    tcase_add_test(tests, a_server_that_was_never_seen_has_none);
    tcase_add_test(tests, a_subject_in_any_encoding_is_written_down);
    tcase_add_test(tests, what_is_damaged_or_newer_is_told);
    return suite_run("served", tests);
}
