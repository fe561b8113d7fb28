#include "jobs/check/hba_rule_internal.h"

#include <arpa/inet.h>
#include <regex.h>
#include <stdint.h>
#include <string.h>

/* Of a name in pg_ident.conf; longer ones are not tried. */
#define EXPRESSION_MOST 256

static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; at != NULL && *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (size == length && strncmp(at, word, length) == 0)
            return true;
        at += size + (at[size] == ',');
    }
    return false;
}

/* A role, a group of which it may be a member, or a regular expression (16 and later). */
static bool covers_user(const char *list, const char *user)
{
    if (list_has(list, user) || list_has(list, "all"))
        return true;
    for (const char *at = list; at != NULL && *at != '\0';) {
        if (*at == '+' || *at == '/')
            return true;
        at += strcspn(at, ",");
        at += *at == ',';
    }
    return false;
}

static bool covers_address(const struct hba_rule *rule, const char *client)
{
    uint8_t network[16], mask[16], own[16];
    int family = rule->address != NULL && strchr(rule->address, ':') != NULL ? AF_INET6 : AF_INET;
    size_t size = family == AF_INET6 ? 16 : 4;

    if (client[0] == '\0' || rule->address == NULL || rule->netmask == NULL ||
        inet_pton(family, rule->address, network) != 1 || inet_pton(family, rule->netmask, mask) != 1)
        return true;
    if (inet_pton(family, client, own) != 1)
        return false;
    for (size_t i = 0; i < size; i++)
        if (((network[i] ^ own[i]) & mask[i]) != 0)
            return false;
    return true;
}

static bool is_over_tcp(const struct hba_rule *rule)
{
    return rule->type != NULL && rule->method != NULL && strcmp(rule->type, "local") != 0;
}

enum hba_demand hba_rule_demand(const struct hba_rule *rule)
{
    if (strcmp(rule->method, "cert") == 0 ||
        (rule->options != NULL && strstr(rule->options, "clientcert=verify-") != NULL))
        return HBA_DEMANDS_CERTIFICATE;
    if (strcmp(rule->method, "trust") == 0 || strcmp(rule->method, "ident") == 0)
        return HBA_DEMANDS_NOTHING;
    return HBA_DEMANDS_PASSWORD;
}

bool hba_rule_takes_plaintext(const struct hba_rule *rule)
{
    return strcmp(rule->type, "host") == 0 || strcmp(rule->type, "hostnossl") == 0 ||
           strcmp(rule->type, "hostnogssenc") == 0;
}

bool hba_rule_fits(const struct hba_rule *rule, const char *user, const char *client)
{
    return is_over_tcp(rule) && list_has(rule->bases, "replication") && covers_user(rule->users, user) &&
           covers_address(rule, client);
}

const struct hba_rule *hba_rule_find_ours(const struct hba_rule *rules, size_t count, const char *user,
                                          const char *client)
{
    for (size_t i = 0; i < count; i++)
        if (hba_rule_fits(&rules[i], user, client) && strcmp(rules[i].type, "hostnossl") != 0 &&
            strcmp(rules[i].type, "hostgssenc") != 0)
            return &rules[i];
    return NULL;
}

const struct hba_rule *hba_rule_find_looser(const struct hba_rule *rules, size_t count, const struct hba_rule *ours,
                                            const char *user)
{
    for (size_t i = 0; i < count && &rules[i] != ours; i++) {
        const struct hba_rule *rule = &rules[i];
        if (!is_over_tcp(rule) || !list_has(rule->bases, "replication") || strcmp(rule->method, "reject") == 0)
            continue;
        enum hba_demand demand = hba_rule_demand(rule);
        if (demand == HBA_DEMANDS_NOTHING)
            return rule;
        if (ours == NULL || !covers_user(rule->users, user))
            continue;
        if (demand < hba_rule_demand(ours) || (hba_rule_takes_plaintext(rule) && !hba_rule_takes_plaintext(ours)))
            return rule;
    }
    return NULL;
}

/* The server chooses it: the C library follows nested brackets and counts until stack or memory is at an end. */
static bool is_harmless(const char *expression)
{
    return strlen(expression) <= EXPRESSION_MOST && strchr(expression, '{') == NULL;
}

bool ident_name_catches_all(const char *system_name)
{
    static const char *const strangers[] = {"pgcoffer-check-nobody", "CN=Somebody Else,O=Elsewhere", "x"};
    regex_t expression;

    if (system_name == NULL)
        return false;
    if (strcmp(system_name, "all") == 0)
        return true;
    if (system_name[0] != '/' || !is_harmless(system_name + 1) ||
        regcomp(&expression, system_name + 1, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    bool catches_all = true;
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        catches_all = catches_all && regexec(&expression, strangers[i], 0, NULL, 0) == 0;
    regfree(&expression);
    return catches_all;
}
