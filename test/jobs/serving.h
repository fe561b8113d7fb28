#ifndef PGCOFFER_TEST_JOBS_SERVING_H
#define PGCOFFER_TEST_JOBS_SERVING_H

#include <pthread.h>
#include <sys/socket.h>

#include "jobs/serve/session_internal.h"
#include "repo/repository.h"
#include "repo/sample_backup.h"

/* A session in a thread, over a repository with one backup on timeline 1 from 3 to 4 MB, and the client's end of it. */

#define SERVING_ID "20261122T013000Z"

static struct config *serving_config;
static struct control_stream *serving_client;
static pthread_t serving_thread;
static struct serving_options {
    struct control_stream *stream;
    enum right right;
    json_t *servers; /* as from the start line; NULL: not told */
} serving_options;

static inline void serving_add_backup(const char *id, enum backup_state state)
{
    struct error err;
    struct backup_meta *meta SCOPED(scoped_backup_meta) = sample_backup(id, system_id.text);

    meta->state = state;
    meta->segment_size.bytes = ONE_MB;
    meta->start_timeline.value = meta->end_timeline.value = 1;
    meta->start_position.value = 3 * ONE_MB + 40;
    meta->end_position.value = 4 * ONE_MB - 8;
    backup_meta_add_file(meta, "16389.tar.zst", 5, SOME_SHA256);
    char *name SCOPED(scoped_free) = memory_text("backup/%s/16389.tar.zst", id);
    char *lock SCOPED(scoped_free) = memory_text("backup/%s/lock", id);
    repository_put(name, "hello", 5);
    repository_put(lock, "", 0);
    MUST(backup_meta_write(&repo, meta, &err));
}

static inline void serving_make(void)
{
    struct error err;

    repository_make();
    MUST(repo_write_server(&repo, "primary", &system_id, &err));
    hold_segment(1, 3);
    hold_partial(1, 4, 77);
    serving_add_backup(SERVING_ID, BACKUP_COMPLETE);
    char *text SCOPED(scoped_free) =
        memory_text("[pgcoffer]\nbase_dir = %s\n"
                    "[primary]\nhost = a\nuser = repl\ntls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = /a\n"
                    "[other]\nhost = b\nuser = repl\ntls_cert_file = /c\ntls_key_file = /k\ntls_ca_file = /a\n",
                    repo.base_dir);
    MUST(config_parse(text, strlen(text), "test", &serving_config, &err));
    serving_options = (struct serving_options){.right = RIGHT_ADMIN};
}

static inline void *serving_run(void *unused)
{
    struct session session;
    struct error err;

    session_begin(&session, serving_options.stream, serving_config, &repo, serving_options.right,
                  serving_options.servers);
    (void)!session_run(&session, NULL, &err);
    session_done(&session);
    control_stream_free(serving_options.stream);
    return unused;
}

static inline void serving_start(enum right right)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    serving_client = control_stream_new(ends[0], CONTROL_LINE_SIZE);
    control_stream_set_timeout(serving_client, 20000);
    serving_options.stream = control_stream_new(ends[1], CONTROL_LINE_SIZE);
    serving_options.right = right;
    ck_assert_int_eq(pthread_create(&serving_thread, NULL, serving_run, NULL), 0);
}

static inline void serving_stop(void)
{
    control_stream_free(TAKE(serving_client));
    pthread_join(serving_thread, NULL);
}

static inline void serving_remove(void)
{
    if (serving_client != NULL)
        serving_stop();
    json_decref(serving_options.servers);
    config_free(serving_config);
    repository_remove();
}

/* What came before the result: items, and the bytes of the last "bytes" event. */
static json_t *serving_items;
static char serving_bytes[2 * ONE_MB];
static size_t serving_size;

static inline bool serving_take(void *context, const json_t *message, struct error *err)
{
    (void)context;
    if (strcmp(json_text_or_null(message, "event"), "item") == 0)
        json_array_append(serving_items, json_object_get(message, "data"));
    if (strcmp(json_text_or_null(message, "event"), "bytes") != 0)
        return true;
    serving_size = (size_t)json_number_or(message, "length", 0);
    ck_assert_uint_le(serving_size, sizeof serving_bytes);
    return control_receive_bytes(serving_client, serving_bytes, serving_size, err);
}

/* The request as JSON with ' for "; the result, or NULL and *err. */
static inline json_t *serving_ask(const char *request, struct error *err)
{
    char text[512];

    snprintf(text, sizeof text, "{\"v\":1,%s}", request);
    for (char *at = text; *at != '\0'; at++)
        if (*at == '\'')
            *at = '"';
    json_t *message SCOPED(scoped_json) = json_parse_object(text, strlen(text), err);
    ck_assert_msg(message != NULL, "%s", err->message);
    json_decref(serving_items);
    serving_items = json_array();
    if (!control_send(serving_client, message, err))
        return NULL;
    return control_await_result(serving_client, serving_take, NULL, err);
}

#endif
