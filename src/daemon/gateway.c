#include "daemon/gateway_internal.h"

#include <string.h>

#include "daemon/listener_internal.h"
#include "daemon/port_worker_internal.h"
#include "pgcoffer/base/memory.h"

struct gateway {
    struct port_worker *worker;
    pid_t *ended; /* of workers whose connections may still be in the queue of the control socket */
    size_t ended_count;
};

static long number(const struct settings *settings)
{
    return settings->management;
}

static bool has_same_files(const struct settings *left, const struct settings *right)
{
    return strcmp(left->tls_cert_file, right->tls_cert_file) == 0 &&
           strcmp(left->tls_key_file, right->tls_key_file) == 0 && strcmp(left->tls_ca_file, right->tls_ca_file) == 0 &&
           strcmp(left->tls_crl_file, right->tls_crl_file) == 0;
}

/* All servers: whether their client certificates would be let in is worth a warning. */
static bool wants_all(const void *context, const struct server_config *server)
{
    (void)context;
    (void)server;
    return true;
}

/* A connection that it made before its end is accepted after it, and stays the gateway's. */
static void remember_ended(struct supervisor *supervisor, pid_t pid)
{
    struct gateway *gateway = supervisor->gateway;

    gateway->ended = realloc(gateway->ended, (gateway->ended_count + 1) * sizeof *gateway->ended);
    if (gateway->ended == NULL)
        abort();
    gateway->ended[gateway->ended_count++] = pid;
    listener_accept_soon(supervisor->listener);
}

bool gateway_is_peer(const struct supervisor *supervisor, const struct caller *caller)
{
    const struct gateway *gateway = supervisor->gateway;

    if (gateway == NULL)
        return false;
    /* Not waited for yet, its pid is nobody else's; whatever user it has become. */
    const struct child *child = port_worker_child(gateway->worker);
    if (child != NULL && caller->pid == child_pid(child))
        return true;
    /* Another process that got such a pid meanwhile is told that it is nobody, and asks again. */
    for (size_t i = 0; i < gateway->ended_count; i++)
        if (caller->pid == gateway->ended[i])
            return true;
    return false;
}

void gateway_forget_ended(struct supervisor *supervisor)
{
    if (supervisor->gateway != NULL)
        supervisor->gateway->ended_count = 0;
}

json_t *gateway_to_json(const struct supervisor *supervisor)
{
    return port_worker_to_json(supervisor->gateway == NULL ? NULL : supervisor->gateway->worker);
}

void gateway_follow_configuration(struct supervisor *supervisor)
{
    static const struct port_worker_kind kind = {.name = "gateway",
                                                 .role = ROLE_gateway,
                                                 .number_name = "management",
                                                 .number = number,
                                                 .has_same_files = has_same_files,
                                                 .is_wanted = wants_all,
                                                 .ended = remember_ended};

    if (supervisor->gateway == NULL)
        supervisor->gateway = memory_new(sizeof *supervisor->gateway);
    port_worker_follow_configuration(&supervisor->gateway->worker, &kind, supervisor);
}

void gateway_ask_alive(struct supervisor *supervisor, unsigned patience_seconds)
{
    if (supervisor->gateway != NULL)
        port_worker_ask_alive(supervisor->gateway->worker, patience_seconds);
}

void gateway_free(struct supervisor *supervisor)
{
    if (supervisor->gateway == NULL)
        return;
    port_worker_free(supervisor->gateway->worker);
    free(supervisor->gateway->ended);
    free(supervisor->gateway);
    supervisor->gateway = NULL;
}
