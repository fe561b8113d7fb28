#include "pgcoffer/control/command.h"

#include <string.h>

#include "pgcoffer/base/text.h"

#define ON(command) (UINT64_C(1) << COMMAND_ID_##command)
#define ONCE        false
#define MANY        true
/* No command's bit. */
#define WITH_CONNECT (UINT64_C(1) << 63)
_Static_assert(COMMAND_COUNT < 64, "a set of commands is a 64-bit word");

const struct command commands[COMMAND_COUNT] = {
#define COMMAND(id, words, least, most, how, right, arguments, help)                                                   \
    [COMMAND_ID_##id] = {COMMAND_ID_##id, words, least, most, COMMAND_##how, RIGHT_##right, arguments, help},
#include "pgcoffer/control/commands.def"
#undef COMMAND
};

const struct option_row option_rows[OPTION_COUNT] = {
#define OPTION(id, name, letter, argument, where, repeatable, commands, help)                                          \
    [OPTION_ID_##id] = {OPTION_ID_##id, name, letter, argument, OPTION_##where, repeatable, commands, help},
#include "pgcoffer/control/options.def"
#undef OPTION
};

/* "wal" or "walk list": the commands that begin with the same word, else the closest one. */
static bool hint_at_command(const char *words, struct error *err)
{
    const char *names[COMMAND_COUNT];
    size_t count = 0;
    char family[256] = "";
    size_t size = strcspn(words, " ");

    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].how == COMMAND_WIRE)
            continue;
        names[count++] = commands[i].words;
        if (strncmp(commands[i].words, words, size) == 0 && commands[i].words[size] == ' ') {
            size_t used = strlen(family);
            snprintf(family + used, sizeof family - used, "%s\"%s\"", used > 0 ? ", " : "", commands[i].words);
        }
    }
    if (family[0] != '\0')
        return error_hint(err, "There are %s.", family);
    const char *closest = text_closest(words, names, count);
    if (closest != NULL)
        return error_hint(err, "Did you mean \"%s\"?", closest);
    return error_hint(err, "\"pgcoffer help\" lists the commands.");
}

bool command_find(const char *words, enum command_id *ret_id, struct error *err)
{
    char printable[64];

    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].words, words) == 0) {
            *ret_id = commands[i].id;
            return true;
        }
    }
    snprintf(printable, sizeof printable, "%s", words);
    text_make_printable(printable);
    error_set(err, ERROR_USAGE, "there is no command \"%s\"", printable);
    return hint_at_command(printable, err);
}

bool command_is_remote(enum command_id command)
{
    switch (commands[command].how) {
    case COMMAND_AT_ONCE:
    case COMMAND_JOB:
    case COMMAND_ERRAND:
    case COMMAND_SESSION:
        return true;
    case COMMAND_LOCAL:
    case COMMAND_WIRE:
        return false;
    }
    return false;
}

bool option_belongs(enum option_id option, enum command_id command)
{
    const struct option_row *row = &option_rows[option];

    return row->where == OPTION_GLOBAL || (row->commands >> command & 1) != 0 ||
           ((row->commands & WITH_CONNECT) != 0 && command_is_remote(command));
}

bool option_is_own(enum option_id option, enum command_id command)
{
    return option_rows[option].where != OPTION_GLOBAL && (option_rows[option].commands >> command & 1) != 0;
}

bool option_find(const char *name, enum option_id *ret_id)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (strcmp(option_rows[i].name, name) == 0) {
            *ret_id = option_rows[i].id;
            return true;
        }
    }
    return false;
}

const char *right_word(enum right right)
{
    static const char *const words[] = {
        [RIGHT_ANYBODY] = "anybody",
        [RIGHT_MONITOR] = "monitor",
        [RIGHT_RESTORER] = "restorer",
        [RIGHT_ADMIN] = "admin",
    };

    return words[right];
}

bool right_find(const char *word, enum right *ret_right)
{
    for (int right = RIGHT_ANYBODY; right <= RIGHT_ADMIN; right++) {
        if (strcmp(right_word((enum right)right), word) == 0) {
            *ret_right = (enum right)right;
            return true;
        }
    }
    return false;
}

static void print_option(FILE *out, const struct option_row *row)
{
    char left[64];
    int used = 0;

    if (row->letter != 0)
        used = snprintf(left, sizeof left, "-%c, ", row->letter);
    snprintf(left + used, sizeof left - (size_t)used, "--%s%s%s", row->name, row->argument[0] != '\0' ? " " : "",
             row->argument);
    fprintf(out, "  %-30s %s%s\n", left, row->help, row->is_repeatable ? "; may be given several times" : "");
}

void command_print_help(FILE *out)
{
    fputs("pgcoffer: backups of PostgreSQL and its WAL over TLS\n\n"
          "Usage: pgcoffer [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:\n",
          out);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        char left[64];
        if (commands[i].how == COMMAND_WIRE)
            continue;
        snprintf(left, sizeof left, "%s %s", commands[i].words, commands[i].arguments);
        fprintf(out, "  %-30s %s\n", left, commands[i].help);
    }
    fputs("\nOptions of every command:\n", out);
    for (int i = 0; i < OPTION_COUNT; i++)
        if (option_rows[i].where == OPTION_GLOBAL)
            print_option(out, &option_rows[i]);
    fputs("\n\"pgcoffer COMMAND --help\" shows the options of one command.\n", out);
}

void command_print_help_of(FILE *out, enum command_id id)
{
    const struct command *command = &commands[id];
    bool has_options = false;

    for (int i = 0; i < OPTION_COUNT; i++)
        has_options = has_options || option_is_own((enum option_id)i, id);
    fprintf(out, "Usage: pgcoffer %s%s%s%s\n\n%s\n", command->words, command->arguments[0] != '\0' ? " " : "",
            command->arguments, has_options ? " [OPTIONS]" : "", command->help);
    if (!has_options)
        return;
    fputs("\nOptions:\n", out);
    for (int i = 0; i < OPTION_COUNT; i++)
        if (option_is_own((enum option_id)i, id))
            print_option(out, &option_rows[i]);
}
