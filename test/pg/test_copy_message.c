#include "pg/copy_message_internal.h"

#include "support/suite.h"

static const uint8_t data_message[] = {
    'w',                                        /* XLogData */
    0,   0,   0,   1,   0x2c, 0x01, 0x6f, 0xf8, /* from 1/2C016FF8 */
    0,   0,   0,   2,   0,    0,    0,    0,    /* the server is at 2/0 */
    0,   0,   0,   0,   0,    0x0f, 0x42, 0x40, /* one second after 2000 */
    'h', 'e', 'l', 'l', 'o',
};
static const uint8_t keepalive[] = {
    'k', 0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 1,
};

START_TEST(wal_data_is_taken_apart_without_a_copy)
{
    struct wal_message message;
    struct error err = {0};

    ck_assert(copy_message_decode_wal(data_message, sizeof data_message, &message, &err));
    ck_assert_int_eq(message.kind, WAL_MESSAGE_DATA);
    ck_assert_uint_eq(message.position.value, UINT64_C(0x12c016ff8));
    ck_assert_uint_eq(message.server_end.value, UINT64_C(0x200000000));
    ck_assert_int_eq(message.sent_at.microseconds, (CLOCK_POSTGRES_EPOCH_SECONDS + 1) * 1000000);
    ck_assert_uint_eq(message.size, 5);
    ck_assert_ptr_eq(message.bytes, data_message + 25);
}
END_TEST

START_TEST(a_keepalive_tells_whether_an_answer_is_wanted)
{
    struct wal_message message;
    struct error err = {0};

    ck_assert(copy_message_decode_wal(keepalive, sizeof keepalive, &message, &err));
    ck_assert_int_eq(message.kind, WAL_MESSAGE_KEEPALIVE);
    ck_assert_uint_eq(message.server_end.value, UINT64_C(0x200000010));
    ck_assert(message.is_reply_requested);
}
END_TEST

START_TEST(a_message_cut_anywhere_is_an_error)
{
    struct wal_message message;
    struct error err = {0};

    for (size_t size = 0; size < 25; size++)
        ck_assert(!copy_message_decode_wal(data_message, size, &message, &err));
    for (size_t size = 0; size < sizeof keepalive; size++)
        ck_assert(!copy_message_decode_wal(keepalive, size, &message, &err));
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert(!copy_message_decode_wal((const uint8_t *)"x", 1, &message, &err));
}
END_TEST

START_TEST(positions_beyond_the_last_one_are_an_error)
{
    uint8_t bytes[sizeof data_message];
    struct wal_message message;
    struct error err = {0};

    memcpy(bytes, data_message, sizeof bytes);
    memset(bytes + 1, 0xff, 8);
    ck_assert(!copy_message_decode_wal(bytes, sizeof bytes, &message, &err));
    ck_assert(copy_message_decode_wal(bytes, 25, &message, &err));
}
END_TEST

START_TEST(times_no_clock_shows_become_the_epoch)
{
    uint8_t bytes[sizeof keepalive];
    struct wal_message message;
    struct error err = {0};

    memcpy(bytes, keepalive, sizeof bytes);
    for (unsigned first = 0x7f; first <= 0x80; first++) {
        bytes[9] = (uint8_t)first;
        ck_assert(copy_message_decode_wal(bytes, sizeof bytes, &message, &err));
        ck_assert_int_eq(message.sent_at.microseconds, 0);
    }
}
END_TEST

START_TEST(a_status_update_has_the_protocols_34_bytes)
{
    struct timestamp now = {.microseconds = (CLOCK_POSTGRES_EPOCH_SECONDS + 1) * 1000000};
    static const uint8_t expected[COPY_STATUS_SIZE] = {
        'r', 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 1,
    };
    uint8_t payload[COPY_STATUS_SIZE];

    copy_message_encode_status((struct wal_position){0x100000002}, (struct wal_position){0x100000001}, now, true,
                               payload);
    ck_assert_mem_eq(payload, expected, sizeof expected);
}
END_TEST

static bool decode(const char *bytes, size_t size, struct copy_backup_message *ret_message)
{
    struct error err = {0};
    bool is_decoded = copy_message_decode_backup((const uint8_t *)bytes, size, ret_message, &err);

    ck_assert_int_eq(err.kind, is_decoded ? ERROR_NONE : ERROR_SERVER);
    return is_decoded;
}

START_TEST(messages_of_a_base_backup_are_told_apart)
{
    struct copy_backup_message message;

    ck_assert(decode("nbase.tar\0", 11, &message));
    ck_assert_int_eq(message.kind, COPY_BACKUP_ARCHIVE);
    ck_assert_str_eq(message.archive_name, "base.tar");
    ck_assert_str_eq(message.tablespace_path, "");
    ck_assert(decode("n16389.tar\0/srv/fast\0", 21, &message));
    ck_assert_str_eq(message.tablespace_path, "/srv/fast");
    ck_assert(decode("m", 1, &message));
    ck_assert_int_eq(message.kind, COPY_BACKUP_MANIFEST);
    ck_assert(decode("d123", 4, &message));
    ck_assert_uint_eq(message.size, 3);
    ck_assert(decode("d", 1, &message));
    ck_assert_uint_eq(message.size, 0);
    ck_assert(decode("p\0\0\0\0\0\0\1\0", 9, &message));
    ck_assert_uint_eq(message.bytes_done, 256);
}
END_TEST

START_TEST(malformed_messages_of_a_base_backup_are_errors)
{
    struct copy_backup_message message;

    ck_assert(!decode("", 0, &message));
    ck_assert(!decode("n", 1, &message));
    ck_assert(!decode("n\0\0", 3, &message));
    ck_assert(!decode("nbase.tar", 9, &message));
    ck_assert(!decode("nbase.tar\0", 10, &message));
    ck_assert(!decode("nbase.tar\0/x", 12, &message));
    ck_assert(!decode("nbase.tar\0/x\0y", 14, &message));
    ck_assert(!decode("mm", 2, &message));
    ck_assert(!decode("p\0\0", 3, &message));
    ck_assert(!decode("z", 1, &message));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("copy_message");

    tcase_add_test(tests, wal_data_is_taken_apart_without_a_copy);
    tcase_add_test(tests, a_keepalive_tells_whether_an_answer_is_wanted);
    tcase_add_test(tests, a_message_cut_anywhere_is_an_error);
    tcase_add_test(tests, positions_beyond_the_last_one_are_an_error);
    tcase_add_test(tests, times_no_clock_shows_become_the_epoch);
    tcase_add_test(tests, a_status_update_has_the_protocols_34_bytes);
    tcase_add_test(tests, messages_of_a_base_backup_are_told_apart);
    tcase_add_test(tests, malformed_messages_of_a_base_backup_are_errors);
    return suite_run("copy_message", tests);
}
