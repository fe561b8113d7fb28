#ifndef PGCOFFER_STAGE_FRAME_H
#define PGCOFFER_STAGE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "pgcoffer/base/error.h"

/* One frame back: decompressed, its length and SHA-256 compared. One decoder a thread. */
struct frame_decoder;
struct frame_decoder *frame_decoder_new(void);
void frame_decoder_free(struct frame_decoder *decoder);
/*
 * Exactly one zstd frame of `stored_size` bytes that gives exactly `length` bytes with that SHA-256; `plain` has room
 * for `length`. INTEGRITY says which of these is not so. sha256 may be "" when there is none to compare.
 */
bool frame_decode(struct frame_decoder *decoder, const void *stored, size_t stored_size, void *plain, size_t length,
                  const char *sha256, struct error *err) NODISCARD;

#endif
