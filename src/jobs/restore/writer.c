#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

/* From this size on the kernel is told to begin writing at once, so that the fsync at the end has little to wait for.
 */
#define EARLY_WRITE_SIZE (1u << 20)

/*
 * Frames come in the order of the tar stream, members stand in the index in the same order: so one member at a time
 * is open, and nothing is looked up. What lies between members (tar headers, padding) is passed over.
 */
struct writer {
    struct restore *restore;
    const struct restore_place *place; /* NULL before the first frame */
    struct tree tree;
    uint64_t position; /* of the archive's plain stream */
    size_t member;     /* the next or the open one */
    int fd;            /* of the open member; -1 */
    bool is_captured;  /* the open member is pg_control, which is kept back */
};

struct writer *writer_new(struct restore *restore)
{
    struct writer *writer = memory_new(sizeof *writer);

    writer->restore = restore;
    writer->fd = -1;
    writer->tree.parent_fd = -1;
    return writer;
}

void writer_free(struct writer *writer)
{
    if (writer == NULL)
        return;
    scoped_close(&writer->fd);
    tree_done(&writer->tree);
    free(writer);
}

/* The next member, when it belongs to the archive at hand. */
static const struct index_member *current_member(const struct writer *writer)
{
    const struct index *index = &writer->restore->index;

    if (writer->place == NULL || writer->member >= index->member_count)
        return NULL;
    const struct index_member *member = &index->members[writer->member];
    return strcmp(member->archive, writer->place->archive) == 0 ? member : NULL;
}

static bool fail_index(const struct writer *writer, const char *archive, struct error *err)
{
    return error_set(err, ERROR_INTEGRITY, "the index of backup %s does not fit its archive \"%s\"",
                     writer->restore->plan.backup, archive);
}

static bool begin_archive(struct writer *writer, const char *archive, struct error *err)
{
    const struct restore *restore = writer->restore;

    if (current_member(writer) != NULL)
        return fail_index(writer, writer->place->archive, err);
    for (size_t i = 0; i < restore->place_count; i++) {
        if (strcmp(restore->places[i].archive, archive) != 0)
            continue;
        tree_done(&writer->tree);
        writer->place = &restore->places[i];
        writer->tree = tree_of(writer->place);
        writer->position = 0;
        return true;
    }
    return fail_index(writer, archive, err);
}

static bool begin_member(struct writer *writer, const struct index_member *member, struct error *err)
{
    const struct restore_plan *plan = &writer->restore->plan;

    writer->is_captured = writer->place->oid == 0 && strcmp(member->path, RESTORE_PG_CONTROL) == 0;
    if (member->type == MEMBER_DIRECTORY)
        return tree_make_folder(&writer->tree, member->path, plan->folder_mode, err);
    if (writer->is_captured)
        return true;
    return tree_create_file(&writer->tree, member->path, plan->file_mode, &writer->fd, err);
}

static bool write_member(struct writer *writer, const struct index_member *member, uint64_t offset, const void *bytes,
                         size_t size, struct error *err)
{
    if (size == 0)
        return true;
    if (writer->is_captured)
        return buffer_append(&writer->restore->pg_control, bytes, size, err);
    if (!file_write_all_at(writer->fd, bytes, size, offset, member->path, err))
        return error_wrap(err, "in \"%s\"", writer->place->path);
    if (size >= EARLY_WRITE_SIZE)
        sync_file_range(writer->fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
    return true;
}

static bool end_member(struct writer *writer, const struct index_member *member, struct error *err)
{
    int fd = writer->fd;

    writer->fd = -1;
    writer->is_captured = false;
    writer->member++;
    writer->restore->file_count += member->type == MEMBER_FILE;
    if (fd >= 0 && close(fd) < 0)
        return error_set_errno(err, "could not close \"%s/%s\"", writer->place->path, member->path);
    return true;
}

/* The part of `member` that lies in the `size` bytes from writer->position on. *ret_is_whole: it ends there. */
static bool take_part(struct writer *writer, const struct index_member *member, const uint8_t *bytes, uint64_t size,
                      bool *ret_is_whole, struct error *err)
{
    uint64_t stop = writer->position + size;
    uint64_t member_end = member->data_offset + member->size;
    bool is_begun = writer->fd >= 0 || (writer->is_captured && member->data_offset < writer->position);
    uint64_t from = member->data_offset > writer->position ? member->data_offset : writer->position;
    uint64_t to = member_end < stop ? member_end : stop;

    if (!is_begun) {
        if (member->data_offset < writer->position && member->size > 0)
            return fail_index(writer, member->archive, err);
        if (!begin_member(writer, member, err))
            return false;
    }
    *ret_is_whole = member_end <= stop;
    if (member->size == 0)
        return true;
    return write_member(writer, member, from - member->data_offset, bytes + (from - writer->position),
                        (size_t)(to - from), err);
}

bool writer_take(struct writer *writer, const struct index_frame *frame, const void *plain, struct error *err)
{
    bool is_first = writer->place == NULL || strcmp(writer->place->archive, frame->archive) != 0;

    if (is_first && !begin_archive(writer, frame->archive, err))
        return false;
    if (frame->offset != writer->position)
        return fail_index(writer, frame->archive, err);
    uint64_t stop = writer->position + frame->length;
    for (const struct index_member *member; (member = current_member(writer)) != NULL;) {
        /* An empty member may lie on the very end of the frame, one with bytes begins in the next. */
        if (member->data_offset > stop || (member->data_offset == stop && member->size > 0))
            break;
        bool is_whole = false;
        if (!take_part(writer, member, plain, frame->length, &is_whole, err))
            return false;
        if (!is_whole)
            break;
        if (!end_member(writer, member, err))
            return false;
    }
    writer->position = stop;
    return true;
}

bool writer_finish(struct writer *writer, struct error *err)
{
    const struct index *index = &writer->restore->index;

    if (writer->fd >= 0 || writer->member != index->member_count)
        return fail_index(writer,
                          writer->member < index->member_count ? index->members[writer->member].archive : "base", err);
    return true;
}
