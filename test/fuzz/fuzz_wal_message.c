#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "pg/copy_message_internal.h"

/*
 * The payloads of CopyData, of START_REPLICATION when the first byte is even and of BASE_BACKUP when it is odd.
 * Whatever is accepted must lie within the payload.
 */
static void decode_wal(const uint8_t *payload, size_t size)
{
    struct wal_message message;
    struct error err = {0};
    uint8_t status[COPY_STATUS_SIZE];

    if (!copy_message_decode_wal(payload, size, &message, &err))
        return;
    assert(message.kind == WAL_MESSAGE_DATA || message.kind == WAL_MESSAGE_KEEPALIVE);
    if (message.kind == WAL_MESSAGE_DATA) {
        assert(message.bytes + message.size == payload + size);
        assert(message.position.value + message.size >= message.position.value);
    }
    copy_message_encode_status(message.position, message.server_end, message.sent_at, message.is_reply_requested,
                               status);
    assert(status[0] == 'r');
}

static void decode_backup(const uint8_t *payload, size_t size)
{
    struct copy_backup_message message;
    struct error err = {0};

    if (!copy_message_decode_backup(payload, size, &message, &err))
        return;
    switch (message.kind) {
    case COPY_BACKUP_ARCHIVE:
        assert(strlen(message.archive_name) > 0);
        assert(strlen(message.archive_name) + strlen(message.tablespace_path) + 3 == size);
        return;
    case COPY_BACKUP_DATA:
        assert(message.bytes + message.size == payload + size);
        return;
    case COPY_BACKUP_MANIFEST:
    case COPY_BACKUP_PROGRESS:
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    if (bytes[0] % 2 == 0)
        decode_wal(bytes + 1, size - 1);
    else
        decode_backup(bytes + 1, size - 1);
    return 0;
}
