#ifndef PGCOFFER_CLI_TLS_KIT_INTERNAL_H
#define PGCOFFER_CLI_TLS_KIT_INTERNAL_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/tls/issue.h"

struct invocation;

/*
 * The development PKI of `tls init`: made in memory, then written into a directory that is missing or empty. The server
 * CA and the client CA are two, so that a stolen server key mints no logins; metrics and the gateway have one each of
 * their own, so that who may read metrics or backups may not log in, nor the other way round.
 */
enum tls_kit_part {
    TLS_KIT_SERVER_CA_CERTIFICATE,
    TLS_KIT_SERVER_CA_KEY,
    TLS_KIT_SERVER_CA_LIST,
    TLS_KIT_CLIENT_CA_CERTIFICATE,
    TLS_KIT_CLIENT_CA_KEY,
    TLS_KIT_CLIENT_CA_LIST,
    TLS_KIT_SERVER_CERTIFICATE,
    TLS_KIT_SERVER_KEY,
    TLS_KIT_CLIENT_CERTIFICATE,
    TLS_KIT_CLIENT_KEY,
    /* With --metrics only. This CA has no list: neither exporters nor Prometheus have a setting for one. */
    TLS_KIT_METRICS_CA_CERTIFICATE,
    TLS_KIT_METRICS_CA_KEY,
    TLS_KIT_METRICS_CERTIFICATE,
    TLS_KIT_METRICS_KEY,
    TLS_KIT_PROMETHEUS_CERTIFICATE,
    TLS_KIT_PROMETHEUS_KEY,
    TLS_KIT_BROWSER_CERTIFICATE,
    TLS_KIT_BROWSER_KEY,
    TLS_KIT_BROWSER_BUNDLE,   /* both and the CA, in PKCS#12 */
    TLS_KIT_BROWSER_PASSWORD, /* of the bundle */
    /* With --gateway only. */
    TLS_KIT_GATEWAY_CA_CERTIFICATE,
    TLS_KIT_GATEWAY_CA_KEY,
    TLS_KIT_GATEWAY_CA_LIST,
    TLS_KIT_GATEWAY_CERTIFICATE,
    TLS_KIT_GATEWAY_KEY,
    TLS_KIT_RESTORER_CERTIFICATE,
    TLS_KIT_RESTORER_KEY,
    TLS_KIT_PARTS
};

#define TLS_KIT_AUTHORITY_DAYS 3650
/* The CN of the client on the database host. */
#define TLS_KIT_RESTORER "restorer"
/* The CN of a person's client. */
#define TLS_KIT_BROWSER "browser"

struct tls_kit_wish {
    const char *const *names;         /* of the server, until NULL */
    const char *const *gateway_names; /* of the daemon's host, until NULL; NULL: no gateway */
    const char *const *metrics_names; /* of the endpoint, until NULL; NULL: no metrics */
    const char *user;
    long days; /* of all but the CAs; these and their lists last TLS_KIT_AUTHORITY_DAYS */
    enum issue_algorithm algorithm;
};

struct tls_kit_file {
    char *name; /* "server.key"; NULL: this part is not made */
    char *text; /* PEM; PKCS#12, which has zeroes in it; or the password */
    size_t size;
};
struct tls_kit {
    struct tls_kit_file files[TLS_KIT_PARTS];
};

static inline bool tls_kit_holds(const struct tls_kit *kit, enum tls_kit_part part)
{
    return kit->files[part].name != NULL;
}

static inline bool tls_kit_has_metrics(const struct tls_kit *kit)
{
    return tls_kit_holds(kit, TLS_KIT_METRICS_CA_CERTIFICATE);
}

static inline bool tls_kit_has_gateway(const struct tls_kit *kit)
{
    return tls_kit_holds(kit, TLS_KIT_GATEWAY_CA_CERTIFICATE);
}

/* Keys and signatures; nothing is written yet. TLS. */
bool tls_kit_make(const struct tls_kit_wish *wish, struct tls_kit **ret_kit, struct error *err) NODISCARD;
void tls_kit_free(struct tls_kit *kit); /* NULL is fine; wipes the keys */
static inline void scoped_tls_kit(struct tls_kit **kit)
{
    tls_kit_free(*kit);
}

/* ---- tls_kit_files.c ---- */
/* Before the keys are made: is the directory missing or empty? USAGE that names what lies there. */
bool tls_kit_check_directory(const char *directory, struct error *err) NODISCARD;
/*
 * All files or, after an error, none: 0600 in a directory of 0700, durable, and no name that was there before is
 * replaced. A crash leaves whole files only, beside such that end in ".tmp".
 */
bool tls_kit_write(const struct tls_kit *kit, const char *directory, struct error *err) NODISCARD;

/* ---- tls_init_lines.c ---- */
/* Where copies go, for those that run as users of their own. */
#define TLS_INIT_SERVER_FOLDER     "/etc/postgresql/tls"
#define TLS_INIT_CLIENT_FOLDER     "/etc/pgcoffer/tls"
#define TLS_INIT_ENDPOINT_FOLDER   "/etc/pgexporter/tls"
#define TLS_INIT_PROMETHEUS_FOLDER "/etc/prometheus/tls"
/* Free of links when it exists; malloc'd. */
char *tls_init_absolute_path(const char *directory) NEVER_NULL;
/* {"directory","files":[{"path","for","what"}],"postgresql_conf":[LINE...],"pg_hba_conf","sql","pgcoffer_conf",
 * "copy_commands","renewal_commands"}; with a gateway {"gateway_conf","client_conf","gateway_copy_commands",
 * "client_copy_commands"}; with metrics {"metrics_conf","metrics_yml","pgcoffer_copy_commands","prometheus_yml",
 * "pgexporter_conf","exporter_web_config","metrics_copy_commands"}: a new reference. */
json_t *tls_init_lines(const struct tls_kit *kit, const struct tls_kit_wish *wish, const char *directory);
/* Whose files they are. */
enum tls_init_reader {
    TLS_INIT_SERVER,
    TLS_INIT_CLIENT,
    TLS_INIT_ENDPOINT,
    TLS_INIT_PROMETHEUS,
    TLS_INIT_EXPORTER,
    TLS_INIT_BROWSER,
    TLS_INIT_GATEWAY,
    TLS_INIT_RESTORER,
    TLS_INIT_READERS
};
/* The commands by which root gives copies to a reader, who is not BROWSER. */
void tls_init_append_copy(json_t *lines, const struct tls_kit *kit, const char *directory, enum tls_init_reader reader);
void tls_init_append(json_t *list, char *line); /* owns the line */
/* Settings that name files of the kit, ended by one without a name; a line each, as one of tls_init_..._line() below
 * writes it. */
struct tls_init_setting {
    const char *name;
    enum tls_kit_part part;
};
typedef char *tls_init_line_function(const char *name, const char *directory, const char *file);
void tls_init_append_settings(json_t *lines, const struct tls_kit *kit, const char *directory,
                              tls_init_line_function *line, const struct tls_init_setting *settings);

/* ---- tls_init_metrics.c ---- */
void tls_init_add_metrics(json_t *data, const struct tls_kit *kit, const struct tls_kit_wish *wish,
                          const char *directory);

/* ---- tls_init_text.c: one line or value, malloc'd ---- */
/* Of postgresql.conf: 'it''s' */
char *tls_init_setting_line(const char *name, const char *directory, const char *file) NEVER_NULL;
/* Of pgcoffer.conf: quotes only where they are needed. */
char *tls_init_pair_line(const char *name, const char *directory, const char *file) NEVER_NULL;
/* Of YAML: 'it''s' */
char *tls_init_yaml_line(const char *name, const char *directory, const char *file) NEVER_NULL;
/* "db1:5001", and "[2001:db8::7]:5001" */
char *tls_init_with_port(const char *name, int port) NEVER_NULL;

/* ---- tls_init_print.c ---- */
void tls_init_print(const struct invocation *invocation, const json_t *data);

#endif
