#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "pgcoffer/pg/manifest.h"

/* A manifest comes from a server, which need not be a friend: in one piece and in small ones the verdict is the same.
 */
static bool take_file(void *context, const struct manifest_file *file, struct error *err)
{
    (void)err;
    *(size_t *)context += strlen(file->path) + file->size % 7 + strlen(file->checksum);
    return true;
}

static bool take_range(void *context, const struct manifest_range *range, struct error *err)
{
    (void)err;
    assert(range->start.value <= range->end.value);
    *(size_t *)context += range->timeline.value;
    return true;
}

static bool read_in_steps(const uint8_t *bytes, size_t size, size_t step, size_t *ret_sum)
{
    struct manifest_handler handler = {.file = take_file, .range = take_range, .context = ret_sum};
    struct manifest_reader *reader = manifest_reader_new(&handler);
    struct error err = {0};
    uint64_t system = 0;
    bool is_good = true;

    *ret_sum = 0;
    for (size_t at = 0; is_good && at < size; at += step)
        is_good = manifest_reader_feed(reader, bytes + at, size - at < step ? size - at : step, &err);
    is_good = is_good && manifest_reader_finish(reader, &system, &err);
    manifest_reader_free(reader);
    return is_good;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    size_t sum_at_once = 0, sum_in_steps = 0;

    bool is_good = read_in_steps(bytes, size, size + 1, &sum_at_once);
    assert(read_in_steps(bytes, size, 7, &sum_in_steps) == is_good && sum_at_once == sum_in_steps);
    return 0;
}
