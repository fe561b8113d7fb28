#ifndef PGCOFFER_TLS_FINDING_H
#define PGCOFFER_TLS_FINDING_H

#include "pgcoffer/base/attributes.h"
#include "pgcoffer/base/error.h"
#include "pgcoffer/config/config.h"

/*
 * What can be wrong with a set-up, named by the checks of checks.def, and what was found. `check` prints findings; a
 * failed backup or receiver puts the same words into its error, so both always agree.
 */
enum check_id {
#define CHECK(group, name, level, probe, needs, sentence) CHECK_ID_##group##_##name,
#include "pgcoffer/tls/checks.def"
#undef CHECK
    CHECK_COUNT,
    CHECK_ID_NOTHING = CHECK_COUNT
};

enum check_level {
    CHECK_LEVEL_FILES,
    CHECK_LEVEL_NETWORK,
    CHECK_LEVEL_HANDSHAKE,
    CHECK_LEVEL_STARTUP,
    CHECK_LEVEL_LOGIN,
    CHECK_LEVEL_SHOW,
    CHECK_LEVEL_SQL,
    CHECK_LEVEL_STORE,
    CHECK_LEVEL_DAEMON,
    /* Not of a server: */
    CHECK_LEVEL_CLIENT,
    CHECK_LEVEL_GATEWAY
};

struct check_row {
    enum check_id id;
    const char *name;  /* "expiry.server" */
    const char *group; /* "expiry" */
    enum check_level level;
    const char *level_word; /* "handshake" */
    bool is_negative;       /* leaves a line in the server's log; not with --passive */
    enum check_id needs;
    const char *sentence;
};
extern const struct check_row check_rows[CHECK_COUNT]; /* indexed by enum check_id */

/* Is it found out by check_server(): of a server, and not of level DAEMON? */
bool check_is_of_walk(enum check_id id);
/* By "expiry.server"; false when there is none. */
bool check_find(const char *name, enum check_id *ret_id);

/* A fault: which check tells it, why it is so, and the line or the command that mends it with the user's own values. */
struct finding {
    enum check_id check;
    char seen[1024];  /* what was measured: certificate, alert, the server's words */
    char cause[1280]; /* one sentence or two, without "could not connect ..." */
    char fix[1024];   /* sentences too */
};

void finding_seen(struct finding *finding, const char *format, ...) PRINTF_LIKE(2, 3);
void finding_cause(struct finding *finding, enum check_id check, const char *format, ...) PRINTF_LIKE(3, 4);
void finding_fix(struct finding *finding, const char *format, ...) PRINTF_LIKE(2, 3);

/*
 * The finding as the error of a failed connection: message `could not connect to server "primary" (db1 port 5432): the
 * cause (libpq: its words)`, detail what was seen if it is more than these words, hint the fix, and its check.
 * `libpq_words` may be "". Always returns false. finding_from_error() takes such an error apart again by the
 * marked cause, or one without a mark, whose whole message is the cause; false when it names no check.
 */
bool finding_to_error(const struct finding *finding, const struct server_config *server, enum error_kind kind,
                      const char *libpq_words, struct error *err);
/* The same with the cause alone as the message. */
bool finding_to_plain_error(const struct finding *finding, enum error_kind kind, struct error *err);
bool finding_from_error(const struct error *err, struct finding *ret_finding);

/*
 * Where the operator changes a setting: "tls_cert_file in section [primary]", or "--tls-cert-file" when the server has
 * no section because everything came from the command line.
 */
#define TLS_SETTING_NAME_SIZE 128
const char *tls_setting_name(const struct server_config *server, const char *setting,
                             char ret_text[TLS_SETTING_NAME_SIZE]);
/* The host as the operator knows it: host, else hostaddr. */
const char *tls_host_name(const struct server_config *server);

#endif
