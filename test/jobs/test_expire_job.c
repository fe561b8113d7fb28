#include <sys/socket.h>

#include "jobs/expire/expire_internal.h"
#include "pgcoffer/jobs/job.h"
#include "pgcoffer/repo/backup_notes.h"
#include "pgcoffer/repo/wal_gaps.h"
#include "pgcoffer/repo/wal_lease.h"
#include "repo/repository.h"
#include "repo/sample_backup.h"

/*
 * Made-up repositories on the disk, and retention's job upon them: what a preview says, what the run says and what is
 * gone afterwards must be one thing.
 */

#define HISTORIES 200
#define DAY       (INT64_C(86400) * 1000000)

/* What a power cut leaves is the breaking machine's question; thousands of these would take minutes. */
int fsync(int fd)
{
    (void)fd;
    return 0;
}

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)(seed >> 8) * below) >> 24);
}

/* ---- a repository ---- */

struct branch {
    uint64_t first, last; /* segments */
};
static struct branch branches[3];
static uint32_t branch_count;
static size_t least;

static void make_segment(uint32_t timeline, uint64_t number, const char *suffix, int64_t age)
{
    char name[80], segment[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(segment_of(timeline, number), archive.segment_size, segment);
    snprintf(name, sizeof name, "wal/%.8s/%.8s/%s%s", segment, segment + 8, segment, suffix);
    repository_put(name, "x", 1);
    const struct timespec written = {(clock_now().microseconds - age) / 1000000, 0};
    const struct timespec times[] = {written, written};
    ck_assert_int_eq(utimensat(AT_FDCWD, repository_path(name), times, 0), 0);
}

/* Timeline 1, and now and then one that forked off it and one that forked off that, or off timeline 1 again. */
static void make_wal(void)
{
    branch_count = 1 + draw(3);
    repository_put("wal/segment_size.json", "{\"format\":1,\"segment_size\":1048576}", 35);
    for (uint32_t i = 0; i < branch_count; i++) {
        uint32_t parent = i > 0 ? draw(i) : 0;
        uint64_t length = branches[parent].last - branches[parent].first;
        uint64_t from = i > 0 ? branches[parent].first + draw((uint32_t)length + 1) : 3;
        int64_t age = draw(3) == 0 ? 100 * DAY : 0;
        branches[i] = (struct branch){from, from + 2 + draw(14)};
        for (uint64_t number = from; number <= branches[i].last; number++)
            if (draw(40) > 0)
                make_segment(i + 1, number, number < branches[i].last ? ".zst" : ".partial",
                             age + (int64_t)(branches[i].last - number) * DAY);
        if (i == 0 || draw(25) == 0)
            continue;
        char name[40], text[200];
        size_t size = 0;
        snprintf(name, sizeof name, "wal/%08X.history", i + 1);
        if (parent == 1)
            size += (size_t)snprintf(text, sizeof text, "1\t0/%llX\tx\n",
                                     (unsigned long long)branches[1].first * ONE_MB + 8);
        uint64_t fork = from > branches[parent].first ? from * ONE_MB + 999 : from * ONE_MB + 1000;
        size +=
            (size_t)snprintf(text + size, sizeof text - size, "%u\t0/%llX\tx\n", parent + 1, (unsigned long long)fork);
        repository_put(name, draw(30) > 0 ? text : "?", draw(30) > 0 ? size : 1);
    }
}

static void make_backup(size_t number)
{
    struct error err;
    uint32_t branch = draw(branch_count);
    uint64_t room = (branches[branch].last - branches[branch].first) * ONE_MB;
    int64_t age = (int64_t)draw(1 << 24) % ((draw(2) == 0 ? 40 : 190) * INT64_C(86400));
    struct timestamp start = {clock_now().microseconds - age * 1000000};
    char id[BACKUP_ID_SIZE], name[80];
    time_t seconds = (time_t)(start.microseconds / 1000000);
    struct tm parts;

    if (draw(25) == 0)
        seconds += 10000000; /* of the future, perhaps */
    gmtime_r(&seconds, &parts);
    size_t size = strftime(id, sizeof id, "%Y%m%dT%H%M%SZ", &parts);
    if (number > 0)
        snprintf(id + size, sizeof id - size, "-%zu", number + 1);
    struct backup_meta *meta SCOPED(scoped_backup_meta) = sample_backup(id, system_id.text);
    meta->state = draw(12) == 0 ? BACKUP_COPIED : draw(15) == 0 ? BACKUP_DAMAGED : BACKUP_COMPLETE;
    meta->checksum_failures = meta->state == BACKUP_DAMAGED;
    meta->segment_size.bytes = ONE_MB;
    meta->start_timeline.value = meta->end_timeline.value = branch + 1;
    meta->start_position.value = branches[branch].first * ONE_MB + 2000 + (uint64_t)draw(1 << 16) * room / (1 << 16);
    meta->end_position.value = meta->start_position.value + 200;
    meta->started_at = meta->server_started_at = start;
    meta->stopped_at = meta->server_stopped_at = (struct timestamp){start.microseconds + 1000000};
    char *text SCOPED(scoped_free) = backup_meta_to_text(meta);
    snprintf(name, sizeof name, "backup/%s/%s", id, meta->state == BACKUP_COPIED ? "copied.json" : "backup.json");
    repository_put(name, text, draw(25) == 0 ? 20 : strlen(text));
    snprintf(name, sizeof name, "backup/%s/lock", id);
    repository_put(name, "", 0);
    if (draw(10) == 0)
        MUST(backup_pin_write(&repo, "primary", &system_id, &meta->id,
                              &(struct backup_pin){.is_pinned = true, .pinned_at = start}, &err));
}

static struct config *make_policy(void)
{
    struct config *config = NULL;
    struct error err;
    char policy[200];
    size_t used;

    least = 1 + draw(3);
    if (draw(2) == 0)
        used = (size_t)snprintf(policy, sizeof policy, "retention_count = %u\n", 1 + draw(5));
    else
        used = (size_t)snprintf(policy, sizeof policy, "retention = %u, %u, %u, -\n", 1 + draw(9), 1 + draw(4),
                                1 + draw(6));
    used += (size_t)snprintf(policy + used, sizeof policy - used, "retention_min = %zu\n", least);
    if (draw(2) == 0)
        snprintf(policy + used, sizeof policy - used, "wal_retention = %ud\n", 1 + draw(30));
    char *text SCOPED(scoped_free) =
        memory_text("[pgcoffer]\nbase_dir = %s\n[primary]\nhost = a\nuser = repl\ntls_cert_file = /c\n"
                    "tls_key_file = /k\ntls_ca_file = /a\n%s",
                    repo.base_dir, policy);
    MUST(config_parse(text, strlen(text), "test", &config, &err));
    return config;
}

static void make_history(void)
{
    struct error err;
    char name[WAL_LEASE_NAME_SIZE];

    make_wal();
    for (size_t i = 0, count = draw(16); i < count; i++)
        make_backup(i);
    if (draw(4) > 0)
        MUST(repo_write_server(&repo, "primary", &system_id, &err));
    const struct retention_lease lease = {{1}, {1}, {(branches[0].first + draw(8)) * ONE_MB}};
    if (draw(6) == 0)
        MUST(wal_lease_write(&repo, "primary", &system_id, WAL_LEASE_RESTORE, &lease, name, &err));
}

/* ---- the job ---- */

static bool take_item(void *context, const json_t *message, struct error *err)
{
    (void)err;
    if (strcmp(json_text_or_null(message, "event"), "item") == 0)
        json_array_append(context, json_object_get(message, "data"));
    return true;
}

/* Gives the items; the server's result in *ret_result. */
static json_t *run_expire(struct config *config, bool is_preview, json_t **ret_result)
{
    int ends[2];
    struct error err;
    json_t *items = json_array();

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    struct worker_context worker = {.channel = control_stream_new(ends[0], 1 << 20),
                                    .request = {.command = COMMAND_ID_expire, .options = json_object()}};
    struct control_stream *reader = control_stream_new(ends[1], 1 << 20);
    struct job job = {.worker = &worker, .config = config, .server = &config->servers[0], .repo = repo};

    if (is_preview)
        json_object_set_new(worker.request.options, "explain", json_true());
    ck_assert_int_eq(job_expire_main(&job), EXIT_SUCCESS);
    json_t *answer SCOPED(scoped_json) = control_await_result(reader, take_item, items, &err);
    ck_assert_msg(answer != NULL, "%s", err.message);
    *ret_result = json_incref(json_array_get(json_object_get(answer, "servers"), 0));
    request_done(&worker.request);
    control_stream_free(worker.channel);
    control_stream_free(reader);
    return items;
}

/* ---- what is there ---- */

/* Names of backups and of segments, without suffixes, as the keys of an object. */
static json_t *look(void)
{
    json_t *there = json_object();
    struct error err;
    struct wal_files files;
    char name[WAL_SEGMENT_NAME_SIZE];

    DIR *stream = opendir(repository_path("backup"));
    for (const struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;)
        if (entry->d_name[0] != '.')
            json_object_set_new(there, entry->d_name, json_true());
    if (stream != NULL)
        closedir(stream);
    MUST(wal_archive_list(&archive, &files, &err));
    for (size_t i = 0; i < files.count; i++) {
        wal_segment_format(files.files[i].segment, archive.segment_size, name);
        json_object_set_new(there, name, json_true());
    }
    wal_files_done(&files);
    return there;
}

static uint64_t position_of(const json_t *item, const char *key)
{
    struct wal_position position = {0};
    struct error err;

    MUST(wal_position_parse(json_text_or_null(item, key), &position, &err));
    return position.value;
}

/* Takes out of `there` what the items say is removed. */
static void take_out(json_t *there, const json_t *items)
{
    char name[WAL_SEGMENT_NAME_SIZE];
    const json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        if (json_is_set(item, "kept"))
            continue;
        if (strcmp(json_text_or_null(item, "what"), "backup") == 0) {
            ck_assert_int_eq(json_object_del(there, json_text_or_null(item, "id")), 0);
            continue;
        }
        for (uint64_t at = position_of(item, "start"); at < position_of(item, "end"); at += ONE_MB) {
            wal_segment_format(segment_of((uint32_t)json_number_or(item, "timeline", 0), at / ONE_MB),
                               archive.segment_size, name);
            ck_assert_int_eq(json_object_del(there, name), 0);
        }
    }
}

static size_t count_complete(const json_t *items)
{
    const json_t *item;
    size_t count = 0, i;

    json_array_foreach(items, i, item) count += strcmp(json_text_or_null(item, "what"), "backup") == 0 &&
                                                strcmp(json_text_or_null(item, "state"), "complete") == 0;
    return count;
}

static void assert_same_number(const json_t *one, const json_t *other, const char *key)
{
    ck_assert_int_eq(json_number_or(one, key, -1), json_number_or(other, key, -2));
}

/* Without what retention has noted as removed. */
static size_t count_gaps(void)
{
    struct error err;
    struct wal_ranges ranges;
    struct wal_gaps gaps;

    MUST(wal_gaps_look(&archive, NULL, &ranges, &gaps, &err));
    size_t count = gaps.count;
    wal_ranges_done(&ranges);
    wal_gaps_done(&gaps);
    return count;
}

START_TEST(what_a_preview_says_and_what_the_run_says_and_does_is_one_thing)
{
    size_t removed = 0, kept = 0;

    for (uint32_t round = 1; round <= HISTORIES; round++) {
        seed = round;
        repository_make();
        make_history();
        struct config *config = make_policy();
        json_t *preview = NULL, *done = NULL, *nothing = NULL;
        json_t *before SCOPED(scoped_json) = look();
        size_t gaps = count_gaps();

        json_t *foreseen SCOPED(scoped_json) = run_expire(config, true, &preview);
        json_t *untouched SCOPED(scoped_json) = look();
        ck_assert_msg(json_equal(before, untouched), "history %u: a preview has changed something", round);
        json_t *told SCOPED(scoped_json) = run_expire(config, false, &done);
        ck_assert_msg(json_equal(foreseen, told), "history %u: preview and run differ", round);
        assert_same_number(preview, done, "removed_backups");
        assert_same_number(preview, done, "removed_segments");
        assert_same_number(preview, done, "freed_wal_bytes");
        json_t *after SCOPED(scoped_json) = look();
        take_out(before, told);
        ck_assert_msg(json_equal(before, after), "history %u: something else is gone than was said", round);
        ck_assert_msg(count_gaps() <= gaps, "history %u: what was removed is told as a gap", round);
        json_t *again SCOPED(scoped_json) = run_expire(config, false, &nothing);
        ck_assert_int_eq(json_number_or(nothing, "removed_backups", -1), 0);
        ck_assert_int_eq(json_number_or(nothing, "removed_segments", -1), 0);
        size_t had = count_complete(told);
        ck_assert_uint_ge(count_complete(again), had < least ? had : least);
        removed +=
            (size_t)json_number_or(done, "removed_backups", 0) + (size_t)json_number_or(done, "removed_segments", 0);
        kept += json_object_size(after);
        json_decref(preview);
        json_decref(done);
        json_decref(nothing);
        config_free(config);
        repository_remove();
    }
    ck_assert_uint_gt(removed, 500);
    ck_assert_uint_gt(kept, 500);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("expire_job");

    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, what_a_preview_says_and_what_the_run_says_and_does_is_one_thing);
    return suite_run("expire_job", tests);
}
