#include <errno.h>
#include <stdlib.h>

#include "pgcoffer/base/memory.h"

#include "repo/wal_contents_internal.h"
#include "repo/wal_internal.h"

#define PLAIN_PIECE 131072
/* As much of a segment as tells whether it begins within a record: the first page's header and a byte more. */
#define BEGINNING 41
/* The longest record there can be. */
#define RECORD_MOST (UINT64_C(1) << 30)

struct wal_walk {
    struct wal_archive archive;
    wal_event_visit *visit;
    void *context;
    struct history history; /* of the timeline at hand */
    struct wal_record_reader *reader;
    struct wal_segment segment; /* at hand */
    uint32_t fed;               /* bytes of it */
    bool is_before;             /* the segments before the one at hand are being read */
    bool lacks_start;
    struct wal_position limit;       /* 0: none */
    struct wal_position last_record; /* before the limit */
};

struct wal_walk *wal_walk_new(const struct wal_archive *archive, wal_event_visit *visit, void *context)
{
    struct wal_walk *walk = memory_new(sizeof *walk);

    walk->archive = *archive;
    walk->visit = visit;
    walk->context = context;
    return walk;
}

static void drop_reader(struct wal_walk *walk)
{
    wal_record_reader_free(walk->reader);
    walk->reader = NULL;
}

void wal_walk_free(struct wal_walk *walk)
{
    if (walk == NULL)
        return;
    drop_reader(walk);
    history_done(&walk->history);
    free(walk);
}

static bool visit_record(void *context, const struct wal_record *record, struct error *err)
{
    struct wal_walk *walk = context;
    struct wal_event event;

    if (walk->limit.value == 0 || record->position.value < walk->limit.value)
        walk->last_record = record->position;
    return walk->is_before || !wal_event_read(record, &event) || walk->visit(walk->context, &event, err);
}

static void start_reader(struct wal_walk *walk, uint64_t number)
{
    drop_reader(walk);
    walk->reader = wal_record_reader_new(&walk->history, walk->archive.segment_size, number,
                                         system_id_value(&walk->archive.system), visit_record, walk);
}

/* All bytes held, or the first `most` of them. False in *ret_is_whole: less than a segment was there. */
static bool feed_stored(struct wal_walk *walk, struct wal_segment segment, size_t most, bool *ret_is_whole,
                        struct wal_file *ret_file, struct error *err)
{
    struct wal_reader *reader SCOPED(scoped_wal_reader) = NULL;
    uint8_t *piece SCOPED(scoped_free) = memory_new(PLAIN_PIECE);
    size_t total = 0;

    *ret_is_whole = false;
    *ret_file = (struct wal_file){.segment = segment, .state = WAL_FILE_MISSING};
    if (!wal_reader_open(&walk->archive, segment, &reader, err))
        return false;
    if (reader == NULL)
        return true;
    for (size_t size = 1; size > 0 && total < most; total += size) {
        size_t room = most - total < PLAIN_PIECE ? most - total : PLAIN_PIECE;
        if (!wal_reader_next(reader, piece, room, &size, err) ||
            !wal_record_reader_feed(walk->reader, piece, size, err))
            return false;
    }
    *ret_is_whole = total == walk->archive.segment_size.bytes;
    *ret_file = *wal_reader_file(reader);
    return true;
}

/* Where in segment `number` the first record begins; 0 when none does in what was fed. */
static uint64_t first_record(const struct wal_walk *walk, uint64_t number)
{
    struct wal_record_end end;
    struct error ignored;
    uint64_t size = walk->archive.segment_size.bytes;

    if (!wal_record_reader_end(walk->reader, &end, &ignored))
        return 0;
    uint64_t offset = end.checked_from.value - number * size;
    return offset < size ? offset : 0;
}

/* The segment before, on the way of the history. */
static struct wal_segment on_the_way(const struct wal_walk *walk, uint64_t number)
{
    struct wal_position last = {(number + 1) * walk->archive.segment_size.bytes - 1};

    return wal_segment_at(history_timeline_at(&walk->history, last), last, walk->archive.segment_size);
}

/* Feeds the segments from `first` up to the one at hand. */
static bool feed_before(struct wal_walk *walk, uint64_t first)
{
    struct wal_file file;
    struct error ignored; /* what is damaged or missing is told with that segment */
    bool is_whole = true;

    start_reader(walk, first);
    for (uint64_t number = first; number < walk->segment.number && is_whole; number++)
        if (!feed_stored(walk, on_the_way(walk, number), SIZE_MAX, &is_whole, &file, &ignored))
            return false;
    return is_whole;
}

/* Reads what stands before the segment at hand, from the newest segment in which a record begins. */
static bool find_start(struct wal_walk *walk)
{
    uint64_t most = RECORD_MOST / walk->archive.segment_size.bytes + 2;
    uint64_t number = walk->segment.number;

    for (uint64_t before = number; before-- > 0 && number - before <= most;) {
        struct wal_file file;
        struct error ignored;
        bool is_whole;
        start_reader(walk, before);
        if (!feed_stored(walk, on_the_way(walk, before), SIZE_MAX, &is_whole, &file, &ignored) || !is_whole)
            return false;
        if (first_record(walk, before) > 0)
            return before + 1 == number || feed_before(walk, before);
    }
    return false;
}

static bool begin(struct wal_walk *walk, struct error *err)
{
    struct wal_file file;
    bool ignored;

    start_reader(walk, walk->segment.number);
    if (!feed_stored(walk, walk->segment, BEGINNING, &ignored, &file, err))
        return false;
    bool is_within = file.held_bytes >= BEGINNING && first_record(walk, walk->segment.number) == 0;
    walk->lacks_start = is_within && !find_start(walk);
    if (!is_within || walk->lacks_start)
        start_reader(walk, walk->segment.number);
    return true;
}

/* A switch that is not published yet has no history: then every page of a lower timeline is taken. */
static bool load_history(struct wal_walk *walk, struct timeline timeline, struct error *err)
{
    struct error problem;

    if (walk->history.timeline.value == timeline.value &&
        (walk->history.entry_count > 0 || walk->history.timeline.value == 1))
        return true;
    drop_reader(walk);
    history_done(&walk->history);
    walk->history = (struct history){.timeline = timeline};
    if (wal_archive_history(&walk->archive, timeline, &walk->history, &problem) || problem.errnum == ENOENT)
        return true;
    *err = problem;
    return false;
}

/* The record that was begun elsewhere has still not ended: no other one begins at a segment's first byte. */
static bool is_skipping(const struct wal_walk *walk)
{
    struct wal_record_end end;
    struct error ignored;

    return wal_record_reader_end(walk->reader, &end, &ignored) &&
           end.checked_from.value % walk->archive.segment_size.bytes == 0;
}

bool wal_walk_enter(struct wal_walk *walk, struct wal_segment segment, struct error *err)
{
    bool is_next = walk->reader != NULL && walk->segment.timeline.value == segment.timeline.value &&
                   walk->segment.number + 1 == segment.number && walk->fed == walk->archive.segment_size.bytes;

    walk->segment = segment;
    walk->fed = 0;
    if (!load_history(walk, segment.timeline, err))
        return false;
    if (is_next && walk->reader != NULL) {
        walk->lacks_start = walk->lacks_start && is_skipping(walk);
        return true;
    }
    walk->is_before = true;
    bool has_begun = begin(walk, err);
    walk->is_before = false;
    if (!has_begun)
        drop_reader(walk);
    return has_begun;
}

static bool ignore_event(void *context, const struct wal_event *event, struct error *err)
{
    (void)context;
    (void)event;
    (void)err;
    return true;
}

bool wal_walk_enter_behind(struct wal_walk *walk, struct wal_segment segment, struct error *err)
{
    bool is_next = walk->reader != NULL && walk->segment.timeline.value == segment.timeline.value &&
                   walk->segment.number + 1 == segment.number && walk->fed == walk->archive.segment_size.bytes;

    walk->segment = segment;
    walk->fed = 0;
    if (!load_history(walk, segment.timeline, err))
        return false;
    if (is_next && walk->reader != NULL)
        return true;
    walk->is_before = true;
    if (!find_start(walk))
        start_reader(walk, segment.number);
    walk->is_before = false;
    return true;
}

/* Is it sound, read for itself? */
static bool is_readable(struct wal_walk *walk, struct wal_segment segment)
{
    struct wal_file file;
    struct error ignored;
    bool is_whole;

    start_reader(walk, segment.number);
    return feed_stored(walk, segment, SIZE_MAX, &is_whole, &file, &ignored);
}

bool wal_walk_joins_next(struct wal_walk *walk, struct error *err)
{
    struct wal_segment next = {walk->segment.timeline, walk->segment.number + 1};
    struct wal_file file;
    struct error failure;
    bool is_whole;

    if (walk->reader == NULL || !wal_archive_stat(&walk->archive, next, &file, &failure) ||
        file.state == WAL_FILE_MISSING || file.held_bytes == 0)
        return true;
    walk->is_before = true;
    bool is_joined = feed_stored(walk, next, SIZE_MAX, &is_whole, &file, &failure) || !is_readable(walk, next);
    walk->is_before = false;
    drop_reader(walk);
    if (!is_joined)
        *err = failure;
    return is_joined;
}

bool wal_archive_check_joints(const struct wal_archive *archive, struct wal_segment segment, struct error *err)
{
    struct wal_walk *walk SCOPED(scoped_wal_walk) = wal_walk_new(archive, ignore_event, NULL);
    const struct wal_segment next = {segment.timeline, segment.number + 1};
    struct wal_record_end end;
    struct wal_file file, behind;
    bool is_whole = false;

    if (!wal_walk_enter_behind(walk, segment, err) || !feed_stored(walk, segment, SIZE_MAX, &is_whole, &file, err) ||
        !wal_record_reader_end(walk->reader, &end, err) || !wal_archive_stat(archive, next, &behind, err))
        return false;
    if (!is_whole || end.ends_in_zeros)
        return error_set(err, ERROR_INTEGRITY, "it is not whole");
    if (end.checked_to.value < wal_segment_end(segment, archive->segment_size).value && behind.held_bytes == 0)
        return error_set(err, ERROR_INTEGRITY, "the end of its last record is not held");
    return wal_walk_joins_next(walk, err);
}

bool wal_walk_feed(struct wal_walk *walk, const void *bytes, size_t size, struct error *err)
{
    if (walk->reader == NULL)
        return error_set(err, ERROR_FAILED, "no segment was entered");
    if (!wal_record_reader_feed(walk->reader, bytes, size, err)) {
        drop_reader(walk);
        return false;
    }
    walk->fed += (uint32_t)size;
    return true;
}

bool wal_walk_segment(struct wal_walk *walk, struct wal_segment segment, struct wal_file *ret_file, struct error *err)
{
    bool is_whole;

    if (!wal_walk_enter(walk, segment, err))
        return false;
    if (!feed_stored(walk, segment, SIZE_MAX, &is_whole, ret_file, err)) {
        drop_reader(walk);
        return false;
    }
    walk->fed = is_whole ? walk->archive.segment_size.bytes : 0;
    return true;
}

bool wal_walk_lacks_start(const struct wal_walk *walk)
{
    return walk->lacks_start;
}

bool wal_archive_last_record(const struct wal_archive *archive, struct timeline timeline, struct wal_position end,
                             struct wal_position *ret_position, struct error *err)
{
    struct wal_walk *walk SCOPED(scoped_wal_walk) = wal_walk_new(archive, ignore_event, NULL);
    struct wal_segment segment = wal_segment_before(timeline, end, archive->segment_size);
    struct wal_file file;

    walk->limit = end;
    if (!wal_walk_segment(walk, segment, &file, err))
        return false;
    /* It begins with a record of its own, which has not come whole. */
    if (walk->last_record.value == 0 && segment.number > 0 &&
        !wal_walk_segment(walk, on_the_way(walk, segment.number - 1), &file, err))
        return false;
    *ret_position = walk->last_record;
    return true;
}
