#ifndef PGCOFFER_JOBS_JOBS_H
#define PGCOFFER_JOBS_JOBS_H

#include "pgcoffer/config/config.h"
#include "pgcoffer/repo/layout.h"
#include "pgcoffer/worker/worker.h"

/*
 * What the roles do. Each main function gets a begun context, does its work, sends exactly one result or error event to
 * the channel (jobs) or answers its client until that hangs up (serve), and returns the process's exit status.
 * job_receive_main() returns only when interrupted.
 */
struct job {
    struct worker_context *worker;
    struct config *config;
    const struct server_config *server; /* NULL when the request names none */
    struct repo
        repo; /* base_dir NULL: it cannot be opened, which only `check` goes on with, to tell it; `gateway` has none */
};

int job_receive_main(struct job *job);
int job_backup_main(struct job *job);
int job_serve_main(struct job *job);
int job_verify_main(struct job *job);
int job_delete_main(struct job *job);
int job_note_main(struct job *job);
int job_survey_main(struct job *job);
int job_expire_main(struct job *job);
int job_slot_main(struct job *job);
int job_check_main(struct job *job);
int job_gateway_main(struct job *job);
int job_exporter_main(struct job *job);

/*
 * The session that a serve worker and `--direct` share: answers requests on `client` until it ends. `only_server` ""
 * means every server of `config`; with a right below ADMIN the session is bound to the server of its first request.
 * `first` may be NULL; otherwise it is answered first.
 */
bool serve_session(struct control_stream *client, const struct config *config, const struct repo *repo,
                   enum right right, const struct request *first, struct error *err);

/*
 * verify without a daemon: events go to `events` as they would to the supervisor, its one result or error included.
 * False with *err when that was an error: INTEGRITY when problems were found. interrupt_fd -1: none.
 */
bool verify_run(const struct request *request, const struct config *config, const struct repo *repo,
                struct control_stream *events, int interrupt_fd, struct error *err);

/* Opens a further connection to the daemon or to a session child. */
struct connector {
    bool (*open)(void *context, struct control_stream **ret_stream, struct error *err);
    void *context;
    /* Over a network connections break: so long one that did is made anew, again and again. 0: the daemon of this
     * machine, which is there or is not. */
    unsigned patience_seconds;
    /* And so long a connection may be without a word before it counts as broken; 0: for ever. */
    unsigned silence_seconds;
};

#endif
