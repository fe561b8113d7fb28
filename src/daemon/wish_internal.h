#ifndef PGCOFFER_SRC_DAEMON_WISH_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_WISH_INTERNAL_H

#include "pgcoffer/config/config.h"

/* Would a receiver do the same with both? */
bool wish_is_same(const struct settings *left, const struct settings *right);

#endif
