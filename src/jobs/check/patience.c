#include "jobs/check/patience_internal.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"

struct check_patience {
    int timer, either;
};

struct check_patience *check_patience_new(int interrupt_fd)
{
    struct check_patience *patience = memory_new(sizeof *patience);
    struct epoll_event event = {.events = EPOLLIN};

    patience->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    patience->either = epoll_create1(EPOLL_CLOEXEC);
    if (patience->either >= 0 && patience->timer >= 0)
        epoll_ctl(patience->either, EPOLL_CTL_ADD, patience->timer, &event);
    if (patience->either >= 0 && interrupt_fd >= 0)
        epoll_ctl(patience->either, EPOLL_CTL_ADD, interrupt_fd, &event);
    return patience;
}

void check_patience_free(struct check_patience *patience)
{
    if (patience == NULL)
        return;
    if (patience->timer >= 0)
        close(patience->timer);
    if (patience->either >= 0)
        close(patience->either);
    free(patience);
}

int check_patience_fd(const struct check_patience *patience)
{
    return patience->either;
}

void check_patience_renew(struct check_patience *patience, int64_t microseconds)
{
    const struct itimerspec end = {
        .it_value = {.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000}};

    if (patience->timer >= 0)
        timerfd_settime(patience->timer, 0, &end, NULL);
}

bool check_patience_is_over(const struct check_patience *patience)
{
    struct pollfd watched = {.fd = patience->timer, .events = POLLIN};

    return patience->timer >= 0 && poll(&watched, 1, 0) > 0;
}
