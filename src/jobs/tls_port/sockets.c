#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>

#include "jobs/tls_port/port_internal.h"
#include "pgcoffer/base/file.h"

static bool bind_one(const struct port_words *words, const struct addrinfo *address, int *ret_socket, struct error *err)
{
    char text[PORT_ADDRESS_SIZE], place[PORT_ADDRESS_SIZE];
    struct sockaddr_storage storage = {0};
    const int yes = 1;

    int fd SCOPED(scoped_close) = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a socket for %s", words->owner);
    memcpy(&storage, address->ai_addr, address->ai_addrlen);
    port_describe_address(&storage, text, place);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (address->ai_family == AF_INET6) /* "::" and "0.0.0.0" stand side by side */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0) {
        *ret_socket = file_take_descriptor(&fd);
        return true;
    }
    error_set_kind_errno(err, ERROR_FAILED, "could not bind %s to %s", words->owner, text);
    if (errno == EADDRINUSE)
        return error_hint(err, "Another program has the port: choose another one for %s, or end it (ss -ltnp).",
                          words->port);
    if (errno == EACCES)
        return error_hint(err, "Ports below 1024 are root's: choose another one for %s.", words->port);
    return error_hint(err, "Correct host and %s in [pgcoffer].", words->port);
}

/* A name may have lines in /etc/hosts that lead to one address. */
static bool is_repeated(const struct addrinfo *first, const struct addrinfo *address)
{
    for (; first != address; first = first->ai_next)
        if (first->ai_addrlen == address->ai_addrlen &&
            memcmp(first->ai_addr, address->ai_addr, address->ai_addrlen) == 0)
            return true;
    return false;
}

bool port_bind(const struct port_words *words, const char *host, long port, int *ret_sockets, size_t *ret_count,
               struct error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses;
    char service[16];
    size_t count = 0;
    bool is_bound = true;

    snprintf(service, sizeof service, "%ld", port);
    int status = getaddrinfo(host, service, &hints, &addresses);
    if (status != 0) {
        error_set(err, ERROR_CONFIG, "could not resolve host = %s of [pgcoffer]: %s", host, gai_strerror(status));
        return error_hint(err, "Name an address or a name of this machine.");
    }
    for (struct addrinfo *at = addresses; at != NULL && count < PORT_MOST_SOCKETS && is_bound; at = at->ai_next) {
        if (is_repeated(addresses, at))
            continue;
        is_bound = bind_one(words, at, &ret_sockets[count], err);
        if (is_bound)
            count++;
        else if (at->ai_family == AF_INET6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) &&
                 (count > 0 || at->ai_next != NULL))
            is_bound = true; /* "localhost" on a machine without IPv6 */
    }
    freeaddrinfo(addresses);
    if (is_bound && count > 0) {
        *ret_count = count;
        return true;
    }
    for (size_t i = 0; i < count; i++)
        close(ret_sockets[i]);
    return false;
}

void port_describe_address(const struct sockaddr_storage *address, char ret_text[PORT_ADDRESS_SIZE],
                           char ret_place[PORT_ADDRESS_SIZE])
{
    char words[INET6_ADDRSTRLEN] = "?";

    if (address->ss_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof six);
        inet_ntop(AF_INET6, &six.sin6_addr, words, sizeof words);
        snprintf(ret_text, PORT_ADDRESS_SIZE, "[%s]:%u", words, ntohs(six.sin6_port));
        memset(six.sin6_addr.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &six.sin6_addr, words, sizeof words);
        snprintf(ret_place, PORT_ADDRESS_SIZE, "%s/64", words);
        return;
    }
    struct sockaddr_in four;
    memcpy(&four, address, sizeof four);
    inet_ntop(AF_INET, &four.sin_addr, words, sizeof words);
    snprintf(ret_text, PORT_ADDRESS_SIZE, "%s:%u", words, ntohs(four.sin_port));
    snprintf(ret_place, PORT_ADDRESS_SIZE, "%s", words);
}

void port_keep_alive(int fd)
{
    const int yes = 1, idle = 60, interval = 15, probes = 4;

    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    struct sockaddr_in four;
    struct sockaddr_in6 six;

    if (address->ss_family == AF_INET6) {
        memcpy(&six, address, sizeof six);
        return IN6_IS_ADDR_LOOPBACK(&six.sin6_addr);
    }
    memcpy(&four, address, sizeof four);
    return (ntohl(four.sin_addr.s_addr) >> 24) == 127;
}

bool port_demand_loopback(const struct port *port, struct error *err)
{
    char text[PORT_ADDRESS_SIZE], place[PORT_ADDRESS_SIZE];

    for (size_t i = 0; i < port->socket_count; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        if (getsockname(port->sockets[i], (struct sockaddr *)&address, &size) == 0 && is_loopback(&address))
            continue;
        port_describe_address(&address, text, place);
        error_set(err, ERROR_CONFIG, "host of [pgcoffer] leads to %s, which other machines reach, and %s has no %s",
                  text, port->words->owner, port->words->cert_file);
        return error_hint(err, "Set %s, %s and %s, or host = 127.0.0.1.", port->words->cert_file, port->words->key_file,
                          port->words->ca_file);
    }
    return true;
}
