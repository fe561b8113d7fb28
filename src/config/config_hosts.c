#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config_internal.h"

/* The hosts of one server: `host`, `hostaddr` and `port` are lists that go together. */

bool setting_item_next(const char **at, char ret_item[CONFIG_TEXT_SIZE])
{
    if (*at == NULL)
        return false;
    const char *begin = *at + strspn(*at, " \t");
    size_t size = strcspn(begin, ",");
    const char *end = begin + size;

    *at = *end == ',' ? end + 1 : NULL;
    while (size > 0 && (begin[size - 1] == ' ' || begin[size - 1] == '\t'))
        size--;
    snprintf(ret_item, CONFIG_TEXT_SIZE, "%.*s", (int)size, begin);
    return true;
}

static size_t count_items(const char *list)
{
    char item[CONFIG_TEXT_SIZE];
    size_t count = 0;

    if (list[0] == '\0')
        return 0;
    for (const char *at = list; setting_item_next(&at, item);)
        count++;
    return count;
}

/* "" when there are fewer. */
static void take_item(const char *list, size_t index, char ret_item[CONFIG_TEXT_SIZE])
{
    const char *at = list[0] == '\0' ? NULL : list;

    while (setting_item_next(&at, ret_item))
        if (index-- == 0)
            return;
    ret_item[0] = '\0';
}

static size_t host_count(const struct settings *settings)
{
    size_t hosts = count_items(settings->host), addresses = count_items(settings->hostaddr);
    size_t count = hosts > 0 ? hosts : addresses;

    return count > 0 ? count : 1;
}

size_t config_host_count(const struct server_config *server)
{
    return host_count(&server->settings);
}

static void take_host(struct settings *settings, size_t index)
{
    char item[CONFIG_TEXT_SIZE];

    take_item(settings->host, index, item);
    memcpy(settings->host, item, sizeof item);
    take_item(settings->hostaddr, index, item);
    memcpy(settings->hostaddr, item, sizeof item);
    take_item(settings->port_list, index, item);
    if (item[0] != '\0')
        settings->port = strtol(item, NULL, 10);
    settings->port_list[0] = '\0';
}

void config_take_host(const struct server_config *server, size_t index, struct server_config *ret_server)
{
    *ret_server = *server;
    if (host_count(&server->settings) == 1)
        return;
    take_host(&ret_server->settings, index);
    ret_server->is_one_of_several = true;
}

const char *config_host_name(const struct server_config *server)
{
    const struct settings *settings = &server->settings;

    return settings->host[0] == '\0' ? settings->hostaddr : settings->host;
}

static bool check_count(const struct settings *settings, size_t count, enum setting_id *ret_id, struct error *err)
{
    size_t addresses = count_items(settings->hostaddr), ports = count_items(settings->port_list);

    if (addresses > 0 && addresses != count) {
        *ret_id = SETTING_hostaddr;
        error_set(err, ERROR_CONFIG, "hostaddr has %zu %s, and host has %zu", addresses,
                  addresses == 1 ? "address" : "addresses", count);
        return error_hint(err, "Give one address for each host, in the same order, or none at all.");
    }
    if (ports > 0 && ports != count) {
        *ret_id = SETTING_port;
        error_set(err, ERROR_CONFIG, "port has %zu numbers, and there %s %zu %s", ports, count == 1 ? "is" : "are",
                  count, count == 1 ? "host" : "hosts");
        return error_hint(err, "Give one port for all hosts, or one for each, in the same order.");
    }
    return true;
}

static bool is_same_place(const struct settings *left, const struct settings *right)
{
    return strcasecmp(left->host, right->host) == 0 && strcasecmp(left->hostaddr, right->hostaddr) == 0 &&
           left->port == right->port;
}

static bool check_pair(const struct settings *settings, size_t first, size_t second, struct error *err)
{
    struct settings left = *settings, right = *settings;

    take_host(&left, first);
    take_host(&right, second);
    if (!is_same_place(&left, &right))
        return true;
    error_set(err, ERROR_CONFIG, "%s port %ld stands twice among the hosts",
              left.host[0] != '\0' ? left.host : left.hostaddr, left.port);
    return error_hint(err, "Every host is tried once: take one of the two away, or correct its port.");
}

bool config_hosts_check(const struct settings *settings, enum setting_id *ret_id, struct error *err)
{
    size_t count = host_count(settings);

    *ret_id = SETTING_host;
    if (count > CONFIG_MOST_HOSTS) {
        error_set(err, ERROR_CONFIG, "%zu hosts are more than %d", count, CONFIG_MOST_HOSTS);
        return error_hint(err, "Name the servers of one cluster that may be its primary; another cluster is another "
                               "section.");
    }
    if (!check_count(settings, count, ret_id, err))
        return false;
    *ret_id = settings->host[0] != '\0' ? SETTING_host : SETTING_hostaddr;
    for (size_t second = 1; second < count; second++)
        for (size_t first = 0; first < second; first++)
            if (!check_pair(settings, first, second, err))
                return false;
    return true;
}

bool config_check_hosts(const struct settings *settings, struct error *err)
{
    enum setting_id ignored;

    return config_hosts_check(settings, &ignored, err);
}
