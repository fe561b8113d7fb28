#include <stdio.h>
#include <string.h>

#include "pg/hosts_internal.h"

void hosts_order(size_t preferred, size_t count, size_t ret_order[CONFIG_MOST_HOSTS])
{
    size_t used = 0;

    if (preferred < count)
        ret_order[used++] = preferred;
    for (size_t host = 0; host < count; host++)
        if (host != preferred)
            ret_order[used++] = host;
}

bool hosts_is_better(const struct pg_identity *identity, const struct pg_identity *than)
{
    if (identity->timeline.value != than->timeline.value)
        return identity->timeline.value > than->timeline.value;
    return identity->position.value > than->position.value;
}

uint64_t pg_hosts_common_system(const struct pg_host_report *reports, size_t count)
{
    uint64_t system_identifier = reports[0].identity.system_identifier;

    for (size_t host = 1; host < count; host++)
        if (reports[host].identity.system_identifier != system_identifier)
            return 0;
    return system_identifier;
}

/* What tells most about the set-up comes first; a host that is merely down says least. */
static int weight(const struct error *reason)
{
    bool is_unreachable = strcmp(reason->check, "server.connect") == 0 || strcmp(reason->check, "server.resolve") == 0;

    if (reason->kind == ERROR_INTEGRITY)
        return 3;
    if (reason->kind == ERROR_TLS || reason->kind == ERROR_CONFIG)
        return 2;
    return is_unreachable ? 0 : 1;
}

static void add_reason(const struct server_config *view, const struct error *reason, size_t room, struct error *err)
{
    const char *words = reason->message;
    size_t used = strlen(err->message), size = strlen(words);

    if (reason->cause_size > 0) {
        words += reason->cause_at;
        size = reason->cause_size;
    }
    if (size > room)
        size = room;
    snprintf(err->message + used, sizeof err->message - used, "%s %s port %ld: %.*s",
             used > 0 && err->message[used - 1] == ':' ? "" : ";", config_host_name(view), view->settings.port,
             (int)size, words);
}

bool hosts_set_error(const struct server_config *server, const struct pg_host_report *reports, size_t count,
                     struct error *err)
{
    const struct error *main_reason = &reports[0].reason;
    struct server_config view;

    for (size_t host = 1; host < count; host++)
        if (weight(&reports[host].reason) > weight(main_reason))
            main_reason = &reports[host].reason;
    error_set(err, main_reason->kind, "none of the %zu hosts of server \"%s\" can be used:", count, server->name);
    for (size_t host = 0; host < count; host++) {
        config_take_host(server, host, &view);
        add_reason(&view, &reports[host].reason, sizeof err->message / (count + 1), err);
    }
    error_detail(err, "%s", main_reason->detail);
    error_hint(err, "%s", main_reason->hint);
    error_check(err, main_reason->check);
    err->errnum = main_reason->errnum;
    return false;
}
