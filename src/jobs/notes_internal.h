#ifndef PGCOFFER_JOBS_NOTES_INTERNAL_H
#define PGCOFFER_JOBS_NOTES_INTERNAL_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/repo/backup_notes.h"
#include "pgcoffer/repo/catalogue.h"

/* The notes beside a backup as the control protocol tells them. New references. */

/* {"reason","pinned_at","until"}; null when it is not pinned. */
json_t *notes_pin(const struct backup_pin *pin);
/* {KEY:VALUE,...} */
json_t *notes_annotations(const struct backup_annotations *annotations);
/* {"at","good","seconds","words"}; null: never. */
json_t *notes_proof(const struct backup_proof *proof);
/* The same and {"backup","target","phases":{PHASE:seconds},"rows","server_version"}; null: never. */
json_t *notes_drill(const struct backup_drill *drill);

/*
 * Puts "pinned", "pin", "annotations", "verified" and "drill" into what is told of a backup. A note that cannot be read
 * is null there, and why stands in "note_errors".
 */
void notes_add(json_t *item, const struct repo *repo, const char *server, const struct catalogue_entry *entry);

#endif
