#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#include "jobs/check/judgement_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"

const char *role_name_quote(const char *name, char ret_text[ROLE_NAME_SIZE])
{
    bool is_plain = strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789") == strlen(name) &&
                    strspn(name, "0123456789") == 0 && strcmp(name, "all") != 0 && strcmp(name, "user") != 0;
    size_t used = 0;

    if (is_plain && name[0] != '\0') {
        snprintf(ret_text, ROLE_NAME_SIZE, "%s", name);
        return ret_text;
    }
    ret_text[used++] = '"';
    for (; *name != '\0' && used + 3 < ROLE_NAME_SIZE; name++) {
        if (*name == '"')
            ret_text[used++] = '"';
        ret_text[used++] = *name;
    }
    ret_text[used++] = '"';
    ret_text[used] = '\0';
    return ret_text;
}

/* From which of our addresses would we reach that one? Connecting a datagram socket sends nothing. */
static bool find_own_address(const char *address, char ret_text[72])
{
    struct addrinfo wish = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *peer = NULL;
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    char name[64];

    if (text_is_empty(address) || getaddrinfo(address, "5432", &wish, &peer) != 0)
        return false;
    int fd SCOPED(scoped_close) = socket(peer->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_found = fd >= 0 && connect(fd, peer->ai_addr, peer->ai_addrlen) == 0 &&
                    getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
                    getnameinfo((struct sockaddr *)&own, size, name, sizeof name, NULL, 0, NI_NUMERICHOST) == 0;
    freeaddrinfo(peer);
    if (!is_found)
        return false;
    /* A link's name behind a local address means nothing to pg_hba.conf. */
    name[strcspn(name, "%")] = '\0';
    snprintf(ret_text, 72, "%s/%s", name, own.ss_family == AF_INET6 ? "128" : "32");
    return true;
}

static const char *find_method(const struct check_run *run, bool has_certificate)
{
    if (!has_certificate)
        return "scram-sha-256";
    if (run->has_answer && run->answer.kind != STARTUP_ADMITTED && run->answer.kind != STARTUP_REFUSED)
        return "scram-sha-256 clientcert=verify-full";
    return "cert";
}

void answer_facts_gather(const struct check_run *run, const char *address, struct answer_facts *ret_facts)
{
    struct answer_facts facts = {.run = run, .has_certificate = sk_X509_num(run->own) > 0};

    snprintf(facts.address, sizeof facts.address, "%s", text_is_empty(address) ? check_host(run) : address);
    if (!find_own_address(address, facts.client))
        snprintf(facts.client, sizeof facts.client, "ADDRESS/32");
    if (facts.has_certificate) {
        struct certificate_text text;
        certificate_describe(sk_X509_value(run->own, 0), &text);
        snprintf(facts.common_name, sizeof facts.common_name, "%s", text.common_name);
    }
    role_name_quote(run->server->settings.user, facts.role);
    snprintf(facts.line, sizeof facts.line, "hostssl replication %s %s %s", facts.role, facts.client,
             find_method(run, facts.has_certificate));
    *ret_facts = facts;
}
