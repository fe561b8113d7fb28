#ifndef PGCOFFER_SRC_DAEMON_BACKOFF_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_BACKOFF_INTERNAL_H

/* How long to wait before the next try: 1, 2, 5, 10, then 30 seconds for ever. */
struct backoff {
    unsigned failures;
};

unsigned backoff_next_seconds(struct backoff *backoff);
void backoff_reset(struct backoff *backoff); /* after a success */

#endif
