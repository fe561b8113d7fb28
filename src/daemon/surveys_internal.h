#ifndef PGCOFFER_SRC_DAEMON_SURVEYS_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_SURVEYS_INTERNAL_H

#include "daemon/client_internal.h"

/*
 * What is stored, for `status`. The supervisor reads no repository: a worker of the role `survey` does, one at a time,
 * when the daemon starts, when something has changed (a job that writes, a gap, a promotion), and when somebody asks
 * for `status` and what is held is older than a minute. Nothing runs while nobody asks and nothing changes, and what
 * changes all the time takes no more than a tenth of it. Each answer says from when it is; it waits for a fresh one,
 * but not longer than SURVEY_PATIENCE_SECONDS, whatever the disk does.
 */
#define SURVEY_PATIENCE_SECONDS 2

struct receiver;

/* What is held of that server is outdated; "" means all. */
void surveys_want(struct supervisor *supervisor, const char *server);
/* Where what is held is older than that, or more may be restored by now; one that is on its way is enough. */
void surveys_want_old(struct supervisor *supervisor, int64_t seconds);
/* The receiver has told of a gap, another timeline or another cluster. */
void surveys_tell_news(struct receiver *receiver);
/* True: the client is deferred, and its request comes again when there is news, or when it has waited long enough. */
bool surveys_await(struct client *client, const struct request *request) NODISCARD;
/* SURVEY of doc/control-protocol.md. New reference. */
json_t *surveys_to_json(const struct supervisor *supervisor, const struct receiver *receiver);
/* {"id","state","stopped_at","label"} of the newest backup; NULL or null: none is known. Borrowed. */
const json_t *surveys_last_backup(const struct receiver *receiver);
void surveys_free(struct supervisor *supervisor);

#endif
