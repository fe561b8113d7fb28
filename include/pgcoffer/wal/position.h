#ifndef PGCOFFER_WAL_POSITION_H
#define PGCOFFER_WAL_POSITION_H

#include <stdint.h>

#include "pgcoffer/base/error.h"

/*
 * A position in the WAL (an LSN) and the timeline it belongs to. Both are numbers,
 * so each gets its own struct: the compiler then refuses to mix them up.
 * Text becomes a struct here, at the edge; nothing further in parses it again.
 * As an end, a position is the one after the last byte, as in PostgreSQL.
 */
struct wal_position {
    uint64_t value;
};

struct timeline {
    uint32_t value;
};

#define WAL_POSITION_TEXT_SIZE 18 /* "FFFFFFFF/FFFFFFFF" and the final NUL */

/* "16/B374D848"; newer servers pad the low half, so never by width. Kind SERVER: it comes from a peer. */
bool wal_position_parse(const char *text, struct wal_position *ret_position, struct error *err) NODISCARD;
void wal_position_format(struct wal_position position, char ret_text[WAL_POSITION_TEXT_SIZE]);

#endif
