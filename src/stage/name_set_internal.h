#ifndef PGCOFFER_STAGE_NAME_SET_INTERNAL_H
#define PGCOFFER_STAGE_NAME_SET_INTERNAL_H

#include "pgcoffer/base/error.h"

/*
 * Which names have been seen, in 16 bytes each: the first half of the name's SHA-256, in an open addressing table.
 * Nobody can make two names that look the same here, and a name of any length costs the same.
 */
struct name_set;

#define NAME_SET_MOST (1u << 24)

struct name_set *name_set_new(void);
void name_set_free(struct name_set *set); /* NULL is fine */
/* *ret_is_new is false when the name was there already. More than NAME_SET_MOST names, or no memory, is FAILED. */
bool name_set_add(struct name_set *set, const char *name, bool *ret_is_new, struct error *err) NODISCARD;

#endif
