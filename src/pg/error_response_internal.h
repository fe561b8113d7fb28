#ifndef PGCOFFER_PG_ERROR_RESPONSE_INTERNAL_H
#define PGCOFFER_PG_ERROR_RESPONSE_INTERNAL_H

#include "pgcoffer/pg/startup.h"

/* What stands in an ErrorResponse: a code and a text for each field, and a NUL behind the last. False: garbage. */
bool error_response_read(const uint8_t *bytes, size_t size, struct startup_answer *answer);
/* Before protocol 3 an error was 'E' and a text; a server that cannot fork, and some poolers, still send it so. */
void error_response_read_old(const uint8_t *bytes, size_t size, struct startup_answer *answer);

#endif
