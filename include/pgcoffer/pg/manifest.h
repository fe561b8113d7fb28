#ifndef PGCOFFER_PG_MANIFEST_H
#define PGCOFFER_PG_MANIFEST_H

#include "pgcoffer/base/error.h"
#include "pgcoffer/wal/position.h"

/*
 * backup_manifest, versions 1 and 2, as a push reader: the server writes one file a line, so lines are read one by
 * one, each with jansson, and nothing is held but the current line (at most 64 KiB). The manifest's own SHA-256 is
 * checked at the end. Source of the format: PostgreSQL's backup_manifest.c. Kind INTEGRITY.
 */
struct manifest_file {
    const char *path; /* raw bytes (Encoded-Path undone); lives for the call */
    uint64_t size;
    char algorithm[16]; /* "" with NONE */
    char checksum[129];
};
struct manifest_range {
    struct timeline timeline;
    struct wal_position start, end;
};
struct manifest_handler {
    bool (*file)(void *context, const struct manifest_file *file, struct error *err);
    bool (*range)(void *context, const struct manifest_range *range, struct error *err);
    void *context;
};
struct manifest_reader;
struct manifest_reader *manifest_reader_new(const struct manifest_handler *handler);
bool manifest_reader_feed(struct manifest_reader *reader, const void *bytes, size_t size, struct error *err) NODISCARD;
/* Seen whole and its checksum matches. *ret_system is 0 in version 1. */
bool manifest_reader_finish(struct manifest_reader *reader, uint64_t *ret_system, struct error *err) NODISCARD;
void manifest_reader_free(struct manifest_reader *reader);

#endif
