#include "pgcoffer/cli/cli.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli_internal.h"

/* The rows of commands.def that stand for a function each; what is spoken between programs only has none. */
#define FUNCTION_OF_LOCAL(id)   [COMMAND_ID_##id] = command_##id,
#define FUNCTION_OF_AT_ONCE(id) [COMMAND_ID_##id] = command_##id,
#define FUNCTION_OF_JOB(id)     [COMMAND_ID_##id] = command_##id,
#define FUNCTION_OF_SESSION(id) [COMMAND_ID_##id] = command_##id,
#define FUNCTION_OF_WIRE(id)

static command_function *const functions[COMMAND_COUNT] = {
#define COMMAND(id, words, least, most, how, right, arguments, help) FUNCTION_OF_##how(id)
#include "pgcoffer/control/commands.def"
#undef COMMAND
};

static int status_of_failure(const struct invocation *invocation, const struct error *err)
{
    int status = error_exit_status(err);

    return invocation->command == COMMAND_ID_wal_get ? WAL_GET_STATUS_BASE + status : status;
}

static void print_version(const struct invocation *invocation)
{
    json_t *data SCOPED(scoped_json) = json_pack("{s:s}", "version", PGCOFFER_VERSION);

    if (output_is_json(invocation))
        output_json(data);
    else
        printf("pgcoffer %s\n", PGCOFFER_VERSION);
}

static bool run(struct invocation *invocation, struct error *err)
{
    if (invocation->wants_version)
        print_version(invocation);
    else if (invocation->wants_help && invocation->command == COMMAND_COUNT)
        command_print_help(stdout);
    else if (invocation->wants_help)
        command_print_help_of(stdout, invocation->command);
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

int cli_main(int argc, char **argv)
{
    struct invocation invocation SCOPED(invocation_done) = {.command = COMMAND_COUNT};
    struct error err = {0};

    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    if (arguments_parse(argc, argv, &invocation, &err) && run(&invocation, &err) && flush_results(&err))
        return invocation.exit_status;
    output_error(&invocation, &err);
    fflush(stdout);
    return status_of_failure(&invocation, &err);
}
