#ifndef PGCOFFER_CLI_NOTES_INTERNAL_H
#define PGCOFFER_CLI_NOTES_INTERNAL_H

#include "cli/cli_internal.h"

/* What was noted about a backup, as `list` and `show` tell it (doc/control-protocol.md), for people. */

/* Its last verification found damage. */
bool notes_found_damage(const json_t *backup);
/* That, or its last drill failed, or a note of it cannot be read. */
bool notes_are_bad(const json_t *backup);
/* PINNED, VERIFIED and DRILLED in three columns from `column` on. */
void notes_set_columns(struct table *table, size_t column, const json_t *backup);
/* "by=me, ticket=OPS-1"; "" without any. malloc'd. */
char *notes_annotations_text(const json_t *annotations) NEVER_NULL;
/* The backup with its notes as texts: a new reference. */
json_t *notes_in_words(const json_t *backup);
/* Of notes that cannot be read. */
void notes_warn(const struct invocation *invocation, const json_t *backup);

#endif
