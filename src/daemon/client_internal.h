#ifndef PGCOFFER_SRC_DAEMON_CLIENT_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_CLIENT_INTERNAL_H

#include "daemon/caller_internal.h"
#include "daemon/supervisor_internal.h"

/*
 * One connection, as long as the supervisor has it. It never disappears under a running function: client_drop() closes
 * it at once, but the struct stays until the event loop comes round.
 */
enum client_state {
    CLIENT_READS,    /* its next request, within 10 s */
    CLIENT_FOLLOWS,  /* a job's events */
    CLIENT_CANCELS,  /* waits until the job it cancelled has ended */
    CLIENT_WAITS,    /* for the worker of its errand */
    CLIENT_DEFERRED, /* its backup waits until the daemon knows whether there are leftovers to complete, its status
                        until it knows what is stored */
    CLIENT_REPORTS,  /* tells of a job that runs in it */
    CLIENT_STAYS,    /* asked for the shutdown; the end of the connection tells that it is done */
    CLIENT_FLUSHES,  /* gets its last answer, then it is closed */
    CLIENT_GONE,
};

struct client;
struct bufferevent;

/* Owns the descriptor and what the caller holds. */
struct client *client_new(struct supervisor *supervisor, int fd, struct caller *caller_taken);
void client_free(struct client *client);

struct supervisor *client_supervisor(const struct client *client);
const struct caller *client_caller(struct client *client); /* with names */
uid_t client_uid(const struct client *client);
enum client_state client_state(const struct client *client);

void client_send(struct client *client, const json_t *message);
void client_send_result(struct client *client, json_t *data_stolen);
/* As a result; when a line cannot hold it, "servers" and "jobs" go before it as items, {"server":...} and {"job":...}.
 */
void client_send_lists(struct client *client, json_t *data_stolen);
void client_send_error(struct client *client, const struct error *failure);
/* Gets what was sent, then ends. */
void client_finish(struct client *client);
void client_drop(struct client *client);
/* Drops our copy of the connection: a worker has its own. */
void client_hand_over(struct client *client);

/* Waiting states; `job` is the id. */
void client_wait_for_job(struct client *client, enum client_state state, const char *job);
bool client_waits_for_job(const struct client *client, const char *job);
void client_wait_for_errand(struct client *client);
/* Keeps the request and asks it again with client_retry(). */
void client_defer(struct client *client, const struct request *request);
bool client_is_deferred(const struct client *client, const char *server);
bool client_defers(const struct client *client, enum command_id command);
void client_retry(struct client *client);
void client_stay(struct client *client);
/* Its lines are events of a job from now on, taken no faster than somebody can read. */
void client_take_reports(struct client *client);
/* Dropped if it is still there after `seconds`. */
void client_end_within(struct client *client, int seconds);
/* Back to reading requests, also those that came meanwhile. */
void client_read_on(struct client *client);
/* The bare connection, for a worker to inherit; -1 when something is still on its way in or out. */
int client_bare_descriptor(struct client *client);

#endif
