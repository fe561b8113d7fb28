#include <stdlib.h>
#include <string.h>

#include "cli/check_internal.h"
#include "cli/cli_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/tls/inventory.h"

/* tls show: every certificate that matters, as the caller can see it. */

struct view {
    const struct server_config *server;
    struct inventory inventory;
};

struct views {
    struct view *list;
    size_t count;
};

static void views_done(struct views *views)
{
    for (size_t i = 0; i < views->count; i++)
        inventory_done(&views->list[i].inventory);
    free(views->list);
}

static void take_view(struct views *views, const struct server_config *server)
{
    struct view *view = &views->list[views->count++];

    view->server = server;
    inventory_take(server, &view->inventory);
}

/* ---- as JSON ---- */

static json_t *time_or_null(struct timestamp time, bool is_there)
{
    return is_there ? json_time(time) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return text[0] != '\0' ? control_text(text) : json_null();
}

static bool is_served(const struct inventory_entry *entry)
{
    return entry->kind == INVENTORY_SERVED || entry->kind == INVENTORY_SERVED_CHAIN;
}

static json_t *entry_to_json(const struct inventory_entry *entry)
{
    const struct certificate_text *text = &entry->text;
    bool is_known = entry->state != INVENTORY_UNKNOWN;
    bool has_end = is_known && !entry->is_endless;
    json_t *object = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "what", inventory_kind_word(entry->kind), "state",
        inventory_state_word(entry->state), "subject", text_or_null(text->subject), "issuer",
        text_or_null(text->issuer), "names", text_or_null(text->names), "fingerprint", text_or_null(text->fingerprint),
        "not_before", time_or_null(text->not_before, is_known), "not_after", time_or_null(text->not_after, has_end),
        "days_left", has_end ? json_integer(text->days_left) : json_null(), "file",
        is_served(entry) ? json_null() : control_text(entry->place), "served_by",
        is_served(entry) ? control_text(entry->place) : json_null());

    if (is_known && entry->kind == INVENTORY_REVOCATION_LIST)
        json_object_set_new(object, "revoked", json_integer(entry->revoked_count));
    if (!is_known)
        json_object_set_new(object, "error", control_failure_to_json(&entry->fault));
    return object;
}

static json_t *views_to_json(const struct views *views)
{
    json_t *servers = json_array();

    for (size_t i = 0; i < views->count; i++) {
        const struct view *view = &views->list[i];
        json_t *certificates = json_array();
        for (size_t j = 0; j < view->inventory.count; j++)
            json_array_append_new(certificates, entry_to_json(&view->inventory.entries[j]));
        json_array_append_new(servers, json_pack("{s:o, s:o, s:o, s:I}", "server", text_or_null(view->server->name),
                                                 "address", text_or_null(view->inventory.address), "certificates",
                                                 certificates, "left_out", (json_int_t)view->inventory.left_out_count));
    }
    return json_pack("{s:o}", "servers", servers);
}

/* ---- for people ---- */

static void mark(struct table *table, enum inventory_state state)
{
    switch (state) {
    case INVENTORY_VALID:
        break;
    case INVENTORY_SOON:
        table_mark_doubtful(table);
        break;
    case INVENTORY_CRITICAL:
    case INVENTORY_EXPIRED:
    case INVENTORY_NOT_YET_VALID:
    case INVENTORY_UNKNOWN:
        table_mark_bad(table);
        break;
    }
}

static const char *text_or_dash(const char *text)
{
    return text[0] != '\0' ? text : "-";
}

/* The widest stands last, where nothing has to line up behind it. */
static void add_row(struct table *table, const struct server_config *server, const struct inventory_entry *entry)
{
    const struct certificate_text *text = &entry->text;
    bool is_known = entry->state != INVENTORY_UNKNOWN;
    bool is_list = entry->kind == INVENTORY_REVOCATION_LIST;

    table_add_row(table);
    table_set(table, 0, "%s", text_or_dash(server->name));
    table_set(table, 1, "%s", inventory_kind_word(entry->kind));
    if (is_list && is_known)
        table_set(table, 2, "%ld revoked", entry->revoked_count);
    else
        table_set(table, 2, "%s", text_or_dash(text->subject));
    table_set(table, 3, "%s", text_or_dash(text->issuer));
    table_set(table, 4, "%s", text_or_dash(text->names));
    table_set(table, 5, "%s", text_or_dash(text->not_after_text));
    if (is_known && !entry->is_endless)
        table_set(table, 6, "%ld", text->days_left);
    else
        table_set(table, 6, "-");
    table_set(table, 7, "%s", inventory_state_word(entry->state));
    table_set(table, 8, "%s", entry->place);
    table_set(table, 9, "%s", is_known ? text_or_dash(text->fingerprint) : entry->fault.message);
    mark(table, entry->state);
}

static void print_views(const struct invocation *invocation, const struct views *views)
{
    static const char *const titles[] = {"SERVER",    "WHAT",       "SUBJECT", "ISSUER", "NAMES",
                                         "NOT AFTER", ">DAYS LEFT", "STATE",   "FILE",   "SHA-256 FINGERPRINT"};
    struct table *table SCOPED(scoped_table) = table_new(invocation, titles, 10);

    for (size_t i = 0; i < views->count; i++)
        for (size_t j = 0; j < views->list[i].inventory.count; j++)
            add_row(table, views->list[i].server, &views->list[i].inventory.entries[j]);
    table_print(table);
    for (size_t i = 0; i < views->count; i++)
        if (views->list[i].inventory.left_out_count > 0)
            output_line(invocation, "%s: %zu more CA certificates in tls_ca_file had no part in this",
                        text_or_dash(views->list[i].server->name), views->list[i].inventory.left_out_count);
}

/* Everything was shown that could be; that something could not is the end all the same. */
static bool find_fault(const struct views *views, struct error *err)
{
    for (size_t i = 0; i < views->count; i++)
        for (size_t j = 0; j < views->list[i].inventory.count; j++)
            if (views->list[i].inventory.entries[j].state == INVENTORY_UNKNOWN) {
                *err = views->list[i].inventory.entries[j].fault;
                if (views->list[i].server->name[0] != '\0')
                    error_wrap(err, "[%s]", views->list[i].server->name);
                return true;
            }
    return false;
}

static bool show(struct invocation *invocation, const struct views *views, struct error *err)
{
    bool has_fault = find_fault(views, err);

    if (!output_is_json(invocation)) {
        print_views(invocation, views);
        return !has_fault;
    }
    invocation->findings = views_to_json(views);
    if (!has_fault)
        output_json(invocation->findings);
    return !has_fault;
}

/* ---- which servers ---- */

/* Nobody logs in here: the role does not matter, and the key is not read. */
static bool show_described(struct invocation *invocation, struct server_config *server, struct error *err)
{
    struct views views SCOPED(views_done) = {.list = memory_new(sizeof *views.list)};

    if (server->settings.user[0] == '\0')
        snprintf(server->settings.user, sizeof server->settings.user, "nobody");
    if (!check_target_read(invocation, server, err))
        return false;
    take_view(&views, server);
    return show(invocation, &views, err);
}

bool command_tls_show(struct invocation *invocation, struct error *err)
{
    const char *name = invocation_argument(invocation, 0);
    struct config *config SCOPED(scoped_config) = NULL;
    const struct server_config *server = NULL;
    struct server_config described = {.name = ""};

    if (name[0] == '\0' && check_target_is_given(invocation)) {
        config_default_settings(&described.settings);
        return show_described(invocation, &described, err);
    }
    if (!session_source_config(invocation, &config, err) ||
        (name[0] != '\0' && !config_find_server(config, name, &server, err)))
        return false;
    if (check_target_is_given(invocation)) {
        described = *server;
        return show_described(invocation, &described, err);
    }
    struct views views SCOPED(views_done) = {.list = memory_new((config->server_count + 1) * sizeof *views.list)};
    for (size_t i = 0; i < config->server_count; i++)
        if (server == NULL || server == &config->servers[i])
            take_view(&views, &config->servers[i]);
    if (config->server_count == 0)
        output_line(invocation, "the configuration has no server");
    return show(invocation, &views, err);
}
