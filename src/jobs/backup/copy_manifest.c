#include <stdio.h>
#include <string.h>

#include "jobs/backup/copy_state_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/pg/manifest.h"
#include "pgcoffer/repo/index.h"

#define MANIFEST_NAME "backup_manifest"
/* Only read again to name a file in an error message. */
#define MOST_INDEX_BYTES ((size_t)1 << 30)

static bool take_file(void *context, const struct manifest_file *file, struct error *err)
{
    struct copy *copy = context;
    enum checksum_algorithm algorithm = CHECKSUM_NONE;

    if (file->algorithm[0] != '\0' && !checksum_algorithm_from_word(file->algorithm, &algorithm))
        return error_set(err, ERROR_INTEGRITY, "the server's manifest has the unknown checksum algorithm \"%s\"",
                         file->algorithm);
    if (algorithm != copy->options->algorithm)
        return error_set(err, ERROR_INTEGRITY, "the server's manifest has %s checksums instead of %s",
                         checksum_algorithm_word(algorithm), checksum_algorithm_word(copy->options->algorithm));
    return file_table_match(copy->files, file->path, file->size, file->checksum, err);
}

/* Ranges come newest first; together they reach from the start to the end of the backup. */
static bool take_range(void *context, const struct manifest_range *range, struct error *err)
{
    struct copy_outcome *outcome = ((struct copy *)context)->outcome;

    (void)err;
    if (!outcome->has_range || range->timeline.value > outcome->last_timeline.value) {
        outcome->last_timeline = range->timeline;
        outcome->last_end = range->end;
    }
    if (!outcome->has_range || range->timeline.value < outcome->first_timeline.value) {
        outcome->first_timeline = range->timeline;
        outcome->first_start = range->start;
    }
    outcome->has_range = true;
    return true;
}

static void scoped_reader(struct manifest_reader **reader)
{
    manifest_reader_free(*reader);
}

static bool pump(struct copy *copy, struct stage *chain, struct manifest_reader *reader, struct error *err)
{
    for (;;) {
        const void *bytes = NULL;
        size_t size = 0;
        if (!copy_read(copy, &bytes, &size, err))
            return false;
        if (size == 0)
            return manifest_reader_finish(reader, &copy->outcome->manifest_system, err);
        if (!stage_write(chain, bytes, size, err) || !manifest_reader_feed(reader, bytes, size, err))
            return false;
    }
}

struct search {
    struct file_table *files;
    char found[512];
};

static void look_at_member(struct search *search, const struct index_member *member)
{
    char path[4096];
    uint64_t oid = 0;

    if (member->type != MEMBER_FILE)
        return;
    if (!text_parse_unsigned(member->archive, UINT32_MAX, &oid))
        oid = 0;
    file_table_manifest_path((uint32_t)oid, member->path, path, sizeof path);
    if (file_table_is_unmatched(search->files, path))
        snprintf(search->found, sizeof search->found, "%s", path);
}

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

static void scoped_index(struct index *index)
{
    index_done(index);
}

/* The table holds no names, but the index on disk does. */
static void name_unmatched(struct copy *copy, struct search *search)
{
    struct buffer stored SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(MOST_INDEX_BYTES);
    struct index index SCOPED(scoped_index) = {0};
    char *path SCOPED(scoped_free) = memory_text("%s/index.jsonl.zst", copy->options->folder);
    struct error ignored;

    if (!file_read_whole(path, &stored, &ignored) ||
        !index_read_compressed(stored.bytes, stored.used, &index, &ignored))
        return;
    for (size_t i = 0; i < index.member_count && search->found[0] == '\0'; i++)
        look_at_member(search, &index.members[i]);
}

static bool check_every_file_was_named(struct copy *copy, struct error *err)
{
    struct search search = {.files = copy->files};
    size_t count = file_table_unmatched(copy->files);

    if (count == 0)
        return true;
    name_unmatched(copy, &search);
    text_make_printable(search.found);
    return error_set(err, ERROR_INTEGRITY, "%zu file%s of the backup %s not in the server's manifest: \"%s\"%s", count,
                     count == 1 ? "" : "s", count == 1 ? "is" : "are", search.found, count == 1 ? "" : " and others");
}

bool copy_manifest(struct copy *copy, struct error *err)
{
    struct manifest_handler handler = {.file = take_file, .range = take_range, .context = copy};
    struct manifest_reader *reader SCOPED(scoped_reader) = manifest_reader_new(&handler);
    struct digest_result digest = {0};
    struct stage *chain SCOPED(scoped_stage) =
        stage_compress_new(stage_digest_new(copy_store_new(copy), &digest), copy->options->level);

    snprintf(copy->item, sizeof copy->item, "%s", MANIFEST_NAME);
    return stage_open(chain, MANIFEST_NAME, err) && pump(copy, chain, reader, err) &&
           check_every_file_was_named(copy, err) && stage_finish(chain, err) &&
           copy_keep_file(copy, MANIFEST_NAME ".zst", &digest, err);
}
