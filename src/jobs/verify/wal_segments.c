#include <stdlib.h>
#include <string.h>

#include "jobs/verify/wal_notes_internal.h"
#include "jobs/verify/wal_row_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/pool.h"

/* Whole segments are held in memory: with large ones fewer are read at a time. */
#define MOST_SEGMENT_BYTES (UINT32_C(256) << 20)
/* A segment changes its state at most three times: partial, raw, compressed. */
#define MOST_LOOKS 4

struct segment_task {
    const struct wal_archive *archive;
    struct wal_file listed;
    struct wal_file found;
    struct buffer bytes;
};

struct segment_check {
    struct checked_wal *wal;
    struct pool *pool;
    struct wal_row row;
    struct wal_notes notes;
    struct wal_verified_range sound; /* found so, and not recorded yet */
};

/* So many are recorded at once: a run that is killed loses no more. */
#define RECORDED_AT_ONCE 256

/* It may be renamed, compressed and removed under its raw name between two looks. */
static bool read_settled(struct segment_task *task, struct error *err)
{
    struct wal_file now;

    for (int look = 1;; look++) {
        bool ok = wal_archive_read_segment(task->archive, task->listed.segment, &task->bytes, &task->found, err);
        if (ok && task->found.state != WAL_FILE_MISSING)
            return true;
        if (ok)
            error_set(err, ERROR_INTEGRITY, "it is missing");
        struct error failure;
        if (look == MOST_LOOKS || !wal_archive_stat(task->archive, task->listed.segment, &now, &failure) ||
            now.state == task->listed.state || now.state == WAL_FILE_MISSING)
            return false;
        task->listed = now;
    }
}

static bool work(void *shared, void *worker, void *task_pointer, struct error *err)
{
    struct segment_task *task = task_pointer;
    const struct wal_archive *archive = task->archive;

    (void)shared;
    (void)worker;
    task->found = task->listed;
    if (!read_settled(task, err))
        return false;
    return task->found.held_bytes == 0 ||
           wal_segment_check_header(task->bytes.bytes, task->found.held_bytes, task->listed.segment,
                                    archive->segment_size, system_id_value(&archive->system), err);
}

static const struct pool_ops segment_pool_ops = {.work = work};

static void free_task(void *task_pointer)
{
    struct segment_task *task = task_pointer;

    buffer_done(&task->bytes);
    free(task);
}

static void scoped_task(struct segment_task **task)
{
    if (*task != NULL)
        free_task(*task);
}

static const char *suffix_of(enum wal_file_state state)
{
    switch (state) {
    case WAL_FILE_COMPRESSED:
        return ".zst";
    case WAL_FILE_PARTIAL:
        return ".partial";
    case WAL_FILE_RAW:
    case WAL_FILE_MISSING:
        break;
    }
    return "";
}

static bool tell(struct segment_check *check, const struct segment_task *task, const struct error *failure,
                 struct error *err)
{
    struct wal_segment_size size = check->wal->archive.segment_size;
    struct wal_segment segment = task->listed.segment;
    char name[WAL_SEGMENT_NAME_SIZE];

    wal_segment_format(segment, size, name);
    char *file SCOPED(scoped_free) = memory_text("%s%s", name, suffix_of(task->found.state));
    json_t *suffering = verify_suffering(check->wal, segment.timeline, wal_segment_start(segment, size),
                                         wal_segment_end(segment, size));
    return verify_read_failure(check->wal->verify, NULL, file, VERIFY_NO_FRAME, suffering, failure, err);
}

static bool record(const struct segment_check *check, const struct wal_verified_range *range, struct error *err)
{
    struct error failure;

    if (range->first == range->end || !check->wal->verify->is_recording)
        return true;
    return wal_verified_record(&check->wal->archive, range, &failure) ||
           verify_tell_unrecorded(check->wal->verify, &failure, err);
}

static bool record_sound(struct segment_check *check, struct error *err)
{
    struct wal_verified_range sound = check->sound;

    check->sound = (struct wal_verified_range){.first = 0};
    return record(check, &sound, err);
}

/* Of a segment: only a compressed one stays as it is. */
static bool note_verdict(struct segment_check *check, const struct wal_file *file, bool is_sound, struct error *err)
{
    struct wal_verified_range *sound = &check->sound;
    struct wal_segment segment = file->segment;
    bool is_next = sound->end == segment.number && sound->timeline.value == segment.timeline.value;

    if (!is_sound && wal_verified_at(check->wal->verified, segment).microseconds != 0)
        return record_sound(check, err) &&
               record(check, &(struct wal_verified_range){segment.timeline, segment.number, segment.number + 1, {0}},
                      err);
    if (!is_sound || file->state != WAL_FILE_COMPRESSED)
        return true;
    if ((!is_next || sound->end - sound->first == RECORDED_AT_ONCE) && !record_sound(check, err))
        return false;
    if (sound->first == sound->end)
        *sound =
            (struct wal_verified_range){segment.timeline, segment.number, segment.number, check->wal->verify->began};
    sound->end++;
    return true;
}

/* Removed by retention while this was under way: no loss. */
static bool is_expired_since(struct checked_wal *wal, struct wal_segment segment)
{
    struct wal_segment_size size = wal->archive.segment_size;
    struct wal_file file;
    struct error ignored;

    if (!wal_archive_stat(&wal->archive, segment, &file, &ignored) || file.state != WAL_FILE_MISSING)
        return false;
    wal_ranges_done(&wal->expired);
    wal_expired_read(&wal->archive, &wal->expired);
    return wal_expired_has(&wal->expired, segment.timeline, wal_segment_start(segment, size),
                           wal_segment_end(segment, size));
}

static bool take_oldest(struct segment_check *check, struct error *err)
{
    void *task_pointer = NULL;
    struct error failure;
    bool is_sound = pool_take(check->pool, &task_pointer, &failure);
    struct segment_task *task SCOPED(scoped_task) = task_pointer;

    /* What a record's checksum had told before it was compressed only a record's checksum tells again. */
    bool is_wanted = wal_row_wants(&check->row, &task->found) || verify_known_damage(check->wal, &task->found) != NULL;
    if (is_sound && task->found.held_bytes > 0 && is_wanted)
        is_sound = wal_row_read(&check->row, task->bytes.bytes, &task->found, &failure);
    if (!is_sound && is_expired_since(check->wal, task->listed.segment))
        return verify_advance(check->wal->verify, task->listed.held_bytes, "WAL", err);
    if (!is_sound && !(tell(check, task, &failure, err) && verify_note_damage(check->wal, &task->found, &failure, err)))
        return false;
    if (is_sound && !verify_note_sound(check->wal, &task->found, err))
        return false;
    if (is_sound && !wal_notes_check(&check->notes, task->bytes.bytes, &task->found, err))
        return false;
    if (!note_verdict(check, &task->found, is_sound, err))
        return false;
    return verify_advance(check->wal->verify, task->listed.held_bytes, "WAL", err);
}

static struct segment_task *new_task(const struct checked_wal *wal, size_t i)
{
    struct segment_task *task = memory_new(sizeof *task);

    *task = (struct segment_task){
        .archive = &wal->archive,
        .listed = wal->files.files[i],
        .bytes = BUFFER_WITH_LIMIT(wal->archive.segment_size.bytes),
    };
    return task;
}

bool verify_is_before(struct wal_segment segment, struct wal_segment first)
{
    return segment.timeline.value < first.timeline.value || segment.number < first.number;
}

static bool read_each(struct segment_check *check, struct verify_stretch stretch, struct wal_segment first,
                      struct verify_wal_outcome *outcome, struct error *err)
{
    for (size_t i = stretch.begin; i < stretch.end; i++) {
        const struct wal_file *file = &check->wal->files.files[i];
        if (verify_is_before(file->segment, first))
            continue;
        if (verify_is_recent_segment(check->wal->verify, check->wal->verified, file)) {
            outcome->recent++;
            continue;
        }
        if (!pool_has_room(check->pool) && !take_oldest(check, err))
            return false;
        pool_submit(check->pool, new_task(check->wal, i));
        outcome->segments++;
    }
    while (pool_in_flight(check->pool) > 0)
        if (!take_oldest(check, err))
            return false;
    return true;
}

bool verify_segments(struct checked_wal *wal, struct verify_stretch stretch, struct wal_segment first,
                     struct verify_wal_outcome *outcome, struct error *err)
{
    struct segment_check check = {.wal = wal, .row = {.wal = wal}};
    unsigned most = MOST_SEGMENT_BYTES / wal->archive.segment_size.bytes;
    unsigned workers = wal->verify->workers > 0 ? wal->verify->workers : pool_default_workers();
    struct error ignored;

    if (workers > most)
        workers = most > 0 ? most : 1;
    if (!pool_new(&segment_pool_ops, NULL, workers, workers + (most > workers ? 1 : 0), &check.pool, err))
        return false;
    wal_notes_begin(&check.notes, wal);
    bool ok = read_each(&check, stretch, first, outcome, err);
    if (!record_sound(&check, ok ? err : &ignored))
        ok = false;
    wal_notes_done(&check.notes);
    pool_free(check.pool, free_task);
    wal_row_done(&check.row);
    return ok;
}
