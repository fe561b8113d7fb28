#ifndef PGCOFFER_CLI_COMPLETE_INTERNAL_H
#define PGCOFFER_CLI_COMPLETE_INTERNAL_H

#include "cli/cli_internal.h"

/*
 * `pgcoffer __complete WORD...`: what may stand in place of the last word, which may be empty or begun, behind the
 * others; for the shells' completion (contrib/completion/). The first line says what kind of thing it is: "words",
 * then one candidate a line with a tab and what it is behind it; or "files", "folders", "users", "hosts", which the
 * shell knows itself. Names come from the daemon, if it answers at once. There is never a message, and nothing that a
 * daemon or a label says reaches the shell with a control character in it.
 *
 * `pgcoffer __complete --quoted WORD...`: the words are as typed, with the quotes and backslashes of a POSIX shell.
 */
int complete_main(int argc, char **argv);

/* ---- what was typed so far (complete_typed.c) ---- */
struct typed {
    const char *begun;       /* the last word, or what stands behind its "=" or comma */
    char *kept;              /* of that word, before `begun`: "--color="; malloc'd */
    enum option_id value_of; /* whose value is to come; OPTION_COUNT: none */
    bool is_option;          /* the word begins with "-" and no "--" stands before it */
    bool has_help;           /* "help" came first: only a command follows */
    enum command_id command; /* COMMAND_COUNT: not known yet */
    const char **words;      /* no options, without the command's own once it is known */
    int word_count;
    struct invocation asking; /* with the options by which the daemon is found */
    bool is_given[OPTION_COUNT];
};
void typed_parse(int argc, char **argv, struct typed *ret_typed);
void typed_done(struct typed *typed);
/* Takes the quotes away, in place. */
void typed_unquote(char *word);

/* ---- candidates (complete.c) ---- */
/* Nothing when the word does not begin as what was typed, or is nothing to be typed. `about` may be NULL. */
void complete_offer(const struct typed *typed, const char *word, const char *about);

/* ---- names that the daemon knows (complete_names.c) ---- */
void complete_servers(const struct typed *typed);
void complete_backups(const struct typed *typed, const char *server);
void complete_jobs(const struct typed *typed);
/* The ends of the stretches that can be restored, and their timelines. */
void complete_times(const struct typed *typed, const char *server);
void complete_timelines(const struct typed *typed, const char *server);

#endif
