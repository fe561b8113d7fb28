#include <sys/eventfd.h>
#include <sys/statvfs.h>

#include "repo/repository.h"
#include "wal/wal_builder.h"

#include "jobs/receive/filler_internal.h"
#include "pgcoffer/pg/wal_stream.h"

/* The test's own servers, one for each host of the list, and its own disk stand before the real ones. */
#define PIECE 100000

struct pg_connection {
    size_t server;
};

static struct {
    struct wal_builder *wal;
    const char *history; /* NULL: timeline 1 */
    uint64_t kept_from;  /* segment; what lies before it was removed */
    uint64_t breaks_at;  /* position; 0: never */
    struct wal_position next;
} servers[2];
static size_t asked[16], asked_count; /* for START_REPLICATION: the segments */
static uint64_t free_bytes;
static struct wal_builder sound, other;
static struct server_config configured;
static struct filler_task task;
static struct error err;

bool pg_connect(const struct server_config *server, const char *name, int interrupt_fd,
                struct pg_connection **ret_connection, struct error *ret_err)
{
    (void)ret_err;
    ck_assert_str_eq(name, FILLER_APPLICATION_NAME);
    ck_assert_int_eq(interrupt_fd, task.interrupt_fd);
    *ret_connection = memory_new(sizeof **ret_connection);
    (*ret_connection)->server = server->settings.host[0] == 'b';
    return true;
}

void pg_disconnect(struct pg_connection *connection)
{
    free(connection);
}

bool pg_identify(struct pg_connection *connection, struct pg_identity *ret_identity, struct error *ret_err)
{
    (void)ret_err;
    *ret_identity = (struct pg_identity){.system_identifier = BUILDER_SYSTEM,
                                         .timeline = {servers[connection->server].history == NULL ? 1 : 2}};
    return true;
}

bool pg_timeline_history(struct pg_connection *connection, struct timeline timeline, char **ret_text, size_t *ret_size,
                         struct error *ret_err)
{
    (void)ret_err;
    ck_assert_uint_eq(timeline.value, 2);
    *ret_text = memory_copy_text(servers[connection->server].history);
    *ret_size = strlen(*ret_text);
    return true;
}

const char *pg_last_sqlstate(const struct pg_connection *connection)
{
    (void)connection;
    return "";
}

int pg_socket(const struct pg_connection *connection)
{
    (void)connection;
    return -1;
}

bool wal_stream_start(struct pg_connection *connection, const char *slot, struct timeline timeline,
                      struct wal_position position, bool *ret_at_end, enum wal_stream_fault *ret_fault,
                      struct error *ret_err)
{
    uint64_t number = position.value / ONE_MB;

    (void)timeline;
    ck_assert_str_eq(slot, "");
    ck_assert_uint_lt(asked_count, sizeof asked / sizeof asked[0]);
    asked[asked_count++] = number;
    *ret_at_end = false;
    servers[connection->server].next = position;
    if (number >= servers[connection->server].kept_from)
        return true;
    *ret_fault = WAL_FAULT_REMOVED;
    return error_set(ret_err, ERROR_SERVER, "it has already been removed");
}

bool wal_stream_receive(struct pg_connection *connection, struct wal_message *ret_message,
                        enum wal_stream_fault *ret_fault, struct error *ret_err)
{
    struct wal_position *next = &servers[connection->server].next;
    const struct wal_builder *wal = servers[connection->server].wal;
    uint64_t breaks_at = servers[connection->server].breaks_at;

    if (breaks_at != 0 && next->value >= breaks_at) {
        *ret_fault = WAL_FAULT_CONNECTION;
        return error_set(ret_err, ERROR_SERVER, "the connection is gone");
    }
    *ret_message = (struct wal_message){.kind = WAL_MESSAGE_DATA,
                                        .position = *next,
                                        .bytes = wal->bytes + (next->value - wal->first_segment * ONE_MB),
                                        .size = PIECE};
    next->value += PIECE;
    return true;
}

bool wal_stream_feedback(struct pg_connection *connection, struct wal_position written, struct wal_position flushed,
                         bool is_reply_requested, struct error *ret_err)
{
    (void)connection;
    (void)written;
    (void)is_reply_requested;
    (void)ret_err;
    ck_assert_uint_eq(flushed.value, 0);
    return true;
}

int statvfs(const char *path, struct statvfs *ret_state)
{
    (void)path;
    *ret_state = (struct statvfs){.f_frsize = 1, .f_bavail = free_bytes, .f_favail = 1000, .f_files = 1000};
    return 0;
}

/* Segments 3 to 7, with records that run from each into the next. */
static void build(struct wal_builder *wal, uint32_t timeline)
{
    builder_begin(wal);
    wal->timeline = timeline;
    builder_record(wal, 500);
    for (int i = 0; i < 5; i++) {
        builder_fill(wal, BUILDER_SEGMENT, 64);
        builder_record(wal, 300);
    }
}

static void hold_bytes(const struct wal_builder *wal, uint64_t number, uint32_t size)
{
    struct wal_partial *partial = NULL;

    MUST(wal_partial_open(&archive, segment_of(wal->timeline, number), &partial, &err));
    MUST(wal_partial_write(partial, 0, wal->bytes + (number - wal->first_segment) * ONE_MB, size, &err));
    MUST(wal_partial_sync(partial, &err));
    if (size == ONE_MB)
        MUST(wal_partial_finish(partial, &err));
    wal_partial_free(partial);
}

static void make(void)
{
    repository_make();
    memset(servers, 0, sizeof servers);
    build(&sound, 1);
    servers[0].wal = servers[1].wal = &sound;
    asked_count = 0;
    free_bytes = UINT64_C(1) << 40;
    configured = (struct server_config){.name = "primary"};
    snprintf(configured.settings.host, sizeof configured.settings.host, "a, b");
    task = (struct filler_task){.kind = FILLER_FETCH,
                                .server = &configured,
                                .archive = archive,
                                .interrupt_fd = eventfd(0, EFD_CLOEXEC),
                                .finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
}

static void drop(void)
{
    filler_done(&task);
    close(task.interrupt_fd);
    close(task.finished_fd);
    builder_end(&sound);
    builder_end(&other);
    other.bytes = NULL;
    repository_remove();
}

static void fetch(uint32_t timeline, uint64_t start, uint64_t end)
{
    task.gap = (struct wal_gap){.timeline = {timeline}, .start = {start}, .end = {end}, .reason = WAL_GAP_REMOVED};
    filler_run(&task);
}

static void expect_held(const struct wal_builder *wal, uint64_t number, bool is_wanted)
{
    struct buffer plain = BUFFER_WITH_LIMIT(ONE_MB);
    struct wal_file file;

    MUST(wal_archive_read_segment(&archive, segment_of(wal->timeline, number), &plain, &file, &err));
    ck_assert_int_eq(file.state, is_wanted ? WAL_FILE_RAW : WAL_FILE_MISSING);
    if (is_wanted)
        ck_assert_int_eq(memcmp(plain.bytes, wal->bytes + (number - wal->first_segment) * ONE_MB, ONE_MB), 0);
    buffer_done(&plain);
}

START_TEST(a_gap_is_filled_and_each_segment_told_as_soon_as_it_is_there)
{
    eventfd_t told = 0;

    hold_bytes(&sound, 3, ONE_MB);
    hold_bytes(&sound, 4, 5000);
    hold_bytes(&sound, 7, 70000);
    fetch(1, 4 * ONE_MB + 5000, 7 * ONE_MB);
    ck_assert_msg(task.is_done, "%s", task.failure.message);
    for (uint64_t number = 4; number < 7; number++)
        expect_held(&sound, number, true);
    ck_assert_uint_eq(filler_finished(&task), 3);
    ck_assert_int_eq(eventfd_read(task.finished_fd, &told), 0);
    ck_assert_uint_eq(told, 3);
}
END_TEST

START_TEST(a_host_that_was_promoted_elsewhere_is_not_asked_for_wal)
{
    static const char held[] = "1\t0/300100\tno reason\n", elsewhere[] = "1\t0/300200\tno reason\n";

    build(&other, 2);
    MUST(wal_archive_write_history(&archive, (struct timeline){2}, held, sizeof held - 1, &err));
    servers[0].history = elsewhere;
    servers[1].history = held;
    servers[0].wal = servers[1].wal = &other;
    fetch(2, 4 * ONE_MB, 5 * ONE_MB);
    ck_assert_msg(task.is_done, "%s", task.failure.message);
    ck_assert_uint_eq(asked_count, 1);
    servers[1].history = elsewhere;
    task.finished_count = 0;
    fetch(2, 5 * ONE_MB, 6 * ONE_MB);
    ck_assert(!task.is_done);
    ck_assert_msg(strstr(task.failure.message, "they forked elsewhere") != NULL, "%s", task.failure.message);
    ck_assert_uint_eq(asked_count, 1);
    expect_held(&other, 5, false);
}
END_TEST

/* The same pages; the record that runs into the next segment begins earlier, and its rest there is as long. */
static void build_stranger(void)
{
    builder_begin(&other);
    builder_record(&other, 500);
    for (int i = 0; i < 5; i++) {
        builder_fill(&other, BUILDER_SEGMENT, 96);
        builder_record(&other, 332);
    }
}

START_TEST(wal_that_does_not_go_on_from_the_record_before_the_gap_is_not_taken)
{
    /* Its segment 4 begins a record: only the link to the one before tells. */
    builder_end(&sound);
    builder_begin(&sound);
    builder_record(&sound, 300);
    builder_switch(&sound);
    builder_fill(&sound, BUILDER_SEGMENT, 64);
    builder_record(&sound, 300);
    builder_begin(&other);
    builder_record(&other, 200000);
    builder_switch(&other);
    builder_fill(&other, BUILDER_SEGMENT, 64);
    builder_record(&other, 300);
    hold_bytes(&sound, 3, ONE_MB);
    servers[0].wal = servers[1].wal = &other;
    fetch(1, 4 * ONE_MB, 5 * ONE_MB);
    ck_assert(!task.is_done);
    ck_assert_int_eq(task.failure.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(task.failure.message, "does not fit what is held on both sides") != NULL, "%s",
                  task.failure.message);
    expect_held(&other, 4, false);
    servers[1].wal = &sound;
    fetch(1, 4 * ONE_MB, 5 * ONE_MB);
    ck_assert_msg(task.is_done, "%s", task.failure.message);
    expect_held(&sound, 4, true);
}
END_TEST

START_TEST(wal_that_does_not_lead_to_the_record_behind_the_gap_is_not_taken)
{
    build_stranger();
    hold_bytes(&sound, 5, 70000);
    servers[0].wal = &other;
    servers[1].wal = &other;
    fetch(1, 4 * ONE_MB, 5 * ONE_MB);
    ck_assert(!task.is_done);
    expect_held(&other, 4, false);
    ck_assert(!repository_has("wal/00000001/00000000/000000010000000000000004.partial"));
    servers[1].wal = &sound;
    fetch(1, 4 * ONE_MB, 5 * ONE_MB);
    ck_assert_msg(task.is_done, "%s", task.failure.message);
    expect_held(&sound, 4, true);
}
END_TEST

START_TEST(a_part_before_a_fork_must_be_what_the_next_timeline_begins_with)
{
    static const char history[] = "1\t0/401000\tno reason\n";
    struct wal_builder next = sound;
    struct wal_file file;

    build_stranger();
    next.timeline = 2;
    MUST(wal_archive_write_history(&archive, (struct timeline){2}, history, sizeof history - 1, &err));
    hold_bytes(&next, 4, 70000);
    servers[0].wal = servers[1].wal = &other;
    other.bytes[ONE_MB + 2000] ^= 1; /* within a record, whose checksum does not come any more */
    fetch(1, 4 * ONE_MB, 4 * ONE_MB + 0x1000);
    ck_assert(!task.is_done);
    ck_assert_msg(strstr(task.failure.message, "behind the fork") != NULL, "%s", task.failure.message);
    expect_held(&other, 4, false);
    servers[1].wal = &sound;
    fetch(1, 4 * ONE_MB, 4 * ONE_MB + 0x1000);
    ck_assert_msg(task.is_done, "%s", task.failure.message);
    MUST(wal_archive_stat(&archive, segment_of(1, 4), &file, &err));
    ck_assert_uint_eq(file.held_bytes, 0x1000);
}
END_TEST

START_TEST(of_a_segment_that_broke_off_nothing_is_left)
{
    hold_bytes(&sound, 4, 5000);
    servers[0].breaks_at = servers[1].breaks_at = 5 * ONE_MB + 300000;
    fetch(1, 4 * ONE_MB + 5000, 7 * ONE_MB);
    ck_assert(!task.is_done);
    ck_assert(task.has_advanced);
    expect_held(&sound, 4, true);
    ck_assert(!repository_has("wal/00000001/00000000/000000010000000000000005.partial"));
    ck_assert_uint_eq(filler_finished(&task), 1);
    ck_assert_uint_eq(asked[0], 4);
    ck_assert_uint_eq(asked[1], 5); /* the other host, from there on */
}
END_TEST

START_TEST(what_is_held_of_a_segment_stays_when_it_breaks_off)
{
    struct wal_file file;

    hold_bytes(&sound, 4, 5000);
    servers[0].breaks_at = servers[1].breaks_at = 4 * ONE_MB + 300000;
    fetch(1, 4 * ONE_MB + 5000, 7 * ONE_MB);
    MUST(wal_archive_stat(&archive, segment_of(1, 4), &file, &err));
    ck_assert_uint_eq(file.held_bytes, 5000);
}
END_TEST

START_TEST(where_the_beginning_was_removed_a_later_part_is_fetched)
{
    servers[0].kept_from = 100;
    servers[1].kept_from = 6;
    fetch(1, 3 * ONE_MB, 7 * ONE_MB);
    ck_assert_msg(task.is_done, "%s", task.failure.message);
    ck_assert(task.has_advanced);
    expect_held(&sound, 5, false);
    expect_held(&sound, 6, true);
    ck_assert_uint_le(asked_count, 6);
}
END_TEST

START_TEST(no_segment_is_begun_below_the_reserve)
{
    configured.settings.wal_reserve = UINT64_C(100) * ONE_MB;
    free_bytes = UINT64_C(100) * ONE_MB + ONE_MB - 1;
    fetch(1, 4 * ONE_MB, 6 * ONE_MB);
    ck_assert(!task.is_done);
    ck_assert_int_eq(task.failure.errnum, ENOSPC);
    ck_assert_msg(strstr(task.failure.message, "wal_reserve") != NULL, "%s", task.failure.message);
    ck_assert_uint_eq(asked_count, 1); /* nor from the other host */
    expect_held(&sound, 4, false);
    configured.settings.wal_reserve = 0;
    free_bytes = ONE_MB;
    fetch(1, 4 * ONE_MB, 6 * ONE_MB);
    ck_assert_int_eq(task.failure.errnum, ENOSPC);
    free_bytes = UINT64_C(101) * ONE_MB;
    fetch(1, 4 * ONE_MB, 6 * ONE_MB);
    ck_assert_msg(task.is_done, "%s", task.failure.message);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("receive_filler");

    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make, drop);
    tcase_add_test(tests, a_gap_is_filled_and_each_segment_told_as_soon_as_it_is_there);
    tcase_add_test(tests, a_host_that_was_promoted_elsewhere_is_not_asked_for_wal);
    tcase_add_test(tests, wal_that_does_not_go_on_from_the_record_before_the_gap_is_not_taken);
    tcase_add_test(tests, wal_that_does_not_lead_to_the_record_behind_the_gap_is_not_taken);
    tcase_add_test(tests, a_part_before_a_fork_must_be_what_the_next_timeline_begins_with);
    tcase_add_test(tests, of_a_segment_that_broke_off_nothing_is_left);
    tcase_add_test(tests, what_is_held_of_a_segment_stays_when_it_breaks_off);
    tcase_add_test(tests, where_the_beginning_was_removed_a_later_part_is_fetched);
    tcase_add_test(tests, no_segment_is_begun_below_the_reserve);
    return suite_run("receive_filler", tests);
}
