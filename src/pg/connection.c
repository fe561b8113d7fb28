#include "pg/connection_internal.h"

#include <assert.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>

#include "pg/conninfo_internal.h"
#include "pg/password_internal.h"
#include "pg/refusal_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/diagnosis.h"
#include "pgcoffer/tls/files.h"

#define OLDEST_SERVER 130000
#define SECOND        INT64_C(1000000)
/* Who is connected may take longer than who connects, but does not stay silent for ever. */
#define ANSWER_FACTOR 6

bool pg_wait(const struct pg_connection *connection, short events, int64_t deadline, const char *what,
             struct error *err)
{
    for (;;) {
        struct pollfd watched[] = {
            {.fd = PQsocket(connection->handle), .events = events},
            {.fd = connection->interrupt_fd, .events = POLLIN},
        };
        int milliseconds = -1;
        if (deadline != 0) {
            int64_t left = deadline - clock_monotonic();
            milliseconds = left <= 0 ? 0 : (int)(left / 1000 + 1);
        }
        int count = poll(watched, 2, milliseconds);
        if (count < 0 && errno != EINTR)
            return error_set_kind_errno(err, ERROR_FAILED, "%s: could not wait for the server", what);
        if (count > 0 && watched[1].revents != 0) {
            error_set(err, ERROR_FAILED, "%s: interrupted", what);
            err->errnum = ECANCELED;
            return false;
        }
        /* Also when there is something to read: a server that always says more would never let us go. */
        if (count >= 0 && deadline != 0 && clock_monotonic() >= deadline) {
            error_set(err, ERROR_SERVER, "%s: timed out", what);
            err->errnum = ETIMEDOUT;
            return false;
        }
        if (count > 0)
            return true;
    }
}

static void receive_notice(void *context, const PGresult *result)
{
    struct pg_connection *connection = context;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (connection->notice_function == NULL)
        return;
    char *message SCOPED(scoped_free) = memory_text("%s", primary != NULL ? primary : PQresultErrorMessage(result));
    text_make_printable(message);
    connection->notice_function(connection->notice_context, severity == NULL ? "NOTICE" : severity,
                                sqlstate == NULL ? "" : sqlstate, message);
}

/* A daemon has no terminal: a key with a passphrase is refused instead of asked for. */
static int refuse_passphrase(char *buffer, int size, PGconn *handle)
{
    (void)handle;
    if (size > 0)
        buffer[0] = '\0';
    return 0;
}

struct pg_connection *pg_connection_new(const struct server_config *server, const char *application_name,
                                        int interrupt_fd)
{
    struct pg_connection *connection = memory_new(sizeof *connection);

    connection->server = *server;
    snprintf(connection->session.host, sizeof connection->session.host, "%s", config_host_name(server));
    connection->session.port = server->settings.port;
    connection->interrupt_fd = interrupt_fd;
    connection->answer_within = ANSWER_FACTOR * SECOND * server->settings.connect_timeout;
    snprintf(connection->application_name, sizeof connection->application_name, "%s", application_name);
    return connection;
}

static void close_handle(struct pg_connection *connection)
{
    PQfreemem(TAKE(connection->stream.message));
    PQclear(TAKE(connection->stream.end_result));
    PQfinish(TAKE(connection->handle));
}

void pg_disconnect(struct pg_connection *connection)
{
    if (connection == NULL)
        return;
    close_handle(connection);
    free(connection);
}

static const char *stage_words(ConnStatusType status)
{
    if (status == CONNECTION_STARTED)
        return "no answer to the attempt to connect";
    if (status == CONNECTION_SSL_STARTUP)
        return "the TLS negotiation did not end";
    return "the server did not answer the login";
}

bool pg_explain_timeout(struct pg_connection *connection, struct error *err)
{
    char words[256];
    bool is_explained = false;

    snprintf(words, sizeof words, "timed out after %ld s: %s", connection->server.settings.connect_timeout,
             stage_words(PQstatus(connection->handle)));
    refusal_explain(&connection->server, words, "", &is_explained, err);
    err->errnum = ETIMEDOUT;
    return false;
}

bool pg_go_on_connecting(struct pg_connection *connection)
{
    if (PQstatus(connection->handle) != CONNECTION_BAD)
        connection->wanted = PQconnectPoll(connection->handle);
    return PQstatus(connection->handle) == CONNECTION_BAD || connection->wanted == PGRES_POLLING_OK ||
           connection->wanted == PGRES_POLLING_FAILED;
}

/* PQconnectdb() with our own waiting. False with *err only for our own reasons; libpq's failure is CONNECTION_BAD. */
static bool poll_until_connected(struct pg_connection *connection, struct error *err)
{
    long seconds = connection->server.settings.connect_timeout;
    int64_t deadline = clock_monotonic() + (int64_t)seconds * 1000000;
    char what[128];

    if (PQstatus(connection->handle) == CONNECTION_BAD)
        return true;
    snprintf(what, sizeof what, "could not connect to server \"%s\"", connection->server.name);
    do {
        short events = connection->wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (!pg_wait(connection, events, deadline, what, err))
            return err->errnum == ETIMEDOUT ? pg_explain_timeout(connection, err) : false;
    } while (!pg_go_on_connecting(connection));
    return true;
}

static bool begin_attempt(struct pg_connection *connection, const struct conninfo_wish *wish, struct error *err)
{
    struct conninfo info;

    close_handle(connection);
    if (!conninfo_build(&connection->server, wish, &info, err))
        return false;
    connection->handle = PQconnectStartParams(info.keywords, info.values, 0);
    if (connection->handle == NULL)
        return error_set(err, ERROR_FAILED, "could not connect to server \"%s\": no memory", connection->server.name);
    /* Makes libpq print the SQLSTATE of a refusal, which it gives in no other way. */
    PQsetErrorVerbosity(connection->handle, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(connection->handle, receive_notice, connection);
    connection->wanted = PGRES_POLLING_WRITING;
    return true;
}

/* One attempt; libpq's handle stays, whatever became of it. */
static bool attempt(struct pg_connection *connection, const struct conninfo_wish *wish, struct error *err)
{
    return begin_attempt(connection, wish, err) && poll_until_connected(connection, err);
}

/* From libpq's failure to *err. */
static bool explain_refusal(struct pg_connection *connection, struct error *err)
{
    char words[REFUSAL_WORDS_SIZE];
    bool is_explained = false;

    refusal_clean_words(PQerrorMessage(connection->handle), words, connection->last_sqlstate);
    refusal_explain(&connection->server, words, connection->last_sqlstate, &is_explained, err);
    if (is_explained || config_tls_mode(&connection->server.settings) == TLS_DISABLE)
        return false;
    return tls_diagnose(&connection->server, words, err);
}

/* A password goes only to a server whose certificate was verified. */
static bool attempt_with_password(struct pg_connection *connection, struct conninfo_wish *wish, struct error *err)
{
    const struct settings *settings = &connection->server.settings;
    enum tls_mode mode = config_tls_mode(settings);
    char password[PASSWORD_SIZE];

    if (mode != TLS_VERIFY_FULL && mode != TLS_VERIFY_CA) {
        error_set(err, ERROR_TLS, "server \"%s\" asks for a password, and tls_mode %s does not prove who asks",
                  connection->server.name, settings->tls_mode);
        error_check(err, "protocol.mode");
        char setting[TLS_SETTING_NAME_SIZE];
        return error_hint(err, "Set %s to verify-full, and tls_ca_file.",
                          tls_setting_name(&connection->server, "tls_mode", setting));
    }
    if (!password_look_up(&connection->server, wish->database, password, err))
        return false;
    wish->password = password;
    wish->channel_binding = settings->allow_weak_password ? "prefer" : "require";
    bool is_attempted = attempt(connection, wish, err);
    explicit_bzero(password, sizeof password);
    wish->password = NULL;
    return is_attempted;
}

static void record_certificate(X509 *certificate, struct pg_certificate *ret_certificate)
{
    struct certificate_text text;

    if (certificate == NULL)
        return;
    certificate_describe(certificate, &text);
    snprintf(ret_certificate->subject, sizeof ret_certificate->subject, "%s", text.subject);
    snprintf(ret_certificate->not_after, sizeof ret_certificate->not_after, "%s", text.not_after_text);
    snprintf(ret_certificate->fingerprint, sizeof ret_certificate->fingerprint, "%s", text.fingerprint);
}

static bool record_tls(struct pg_connection *connection, struct error *err)
{
    struct pg_session *session = &connection->session;
    enum tls_mode mode = config_tls_mode(&connection->server.settings);
    const char *version = PQsslAttribute(connection->handle, "protocol");
    const char *cipher = PQsslAttribute(connection->handle, "cipher");
    SSL *ssl = PQgetssl(connection->handle);

    snprintf(session->tls_version, sizeof session->tls_version, "%s", version == NULL ? "" : version);
    snprintf(session->tls_cipher, sizeof session->tls_cipher, "%s", cipher == NULL ? "" : cipher);
    X509 *peer SCOPED(scoped_certificate) = ssl == NULL ? NULL : SSL_get1_peer_certificate(ssl);
    bool is_verified = peer != NULL && SSL_get_verify_result(ssl) == X509_V_OK;
    if ((mode == TLS_VERIFY_FULL || mode == TLS_VERIFY_CA) && !is_verified)
        return error_set(err, ERROR_TLS, "server \"%s\" was connected without a verified certificate",
                         connection->server.name);
    record_certificate(peer, &session->peer);
    /* Asked of the session itself: the files may have been replaced since. */
    record_certificate(ssl == NULL ? NULL : SSL_get_certificate(ssl), &session->own);
    return true;
}

/* 14 and later say it unasked. */
static enum pg_role role_from_word(const char *word)
{
    if (word == NULL)
        return PG_ROLE_UNKNOWN;
    return strcmp(word, "on") == 0 ? PG_ROLE_STANDBY : PG_ROLE_PRIMARY;
}

static bool accept_session(struct pg_connection *connection, struct error *err)
{
    struct pg_session *session = &connection->session;
    const char *version = PQparameterStatus(connection->handle, "server_version");

    PQsetErrorVerbosity(connection->handle, PQERRORS_DEFAULT);
    session->is_encrypted = PQsslInUse(connection->handle) == 1;
    if (config_tls_mode(&connection->server.settings) != TLS_DISABLE) {
        if (!session->is_encrypted)
            return error_set(err, ERROR_TLS,
                             "server \"%s\" was connected without TLS, and pgcoffer never speaks "
                             "plaintext with tls_mode %s",
                             connection->server.name, connection->server.settings.tls_mode);
        if (!record_tls(connection, err))
            return false;
    }
    session->server_version = PQserverVersion(connection->handle);
    session->role = role_from_word(PQparameterStatus(connection->handle, "in_hot_standby"));
    snprintf(session->server_version_text, sizeof session->server_version_text, "%s", version == NULL ? "?" : version);
    text_make_printable(session->server_version_text);
    if (session->server_version < OLDEST_SERVER) {
        error_set(err, ERROR_SERVER, "server \"%s\" is PostgreSQL %s, which is too old", connection->server.name,
                  session->server_version_text);
        error_check(err, "server.version");
        return error_hint(err, "pgcoffer needs PostgreSQL 13 or later.");
    }
    if (PQsetnonblocking(connection->handle, 1) != 0)
        return error_set(err, ERROR_SERVER, "could not connect to server \"%s\": %s", connection->server.name,
                         "libpq cannot work without blocking");
    pg_limit_portions(connection);
    return true;
}

bool pg_begin_connecting(struct pg_connection *connection, struct conninfo_wish *wish, struct error *err)
{
    conninfo_forget_environment();
    PQsetSSLKeyPassHook_OpenSSL(refuse_passphrase);
    if (!tls_files_check(&connection->server, err))
        return error_wrap(err, "could not connect to server \"%s\"", connection->server.name);

    wish->application_name = connection->application_name;
    wish->channel_binding = "prefer";
    if (connection->server.is_one_of_several && wish->options == NULL)
        wish->options = CONNINFO_OPTIONS_OF_SEVERAL;
    return begin_attempt(connection, wish, err);
}

bool pg_end_connecting(struct pg_connection *connection, struct conninfo_wish *wish, struct error *err)
{
    if (PQstatus(connection->handle) != CONNECTION_OK && PQconnectionNeedsPassword(connection->handle) &&
        !attempt_with_password(connection, wish, err))
        return false;
    if (PQstatus(connection->handle) != CONNECTION_OK)
        return explain_refusal(connection, err);
    return accept_session(connection, err);
}

bool pg_connect_this(struct pg_connection *connection, struct conninfo_wish *wish, struct error *err)
{
    return pg_begin_connecting(connection, wish, err) && poll_until_connected(connection, err) &&
           pg_end_connecting(connection, wish, err);
}

bool pg_connect_as(const struct server_config *server, const char *application_name, int interrupt_fd,
                   struct conninfo_wish *wish, struct pg_connection **ret_connection, struct error *err)
{
    struct pg_connection *connection SCOPED(scoped_pg_connection) =
        pg_connection_new(server, application_name, interrupt_fd);

    if (!pg_connect_this(connection, wish, err))
        return false;
    *ret_connection = TAKE(connection);
    return true;
}

bool pg_connect_database(const struct pg_connection *like, const char *database, struct pg_connection **ret_connection,
                         struct error *err)
{
    struct conninfo_wish wish = {.replication = "database", .database = database};

    return pg_connect_as(&like->server, like->application_name, like->interrupt_fd, &wish, ret_connection, err);
}

const struct server_config *pg_server(const struct pg_connection *connection)
{
    return &connection->server;
}

void pg_set_deadline(struct pg_connection *connection, int64_t deadline)
{
    connection->command_deadline = deadline;
}

const struct pg_session *pg_session(const struct pg_connection *connection)
{
    return &connection->session;
}

int pg_socket(const struct pg_connection *connection)
{
    return PQsocket(connection->handle);
}

void pg_set_notice_function(struct pg_connection *connection, pg_notice_function *function, void *context)
{
    connection->notice_function = function;
    connection->notice_context = context;
}

const char *pg_last_sqlstate(const struct pg_connection *connection)
{
    return connection->last_sqlstate;
}
