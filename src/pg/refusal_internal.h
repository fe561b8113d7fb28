#ifndef PGCOFFER_PG_REFUSAL_INTERNAL_H
#define PGCOFFER_PG_REFUSAL_INTERNAL_H

#include <stddef.h>

#include "pgcoffer/tls/finding.h"

/*
 * libpq gives no SQLSTATE for a refused connection as a field, but prints it when the connection's verbosity is
 * VERBOSE. Takes it out of the text ("FATAL:  28000: no ..." becomes "FATAL:  no ..."), takes away the LOCATION line
 * and makes one printable line of the rest.
 */
#define REFUSAL_WORDS_SIZE 1536
void refusal_clean_words(const char *libpq_words, char ret_words[REFUSAL_WORDS_SIZE], char ret_sqlstate[6]);

/*
 * Fills *err: "could not connect to server ...", the cause and the words, the fix and the check from refusals.def.
 * *ret_is_explained is false when no row fits; then TLS may be the reason. Always returns false.
 */
bool refusal_explain(const struct server_config *server, const char *words, const char *sqlstate,
                     bool *ret_is_explained, struct error *err);

/* The row of refusals.def that fits as a finding, `seen` being the words; false when none fits. For words that did not
 * come through libpq. */
bool refusal_find(const struct server_config *server, const char *words, const char *sqlstate,
                  struct finding *ret_finding);

#endif
