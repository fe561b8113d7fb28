#ifndef PGCOFFER_STAGE_TAR_PATH_INTERNAL_H
#define PGCOFFER_STAGE_TAR_PATH_INTERNAL_H

#include <stdbool.h>

/* As long as a path may be for the kernel, with its final NUL. */
#define TAR_PATH_SIZE 4096

/* `raw` as a tar spells it, without one leading "./" and one trailing '/'. False when that is not a safe path. */
bool tar_path_normalise(const char *raw, char ret_path[TAR_PATH_SIZE]);

/* For messages: what is not printable ASCII becomes "\xNN", so that every message is text; long names are cut. */
#define TAR_PATH_PRINTABLE_SIZE 256
void tar_path_printable(const char *raw, char ret_text[TAR_PATH_PRINTABLE_SIZE]);

#endif
