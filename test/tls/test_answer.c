#include "pgcoffer/tls/answer.h"

#include <stdlib.h>
#include <string.h>

#include "support/suite.h"

struct expected {
    const char *bytes;
    size_t size;
    enum tls_answer answer;
    const char *words;
};

static const struct expected cases[] = {
    {"S", 1, TLS_ANSWER_YES, ""},
    {"N", 1, TLS_ANSWER_NO, ""},
    {"Nothing", 7, TLS_ANSWER_NO, ""},
    {"Ecould not fork new process for connection: x\n\0", 47, TLS_ANSWER_ERROR,
     "could not fork new process for connection: x"},
    {"E\0\0\0\x16SFATAL\0Mtoo many\0\0", 23, TLS_ANSWER_ERROR, "too many"},
    {"E\0\0\0\x0cSFATAL\0\0", 13, TLS_ANSWER_ERROR, ""},
    {"E\0\0\0\x0cSFATALMM", 13, TLS_ANSWER_ERROR, ""},
    {"SSH-2.0-OpenSSH_9.2p1\r\n", 23, TLS_ANSWER_FOREIGN, "\"SSH-2.0-OpenSSH_9.2p1\", which is SSH"},
    {"HTTP/1.1 400 Bad Request\r\n", 26, TLS_ANSWER_FOREIGN, "\"HTTP/1.1 400 Bad Request\", which is HTTP"},
    {"220 mail.example.com ESMTP\r\n", 28, TLS_ANSWER_FOREIGN, "\"220 mail.example.com ESMTP\", which is FTP or SMTP"},
    {"-ERR unknown command\r\n", 22, TLS_ANSWER_FOREIGN, "\"-ERR unknown command\""},
    {"\x15\3\1\0\2\2\x28", 7, TLS_ANSWER_FOREIGN,
     "a TLS record (0x15): what listens there speaks TLS from the first byte on"},
    {"\x4a\0\0\0\x0a"
     "8.0.32\0",
     12, TLS_ANSWER_FOREIGN, "bytes that begin with 0x4a00"},
    {"\x1b[2J", 4, TLS_ANSWER_FOREIGN, "bytes that begin with 0x1b"},
};

START_TEST(each_answer_is_told)
{
    const struct expected *expected = &cases[_i];
    char words[256];

    ck_assert_int_eq(tls_answer_read((const uint8_t *)expected->bytes, expected->size, false, words, sizeof words),
                     expected->answer);
    ck_assert_str_eq(words, expected->words);
}
END_TEST

START_TEST(half_an_answer_waits_for_more_or_is_judged_at_the_end)
{
    const struct expected *expected = &cases[_i];

    for (size_t size = 1; size < expected->size; size++) {
        char words[256];
        uint8_t *piece = malloc(size);
        memcpy(piece, expected->bytes, size);
        enum tls_answer half = tls_answer_read(piece, size, false, words, sizeof words);
        if (half != TLS_ANSWER_MORE && size > 1)
            ck_assert_int_eq(half, expected->answer);
        ck_assert_int_ne(tls_answer_read(piece, size, true, words, sizeof words), TLS_ANSWER_MORE);
        free(piece);
    }
}
END_TEST

START_TEST(nothing_is_no_answer)
{
    char words[256] = "old";

    ck_assert_int_eq(tls_answer_read((const uint8_t *)"", 0, true, words, sizeof words), TLS_ANSWER_MORE);
    ck_assert_str_eq(words, "");
}
END_TEST

START_TEST(endless_words_are_decided_at_the_ceiling)
{
    static uint8_t bytes[TLS_ANSWER_MOST];
    char words[256];

    memset(bytes, 'x', sizeof bytes);
    ck_assert_int_eq(tls_answer_read(bytes, sizeof bytes, false, words, sizeof words), TLS_ANSWER_FOREIGN);
    bytes[0] = 'E';
    ck_assert_int_eq(tls_answer_read(bytes, sizeof bytes, false, words, sizeof words), TLS_ANSWER_ERROR);
    memcpy(bytes, "E\0\0\x70\0M", 6);
    ck_assert_int_eq(tls_answer_read(bytes, sizeof bytes, false, words, sizeof words), TLS_ANSWER_ERROR);
    ck_assert_uint_lt(strlen(words), sizeof words);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("answer");
    int count = (int)(sizeof cases / sizeof *cases);

    tcase_add_loop_test(tests, each_answer_is_told, 0, count);
    tcase_add_loop_test(tests, half_an_answer_waits_for_more_or_is_judged_at_the_end, 0, count);
    tcase_add_test(tests, nothing_is_no_answer);
    tcase_add_test(tests, endless_words_are_decided_at_the_ceiling);
    return suite_run("answer", tests);
}
