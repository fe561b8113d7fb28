#ifndef PGCOFFER_SRC_JOBS_SURVEY_BACKUPS_INTERNAL_H
#define PGCOFFER_SRC_JOBS_SURVEY_BACKUPS_INTERNAL_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/repo/catalogue.h"

/*
 * The BACKUPS of doc/control-protocol.md: the newest SURVEY_MOST_BACKUPS of the present cluster, oldest first, how
 * many there are in which state, and the newest that may be counted on. Below 8 KiB. New reference.
 */
#define SURVEY_MOST_BACKUPS 48
json_t *survey_backups(const struct repo *repo, const char *server, const struct catalogue *catalogue);

#endif
