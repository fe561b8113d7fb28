#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "cli/restoring_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* What restore and drill have in common on the side of the caller. */

#define MOST_WRITTEN 1024 /* for --jobs; more is a slip of the pen */
/* A firewall or a host that restarts takes minutes, and a restore begun anew takes hours. */
#define PATIENCE_SECONDS      900
#define PATIENCE_MOST_SECONDS 604800

/* ---- an end before the time ---- */

static volatile sig_atomic_t is_interrupted;

static void note_interrupt(int signal_number)
{
    (void)signal_number;
    if (is_interrupted) /* twice: somebody does not want to wait for an orderly end */
        _exit(1);
    is_interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = note_interrupt};
    struct sigaction before;

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* The terminal is gone, which is as good as a word; with nohup(1) it is none. */
    sigaction(SIGHUP, NULL, &before);
    if (before.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
}

static bool ask_interrupted(void *context)
{
    (void)context;
    return is_interrupted != 0;
}

/* ---- options ---- */

char *restoring_absolute_path(const char *path)
{
    if (path[0] == '/')
        return memory_copy_text(path);
    char *folder SCOPED(scoped_free) = getcwd(NULL, 0);
    return memory_text("%s/%s", folder != NULL ? folder : "", path);
}

bool restoring_parse_jobs(const struct invocation *invocation, unsigned *ret_jobs, struct error *err)
{
    const char *text = invocation_text(invocation, OPTION_ID_jobs);
    uint64_t number = 0;

    if (text != NULL && (!text_parse_unsigned(text, MOST_WRITTEN, &number) || number == 0))
        return error_set(err, ERROR_USAGE, "--jobs: \"%s\" is not a number between 1 and %d", text, MOST_WRITTEN);
    if (number > RESTORE_MOST_JOBS) {
        output_warning(invocation, "--jobs %" PRIu64 ": the restore uses %d connections, which is the most", number,
                       RESTORE_MOST_JOBS);
        number = RESTORE_MOST_JOBS;
    }
    *ret_jobs = (unsigned)number;
    return true;
}

/* The daemon of this machine is there or is not, and needs no patience. */
static bool take_patience(const struct invocation *invocation, struct connector *connector, struct error *err)
{
    const char *text = invocation_text(invocation, OPTION_ID_patience);
    uint64_t seconds = PATIENCE_SECONDS;

    if (text != NULL && (!text_parse_unsigned(text, PATIENCE_MOST_SECONDS, &seconds) || seconds == 0))
        return error_set(err, ERROR_USAGE, "--patience: \"%s\" is not a number of seconds between 1 and %d", text,
                         PATIENCE_MOST_SECONDS);
    if (connector->patience_seconds > 0)
        connector->patience_seconds = (unsigned)seconds;
    return true;
}

/* ---- restore_command ---- */

static void add_word(char **command, const char *option, const char *value)
{
    char *quoted SCOPED(scoped_free) = value != NULL ? restore_quote_for_shell(value) : memory_copy_text("");
    char *longer = memory_text("%s%s%s%s%s", *command, (*command)[0] != '\0' ? " " : "", option,
                               option[0] != '\0' && value != NULL ? " " : "", quoted);

    free(*command);
    *command = longer;
}

/* All of it, wherever it came from: PostgreSQL's process has another folder, another home and no habits. */
static bool add_gateway(const struct invocation *invocation, char **prefix, struct error *err)
{
    struct server_config *gateway SCOPED(scoped_free) = NULL;

    if (!gateway_find(invocation, &gateway, err))
        return false;
    if (gateway == NULL)
        return true;
    char *address SCOPED(scoped_free) = gateway_to_text(gateway);
    add_word(prefix, "--connect", address);
    add_word(prefix, "--tls-cert-file", gateway->settings.tls_cert_file);
    add_word(prefix, "--tls-key-file", gateway->settings.tls_key_file);
    add_word(prefix, "--tls-ca-file", gateway->settings.tls_ca_file);
    if (gateway->settings.tls_crl_file[0] != '\0')
        add_word(prefix, "--tls-crl-file", gateway->settings.tls_crl_file);
    return true;
}

/* What PostgreSQL has to run later, wherever it runs it: this binary, and where it found the repository. */
bool restoring_make_prefix(const struct invocation *invocation, char **ret_prefix, struct error *err)
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    const char *configuration = invocation_text(invocation, OPTION_ID_config);
    const char *socket = invocation_text(invocation, OPTION_ID_socket);

    if (size < 0)
        return error_set_errno(err, "could not find out where this program lies");
    self[size] = '\0';
    char *prefix SCOPED(scoped_free) = memory_copy_text("");
    add_word(&prefix, "", self);
    if (configuration != NULL) {
        char *path SCOPED(scoped_free) = restoring_absolute_path(configuration);
        add_word(&prefix, "-c", path);
    }
    if (socket != NULL) {
        char *path SCOPED(scoped_free) = restoring_absolute_path(socket);
        add_word(&prefix, "--socket", path);
    }
    if (invocation_has(invocation, OPTION_ID_direct))
        add_word(&prefix, "--direct", NULL);
    if (!add_gateway(invocation, &prefix, err))
        return false;
    *ret_prefix = TAKE(prefix);
    return true;
}

/* ---- what is shown meanwhile ---- */

static void show_progress(void *context, const struct progress *progress)
{
    struct restoring *running = context;

    pthread_mutex_lock(&running->mutex);
    progress_bar_show(&running->bar, progress);
    reporting_show(&running->reporting, progress);
    if (running->reporting.cancelled_by[0] != '\0')
        is_interrupted = 1;
    pthread_mutex_unlock(&running->mutex);
}

static void show_warning(void *context, const char *message)
{
    struct restoring *running = context;

    pthread_mutex_lock(&running->mutex);
    progress_bar_clear(&running->bar);
    output_warning(running->invocation, "%s", message);
    pthread_mutex_unlock(&running->mutex);
}

struct restoring restoring_new(const struct invocation *invocation)
{
    return (struct restoring){
        .invocation = invocation, .mutex = PTHREAD_MUTEX_INITIALIZER, .bar = progress_bar_new(invocation)};
}

/* ---- the way to the repository ---- */

bool restoring_read_configuration(const struct invocation *invocation, struct config **ret_config,
                                  const struct server_config **ret_server, struct error *ret_failure)
{
    *ret_server = NULL;
    return session_source_config(invocation, ret_config, ret_failure) &&
           config_find_server(*ret_config, invocation_argument(invocation, 0), ret_server, ret_failure);
}

bool restoring_open(const struct invocation *invocation, const struct passwd *owner, const struct config *config,
                    const struct server_config *server, struct session_source **ret_source, struct error *err)
{
    struct session_source *source SCOPED(scoped_session_source) = NULL;
    bool is_root = geteuid() == 0;

    if (!session_source_new(invocation, is_root, &source, err) || !owner_become(owner, err))
        return false;
    if (is_root)
        owner_advise(invocation, config, server, owner);
    *ret_source = TAKE(source);
    return true;
}

bool restoring_prepare(struct restoring *restoring, struct session_source *source, struct restore_options *options,
                       struct connector *ret_connector, struct error *err)
{
    *ret_connector = session_source_connector(source);
    if (!take_patience(restoring->invocation, ret_connector, err))
        return false;
    options->progress = show_progress;
    options->warn = show_warning;
    options->is_interrupted = ask_interrupted;
    options->context = restoring;
    session_source_stop_when(source, ask_interrupted);
    catch_signals();
    reporting_begin(&restoring->reporting, restoring->invocation, source);
    return true;
}

bool restoring_end(struct restoring *restoring, bool is_good, const json_t *result, struct error *err)
{
    const struct reporting *reporting = &restoring->reporting;

    progress_bar_clear(&restoring->bar);
    if (!is_good && reporting->cancelled_by[0] != '\0' && err->errnum == ECANCELED)
        error_wrap(err, "job %s was cancelled by %s", reporting->job, reporting->cancelled_by);
    reporting_end(&restoring->reporting, is_good, result, err);
    return is_good;
}
