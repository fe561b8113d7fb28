#ifndef PGCOFFER_CLI_CLI_H
#define PGCOFFER_CLI_CLI_H

#include "pgcoffer/base/error.h"

struct invocation;
typedef bool command_function(struct invocation *invocation, struct error *err);

/*
 * `check` speaks to PostgreSQL itself, and the client library with all that it needs takes longer to load than a segment
 * to fetch; a recovery asks for thousands of these. So pgcoffer does without it and hands `check` over to pgcofferd, which
 * under the name "pgcoffer" is the same command line (doc/decisions/0023).
 */
command_function command_check;           /* here */
command_function command_check_elsewhere; /* in pgcofferd, in place of this program */

/* The command line: parses, runs, prints; returns the exit status of DESIGN 7. */
int cli_main(int argc, char **argv, command_function *check);

#endif
