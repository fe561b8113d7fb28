#ifndef PGCOFFER_SRC_REPO_BACKUP_META_INTERNAL_H
#define PGCOFFER_SRC_REPO_BACKUP_META_INTERNAL_H

#include "pgcoffer/repo/backup_meta.h"

#define BACKUP_META_DIGEST_SIZE 65

bool backup_state_from_word(const char *word, enum backup_state *ret_state);
/* The one spelling of a document: compact, keys sorted. malloc'd, never NULL. */
char *backup_meta_canonical_text(const json_t *document);
/* SHA-256 of the canonical text of `document`, which must not hold "sha256". */
void backup_meta_digest(const json_t *document, char ret_hex[BACKUP_META_DIGEST_SIZE]);

#endif
