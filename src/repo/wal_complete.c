#include "pgcoffer/repo/wal_complete.h"

#include <inttypes.h>
#include <stdlib.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"
#include "repo/wal_internal.h"

#define COMPLETE_FORMAT     1
#define COMPLETE_MOST_BYTES 4096

static char *complete_path(const struct wal_archive *archive, struct timeline timeline)
{
    char *folder SCOPED(scoped_free) = wal_path(archive, "");

    return memory_text("%s/%08" PRIX32 "/complete.json", folder, timeline.value);
}

bool wal_complete_write(const struct wal_archive *archive, struct timeline timeline,
                        const struct wal_complete *complete, struct error *err)
{
    char *path SCOPED(scoped_free) = complete_path(archive, timeline);
    json_t *document SCOPED(scoped_json) = json_object();

    repo_set_number(document, "format", COMPLETE_FORMAT);
    repo_set_number(document, "timeline", timeline.value);
    repo_set_position(document, "lsn", complete->position);
    repo_set_time(document, "at", complete->at);
    repo_set_checksum(document);
    return repo_write_document(archive->repo, path, document, err);
}

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

static bool parse(const struct buffer *bytes, struct timeline timeline, struct wal_complete *ret_complete,
                  struct error *err)
{
    json_t *document SCOPED(scoped_json) = json_parse_object((const char *)bytes->bytes, bytes->used, err);

    return document != NULL && repo_check_format(document, COMPLETE_FORMAT, "it", err) &&
           repo_check_checksum(document, bytes, err) && json_number_or(document, "timeline", 0) == timeline.value &&
           repo_get_position(document, "lsn", &ret_complete->position, err) &&
           repo_get_time(document, "at", &ret_complete->at, err);
}

struct wal_complete wal_complete_read(const struct wal_archive *archive, struct timeline timeline)
{
    char *path SCOPED(scoped_free) = complete_path(archive, timeline);
    struct buffer bytes SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(COMPLETE_MOST_BYTES);
    struct wal_complete complete = {.at = {0}};
    struct error ignored;

    if (file_read_whole(path, &bytes, &ignored) && parse(&bytes, timeline, &complete, &ignored))
        return complete;
    return (struct wal_complete){.at = {0}};
}
