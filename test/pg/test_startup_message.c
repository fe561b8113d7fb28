#include "pg/startup_message_internal.h"

#include "support/suite.h"

/* A text with NULs in it, without the one the compiler adds. */
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

#define SASL_BOTH                                                                                                      \
    "R\0\0\0\x2a\0\0\0\x0a"                                                                                            \
    "SCRAM-SHA-256-PLUS\0"                                                                                             \
    "SCRAM-SHA-256\0\0"
#define ERROR_28000                                                                                                    \
    "E\0\0\0\x35"                                                                                                      \
    "SFATAL\0"                                                                                                         \
    "VFATAL\0"                                                                                                         \
    "C28000\0"                                                                                                         \
    "Mno entry\0"                                                                                                      \
    "Dline 3\0"                                                                                                        \
    "Htype it\0"                                                                                                       \
    "\0"

/* Judged in pieces of `step` bytes; true when there is a verdict. */
static bool read_in_steps(const uint8_t *bytes, size_t size, size_t step, struct startup_answer *ret_answer)
{
    struct startup_reader reader = STARTUP_READER;
    enum startup_step last = STARTUP_STEP_MORE;

    *ret_answer = (struct startup_answer){.kind = STARTUP_NO_ANSWER};
    for (size_t at = 0; at < size && last != STARTUP_STEP_END; at += step)
        last = startup_message_feed(&reader, bytes + at, size - at < step ? size - at : step, ret_answer);
    bool is_decided = last != STARTUP_STEP_MORE || startup_message_end(&reader, ret_answer);
    startup_message_done(&reader);
    return is_decided;
}

static const size_t steps[] = {1, 7, 4096, 1 << 20};
#define STEP_COUNT 4

static struct startup_answer read_in_one_of(size_t step, const uint8_t *bytes, size_t size)
{
    struct startup_answer answer;

    ck_assert(read_in_steps(bytes, size, steps[step], &answer));
    return answer;
}

START_TEST(the_packet_names_user_replication_and_program)
{
    struct buffer packet SCOPED(buffer_done) = {0};
    struct error err;

    ck_assert(startup_message_build("repl", NULL, &packet, &err));
    ck_assert_uint_eq(packet.used, 8 + 10 + 17 + 32 + 1);
    ck_assert_mem_eq(packet.bytes,
                     "\0\0\0\x44\0\3\0\0user\0repl\0replication\0true\0application_name\0pgcoffer check\0\0",
                     packet.used);
}
END_TEST

START_TEST(a_database_takes_the_place_of_replication)
{
    struct buffer packet SCOPED(buffer_done) = {0};
    struct error err;

    ck_assert(startup_message_build("repl", "postgres", &packet, &err));
    ck_assert_mem_eq(packet.bytes, "\0\0\0\x45\0\3\0\0user\0repl\0database\0postgres\0application_name\0", 45);
}
END_TEST

START_TEST(a_packet_that_no_server_takes_is_not_built)
{
    struct buffer packet SCOPED(buffer_done) = {0};
    struct error err = {0};
    char user[9000];

    memset(user, 'u', sizeof user);
    user[sizeof user - 1] = '\0';
    ck_assert(!startup_message_build(user, NULL, &packet, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "startup packet"));
}
END_TEST

START_TEST(each_kind_of_authentication_is_told)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum startup_kind kind;
        int method;
    } cases[] = {
        {"R\0\0\0\x08\0\0\0\0", 9, STARTUP_ADMITTED, 0},
        {"R\0\0\0\x08\0\0\0\3", 9, STARTUP_CLEARTEXT, 3},
        {"R\0\0\0\x0c\0\0\0\5salt", 13, STARTUP_MD5, 5},
        {SASL_BOTH, sizeof SASL_BOTH - 1, STARTUP_SCRAM, 10},
        {"R\0\0\0\x08\0\0\0\7", 9, STARTUP_OTHER, 7},
        {"R\0\0\0\x08\0\0\0\x63", 9, STARTUP_OTHER, 99},
        {"R\0\0\0\x08\xff\xff\xff\xff", 9, STARTUP_OTHER, -1},
        {"R\0\0\0\x15\0\0\0\x0aOAUTHBEARER\0\0", 22, STARTUP_OTHER, 10},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct startup_answer answer = read_in_one_of((size_t)_i, (const uint8_t *)cases[i].bytes, cases[i].size);
        ck_assert_msg(answer.kind == cases[i].kind, "case %zu: kind %d, %s", i, answer.kind, answer.words);
        ck_assert_int_eq(answer.method, cases[i].method);
        ck_assert_int_eq(answer.words[0] != '\0', cases[i].kind == STARTUP_OTHER || cases[i].kind == STARTUP_SCRAM);
    }
}
END_TEST

START_TEST(the_mechanisms_of_scram_are_told_apart)
{
    struct startup_answer answer = read_in_one_of((size_t)_i, BYTES(SASL_BOTH));

    ck_assert(answer.has_scram && answer.has_scram_plus);
    answer = read_in_one_of((size_t)_i, BYTES("R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"));
    ck_assert(answer.has_scram && !answer.has_scram_plus);
}
END_TEST

START_TEST(an_error_keeps_its_fields)
{
    struct startup_answer answer = read_in_one_of((size_t)_i, BYTES(ERROR_28000));

    ck_assert_int_eq(answer.kind, STARTUP_REFUSED);
    ck_assert_str_eq(answer.severity, "FATAL");
    ck_assert_str_eq(answer.sqlstate, "28000");
    ck_assert_str_eq(answer.message, "no entry");
}
END_TEST

START_TEST(the_severity_is_the_one_nobody_translated)
{
    struct startup_answer answer = read_in_one_of((size_t)_i, BYTES("E\0\0\0\x1c"
                                                                    "VFATAL\0"
                                                                    "SFATALE\0"
                                                                    "Mx\0"
                                                                    "Chello\0"
                                                                    "\0"));

    ck_assert_str_eq(answer.severity, "FATAL");
    ck_assert_str_eq(answer.sqlstate, "");
}
END_TEST

START_TEST(an_error_of_the_old_kind_is_a_text)
{
    struct startup_answer answer = read_in_one_of((size_t)_i, BYTES("EFATAL:  sorry, too many clients already\n\0"));

    ck_assert_int_eq(answer.kind, STARTUP_REFUSED);
    ck_assert_str_eq(answer.severity, "FATAL");
    ck_assert_str_eq(answer.message, "sorry, too many clients already");
    answer = read_in_one_of((size_t)_i, BYTES("Ecould not fork new process for connection: x\n"));
    ck_assert_str_eq(answer.severity, "");
    ck_assert_str_eq(answer.message, "could not fork new process for connection: x");
}
END_TEST

START_TEST(a_server_may_say_which_version_it_speaks_first)
{
    struct startup_answer answer = read_in_one_of((size_t)_i, BYTES("v\0\0\0\x16\0\3\0\0\0\0\0\1_pq_.abc\0\0"
                                                                    "R\0\0\0\x08\0\0\0\0"));

    ck_assert_int_eq(answer.kind, STARTUP_GARBAGE); /* two NULs: one too many */
    answer = read_in_one_of((size_t)_i, BYTES("v\0\0\0\x15\0\3\0\2\0\0\0\1_pq_.abc\0"
                                              "R\0\0\0\x08\0\0\0\0"));
    ck_assert_int_eq(answer.kind, STARTUP_ADMITTED);
    ck_assert(answer.has_negotiated);
    answer = read_in_one_of((size_t)_i, BYTES("v\0\0\0\x0c\0\0\0\1\0\0\0\0" ERROR_28000));
    ck_assert_int_eq(answer.kind, STARTUP_REFUSED);
    ck_assert(answer.has_negotiated);
}
END_TEST

START_TEST(notices_before_the_answer_are_passed_over)
{
    struct startup_answer answer = read_in_one_of((size_t)_i, BYTES("N\0\0\0\x08"
                                                                    "Mx\0\0"
                                                                    "N\0\0\0\x04"
                                                                    "R\0\0\0\x08\0\0\0\3"));

    ck_assert_int_eq(answer.kind, STARTUP_CLEARTEXT);
}
END_TEST

START_TEST(an_error_after_the_admission_is_kept_beside_it)
{
    struct startup_answer answer = read_in_one_of((size_t)_i, BYTES("R\0\0\0\x08\0\0\0\0"
                                                                    "S\0\0\0\x08"
                                                                    "a\0b\0" ERROR_28000));

    ck_assert_int_eq(answer.kind, STARTUP_ADMITTED);
    ck_assert_str_eq(answer.sqlstate, "28000");
    answer = read_in_one_of((size_t)_i, BYTES("R\0\0\0\x08\0\0\0\0"
                                              "E\0\0\0\x08"
                                              "Mx\0x"));
    ck_assert_int_eq(answer.kind, STARTUP_ADMITTED);
    ck_assert_str_eq(answer.message, "");
    answer = read_in_one_of((size_t)_i, BYTES("R\0\0\0\x08\0\0\0\0"
                                              "garbage"));
    ck_assert_int_eq(answer.kind, STARTUP_ADMITTED);
    answer = read_in_one_of((size_t)_i, BYTES("R\0\0\0\x08\0\0\0\0"
                                              "Z\0\0\0\5I" ERROR_28000));
    ck_assert_str_eq(answer.sqlstate, "");
}
END_TEST

START_TEST(what_is_not_postgresql_is_garbage_and_is_named)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *words;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", 39, "\"HTTP/1.1 400 Bad Request\", which is HTTP"},
        {"SSH-2.0-OpenSSH_9.2p1\r\n", 23, "\"SSH-2.0-OpenSSH_9.2p1\", which is SSH"},
        {"RFB 003.008\n", 12, "\"RFB 003.008\", which is VNC"},
        {"ERROR\r\n", 7, "\"ERROR\""},
        {"\x15\3\1\0\2\2\x28", 7, "TLS"},
        {"\x4a\0\0\0\x0a"
         "8.0.32\0",
         12, "0x4a00"},
        {"R\0\0\0\3", 5, "0x5200"},
        {"R\0\0\0\7\0\0\0", 8, "too short"},
        {"R\0\0\0\x09\0\0\0\0\0", 10, "wrong length"},
        {"R\0\0\0\x09\0\0\0\3\0", 10, "wrong length"},
        {"R\0\0\0\x08\0\0\0\5", 9, "wrong length"},
        {"R\0\0\0\x08\0\0\0\x0a", 9, "list does not end"},
        {"R\0\0\0\x0a\0\0\0\x0a\0x", 11, "behind its list"},
        {"E\0\0\0\4", 5, "does not end"},
        {"E\0\0\0\7Mxx", 8, "field that does not end"},
        {"E\0\0\0\x07Mx\0", 8, "does not end"},
        {"E\0\0\0\x09Mx\0\0x", 10, "behind its end"},
        {"E\0\xff\xff\xff", 5, "0x4500"},
        {"v\0\0\0\x08\0\0\0\1", 9, "wrong length"},
        {"v\0\0\0\x0c\0\0\0\1\0\0\0\1", 13, "list does not end"},
        {"v\0\0\0\x0c\0\0\0\1\xff\xff\xff\xff", 13, "list does not end"},
        {"v\0\0\0\x0c\0\2\0\0\0\0\0\0", 13, "another protocol"},
        {"v\0\0\0\x0c\0\0\0\1\0\0\0\0v\0\0\0\x0c\0\0\0\1\0\0\0\0", 26, "second"},
        {"Z\0\0\0\5I", 6, "0x5a00"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct startup_answer answer = read_in_one_of((size_t)_i, (const uint8_t *)cases[i].bytes, cases[i].size);
        ck_assert_msg(answer.kind == STARTUP_GARBAGE, "case %zu: kind %d", i, answer.kind);
        ck_assert_msg(strstr(answer.words, cases[i].words) != NULL, "case %zu: %s", i, answer.words);
    }
}
END_TEST

START_TEST(half_an_answer_is_none)
{
    static const struct {
        const char *bytes;
        size_t size;
    } wholes[] = {
        {SASL_BOTH, sizeof SASL_BOTH - 1},
        {ERROR_28000, sizeof ERROR_28000 - 1},
        {"v\0\0\0\x15\0\3\0\2\0\0\0\1_pq_.abc\0"
         "R\0\0\0\x08\0\0\0\0",
         31},
    };

    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++)
        for (size_t size = 0; size < wholes[i].size; size++) {
            struct startup_answer answer;
            /* A copy of its own size, so that the sanitizer sees the end. */
            uint8_t *piece = malloc(size + 1);
            memcpy(piece, wholes[i].bytes, size);
            ck_assert(!read_in_steps(piece, size, steps[_i], &answer));
            ck_assert_int_eq(answer.kind, STARTUP_NO_ANSWER);
            free(piece);
        }
}
END_TEST

START_TEST(no_server_makes_us_keep_more_than_the_ceiling)
{
    static uint8_t notices[(size_t)1 << 20];
    struct startup_answer answer;

    for (size_t at = 0; at + 8 <= sizeof notices; at += 8)
        memcpy(notices + at, "N\0\0\0\7MM\0", 8);
    ck_assert(read_in_steps(notices, sizeof notices, steps[_i], &answer));
    ck_assert_int_eq(answer.kind, STARTUP_GARBAGE);
    ck_assert_ptr_nonnull(strstr(answer.words, "64 kB"));

    memset(notices, 'x', sizeof notices);
    memcpy(notices, "EFATAL:  ", 9);
    ck_assert(read_in_steps(notices, sizeof notices, steps[_i], &answer));
    ck_assert_int_eq(answer.kind, STARTUP_GARBAGE);
}
END_TEST

START_TEST(words_of_any_length_fit_and_move_no_cursor)
{
    static uint8_t message[8000];
    struct startup_answer answer;

    memset(message, 0x1b, sizeof message);
    memcpy(message, "E\0\0\x1f\x3fM", 6);
    message[sizeof message - 2] = message[sizeof message - 1] = '\0';
    answer = read_in_one_of((size_t)_i, message, sizeof message);
    ck_assert_int_eq(answer.kind, STARTUP_REFUSED);
    ck_assert_uint_eq(strlen(answer.message), STARTUP_TEXT_SIZE - 1);
    ck_assert_uint_eq(strspn(answer.message, "?"), STARTUP_TEXT_SIZE - 1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("startup_message");

    tcase_add_test(tests, the_packet_names_user_replication_and_program);
    tcase_add_test(tests, a_database_takes_the_place_of_replication);
    tcase_add_test(tests, a_packet_that_no_server_takes_is_not_built);
    tcase_add_loop_test(tests, each_kind_of_authentication_is_told, 0, STEP_COUNT);
    tcase_add_loop_test(tests, the_mechanisms_of_scram_are_told_apart, 0, STEP_COUNT);
    tcase_add_loop_test(tests, an_error_keeps_its_fields, 0, STEP_COUNT);
    tcase_add_loop_test(tests, the_severity_is_the_one_nobody_translated, 0, STEP_COUNT);
    tcase_add_loop_test(tests, an_error_of_the_old_kind_is_a_text, 0, STEP_COUNT);
    tcase_add_loop_test(tests, a_server_may_say_which_version_it_speaks_first, 0, STEP_COUNT);
    tcase_add_loop_test(tests, notices_before_the_answer_are_passed_over, 0, STEP_COUNT);
    tcase_add_loop_test(tests, an_error_after_the_admission_is_kept_beside_it, 0, STEP_COUNT);
    tcase_add_loop_test(tests, what_is_not_postgresql_is_garbage_and_is_named, 0, STEP_COUNT);
    tcase_add_loop_test(tests, half_an_answer_is_none, 0, STEP_COUNT);
    tcase_add_loop_test(tests, no_server_makes_us_keep_more_than_the_ceiling, 0, STEP_COUNT);
    tcase_add_loop_test(tests, words_of_any_length_fit_and_move_no_cursor, 0, STEP_COUNT);
    return suite_run("startup_message", tests);
}
