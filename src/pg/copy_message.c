#include "pg/copy_message_internal.h"

#define WAL_DATA_HEADER_SIZE 25 /* 'w', start, end, time */
#define KEEPALIVE_SIZE       18 /* 'k', end, time, reply requested */

static uint64_t read_number(const uint8_t *bytes)
{
    uint64_t number = 0;

    for (size_t i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return number;
}

static void write_number(uint64_t number, uint8_t *ret_bytes)
{
    for (size_t i = 8; i-- > 0; number >>= 8)
        ret_bytes[i] = (uint8_t)number;
}

/* The wire counts from 2000; a time no clock can show becomes the epoch instead of overflowing. */
static struct timestamp read_time(const uint8_t *bytes)
{
    int64_t microseconds = (int64_t)read_number(bytes);

    if (microseconds > INT64_MAX / 2 || microseconds < INT64_MIN / 2)
        return (struct timestamp){0};
    return timestamp_from_postgres(microseconds);
}

bool copy_message_decode_wal(const uint8_t *payload, size_t size, struct wal_message *ret_message, struct error *err)
{
    if (size >= WAL_DATA_HEADER_SIZE && payload[0] == 'w') {
        struct wal_message message = {
            .kind = WAL_MESSAGE_DATA,
            .position = {read_number(payload + 1)},
            .server_end = {read_number(payload + 9)},
            .sent_at = read_time(payload + 17),
            .bytes = payload + WAL_DATA_HEADER_SIZE,
            .size = size - WAL_DATA_HEADER_SIZE,
        };
        if (message.position.value > UINT64_MAX - message.size)
            return error_set(err, ERROR_SERVER, "the server sent WAL beyond the last possible position");
        *ret_message = message;
        return true;
    }
    if (size == KEEPALIVE_SIZE && payload[0] == 'k') {
        *ret_message = (struct wal_message){
            .kind = WAL_MESSAGE_KEEPALIVE,
            .server_end = {read_number(payload + 1)},
            .sent_at = read_time(payload + 9),
            .is_reply_requested = payload[17] != 0,
        };
        return true;
    }
    return error_set(err, ERROR_SERVER,
                     "the server sent a replication message of unknown form (type 0x%02x, %zu bytes)",
                     size == 0 ? 0U : (unsigned)payload[0], size);
}

void copy_message_encode_status(struct wal_position written, struct wal_position flushed, struct timestamp now,
                                bool is_reply_requested, uint8_t ret_payload[COPY_STATUS_SIZE])
{
    ret_payload[0] = 'r';
    write_number(written.value, ret_payload + 1);
    write_number(flushed.value, ret_payload + 9);
    write_number(0, ret_payload + 17);
    write_number((uint64_t)timestamp_to_postgres(now), ret_payload + 25);
    ret_payload[33] = is_reply_requested;
}

/* Two C strings and nothing behind them. */
static bool decode_archive(const uint8_t *payload, size_t size, struct copy_backup_message *ret_message)
{
    const char *name = (const char *)payload + 1;
    const char *end = (const char *)payload + size;
    const char *name_end = memchr(name, '\0', (size_t)(end - name));

    if (name_end == NULL || name_end == name)
        return false;
    const char *path = name_end + 1;
    const char *path_end = memchr(path, '\0', (size_t)(end - path));
    if (path_end == NULL || path_end + 1 != end)
        return false;
    *ret_message = (struct copy_backup_message){
        .kind = COPY_BACKUP_ARCHIVE,
        .archive_name = name,
        .tablespace_path = path,
    };
    return true;
}

bool copy_message_decode_backup(const uint8_t *payload, size_t size, struct copy_backup_message *ret_message,
                                struct error *err)
{
    uint8_t type = size == 0 ? 0 : payload[0];

    if (type == 'd') {
        *ret_message = (struct copy_backup_message){
            .kind = COPY_BACKUP_DATA,
            .bytes = payload + 1,
            .size = size - 1,
        };
        return true;
    }
    if (type == 'm' && size == 1) {
        *ret_message = (struct copy_backup_message){.kind = COPY_BACKUP_MANIFEST};
        return true;
    }
    if (type == 'p' && size == 9) {
        *ret_message = (struct copy_backup_message){
            .kind = COPY_BACKUP_PROGRESS,
            .bytes_done = read_number(payload + 1),
        };
        return true;
    }
    if (type == 'n' && decode_archive(payload, size, ret_message))
        return true;
    return error_set(err, ERROR_SERVER,
                     "the server sent a base backup message of unknown form (type 0x%02x, %zu bytes)", (unsigned)type,
                     size);
}
