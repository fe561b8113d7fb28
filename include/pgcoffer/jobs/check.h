#ifndef PGCOFFER_JOBS_CHECK_H
#define PGCOFFER_JOBS_CHECK_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/config/config.h"
#include "pgcoffer/repo/layout.h"
#include "pgcoffer/tls/finding.h"

/*
 * `check`: walks from the files on disk to a restorable backup and tells of each check in tls/checks.def one result.
 * One fault gives one failing check; what depends on it is skipped with that reason. Runs in a worker of the daemon or
 * in the CLI, as whoever called it.
 */
enum check_state { CHECK_PASS, CHECK_WARN, CHECK_FAIL, CHECK_SKIP };

struct check_result {
    enum check_id id;
    enum check_state state;
    char seen[1024];  /* what was measured; with CHECK_SKIP the reason */
    char cause[1280]; /* "" with PASS and SKIP */
    char fix[1024];
};
const char *check_state_word(enum check_state state); /* "pass" "warn" "fail" "skip" */
/* {"server","id","group","level","state","seen","cause","fix"}; `server` "" leaves it out. New reference. */
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
/* Calls `sink` for each wanted check but those of level DAEMON, in the order of the table. False only when `sink` fails
 * or it was interrupted: a set-up that is wrong is no failure of this function. */
bool check_server(const struct check_request *request, check_sink *sink, void *context, struct error *err) NODISCARD;

/*
 * The checks of level DAEMON, from the daemon's answer to `status` (NULL: there is none, and `why` tells the reason).
 * Pure. `config` NULL: ad hoc, all are skipped.
 */
bool check_daemon(const struct config *config, const struct server_config *server, const json_t *status,
                  const char *why, const struct check_options *options, check_sink *sink, void *context,
                  struct error *err) NODISCARD;

#endif
