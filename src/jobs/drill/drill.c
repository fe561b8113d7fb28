#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/drill/drill_internal.h"
#include "jobs/lease_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MOST_ANSWER ((size_t)16 << 10)
#define MILLISECOND 1000 /* in microseconds */

/* ---- the hooks of the restore, handed on ---- */

static void pass_progress(void *context, const struct progress *progress)
{
    const struct restore_options *options = &((const struct drill *)context)->options->restore;

    if (options->progress != NULL)
        options->progress(options->context, progress);
}

static void pass_warning(void *context, const char *message)
{
    const struct restore_options *options = &((const struct drill *)context)->options->restore;

    if (options->warn != NULL)
        options->warn(options->context, message);
}

static bool pass_interrupt(void *context)
{
    const struct restore_options *options = &((const struct drill *)context)->options->restore;

    return options->is_interrupted != NULL && options->is_interrupted(options->context);
}

/* "time 2026-11-22T01:30:00Z" */
static void format_target(const json_t *plan, char *ret_target, size_t size)
{
    const json_t *target = json_object_get(plan, "target");
    const char *kind = json_text_or_null(target, "kind");
    const char *value = json_text_or_null(target, "value");

    if (kind == NULL || strcmp(kind, "end") == 0)
        return;
    snprintf(ret_target, size, "%s%s%s", kind, text_is_empty(value) ? "" : " ", value != NULL ? value : "");
}

/* Removed when the drill ends; the one of a drill that was killed runs out. */
static void leave_lease(struct drill *drill)
{
    const struct lease_wish wish = {drill->options->restore.request.server, drill->result->record.backup.text,
                                    (unsigned)json_number_or(drill->plan, "timeline", 0), "drill"};
    json_t *answer SCOPED(scoped_json) = NULL;
    struct error failure;

    if (lease_take(drill->connector, &wish, &answer, &failure)) {
        drill->lease = json_incref(json_object_get(answer, "lease"));
        return;
    }
    char *text SCOPED(scoped_free) =
        memory_text("retention may remove WAL before the drill has replayed it: %s", failure.message);
    pass_warning(drill, text);
}

static void release_lease(struct drill *drill)
{
    const char *name = json_string_value(drill->lease);
    struct error failure;

    if (name == NULL || lease_release(drill->connector, drill->options->restore.request.server, name, &failure))
        return;
    char *text SCOPED(scoped_free) = memory_text("the WAL of the drill is kept for another day: %s", failure.message);
    pass_warning(drill, text);
}

/* The backup is known: before anything is written, is everything there that it takes? */
static bool accept_plan(void *context, const json_t *plan, struct error *err)
{
    struct drill *drill = context;
    struct backup_drill *record = &drill->result->record;
    const json_t *backup = json_object_get(plan, "backup");
    const char *id = json_text_or_null(backup, "id");
    const char *system = json_text_or_null(plan, "system_id");
    int version = (int)json_number_or(backup, "server_version", 0);

    if (id == NULL || !backup_id_parse(id, &record->backup) || system == NULL ||
        !system_id_parse(system, &record->system, err))
        return error_set(err, ERROR_DAEMON, "the plan of the restore names no backup");
    drill->plan = json_incref((json_t *)plan);
    format_target(plan, record->target, sizeof record->target);
    if (!binaries_find(drill->options, version / BINARIES_MAJOR, &drill->binaries, err))
        return false;
    if (drill->options->restore.leaves_lease)
        leave_lease(drill);
    return true;
}

/* ---- the phases ---- */

static void enter_phase(struct drill *drill, const char *phase)
{
    const struct restore_options *options = &drill->options->restore;

    progress_meter_phase(&drill->meter, clock_monotonic(), phase, "", 0);
    if (options->progress != NULL)
        options->progress(options->context, &drill->meter.progress);
}

typedef bool phase_function(struct drill *drill, struct error *err);

static bool run_phase(struct drill *drill, enum drill_phase phase, phase_function *function, struct error *err)
{
    struct backup_drill *record = &drill->result->record;
    int64_t begun_at = clock_monotonic();

    record->was_run[phase] = true;
    if (phase != DRILL_RESTORE) /* which names its own parts */
        enter_phase(drill, drill_phase_word(phase));
    bool is_good = drill_may_go_on(drill, err) && function(drill, err);
    record->phase_milliseconds[phase] = (uint64_t)(clock_monotonic() - begun_at) / MILLISECOND;
    return is_good;
}

static bool restore_copy_to_scratch(struct drill *drill, struct error *err)
{
    return restore_run(&drill->restore, drill->connector, &drill->restored, err);
}

/* From nothing to a server that answers. */
static void measure(struct drill *drill)
{
    static const enum drill_phase parts[] = {DRILL_RESTORE, DRILL_START, DRILL_REPLAY};
    struct backup_drill *record = &drill->result->record;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        record->proof.milliseconds += record->phase_milliseconds[parts[i]];
}

static bool run_phases(struct drill *drill, struct error *err)
{
    const struct drill_options *options = drill->options;
    struct backup_drill *record = &drill->result->record;

    if (!run_phase(drill, DRILL_RESTORE, restore_copy_to_scratch, err))
        return false;
    record->server_version = drill->binaries.number;
    if (!run_phase(drill, DRILL_START, drill_start, err) || !run_phase(drill, DRILL_REPLAY, drill_replay, err))
        return false;
    measure(drill);
    if ((options->wants_amcheck && !run_phase(drill, DRILL_AMCHECK, drill_run_amcheck, err)) ||
        (options->query != NULL && !run_phase(drill, DRILL_QUERY, drill_run_query, err)))
        return false;
    return true;
}

/* ---- the outcome ---- */

static json_t *phases_to_json(const struct backup_drill *record)
{
    json_t *phases = json_object();

    for (int i = 0; i < DRILL_PHASE_COUNT; i++)
        json_object_set_new(phases, drill_phase_word((enum drill_phase)i),
                            record->was_run[i] ? json_real((double)record->phase_milliseconds[i] / 1e3) : json_null());
    return phases;
}

static json_t *query_to_json(const struct drill *drill)
{
    if (!drill->result->record.was_run[DRILL_QUERY])
        return json_null();
    char *text SCOPED(scoped_free) = memory_text("%.*s", (int)drill->answer.used, (const char *)drill->answer.bytes);
    return json_pack("{s:I, s:o, s:b}", "rows", (json_int_t)drill->rows, "answer", control_text(text), "is_cut",
                     drill->answer.used == MOST_ANSWER);
}

static json_t *text_or_null(const char *text)
{
    return text_is_empty(text) ? json_null() : control_text(text);
}

static void copy_members(json_t *json, const json_t *from, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(from, names[i]);
        json_object_set_new(json, names[i], value != NULL ? json_incref(value) : json_null());
    }
}

static json_t *to_json(const struct drill *drill)
{
    static const char *const planned[] = {"server", "system_id", "timeline", "target", "stop", "replay_to", "why"};
    static const char *const restored[] = {"bytes", "files", "reachable", "reachable_at"};
    const struct backup_drill *record = &drill->result->record;
    const struct recovery_log *log = &drill->log;
    json_t *json = json_object();
    char at[TIMESTAMP_TEXT_SIZE];

    timestamp_format(record->proof.at, at);
    copy_members(json, drill->plan, planned, sizeof planned / sizeof planned[0]);
    json_object_set_new(json, "backup", json_string(record->backup.text));
    json_object_set_new(json, "at", json_string(at));
    json_object_set_new(json, "good", json_boolean(record->proof.is_good));
    json_object_set_new(json, "error", text_or_null(record->proof.words));
    json_object_set_new(json, "recovery_seconds",
                        record->proof.milliseconds > 0 ? json_real((double)record->proof.milliseconds / 1e3)
                                                       : json_null());
    json_object_set_new(json, "phases", phases_to_json(record));
    copy_members(json, drill->restored, restored, sizeof restored / sizeof restored[0]);
    json_object_set_new(json, "wal_files", json_integer(log->file_count));
    json_object_set_new(json, "replayed_to", text_or_null(log->replayed_to));
    json_object_set_new(json, "last_commit_at", text_or_null(log->last_commit));
    json_object_set_new(json, "postgresql", text_or_null(drill->binaries.version));
    json_object_set_new(json, "binaries", text_or_null(drill->binaries.postgres));
    json_object_set_new(json, "query", query_to_json(drill));
    return json;
}

/* What says something about the backup; not a full disk, a daemon that is away, or Ctrl-C. */
static bool is_proof(const struct backup_drill *record, bool is_good, const struct error *failure)
{
    bool was_asked = record->was_run[DRILL_AMCHECK] || record->was_run[DRILL_QUERY];

    return is_good || failure->kind == ERROR_INTEGRITY ||
           (was_asked && failure->kind == ERROR_FAILED && failure->errnum == 0);
}

static void conclude(struct drill *drill, bool is_good, const struct error *failure)
{
    struct drill_result *result = drill->result;
    struct backup_proof *proof = &result->record.proof;

    result->record.rows = drill->rows;
    if (drill->plan == NULL || drill->binaries.postgres == NULL) /* nothing was begun */
        return;
    proof->at = clock_now();
    proof->is_good = is_good;
    if (!is_good)
        snprintf(proof->words, sizeof proof->words, "%s", failure->message);
    result->is_proof = is_proof(&result->record, is_good, failure);
    result->json = to_json(drill);
}

static void remove_everything(struct drill *drill)
{
    struct error failure;

    if (!drill_scratch_remove(&drill->scratch, &failure))
        pass_warning(drill, failure.message);
}

static void drill_done(struct drill *drill)
{
    free(drill->data);
    json_decref(drill->plan);
    json_decref(drill->restored);
    json_decref(drill->lease);
    binaries_done(&drill->binaries);
    buffer_done(&drill->answer);
}

void drill_result_done(struct drill_result *result)
{
    json_decref(result->json);
    *result = (struct drill_result){0};
}

bool drill_run(const struct drill_options *options, const struct connector *connector, struct drill_result *ret_result,
               struct error *err)
{
    struct drill drill SCOPED(drill_done) = {.options = options,
                                             .connector = connector,
                                             .result = ret_result,
                                             .restore = options->restore,
                                             .scratch = {NULL, -1},
                                             .postgres = PROGRAM_NONE,
                                             .answer = BUFFER_WITH_LIMIT(MOST_ANSWER)};

    *ret_result = (struct drill_result){0};
    if (!drill_scratch_make(options->scratch, &drill.scratch, err))
        return false;
    drill.data = memory_text("%s/data", drill.scratch.path);
    drill.restore.target_directory = drill.data;
    drill.restore.is_scratch = true;
    drill.restore.leaves_lease = false; /* its own ends with it */
    drill.restore.accept = accept_plan;
    drill.restore.progress = pass_progress;
    drill.restore.warn = pass_warning;
    drill.restore.is_interrupted = pass_interrupt;
    drill.restore.context = &drill;
    progress_meter_start(&drill.meter, clock_monotonic());
    bool is_good = run_phases(&drill, err);
    drill_stop(&drill, is_good);
    remove_everything(&drill);
    release_lease(&drill);
    conclude(&drill, is_good, err);
    return is_good;
}
