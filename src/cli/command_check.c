#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/check_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/*
 * check: in a worker of the daemon when one answers, so that also who may not read the key can ask; otherwise here, as
 * the caller. With connection options always here: files named on a command line are opened by nobody else.
 */

/* A daemon answers `status` from memory. */
#define STATUS_MILLISECONDS 10000

struct check_command {
    const struct invocation *invocation;
    struct request request;
    struct check_report report;
    struct check_remote remote;
    char *socket_path;
    json_t *status; /* the daemon's answer; NULL: there is none, and `why` says why */
    struct error why;
    bool is_unknown; /* the daemon answers and has no such server: `why` says so */
};

static void check_command_done(struct check_command *command)
{
    request_done(&command->request);
    check_report_done(&command->report);
    check_remote_done(&command->remote);
    free(command->socket_path);
    json_decref(command->status);
}

/* ---- what is given ---- */

static bool refuse_together(const char *one, const char *other, struct error *err)
{
    return error_set(err, ERROR_USAGE, "%s and %s exclude each other", one, other);
}

static bool check_combination(const struct invocation *invocation, struct error *err)
{
    bool is_list = invocation_has(invocation, OPTION_ID_list);

    if (invocation_has(invocation, OPTION_ID_nagios) && output_is_json(invocation))
        return refuse_together("--nagios", "--json", err);
    if (is_list && invocation->argument_count > 0)
        return refuse_together("--list", "SERVER", err);
    for (size_t i = 0; is_list && i < invocation->occurrence_count; i++) {
        enum option_id option = invocation->occurrences[i].option;
        if (option_rows[option].where == OPTION_GLOBAL || option == OPTION_ID_list || option == OPTION_ID_only)
            continue;
        error_set(err, ERROR_USAGE, "--list and --%s exclude each other", option_rows[option].name);
        return error_hint(err, "--list looks at nothing; leave it out to check.");
    }
    return true;
}

static bool read_request(struct check_command *command, struct error *err)
{
    if (!check_combination(command->invocation, err) ||
        !invocation_request(command->invocation, &command->request, err))
        return false;
    if (invocation_has(command->invocation, OPTION_ID_nagios)) /* every few minutes: not a line in the server's log */
        json_object_set_new(command->request.options, option_rows[OPTION_ID_passive].name, json_true());
    return true;
}

/* Judged before anything is asked; the days that depend on a server's settings are read with them. */
static bool read_options(const struct check_command *command, struct check_options *ret_options, struct error *err)
{
    struct settings settings;

    config_default_settings(&settings);
    return check_options_read(&command->request, &settings, ret_options, err);
}

/* ---- here ---- */

static bool look_from_outside(const struct check_command *command, struct check_page *page, const char *not_asked,
                              const struct check_options *options, struct error *err)
{
    const struct check_daemon_view view = {.server = page->server,
                                           .not_asked = not_asked,
                                           .socket_path = command->socket_path,
                                           .status = command->status,
                                           .why = command->why.message};

    return check_daemon(&view, &page->states, options, check_page_take, page, err);
}

struct repository {
    struct repo repo;
    bool is_open;
    struct error why;
};

static void repository_done(struct repository *repository)
{
    if (repository->is_open)
        repo_done(&repository->repo);
}

static void open_repository(const struct config *config, struct repository *repository)
{
    const char *base_dir = config->settings.base_dir;

    repository->is_open = repo_open(base_dir, config->settings.repository_group, &repository->repo, &repository->why);
    if (!repository->is_open || access(base_dir, R_OK | X_OK) == 0)
        return;
    error_set_errno(&repository->why, "could not read \"%s\"", base_dir);
    repo_done(&repository->repo);
    repository->is_open = false;
}

/* A monitoring system's user without a daemon: that the key is not for its eyes is no fault of the set-up. */
static bool demand_key(const struct check_command *command, const struct settings *settings, struct error *err)
{
    if (!invocation_has(command->invocation, OPTION_ID_nagios) || settings->tls_key_file[0] == '\0' ||
        access(settings->tls_key_file, R_OK) == 0 || errno != EACCES)
        return true;
    error_set(err, ERROR_DAEMON, "nothing could be tested: %s, and this user may not read \"%s\"",
              command->status == NULL ? command->why.message : "the daemon does not know the server",
              settings->tls_key_file);
    return error_hint(err, "Start the daemon: systemctl start pgcofferd.");
}

static bool check_here(struct check_command *command, const struct server_config *server, const struct config *config,
                       const struct repository *repository, const char *not_asked, struct error *err)
{
    const struct settings *settings = &server->settings;
    const char *host = settings->host[0] != '\0' ? settings->host : settings->hostaddr;
    char *title SCOPED(scoped_free) =
        server->name[0] != '\0' ? memory_copy_text(server->name) : memory_text("%s port %ld", host, settings->port);
    struct check_request request = {.server = server,
                                    .config = config,
                                    .repo = repository->is_open ? &repository->repo : NULL,
                                    .repo_words = repository->why.message,
                                    .interrupt_fd = -1};

    if (!check_options_read(&command->request, settings, &request.options, err) || !demand_key(command, settings, err))
        return false;
    struct check_page *page = check_report_begin(&command->report, server->name, title);
    return check_server(&request, check_page_take, page, err) &&
           look_from_outside(command, page, not_asked, &request.options, err);
}

/* Who may not read it, or has none, may have meant another name, or needs none. */
static bool explain_missing_configuration(const struct check_command *command, struct error *err)
{
    if (command->is_unknown && err->errnum != 0) {
        *err = command->why;
        return false;
    }
    if (err->errnum != ENOENT || invocation_has(command->invocation, OPTION_ID_config))
        return false;
    return error_hint(err,
                      "Make one to start from, pgcoffer config sample > " CONFIG_DEFAULT_FILE
                      ", or check a server without one: pgcoffer check --host HOST --user ROLE --tls-cert-file FILE "
                      "--tls-key-file FILE --tls-ca-file FILE");
}

static bool check_gateway_here(struct check_command *command, const struct config *config, struct error *err)
{
    struct check_gateway_page page = {.report = &command->report, .title = CHECK_GATEWAY_TITLE};
    struct check_options options;

    return check_options_read(&command->request, &config->settings, &options, err) &&
           check_gateway(config, &options, command->status != NULL, check_gateway_page_take, &page, err);
}

static bool check_all_here(struct check_command *command, struct error *err)
{
    struct config *config SCOPED(scoped_config) = NULL;
    struct repository repository SCOPED(repository_done) = {.is_open = false};
    const struct server_config *server;
    const char *name = command->request.server;

    if (!config_load(invocation_text(command->invocation, OPTION_ID_config), &config, err))
        return explain_missing_configuration(command, err);
    open_repository(config, &repository);
    if (name[0] != '\0')
        return config_find_server(config, name, &server, err) &&
               check_here(command, server, config, &repository, NULL, err);
    for (size_t i = 0; i < config->server_count; i++)
        if (!check_here(command, &config->servers[i], config, &repository, NULL, err))
            return false;
    if (config->server_count > 0)
        return check_gateway_here(command, config, err);
    error_set(err, ERROR_CONFIG, "%s has no server", config->path);
    return error_hint(err, "Add a section such as [primary], or describe a server by --host, --user and the --tls- "
                           "options.");
}

/* ---- with connection options ---- */

static bool check_described(struct check_command *command, struct error *err)
{
    struct config *config SCOPED(scoped_config) = NULL;
    struct repository repository SCOPED(repository_done) = {.is_open = false};
    struct server_config described = {.name = ""};
    const struct server_config *server;
    const char *name = command->request.server;

    config_default_settings(&described.settings);
    if (name[0] != '\0') {
        if (!config_load(invocation_text(command->invocation, OPTION_ID_config), &config, err) ||
            !config_find_server(config, name, &server, err))
            return false;
        described = *server;
        open_repository(config, &repository);
    }
    return check_target_read(command->invocation, &described, err) &&
           check_here(command, &described, config, &repository,
                      name[0] != '\0' ? "the daemon was not asked: it connects with other settings than these" : NULL,
                      err);
}

/* ---- with the daemon ---- */

struct asking {
    struct check_command *command;
    json_t *items; /* of `status` */
};

static bool take_status_item(void *context, const json_t *message, struct error *err)
{
    struct asking *asking = context;

    (void)err;
    if (strcmp(json_text_or_null(message, "event"), "item") == 0)
        json_array_append(asking->items, json_object_get(message, "data"));
    return true;
}

static bool take_check(void *context, const json_t *message, struct error *err)
{
    struct asking *asking = context;
    const json_t *check = json_object_get(message, "data");
    const char *server = json_text_or_null(check, "server");

    (void)err;
    if (strcmp(json_text_or_null(message, "event"), "item") == 0) /* without a server: of the daemon's own gateway */
        check_page_add(check_report_page(&asking->command->report, server != NULL ? server : ""), check);
    return true;
}

static bool ask_status(struct check_command *command, struct control_stream *stream, const char *server,
                       struct error *err)
{
    struct asking asking = {.command = command};
    struct request request = {.command = COMMAND_ID_status};

    snprintf(request.server, sizeof request.server, "%s", server);
    json_t *message SCOPED(scoped_json) = request_to_json(&request);
    json_t *items SCOPED(scoped_json) = json_array();
    asking.items = items;
    control_stream_set_timeout(stream, STATUS_MILLISECONDS);
    if (!control_send(stream, message, err))
        return false;
    command->status = control_await_result(stream, take_status_item, &asking, err);
    if (command->status == NULL)
        return false;
    client_gather_lists(command->invocation, items, command->status);
    return true;
}

/* *ret_stream NULL: no daemon answers, and that is a result, too. */
static bool find_daemon(struct check_command *command, struct control_stream **ret_stream, struct error *err)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    const char *server = command->request.server;

    bool is_answered = control_connect(command->socket_path, &stream, err) && ask_status(command, stream, server, err);
    if (!is_answered && err->kind == ERROR_USAGE && server[0] != '\0') {
        /* It does not know the server. After a wrong usage it closes the connection. */
        command->is_unknown = true;
        command->why = *err;
        control_stream_free(TAKE(stream));
        is_answered = control_connect(command->socket_path, &stream, err) && ask_status(command, stream, "", err);
    }
    if (is_answered) {
        *ret_stream = TAKE(stream);
        return true;
    }
    command->why = *err;
    return err->kind == ERROR_DAEMON;
}

/* Of the daemon's own gateway, and so of no server. */
static bool look_at_gateway(struct check_command *command, const struct check_options *options, struct error *err)
{
    bool has_gateway = json_is_object(json_object_get(command->status, "gateway"));

    if (command->request.server[0] != '\0' || !has_gateway || !options->is_wanted[CHECK_ID_gateway_running])
        return true;
    struct check_page *page = check_report_page(&command->report, "");
    return check_gateway_state(command->status, &page->states, options, check_page_take, page, err);
}

static bool check_through_daemon(struct check_command *command, struct control_stream *stream, struct error *err)
{
    struct asking asking = {.command = command};
    json_t *message SCOPED(scoped_json) = request_to_json(&command->request);
    struct check_options options;
    const json_t *name;
    size_t i;

    control_stream_set_timeout(stream, -1); /* as long as its attempts to connect take */
    if (!read_options(command, &options, err) || !control_send(stream, message, err))
        return false;
    json_t *result SCOPED(scoped_json) = control_await_result(stream, take_check, &asking, err);
    if (result == NULL)
        return false;
    json_array_foreach(json_object_get(result, "servers"), i, name)
    {
        if (!json_is_string(name))
            continue;
        if (!look_from_outside(command, check_report_page(&command->report, json_string_value(name)), NULL, &options,
                               err))
            return false;
    }
    if (!look_at_gateway(command, &options, err))
        return false;
    if (command->report.count > 0)
        return true;
    error_set(err, ERROR_CONFIG, "the daemon has no server");
    return error_hint(err, "Add a section such as [primary] to %s and give \"pgcoffer reload\".",
                      json_text_or_null(command->status, "config") != NULL
                          ? json_text_or_null(command->status, "config")
                          : "its configuration");
}

/* The daemon's own checks stand behind those of the way to it. */
static bool check_through_gateway(struct check_command *command, struct error *err)
{
    struct check_remote *remote = &command->remote;
    bool is_open = false;

    command->socket_path = gateway_to_text(remote->gateway);
    return check_remote_walk(remote, command->invocation, &command->request, &command->report, &is_open, err) &&
           (!is_open || (ask_status(command, remote->stream, command->request.server, err) &&
                         check_through_daemon(command, remote->stream, err)));
}

static bool check_configured(struct check_command *command, struct error *err)
{
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;

    if (!socket_path_find(command->invocation, &command->socket_path, err) || !find_daemon(command, &stream, err))
        return false;
    return stream != NULL && !command->is_unknown ? check_through_daemon(command, stream, err)
                                                  : check_all_here(command, err);
}

/* ---- the command ---- */

static void print_report(struct invocation *invocation, const struct check_report *report)
{
    invocation->exit_status = check_report_count(report, CHECK_FAIL) > 0 ? ERROR_FAILED : 0;
    if (invocation_has(invocation, OPTION_ID_nagios)) {
        char *line SCOPED(scoped_free) = check_nagios_line(report, &invocation->exit_status);
        printf("%s\n", line);
    } else if (output_is_json(invocation)) {
        json_t *data SCOPED(scoped_json) = check_report_to_json(report);
        output_json(data);
    } else {
        check_report_print(invocation, report);
    }
}

bool command_check(struct invocation *invocation, struct error *err)
{
    struct check_command command SCOPED(check_command_done) = {.invocation = invocation};
    struct check_options options;

    if (!read_request(&command, err) || !read_options(&command, &options, err))
        return false;
    if (invocation_has(invocation, OPTION_ID_list)) {
        check_report_list(invocation, &options);
        return true;
    }
    if (!check_remote_find(invocation, &command.remote, err))
        return false;
    bool is_told = command.remote.gateway != NULL      ? check_through_gateway(&command, err)
                   : check_target_is_given(invocation) ? check_described(&command, err)
                                                       : check_configured(&command, err);
    if (!is_told)
        return false;
    print_report(invocation, &command.report);
    return true;
}
