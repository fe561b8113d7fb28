#include "jobs/verify/wal_row_internal.h"

#include <string.h>

/* As much of a segment as tells whether it begins within a record: the first page's header and a byte more. */
#define BEGINNING 41

static void scoped_reader(struct wal_record_reader **reader)
{
    wal_record_reader_free(*reader);
}

void wal_row_done(struct wal_row *row)
{
    wal_record_reader_free(row->reader);
    row->reader = NULL;
    row->is_unfinished = false;
}

static bool is_next(const struct wal_row *row, struct wal_segment segment)
{
    return row->reader != NULL && row->next.timeline.value == segment.timeline.value &&
           row->next.number == segment.number;
}

bool wal_row_wants(const struct wal_row *row, const struct wal_file *file)
{
    return file->state != WAL_FILE_COMPRESSED || (row->is_unfinished && is_next(row, file->segment));
}

static struct wal_record_reader *new_reader(const struct wal_row *row, uint64_t number)
{
    return wal_record_reader_new(&row->history, row->wal->archive.segment_size, number,
                                 system_id_value(&row->wal->archive.system), NULL, NULL);
}

/* Reads these bytes alone. False also when they are damaged. */
static bool find_first_record(const struct wal_row *row, const uint8_t *bytes, size_t size, uint64_t number,
                              uint64_t *ret_offset)
{
    struct wal_record_reader *reader SCOPED(scoped_reader) = new_reader(row, number);
    uint64_t start = number * row->wal->archive.segment_size.bytes;
    struct wal_record_end end;
    struct error ignored;

    if (!wal_record_reader_feed(reader, bytes, size, &ignored) || !wal_record_reader_end(reader, &end, &ignored))
        return false;
    *ret_offset = end.checked_from.value - start;
    return true;
}

static bool begins_within_record(const struct wal_row *row, const uint8_t *bytes, const struct wal_file *file)
{
    uint64_t offset = 0;

    return file->held_bytes >= BEGINNING && find_first_record(row, bytes, BEGINNING, file->segment.number, &offset) &&
           offset == 0;
}

/* The segment before, on the way of the row's history; it must be whole. */
static bool read_before(const struct wal_row *row, uint64_t number, struct buffer *bytes)
{
    const struct wal_archive *archive = &row->wal->archive;
    struct wal_position last = {(number + 1) * archive->segment_size.bytes - 1};
    struct wal_file file;
    struct error ignored; /* damage is told with that segment */

    return wal_archive_read_segment(
               archive, wal_segment_at(history_timeline_at(&row->history, last), last, archive->segment_size), bytes,
               &file, &ignored) &&
           file.state != WAL_FILE_MISSING && file.held_bytes == archive->segment_size.bytes;
}

/* The newest segment before `number` in which a record begins; `number` itself when it is not held or damaged. */
static uint64_t find_start(const struct wal_row *row, uint64_t number)
{
    uint64_t size = row->wal->archive.segment_size.bytes;

    for (uint64_t before = number; before-- > 0;) {
        struct buffer bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(size);
        uint64_t offset = 0;
        if (!read_before(row, before, &bytes) || !find_first_record(row, bytes.bytes, bytes.used, before, &offset))
            return number;
        if (offset > 0 && offset < size)
            return before;
    }
    return number;
}

/* Begins with the record that runs into `file`, if it does and the record's beginning is held. */
static void begin(struct wal_row *row, const uint8_t *bytes, const struct wal_file *file)
{
    const struct history *history = verify_find_history(row->wal, file->segment.timeline);
    uint64_t number = file->segment.number;
    struct error ignored;

    wal_row_done(row);
    row->history = history != NULL ? *history : (struct history){.timeline = file->segment.timeline};
    uint64_t start = begins_within_record(row, bytes, file) ? find_start(row, number) : number;
    row->reader = new_reader(row, start);
    for (uint64_t before = start; before < number; before++) {
        struct buffer earlier SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(row->wal->archive.segment_size.bytes);
        if (read_before(row, before, &earlier) &&
            wal_record_reader_feed(row->reader, earlier.bytes, earlier.used, &ignored))
            continue;
        wal_record_reader_free(row->reader); /* what it lacks is told with that segment */
        row->reader = new_reader(row, number);
        return;
    }
}

/* If only a record that runs in from the segments before is damaged, it may be in any of those. */
static bool fail(const struct wal_row *row, const uint8_t *bytes, const struct wal_file *file, struct error *failure)
{
    struct wal_segment_size size = row->wal->archive.segment_size;
    struct wal_segment last = file->segment;
    char first_name[WAL_SEGMENT_NAME_SIZE], last_name[WAL_SEGMENT_NAME_SIZE];
    uint64_t offset;

    if (!row->is_unfinished || !find_first_record(row, bytes, file->held_bytes, file->segment.number, &offset))
        return false;
    if (file->state == WAL_FILE_COMPRESSED)
        last.number--; /* its own checksum was right */
    wal_segment_format(wal_segment_at(last.timeline, row->unfinished_from, size), size, first_name);
    wal_segment_format(last, size, last_name);
    if (strcmp(first_name, last_name) == 0)
        return error_wrap(failure, "%s is damaged, from which a record runs into this segment", first_name);
    return error_wrap(failure, "one of the segments %s to %s is damaged", first_name, last_name);
}

bool wal_row_read(struct wal_row *row, const uint8_t *bytes, const struct wal_file *file, struct error *failure)
{
    struct wal_position segment_end = wal_segment_end(file->segment, row->wal->archive.segment_size);
    bool is_whole = file->held_bytes == row->wal->archive.segment_size.bytes;
    struct wal_record_end end = {.ends_in_zeros = false};

    if (!is_next(row, file->segment))
        begin(row, bytes, file);
    row->next = (struct wal_segment){file->segment.timeline, file->segment.number + 1};
    bool is_sound = (wal_record_reader_feed(row->reader, bytes, file->held_bytes, failure) &&
                     wal_record_reader_end(row->reader, &end, failure)) ||
                    fail(row, bytes, file, failure);
    if (is_sound && is_whole && end.ends_in_zeros)
        is_sound = error_set(failure, ERROR_INTEGRITY, "the segment is finished, but its records end before it does");
    row->is_unfinished = end.checked_to.value < segment_end.value;
    row->unfinished_from = end.checked_to;
    if (!is_sound || !is_whole || (file->state == WAL_FILE_COMPRESSED && !row->is_unfinished))
        wal_row_done(row);
    return is_sound;
}
