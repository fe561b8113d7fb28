#ifndef PGCOFFER_SRC_CLI_CHECK_INTERNAL_H
#define PGCOFFER_SRC_CLI_CHECK_INTERNAL_H

#include "cli/cli_internal.h"
#include "pgcoffer/jobs/check.h"

/* ---- check_target.c: a server that was described by options ---- */

/* Was any of --host, --tls-cert-file ... given? */
bool check_target_is_given(const struct invocation *invocation);
/*
 * The settings of `server` with those of the options in their place: `server` comes from the configuration, or has the
 * defaults and no name. Paths may be relative. USAGE, with the option's name, for what a configuration would refuse.
 */
bool check_target_read(const struct invocation *invocation, struct server_config *server, struct error *err) NODISCARD;

/* Does any of them say of a server what no gateway has: --host, --user ...? */
bool check_target_is_server(const struct invocation *invocation, enum option_id *ret_option);

/* ---- check_report.c: what was found, server by server ---- */
struct check_page {
    char server[64]; /* "" without a configuration, and of a gateway */
    char *title;     /* for people: the name, or host and port */
    json_t *checks;  /* the objects of --json, in the order they came */
    size_t counts[CHECK_SKIP + 1];
    struct check_states states;
};

struct check_report {
    struct check_page *pages;
    size_t count;
};

void check_report_done(struct check_report *report);
/* Begins the next server. Valid until the next one begins. */
struct check_page *check_report_begin(struct check_report *report, const char *server, const char *title);
/* The page of that server, begun when there is none yet. */
struct check_page *check_report_page(struct check_report *report, const char *server);
/* A check_sink over a page. */
bool check_page_take(void *page, const struct check_result *result, struct error *err);
/* The page of a gateway, which has no name: begun with the first result, as with --only there may be none. */
#define CHECK_GATEWAY_TITLE "gateway"
struct check_gateway_page {
    struct check_report *report;
    const char *title;
    struct check_page *page; /* NULL until then */
};
/* A check_sink over that. */
bool check_gateway_page_take(void *gateway_page, const struct check_result *result, struct error *err);
/* One result, as it came over the wire; what is no result is left out. */
void check_page_add(struct check_page *page, const json_t *check);
/* "db2 port 5432: " before what is told of another host than the one in use, else "". */
char *check_host_prefix(const json_t *check) NEVER_NULL;
size_t check_report_count(const struct check_report *report, enum check_state state);
bool check_state_find(const char *word, enum check_state *ret_state);
/* {"checks":[...],"summary":{...}} */
json_t *check_report_to_json(const struct check_report *report);
void check_report_print(const struct invocation *invocation, const struct check_report *report);
/* --list: {"checks":[{"id","group","level","negative","sentence"}]} or a line each. */
void check_report_list(const struct invocation *invocation, const struct check_options *options);

/* ---- check_remote.c: the way to a gateway ---- */
struct check_remote {
    struct server_config *gateway; /* NULL: nothing is asked over a gateway */
    struct session_source *source;
    struct control_stream *stream; /* once a daemon has answered */
};
void check_remote_done(struct check_remote *remote);
/* --connect, or [client], unless the options describe a server. USAGE, CONFIG. */
bool check_remote_find(const struct invocation *invocation, struct check_remote *ret_remote,
                       struct error *err) NODISCARD;
/* Tells of the way as the report's next page. *ret_is_open: behind it is a daemon that answers, and lets us ask. */
bool check_remote_walk(struct check_remote *remote, const struct invocation *invocation, const struct request *request,
                       struct check_report *report, bool *ret_is_open, struct error *err) NODISCARD;

/* ---- check_nagios.c: one line for a monitoring system ---- */
#define CHECK_NAGIOS_UNKNOWN 3
/* "PGCOFFER OK - primary: 41 checks passed | days_client=85;21;3 ..." and its exit status. malloc'd. */
char *check_nagios_line(const struct check_report *report, int *ret_status) NEVER_NULL;
/* What could not be tested at all: "PGCOFFER UNKNOWN - could not connect ..." */
char *check_nagios_failure(const struct error *err) NEVER_NULL;

#endif
