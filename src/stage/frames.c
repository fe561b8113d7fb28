#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/pool.h"
#include "pgcoffer/stage/stages.h"
#include "stage/frame_encoder_internal.h"
#include "stage/seek_table_internal.h"

/* Beside the frames being compressed: one waiting for a worker and one waiting for its turn to be written. */
#define SPARE_FRAMES 2

struct frames_stage {
    struct stage stage; /* must be first */
    struct frames_options options;
    struct pool *pool;             /* NULL without threads */
    struct frame_encoder *encoder; /* only without threads */
    struct frame_task *current;    /* being filled; NULL at a cut */
    struct frame_task *free_tasks;
    uint64_t offset;    /* of the plain stream: where the next frame starts */
    uint64_t stored_at; /* of the stored stream */
    struct seek_table table;
};

static bool begin_worker(void *shared, unsigned worker_number, void **ret_worker, struct error *err)
{
    const struct frames_stage *self = shared;
    struct frame_encoder *encoder;

    (void)worker_number;
    if (!frame_encoder_new(self->options.level, &encoder, err))
        return false;
    *ret_worker = encoder;
    return true;
}

static bool work(void *shared, void *worker, void *task, struct error *err)
{
    (void)shared;
    return frame_encode(worker, task, err);
}

static void end_worker(void *shared, void *worker)
{
    (void)shared;
    frame_encoder_free(worker);
}

static const struct pool_ops frames_pool_ops = {.begin = begin_worker, .work = work, .end = end_worker};

static void drop_task(void *task)
{
    frame_task_free(task);
}

static bool start_workers(struct frames_stage *self, struct error *err)
{
    if (self->options.without_threads)
        return frame_encoder_new(self->options.level, &self->encoder, err);
    unsigned workers = self->options.workers > 0 ? self->options.workers : pool_default_workers();
    return pool_new(&frames_pool_ops, self, workers, workers + SPARE_FRAMES, &self->pool, err);
}

static bool frames_open(struct stage *stage, const char *object_name, struct error *err)
{
    struct frames_stage *self = (struct frames_stage *)stage;

    if (!seek_table_begin(&self->table, err) || !start_workers(self, err))
        return false;
    char *stored_name SCOPED(scoped_free) = memory_text("%s.zst", object_name);
    return stage_open(stage->next, stored_name, err);
}

static void reuse(struct frames_stage *self, struct frame_task *task)
{
    task->next_free = self->free_tasks;
    self->free_tasks = task;
}

static bool pass_on(struct frames_stage *self, const struct frame_task *task, struct error *err)
{
    struct frame_info info = {
        .offset = task->offset,
        .length = task->length,
        .stored_at = self->stored_at,
        .stored_length = task->stored_length,
    };

    memcpy(info.sha256, task->sha256, sizeof info.sha256);
    if (!stage_write(self->stage.next, task->stored, task->stored_length, err) ||
        !seek_table_add(&self->table, task->stored_length, task->length, task->checksum, err))
        return false;
    self->stored_at += task->stored_length;
    return self->options.on_frame == NULL || self->options.on_frame(self->options.context, &info, err);
}

/* The oldest frame in the pool, whether it is done or still has to be waited for. */
static bool take_and_pass_on(struct frames_stage *self, struct error *err)
{
    void *task;
    bool ok = pool_take(self->pool, &task, err) && pass_on(self, task, err);

    reuse(self, task);
    return ok;
}

/* Whatever is done already, so that it reaches the disk while the source is slow. */
static bool pass_on_done(struct frames_stage *self, struct error *err)
{
    for (;;) {
        void *task;
        bool ok = pool_try_take(self->pool, &task, err);
        if (task == NULL)
            return true;
        ok = ok && pass_on(self, task, err);
        reuse(self, task);
        if (!ok)
            return false;
    }
}

static bool submit_current(struct frames_stage *self, struct error *err)
{
    if (self->current == NULL)
        return true;
    self->offset += self->current->length;
    if (self->pool == NULL) {
        bool ok = frame_encode(self->encoder, self->current, err) && pass_on(self, self->current, err);
        reuse(self, TAKE(self->current));
        return ok;
    }
    while (!pool_has_room(self->pool))
        if (!take_and_pass_on(self, err))
            return false;
    pool_submit(self->pool, TAKE(self->current));
    return pass_on_done(self, err);
}

static void start_frame(struct frames_stage *self)
{
    struct frame_task *task = self->free_tasks;

    if (task != NULL)
        self->free_tasks = task->next_free;
    else
        task = frame_task_new();
    task->offset = self->offset;
    task->length = 0;
    self->current = task;
}

static bool frames_write(struct stage *stage, const void *data, size_t size, struct error *err)
{
    struct frames_stage *self = (struct frames_stage *)stage;
    const uint8_t *bytes = data;

    while (size > 0) {
        if (self->current == NULL)
            start_frame(self);
        size_t room = FRAME_SIZE - self->current->length;
        size_t piece = size < room ? size : room;
        memcpy(self->current->plain + self->current->length, bytes, piece);
        self->current->length += (uint32_t)piece;
        bytes += piece;
        size -= piece;
        if (self->current->length == FRAME_SIZE && !submit_current(self, err))
            return false;
    }
    return true;
}

static bool frames_finish(struct stage *stage, struct error *err)
{
    struct frames_stage *self = (struct frames_stage *)stage;

    if (!submit_current(self, err))
        return false;
    while (self->pool != NULL && pool_in_flight(self->pool) > 0)
        if (!take_and_pass_on(self, err))
            return false;
    return seek_table_finish(&self->table, err) &&
           stage_write(stage->next, self->table.bytes.bytes, self->table.bytes.used, err) &&
           stage_forward_finish(stage, err);
}

static void frames_release(struct stage *stage)
{
    struct frames_stage *self = (struct frames_stage *)stage;

    pool_free(self->pool, drop_task);
    frame_encoder_free(self->encoder);
    frame_task_free(self->current);
    while (self->free_tasks != NULL) {
        struct frame_task *next = self->free_tasks->next_free;
        frame_task_free(self->free_tasks);
        self->free_tasks = next;
    }
    seek_table_done(&self->table);
    free(self);
}

static const struct stage_ops frames_ops = {
    .name = "frames",
    .open = frames_open,
    .write = frames_write,
    .finish = frames_finish,
    .release = frames_release,
};

struct stage *stage_frames_new(struct stage *next, const struct frames_options *options)
{
    struct frames_stage *self = memory_new(sizeof *self);

    self->stage = (struct stage){.ops = &frames_ops, .next = next};
    self->options = *options;
    return &self->stage;
}

bool stage_frames_cut(struct stage *stage, struct error *err)
{
    assert(stage->ops == &frames_ops && stage->state == STAGE_OPEN);
    if (submit_current((struct frames_stage *)stage, err))
        return true;
    stage->state = STAGE_FAILED;
    return false;
}
