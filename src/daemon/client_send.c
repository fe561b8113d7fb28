#include <string.h>

#include "daemon/client_internal.h"
#include "pgcoffer/base/memory.h"

void client_send_result(struct client *client, json_t *data_stolen)
{
    json_t *message SCOPED(scoped_json) = json_pack("{s:s, s:o}", "event", "result", "data", data_stolen);

    client_send(client, message);
}

static void send_as_items(struct client *client, json_t *list, const char *item_name)
{
    size_t index;
    json_t *element;

    json_array_foreach(list, index, element)
    {
        json_t *item SCOPED(scoped_json) = json_pack("{s:s, s:{s:O}}", "event", "item", "data", item_name, element);
        client_send(client, item);
    }
    json_array_clear(list);
}

void client_send_lists(struct client *client, json_t *data_stolen)
{
    char *line SCOPED(scoped_free) = json_to_line(data_stolen);

    if (strlen(line) + sizeof "{\"event\":\"result\",\"data\":}" > CONTROL_LINE_SIZE) {
        send_as_items(client, json_object_get(data_stolen, "servers"), "server");
        send_as_items(client, json_object_get(data_stolen, "jobs"), "job");
    }
    client_send_result(client, data_stolen);
}

void client_send_error(struct client *client, const struct error *failure)
{
    json_t *message SCOPED(scoped_json) = control_error_to_json(failure);

    client_send(client, message);
}
