#include <stdlib.h>

#include "pgcoffer/base/atomic_file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/stages.h"

struct store_stage {
    struct stage stage; /* must be first */
    char *directory;
    mode_t mode;
    struct atomic_file *file;
};

static bool store_open(struct stage *stage, const char *object_name, struct error *err)
{
    struct store_stage *self = (struct store_stage *)stage;
    char *path SCOPED(scoped_free) = memory_text("%s/%s", self->directory, object_name);

    self->file = atomic_file_open(path, self->mode, err);
    return self->file != NULL;
}

static bool store_write(struct stage *stage, const void *data, size_t size, struct error *err)
{
    return atomic_file_write(((struct store_stage *)stage)->file, data, size, err);
}

static bool store_finish(struct stage *stage, struct error *err)
{
    return atomic_file_commit(((struct store_stage *)stage)->file, err);
}

static void store_release(struct stage *stage)
{
    struct store_stage *self = (struct store_stage *)stage;

    atomic_file_free(self->file); /* not committed: removed */
    free(self->directory);
    free(self);
}

static const struct stage_ops store_ops = {
    .name = "store",
    .open = store_open,
    .write = store_write,
    .finish = store_finish,
    .release = store_release,
};

struct stage *stage_store_new(const char *directory, mode_t mode)
{
    struct store_stage *self = memory_new(sizeof *self);

    self->stage = (struct stage){.ops = &store_ops};
    self->directory = memory_copy_text(directory);
    self->mode = mode;
    return &self->stage;
}
