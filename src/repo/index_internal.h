#ifndef PGCOFFER_SRC_REPO_INDEX_INTERNAL_H
#define PGCOFFER_SRC_REPO_INDEX_INTERNAL_H

#include "pgcoffer/repo/index.h"

#define INDEX_FORMAT 1
/* Ceilings of what a reader takes, well above what the writer makes (2 MiB frames). */
#define INDEX_MOST_FRAME_LENGTH (UINT32_C(16) << 20)
#define INDEX_MOST_ARCHIVES     4096
#define INDEX_MOST_PATH         4095
#define INDEX_MOST_NAME         255

/* One line's object into a value; `ret_member->path` is malloc'd. */
bool index_parse_frame(const json_t *line, struct index_frame *ret_frame, struct error *err) NODISCARD;
bool index_parse_member(const json_t *line, struct index_member *ret_member, struct error *err) NODISCARD;

#endif
