#ifndef PGCOFFER_SRC_JOBS_CHECK_PATIENCE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_PATIENCE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * An end to waiting for commands. A connection of pg/connection.h waits for an answer as long as it takes, which is
 * right for a backup; whoever only pretends to be PostgreSQL must not hold `check`. The descriptor given here stands in
 * for the interrupt's: it becomes readable with it, or when the time is over.
 */
struct check_patience;
/* `interrupt_fd` -1: none. Without the kernel's help (no descriptors left) the time has no end. */
struct check_patience *check_patience_new(int interrupt_fd);
void check_patience_free(struct check_patience *patience); /* NULL is fine */
int check_patience_fd(const struct check_patience *patience);
/* From now on; 0: without end. */
void check_patience_renew(struct check_patience *patience, int64_t microseconds);
bool check_patience_is_over(const struct check_patience *patience);

#endif
