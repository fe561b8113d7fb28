#ifndef PGCOFFER_CONTROL_COMMAND_H
#define PGCOFFER_CONTROL_COMMAND_H

#include <stdint.h>
#include <stdio.h>

#include "pgcoffer/base/error.h"

enum command_how { COMMAND_LOCAL, COMMAND_AT_ONCE, COMMAND_JOB, COMMAND_ERRAND, COMMAND_SESSION, COMMAND_WIRE };
/* Ordered: each includes those before it. */
enum right { RIGHT_ANYBODY, RIGHT_MONITOR, RIGHT_RESTORER, RIGHT_ADMIN };

enum command_id {
#define COMMAND(id, words, least, most, how, right, arguments, help) COMMAND_ID_##id,
#include "pgcoffer/control/commands.def"
#undef COMMAND
    COMMAND_COUNT
};

struct command {
    enum command_id id;
    const char *words; /* "wal list" */
    int least_args, most_args;
    enum command_how how;
    enum right right;
    const char *arguments;
    const char *help;
};
extern const struct command commands[COMMAND_COUNT]; /* indexed by enum command_id */

enum option_where { OPTION_GLOBAL, OPTION_CLIENT, OPTION_WIRE };
enum option_id {
#define OPTION(id, name, letter, argument, where, repeatable, commands, help) OPTION_ID_##id,
#include "pgcoffer/control/options.def"
#undef OPTION
    OPTION_COUNT
};

struct option_row {
    enum option_id id;
    const char *name;
    char letter;          /* 0: none */
    const char *argument; /* "" for a flag */
    enum option_where where;
    bool is_repeatable;
    uint64_t commands; /* bit 1 << COMMAND_ID_x; 0 with GLOBAL */
    const char *help;
};
extern const struct option_row option_rows[OPTION_COUNT];

/* `words` is "wal list" or "list". USAGE with the closest command as a hint. Finds WIRE commands too. */
bool command_find(const char *words, enum command_id *ret_id, struct error *err) NODISCARD;
/* Does it go to a daemon, and so to one behind a gateway too? */
bool command_is_remote(enum command_id command);
/* A global option belongs to every command. */
bool option_belongs(enum option_id option, enum command_id command);
/* Is it listed with the command? Neither a global one, nor what --connect takes with every command that goes away. */
bool option_is_own(enum option_id option, enum command_id command);
bool option_find(const char *name, enum option_id *ret_id);
const char *right_word(enum right right);
bool right_find(const char *word, enum right *ret_right);

/* `pgcoffer help`, and with the options of one command. WIRE commands are left out. */
void command_print_help(FILE *out);
void command_print_help_of(FILE *out, enum command_id id);

#endif
