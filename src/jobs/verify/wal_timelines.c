#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/wal/record.h"

/* So many bytes behind a fork cannot be the same on both timelines: a record's header, with its checksum. */
#define BEHIND_FORK 24
/* A record at the very beginning of a page stands behind the page's header, the short or the long one. */
#define SHORT_PAGE_HEADER 24
#define LONG_PAGE_HEADER  40
#define LEAST_PAGE_SIZE   1024

/* A history in doubt says nothing of who descends from whom: every older backup may suffer. */
static json_t *older_backups(const struct checked_wal *wal, struct timeline timeline)
{
    json_t *names = json_array();

    for (size_t i = 0; i < wal->catalogue->count; i++) {
        const struct catalogue_entry *entry = &wal->catalogue->entries[i];
        if (entry->meta != NULL && strcmp(entry->system.text, wal->archive.system.text) == 0 &&
            entry->meta->start_timeline.value <= timeline.value)
            json_array_append_new(names, json_string(entry->id.text));
    }
    return names;
}

static bool tell(struct checked_wal *wal, struct timeline timeline, const struct error *failure, struct error *err)
{
    char name[WAL_HISTORY_NAME_SIZE];

    wal_history_format(timeline, name);
    return verify_read_failure(wal->verify, NULL, name, VERIFY_NO_FRAME, older_backups(wal, timeline), failure, err);
}

/* A switch that is not published yet has a partial segment only. */
static bool has_finished_segment(const struct checked_wal *wal, struct timeline timeline)
{
    for (size_t i = 0; i < wal->files.count; i++)
        if (wal->files.files[i].segment.timeline.value == timeline.value &&
            wal->files.files[i].state != WAL_FILE_PARTIAL)
            return true;
    return false;
}

static bool read_history(struct checked_wal *wal, struct timeline timeline, struct error *err)
{
    struct error failure;

    if (wal_archive_history(&wal->archive, timeline, &wal->histories[wal->history_count], &failure)) {
        wal->history_count++;
        return true;
    }
    if (failure.errnum == ENOENT && !has_finished_segment(wal, timeline))
        return true;
    return tell(wal, timeline, &failure, err);
}

static bool is_prefix(const struct history *parent, const struct history *child)
{
    if (parent->entry_count + 1 != child->entry_count)
        return false;
    for (size_t i = 0; i < parent->entry_count; i++)
        if (parent->entries[i].timeline.value != child->entries[i].timeline.value ||
            parent->entries[i].switched_at.value != child->entries[i].switched_at.value)
            return false;
    return true;
}

struct record_search {
    uint64_t wanted;
    bool is_found;
    bool is_passed; /* a record behind it was seen */
};

static bool look_at_record(void *context, const struct wal_record *record, struct error *err)
{
    struct record_search *search = context;
    uint64_t distance = record->position.value - search->wanted;
    bool is_page_start = search->wanted % LEAST_PAGE_SIZE == 0;

    (void)err;
    if (record->position.value < search->wanted)
        return true;
    if (distance == 0 || (is_page_start && (distance == SHORT_PAGE_HEADER || distance == LONG_PAGE_HEADER)))
        search->is_found = true;
    search->is_passed = true;
    return true;
}

/* A timeline begins with a record of its own. True also when what is held does not tell. */
static bool does_record_begin(const struct checked_wal *wal, const struct history_entry *fork, struct timeline child,
                              const struct buffer *bytes, uint32_t held)
{
    struct history history = {.timeline = child};
    struct record_search search = {.wanted = fork->switched_at.value};
    struct error ignored;
    struct wal_segment segment = wal_segment_at(child, fork->switched_at, wal->archive.segment_size);
    struct wal_record_reader *reader =
        wal_record_reader_new(&history, wal->archive.segment_size, segment.number,
                              system_id_value(&wal->archive.system), look_at_record, &search);
    /* A segment that is damaged is told with the segments. */
    bool is_sound = wal_record_reader_feed(reader, bytes->bytes, held, &ignored);

    wal_record_reader_free(reader);
    return !is_sound || search.is_found || !search.is_passed;
}

/*
 * A history has no checksum; the WAL proves it. Up to the fork both timelines have the same bytes, from there on
 * others, and a record begins there. *ret_is_right also when one side is not held: the gap is told elsewhere.
 */
static bool compare_at_fork(const struct checked_wal *wal, const struct history_entry *fork, struct timeline child,
                            bool *ret_is_right, struct error *failure)
{
    struct wal_segment_size size = wal->archive.segment_size;
    struct buffer old_bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(size.bytes);
    struct buffer new_bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(size.bytes);
    struct wal_file old_file;
    struct wal_file new_file;
    uint32_t at = (uint32_t)(fork->switched_at.value % size.bytes);

    *ret_is_right = true;
    if (!wal_archive_read_segment(&wal->archive, wal_segment_at(fork->timeline, fork->switched_at, size), &old_bytes,
                                  &old_file, failure) ||
        !wal_archive_read_segment(&wal->archive, wal_segment_at(child, fork->switched_at, size), &new_bytes, &new_file,
                                  failure))
        return false;
    if (old_file.state == WAL_FILE_MISSING || new_file.state == WAL_FILE_MISSING)
        return true;
    uint32_t both = old_file.held_bytes < new_file.held_bytes ? old_file.held_bytes : new_file.held_bytes;
    uint32_t before = at < both ? at : both;
    bool is_same_before = memcmp(old_bytes.bytes, new_bytes.bytes, before) == 0;
    bool differs_behind =
        both - before < BEHIND_FORK || memcmp(old_bytes.bytes + before, new_bytes.bytes + before, BEHIND_FORK) != 0;
    *ret_is_right =
        is_same_before && differs_behind && does_record_begin(wal, fork, child, &new_bytes, new_file.held_bytes);
    return true;
}

static const struct wal_range *first_range(const struct checked_wal *wal, struct timeline timeline)
{
    for (size_t i = 0; i < wal->ranges.count; i++)
        if (wal->ranges.ranges[i].timeline.value == timeline.value)
            return &wal->ranges.ranges[i];
    return NULL;
}

/*
 * Where the parent is held, the child must take over from it without a gap: then its first segment is that of the fork,
 * and the parent's last byte before the fork is there. A server that was already on the child's timeline when it was
 * first met has no parent here, and nothing to be said.
 */
static bool check_connection(const struct checked_wal *wal, const struct history_entry *fork, struct timeline child,
                             struct error *failure)
{
    struct wal_segment_size size = wal->archive.segment_size;
    struct wal_position start = wal_segment_start(wal_segment_at(child, fork->switched_at, size), size);
    const struct wal_range *of_child = first_range(wal, child);
    char text[WAL_POSITION_TEXT_SIZE];
    char position[WAL_POSITION_TEXT_SIZE];

    if (first_range(wal, fork->timeline) == NULL)
        return true;
    if (of_child != NULL && wal_expired_has(&wal->expired, child, start, of_child->start))
        return true; /* and with it perhaps the end of the parent */
    wal_position_format(fork->switched_at, position);
    if (of_child != NULL && of_child->start.value != start.value) {
        wal_position_format(of_child->start, text);
        return error_set(failure, ERROR_INTEGRITY,
                         "it says that timeline %" PRIu32 " begins at %s, but its WAL is held from %s on", child.value,
                         position, text);
    }
    for (size_t i = 0; i < wal->ranges.count; i++) {
        const struct wal_range *range = &wal->ranges.ranges[i];
        if (range->timeline.value == fork->timeline.value && range->start.value < fork->switched_at.value &&
            fork->switched_at.value <= range->end.value)
            return true;
    }
    if (wal_expired_has(&wal->expired, fork->timeline, (struct wal_position){fork->switched_at.value - 1},
                        fork->switched_at))
        return true;
    return error_set(failure, ERROR_INTEGRITY,
                     "it says that timeline %" PRIu32 " ended at %s, but its WAL is not held up to there",
                     fork->timeline.value, position);
}

/* *ret_is_right false: *failure says what is not. */
static bool check_words(const struct checked_wal *wal, const struct history *history, bool *ret_is_right,
                        struct error *failure, struct error *err)
{
    const struct history_entry *fork = &history->entries[history->entry_count - 1];
    const struct history *parent = verify_find_history(wal, fork->timeline);
    char position[WAL_POSITION_TEXT_SIZE];

    *ret_is_right = false;
    if (parent != NULL && !is_prefix(parent, history)) {
        error_set(failure, ERROR_INTEGRITY, "it contradicts the history of its parent, timeline %" PRIu32,
                  fork->timeline.value);
        return true;
    }
    if (!check_connection(wal, fork, history->timeline, failure))
        return true;
    /* A segment that cannot be read is told with the segments. */
    if (!compare_at_fork(wal, fork, history->timeline, ret_is_right, failure)) {
        *ret_is_right = verify_is_damage(failure);
        if (!*ret_is_right)
            *err = *failure;
        return *ret_is_right;
    }
    if (*ret_is_right)
        return true;
    wal_position_format(fork->switched_at, position);
    error_set(failure, ERROR_INTEGRITY, "the WAL of timelines %" PRIu32 " and %" PRIu32 " does not part at %s",
              fork->timeline.value, history->timeline.value, position);
    return true;
}

static bool check_fork(struct checked_wal *wal, const struct history *history, struct error *err)
{
    bool is_right = false;
    struct error failure;

    return check_words(wal, history, &is_right, &failure, err) &&
           (is_right || tell(wal, history->timeline, &failure, err));
}

bool verify_timelines(struct checked_wal *wal, struct error *err)
{
    struct timeline *timelines SCOPED(scoped_free) = NULL;
    size_t count = 0;

    if (!wal_archive_timelines(&wal->archive, &timelines, &count, err))
        return false;
    wal->histories = calloc(count + 1, sizeof *wal->histories);
    if (wal->histories == NULL)
        return error_set(err, ERROR_FAILED, "no memory for %zu timelines", count);
    if (count == 0 || timelines[0].value != 1)
        wal->histories[wal->history_count++] = (struct history){.timeline = {1}};
    for (size_t i = 0; i < count; i++)
        if (!read_history(wal, timelines[i], err))
            return false;
    for (size_t i = 0; i < wal->history_count; i++)
        if (wal->histories[i].entry_count > 0 && !check_fork(wal, &wal->histories[i], err))
            return false;
    return true;
}
