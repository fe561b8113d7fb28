#ifndef PGCOFFER_CLI_INTERNAL_H
#define PGCOFFER_CLI_INTERNAL_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/cli/cli.h"
#include "pgcoffer/config/config.h"
#include "pgcoffer/config/ini.h"
#include "pgcoffer/control/stream.h"
#include "pgcoffer/jobs/jobs.h"

/* ---- arguments.c: what was typed ---- */
struct occurrence {
    enum option_id option;
    const char *text; /* NULL for a flag */
};

struct invocation {
    char **argv;             /* all of it, ending with NULL; getopt may have changed the order */
    enum command_id command; /* COMMAND_COUNT: none was found */
    const char **arguments;  /* behind the command's words */
    int argument_count;
    struct occurrence *occurrences; /* in the order they were typed */
    size_t occurrence_count;
    bool wants_help;
    bool wants_version;
    /* What a command has found out before it fails: printed beside the error with --json. */
    json_t *findings;
    int exit_status;       /* of a command that did not fail */
    bool error_is_printed; /* the error's object stands on stdout already */
};

/* On failure the command is set as far as it could be told, so that the exit status is the right one. */
bool arguments_parse(int argc, char **argv, struct invocation *ret_invocation, struct error *err) NODISCARD;
void invocation_done(struct invocation *invocation);
bool invocation_has(const struct invocation *invocation, enum option_id option);
/* As if the flag had been typed as well. */
void invocation_add_flag(struct invocation *invocation, enum option_id option);
/* The last one given; NULL without one. */
const char *invocation_text(const struct invocation *invocation, enum option_id option);
/* The argument of that number, "" when it was left out. */
const char *invocation_argument(const struct invocation *invocation, int number);
/* server, backup, job and WIRE options as the wire has them. USAGE for text that is not UTF-8. */
bool invocation_request(const struct invocation *invocation, struct request *ret_request, struct error *err) NODISCARD;

/* ---- commands: one function a row of commands.def; a missing one does not link ---- */
#define COMMAND_OF_LOCAL(id)   command_function command_##id;
#define COMMAND_OF_AT_ONCE(id) command_function command_##id;
#define COMMAND_OF_JOB(id)     command_function command_##id;
#define COMMAND_OF_ERRAND(id)  /* cli.h */
#define COMMAND_OF_SESSION(id) command_function command_##id;
#define COMMAND_OF_WIRE(id)
#define COMMAND(id, words, least, most, how, right, arguments, help) COMMAND_OF_##how(id)
#include "pgcoffer/control/commands.def"
#undef COMMAND
/* PostgreSQL takes 1 to 125 for "not in the archive" and then promotes: all else that ends a wal-get lies above. */
#define WAL_GET_STATUS_BASE 200

/* ---- output.c: results to stdout, messages to stderr; nothing a peer sent moves the cursor ---- */
bool output_is_json(const struct invocation *invocation);
bool output_is_quiet(const struct invocation *invocation);
bool output_has_color(const struct invocation *invocation, FILE *stream);
/* A line of the result; nothing with --quiet or --json. */
void output_line(const struct invocation *invocation, const char *format, ...) PRINTF_LIKE(2, 3);
/* "primary: every moment from ... to ... can be restored ...", a line for each stretch. */
void output_moments(const struct invocation *invocation, const char *server, const json_t *moments);
/* To stderr; nothing with --quiet. */
void output_warning(const struct invocation *invocation, const char *format, ...) PRINTF_LIKE(2, 3);
/* To stderr, with --verbose only. */
void output_detail(const struct invocation *invocation, const char *format, ...) PRINTF_LIKE(2, 3);
/* {"schema":1, ...} with the members of `data` in one line. */
void output_json(const json_t *data);
void output_error(const struct invocation *invocation, const struct error *err);
char *output_printable(const char *text) NEVER_NULL; /* a copy */

/* ---- table.c: libsmartcols ---- */
struct table;
/* A title that begins with '>' stands above numbers, aligned to the right. */
struct table *table_new(const struct invocation *invocation, const char *const *titles, size_t count) NEVER_NULL;
void table_add_row(struct table *table);
/* Cells of the row added last. The text is made printable. */
void table_set(struct table *table, size_t column, const char *format, ...) PRINTF_LIKE(3, 4);
/* From a member of `object`; "-" when there is none. */
void table_set_text(struct table *table, size_t column, const json_t *object, const char *key);
void table_set_bytes(struct table *table, size_t column, const json_t *object, const char *key);
void table_mark_bad(struct table *table);      /* the row, red where there is color */
void table_mark_doubtful(struct table *table); /* yellow */
void table_print(struct table *table);         /* nothing with --quiet */
void table_free(struct table *table);
static inline void scoped_table(struct table **table)
{
    table_free(*table);
}
/* "server  primary" line by line: every plain member of `data`; bytes and times as people read them. */
void table_print_members(const struct invocation *invocation, const json_t *data);

/* ---- progress_bar.c ---- */
/* One line for `progress`, at most `width` columns. Pure. */
void progress_bar_line(const struct progress *progress, size_t width, char *ret_line, size_t size);
/* The same without a bar, for a log. */
void progress_plain_line(const struct progress *progress, char *ret_line, size_t size);
struct progress_bar {
    bool is_shown;    /* neither --quiet nor --no-progress */
    bool is_terminal; /* of stderr */
    bool is_drawn;
    int64_t last_line_at;
};
struct progress_bar progress_bar_new(const struct invocation *invocation);
void progress_bar_show(struct progress_bar *bar, const struct progress *progress);
void progress_bar_clear(struct progress_bar *bar);

/* ---- configuration_look.c ---- */
/*
 * Every pair of the file and of conf.d/ beside it, in order, for who looks for one or two: nothing is judged, so a
 * daemon that runs with its old settings, because the new ones are wrong, can still be found. What stands behind a
 * fault is not seen. False when the file itself cannot be read.
 */
bool configuration_look(const char *path, ini_pair_function *take_pair, void *context, struct error *err) NODISCARD;

/* ---- socket_path.c ---- */
/* --socket, else of the configuration if that can be read, else the default; malloc'd. */
bool socket_path_find(const struct invocation *invocation, char **ret_path, struct error *err) NODISCARD;

/* ---- gateway.c: where --connect or the section [client] leads ---- */
/* *ret_gateway NULL: to the daemon (or the repository) of this machine; malloc'd. */
bool gateway_find(const struct invocation *invocation, struct server_config **ret_gateway, struct error *err) NODISCARD;
/* "HOST:PORT" as --connect takes it; malloc'd. */
char *gateway_to_text(const struct server_config *gateway) NEVER_NULL;

/* ---- session_source.c: connections to the daemon, to one behind a gateway, or to session children with --direct ----
 */
struct session_source;
/* `becomes_another`: this process is going to change its user, and the connections must still be this user's. */
bool session_source_new(const struct invocation *invocation, bool becomes_another, struct session_source **ret_source,
                        struct error *err) NODISCARD;
void session_source_free(struct session_source *source);
static inline void scoped_session_source(struct session_source **source)
{
    session_source_free(*source);
}
struct connector session_source_connector(struct session_source *source);
/* Nothing is opened any more once it says so. */
void session_source_stop_when(struct session_source *source, bool (*is_interrupted)(void *context));
bool session_source_open(struct session_source *source, struct control_stream **ret_stream,
                         struct error *err) NODISCARD;
/* The configuration for --direct; CONFIG. */
bool session_source_config(const struct invocation *invocation, struct config **ret_config,
                           struct error *err) NODISCARD;

/* ---- opener.c: a process that opens connections for another, with the rights it began with ---- */
struct opener {
    int fd;
    pid_t pid;
};
typedef bool opener_function(void *context, int *ret_fd, struct error *err);
bool opener_start(opener_function *open, void *context, struct opener *ret_opener, struct error *err) NODISCARD;
/* From one thread at a time. */
bool opener_open(const struct opener *opener, int *ret_fd, struct error *err) NODISCARD;
void opener_end(struct opener *opener);
/* fork() for an opener_function: the new process must not keep the opener's end of the channel open when that dies. */
pid_t opener_fork(void);

/* ---- client.c: one request and what comes back ---- */
struct conversation {
    const struct invocation *invocation;
    /* NULL: items are collected in `items`. */
    void (*item)(void *context, const json_t *data);
    void *context;
    json_t *items;
    char job[32];
    bool is_job;            /* Ctrl-C leaves it running */
    bool ends_at_job;       /* --no-wait */
    bool prints_each_event; /* follow --json */
    bool error_is_printed;  /* by it */
};
void conversation_done(struct conversation *conversation);
/* Sends and waits; *ret_result is NULL when it ended at the job's start. */
bool conversation_run(struct conversation *conversation, struct control_stream *stream, const struct request *request,
                      json_t **ret_result, struct error *err) NODISCARD;
/* Connects, asks, waits, closes: for commands that need nothing else. */
bool client_ask(const struct invocation *invocation, struct conversation *conversation, json_t **ret_result,
                struct error *err) NODISCARD;

/* Puts the items into the result, so that it is printed as one; `items` may be NULL. */
typedef void gather_function(const struct invocation *invocation, const json_t *items, json_t *result);
/* A result for people. */
typedef void print_function(const struct invocation *invocation, const json_t *result);
/* By --json the object, else what `print` makes of it. */
void client_print(const struct invocation *invocation, const json_t *result, print_function *print);
/* Asks, waits, prints: a whole command. `gather` NULL: no items are expected. */
bool client_answer(const struct invocation *invocation, gather_function *gather, print_function *print,
                   struct error *err) NODISCARD;
/* For `status` and `jobs`: servers and jobs too many for a line come as items before the result. */
gather_function client_gather_lists;

/* ---- owner.c: whom root becomes for a restore ---- */
struct passwd;
/* NULL without --owner. USAGE: unknown, or not to be become. */
bool owner_find(const struct invocation *invocation, const struct passwd **ret_owner, struct error *err) NODISCARD;
/* For good: nothing of root's is left but the connections that others open. Nothing to do for anybody but root. */
bool owner_become(const struct passwd *owner, struct error *err) NODISCARD;
/* PostgreSQL will run wal-get as this user, again and again: what will not work is better said now. `config` and
 * `server` may be NULL. */
void owner_advise(const struct invocation *invocation, const struct config *config, const struct server_config *server,
                  const struct passwd *owner);

/* report.c: the results of jobs for people */
void report_job_result(const struct invocation *invocation, const json_t *data);
/* What `expire` did to a server, or would do; an item of it. */
void report_expired_server(const struct invocation *invocation, const json_t *server);
void report_expire_item(const struct invocation *invocation, const json_t *item);
void report_problem(const struct invocation *invocation, const json_t *problem);

#endif
