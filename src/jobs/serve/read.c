#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "jobs/serve/session_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"

#define METADATA_NAME "backup.json"

struct range {
    const char *file;
    uint64_t offset;
    uint64_t length;
};

static bool parse_number(const struct request *request, const char *name, uint64_t most, uint64_t *ret_number,
                         struct error *err)
{
    const char *text = request_wire_text(request, name);

    if (text != NULL && text_parse_unsigned(text, most, ret_number))
        return true;
    return error_set(err, ERROR_USAGE, "\"%s\" is not a number from 0 to %" PRIu64, name, most);
}

static bool parse_range(const struct request *request, struct range *ret_range, struct error *err)
{
    ret_range->file = request_wire_text(request, "file");
    if (ret_range->file == NULL)
        return error_set(err, ERROR_USAGE, "\"file\" is missing");
    return parse_number(request, "offset", INT64_MAX, &ret_range->offset, err) &&
           parse_number(request, "length", SESSION_MOST_BYTES, &ret_range->length, err);
}

/* Only what the metadata names is opened, whatever lies in the folder. */
static bool check_name(const struct held_backup *held, const struct range *range, struct error *err)
{
    const struct backup_meta *meta = held->entry.meta;

    if (strcmp(range->file, METADATA_NAME) == 0)
        return true;
    for (size_t i = 0; i < meta->file_list_count; i++) {
        const struct backup_file *file = &meta->files[i];
        if (strcmp(file->name, range->file) != 0)
            continue;
        if (range->offset <= file->size && range->length <= file->size - range->offset)
            return true;
        return error_set(err, ERROR_USAGE, "\"%s\" of backup %s has only %" PRIu64 " bytes", file->name,
                         held->entry.id.text, file->size);
    }
    return error_set(err, ERROR_USAGE, "backup %s has no such file", held->entry.id.text);
}

static bool send_range(struct session *session, const struct held_backup *held, const struct range *range,
                       struct error *err)
{
    struct stat status;
    int fd SCOPED(scoped_close) = openat(held->folder, range->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_INTEGRITY, "\"%s\" of backup %s is missing", range->file, held->entry.id.text);
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, "could not open \"%s\" of backup %s", range->file, held->entry.id.text);
    if (!S_ISREG(status.st_mode))
        return error_set(err, ERROR_INTEGRITY, "\"%s\" of backup %s is not a file", range->file, held->entry.id.text);
    uint64_t size = (uint64_t)status.st_size;
    if (range->offset > size || range->length > size - range->offset)
        return error_set(err, ERROR_INTEGRITY, "\"%s\" of backup %s has been cut off: it has only %" PRIu64 " bytes",
                         range->file, held->entry.id.text, size);
    return control_send_file(session->client, fd, range->offset, range->length, err) &&
           control_send_result(session->client, json_object(), err);
}

bool answer_read(struct session *session, const struct request *request, struct error *err)
{
    const struct held_backup *held;
    struct range range = {.file = NULL};

    return parse_range(request, &range, err) && held_find(session, request->server, request->backup, &held, err) &&
           check_name(held, &range, err) && send_range(session, held, &range, err);
}
