#ifndef PGCOFFER_TEST_FUZZ_STARTUP_READING_H
#define PGCOFFER_TEST_FUZZ_STARTUP_READING_H

#include <assert.h>

#include "pg/startup_message_internal.h"

/* For the targets that read what a server answers to the startup packet. */
static inline bool read_in_steps(const uint8_t *bytes, size_t size, size_t step, struct startup_answer *ret_answer)
{
    struct startup_reader reader = STARTUP_READER;
    enum startup_step last = STARTUP_STEP_MORE;

    memset(ret_answer, 0, sizeof *ret_answer);
    ret_answer->kind = STARTUP_NO_ANSWER;
    for (size_t at = 0; at < size && last != STARTUP_STEP_END; at += step)
        last = startup_message_feed(&reader, bytes + at, size - at < step ? size - at : step, ret_answer);
    bool is_decided = last != STARTUP_STEP_MORE || startup_message_end(&reader, ret_answer);
    assert(reader.parsed <= reader.received.used && reader.received.used <= STARTUP_MOST_BYTES);
    startup_message_done(&reader);
    return is_decided;
}

static inline void check_text(const char *text, size_t size)
{
    assert(strnlen(text, size) < size);
    for (; *text != '\0'; text++)
        assert((unsigned char)*text >= ' ' && *text != 0x7f);
}

/* Whole, in sevens and byte by byte the verdict and its words are the same, and all of it can be printed. */
static inline bool read_every_way(const uint8_t *bytes, size_t size, struct startup_answer *ret_answer)
{
    struct startup_answer pieces;
    char phrase[STARTUP_TEXT_SIZE + 64];

    bool is_decided = read_in_steps(bytes, size, size + 1, ret_answer);
    assert(read_in_steps(bytes, size, 7, &pieces) == is_decided && memcmp(&pieces, ret_answer, sizeof pieces) == 0);
    assert(read_in_steps(bytes, size, 1, &pieces) == is_decided && memcmp(&pieces, ret_answer, sizeof pieces) == 0);
    assert(is_decided == (ret_answer->kind != STARTUP_NO_ANSWER));
    check_text(ret_answer->sqlstate, sizeof ret_answer->sqlstate);
    check_text(ret_answer->severity, sizeof ret_answer->severity);
    check_text(ret_answer->message, sizeof ret_answer->message);
    check_text(ret_answer->words, sizeof ret_answer->words);
    startup_answer_phrase(ret_answer, phrase, sizeof phrase);
    check_text(phrase, sizeof phrase);
    return is_decided;
}

#endif
