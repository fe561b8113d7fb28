#include "pgcoffer/base/json.h"

#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "support/suite.h"

static json_t *parse(const char *text)
{
    struct error err;
    json_t *json = json_parse_object(text, strlen(text), &err);

    ck_assert_msg(json != NULL, "%s", err.message);
    return json;
}

START_TEST(values_are_read_by_their_type)
{
    json_t *json SCOPED(scoped_json) = parse("{\"t\":\"x\",\"n\":-5,\"b\":true,\"z\":null}");
    struct error err;
    const char *text;
    int64_t number;
    bool flag;

    ck_assert(json_get_text(json, "t", &text, &err));
    ck_assert_str_eq(text, "x");
    ck_assert(json_get_number(json, "n", -5, -5, &number, &err));
    ck_assert_int_eq(number, -5);
    ck_assert(json_get_boolean(json, "b", &flag, &err));
    ck_assert(flag);
    ck_assert_str_eq(json_text_or_null(json, "t"), "x");
    ck_assert_ptr_null(json_text_or_null(json, "n"));
    ck_assert_int_eq(json_number_or(json, "n", 1), -5);
    ck_assert_int_eq(json_number_or(json, "t", 1), 1);
    ck_assert(json_is_set(json, "b"));
    ck_assert(!json_is_set(json, "z"));
    ck_assert(!json_is_set(json, "none"));
}
END_TEST

START_TEST(what_is_no_text_or_no_time_is_as_if_it_were_not_there)
{
    json_t *json SCOPED(scoped_json) =
        parse("{\"t\":\"x\",\"e\":\"\",\"n\":5,\"z\":null,\"at\":\"2026-11-22T01:30:00.5Z\"}");
    static const char *const none[] = {"n", "z", "absent"};
    struct timestamp time = {7};

    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        ck_assert_str_eq(json_text_or(json, none[i], "?"), "?");
        ck_assert(!json_text_is(json, none[i], ""));
        ck_assert(!json_find_time(json, none[i], &time));
    }
    ck_assert(!json_find_time(json, "t", &time));
    ck_assert(!json_find_time(NULL, "at", &time));
    ck_assert_int_eq(time.microseconds, 7);
    ck_assert_str_eq(json_text_or(json, "t", "?"), "x");
    ck_assert_str_eq(json_text_or(json, "e", "?"), "?");
    ck_assert(json_text_is(json, "e", ""));
    ck_assert(json_text_is(json, "t", "x") && !json_text_is(json, "t", "xy") && !json_text_is(NULL, "t", "x"));
    ck_assert(json_find_time(json, "at", &time));
    ck_assert_int_eq(time.microseconds, INT64_C(1795311000500000));
}
END_TEST

START_TEST(a_time_comes_back_as_it_was_and_never_is_null)
{
    json_t *object SCOPED(scoped_json) = json_object();
    struct timestamp time;

    json_object_set_new(object, "at", json_time((struct timestamp){INT64_C(1795311000500000)}));
    json_object_set_new(object, "never", json_time((struct timestamp){0}));
    ck_assert(json_text_is(object, "at", "2026-11-22T01:30:00.500000Z"));
    ck_assert(json_find_time(object, "at", &time));
    ck_assert_int_eq(time.microseconds, INT64_C(1795311000500000));
    ck_assert(json_is_null(json_object_get(object, "never")));
}
END_TEST

START_TEST(a_missing_key_and_a_wrong_type_are_named)
{
    json_t *json SCOPED(scoped_json) = parse("{\"t\":\"x\",\"n\":5,\"r\":1.5}");
    struct error err;
    const char *text;
    int64_t number;
    bool flag;

    ck_assert(!json_get_text(json, "none", &text, &err));
    ck_assert_str_eq(err.message, "\"none\" is missing");
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert(!json_get_text(json, "n", &text, &err));
    ck_assert_str_eq(err.message, "\"n\" is not a text");
    ck_assert(!json_get_number(json, "r", 0, 9, &number, &err));
    ck_assert_str_eq(err.message, "\"r\" is not a whole number");
    ck_assert(!json_get_number(json, "n", 6, 9, &number, &err));
    ck_assert_str_eq(err.message, "\"n\" is 5, not between 6 and 9");
    ck_assert(!json_get_number(json, "x", 6, 9, &number, &err));
    ck_assert(!json_get_boolean(json, "n", &flag, &err));
    ck_assert(!json_get_boolean(json, "x", &flag, &err));
}
END_TEST

START_TEST(only_one_whole_object_is_accepted)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "1",
                                      "{",
                                      "{\"a\":1,\"a\":2}",
                                      "{} {}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":99999999999999999999}",
                                      "{\"a\":\"\\u0000\"}",
                                      "\033[2J"};
    struct error err;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(json_parse_object(bad[i], strlen(bad[i]), &err) == NULL, "accepted %s", bad[i]);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_ptr_null(strchr(err.message, '\033'));
    }
}
END_TEST

START_TEST(a_line_has_no_newline_and_keeps_the_order)
{
    json_t *json SCOPED(scoped_json) = parse("{ \"b\" : \"x\\ny\",\n \"a\" : [1, 2] }");
    char *line SCOPED(scoped_free) = json_to_line(json);

    ck_assert_str_eq(line, "{\"b\":\"x\\ny\",\"a\":[1,2]}");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("json");

    tcase_add_test(tests, values_are_read_by_their_type);
    tcase_add_test(tests, what_is_no_text_or_no_time_is_as_if_it_were_not_there);
    tcase_add_test(tests, a_time_comes_back_as_it_was_and_never_is_null);
    tcase_add_test(tests, a_missing_key_and_a_wrong_type_are_named);
    tcase_add_test(tests, only_one_whole_object_is_accepted);
    tcase_add_test(tests, a_line_has_no_newline_and_keeps_the_order);
    return suite_run("json", tests);
}
