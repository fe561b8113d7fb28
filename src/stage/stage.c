#include "pgcoffer/stage/stage.h"

static bool settle(struct stage *stage, bool ok, enum stage_state reached)
{
    stage->state = ok ? reached : STAGE_FAILED;
    return ok;
}

bool stage_open(struct stage *stage, const char *object_name, struct error *err)
{
    assert(stage->state == STAGE_NEW);
    return settle(stage, stage->ops->open(stage, object_name, err), STAGE_OPEN);
}

bool stage_write(struct stage *stage, const void *data, size_t size, struct error *err)
{
    assert(stage->state == STAGE_OPEN);
    return settle(stage, stage->ops->write(stage, data, size, err), STAGE_OPEN);
}

bool stage_finish(struct stage *stage, struct error *err)
{
    assert(stage->state == STAGE_OPEN);
    return settle(stage, stage->ops->finish(stage, err), STAGE_FINISHED);
}

void stage_free(struct stage *first)
{
    while (first != NULL) {
        struct stage *next = first->next;
        first->ops->release(first);
        first = next;
    }
}

bool stage_forward_open(struct stage *stage, const char *object_name, struct error *err)
{
    return stage_open(stage->next, object_name, err);
}

bool stage_forward_finish(struct stage *stage, struct error *err)
{
    return stage_finish(stage->next, err);
}
