#ifndef PGCOFFER_SRC_REPO_BACKUP_NOTES_INTERNAL_H
#define PGCOFFER_SRC_REPO_BACKUP_NOTES_INTERNAL_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/repo/backup_notes.h"

/* The documents beside a backup as text: what is in the files, and their strict readers. All failures are INTEGRITY. */

#define BACKUP_NOTE_FORMAT 1

/* One object, of a format that is known, with a right checksum. NULL on failure. */
json_t *backup_note_parse(const char *text, size_t size, struct error *err) NODISCARD;

bool backup_pin_from_json(const json_t *document, struct backup_pin *ret_pin, struct error *err) NODISCARD;
bool backup_annotations_from_json(const json_t *document, struct backup_annotations *ret_annotations,
                                  struct error *err) NODISCARD;
bool backup_proof_from_json(const json_t *document, struct backup_proof *ret_proof, struct error *err) NODISCARD;
bool backup_drill_from_json(const json_t *document, struct backup_drill *ret_drill, struct error *err) NODISCARD;

/* New references, with format and checksum. */
json_t *backup_pin_to_json(const struct backup_pin *pin);
json_t *backup_annotations_to_json(const struct backup_annotations *annotations);
json_t *backup_proof_to_json(const struct backup_proof *proof);
json_t *backup_drill_to_json(const struct backup_drill *drill);

#endif
