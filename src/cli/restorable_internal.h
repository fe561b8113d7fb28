#ifndef PGCOFFER_CLI_RESTORABLE_INTERNAL_H
#define PGCOFFER_CLI_RESTORABLE_INTERNAL_H

#include "cli/cli_internal.h"

/* RESTORABLE and SURVEY of doc/control-protocol.md, for people. */

/* One line: "primary: every moment from ... to ... can be restored", with what cannot be, and why. */
void restorable_print(const struct invocation *invocation, const char *server, const json_t *restorable);
/* The same of a survey, from when it is when that is not now, what was proven last, and the room. */
void stored_print(const struct invocation *invocation, const char *server, const json_t *survey);

#endif
