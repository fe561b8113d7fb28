#include "jobs/gateway/pump_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#define TURNS_AT_ONCE 8 /* buffers, until others have theirs */

enum step { STEP_MOVED, STEP_BLOCKED, STEP_BROKEN };

static size_t room(const struct pump_way *way)
{
    return PUMP_BUFFER_SIZE - way->end;
}

static bool is_empty(const struct pump_way *way)
{
    return way->start == way->end;
}

static void take_out(struct pump_way *way, size_t size)
{
    way->start += size;
    if (is_empty(way))
        way->start = way->end = 0;
}

/* What TLS waits for may be the other direction than the one it was asked for. */
static enum step judge_tls(struct pump *pump, int result)
{
    switch (SSL_get_error(pump->tls, result)) {
    case SSL_ERROR_WANT_READ:
        pump->wants_network_read = true;
        return STEP_BLOCKED;
    case SSL_ERROR_WANT_WRITE:
        pump->wants_network_write = true;
        return STEP_BLOCKED;
    default:
        return STEP_BROKEN;
    }
}

static enum step read_network(struct pump *pump)
{
    struct pump_way *way = &pump->in;

    if (way->is_source_over || room(way) == 0)
        return STEP_BLOCKED;
    if (pump->is_network_dry) {
        pump->wants_network_read = true;
        return STEP_BLOCKED;
    }
    ERR_clear_error();
    int size = SSL_read(pump->tls, way->bytes + way->end, (int)room(way));
    if (size > 0) {
        way->end += (size_t)size;
        return STEP_MOVED;
    }
    if (SSL_get_error(pump->tls, size) == SSL_ERROR_ZERO_RETURN) {
        way->is_source_over = true;
        return STEP_MOVED;
    }
    enum step step = judge_tls(pump, size);
    pump->is_network_dry = step == STEP_BLOCKED && pump->wants_network_read;
    return step;
}

static enum step write_local(struct pump *pump)
{
    struct pump_way *way = &pump->in;

    if (is_empty(way)) {
        if (!way->is_source_over || way->is_over)
            return STEP_BLOCKED;
        shutdown(pump->local, SHUT_WR);
        way->is_over = true;
        return STEP_MOVED;
    }
    ssize_t size = send(pump->local, way->bytes + way->start, way->end - way->start, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size >= 0) {
        take_out(way, (size_t)size);
        return STEP_MOVED;
    }
    if (errno == EAGAIN || errno == EINTR) {
        pump->wants_local_write = true;
        return STEP_BLOCKED;
    }
    /* The daemon has closed: what it said before is still to be read, what the client says on is for nobody. */
    way->start = way->end = 0;
    way->is_source_over = way->is_over = true;
    return STEP_MOVED;
}

static enum step read_local(struct pump *pump)
{
    struct pump_way *way = &pump->out;

    if (way->is_source_over || room(way) == 0)
        return STEP_BLOCKED;
    ssize_t size = recv(pump->local, way->bytes + way->end, room(way), MSG_DONTWAIT);
    if (size > 0) {
        way->end += (size_t)size;
        return STEP_MOVED;
    }
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        pump->wants_local_read = true;
        return STEP_BLOCKED;
    }
    way->is_source_over = true; /* in order or not: what came before it is passed on */
    return STEP_MOVED;
}

static enum step write_network(struct pump *pump)
{
    struct pump_way *way = &pump->out;

    if (is_empty(way)) {
        if (!way->is_source_over || way->is_over)
            return STEP_BLOCKED;
        ERR_clear_error();
        int said = SSL_shutdown(pump->tls);
        if (said < 0)
            return judge_tls(pump, said);
        way->is_over = true;
        return STEP_MOVED;
    }
    ERR_clear_error();
    int size = SSL_write(pump->tls, way->bytes + way->start, (int)(way->end - way->start));
    if (size <= 0)
        return judge_tls(pump, size);
    take_out(way, (size_t)size);
    return STEP_MOVED;
}

enum pump_state pump_turn(struct pump *pump)
{
    static enum step (*const steps[])(struct pump * pump) = {read_network, write_local, read_local, write_network};

    pump->is_network_dry = false;
    for (int turn = 0; turn < TURNS_AT_ONCE; turn++) {
        bool has_moved = false;
        pump->wants_network_read = pump->wants_network_write = false;
        pump->wants_local_read = pump->wants_local_write = false;
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            enum step step = steps[i](pump);
            if (step == STEP_BROKEN)
                return PUMP_BROKEN;
            if (step == STEP_MOVED)
                pump->moves++;
            has_moved = has_moved || step == STEP_MOVED;
        }
        /* The local side never closes one direction only: with its end the conversation is over. */
        if (pump->out.is_over)
            return PUMP_OVER;
        if (!has_moved)
            return PUMP_WAITS;
    }
    return PUMP_RUNS;
}
