#include <stdlib.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/pool.h"
#include "pgcoffer/stage/stages.h"

/* Of one request: enough that asking costs nothing, little enough that a handful fits into memory. */
#define RUN_MOST_STORED (8u << 20)
#define RUN_MOST_PLAIN  ((size_t)4 * FRAME_SIZE)
/* An index may come from a newer writer with larger frames, but not ask for any amount of memory. */
#define FRAME_MOST_SIZE (64u << 20)

/* Neighbouring frames of one archive, fetched and decompressed by a thread, written by the main thread in order. */
struct run {
    const struct index_frame *frames;
    size_t count;
    uint64_t stored_bytes;
    uint8_t *plain;
    size_t plain_bytes, capacity;
    /* What has come and is whole, so that a new connection goes on behind it. */
    size_t done_count, done_plain;
    uint64_t done_stored;
    struct run *next_free;
};

struct copy {
    struct restore *restore;
    struct pool *pool;
    const struct frame_sink *sink;
    struct run *runs; /* as many as may be in flight; their memory is used again and again */
    size_t run_count;
    struct run *free_runs;
    size_t next_frame;
};

static bool make_room(uint8_t **bytes, size_t *capacity, size_t needed, struct error *err)
{
    if (needed <= *capacity)
        return true;
    free(*bytes);
    *capacity = 0;
    *bytes = malloc(needed);
    if (*bytes == NULL)
        return error_set(err, ERROR_FAILED, "no memory for %zu bytes", needed);
    *capacity = needed;
    return true;
}

static bool decode(const struct run *run, struct fetcher *fetcher, size_t number, uint8_t *plain, struct error *err)
{
    const struct index_frame *frame = &run->frames[number];

    if (!make_room(&fetcher->stored, &fetcher->capacity, frame->stored_length, err) ||
        !control_receive_bytes(fetcher->stream, fetcher->stored, frame->stored_length, err))
        return false;
    return frame_decode(fetcher->decoder, fetcher->stored, frame->stored_length, plain, frame->length, frame->sha256,
                        err);
}

struct fetch_run {
    const struct restore *restore;
    struct run *run;
};

static bool fail_frame(const struct fetch_run *fetch, const struct index_frame *frame, struct error *err)
{
    const struct restore *restore = fetch->restore;

    if (err->kind != ERROR_INTEGRITY)
        return false;
    error_wrap(err, "\"%s.tar.zst\" of backup %s is damaged at byte %llu (frame %zu)", frame->archive,
               restore->plan.backup, (unsigned long long)frame->stored_at, (size_t)(frame - restore->index.frames));
    return error_hint(err, "Restore another backup; `pgcoffer verify %s` says which are sound.", restore->plan.server);
}

static bool attempt_run(void *context, struct fetcher *fetcher, struct error *err)
{
    const struct fetch_run *fetch = context;
    struct run *run = fetch->run;
    const struct restore_plan *plan = &fetch->restore->plan;
    char *file SCOPED(scoped_free) = memory_text("%s.tar.zst", run->frames->archive);
    struct read_range range = {.server = plan->server,
                               .backup = run->frames->backup[0] != '\0' ? run->frames->backup : plan->backup,
                               .file = file,
                               .offset = run->frames->stored_at + run->done_stored,
                               .length = run->stored_bytes - run->done_stored};

    if (run->done_count == run->count) /* only the end of the answer was missing */
        return true;
    if (!session_read_begin(fetcher->stream, &range, err))
        return false;
    while (run->done_count < run->count) {
        const struct index_frame *frame = &run->frames[run->done_count];
        if (!decode(run, fetcher, run->done_count, run->plain + run->done_plain, err))
            return fail_frame(fetch, frame, err);
        run->done_count++;
        run->done_plain += frame->length;
        run->done_stored += frame->stored_length;
        patience_renew(&fetcher->patience);
        outage_ends(fetch->restore, fetcher->opened_at);
    }
    return session_read_end(fetcher->stream, err);
}

/* In a thread of the pool. */
static bool fetch_run(void *shared_restore, void *worker, void *task, struct error *err)
{
    struct restore *restore = shared_restore;
    struct fetch_run fetch = {restore, task};

    return make_room(&fetch.run->plain, &fetch.run->capacity, fetch.run->plain_bytes, err) &&
           fetcher_try(restore, worker, attempt_run, &fetch, err);
}

static bool follows(const struct index_frame *frame, const struct index_frame *previous)
{
    return strcmp(frame->archive, previous->archive) == 0 && strcmp(frame->backup, previous->backup) == 0 &&
           frame->stored_at == previous->stored_at + previous->stored_length;
}

static struct run *next_run(struct copy *copy)
{
    const struct index *index = &copy->restore->index;
    struct run *run = copy->free_runs;

    copy->free_runs = run->next_free;
    run->frames = &index->frames[copy->next_frame];
    run->count = 0;
    run->stored_bytes = 0;
    run->plain_bytes = 0;
    run->done_count = 0;
    run->done_plain = 0;
    run->done_stored = 0;
    for (; copy->next_frame < index->frame_count; copy->next_frame++) {
        const struct index_frame *frame = &index->frames[copy->next_frame];
        if (run->count > 0 &&
            (!follows(frame, frame - 1) || run->stored_bytes + frame->stored_length > RUN_MOST_STORED ||
             run->plain_bytes + frame->length > RUN_MOST_PLAIN))
            break;
        run->stored_bytes += frame->stored_length;
        run->plain_bytes += frame->length;
        run->count++;
    }
    return run;
}

static bool write_run(struct copy *copy, struct run *run, struct error *err)
{
    const uint8_t *plain = run->plain;

    for (size_t i = 0; i < run->count; i++) {
        if (!copy->sink->take(copy->sink->context, &run->frames[i], plain, err))
            return false;
        plain += run->frames[i].length;
        copy->restore->written_bytes += run->frames[i].length;
        restore_advance(copy->restore, run->frames[i].archive, run->frames[i].length);
    }
    run->next_free = copy->free_runs;
    copy->free_runs = run;
    return true;
}

static bool copy_frames(struct copy *copy, struct error *err)
{
    while (copy->next_frame < copy->restore->index.frame_count || pool_in_flight(copy->pool) > 0) {
        while (copy->next_frame < copy->restore->index.frame_count && copy->free_runs != NULL &&
               pool_has_room(copy->pool))
            pool_submit(copy->pool, next_run(copy));
        void *run;
        if (!pool_take(copy->pool, &run, err) || !restore_may_go_on(copy->restore, err) || !write_run(copy, run, err))
            return false;
    }
    return copy->sink->finish(copy->sink->context, err);
}

static bool check_frames(const struct index *index, uint64_t *ret_bytes, struct error *err)
{
    *ret_bytes = 0;
    for (size_t i = 0; i < index->frame_count; i++) {
        *ret_bytes += index->frames[i].length;
        if (index->frames[i].length > FRAME_MOST_SIZE || index->frames[i].stored_length > FRAME_MOST_SIZE)
            return error_set(err, ERROR_INTEGRITY, "frame %zu of the backup is larger than %u bytes", i,
                             FRAME_MOST_SIZE);
    }
    return true;
}

static void copy_done(struct copy *copy)
{
    copy->restore->is_ending = true;
    pool_free(copy->pool, NULL);
    copy->restore->is_ending = false;
    for (size_t i = 0; i < copy->run_count; i++)
        free(copy->runs[i].plain);
    free(copy->runs);
}

bool restore_copy(struct restore *restore, const struct frame_sink *sink, struct error *err)
{
    static const struct pool_ops ops = {.begin = fetcher_begin, .work = fetch_run, .end = fetcher_end};
    unsigned jobs = restore_jobs(restore);
    /* One run in each thread, one waiting for each, one being written. */
    struct copy copy SCOPED(copy_done) = {.restore = restore, .sink = sink, .run_count = 2 * (size_t)jobs + 1};

    uint64_t bytes;

    if (!check_frames(&restore->index, &bytes, err))
        return false;
    restore_enter_phase(restore, "restore", bytes);
    copy.runs = memory_new(copy.run_count * sizeof copy.runs[0]);
    for (size_t i = 0; i < copy.run_count; i++) {
        copy.runs[i].next_free = copy.free_runs;
        copy.free_runs = &copy.runs[i];
    }
    return pool_new(&ops, restore, jobs, (unsigned)copy.run_count, &copy.pool, err) && copy_frames(&copy, err);
}
