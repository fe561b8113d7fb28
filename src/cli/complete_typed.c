#include <string.h>

#include "cli/complete_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* ---- quotes ---- */

static bool is_escaped(char quote, const char *at)
{
    return at[0] == '\\' && at[1] != '\0' && (quote == 0 || (quote == '"' && strchr("\"\\$`", at[1]) != NULL));
}

void typed_unquote(char *word)
{
    char quote = 0, *to = word;

    for (const char *at = word; *at != '\0'; at++) {
        if (is_escaped(quote, at))
            *to++ = *++at;
        else if (quote != 0 ? *at == quote : *at == '\'' || *at == '"')
            quote = quote != 0 ? 0 : *at;
        else
            *to++ = *at;
    }
    *to = '\0';
}

/* ---- options ---- */

static void add(struct typed *typed, enum option_id option, const char *text)
{
    struct invocation *asking = &typed->asking;
    bool is_for_asking = option == OPTION_ID_config || option == OPTION_ID_socket || option == OPTION_ID_connect ||
                         option == OPTION_ID_direct || option == OPTION_ID_tls_cert_file ||
                         option == OPTION_ID_tls_key_file || option == OPTION_ID_tls_ca_file ||
                         option == OPTION_ID_tls_crl_file;

    typed->is_given[option] = true;
    if (is_for_asking)
        asking->occurrences[asking->occurrence_count++] = (struct occurrence){option, text};
}

/* How many words it takes, itself included; the value of the last one may be what is completed. */
static int take_long(struct typed *typed, char **words, int left)
{
    const char *name = words[0] + 2, *equals = strchr(name, '=');
    char *alone SCOPED(scoped_free) = memory_text("%.*s", (int)strcspn(name, "="), name);
    enum option_id option;

    if (!option_find(alone, &option))
        return 1;
    bool is_flag = option_rows[option].argument[0] == '\0';
    if (is_flag || equals != NULL || left < 2) {
        if (!is_flag && equals == NULL)
            typed->value_of = option;
        else
            add(typed, option, equals != NULL ? equals + 1 : NULL);
        return 1;
    }
    add(typed, option, words[1]);
    return 2;
}

static int take_short(struct typed *typed, char **words, int left)
{
    for (const char *letter = words[0] + 1; *letter != '\0'; letter++) {
        int i = 0;
        while (i < OPTION_COUNT && option_rows[i].letter != *letter)
            i++;
        if (i == OPTION_COUNT)
            return 1;
        bool is_flag = option_rows[i].argument[0] == '\0';
        if (is_flag || letter[1] != '\0' || left >= 2)
            add(typed, (enum option_id)i, is_flag ? NULL : letter[1] != '\0' ? letter + 1 : words[1]);
        else
            typed->value_of = (enum option_id)i;
        if (!is_flag)
            return letter[1] != '\0' ? 1 : 2;
    }
    return 1;
}

/* ---- the whole line ---- */

/* All before the word that is completed; false: behind a "--" that ends the options. */
static bool take_words(struct typed *typed, char **argv, int count)
{
    bool has_options = true;
    int taken;

    for (int i = 0; i < count; i += taken) {
        taken = 1;
        if (!has_options || argv[i][0] != '-' || argv[i][1] == '\0')
            typed->words[typed->word_count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            has_options = false;
        else
            taken = argv[i][1] == '-' ? take_long(typed, argv + i, count - i) : take_short(typed, argv + i, count - i);
    }
    return has_options;
}

static void drop_words(struct typed *typed, int count)
{
    typed->words += count;
    typed->word_count -= count;
}

static void find_command(struct typed *typed)
{
    struct error ignored;

    if (typed->word_count > 0 && strcmp(typed->words[0], "help") == 0) {
        typed->has_help = true;
        drop_words(typed, 1);
    }
    for (int count = 2; count > 0; count--) {
        if (typed->word_count < count)
            continue;
        char *words SCOPED(scoped_free) =
            memory_text("%s%s%s", typed->words[0], count > 1 ? " " : "", count > 1 ? typed->words[1] : "");
        if (command_find(words, &typed->command, &ignored) && commands[typed->command].how != COMMAND_WIRE) {
            drop_words(typed, count);
            return;
        }
    }
    typed->command = COMMAND_COUNT;
}

/* "--color=al": what is completed is "al". */
static void split_value(struct typed *typed, const char *word)
{
    const char *equals = strchr(word, '=');

    if (!typed->is_option || !text_starts_with(word, "--") || equals == NULL)
        return;
    char *name SCOPED(scoped_free) = memory_text("%.*s", (int)(equals - word - 2), word + 2);
    if (!option_find(name, &typed->value_of))
        return;
    typed->begun = equals + 1;
    free(typed->kept);
    typed->kept = memory_text("%.*s", (int)(equals + 1 - word), word);
}

void typed_parse(int argc, char **argv, struct typed *ret_typed)
{
    struct typed *typed = ret_typed;
    const char *last = argc > 0 ? argv[argc - 1] : "";

    *typed = (struct typed){.begun = last, .value_of = OPTION_COUNT, .command = COMMAND_COUNT};
    typed->kept = memory_copy_text("");
    /* The words are given up as they are used, and the memory at the end with the last of them. */
    typed->asking = (struct invocation){.argv = argv, .command = COMMAND_COUNT};
    typed->asking.occurrences = memory_new(((size_t)argc + 2) * sizeof typed->asking.occurrences[0]);
    typed->asking.arguments = memory_new(((size_t)argc + 1) * sizeof typed->asking.arguments[0]);
    typed->words = typed->asking.arguments;
    bool has_options = take_words(typed, argv, argc > 0 ? argc - 1 : 0);
    find_command(typed);
    typed->is_option = has_options && last[0] == '-' && typed->value_of == OPTION_COUNT;
    split_value(typed, last);
}

void typed_done(struct typed *typed)
{
    free(typed->kept);
    free(typed->asking.arguments);
    invocation_done(&typed->asking);
}
