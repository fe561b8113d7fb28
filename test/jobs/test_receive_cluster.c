#include <sys/socket.h>

#include "repo/repository.h"

#include "jobs/receive/receiver_internal.h"

#define OLD UINT64_C(7000000000000000001)
#define NEW UINT64_C(7000000000000000002)

static const struct wal_segment_size size = {ONE_MB};
static struct server_config config = {.name = "primary"};
static struct control_stream *supervisor;
static struct receiver receiver;

/* WAL of a server of version 15 is held, and three hosts are configured. */
static void cluster_make(void)
{
    struct error err;
    int ends[2];

    repository_make();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    supervisor = control_stream_new(ends[0], CONTROL_CHANNEL_SIZE);
    receiver = (struct receiver){
        .server = &config,
        .repo = &repo,
        .report = {.channel = control_stream_new(ends[1], CONTROL_CHANNEL_SIZE), .slot = "pgcoffer"},
        .hosts = {.count = 3},
    };
    MUST(receive_cluster_adopt(&receiver, OLD, 150004, size, &err));
}

static void cluster_remove(void)
{
    receive_compressor_free(receiver.compressor);
    receive_report_done(&receiver.report);
    control_stream_free(receiver.report.channel);
    control_stream_free(supervisor);
    repository_remove();
}

static void assert_still_held(uint64_t system_identifier)
{
    struct system_id stored;
    struct error err;

    MUST(repo_read_server(&repo, "primary", &stored, &err));
    ck_assert_uint_eq(system_id_value(&stored), system_identifier);
}

START_TEST(one_of_several_hosts_with_a_higher_version_does_not_take_over)
{
    struct error err;

    for (unsigned differs = 0; differs < 2; differs++) { /* another one is silent, or says something else */
        receiver.hosts.common_system = differs * OLD;
        ck_assert(!receive_cluster_check(&receiver, NEW, 170002, &err));
        ck_assert(!receive_cluster_adopt(&receiver, NEW, 170002, size, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_ptr_nonnull(strstr(err.message, "7000000000000000002 and version 17"));
        ck_assert_ptr_nonnull(strstr(err.message, "7000000000000000001, version 15"));
        ck_assert_ptr_nonnull(strstr(err.hint, "pgcoffer reload"));
        assert_still_held(OLD);
    }
}
END_TEST

START_TEST(an_upgrade_that_all_hosts_tell_of_is_followed)
{
    struct error err;

    receiver.hosts.common_system = NEW;
    MUST(receive_cluster_check(&receiver, NEW, 170002, &err));
    assert_still_held(OLD);
    MUST(receive_cluster_adopt(&receiver, NEW, 170002, size, &err));
    assert_still_held(NEW);
    receiver.hosts.common_system = 0;
    MUST(receive_cluster_adopt(&receiver, NEW, 170002, size, &err));
    ck_assert(!receive_cluster_check(&receiver, OLD, 150004, &err));
}
END_TEST

START_TEST(an_upgrade_of_the_only_host_is_followed)
{
    struct error err;

    receiver.hosts.count = 1;
    MUST(receive_cluster_adopt(&receiver, NEW, 160000, size, &err));
    assert_still_held(NEW);
}
END_TEST

START_TEST(another_cluster_begins_with_nothing_acknowledged)
{
    struct error err;

    receiver.hosts.count = 1;
    receiver.acknowledged_timeline.value = 1;
    receiver.acknowledged.value = 5 * ONE_MB;
    MUST(receive_cluster_adopt(&receiver, OLD, 150004, size, &err));
    ck_assert_uint_eq(receiver.acknowledged.value, 5 * ONE_MB);
    MUST(receive_cluster_adopt(&receiver, NEW, 160000, size, &err));
    ck_assert_uint_eq(receiver.acknowledged.value, 0);
    ck_assert_uint_eq(receiver.acknowledged_timeline.value, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive cluster");

    tcase_add_checked_fixture(tests, cluster_make, cluster_remove);
    tcase_add_test(tests, one_of_several_hosts_with_a_higher_version_does_not_take_over);
    tcase_add_test(tests, an_upgrade_that_all_hosts_tell_of_is_followed);
    tcase_add_test(tests, an_upgrade_of_the_only_host_is_followed);
    tcase_add_test(tests, another_cluster_begins_with_nothing_acknowledged);
    return suite_run("receive_cluster", tests);
}
