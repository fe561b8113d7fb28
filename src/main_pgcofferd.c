#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/cli/cli.h"
#include "pgcoffer/daemon/supervisor.h"
#include "pgcoffer/jobs/job.h"

/*
 * pgcofferd: the supervisor, or with --role= one of the workers it starts of itself; started under the name "pgcoffer"
 * it is the command line (cli.h).
 */

/*
 * Milliseconds that a worker waits, once, for a supervisor that takes no line of the log. On those that live as long as
 * the daemon others wait: commits of the server on a receiver, clients on a port.
 */
#define JOB_PATIENCE    5000
#define SERVER_PATIENCE 100

static int (*const role_mains[ROLE_COUNT])(struct job *job) = {
#define ROLE(name, network, repository, keys, summary) [ROLE_##name] = job_##name##_main,
#include "pgcoffer/worker/roles.def"
#undef ROLE
};

/* A job that cannot begin tells who asked: the supervisor, which logs it, or the session's client. */
static void report_failure(struct worker_context *worker, const struct error *failure)
{
    struct error ignored;

    if (worker->client < 0) {
        if (!control_send_error(worker->channel, failure, &ignored))
            log_failure(LOG_LEVEL_ERROR, failure);
        return;
    }
    struct control_stream *client SCOPED(scoped_control_stream) = control_stream_new(worker->client, CONTROL_LINE_SIZE);
    worker->client = -1;
    log_failure(LOG_LEVEL_ERROR, failure);
    if (!control_send_error(client, failure, &ignored))
        log_debug("could not tell the client: %s", ignored.message);
}

static int run_role(const char *name)
{
    struct worker_context worker;
    struct error err;
    enum role_id role;
    struct job job;

    if (!role_find(name, &role)) {
        fprintf(stderr, "pgcofferd: there is no role \"%s\"\n", name);
        return 2;
    }
    log_set_identity(name);
    bool is_server = role == ROLE_receive || role == ROLE_gateway || role == ROLE_exporter;
    /* False: started by a test, with the test's own stderr. */
    (void)!log_through_socket(is_server ? SERVER_PATIENCE : JOB_PATIENCE);
    if (!worker_begin(role, &worker, &err)) {
        log_failure(LOG_LEVEL_ERROR, &err);
        return error_exit_status(&err);
    }
    int status;
    if (job_prepare(&worker, &job, &err)) {
        status = role_mains[role](&job);
        job_done(&job);
    } else {
        status = error_exit_status(&err);
        report_failure(&worker, &err);
    }
    worker_end(&worker);
    return status;
}

static int run_daemon(const char *path)
{
    struct config *config;
    enum log_format format;
    enum log_level level;
    struct error err;

    signal(SIGUSR1, SIG_IGN); /* a rotation of the log while the daemon starts */
    if (!config_load(path, &config, &err)) {
        log_failure(LOG_LEVEL_ERROR, &err);
        return error_exit_status(&err);
    }
    if (log_level_from_word(config->settings.log_level, &level))
        log_set_level(level);
    if (log_format_from_word(config->settings.log_format, &format))
        log_set_format(format);
    return supervisor_run(config);
}

static void print_help(FILE *out)
{
    fputs("pgcofferd: backs up PostgreSQL and its WAL over TLS\n\n"
          "Usage: pgcofferd [-c FILE]\n\n"
          "Stays in the foreground and logs to stderr, or to log_file; ends on SIGTERM, reloads on SIGHUP, and opens\n"
          "log_file again on SIGUSR1.\n\n"
          "Options:\n"
          "  -c, --config FILE    configuration file (default " CONFIG_DEFAULT_FILE ")\n"
          "  -V, --version        print the version\n"
          "  -h, --help           print this help\n",
          out);
}

/* Started with one of them closed, the next file opened would become the log. */
static void open_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {"role", required_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    const char *path = NULL;
    int option;

    if (argc > 0 && strcmp(argv[0], "pgcoffer") == 0)
        return cli_main(argc, argv, command_check);
    open_standard_descriptors();
    while ((option = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'r':
            return run_role(optarg);
        case 'V':
            puts("pgcofferd " PGCOFFER_VERSION);
            return 0;
        case 'h':
            print_help(stdout);
            return 0;
        default:
            fputs("\"pgcofferd --help\" shows the options.\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "pgcofferd: takes no argument \"%s\"; \"pgcofferd --help\" shows the options.\n", argv[optind]);
        return 2;
    }
    return run_daemon(path);
}
