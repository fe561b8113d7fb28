#include "jobs/receive/lookout_internal.h"
#include "support/suite.h"

#define SYSTEM UINT64_C(7000000000000000001)

/* The servers of the test stand before the real ones: the slots of each, by name; a connection is its server. */
struct pg_connection {
    char slots[4][64];
    enum pg_role role;
    bool has_free_slot;
};
static struct pg_connection servers[3];
static size_t leads_to[3]; /* of each host */
static const char *sqlstate = "";
static unsigned drops;

bool pg_connect_host(const struct server_config *server, size_t host, long most_seconds, const char *application_name,
                     int interrupt_fd, struct pg_connection **ret_connection, struct error *err)
{
    (void)server;
    (void)most_seconds;
    (void)application_name;
    (void)interrupt_fd;
    (void)err;
    *ret_connection = &servers[leads_to[host]];
    return true;
}

/* Temporary slots go with a connection; here one of each server is enough. */
void pg_disconnect(struct pg_connection *connection)
{
    if (connection != NULL)
        memset(connection->slots, 0, sizeof connection->slots);
}

void pg_set_deadline(struct pg_connection *connection, int64_t deadline)
{
    (void)connection;
    (void)deadline;
}

bool pg_ask_role(struct pg_connection *connection, enum pg_role *ret_role, struct error *err)
{
    (void)err;
    *ret_role = connection->role;
    return true;
}

static uint64_t identifiers[3];

bool pg_identify(struct pg_connection *connection, struct pg_identity *ret_identity, struct error *err)
{
    (void)err;
    *ret_identity = (struct pg_identity){
        .system_identifier = identifiers[connection - servers], .timeline = {2}, .position = {5000}};
    return true;
}

const char *pg_last_sqlstate(const struct pg_connection *connection)
{
    (void)connection;
    return sqlstate;
}

static char *find_slot(struct pg_connection *connection, const char *name)
{
    for (size_t i = 0; i < 4; i++)
        if (strcmp(connection->slots[i], name) == 0)
            return connection->slots[i];
    return NULL;
}

bool pg_slot_create_temporary(struct pg_connection *connection, const char *slot, struct error *err)
{
    if (find_slot(connection, slot) != NULL)
        return error_set(err, ERROR_BUSY, "there is one");
    if (!connection->has_free_slot)
        return error_set(err, ERROR_SERVER, "all replication slots are in use");
    snprintf(find_slot(connection, ""), 64, "%s", slot);
    return true;
}

bool pg_slot_drop(struct pg_connection *connection, const char *slot, struct error *err)
{
    char *found = find_slot(connection, slot);

    drops++;
    sqlstate = found != NULL ? "" : "42704";
    if (found == NULL)
        return error_set(err, ERROR_SERVER, "does not exist");
    found[0] = '\0';
    return true;
}

static struct pg_host_report reports[3];
static enum lookout_kinship kinship[3];

static struct pg_host_report host(enum pg_role role, uint32_t timeline, uint64_t position)
{
    return (struct pg_host_report){
        .is_asked = true,
        .role = role,
        .identity = {.system_identifier = SYSTEM, .timeline = {timeline}, .position = {position}}};
}

/* We stream from the first of three, on timeline 2, and are at 5000. */
static struct lookout_input from(enum pg_role role)
{
    return (struct lookout_input){.count = 3,
                                  .here = 0,
                                  .role = role,
                                  .system_identifier = SYSTEM,
                                  .timeline = {2},
                                  .received = {5000},
                                  .received_before = {4000},
                                  .far_bytes = 1000,
                                  .reports = reports,
                                  .kinship = kinship};
}

static size_t choose(enum pg_role role)
{
    struct lookout_input input = from(role);

    return lookout_choose(&input);
}

START_TEST(nobody_leaves_a_primary_for_anything_of_the_same_timeline)
{
    reports[1] = host(PG_ROLE_STANDBY, 2, 9000);
    reports[2] = host(PG_ROLE_PRIMARY, 2, 9000);
    ck_assert_uint_eq(choose(PG_ROLE_PRIMARY), 3);
}
END_TEST

START_TEST(a_primary_is_better_than_the_standby_in_use)
{
    reports[1] = host(PG_ROLE_STANDBY, 2, 9000);
    reports[2] = host(PG_ROLE_PRIMARY, 2, 5000);
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 2);
}
END_TEST

START_TEST(a_primary_of_a_newer_timeline_is_better_than_the_primary_in_use)
{
    reports[1] = host(PG_ROLE_PRIMARY, 3, 4000);
    reports[2] = host(PG_ROLE_PRIMARY, 4, 4500);
    ck_assert_uint_eq(choose(PG_ROLE_PRIMARY), 2);
}
END_TEST

START_TEST(a_standby_of_a_newer_timeline_is_no_reason_to_leave_a_primary)
{
    reports[1] = host(PG_ROLE_STANDBY, 3, 4000);
    reports[2] = host(PG_ROLE_STANDBY, 2, 4000);
    ck_assert_uint_eq(choose(PG_ROLE_PRIMARY), 3);
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 1);
}
END_TEST

START_TEST(an_old_primary_is_never_gone_to)
{
    reports[1] = host(PG_ROLE_PRIMARY, 1, 9000);
    reports[2] = host(PG_ROLE_STANDBY, 1, 9000);
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 3);
    ck_assert_uint_eq(choose(PG_ROLE_PRIMARY), 3);
}
END_TEST

START_TEST(another_cluster_and_one_that_is_down_do_not_count)
{
    reports[1] = host(PG_ROLE_PRIMARY, 3, 9000);
    reports[1].identity.system_identifier++;
    reports[2] = host(PG_ROLE_PRIMARY, 3, 9000);
    reports[2].is_refused = true;
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 3);
    reports[2] = (struct pg_host_report){.is_asked = false};
    ck_assert_uint_eq(choose(PG_ROLE_STANDBY), 3);
}
END_TEST

START_TEST(a_standby_that_stands_still_is_left_for_one_that_is_far_ahead)
{
    struct lookout_input input = from(PG_ROLE_STANDBY);

    reports[1] = host(PG_ROLE_STANDBY, 2, 5999);
    reports[2] = host(PG_ROLE_STANDBY, 2, 6000);
    ck_assert_uint_eq(lookout_choose(&input), 3); /* it moves */
    input.received_before = input.received;
    ck_assert_uint_eq(lookout_choose(&input), 2);
    reports[2] = host(PG_ROLE_STANDBY, 2, 100); /* behind */
    ck_assert_uint_eq(lookout_choose(&input), 3);
}
END_TEST

START_TEST(another_cluster_is_a_problem)
{
    struct lookout_input input = from(PG_ROLE_PRIMARY);
    struct error err;

    reports[1] = host(PG_ROLE_STANDBY, 2, 5000);
    ck_assert(!lookout_find_problem(&input, 1, &err));
    reports[1].identity.system_identifier = 7;
    ck_assert(lookout_find_problem(&input, 1, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_str_eq(err.message, "it has system identifier 7, and the others have 7000000000000000001: it is another "
                                  "cluster");
    ck_assert_str_ne(err.hint, "");
}
END_TEST

START_TEST(a_second_primary_is_a_problem_unless_it_is_gone_to)
{
    struct lookout_input input = from(PG_ROLE_PRIMARY);
    struct error err;

    kinship[1] = LOOKOUT_ANOTHER_SERVER;
    for (uint32_t timeline = 1; timeline <= 2; timeline++) {
        reports[1] = host(PG_ROLE_PRIMARY, timeline, 5000);
        ck_assert(lookout_find_problem(&input, 1, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_ptr_nonnull(strstr(err.hint, "Stop the one"));
    }
    reports[1] = host(PG_ROLE_PRIMARY, 3, 5000);
    ck_assert(!lookout_find_problem(&input, 1, &err));
    reports[1].is_refused = true;
    ck_assert(!lookout_find_problem(&input, 1, &err));
    ck_assert(!lookout_find_problem(&input, 0, &err));
}
END_TEST

START_TEST(one_server_by_two_names_is_none_and_nobody_is_told_to_stop_what_may_be_it)
{
    struct lookout_input input = from(PG_ROLE_PRIMARY);
    struct error err;

    reports[1] = host(PG_ROLE_PRIMARY, 2, 5000);
    kinship[1] = LOOKOUT_SAME_SERVER;
    ck_assert(!lookout_find_problem(&input, 1, &err));
    kinship[1] = LOOKOUT_UNDECIDED;
    ck_assert(lookout_find_problem(&input, 1, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "the same server"));
    ck_assert_ptr_null(strcasestr(err.hint, "stop"));
    kinship[1] = LOOKOUT_SAME_SERVER;
    reports[1] = host(PG_ROLE_PRIMARY, 1, 5000); /* whatever it was taken for, an older timeline is another one */
    ck_assert(lookout_find_problem(&input, 1, &err));
}
END_TEST

/* ---- what is asked ---- */

/* We stream from the first of three, each a server of its own. */
static struct lookout_task look_from(void)
{
    struct lookout_task task = {.count = 3,
                                .here = 0,
                                .role = PG_ROLE_PRIMARY,
                                .system_identifier = SYSTEM,
                                .timeline = {2},
                                .stream = 1,
                                .slot = "pgcoffer"};

    memset(servers, 0, sizeof servers);
    drops = 0;
    for (size_t i = 0; i < 3; i++) {
        servers[i] = (struct pg_connection){.role = PG_ROLE_STANDBY, .has_free_slot = true};
        identifiers[i] = SYSTEM;
        leads_to[i] = i;
    }
    return task;
}

START_TEST(two_names_of_one_server_are_told_from_two_servers)
{
    struct lookout_task task = look_from();

    servers[0].role = servers[1].role = PG_ROLE_PRIMARY;
    leads_to[2] = 0;
    lookout_run(&task);
    ck_assert_int_eq(task.kinship[1], LOOKOUT_ANOTHER_SERVER);
    ck_assert_int_eq(task.kinship[2], LOOKOUT_SAME_SERVER);
    for (size_t i = 0; i < 3; i++)
        ck_assert_ptr_eq(find_slot(&servers[i], ""), servers[i].slots[0]); /* none is left */
    unsigned before = drops;
    lookout_run(&task);
    ck_assert_uint_eq(drops, before); /* it is known */
    servers[1].has_free_slot = false;
    task.stream++; /* perhaps from another server by the same name */
    lookout_run(&task);
    ck_assert_int_eq(task.kinship[1], LOOKOUT_UNDECIDED);
    servers[1].has_free_slot = true;
    lookout_run(&task);
    ck_assert_int_eq(task.kinship[1], LOOKOUT_UNDECIDED); /* not every few seconds */
    task.compared_again_at[1] = 0;
    lookout_run(&task);
    ck_assert_int_eq(task.kinship[1], LOOKOUT_ANOTHER_SERVER);
    task.timeline.value++;
    lookout_run(&task);
    ck_assert_int_eq(task.kinship[1], LOOKOUT_UNDECIDED);
}
END_TEST

START_TEST(a_slot_that_was_left_behind_is_dropped_and_a_missing_one_asked_for_once)
{
    struct lookout_task task = look_from();

    task.is_slot_ours[1] = task.is_slot_ours[2] = true;
    snprintf(servers[1].slots[0], 64, "pgcoffer");
    lookout_run(&task);
    ck_assert_int_eq(task.slots[1], LOOKOUT_SLOT_DROPPED);
    ck_assert_int_eq(task.slots[2], LOOKOUT_SLOT_MISSING);
    ck_assert_uint_eq(drops, 2);
    servers[1].role = PG_ROLE_PRIMARY;
    identifiers[2]++; /* the name leads to another cluster, which may have a slot of that name */
    snprintf(servers[2].slots[0], 64, "pgcoffer");
    lookout_run(&task);
    ck_assert_int_eq(task.slots[1], LOOKOUT_SLOT_KEPT);
    ck_assert_int_eq(task.slots[2], LOOKOUT_SLOT_KEPT);
    ck_assert_str_eq(servers[2].slots[0], "pgcoffer");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("lookout");

    tcase_add_test(tests, nobody_leaves_a_primary_for_anything_of_the_same_timeline);
    tcase_add_test(tests, a_primary_is_better_than_the_standby_in_use);
    tcase_add_test(tests, a_primary_of_a_newer_timeline_is_better_than_the_primary_in_use);
    tcase_add_test(tests, a_standby_of_a_newer_timeline_is_no_reason_to_leave_a_primary);
    tcase_add_test(tests, an_old_primary_is_never_gone_to);
    tcase_add_test(tests, another_cluster_and_one_that_is_down_do_not_count);
    tcase_add_test(tests, a_standby_that_stands_still_is_left_for_one_that_is_far_ahead);
    tcase_add_test(tests, another_cluster_is_a_problem);
    tcase_add_test(tests, a_second_primary_is_a_problem_unless_it_is_gone_to);
    tcase_add_test(tests, one_server_by_two_names_is_none_and_nobody_is_told_to_stop_what_may_be_it);
    tcase_add_test(tests, two_names_of_one_server_are_told_from_two_servers);
    tcase_add_test(tests, a_slot_that_was_left_behind_is_dropped_and_a_missing_one_asked_for_once);
    return suite_run("lookout", tests);
}
