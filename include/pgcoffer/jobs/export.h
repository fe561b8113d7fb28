#ifndef PGCOFFER_JOBS_EXPORT_H
#define PGCOFFER_JOBS_EXPORT_H

#include "pgcoffer/jobs/restore.h"

/*
 * Export gives a backup as other programs take one: all of it in one tar (plain or .tar.zst) or one folder, as
 * pg_basebackup would have written it. Runs in the CLI, as the caller, and fetches over sessions; every frame's SHA-256
 * is checked before its bytes are written.
 */
enum export_form { EXPORT_TAR, EXPORT_TAR_ZST, EXPORT_FOLDER };

struct export_options {
    struct restore_options restore; /* the request, jobs and the hooks; the rest is not used */
    enum export_form form;
    const char *path; /* absolute; NULL: the standard output */
    bool may_replace; /* a file that is there */
    bool with_wal;    /* all that the copy needs to start by itself */
};

/*
 * *ret_result, a new reference: {"server","backup","system_id","timeline","output":TEXT|null,"format","with_wal",
 * "bytes","files","wal_files","tablespaces":N,"seconds","warnings"}. On failure nothing of it remains but what a pipe
 * has taken. USAGE: the output is there; STORAGE: it cannot be written.
 */
bool export_run(const struct export_options *options, const struct connector *connector, json_t **ret_result,
                struct error *err) NODISCARD;

const char *export_form_word(enum export_form form); /* "tar" "tar.zst" "directory" */

#endif
