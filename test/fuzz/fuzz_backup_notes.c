#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"

#include "repo/backup_notes_internal.h"
#include "repo/repo_internal.h"
#include "repo/wal_verified_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct wal_segment_size segment_size = {16 << 20};

static void scoped_buffer(struct buffer *buffer)
{
    buffer_done(buffer);
}

/* What was read must be read again from what is written of it. Takes the reference. */
static json_t *write_and_read(json_t *document)
{
    char *line SCOPED(scoped_free) = json_to_line(document);
    char *text SCOPED(scoped_free) = memory_text("%s\n", line);
    struct error err;
    json_t *again = backup_note_parse(text, strlen(text), &err);

    if (again == NULL || !json_equal(again, document))
        abort();
    json_decref(document);
    return again;
}

static void read_pin(const json_t *document)
{
    struct backup_pin pin, twin;
    struct error err;

    if (!backup_pin_from_json(document, &pin, &err))
        return;
    json_t *again SCOPED(scoped_json) = write_and_read(backup_pin_to_json(&pin));
    if (!pin.is_pinned || !backup_pin_from_json(again, &twin, &err) || strcmp(pin.reason, twin.reason) != 0)
        abort();
}

static void read_annotations(const json_t *document)
{
    struct backup_annotations annotations SCOPED(scoped_backup_annotations) = {.count = 0};
    struct backup_annotations twin SCOPED(scoped_backup_annotations) = {.count = 0};
    struct error err;

    if (!backup_annotations_from_json(document, &annotations, &err))
        return;
    for (size_t i = 1; i < annotations.count; i++)
        if (strcmp(annotations.entries[i - 1].key, annotations.entries[i].key) >= 0)
            abort();
    json_t *again SCOPED(scoped_json) = write_and_read(backup_annotations_to_json(&annotations));
    if (!backup_annotations_from_json(again, &twin, &err) || twin.count != annotations.count)
        abort();
}

static void read_proofs(const json_t *document)
{
    struct backup_proof proof;
    struct backup_drill drill;
    struct error err;

    if (backup_proof_from_json(document, &proof, &err)) {
        json_t *again SCOPED(scoped_json) = write_and_read(backup_proof_to_json(&proof));
        if (!backup_proof_from_json(again, &proof, &err))
            abort();
    }
    if (backup_drill_from_json(document, &drill, &err)) {
        json_t *again SCOPED(scoped_json) = write_and_read(backup_drill_to_json(&drill));
        if (!backup_drill_from_json(again, &drill, &err))
            abort();
    }
}

static void read_verified(const json_t *document)
{
    struct wal_verified *verified SCOPED(scoped_free) = memory_new(sizeof *verified);
    struct error err;

    if (!wal_verified_from_json(document, segment_size, verified, &err))
        return;
    for (size_t i = 0; i < verified->count; i++) {
        const struct wal_verified_range *range = &verified->ranges[i];
        if (range->first >= range->end ||
            (i > 0 && range->timeline.value == range[-1].timeline.value && range->first < range[-1].end))
            abort();
    }
    json_decref(write_and_read(wal_verified_to_json(verified, segment_size)));
}

/* As it came, and with the checksum that would keep every changed document out made right. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct backup_drill drill = {.rows = 0};
    struct error err;

    json_decref(backup_note_parse((const char *)data, size, &err));
    (void)!backup_drill_parse_result((const char *)data, size, &drill, &err);
    json_t *document SCOPED(scoped_json) = json_parse_object((const char *)data, size, &err);
    if (document == NULL)
        return 0;
    json_object_set_new(document, "format", json_integer(1));
    json_object_del(document, "checksum");
    repo_set_checksum(document);
    char *line SCOPED(scoped_free) = json_to_line(document);
    struct buffer text SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(2 * BACKUP_NOTE_MOST_BYTES);
    if (!buffer_append(&text, line, strlen(line), &err) || !buffer_append(&text, "\n", 1, &err))
        return 0;
    json_t *sealed SCOPED(scoped_json) = backup_note_parse((const char *)text.bytes, text.used, &err);
    if (sealed == NULL)
        return 0;
    read_pin(sealed);
    read_annotations(sealed);
    read_proofs(sealed);
    read_verified(sealed);
    return 0;
}
