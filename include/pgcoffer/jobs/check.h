#ifndef PGCOFFER_JOBS_CHECK_H
#define PGCOFFER_JOBS_CHECK_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/config/config.h"
#include "pgcoffer/control/stream.h"
#include "pgcoffer/repo/layout.h"
#include "pgcoffer/tls/finding.h"

/*
 * `check`: walks from the files on disk to a restorable backup and tells of each check in tls/checks.def one result.
 * One fault gives one failing check; what depends on it is skipped with that reason. Runs in a worker of the daemon or
 * in the CLI, as whoever called it.
 */
enum check_state { CHECK_PASS, CHECK_WARN, CHECK_FAIL, CHECK_SKIP };

/* A number behind a result, for programs (`--json`, `--nagios`): days left, bytes, seconds of age. */
struct check_measure {
    const char *unit;       /* "days" "bytes" "seconds"; NULL: there is none */
    int64_t value;          /* of several certificates: of the one that ends first */
    int64_t warn, critical; /* where the state changes; -1: nowhere */
};

struct check_result {
    enum check_id id;
    enum check_state state;
    char host[256]; /* of several hosts, one that is not the primary: of what is told of that one; else "" */
    long port;
    char seen[1024];  /* what was measured; with CHECK_SKIP the reason */
    char cause[1280]; /* "" with PASS and SKIP */
    char fix[1024];
    struct check_measure measure;
};
const char *check_state_word(enum check_state state); /* "pass" "warn" "fail" "skip" */
/* {"server","id","group","level","state","seen","cause","fix"}, of another host also "host" and "port", with a measure
 * also "measure":{"unit","value","warn","critical"}; `server` "" leaves it out. New reference. */
json_t *check_result_to_json(const char *server, const struct check_result *result);

struct check_options {
    bool is_passive; /* no negative probes */
    long warn_days, critical_days;
    bool is_wanted[CHECK_COUNT]; /* --only; what a wanted check needs is looked at, but not told */
};
/* Everything, with the days of the settings. */
struct check_options check_options_default(const struct settings *settings);
/* "expiry,chain" or "expiry.server": keeps only these; may be called again to add. USAGE with the closest name. */
bool check_options_only(struct check_options *options, const char *names, bool is_first, struct error *err) NODISCARD;

/* What is known from outside of the server itself. */
struct check_request {
    const struct server_config *server;
    const struct config *config; /* NULL: ad hoc, from options alone; then nothing of repository, daemon, backup */
    const struct repo *repo;     /* NULL: not to be read by this process; `repo_words` says why */
    const char *repo_words;
    struct check_options options;
    int interrupt_fd; /* -1: none */
};
typedef bool check_sink(void *context, const struct check_result *result, struct error *err);
/*
 * Calls `sink` for each wanted check but those of level DAEMON, in the order of the table. Of several hosts they are
 * about the one that is used; behind them comes what was found at each of the others, from the network to the login, so
 * that the next failover finds no surprise. False only when `sink` fails or it was interrupted: a set-up that is wrong
 * is no failure of this function.
 */
bool check_server(const struct check_request *request, check_sink *sink, void *context, struct error *err) NODISCARD;

/* A request for `check`: its options over the days of the settings. USAGE. */
bool check_options_read(const struct request *request, const struct settings *settings,
                        struct check_options *ret_options, struct error *err) NODISCARD;

/* What the other checks of that server said before. */
struct check_states {
    bool is_told[CHECK_COUNT];
    enum check_state state[CHECK_COUNT];
};

/* The daemon from outside. */
struct check_daemon_view {
    const char *server;      /* its section; "": ad hoc, all checks of the level are skipped */
    const char *not_asked;   /* why the daemon was not asked at all: all are skipped; NULL: it was */
    const char *socket_path; /* where it was asked */
    const json_t *status;    /* its answer to `status`; NULL: there is none, and `why` tells the reason */
    const char *why;
};
/* The checks of level DAEMON but those that were told already. Pure. */
bool check_daemon(const struct check_daemon_view *view, const struct check_states *before,
                  const struct check_options *options, check_sink *sink, void *context, struct error *err) NODISCARD;

/* The way to a gateway, from the host of its client. */
struct check_client_request {
    const struct server_config *gateway; /* is_gateway */
    const char *server;                  /* whose backups are wanted; "": of any */
    enum right needed;                   /* over it: RESTORER, or MONITOR for who only looks */
    struct check_options options;
    /* The daemon's answer to `ping` over a connection to the gateway; a new reference, NULL with *err. */
    json_t *(*ask)(void *context, struct error *err);
    void *context;
};
/*
 * Calls `sink` for each wanted check of level CLIENT, and for one that ends the way also when it is not wanted.
 * *ret_right is what the daemon allows us over the server, or over that of which it allows most; ANYBODY when it was
 * not reached. False only when `sink` fails.
 */
bool check_client(const struct check_client_request *request, check_sink *sink, void *context, enum right *ret_right,
                  struct error *err) NODISCARD;

/*
 * The daemon's own gateway, for whoever may read its files: calls `sink` for each wanted check of level GATEWAY but
 * gateway.running, and for none when `config` has no management. `is_running`: a daemon answers, so its port must too.
 * False only when `sink` fails.
 */
bool check_gateway(const struct config *config, const struct check_options *options, bool is_running, check_sink *sink,
                   void *context, struct error *err) NODISCARD;

/* gateway.running from the daemon's answer to `status`; nothing is told of a daemon without a gateway. Pure. */
bool check_gateway_state(const json_t *status, const struct check_states *before, const struct check_options *options,
                         check_sink *sink, void *context, struct error *err) NODISCARD;

/*
 * daemon.configuration, as a worker of the daemon tells it: `running` are the settings it works with, `present` what
 * stands in the file now, NULL with `failure` when that cannot be read.
 */
void check_configuration(const struct config *running, const struct config *present, const struct error *failure,
                         const char *server, struct check_result *ret_result);

#endif
