#ifndef PGCOFFER_SRC_DAEMON_ANSWERS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_ANSWERS_INTERNAL_H

#include "daemon/client_internal.h"

/*
 * The commands answered from memory: one function for each AT_ONCE row of commands.def; one that is missing does not
 * link. False: *err is the answer.
 */
bool answer_status(struct client *client, const struct request *request, struct error *err) NODISCARD;
bool answer_jobs(struct client *client, const struct request *request, struct error *err) NODISCARD;
bool answer_follow(struct client *client, const struct request *request, struct error *err) NODISCARD;
bool answer_cancel(struct client *client, const struct request *request, struct error *err) NODISCARD;
bool answer_ping(struct client *client, const struct request *request, struct error *err) NODISCARD;
bool answer_reload(struct client *client, const struct request *request, struct error *err) NODISCARD;
bool answer_shutdown(struct client *client, const struct request *request, struct error *err) NODISCARD;

/* What `status` tells an administrator, without the lists of servers and jobs. New reference. */
json_t *answers_daemon_to_json(const struct supervisor *supervisor);
/* Does an answer to that request tell this client of this server? */
bool answers_tell_of(struct client *client, const struct request *request, const char *server);

#endif
