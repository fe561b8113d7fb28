#ifndef PGCOFFER_PG_HOSTS_H
#define PGCOFFER_PG_HOSTS_H

#include "pgcoffer/pg/connection.h"

/*
 * Of several hosts, the one to use (host = a, b, c).
 *
 * They are asked in order, beginning with the one that was good last; the next one as soon as the former has failed, is
 * no primary, or has not answered within a second. The first primary is used. Without one, the standby with the highest
 * timeline and on that the highest position. A host that the caller's judge refuses is as good as one that is down.
 */
struct pg_host_report {
    bool is_asked;
    bool is_refused; /* `reason` */
    enum pg_role role;
    struct pg_identity identity; /* where it is not refused, or was refused by the judge */
    struct error reason;
};

/* May the server be used that has let us in? *err says why not. */
typedef bool pg_host_judge(void *context, struct pg_connection *connection, const struct pg_identity *identity,
                           struct error *err);

/* A caller that connects again and again keeps it; zero at first. */
struct pg_hosts {
    size_t preferred;     /* asked first; afterwards the one in use */
    pg_host_judge *judge; /* asked when there are several; NULL: any may be used */
    void *context;
    struct pg_host_report reports[CONFIG_MOST_HOSTS]; /* of the last time */
};

/*
 * pg_connect() with a memory. With one host there is no difference, and the judge is not asked. When none can be used,
 * the error names each with its reason; kind, hint and check are those of the reason that weighs most: what is wrong
 * with the data, then with TLS or the configuration, then with the server.
 */
bool pg_connect_one_of(const struct server_config *server, const char *application_name, int interrupt_fd,
                       struct pg_hosts *hosts, struct pg_connection **ret_connection, struct error *err) NODISCARD;

/* The system identifier that every one of them gave, whether refused or not; 0 when one did not answer or differs. */
uint64_t pg_hosts_common_system(const struct pg_host_report *reports, size_t count);

/* One of them, whatever it is: for who looks at all. Given up after `most_seconds` where connect_timeout is longer. */
bool pg_connect_host(const struct server_config *server, size_t host, long most_seconds, const char *application_name,
                     int interrupt_fd, struct pg_connection **ret_connection, struct error *err) NODISCARD;

#endif
