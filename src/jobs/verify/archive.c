#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "jobs/verify/member_walk_internal.h"
#include "jobs/verify/verify_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/stage/frame.h"
#include "pgcoffer/stage/pool.h"
#include "pgcoffer/stage/stages.h"

#define SPARE_TASKS 2
/* A frame of ours never compresses to more than this. */
#define MOST_STORED (FRAME_SIZE + (FRAME_SIZE >> 4))

/* The seek table of zstd's seekable format (zstd_seekable_compression_format.md). */
#define SKIPPABLE_MAGIC   UINT32_C(0x184D2A5E)
#define SEEKABLE_MAGIC    UINT32_C(0x8F92EAB1)
#define TABLE_HEADER_SIZE 8
#define TABLE_ENTRY_SIZE  12
#define TABLE_FOOTER_SIZE 9
#define TABLE_DESCRIPTOR  0x80 /* entries have checksums */

struct frame_task {
    const struct index_frame *frame;
    int64_t number; /* in the archive */
    uint8_t *stored;
    uint8_t *plain;
    struct frame_task *next_free;
};

struct archive_check {
    struct checked_backup *backup;
    const struct backup_file *file;
    const char *archive; /* its name in the index */
    const char *path;
    int fd;
    struct pool *pool;
    struct frame_task *free_tasks;
    struct checksum *whole; /* of the file */
    uint64_t position;
    struct buffer table; /* as it should be */
    struct member_walk walk;
    size_t problems_before;
    bool is_cut_off; /* the rest cannot be found */
};

static bool begin_worker(void *shared, unsigned worker_number, void **ret_worker, struct error *err)
{
    (void)shared;
    (void)worker_number;
    (void)err;
    *ret_worker = frame_decoder_new();
    return true;
}

static bool work(void *shared, void *worker, void *task_pointer, struct error *err)
{
    struct frame_task *task = task_pointer;

    (void)shared;
    return frame_decode(worker, task->stored, task->frame->stored_length, task->plain, task->frame->length,
                        task->frame->sha256, err);
}

static void end_worker(void *shared, void *worker)
{
    (void)shared;
    frame_decoder_free(worker);
}

static const struct pool_ops frame_pool_ops = {.begin = begin_worker, .work = work, .end = end_worker};

static void free_task(void *task_pointer)
{
    struct frame_task *task = task_pointer;

    free(task->stored);
    free(task->plain);
    free(task);
}

static struct frame_task *take_free_task(struct archive_check *check)
{
    struct frame_task *task = check->free_tasks;

    if (task != NULL) {
        check->free_tasks = task->next_free;
        return task;
    }
    task = memory_new(sizeof *task);
    task->stored = memory_new(MOST_STORED);
    task->plain = memory_new(FRAME_SIZE);
    return task;
}

static void archive_check_done(struct archive_check *check)
{
    pool_free(check->pool, free_task);
    while (check->free_tasks != NULL) {
        struct frame_task *task = check->free_tasks;
        check->free_tasks = task->next_free;
        free_task(task);
    }
    scoped_close(&check->fd);
    checksum_free(check->whole);
    buffer_done(&check->table);
    member_walk_done(&check->walk);
}

static const char *id_of(const struct archive_check *check)
{
    return check->backup->meta->id.text;
}

static bool tell(struct archive_check *check, int64_t frame, const struct error *failure, struct error *err)
{
    return verify_read_failure(check->backup->verify, id_of(check), check->file->name, frame, NULL, failure, err);
}

static bool member_differs(void *context, const struct index_member *member, const char *found, struct error *err)
{
    struct archive_check *check = context;

    return verify_problem(check->backup->verify, id_of(check), check->file->name, VERIFY_NO_FRAME, NULL, err,
                          "member \"%s\" has the checksum %s instead of %s", member->path, found, member->checksum);
}

static bool take_oldest(struct archive_check *check, struct error *err)
{
    void *task_pointer = NULL;
    struct error failure;
    bool is_sound = pool_take(check->pool, &task_pointer, &failure);
    struct frame_task *task = task_pointer;

    task->next_free = check->free_tasks;
    check->free_tasks = task;
    if (!is_sound && !tell(check, task->number, &failure, err))
        return false;
    return member_walk_feed(&check->walk, is_sound ? task->plain : NULL, task->frame->offset, task->frame->length, err);
}

static void put_number(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

/* The table's checksum is the low half of XXH64, which is also what ends the frame. */
static bool expect_in_table(struct archive_check *check, const struct frame_task *task, struct error *err)
{
    uint8_t entry[TABLE_ENTRY_SIZE] = {0};
    uint32_t stored = task->frame->stored_length;

    put_number(entry, stored);
    put_number(entry + 4, task->frame->length);
    if (stored >= 4)
        memcpy(entry + 8, task->stored + stored - 4, 4);
    return buffer_append(&check->table, entry, sizeof entry, err);
}

static bool check_extent(struct archive_check *check, const struct index_frame *frame, struct error *failure)
{
    if (frame->backup[0] != '\0')
        return error_set(failure, ERROR_INTEGRITY, "it lies in backup %.23s, which this version cannot read",
                         frame->backup);
    if (frame->stored_at != check->position)
        return error_set(failure, ERROR_INTEGRITY, "the index has it at byte %" PRIu64 " of the archive, not %" PRIu64,
                         frame->stored_at, check->position);
    if (frame->length > FRAME_SIZE || frame->stored_length > MOST_STORED)
        return error_set(failure, ERROR_INTEGRITY, "the index has it with %" PRIu32 " bytes, %" PRIu32 " stored",
                         frame->length, frame->stored_length);
    return true;
}

static bool read_frame(struct archive_check *check, struct frame_task *task, struct error *failure)
{
    uint32_t size = task->frame->stored_length;

    if (!check_extent(check, task->frame, failure) ||
        !file_read_exactly_at(check->fd, task->stored, size, check->position, check->path, failure))
        return false;
    checksum_update(check->whole, task->stored, size);
    check->position += size;
    return true;
}

static bool submit_frame(struct archive_check *check, const struct index_frame *frame, int64_t number,
                         struct error *err)
{
    struct error failure;

    if (!pool_has_room(check->pool) && !take_oldest(check, err))
        return false;
    struct frame_task *task = take_free_task(check);
    task->frame = frame;
    task->number = number;
    if (!read_frame(check, task, &failure)) {
        free_task(task);
        check->is_cut_off = true;
        return tell(check, number, &failure, err);
    }
    if (!expect_in_table(check, task, err)) {
        free_task(task);
        return false;
    }
    pool_submit(check->pool, task);
    return verify_advance(check->backup->verify, frame->length, check->file->name, err);
}

static bool check_frames(struct archive_check *check, struct error *err)
{
    const struct index *index = &check->backup->index;
    int64_t number = 0;

    for (size_t i = 0; i < index->frame_count && !check->is_cut_off; i++)
        if (strcmp(index->frames[i].archive, check->archive) == 0 &&
            !submit_frame(check, &index->frames[i], number++, err))
            return false;
    while (pool_in_flight(check->pool) > 0)
        if (!take_oldest(check, err))
            return false;
    return true;
}

static bool complete_table(struct archive_check *check, struct error *err)
{
    uint8_t footer[TABLE_FOOTER_SIZE];
    size_t entries = check->table.used - TABLE_HEADER_SIZE;

    put_number(footer, (uint32_t)(entries / TABLE_ENTRY_SIZE));
    footer[4] = TABLE_DESCRIPTOR;
    put_number(footer + 5, SEEKABLE_MAGIC);
    if (!buffer_append(&check->table, footer, sizeof footer, err))
        return false;
    assert(check->table.bytes != NULL);
    put_number(check->table.bytes, SKIPPABLE_MAGIC);
    put_number(check->table.bytes + 4, (uint32_t)(check->table.used - TABLE_HEADER_SIZE));
    return true;
}

/* What follows the last frame must be the seek table of these frames, and nothing else. */
static bool check_table(struct archive_check *check, struct error *err)
{
    struct verify *verify = check->backup->verify;
    struct stat status;
    struct error failure;

    if (!complete_table(check, err))
        return false;
    if (fstat(check->fd, &status) < 0)
        return error_set_errno(err, "could not look at \"%s\"", check->path);
    uint64_t rest = (uint64_t)status.st_size - check->position;
    if (rest != check->table.used)
        return verify_problem(verify, id_of(check), check->file->name, VERIFY_NO_FRAME, NULL, err,
                              "its last frame is followed by %" PRIu64 " bytes instead of a seek table of %zu", rest,
                              check->table.used);
    uint8_t *found SCOPED(scoped_free) = malloc(check->table.used);
    if (found == NULL)
        return error_set(err, ERROR_FAILED, "no memory for a seek table of %zu bytes", check->table.used);
    if (!file_read_exactly_at(check->fd, found, check->table.used, check->position, check->path, &failure))
        return tell(check, VERIFY_NO_FRAME, &failure, err);
    checksum_update(check->whole, found, check->table.used);
    assert(check->table.bytes != NULL);
    if (memcmp(found, check->table.bytes, check->table.used) != 0 &&
        !verify_problem(verify, id_of(check), check->file->name, VERIFY_NO_FRAME, NULL, err,
                        "its seek table does not describe its frames"))
        return false;
    return verify_advance(verify, check->table.used, check->file->name, err);
}

/* Only told when nothing more precise was. */
static bool check_whole(struct archive_check *check, struct error *err)
{
    struct verify *verify = check->backup->verify;
    char found[CHECKSUM_HEX_SIZE];

    checksum_final(check->whole, found);
    if (verify->problem_count > check->problems_before || strcmp(found, check->file->sha256) == 0)
        return true;
    return verify_problem(verify, id_of(check), check->file->name, VERIFY_NO_FRAME, NULL, err,
                          "its SHA-256 is %s instead of %s", found, check->file->sha256);
}

static bool begin(struct archive_check *check, struct error *err)
{
    static const uint8_t header_place[TABLE_HEADER_SIZE];
    struct verify *verify = check->backup->verify;
    unsigned workers = verify->workers > 0 ? verify->workers : pool_default_workers();
    enum checksum_algorithm algorithm = CHECKSUM_NONE;

    check->problems_before = verify->problem_count;
    check->whole = checksum_new(CHECKSUM_SHA256);
    check->table = BUFFER_WITH_LIMIT((size_t)1 << 31);
    if (!checksum_algorithm_from_word(check->backup->meta->checksum_algorithm, &algorithm))
        return error_set(err, ERROR_INTEGRITY, "backup %s has the unknown checksum algorithm \"%s\"", id_of(check),
                         check->backup->meta->checksum_algorithm);
    member_walk_begin(&check->walk, &check->backup->index, check->archive, algorithm);
    check->walk.differs = member_differs;
    check->walk.context = check;
    return buffer_append(&check->table, header_place, sizeof header_place, err) &&
           pool_new(&frame_pool_ops, NULL, workers, workers + SPARE_TASKS, &check->pool, err);
}

bool verify_archive(struct checked_backup *backup, const struct backup_file *file, const char *archive,
                    struct error *err)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", backup->folder, file->name);
    struct archive_check check SCOPED(archive_check_done) = {.backup = backup,
                                                             .file = file,
                                                             .archive = archive,
                                                             .path = path,
                                                             .fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
    struct error failure;

    if (check.fd < 0) {
        error_set_errno(&failure, "could not open \"%s\"", path);
        return tell(&check, VERIFY_NO_FRAME, &failure, err);
    }
    if (!begin(&check, err) || !check_frames(&check, err))
        return false;
    return check.is_cut_off || (check_table(&check, err) && check_whole(&check, err));
}
