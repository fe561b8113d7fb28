#ifndef PGCOFFER_JOBS_EXPORT_INTERNAL_H
#define PGCOFFER_JOBS_EXPORT_INTERNAL_H

#include "jobs/restore/restore_internal.h"
#include "pgcoffer/jobs/export.h"

/* Where members go, one after the other, with their whole path. */
struct export_output;
struct export_output_functions {
    bool (*folder)(struct export_output *output, const char *path, struct error *err);
    bool (*file)(struct export_output *output, const char *path, uint64_t size, struct error *err);
    bool (*data)(struct export_output *output, const void *bytes, size_t size, struct error *err);
    /* It is whole: under its name and durable from then on. */
    bool (*finish)(struct export_output *output, struct error *err);
    /* Without finish() nothing of it remains. */
    void (*release)(struct export_output *output);
};
struct export_output {
    const struct export_output_functions *functions;
};

/* tar_output.c, folder_output.c. Both are refused before the first byte: USAGE, STORAGE. */
bool tar_output_new(const struct export_options *options, const struct restore_plan *plan,
                    struct export_output **ret_output, struct error *err) NODISCARD;
bool folder_output_new(const struct export_options *options, const struct restore_plan *plan,
                       struct export_output **ret_output, struct error *err) NODISCARD;

/* What the whole of an export has at hand. */
struct export
{
    const struct export_options *options;
    struct restore restore; /* of which the reading half is used */
    struct export_output *output;
    bool has_tablespaces;
    bool has_tablespace_folder; /* pg_tblspc is made */
    uint64_t tablespace_count;
    bool is_left_out; /* the open member */
};

/* wal.c: pg_wal from the backup's start to its end */
bool export_add_wal(struct export *export, struct error *err) NODISCARD;

#endif
