#include <stdlib.h>

#include "pgcoffer/wal/record.h"
#include "support/wal_piece.h"

/* The beginning of a segment as a disk may give it back: read at once and in portions, it must be the same WAL. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t positions, data;
};

static bool add(void *context, const struct wal_record *record, struct error *err)
{
    struct sum *sum = context;

    (void)err;
    sum->positions = sum->positions * 31 + record->position.value;
    for (uint32_t i = 0; i < record->data_held; i++)
        sum->data = sum->data * 31 + record->data[i];
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t portions[] = {1, 7, 4096};
    struct wal_piece piece = wal_piece_of(data, size);
    struct wal_record_end whole = {0};
    struct sum sum = {0};
    struct error err;
    bool is_right = wal_piece_read(&piece, size > 0 ? size : 1, add, &sum, &whole, &err);

    for (size_t i = 0; i < sizeof portions / sizeof portions[0]; i++) {
        struct wal_record_end end = {0};
        struct sum again = {0};
        if (wal_piece_read(&piece, portions[i], add, &again, &end, &err) != is_right ||
            again.positions != sum.positions || again.data != sum.data || end.record_count != whole.record_count ||
            end.checked_from.value != whole.checked_from.value || end.checked_to.value != whole.checked_to.value ||
            end.ends_in_zeros != whole.ends_in_zeros)
            abort();
    }
    return 0;
}
