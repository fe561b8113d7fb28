#ifndef PGCOFFER_TLS_ANSWER_H
#define PGCOFFER_TLS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What something answers that was asked for TLS by PostgreSQL's SSLRequest. Pure readers of bytes: they come in the
 * clear and from a stranger.
 */
enum tls_answer {
    TLS_ANSWER_MORE,   /* not decided yet */
    TLS_ANSWER_YES,    /* 'S' and nothing behind it: the handshake may begin */
    TLS_ANSWER_NO,     /* 'N' */
    TLS_ANSWER_ERROR,  /* 'E': PostgreSQL, or a pooler, could not even decide; words: its own */
    TLS_ANSWER_FOREIGN /* not PostgreSQL; words: tls_answer_describe() */
};
#define TLS_ANSWER_MOST 4096 /* so many bytes always decide */

/* All bytes so far. is_end: no more will come, or be waited for; then it is never MORE, but for no byte at all. */
enum tls_answer tls_answer_read(const uint8_t *bytes, size_t size, bool is_end, char *ret_words, size_t words_size);

/*
 * For bytes that are not PostgreSQL's, to stand behind "it answered": `"HTTP/1.1 400 Bad Request", which is HTTP`. The
 * first line is enough; tls_answer_is_line() tells whether it is there.
 */
void tls_answer_describe(const uint8_t *bytes, size_t size, char *ret_words, size_t words_size);
bool tls_answer_is_line(const uint8_t *bytes, size_t size);

#endif
