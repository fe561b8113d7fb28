#include "daemon/caller_internal.h"

#include <string.h>

#include "pgcoffer/base/memory.h"
#include "support/suite.h"

static struct caller come(void)
{
    struct caller caller = {.uid = 990, .pid = 7, .gid_count = 1, .gids = memory_new(sizeof(gid_t))};

    caller_become_remote(&caller);
    return caller;
}

START_TEST(what_comes_from_the_gateway_is_nobody_until_it_says_on_whose_behalf)
{
    struct caller caller = come();
    struct error err;

    ck_assert_uint_eq(caller.uid, CALLER_NOBODY);
    ck_assert_uint_eq(caller.gid_count, 0);
    ck_assert_str_eq(caller.user, "");
    caller_find_names(&caller); /* looks no user up */
    ck_assert_str_eq(caller.user, "");
    json_t *line SCOPED(scoped_json) = json_pack("{s:s, s:s, s:[s, s], s:s}", "command", "on-behalf", "cn", "db1",
                                                 "san", "db1.example.com", "192.0.2.1", "address", "192.0.2.1:5555");
    ck_assert_msg(caller_take_identity(&caller, line, &err), "%s", err.message);
    ck_assert_str_eq(caller.certificate_names[0], "cert:db1");
    ck_assert_str_eq(caller.certificate_names[1], "san:db1.example.com");
    ck_assert_str_eq(caller.certificate_names[2], "san:192.0.2.1");
    ck_assert_ptr_null(caller.certificate_names[3]);
    ck_assert_str_eq(caller.text, "cert:db1 from 192.0.2.1:5555");
    ck_assert(!caller_take_identity(&caller, line, &err)); /* not a second time */
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    caller_done(&caller);
}
END_TEST

/* Entries of the configuration are compared with the whole name. */
START_TEST(a_long_name_is_kept_whole)
{
    struct caller caller = come();
    char name[256], user[sizeof "cert:" + sizeof name], text[sizeof user + 64];
    struct error err;

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(user, sizeof user, "cert:%s", name);
    snprintf(text, sizeof text, "%s from [2001:db8:1111:2222:3333:4444:5555:6666]:65535", user);
    json_t *line SCOPED(scoped_json) = json_pack("{s:s, s:s, s:[], s:s}", "command", "on-behalf", "cn", name, "san",
                                                 "address", "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
    ck_assert_msg(caller_take_identity(&caller, line, &err), "%s", err.message);
    ck_assert_str_eq(caller.certificate_names[0], user);
    ck_assert_str_eq(caller.user, user);
    ck_assert_str_eq(caller.text, text);
    caller_done(&caller);
}
END_TEST

START_TEST(a_caller_of_this_machine_cannot_say_so)
{
    struct caller caller = {.uid = 990};
    struct error err;

    json_t *line SCOPED(scoped_json) =
        json_pack("{s:s, s:s, s:[], s:s}", "command", "on-behalf", "cn", "db1", "san", "address", "a");
    ck_assert(!caller_take_identity(&caller, line, &err));
    ck_assert_ptr_null(caller.certificate_names);
}
END_TEST

START_TEST(another_first_line_is_no_identity)
{
    struct caller caller = come();
    struct error err;

    json_t *request SCOPED(scoped_json) = json_pack("{s:i, s:s}", "v", 1, "command", "ping");
    json_t *without_address SCOPED(scoped_json) = json_pack("{s:s, s:s}", "command", "on-behalf", "cn", "db1");
    ck_assert(!caller_take_identity(&caller, request, &err));
    ck_assert(!caller_take_identity(&caller, without_address, &err));
    ck_assert_ptr_null(caller.certificate_names);
    caller_done(&caller);
}
END_TEST

START_TEST(names_that_could_be_taken_for_others_are_none)
{
    static const char *const names[] = {"", "a,cert:boss", "a b", "a\tb", "a\x7f"};
    struct error err;
    char long_name[300];

    memset(long_name, 'x', sizeof long_name);
    long_name[256] = '\0';
    for (size_t i = 0; i <= sizeof names / sizeof *names; i++) {
        struct caller caller = come();
        const char *name = i < sizeof names / sizeof *names ? names[i] : long_name;
        json_t *line SCOPED(scoped_json) = json_pack("{s:s, s:s, s:[s, i], s:s}", "command", "on-behalf", "cn", name,
                                                     "san", name, 5, "address", "a:1");
        ck_assert(caller_take_identity(&caller, line, &err));
        ck_assert_ptr_null(caller.certificate_names[0]);
        ck_assert_str_eq(caller.text, "a certificate without a usable name from a:1");
        caller_done(&caller);
    }
}
END_TEST

START_TEST(more_names_than_anybody_needs_are_left_out)
{
    struct caller caller = come();
    json_t *names = json_array();
    struct error err;

    for (int i = 0; i < 1000; i++)
        json_array_append_new(names, json_string("n"));
    json_t *line SCOPED(scoped_json) =
        json_pack("{s:s, s:s, s:o, s:s}", "command", "on-behalf", "cn", "c", "san", names, "address", "a:1");
    ck_assert(caller_take_identity(&caller, line, &err));
    size_t count = 0;
    while (caller.certificate_names[count] != NULL)
        count++;
    ck_assert_uint_eq(count, CALLER_MOST_NAMES);
    caller_done(&caller);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("caller");

    tcase_add_test(tests, what_comes_from_the_gateway_is_nobody_until_it_says_on_whose_behalf);
    tcase_add_test(tests, a_long_name_is_kept_whole);
    tcase_add_test(tests, a_caller_of_this_machine_cannot_say_so);
    tcase_add_test(tests, another_first_line_is_no_identity);
    tcase_add_test(tests, names_that_could_be_taken_for_others_are_none);
    tcase_add_test(tests, more_names_than_anybody_needs_are_left_out);
    return suite_run("caller", tests);
}
