#ifndef PGCOFFER_SRC_JOBS_CHECK_CHECK_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_CHECK_INTERNAL_H

#include <openssl/x509.h>

#include "pgcoffer/jobs/check.h"
#include "pgcoffer/pg/connection.h"
#include "pgcoffer/pg/startup.h"
#include "pgcoffer/tls/probe.h"

/*
 * One walk over one server. The files of this folder follow the levels of checks.def: files.c (with expiry.c, which
 * judges dates for all), network.c, handshake.c, client_certificate.c (what the server makes of ours), startup.c,
 * negative.c, login.c, show.c, sql.c, store.c, daemon.c; hosts.c goes from host to host, run.c
 * walks through the levels and results.c keeps what they found. What is not of a server has walks of its own: client.c
 * (the way to a gateway) and gateway.c (the daemon's own).
 *
 * A level asks check_may() before it looks, sets at most one result for each of its checks, and leaves unset what it
 * could not get to: at the end results.c skips that with the fault it was waiting for, found through `needs`.
 */
struct check_run {
    const struct check_request *request;
    const struct server_config *server; /* request->server */
    struct check_result results[CHECK_COUNT];
    bool is_set[CHECK_COUNT];
    bool is_needed[CHECK_COUNT]; /* wanted, or what a wanted one needs */
    bool is_blocked[CHECK_COUNT];
    enum check_id
        blocked_by[CHECK_COUNT]; /* the fault that keeps one from being looked at, where `needs` tells it not */
    int64_t patience;            /* microseconds for each probe: connect_timeout */
    /* What probes go by: as `server`, without the CA and CRL that could not be read, so that the rest is still told. */
    struct server_config prober;

    /* ---- what the levels found out, for those behind them; NULL or zero until then ---- */
    STACK_OF(X509) * own;       /* tls_cert_file */
    STACK_OF(X509) * trusted;   /* tls_ca_file */
    struct addrinfo *addresses; /* of the host; those that took no connection are left out of `reached` */
    bool is_reached[8];
    struct tls_probe bare;  /* the handshake without a client certificate, newest version; has_bare */
    struct tls_probe shown; /* with ours; has_shown */
    bool has_bare, has_shown;
    struct startup_answer answer; /* of the startup packet with our certificate; has_answer */
    bool has_answer;
    struct check_patience *watch;     /* ends the waiting for commands; NULL before the login */
    struct pg_connection *connection; /* replication */
    struct pg_identity identity;
    struct pg_connection *database; /* SQL; NULL where the role may not */
};

/* ---- results.c ---- */
void check_run_done(struct check_run *run);
/* False when what the check needs has failed or could not be looked at; nothing is set then. */
bool check_may(const struct check_run *run, enum check_id id);
bool check_is_set(const struct check_run *run, enum check_id id);
bool check_has_failed(const struct check_run *run, enum check_id id);
/* False when nobody asked for it (--only): a probe that serves no needed check is saved. */
bool check_is_needed(const struct check_run *run, enum check_id id);
/* Of one that a level judges by half: the check with which it is judged to the end; NOTHING for all others. */
enum check_id check_completed_by(enum check_id id);
/* Asked between probes; a level then returns at once, and check_server() tells it. */
bool check_is_interrupted(const struct check_run *run);
/* The first call for an id counts; a later FAIL or WARN replaces a PASS, a later FAIL a WARN. */
void check_pass(struct check_run *run, enum check_id id, const char *seen, ...) PRINTF_LIKE(3, 4);
void check_skip(struct check_run *run, enum check_id id, const char *reason, ...) PRINTF_LIKE(3, 4);
/* With cause and fix of `finding`; its `check` is the id. */
void check_warn(struct check_run *run, const struct finding *finding);
void check_fail(struct check_run *run, const struct finding *finding);
/* From the error of a failed step: err->check names the check (`otherwise` when it names none); message or detail are
 * the cause, the hint the fix. */
void check_fail_error(struct check_run *run, enum check_id otherwise, const struct error *err);
/* The number behind a result that is set. */
void check_set_measure(struct check_run *run, enum check_id id, const char *unit, int64_t value, int64_t warn,
                       int64_t critical);
/* `id` is left unset because of `fault`; the first call counts. */
void check_block(struct check_run *run, enum check_id id, enum check_id fault);
/* Everything of these levels that is still unset becomes SKIP with the fault it waited for. */
void check_run_settle(struct check_run *run, enum check_level first, enum check_level last);
/* Every wanted result of these levels, which are settled, in the order of the table. */
bool check_run_tell(const struct check_run *run, enum check_level first, enum check_level last, check_sink *sink,
                    void *context, struct error *err) NODISCARD;

/* ---- run.c ---- */
/* All levels over one host, by `request` alone; then every wanted result is set. False when it was interrupted. */
bool check_run_walk(struct check_run *run, struct error *err) NODISCARD;

/* ---- expiry.c ---- */
/* Passes, warns or fails `id` by the certificate (of a chain: by the one that ends first), naming it as `what`, for
 * instance "the client certificate in \"/etc/...\"", with `fix` for one that ends. */
void check_expiry(struct check_run *run, enum check_id id, STACK_OF(X509) * certificates, const char *what,
                  const char *fix);

/* ---- network.c ---- */
/* A handshake as `request` says; the deadline is filled in here and, unless the request names them, the prober and the
 * first address that took a connection. */
void check_probe(const struct check_run *run, struct tls_probe_request request, struct tls_probe *ret_probe);

/* ---- the levels, in order; each returns nothing: what it found is in the run ---- */
void check_level_files(struct check_run *run);
void check_level_network(struct check_run *run);
void check_level_handshake(struct check_run *run);
void check_level_client_certificate(struct check_run *run);
void check_level_startup(struct check_run *run);
void check_level_negative(struct check_run *run);
void check_level_login(struct check_run *run);
void check_level_show(struct check_run *run);
void check_level_sql(struct check_run *run);
void check_level_store(struct check_run *run);

/* ---- facts for texts ---- */
const char *check_host(const struct check_run *run); /* host, else hostaddr */
/* Names what to change: `in section [primary]`, or with no configuration `--tls-cert-file`. For instance
 * check_setting(run, "tls_cert_file", text): "tls_cert_file in section [primary]" or "--tls-cert-file". */
#define CHECK_SETTING_SIZE 128
const char *check_setting(const struct check_run *run, const char *name, char ret_text[CHECK_SETTING_SIZE]);

#endif
