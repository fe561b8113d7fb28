#ifndef PGCOFFER_BASE_TEXT_H
#define PGCOFFER_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "pgcoffer/base/error.h"

/* Strict readers of numbers and small helpers for words; nothing here allocates unless it says so. */

bool text_is_empty(const char *text); /* NULL or "" */
bool text_starts_with(const char *text, const char *prefix);
bool text_ends_with(const char *text, const char *suffix);
/* Decimal digits only, no sign, no blanks. */
bool text_parse_unsigned(const char *text, uint64_t most, uint64_t *ret_number);
bool text_parse_hex(const char *digits, size_t count, uint64_t *ret_number); /* exactly `count` hex digits */
void text_from_hex_bytes(const uint8_t *bytes, size_t size, char *ret_hex);  /* 2 * size + 1 characters */
/* The name of `names` closest to `word` (edit distance at most 2), or NULL: for "did you mean". */
const char *text_closest(const char *word, const char *const *names, size_t count);
/* "1.4 GB" as pg_size_pretty would, in powers of 1024. */
#define TEXT_BYTES_SIZE 24
void text_format_bytes(uint64_t bytes, char ret_text[TEXT_BYTES_SIZE]);
/* "1h02m", "3m20s", "4.2s" */
#define TEXT_DURATION_SIZE 24
void text_format_duration(double seconds, char ret_text[TEXT_DURATION_SIZE]);
/* Control characters become '?', so a peer's words cannot move a terminal's cursor. Works in place. */
void text_make_printable(char *text);
/* What is no UTF-8 becomes '?', byte by byte. Works in place. */
void text_make_valid(char *text);
/* "localhost", and the addresses of this machine itself: 127.0.0.0/8 and ::1. No name is looked up. */
bool text_is_loopback(const char *host);

/* A server's name in the configuration and in paths: [a-z0-9][a-z0-9_-]{0,62}, upper case allowed. */
bool text_is_server_name(const char *text);

#endif
