#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

/* From this size on the kernel is told to begin writing at once, so that the fsync at the end has little to wait for.
 */
#define EARLY_WRITE_SIZE (1u << 20)

struct writer {
    struct restore *restore;
    struct member_sink sink;
    struct member_stream *stream;
    const struct restore_place *place; /* NULL before the first frame */
    struct tree tree;
    int fd;           /* of the open member; -1 */
    bool is_captured; /* the open member is pg_control, which is kept back */
};

static bool begin_archive(void *context, const char *archive, struct error *err)
{
    struct writer *writer = context;
    const struct restore *restore = writer->restore;

    for (size_t i = 0; i < restore->place_count; i++) {
        if (strcmp(restore->places[i].archive, archive) != 0)
            continue;
        tree_done(&writer->tree);
        writer->place = &restore->places[i];
        writer->tree = tree_of(writer->place);
        return true;
    }
    return member_stream_fail(restore->plan.backup, archive, err);
}

static bool begin_member(void *context, const struct index_member *member, struct error *err)
{
    struct writer *writer = context;
    const struct restore_plan *plan = &writer->restore->plan;

    writer->is_captured = writer->place->oid == 0 && strcmp(member->path, RESTORE_PG_CONTROL) == 0;
    if (member->type == MEMBER_DIRECTORY)
        return tree_make_folder(&writer->tree, member->path, plan->folder_mode, err);
    if (writer->is_captured)
        return true;
    return tree_create_file(&writer->tree, member->path, plan->file_mode, &writer->fd, err);
}

static bool write_member(void *context, const struct index_member *member, uint64_t offset, const void *bytes,
                         size_t size, struct error *err)
{
    struct writer *writer = context;

    if (writer->is_captured)
        return buffer_append(&writer->restore->pg_control, bytes, size, err);
    if (!file_write_all_at(writer->fd, bytes, size, offset, member->path, err))
        return error_wrap(err, "in \"%s\"", writer->place->path);
    if (size >= EARLY_WRITE_SIZE)
        sync_file_range(writer->fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
    return true;
}

static bool end_member(void *context, const struct index_member *member, struct error *err)
{
    struct writer *writer = context;
    int fd = file_take_descriptor(&writer->fd);

    writer->is_captured = false;
    writer->restore->file_count += member->type == MEMBER_FILE;
    if (fd >= 0 && close(fd) < 0)
        return error_set_errno(err, "could not close \"%s/%s\"", writer->place->path, member->path);
    return true;
}

struct writer *writer_new(struct restore *restore)
{
    struct writer *writer = memory_new(sizeof *writer);

    writer->restore = restore;
    writer->fd = -1;
    writer->tree.parent_fd = -1;
    writer->sink = (struct member_sink){begin_archive, begin_member, write_member, end_member, writer};
    writer->stream = member_stream_new(&restore->index, restore->plan.backup, &writer->sink);
    return writer;
}

void writer_free(struct writer *writer)
{
    if (writer == NULL)
        return;
    member_stream_free(writer->stream);
    scoped_close(&writer->fd);
    tree_done(&writer->tree);
    free(writer);
}

bool writer_take(void *writer, const struct index_frame *frame, const void *plain, struct error *err)
{
    return member_stream_take(((struct writer *)writer)->stream, frame, plain, err);
}

bool writer_finish(void *writer, struct error *err)
{
    return member_stream_finish(((const struct writer *)writer)->stream, err);
}
