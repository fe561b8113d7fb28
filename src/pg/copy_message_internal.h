#ifndef PGCOFFER_PG_COPY_MESSAGE_INTERNAL_H
#define PGCOFFER_PG_COPY_MESSAGE_INTERNAL_H

#include "pgcoffer/pg/wal_stream.h"

/*
 * The payloads of CopyData, as the server sends them: pure readers of bytes, so that they can be fuzzed. Numbers are
 * big-endian. Kind SERVER for anything that is not as the protocol has it.
 */

/* 'w' and 'k' of START_REPLICATION. The bytes of WAL stay where they are. */
bool copy_message_decode_wal(const uint8_t *payload, size_t size, struct wal_message *ret_message,
                             struct error *err) NODISCARD;

#define COPY_STATUS_SIZE 34
/* 'r', the standby status update; apply is never told. */
void copy_message_encode_status(struct wal_position written, struct wal_position flushed, struct timestamp now,
                                bool is_reply_requested, uint8_t ret_payload[COPY_STATUS_SIZE]);

/* BASE_BACKUP of 15 and later. */
enum copy_backup_kind { COPY_BACKUP_ARCHIVE, COPY_BACKUP_MANIFEST, COPY_BACKUP_DATA, COPY_BACKUP_PROGRESS };
struct copy_backup_message {
    enum copy_backup_kind kind;
    const char *archive_name;    /* 'n': "base.tar", "16389.tar.lz4"; lives in the payload */
    const char *tablespace_path; /* 'n': "" for the data directory */
    const uint8_t *bytes;        /* 'd' */
    size_t size;
    uint64_t bytes_done; /* 'p' */
};
bool copy_message_decode_backup(const uint8_t *payload, size_t size, struct copy_backup_message *ret_message,
                                struct error *err) NODISCARD;

#endif
