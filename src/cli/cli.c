#include "pgcoffer/cli/cli.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/check_internal.h"
#include "cli/complete_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define RECOVERY_PATH "pg_wal/RECOVERY" /* PostgreSQL's %p: pg_wal/RECOVERYXLOG or pg_wal/RECOVERYHISTORY */

/* The rows of commands.def that stand for a function each; what is spoken between programs only has none, and check is
 * the program's own (cli.h). */
#define FUNCTION_OF_LOCAL(id)   [COMMAND_ID_##id] = command_##id,
#define FUNCTION_OF_AT_ONCE(id) [COMMAND_ID_##id] = command_##id,
#define FUNCTION_OF_JOB(id)     [COMMAND_ID_##id] = command_##id,
#define FUNCTION_OF_ERRAND(id)
#define FUNCTION_OF_SESSION(id) [COMMAND_ID_##id] = command_##id,
#define FUNCTION_OF_WIRE(id)

static command_function *const functions[COMMAND_COUNT] = {
#define COMMAND(id, words, least, most, how, right, arguments, help) FUNCTION_OF_##how(id)
#include "pgcoffer/control/commands.def"
#undef COMMAND
};

/*
 * A restore_command with a slip of the pen in front of its command is one all the same. To PostgreSQL the status of a
 * wrong usage would be the end of the WAL, and it would promote.
 */
static bool is_for_recovery(const struct invocation *invocation, int argc, char **argv)
{
    if (invocation->command != COMMAND_COUNT)
        return invocation->command == COMMAND_ID_wal_get;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], commands[COMMAND_ID_wal_get].words) == 0 || text_starts_with(argv[i], RECOVERY_PATH))
            return true;
    return false;
}

/* A monitoring system reads the standard output, and 0 to 3 as the status. */
static bool is_for_monitoring(const struct invocation *invocation, int argc, char **argv)
{
    bool is_found = invocation_has(invocation, OPTION_ID_nagios);

    for (int i = 1; i < argc && !is_found; i++)
        is_found = strcmp(argv[i], "--nagios") == 0;
    return is_found && (invocation->command == COMMAND_ID_check || invocation->command == COMMAND_COUNT);
}

static void print_version(const struct invocation *invocation)
{
    json_t *data SCOPED(scoped_json) = json_pack("{s:s}", "version", PGCOFFER_VERSION);

    if (output_is_json(invocation))
        output_json(data);
    else
        printf("pgcoffer %s\n", PGCOFFER_VERSION);
}

static bool run(struct invocation *invocation, command_function *check, struct error *err)
{
    if (invocation->wants_version)
        print_version(invocation);
    else if (invocation->wants_help && invocation->command == COMMAND_COUNT)
        command_print_help(stdout);
    else if (invocation->wants_help)
        command_print_help_of(stdout, invocation->command);
    else if (invocation->command == COMMAND_ID_check)
        return check(invocation, err);
    else
        return functions[invocation->command](invocation, err);
    return true;
}

/* A result that did not reach the disk it was sent to is no result. */
static bool flush_results(struct error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    if (errno == EPIPE)
        return true; /* the reader had enough, as in `pgcoffer list | head -1` */
    return error_set_errno(err, "could not write the result");
}

int cli_main(int argc, char **argv, command_function *check)
{
    struct invocation invocation SCOPED(invocation_done) = {.command = COMMAND_COUNT};
    struct error err = {0};

    setlocale(LC_CTYPE, "");
    if (argc > 1 && strcmp(argv[1], "__complete") == 0)
        return complete_main(argc - 2, argv + 2);
    signal(SIGPIPE, SIG_IGN);
    if (arguments_parse(argc, argv, &invocation, &err) && run(&invocation, check, &err) && flush_results(&err))
        return invocation.exit_status;
    if (is_for_monitoring(&invocation, argc, argv)) {
        char *line SCOPED(scoped_free) = check_nagios_failure(&err);
        printf("%s\n", line);
        return CHECK_NAGIOS_UNKNOWN;
    }
    output_error(&invocation, &err);
    fflush(stdout);
    int status = error_exit_status(&err);
    return is_for_recovery(&invocation, argc, argv) ? WAL_GET_STATUS_BASE + status : status;
}
