#include <sys/socket.h>

#include "jobs/verify/verify_internal.h"

#include "repo/repository.h"
#include "repo/sample_backup.h"
#include "wal/wal_builder.h"

/* Segments 3 to 6 of timeline 1, compressed; what a verification of them leaves noted. */
#define FIRST_SEGMENT 3
#define SEGMENTS      4

static struct wal_builder wal;
static struct server_config server = {.name = "primary"};
static struct config config = {.servers = &server, .server_count = 1};
static struct control_stream *events;
static int ends[2], interrupt_ends[2];
static json_t *results;
static struct verify verify;
static struct error err;

static const char *name_of(uint64_t number, const char *suffix)
{
    static char path[128];

    snprintf(path, sizeof path, "wal/00000001/00000000/0000000100000000%08X%s", (unsigned)number, suffix);
    return path;
}

static void begin(void)
{
    repository_make();
    builder_begin(&wal);
    while (wal.used < SEGMENTS * BUILDER_SEGMENT)
        builder_record(&wal, 70000);
    for (uint64_t i = 0; i < SEGMENTS; i++) {
        repository_put(name_of(FIRST_SEGMENT + i, ""), wal.bytes + i * BUILDER_SEGMENT, BUILDER_SEGMENT);
        MUST(wal_archive_compress(&archive, segment_of(1, FIRST_SEGMENT + i), 1, &err));
    }
    static const char segment_size[] = "{\"format\":1,\"segment_size\":1048576}\n";
    repository_put("wal/segment_size.json", segment_size, strlen(segment_size));
    MUST(repo_write_server(&repo, "primary", &system_id, &err));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    ck_assert_int_eq(pipe(interrupt_ends), 0);
    events = control_stream_new(ends[0], CONTROL_CHANNEL_SIZE);
    results = json_array();
    verify = (struct verify){.repo = &repo, .events = events, .interrupt_fd = interrupt_ends[0], .is_recording = true};
}

static void finish(void)
{
    json_decref(results);
    control_stream_free(events);
    close(ends[1]);
    close(interrupt_ends[0]);
    close(interrupt_ends[1]);
    builder_end(&wal);
    repository_remove();
}

/* `options` is stolen. */
static bool run(json_t *options, int64_t deadline, int64_t since)
{
    struct request request = {.command = COMMAND_ID_verify, .server = "primary", .options = options};

    json_array_clear(results);
    verify.began = clock_now();
    verify.since.microseconds = since;
    verify.deadline = deadline;
    verify.problem_count = 0;
    verify.done_bytes = 0;
    progress_meter_start(&verify.meter, clock_monotonic());
    bool ok = verify_partially(&verify, &request, &config, results, &err);
    json_decref(options);
    return ok;
}

static int64_t wal_number(const char *key)
{
    return json_number_or(json_object_get(json_array_get(results, 0), "wal"), key, -1);
}

static int64_t verified_at(uint64_t number)
{
    struct wal_verified *verified SCOPED(scoped_free) = memory_new(sizeof *verified);

    MUST(wal_verified_read(&archive, verified, &err));
    return wal_verified_at(verified, segment_of(1, number)).microseconds;
}

START_TEST(what_was_read_is_noted_and_left_out_by_the_next_run)
{
    MUST(run(json_object(), 0, 0));
    ck_assert_int_eq(wal_number("segments"), SEGMENTS);
    int64_t first = verified_at(FIRST_SEGMENT);
    ck_assert_int_gt(first, 0);
    ck_assert_int_eq(verified_at(FIRST_SEGMENT + SEGMENTS - 1), first);
    MUST(run(json_object(), 0, first));
    ck_assert_int_eq(wal_number("recent"), SEGMENTS);
    ck_assert_int_eq(wal_number("segments"), 0);
    MUST(run(json_object(), 0, first + 1));
    ck_assert_int_eq(wal_number("segments"), SEGMENTS);
    ck_assert_int_gt(verified_at(FIRST_SEGMENT), first);
}
END_TEST

START_TEST(nothing_is_noted_without_the_daemon)
{
    verify.is_recording = false;
    MUST(run(json_object(), 0, 0));
    ck_assert(!repository_has("wal/verified.json"));
}
END_TEST

static void flip(uint64_t number)
{
    char *path SCOPED(scoped_free) = memory_copy_text(name_of(number, ".zst"));
    struct buffer bytes = repository_get(path);
    struct stat status;
    ck_assert_int_eq(stat(repository_path(path), &status), 0);
    struct timespec times[2] = {status.st_atim, status.st_mtim};

    bytes.bytes[bytes.used / 2] ^= 0x10;
    repository_put(path, bytes.bytes, bytes.used);
    ck_assert_int_eq(utimensat(AT_FDCWD, repository_path(path), times, 0), 0);
    buffer_done(&bytes);
}

START_TEST(a_segment_that_was_sound_and_is_not_any_more_is_not_recent)
{
    MUST(run(json_object(), 0, 0));
    flip(FIRST_SEGMENT + 1);
    MUST(run(json_object(), 0, 0));
    ck_assert_uint_gt(verify.problem_count, 0);
    ck_assert_int_eq(verified_at(FIRST_SEGMENT + 1), 0);
    ck_assert_int_gt(verified_at(FIRST_SEGMENT), 0);
    ck_assert_int_gt(verified_at(FIRST_SEGMENT + 2), 0);
    MUST(run(json_object(), 0, 1));
    ck_assert_uint_gt(verify.problem_count, 0); /* it is read again, and found damaged again */
    ck_assert_int_eq(wal_number("segments"), 1);
    flip(FIRST_SEGMENT + 1);
    MUST(run(json_object(), 0, 1));
    ck_assert_uint_eq(verify.problem_count, 0);
    ck_assert_int_gt(verified_at(FIRST_SEGMENT + 1), 0);
}
END_TEST

START_TEST(when_the_time_is_over_all_the_rest_is_left_and_nothing_is_wrong)
{
    MUST(run(json_object(), 1, 0));
    ck_assert_int_eq(wal_number("left"), SEGMENTS);
    ck_assert_int_eq(wal_number("segments"), 0);
    ck_assert_uint_eq(verify.problem_count, 0);
    ck_assert_int_eq(verified_at(FIRST_SEGMENT), 0);
}
END_TEST

/* As a kill between two records, or a SIGTERM: what was read until then is not read in vain. */
START_TEST(what_was_read_before_an_interrupt_is_noted)
{
    ck_assert_int_eq(write(interrupt_ends[1], "x", 1), 1);
    ck_assert(!run(json_object(), 0, 0));
    ck_assert_int_eq(err.errnum, ECANCELED);
    ck_assert_int_gt(verified_at(FIRST_SEGMENT), 0);
    ck_assert_int_eq(verified_at(FIRST_SEGMENT + SEGMENTS - 1), 0);
}
END_TEST

/* ---- backups: their files are not there, which a verification finds soon ---- */

#define OLD    "20261120T013000Z"
#define NEWER  "20261121T013000Z"
#define NEWEST "20261122T013000Z"
#define FRESH  "20261123T013000Z"

static void put_backup(const char *name, const struct backup_proof *proof)
{
    struct backup_meta *meta SCOPED(scoped_backup_meta) = sample_backup(name, system_id.text);
    char *lock SCOPED(scoped_free) = memory_text("backup/%s/lock", name);

    repository_put(lock, "", 0);
    MUST(backup_meta_write(&repo, meta, &err));
    if (proof != NULL)
        MUST(backup_verified_write(&repo, "primary", &system_id, &meta->id, proof, &err));
}

static struct backup_proof proof_of(const char *name)
{
    struct backup_proof proof;
    struct backup_id id;

    ck_assert(backup_id_parse(name, &id));
    MUST(backup_verified_read(&repo, "primary", &system_id, &id, &proof, &err));
    return proof;
}

static void assert_backup(size_t i, const char *id, const char *state)
{
    const json_t *backup = json_array_get(json_object_get(json_array_get(results, 0), "backups"), i);

    ck_assert_str_eq(json_text_or_null(backup, "id"), id);
    ck_assert_str_eq(json_text_or_null(backup, "state"), state);
}

/* A time to come is that of a clock that was set back, and says nothing. */
START_TEST(what_was_never_verified_comes_first_then_the_oldest)
{
    put_backup(OLD, &(struct backup_proof){.at = {2000}, .is_good = true});
    put_backup(NEWER, &(struct backup_proof){.at = {1000}, .is_good = true});
    put_backup(NEWEST, &(struct backup_proof){.at = {INT64_C(4102444800000000)}, .is_good = true}); /* in 2100 */
    put_backup(FRESH, NULL);
    MUST(run(json_pack("{s:b}", "oldest-first", 1), 0, 0));
    assert_backup(0, NEWEST, "damaged");
    assert_backup(1, FRESH, "damaged");
    assert_backup(2, NEWER, "damaged");
    assert_backup(3, OLD, "damaged");
    ck_assert(!proof_of(OLD).is_good);
    ck_assert_ptr_nonnull(strstr(proof_of(OLD).words, "backup.json: it names no backup_manifest.zst"));
}
END_TEST

START_TEST(a_backup_that_needs_more_than_is_left_is_put_off_and_the_others_are_read)
{
    put_backup(OLD, &(struct backup_proof){.at = {1000}, .is_good = true, .milliseconds = 100000000});
    put_backup(NEWER, &(struct backup_proof){.unfinished_milliseconds = 100000000});
    put_backup(NEWEST, &(struct backup_proof){.at = {2000}, .is_good = true, .milliseconds = 10});
    MUST(run(json_pack("{s:b}", "oldest-first", 1), clock_monotonic() + INT64_C(3600000000), 0));
    assert_backup(0, NEWER, "left");
    assert_backup(1, OLD, "left");
    assert_backup(2, NEWEST, "damaged");
    ck_assert_int_eq(wal_number("segments"), SEGMENTS);
    ck_assert_int_eq(wal_number("left"), 0);
    ck_assert(proof_of(OLD).is_good);
}
END_TEST

START_TEST(what_had_no_time_to_end_keeps_its_verdict_and_tells_how_long_it_was_tried)
{
    put_backup(OLD, &(struct backup_proof){.at = {1000}, .is_good = true, .milliseconds = 5});
    struct catalogue catalogue SCOPED(catalogue_done) = {.entries = NULL};
    MUST(catalogue_read(&repo, "primary", &catalogue, &err));
    verify.server = "primary";
    MUST(verify_record_unfinished(&verify, &catalogue.entries[0], 777, &err));
    struct backup_proof proof = proof_of(OLD);
    ck_assert(proof.is_good);
    ck_assert_int_eq(proof.at.microseconds, 1000);
    ck_assert_uint_eq(proof.unfinished_milliseconds, 777);
    MUST(verify_record_backup(&verify, &catalogue.entries[0], 900, &err));
    ck_assert_uint_eq(proof_of(OLD).unfinished_milliseconds, 0);
    ck_assert_uint_eq(proof_of(OLD).milliseconds, 900);
}
END_TEST

/* One problem is told before the first byte is read. */
START_TEST(damage_found_before_an_interrupt_is_noted)
{
    struct catalogue catalogue SCOPED(catalogue_done) = {.entries = NULL};
    struct backup_meta *meta SCOPED(scoped_backup_meta) = sample_backup(OLD, system_id.text);
    enum verify_outcome outcome;

    meta->files[0].size = 4;
    repository_put("backup/" OLD "/lock", "", 0);
    repository_put("backup/" OLD "/base.tar.zst", "four", 4);
    MUST(backup_meta_write(&repo, meta, &err));
    MUST(backup_verified_write(&repo, "primary", &system_id, &meta->id,
                               &(struct backup_proof){.at = {1000}, .is_good = true}, &err));
    MUST(catalogue_read(&repo, "primary", &catalogue, &err));
    ck_assert_int_eq(write(interrupt_ends[1], "x", 1), 1);
    verify.server = "primary";
    ck_assert(!verify_backup(&verify, &catalogue.entries[0], &outcome, &err));
    ck_assert_int_eq(err.errnum, ECANCELED);
    ck_assert_int_eq(outcome, VERIFY_DAMAGED);
    ck_assert(!proof_of(OLD).is_good);
    ck_assert_ptr_nonnull(strstr(proof_of(OLD).words, "backup_manifest.zst"));
}
END_TEST

START_TEST(of_a_backup_that_is_gone_nothing_is_said)
{
    struct catalogue catalogue SCOPED(catalogue_done) = {.entries = NULL};
    json_t *told SCOPED(scoped_json) = json_array();
    enum verify_outcome outcome;
    uint64_t freed;

    put_backup(OLD, NULL);
    MUST(catalogue_read(&repo, "primary", &catalogue, &err));
    MUST(catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err));
    verify.server = "primary";
    MUST(verify_backup(&verify, &catalogue.entries[0], &outcome, &err));
    ck_assert_int_eq(outcome, VERIFY_GONE);
    ck_assert(!repository_has("backup/" OLD));
    verify_add_result(told, &catalogue.entries[0], outcome);
    ck_assert_uint_eq(json_array_size(told), 0);
}
END_TEST

/* How long reading takes is not known beforehand: some time between nothing and everything is found. */
START_TEST(a_run_that_is_over_in_the_middle_keeps_what_it_has_read_and_the_next_reads_the_rest)
{
    int64_t too_short = 0, too_long = INT64_C(10000000), first = 0, last = 1;

    for (int i = 0; i < 1000 && (first == 0 || last != 0); i++) {
        int64_t time = (too_short + too_long) / 2;
        if (repository_has("wal/verified.json"))
            ck_assert_int_eq(unlink(repository_path("wal/verified.json")), 0);
        MUST(run(json_pack("{s:b}", "oldest-first", 1), clock_monotonic() + time, 0));
        ck_assert_uint_eq(verify.problem_count, 0);
        first = verified_at(FIRST_SEGMENT);
        last = verified_at(FIRST_SEGMENT + SEGMENTS - 1);
        *(first == 0 ? &too_short : &too_long) = time;
        if (too_long - too_short < 10) { /* another one was quicker or slower */
            too_short /= 2;
            too_long *= 2;
        }
    }
    ck_assert_int_gt(first, 0);
    ck_assert_int_eq(last, 0);
    ck_assert_int_gt(wal_number("left"), 0);
    MUST(run(json_pack("{s:b}", "oldest-first", 1), 0, first));
    ck_assert_int_gt(wal_number("recent"), 0);
    ck_assert_int_eq(wal_number("recent") + wal_number("segments"), SEGMENTS);
    ck_assert_int_eq(wal_number("left"), 0);
    ck_assert_int_gt(verified_at(FIRST_SEGMENT + SEGMENTS - 1), first);
}
END_TEST

START_TEST(a_good_verdict_of_a_time_to_come_or_a_bad_one_is_not_recent)
{
    put_backup(OLD, &(struct backup_proof){.at = {INT64_C(4102444800000000)}, .is_good = true});
    put_backup(NEWER, &(struct backup_proof){.at = {2000}, .is_good = true});
    put_backup(NEWEST, &(struct backup_proof){.at = {2000}});
    MUST(run(json_object(), 0, 1000));
    assert_backup(0, NEWER, "recent");
    assert_backup(1, OLD, "damaged");
    assert_backup(2, NEWEST, "damaged");
}
END_TEST

int main(void)
{
    TCase *group = tcase_create("record");

    tcase_set_timeout(group, 60);
    tcase_add_checked_fixture(group, begin, finish);
    tcase_add_test(group, what_was_read_is_noted_and_left_out_by_the_next_run);
    tcase_add_test(group, nothing_is_noted_without_the_daemon);
    tcase_add_test(group, a_segment_that_was_sound_and_is_not_any_more_is_not_recent);
    tcase_add_test(group, when_the_time_is_over_all_the_rest_is_left_and_nothing_is_wrong);
    tcase_add_test(group, what_was_read_before_an_interrupt_is_noted);
    tcase_add_test(group, what_was_never_verified_comes_first_then_the_oldest);
    tcase_add_test(group, a_backup_that_needs_more_than_is_left_is_put_off_and_the_others_are_read);
    tcase_add_test(group, what_had_no_time_to_end_keeps_its_verdict_and_tells_how_long_it_was_tried);
    tcase_add_test(group, damage_found_before_an_interrupt_is_noted);
    tcase_add_test(group, of_a_backup_that_is_gone_nothing_is_said);
    tcase_add_test(group, a_run_that_is_over_in_the_middle_keeps_what_it_has_read_and_the_next_reads_the_rest);
    tcase_add_test(group, a_good_verdict_of_a_time_to_come_or_a_bad_one_is_not_recent);
    return suite_run("verify record", group);
}
