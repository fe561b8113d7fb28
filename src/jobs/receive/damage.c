#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/receive/receiver_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/wal/record.h"

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

static void scoped_reader(struct wal_record_reader **reader)
{
    wal_record_reader_free(*reader);
}

/* What was received and what is held differ: is it ours that is wrong? INTEGRITY says what of it. */
static bool check_held(const struct wal_archive *archive, struct wal_segment segment, struct wal_file *ret_file,
                       struct error *err)
{
    struct buffer bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(archive->segment_size.bytes);
    struct wal_record_end end;

    if (!wal_archive_stat(archive, segment, ret_file, err) ||
        !wal_archive_read_segment(archive, segment, &bytes, ret_file, err))
        return false;
    /* Any lower timeline may stand in its pages: only their checksums are asked here. */
    const struct history history = {.timeline = segment.timeline};
    struct wal_record_reader *reader SCOPED(scoped_reader) = wal_record_reader_new(
        &history, archive->segment_size, segment.number, system_id_value(&archive->system), NULL, NULL);
    return wal_record_reader_feed(reader, bytes.bytes, ret_file->held_bytes, err) &&
           wal_record_reader_end(reader, &end, err);
}

bool receive_gaps_give_up_damaged(struct receiver *receiver, struct timeline timeline, struct wal_position position,
                                  struct error *err)
{
    const struct wal_archive *archive = &receiver->archive;
    struct wal_segment segment = wal_segment_at(timeline, position, archive->segment_size);
    struct wal_gap gap = {.timeline = timeline, .reason = WAL_GAP_DAMAGED};
    struct wal_file file = {.state = WAL_FILE_MISSING};
    char name[WAL_SEGMENT_NAME_SIZE];
    struct error damage;

    if (check_held(archive, segment, &file, &damage) || damage.kind != ERROR_INTEGRITY ||
        file.state == WAL_FILE_MISSING || file.held_bytes == 0)
        return false;
    gap.start = wal_segment_start(segment, archive->segment_size);
    gap.end.value = gap.start.value + file.held_bytes;
    snprintf(gap.words, sizeof gap.words, "%s", damage.message);
    if (!wal_gaps_record(archive, &gap, err) || !wal_archive_set_segment_aside(archive, segment, err))
        return false;
    wal_segment_format(segment, archive->segment_size, name);
    *err = damage;
    error_wrap(err, "WAL segment %s was damaged in the archive and is received again", name);
    error_detail(err, "What was held is kept beside it under a name that ends in .suspect-N");
    return true;
}
