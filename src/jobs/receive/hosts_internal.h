#ifndef PGCOFFER_SRC_JOBS_RECEIVE_HOSTS_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_HOSTS_INTERNAL_H

#include "jobs/receive/lookout_internal.h"
#include "jobs/receive/report_internal.h"
#include "pgcoffer/stage/pool.h"

/*
 * Which host (host = a, b, c): the one a session finds, and the look at the others while it streams. With one host
 * nothing here does anything but hand out the server itself.
 */
struct receive_hosts {
    const struct server_config *server; /* borrowed */
    struct receive_report *report;
    int interrupt_fd;
    size_t count, here;
    struct server_config *views; /* owned, of every host, and never changed: threads have them; NULL with one */
    struct pg_hosts *known;      /* owned; NULL with one */
    struct error *told;          /* owned, one each; message "": nothing was told of it */
    enum pg_role *roles;         /* owned, one each */
    int64_t avoided_until[CONFIG_MOST_HOSTS];
    bool is_slot_ours[CONFIG_MOST_HOSTS]; /* streamed with while it was a primary */

    uint64_t common_system; /* which all hosts gave in the last search that found none to use; else 0 */

    bool is_elsewhere; /* the stream is to end and go on at known->preferred */
    enum pg_role role; /* of the one in use, as the next two are */
    uint64_t system_identifier;
    struct timeline timeline;
    uint64_t segment_bytes;
    unsigned stream; /* counts them */
    struct wal_position received_before;

    struct pool *thread; /* NULL with one host */
    struct lookout_task task;
    bool is_busy;
    int64_t look_at;
};

#define HOSTS_LOOKED_AT_EVERY INT64_C(5000000)
/* One that looked right from afar and was not. */
#define HOSTS_AVOIDED_FOR INT64_C(60000000)

/* A thread that cannot be had is logged; then a change is noticed when the connection ends. */
void receive_hosts_begin(struct receive_hosts *hosts, const struct server_config *server, struct receive_report *report,
                         int interrupt_fd);
void receive_hosts_end(struct receive_hosts *hosts);

/* The view of the host in use; lives as long as `hosts`. */
const struct server_config *receive_hosts_view(const struct receive_hosts *hosts);
/* pg_connect_one_of(); what is wrong with others is logged and reported. `judge` is asked where there are several. */
bool receive_hosts_connect(struct receive_hosts *hosts, pg_host_judge *judge, void *context,
                           struct pg_connection **ret_connection, struct error *err) NODISCARD;
/* Does the connection lead to the one in use, and is it to stay so? */
bool receive_hosts_is_here(const struct receive_hosts *hosts, const struct pg_connection *connection);
/* Of the host that is connected; 13 does not say it for every connection. */
enum pg_role receive_hosts_role(const struct receive_hosts *hosts, const struct pg_connection *connection);
/* Before each stream: what it comes from. `is_slot_ours`: with the slot of the configuration, made or found there. */
void receive_hosts_note_stream(struct receive_hosts *hosts, const struct pg_identity *identity, enum pg_role role,
                               struct wal_segment_size segment_size, bool is_slot_ours);

/* ---- the loop of the receiver ---- */
void receive_hosts_turn(struct receive_hosts *hosts);
int64_t receive_hosts_due(const struct receive_hosts *hosts);
/* For poll(2), -1 when nobody is asked. */
int receive_hosts_descriptor(const struct receive_hosts *hosts);

#endif
