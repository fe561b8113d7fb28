#include "cli/cli_internal.h"
#include "support/suite.h"

static json_t *parse(const char *text)
{
    json_error_t failure;
    json_t *json = json_loads(text, 0, &failure);

    ck_assert_msg(json != NULL, "%s", failure.text);
    return json;
}

static void expect(const char *result_text, const char *items_text, const char *expected_text)
{
    const struct invocation invocation = {.command = COMMAND_ID_status};
    json_t *result SCOPED(scoped_json) = parse(result_text);
    json_t *items SCOPED(scoped_json) = items_text != NULL ? parse(items_text) : NULL;
    json_t *expected SCOPED(scoped_json) = parse(expected_text);

    client_gather_lists(&invocation, items, result);
    ck_assert(json_equal(result, expected));
}

START_TEST(lists_that_came_as_items_stand_in_the_result)
{
    expect("{\"servers\":[],\"jobs\":[]}",
           "[{\"server\":{\"server\":\"a\"}},{\"server\":{\"server\":\"b\"}},"
           "{\"job\":{\"job\":\"7\"}}]",
           "{\"servers\":[{\"server\":\"a\"},{\"server\":\"b\"}],\"jobs\":[{\"job\":\"7\"}]}");
}
END_TEST

START_TEST(a_result_without_items_stays_as_it_is)
{
    expect("{\"jobs\":[{\"job\":\"1\"}]}", NULL, "{\"jobs\":[{\"job\":\"1\"}]}");
}
END_TEST

START_TEST(items_that_belong_nowhere_are_left_out)
{
    expect("{\"jobs\":[]}", "[{\"server\":{\"server\":\"a\"}},{\"job\":\"7\"},{\"weather\":{}},5]", "{\"jobs\":[]}");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("gather");

    tcase_add_test(tests, lists_that_came_as_items_stand_in_the_result);
    tcase_add_test(tests, a_result_without_items_stays_as_it_is);
    tcase_add_test(tests, items_that_belong_nowhere_are_left_out);
    return suite_run("gather", tests);
}
