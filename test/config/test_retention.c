#include "pgcoffer/config/retention.h"

#include <string.h>

#include "pgcoffer/base/memory.h"
#include "support/suite.h"

#define SERVER "[p]\nhost = db1\nuser = repl\ntls_ca_file = /ca\ntls_cert_file = /c\ntls_key_file = /k\n"

static void assert_places(const char *text, unsigned days, unsigned weeks, unsigned months, unsigned years)
{
    struct retention_places places = {9, 9, 9, 9}, again;
    char printed[RETENTION_PLACES_TEXT_SIZE];
    struct error err;

    ck_assert_msg(retention_places_parse(text, &places, &err), "%s: %s", text, err.message);
    ck_assert_uint_eq(places.days, days);
    ck_assert_uint_eq(places.weeks, weeks);
    ck_assert_uint_eq(places.months, months);
    ck_assert_uint_eq(places.years, years);
    retention_places_format(&places, printed);
    ck_assert(retention_places_parse(printed, &again, &err));
    ck_assert_int_eq(memcmp(&places, &again, sizeof places), 0);
}

START_TEST(places_may_be_left_out)
{
    assert_places("7, 4, 12, 5", 7, 4, 12, 5);
    assert_places("7,4,12,5", 7, 4, 12, 5);
    assert_places(" 7 ,\t4", 7, 4, 0, 0);
    assert_places("7", 7, 0, 0, 0);
    assert_places("7, -, 12, -", 7, 0, 12, 0);
    assert_places("-, -, -, 1", 0, 0, 0, 1);
    assert_places("36525, 5218, 1200, 100", 36525, 5218, 1200, 100);
}
END_TEST

START_TEST(a_policy_in_doubt_is_refused)
{
    static const char *const wrong[] = {"",
                                        "-",
                                        "-,-,-,-",
                                        "7,",
                                        ",7",
                                        "7,,4",
                                        "7,4,12,5,",
                                        "0",
                                        "7, 0",
                                        "7 4",
                                        "+7",
                                        "-1",
                                        "7d",
                                        "7, 4, 12, 5, 1",
                                        "36526",
                                        "7,5219",
                                        "1,1,1201",
                                        "1,1,1,101",
                                        "99999999999999999999"};
    struct retention_places places;
    struct error err;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(!retention_places_parse(wrong[i], &places, &err), "\"%s\"", wrong[i]);
        ck_assert_int_eq(err.kind, ERROR_CONFIG);
        ck_assert_str_ne(err.hint, "");
    }
}
END_TEST

START_TEST(durations_have_units)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } right[] = {{"1min", 60},         {"90 min", 5400}, {"36h", 129600},     {"7d", 604800},
                 {"14 days", 1209600}, {"10d", 864000},  {"24 hours", 86400}, {"36525d", INT64_C(36525) * 86400}};
    static const char *const wrong[] = {
        "", "7", "0d", "d", "-1d", "7 d d", "1.5h", "36526d", "7m", "7dd", "99999999999999999999d"};
    int64_t seconds;
    struct error err;

    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        ck_assert_msg(retention_duration_parse(right[i].text, &seconds, &err), "%s", right[i].text);
        ck_assert_int_eq(seconds, right[i].seconds);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_msg(!retention_duration_parse(wrong[i], &seconds, &err), "\"%s\"", wrong[i]);
}
END_TEST

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct error err;

    ck_assert_msg(config_parse(text, strlen(text), "c", &config, &err), "%s", err.message);
    return config;
}

/* As it was written, and as a worker gets it from the supervisor. */
static void assert_effective(const char *text, const char *retention, long count)
{
    struct config *config SCOPED(scoped_config) = parse(text);
    char *printed SCOPED(scoped_free) = config_to_text(config);
    struct config *again SCOPED(scoped_config) = parse(printed);

    ck_assert_int_eq(config->servers[0].settings.retention_count, count);
    ck_assert_int_eq(again->servers[0].settings.retention_count, count);
    if (count == 0) {
        ck_assert_str_eq(config->servers[0].settings.retention, retention);
        ck_assert_str_eq(again->servers[0].settings.retention, retention);
    }
}

START_TEST(the_nearer_section_decides)
{
    assert_effective(SERVER, "7, 4, 12, 5", 0);
    assert_effective("[pgcoffer]\nretention = 3\n" SERVER, "3", 0);
    assert_effective("[pgcoffer]\nretention_count = 3\n" SERVER, "", 3);
    assert_effective("[pgcoffer]\nretention_count = 3\n" SERVER "retention = 9, 1\n", "9, 1", 0);
    assert_effective("[pgcoffer]\nretention = 3\n" SERVER "retention_count = 2\n", "", 2);
    assert_effective("[pgcoffer]\nretention_count = 3\n" SERVER "retention_count = 0\n", "7, 4, 12, 5", 0);
    assert_effective(SERVER "retention = 9\nretention_count = 0\n", "9", 0);
}
END_TEST

START_TEST(both_in_one_section_are_refused)
{
    static const char *const wrong[] = {SERVER "retention = 9\nretention_count = 1\n",
                                        "[pgcoffer]\nretention_count = 1\nretention = 9\n" SERVER};
    struct config *config = NULL;
    struct error err;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert(!config_parse(wrong[i], strlen(wrong[i]), "c", &config, &err));
        ck_assert_int_eq(err.kind, ERROR_CONFIG);
        ck_assert_ptr_nonnull(strstr(err.message, "only one can decide"));
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("retention");

    tcase_add_test(tests, places_may_be_left_out);
    tcase_add_test(tests, a_policy_in_doubt_is_refused);
    tcase_add_test(tests, durations_have_units);
    tcase_add_test(tests, the_nearer_section_decides);
    tcase_add_test(tests, both_in_one_section_are_refused);
    return suite_run("retention", tests);
}
