#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/complete_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/finding.h"

#define PATIENCE_MICROSECONDS 1500000 /* whoever pressed Tab waits for it */

/* ---- candidates ---- */

static bool is_typeable(const char *word)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(word);

    text_make_printable(copy);
    text_make_valid(copy);
    return word[0] != '\0' && word[0] != '-' && strcmp(copy, word) == 0;
}

static void print(const struct typed *typed, const char *word, const char *about)
{
    char *sentence SCOPED(scoped_free) = output_printable(about != NULL ? about : "");

    printf("%s%s\t%s\n", typed->kept, word, sentence);
}

void complete_offer(const struct typed *typed, const char *word, const char *about)
{
    if (text_starts_with(word, typed->begun) && is_typeable(word))
        print(typed, word, about);
}

/* "pause promote", "ec|rsa": with any of the separators between them. */
static void offer_words(const struct typed *typed, const char *words, const char *separators)
{
    for (const char *at = words; *at != '\0'; at += strspn(at, separators)) {
        size_t size = strcspn(at, separators);
        char *word SCOPED(scoped_free) = memory_text("%.*s", (int)size, at);
        complete_offer(typed, word, NULL);
        at += size;
    }
}

/* ---- values of options ---- */

static const char *server_of(const struct typed *typed)
{
    return typed->word_count > 0 ? typed->words[0] : NULL;
}

/* Of a list with commas the last name is completed. */
static void offer_checks(struct typed *typed)
{
    const char *comma = strrchr(typed->begun, ',');
    const char *group = "";

    if (comma != NULL) {
        char *kept = memory_text("%s%.*s", typed->kept, (int)(comma + 1 - typed->begun), typed->begun);
        free(typed->kept);
        typed->kept = kept;
        typed->begun = comma + 1;
    }
    for (int i = 0; i < CHECK_COUNT; i++) {
        if (strcmp(check_rows[i].group, group) != 0)
            complete_offer(typed, check_rows[i].group, "all of this group");
        group = check_rows[i].group;
        complete_offer(typed, check_rows[i].name, check_rows[i].sentence);
    }
}

static void offer_owner_value(struct typed *typed)
{
    (void)typed;
    puts("users");
}

static void offer_hosts(struct typed *typed)
{
    (void)typed;
    puts("hosts");
}

static void offer_files(struct typed *typed)
{
    (void)typed;
    puts("files");
}

static void offer_folders(struct typed *typed)
{
    (void)typed;
    puts("folders");
}

/* What the column "argument" of options.def stands for; a word that is not here is for the operator to know. */
static const struct {
    const char *argument;
    void (*offer)(struct typed *typed);
    const char *words;
} values[] = {
    {"FILE", offer_files, NULL},
    {"PATH", offer_files, NULL},
    {"FILE|DIR|-", offer_files, NULL},
    {"DIR", offer_folders, NULL},
    {"USER", offer_owner_value, NULL},
    {"HOST", offer_hosts, NULL},
    {"GROUP[,...]", offer_checks, NULL},
    {"WHEN", NULL, "auto always never"},
    {"FORMAT", NULL, "tar tar.zst directory"},
    {"ACTION", NULL, "pause promote shutdown"},
    {"MODE", NULL, "verify-full verify-ca require disable"},
    {"ec|rsa|ed25519", NULL, "ec rsa ed25519"},
    {"off|preserve", NULL, "off preserve"},
    {"TIMELINE", NULL, "latest current"},
};

static bool is_known_to_shell(void (*offer)(struct typed *typed))
{
    return offer == offer_files || offer == offer_folders || offer == offer_owner_value || offer == offer_hosts;
}

static void complete_value(struct typed *typed)
{
    const char *argument = option_rows[typed->value_of].argument;
    size_t i = 0;

    while (i < sizeof values / sizeof values[0] && strcmp(values[i].argument, argument) != 0)
        i++;
    bool is_found = i < sizeof values / sizeof values[0];
    if (!is_found || !is_known_to_shell(values[i].offer))
        puts("words");
    if (is_found && values[i].offer != NULL)
        values[i].offer(typed);
    else if (is_found)
        offer_words(typed, values[i].words, " ");
    if (typed->value_of == OPTION_ID_target_time && server_of(typed) != NULL)
        complete_times(typed, server_of(typed));
    if (typed->value_of == OPTION_ID_target_timeline && server_of(typed) != NULL)
        complete_timelines(typed, server_of(typed));
}

/* ---- options ---- */

static bool is_possible(const struct typed *typed, int option)
{
    if (typed->is_given[option] && !option_rows[option].is_repeatable)
        return false;
    return typed->command == COMMAND_COUNT ? option_rows[option].where == OPTION_GLOBAL
                                           : option_belongs((enum option_id)option, typed->command);
}

static void complete_option(const struct typed *typed)
{
    puts("words");
    for (int i = 0; i < OPTION_COUNT; i++) {
        char *word SCOPED(scoped_free) = memory_text("--%s", option_rows[i].name);
        if (is_possible(typed, i) && text_starts_with(word, typed->begun))
            print(typed, word, option_rows[i].help);
    }
}

/* ---- commands and their arguments ---- */

/* The first words, and behind one of these the second ones. */
static void complete_command(const struct typed *typed)
{
    const char *first = typed->word_count > 0 ? typed->words[0] : NULL;
    char before[32] = "";

    puts("words");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const char *words = commands[i].words, *blank = strchr(words, ' ');
        size_t size = strcspn(words, " ");
        if (commands[i].how == COMMAND_WIRE)
            continue;
        if (first != NULL) {
            if (blank != NULL && strlen(first) == size && strncmp(first, words, size) == 0)
                complete_offer(typed, blank + 1, commands[i].help);
            continue;
        }
        char word[sizeof before];
        snprintf(word, sizeof word, "%.*s", (int)size, words);
        if (strcmp(word, before) != 0)
            complete_offer(typed, word, blank == NULL ? commands[i].help : "commands of two words");
        memcpy(before, word, sizeof before);
    }
    if (first == NULL && !typed->has_help)
        complete_offer(typed, "help", "print the help, or a command's");
}

/* "[SERVER [BACKUP]]": the word of that number, "" when there is none. */
static void find_argument(const char *arguments, int number, char ret_word[32])
{
    const char *at = arguments + strspn(arguments, "[ ");

    for (int i = 0; i < number && *at != '\0'; i++) {
        at += strcspn(at, "[] ");
        at += strspn(at, "[] ");
    }
    snprintf(ret_word, 32, "%.*s", (int)strcspn(at, "[] "), at);
}

static void complete_argument(const struct typed *typed)
{
    char word[32];

    find_argument(commands[typed->command].arguments, typed->word_count, word);
    if (strcmp(word, "DIRECTORY") == 0) {
        puts("folders");
        return;
    }
    if (strcmp(word, "PATH") == 0) {
        puts("files");
        return;
    }
    puts("words");
    if (strcmp(word, "SERVER") == 0)
        complete_servers(typed);
    else if (strcmp(word, "BACKUP") == 0 && server_of(typed) != NULL)
        complete_backups(typed, server_of(typed));
    else if (strcmp(word, "JOB") == 0)
        complete_jobs(typed);
}

/* ---- the whole ---- */

static void give_up(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_SUCCESS);
}

/* No message, and an answer soon or none: a shell waits, and shows what is written to its terminal. */
static void be_quiet_and_quick(void)
{
    const struct itimerval patience = {
        .it_value = {.tv_sec = PATIENCE_MICROSECONDS / 1000000, .tv_usec = PATIENCE_MICROSECONDS % 1000000}};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (null >= 0)
        dup2(null, STDERR_FILENO);
    signal(SIGALRM, give_up);
    signal(SIGPIPE, SIG_IGN);
    setitimer(ITIMER_REAL, &patience, NULL);
}

static char *unquoted(const char *typed)
{
    const char *home = getenv("HOME");
    bool is_at_home = text_starts_with(typed, "~/") && home != NULL;
    char *rest SCOPED(scoped_free) = memory_copy_text(is_at_home ? typed + 1 : typed);

    typed_unquote(rest);
    return memory_text("%s%s", is_at_home ? home : "", rest);
}

static void complete(int argc, char **argv)
{
    struct typed typed SCOPED(typed_done);

    typed_parse(argc, argv, &typed);
    if (typed.value_of != OPTION_COUNT)
        complete_value(&typed);
    else if (typed.is_option)
        complete_option(&typed);
    else if (typed.command == COMMAND_COUNT)
        complete_command(&typed);
    else if (typed.has_help)
        puts("words");
    else
        complete_argument(&typed);
}

int complete_main(int argc, char **argv)
{
    bool is_quoted = argc > 0 && strcmp(argv[0], "--quoted") == 0;
    int first = is_quoted ? 1 : 0, count = argc - first;
    char **words = memory_new(((size_t)argc + 1) * sizeof *words);

    be_quiet_and_quick();
    for (int i = 0; i < count; i++)
        words[i] = is_quoted ? unquoted(argv[first + i]) : memory_copy_text(argv[first + i]);
    complete(count, words);
    for (int i = 0; i < count; i++)
        free(words[i]);
    free(words);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
