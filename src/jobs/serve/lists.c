#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/notes_internal.h"
#include "jobs/serve/held_wal_internal.h"
#include "jobs/serve/restorable_internal.h"
#include "pgcoffer/base/memory.h"

/* WAL that cannot be read keeps nobody from listing: where it reaches is null then. */
static json_t *reach_of(struct held_wal *wal, const struct session *session, const char *server,
                        const struct catalogue_entry *entry)
{
    struct error ignored;

    return held_wal_open(wal, session, server, &entry->system, &ignored) ? held_wal_reach(wal, entry->meta)
                                                                         : json_null();
}

static bool send_entry(struct session *session, const char *server, const struct catalogue_entry *entry,
                       struct held_wal *wal, struct error *err)
{
    json_t *item;

    if (entry->meta != NULL) {
        item = events_backup(entry->meta);
        json_object_del(item, "files");
        json_object_del(item, "notices");
        json_object_del(item, "left_out");
        json_object_set_new(item, "server", control_text(server));
        json_object_set_new(item, "reach", reach_of(wal, session, server, entry));
    } else {
        item = json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", entry->id.text, "state", "unreadable", "server", server,
                         "system_identifier", entry->system.text, "error", control_failure_to_json(&entry->error));
    }
    notes_add(item, session->repo, server, entry);
    return control_send_item(session->client, item, err);
}

static bool list_server(struct session *session, const char *server, json_t *names, struct error *err)
{
    struct stock stock SCOPED(stock_done) = {.timeline_count = 0};
    struct held_wal wal SCOPED(held_wal_done) = {.is_open = false};

    if (!catalogue_read(session->repo, server, &stock.catalogue, err))
        return false;
    json_array_append_new(names, control_text(server));
    for (size_t i = 0; i < stock.catalogue.count; i++)
        if (!send_entry(session, server, &stock.catalogue.entries[i], &wal, err))
            return false;
    return control_send_item(session->client,
                             json_pack("{s:o, s:o}", "server", control_text(server), "restorable",
                                       restorable_to_json(&stock, session->repo, server)),
                             err);
}

/* Without a server's name: those the supervisor says the caller may see; an admin sees all. */
static bool may_see(const struct session *session, const char *server)
{
    const json_t *name;
    size_t i;

    if (session->right >= RIGHT_ADMIN)
        return true;
    json_array_foreach(session->servers, i, name)
    {
        if (strcmp(json_string_value(name) != NULL ? json_string_value(name) : "", server) == 0)
            return true;
    }
    return false;
}

static bool list_all(struct session *session, json_t *names, struct error *err)
{
    for (size_t i = 0; i < session->config->server_count; i++) {
        const char *server = session->config->servers[i].name;
        if (may_see(session, server) && !list_server(session, server, names, err))
            return false;
    }
    return true;
}

bool answer_list(struct session *session, const struct request *request, struct error *err)
{
    json_t *names SCOPED(scoped_json) = json_array();
    bool ok =
        request->server[0] != '\0' ? list_server(session, request->server, names, err) : list_all(session, names, err);

    return ok && control_send_result(session->client, json_pack("{s:O}", "servers", names), err);
}

bool answer_show(struct session *session, const struct request *request, struct error *err)
{
    struct catalogue catalogue SCOPED(scoped_catalogue) = {0};
    struct held_wal wal SCOPED(held_wal_done) = {.is_open = false};
    const struct catalogue_entry *entry;

    if (!catalogue_read(session->repo, request->server, &catalogue, err) ||
        !catalogue_find(&catalogue, request->backup, &entry, err))
        return false;
    if (entry->meta == NULL) {
        *err = entry->error;
        return false;
    }
    char *path SCOPED(scoped_free) = repo_backup_path(session->repo, request->server, &entry->system, &entry->id, "");
    json_t *result = events_backup(entry->meta);
    json_object_set_new(result, "path", control_text(path));
    json_object_set_new(result, "reach", reach_of(&wal, session, request->server, entry));
    notes_add(result, session->repo, request->server, entry);
    return control_send_result(session->client, result, err);
}
