#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define FIRST_LONG 256 /* above every short letter */

struct getopt_tables {
    char letters[1 + 2 * OPTION_COUNT + 1];
    struct option options[OPTION_COUNT + 1];
};

static void make_tables(struct getopt_tables *tables)
{
    char *letter = tables->letters;

    *letter++ = ':'; /* a missing value is told apart */
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        bool has_value = row->argument[0] != '\0';
        tables->options[i] = (struct option){
            .name = row->name, .has_arg = has_value ? required_argument : no_argument, .val = FIRST_LONG + i};
        if (row->letter == 0)
            continue;
        *letter++ = row->letter;
        if (has_value)
            *letter++ = ':';
    }
    *letter = '\0';
    tables->options[OPTION_COUNT] = (struct option){0};
}

static enum option_id option_of_letter(int letter)
{
    for (int i = 0; i < OPTION_COUNT; i++)
        if (option_rows[i].letter == letter)
            return (enum option_id)i;
    return OPTION_COUNT;
}

static bool fail_unknown(const char *word, struct error *err)
{
    const char *names[OPTION_COUNT];
    char printable[64];
    char name[64];

    for (int i = 0; i < OPTION_COUNT; i++)
        names[i] = option_rows[i].name;
    snprintf(printable, sizeof printable, "%s", word);
    text_make_printable(printable);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(printable, "="), printable);
    error_set(err, ERROR_USAGE, "there is no option \"%s\"", name);
    const char *closest = text_starts_with(name, "--") ? text_closest(name + 2, names, OPTION_COUNT) : NULL;
    if (closest != NULL)
        return error_hint(err, "Did you mean --%s?", closest);
    return error_hint(err, "\"pgcoffer help\" and \"pgcoffer help COMMAND\" list the options.");
}

static void add_occurrence(struct invocation *invocation, enum option_id option)
{
    const char *text = option_rows[option].argument[0] != '\0' ? optarg : NULL;

    invocation->occurrences[invocation->occurrence_count++] = (struct occurrence){option, text};
    invocation->wants_help |= option == OPTION_ID_help;
    invocation->wants_version |= option == OPTION_ID_version;
}

/* Takes all options out of argv; the first error is kept and the rest still read, to know the command. */
static bool parse_options(int argc, char **argv, struct invocation *invocation, struct error *err)
{
    struct getopt_tables tables;
    bool is_right = true;

    make_tables(&tables);
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    for (int found; (found = getopt_long(argc, argv, tables.letters, tables.options, NULL)) != -1;) {
        enum option_id option = found >= FIRST_LONG ? (enum option_id)(found - FIRST_LONG) : option_of_letter(found);
        if (found != '?' && found != ':') {
            add_occurrence(invocation, option);
            continue;
        }
        if (!is_right)
            continue;
        is_right = false;
        if (found == ':')
            error_set(err, ERROR_USAGE, "the option %s needs a value", argv[optind - 1]);
        else if (optopt >= FIRST_LONG)
            error_set(err, ERROR_USAGE, "the option --%s takes no value", option_rows[optopt - FIRST_LONG].name);
        else if (optopt != 0)
            fail_unknown((char[]){'-', (char)optopt, '\0'}, err);
        else
            fail_unknown(argv[optind - 1], err);
    }
    return is_right;
}

/* One word or two. */
static bool find_command(struct invocation *invocation, char **words, int count, int *ret_used, struct error *err)
{
    if (count > 1) {
        char *two SCOPED(scoped_free) = memory_text("%s %s", words[0], words[1]);
        struct error ignored;
        if (command_find(two, &invocation->command, &ignored)) {
            *ret_used = 2;
            return true;
        }
        /* "wal lsit": the hint shall know both words. */
        for (int i = 0; i < COMMAND_COUNT; i++) {
            size_t size = strlen(words[0]);
            if (strncmp(commands[i].words, words[0], size) == 0 && commands[i].words[size] == ' ')
                return command_find(two, &invocation->command, err);
        }
    }
    if (!command_find(words[0], &invocation->command, err))
        return false;
    *ret_used = 1;
    if (commands[invocation->command].how != COMMAND_WIRE)
        return true;
    invocation->command = COMMAND_COUNT;
    error_set(err, ERROR_USAGE, "there is no command \"%s\"", words[0]);
    return error_hint(err, "\"pgcoffer help\" lists the commands.");
}

static bool check_count(const struct invocation *invocation, struct error *err)
{
    const struct command *command = &commands[invocation->command];
    int count = invocation->argument_count;

    if (count >= command->least_args && count <= command->most_args)
        return true;
    error_set(err, ERROR_USAGE, "\"%s\" was given %d %s", command->words, count, count == 1 ? "argument" : "arguments");
    return error_hint(err, "It is written: pgcoffer %s%s%s", command->words, command->arguments[0] != '\0' ? " " : "",
                      command->arguments);
}

static bool check_options(const struct invocation *invocation, struct error *err)
{
    const struct command *command = &commands[invocation->command];

    for (size_t i = 0; i < invocation->occurrence_count; i++) {
        enum option_id option = invocation->occurrences[i].option;
        if (!option_belongs(option, invocation->command)) {
            error_set(err, ERROR_USAGE, "\"%s\" takes no option --%s", command->words, option_rows[option].name);
            return error_hint(err, "\"pgcoffer help %s\" lists its options.", command->words);
        }
    }
    if (invocation_has(invocation, OPTION_ID_connect) && !command_is_remote(invocation->command)) {
        error_set(err, ERROR_USAGE, "\"%s\" takes no --connect", command->words);
        return error_hint(err, "It works on this machine only, without a daemon's help: leave --connect out.");
    }
    bool can_be_direct = command->how == COMMAND_SESSION || invocation->command == COMMAND_ID_verify;
    if (!invocation_has(invocation, OPTION_ID_direct) || can_be_direct)
        return true;
    error_set(err, ERROR_USAGE, "\"%s\" takes no --direct", command->words);
    return error_hint(err,
                      "Leave --direct out; it is for list, show, verify, restore, drill, export, wal-get, wal list and wal status.");
}

static bool check_color(const struct invocation *invocation, struct error *err)
{
    const char *when = invocation_text(invocation, OPTION_ID_color);

    if (when == NULL || strcmp(when, "auto") == 0 || strcmp(when, "always") == 0 || strcmp(when, "never") == 0)
        return true;
    return error_set(err, ERROR_USAGE, "--color: \"%s\" is not one of auto, always, never", when);
}

static bool parse_command(struct invocation *invocation, char **words, int count, struct error *err)
{
    int used = 0;

    if (count > 0 && strcmp(words[0], "help") == 0) {
        invocation->wants_help = true;
        words++;
        count--;
    }
    if (count == 0 && (invocation->wants_help || invocation->wants_version))
        return true;
    if (count == 0) {
        error_set(err, ERROR_USAGE, "no command was given");
        return error_hint(err, "\"pgcoffer help\" lists the commands.");
    }
    if (!find_command(invocation, words, count, &used, err))
        return false;
    invocation->arguments = (const char **)words + used;
    invocation->argument_count = count - used;
    return true;
}

bool arguments_parse(int argc, char **argv, struct invocation *ret_invocation, struct error *err)
{
    struct invocation *invocation = ret_invocation;
    struct error later;

    *invocation = (struct invocation){.argv = argv, .command = COMMAND_COUNT};
    invocation->occurrences = memory_new(((size_t)argc + 1) * sizeof invocation->occurrences[0]);
    bool is_right = parse_options(argc, argv, invocation, err);
    /* getopt has moved everything else behind the options. */
    if (!parse_command(invocation, argv + optind, argc - optind, is_right ? err : &later) || !is_right)
        return false;
    if (!check_color(invocation, err))
        return false;
    if (invocation->wants_help || invocation->wants_version)
        return true;
    return check_count(invocation, err) && check_options(invocation, err);
}

void invocation_done(struct invocation *invocation)
{
    free(invocation->occurrences);
    json_decref(invocation->findings);
    *invocation = (struct invocation){.command = COMMAND_COUNT};
}

bool invocation_has(const struct invocation *invocation, enum option_id option)
{
    for (size_t i = 0; i < invocation->occurrence_count; i++)
        if (invocation->occurrences[i].option == option)
            return true;
    return false;
}

void invocation_add_flag(struct invocation *invocation, enum option_id option)
{
    /* There is room: the program's own name is no option. */
    if (!invocation_has(invocation, option))
        invocation->occurrences[invocation->occurrence_count++] = (struct occurrence){option, NULL};
}

const char *invocation_text(const struct invocation *invocation, enum option_id option)
{
    for (size_t i = invocation->occurrence_count; i > 0; i--)
        if (invocation->occurrences[i - 1].option == option)
            return invocation->occurrences[i - 1].text;
    return NULL;
}

const char *invocation_argument(const struct invocation *invocation, int number)
{
    return number < invocation->argument_count ? invocation->arguments[number] : "";
}
