#ifndef PGCOFFER_WAL_RECORD_H
#define PGCOFFER_WAL_RECORD_H

#include "pgcoffer/wal/history.h"
#include "pgcoffer/wal/segment.h"

/*
 * Reads WAL as a recovery would: pages, records that cross pages and segments, and the checksum of each record. Bytes
 * are pushed in, in pieces of any size, from a segment's first byte on, and stand in memory only as far as a callback
 * may want them. So a flipped bit is found where nothing but PostgreSQL's own checksums protects the bytes: in a
 * segment that is not compressed yet. Source of the format: PostgreSQL's access/xlog_internal.h and
 * access/xlogrecord.h, versions 13 to 18, as written by a machine that aligns to eight bytes, in either byte order.
 *
 * What no reader can find: the flag XLP_BKP_REMOVABLE of a page header (one bit, which means nothing to a recovery),
 * changes within the last record while its end has not been received, and within a record whose end was lost in a
 * crash of the server, which no recovery reads.
 */
#define WAL_RECORD_DATA_MOST 8192
/* Of a transaction's end: one that dropped 100 000 tables has several megabytes. */
#define WAL_RECORD_KEPT_MOST (UINT32_C(16) << 20)

struct wal_record {
    struct wal_position position;
    uint32_t transaction;
    uint8_t resource_manager; /* xl_rmid */
    uint8_t info;
    bool is_big_endian;  /* numbers in `data` are in the byte order of the server */
    uint16_t page_magic; /* tells the version: 0xD106, 0xD10D, 0xD110, 0xD113, 0xD116, 0xD118 are 13 to 18 */
    const uint8_t *data; /* what follows the record's header; valid during the call */
    /* That many bytes of it are there: all, but at most WAL_RECORD_DATA_MOST, of records of the transaction manager
     * WAL_RECORD_KEPT_MOST. */
    uint32_t data_held;
    uint32_t data_size;
};

enum { WAL_MANAGER_OF_WAL = 0, WAL_MANAGER_OF_TRANSACTIONS = 1 };

/* The main data of a record, what its kind defines; `held` bytes of `size` are there. False: its parts do not add up.
 */
struct wal_main_data {
    const uint8_t *bytes;
    uint32_t held, size;
};
bool wal_record_main_data(const struct wal_record *record, struct wal_main_data *ret_data);

/* Called for each record whose checksum is right. False, with *err filled, ends the reading. */
typedef bool wal_record_visit(void *context, const struct wal_record *record, struct error *err);

struct wal_record_reader;

/*
 * `history` (borrowed) is that of the timeline whose WAL will be fed; where it names ancestors, the pages before a fork
 * must carry the ancestor's number, without any every lower number is taken as long as none decreases. `visit` may be
 * NULL.
 */
struct wal_record_reader *wal_record_reader_new(const struct history *history, struct wal_segment_size segment_size,
                                                uint64_t first_segment_number, uint64_t system_identifier,
                                                wal_record_visit *visit, void *context) NEVER_NULL;
void wal_record_reader_free(struct wal_record_reader *reader);

/* The next bytes. Damage is INTEGRITY and names the position; then the reader must be freed. */
bool wal_record_reader_feed(struct wal_record_reader *reader, const void *bytes, size_t size,
                            struct error *err) NODISCARD;

struct wal_record_end {
    /* The bytes before it belong to a record that began before the first segment: only their page headers are checked.
     */
    struct wal_position checked_from;
    /* From there to here every byte is checked: whole records, page headers, zeros after a switch of segments. What
     * follows is the beginning of a record, or zeros. */
    struct wal_position checked_to;
    bool ends_in_zeros; /* nothing was written there yet, or it was lost: wrong in a segment that is finished */
    uint64_t record_count;
};

/*
 * What was found up to now. Not having received the end of the last record is fine, but what is there of it must fit
 * its length: INTEGRITY, because otherwise the length is damaged and swallows the records behind it.
 */
bool wal_record_reader_end(const struct wal_record_reader *reader, struct wal_record_end *ret_end,
                           struct error *err) NODISCARD;

#endif
