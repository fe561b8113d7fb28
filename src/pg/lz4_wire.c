#include "pg/lz4_wire_internal.h"

#include <archive.h>
#include <errno.h>

#include "pgcoffer/base/memory.h"

struct lz4_wire {
    struct archive *archive;
    lz4_wire_source *source;
    void *context;
    struct error error; /* of the source, which libarchive cannot carry */
    bool has_failed;
    bool is_open;
};

static la_ssize_t pull(struct archive *archive, void *context, const void **ret_bytes)
{
    struct lz4_wire *wire = context;
    size_t size = 0;

    if (!wire->source(wire->context, ret_bytes, &size, &wire->error)) {
        wire->has_failed = true;
        archive_set_error(archive, EIO, "%s", wire->error.message);
        return ARCHIVE_FATAL;
    }
    return (la_ssize_t)size;
}

struct lz4_wire *lz4_wire_new(lz4_wire_source *source, void *context)
{
    struct lz4_wire *wire = memory_new(sizeof *wire);

    wire->source = source;
    wire->context = context;
    wire->archive = archive_read_new();
    return wire;
}

void lz4_wire_free(struct lz4_wire *wire)
{
    if (wire == NULL)
        return;
    archive_read_free(wire->archive);
    free(wire);
}

static bool fail(struct lz4_wire *wire, struct error *err)
{
    if (wire->has_failed) {
        *err = wire->error;
        return false;
    }
    const char *words = wire->archive == NULL ? "no memory" : archive_error_string(wire->archive);
    return error_set(err, ERROR_SERVER, "could not undo the server's lz4 compression: %s",
                     words == NULL ? "damaged data" : words);
}

static bool open_wire(struct lz4_wire *wire)
{
    struct archive_entry *entry = NULL;

    wire->is_open = true;
    return wire->archive != NULL && archive_read_support_filter_lz4(wire->archive) == ARCHIVE_OK &&
           archive_read_support_format_raw(wire->archive) == ARCHIVE_OK &&
           archive_read_open(wire->archive, wire, NULL, pull, NULL) == ARCHIVE_OK &&
           archive_read_next_header(wire->archive, &entry) == ARCHIVE_OK;
}

bool lz4_wire_read(struct lz4_wire *wire, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    la_int64_t offset = 0;

    if (!wire->is_open && !open_wire(wire))
        return fail(wire, err);
    int status = archive_read_data_block(wire->archive, ret_bytes, ret_size, &offset);
    if (status == ARCHIVE_OK)
        return true;
    if (status != ARCHIVE_EOF)
        return fail(wire, err);
    /* The frame's end is known; whatever the wire still holds is nothing of this archive. */
    const void *rest = NULL;
    size_t rest_size = 0;
    if (!wire->source(wire->context, &rest, &rest_size, err))
        return false;
    if (rest_size > 0)
        return error_set(err, ERROR_SERVER, "the server sent bytes behind the end of the compressed archive");
    *ret_size = 0;
    return true;
}
