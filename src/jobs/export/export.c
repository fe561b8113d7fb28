#include <stdlib.h>
#include <string.h>

#include "jobs/export/export_internal.h"
#include "pgcoffer/base/memory.h"

#define MOST_MANIFEST ((size_t)1 << 30)
#define TABLESPACES   "pg_tblspc"

const char *export_form_word(enum export_form form)
{
    switch (form) {
    case EXPORT_TAR:
        return "tar";
    case EXPORT_TAR_ZST:
        return "tar.zst";
    case EXPORT_FOLDER:
        return "directory";
    }
    return "";
}

/* ---- the members, as they pass ---- */

/* The files of a tablespace stand where its link would: one tar, or one folder, holds everything. */
static bool begin_archive(void *context, const char *archive, struct error *err)
{
    struct export *export = context;
    struct export_output *output = export->output;
    char *path SCOPED(scoped_free) = memory_text(TABLESPACES "/%s", archive);

    if (strcmp(archive, "base") == 0)
        return true;
    export->tablespace_count++;
    if (!export->has_tablespace_folder && !output->functions->folder(output, TABLESPACES, err))
        return false;
    export->has_tablespace_folder = true;
    return output->functions->folder(output, path, err);
}

/*
 * A copy with its WAL starts by itself: it is neither a standby nor in a recovery, and by the map PostgreSQL would put
 * links in the places of its tablespaces.
 */
static bool is_left_out(const struct export *export, const char *path)
{
    static const char *const names[] = {"tablespace_map", "recovery.signal", "standby.signal"};

    for (size_t i = export->has_tablespaces ? 0 : 1; i < sizeof names / sizeof names[0]; i++)
        if (export->options->with_wal && strcmp(path, names[i]) == 0)
            return true;
    return export->has_tablespace_folder && strcmp(path, TABLESPACES) == 0; /* it is there already */
}

/*
 * Folders in pg_tblspc end a recovery, unless PostgreSQL is told that they are meant. It knows the setting since 13.8,
 * 14.5 and 15, which are also the first to look.
 */
static const char in_place_setting[] = "\n# pgcoffer: the tablespaces of this export are folders in pg_tblspc\n"
                                       "allow_in_place_tablespaces = on\n";

static bool gets_setting(const struct export *export, const struct index_member *member)
{
    int version = export->restore.plan.server_version;

    return export->options->with_wal && export->has_tablespaces && strcmp(member->archive, "base") == 0 &&
           strcmp(member->path, "postgresql.auto.conf") == 0 &&
           (version >= 140005 || (version >= 130008 && version < 140000));
}

static bool begin_member(void *context, const struct index_member *member, struct error *err)
{
    struct export *export = context;
    struct export_output *output = export->output;
    bool is_of_base = strcmp(member->archive, "base") == 0;
    char *path SCOPED(scoped_free) =
        is_of_base ? memory_copy_text(member->path) : memory_text(TABLESPACES "/%s/%s", member->archive, member->path);

    export->is_left_out = is_of_base && is_left_out(export, path);
    if (export->is_left_out)
        return true;
    export->has_tablespace_folder |= strcmp(path, TABLESPACES) == 0;
    if (member->type == MEMBER_DIRECTORY)
        return output->functions->folder(output, path, err);
    export->restore.file_count++;
    uint64_t added = gets_setting(export, member) ? strlen(in_place_setting) : 0;
    return output->functions->file(output, path, member->size + added, err);
}

static bool add_data(void *context, const struct index_member *member, uint64_t offset, const void *bytes, size_t size,
                     struct error *err)
{
    struct export *export = context;

    (void)member;
    (void)offset; /* they come in order */
    return export->is_left_out || export->output->functions->data(export->output, bytes, size, err);
}

static bool end_member(void *context, const struct index_member *member, struct error *err)
{
    struct export *export = context;

    return !gets_setting(export, member) ||
           export->output->functions->data(export->output, in_place_setting, strlen(in_place_setting), err);
}

static bool take_frame(void *stream, const struct index_frame *frame, const void *plain, struct error *err)
{
    return member_stream_take(stream, frame, plain, err);
}

static bool finish_frames(void *stream, struct error *err)
{
    return member_stream_finish(stream, err);
}

static bool copy_members(struct export *export, struct error *err)
{
    const struct index *index = &export->restore.index;
    const struct member_sink members = {begin_archive, begin_member, add_data, end_member, export};
    struct member_stream *stream = member_stream_new(index, export->restore.plan.backup, &members);
    const struct frame_sink frames = {take_frame, finish_frames, stream};

    for (size_t i = 0; i < index->frame_count; i++)
        export->has_tablespaces |= strcmp(index->frames[i].archive, "base") != 0;
    bool is_copied = restore_copy(&export->restore, &frames, err);

    member_stream_free(stream);
    return is_copied;
}

/* ---- backup_manifest ---- */

static bool keep_plain(void *context, const void *bytes, size_t size, struct error *err)
{
    return buffer_append(context, bytes, size, err);
}

static bool inflate(void *context, const void *bytes, size_t size, struct error *err)
{
    return inflater_feed(context, bytes, size, err);
}

/* Early: the plan's session may have been idle for too long when a large copy is done. */
static bool add_manifest(struct export *export, struct error *err)
{
    struct buffer plain SCOPED(buffer_done) = BUFFER_WITH_LIMIT(MOST_MANIFEST);
    struct inflater *inflater SCOPED(scoped_inflater) = inflater_new(keep_plain, &plain);
    const struct export_output_functions *functions = export->output->functions;

    return session_read_file(&export->restore, "backup_manifest.zst", inflate, inflater, err) &&
           inflater_finish(inflater, err) && functions->file(export->output, "backup_manifest", plain.used, err) &&
           functions->data(export->output, plain.bytes, plain.used, err);
}

/* ---- the whole ---- */

static json_t *result_of(const struct export *export)
{
    const struct restore *restore = &export->restore;
    const struct export_options *options = export->options;
    double seconds = (double)(clock_monotonic() - restore->started_at) / 1e6;

    return json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:s, s:b, s:I, s:I, s:I, s:I, s:f, s:O}", "server", restore->plan.server, "backup",
        restore->plan.backup, "system_id", restore->plan.system_id, "timeline", (json_int_t)restore->plan.timeline,
        "output", options->path != NULL ? control_text(options->path) : json_null(), "format",
        export_form_word(options->form), "with_wal", options->with_wal, "bytes", (json_int_t)restore->written_bytes,
        "files", (json_int_t)restore->file_count, "wal_files", (json_int_t)restore->plan.wal_file_count, "tablespaces",
        (json_int_t) export->tablespace_count, "seconds", seconds, "warnings", restore->warnings);
}

static bool open_output(struct export *export, struct error *err)
{
    const struct export_options *options = export->options;
    const struct restore_plan *plan = &export->restore.plan;

    return options->form == EXPORT_FOLDER ? folder_output_new(options, plan, &export->output, err)
                                          : tar_output_new(options, plan, &export->output, err);
}

static void export_done(struct export *export)
{
    struct restore *restore = &export->restore;

    if (export->output != NULL)
        export->output->functions->release(export->output);
    control_stream_free(restore->session);
    index_done(&restore->index);
    json_decref(restore->warnings);
    restore_plan_done(&restore->plan);
}

bool export_run(const struct export_options *options, const struct connector *connector, json_t **ret_result,
                struct error *err)
{
    struct outage outage = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct export export SCOPED(export_done) = {.options = options,
                                                .restore = {.options = &options->restore,
                                                            .connector = connector,
                                                            .warnings = json_array(),
                                                            .outage = &outage,
                                                            .started_at = clock_monotonic()}};
    struct restore *restore = &export.restore;

    progress_meter_start(&restore->meter, restore->started_at);
    restore_enter_phase(restore, "plan", 0);
    if (!restore_plan_ask(restore, err) || !restore_read_index(restore, err) || !open_output(&export, err) ||
        !add_manifest(&export, err) || !copy_members(&export, err) ||
        (options->with_wal && !export_add_wal(&export, err)) || !restore_may_go_on(restore, err) ||
        !export.output->functions->finish(export.output, err))
        return false;
    restore_end_phase(restore);
    *ret_result = result_of(&export);
    return true;
}
