#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/tls/answer.h"

/*
 * What answers SSLRequest, arriving byte by byte: a verdict comes at the latest with the last byte, and words are
 * always printable.
 */
static void check_words(const char *words, size_t size)
{
    assert(strlen(words) < size);
    for (const char *at = words; *at != '\0'; at++)
        assert((unsigned char)*at >= ' ' && *at != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char words[64];
    enum tls_answer answer = TLS_ANSWER_MORE;

    if (size > TLS_ANSWER_MOST)
        size = TLS_ANSWER_MOST;
    for (size_t some = 1; some <= size; some++) {
        /* Each piece on its own, so that a step beyond it is seen. */
        uint8_t *piece = malloc(some);
        memcpy(piece, bytes, some);
        answer = tls_answer_read(piece, some, false, words, sizeof words);
        check_words(words, sizeof words);
        free(piece);
        /* A yes counts only when nothing came with it. */
        if (answer != TLS_ANSWER_MORE && answer != TLS_ANSWER_YES)
            break;
    }
    enum tls_answer last = tls_answer_read(bytes, size, true, words, sizeof words);
    check_words(words, sizeof words);
    assert((last == TLS_ANSWER_MORE) == (size == 0));
    assert(answer == TLS_ANSWER_MORE || answer == last);
    assert(size < TLS_ANSWER_MOST || answer != TLS_ANSWER_MORE);
    return 0;
}
