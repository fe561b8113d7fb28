#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs/drill/drill_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/wal/segment.h"

/* wal-get ends with 200 and the status of its failure (WAL_GET_STATUS_BASE of the CLI). */
#define WAL_GET_BASE      200
#define MICROSECONDS      INT64_C(1000000)
#define FAST_SECONDS      120 /* a checkpoint of what was replayed */
#define IMMEDIATE_SECONDS 10
#define CHECKPOINT        "checkpoint"

bool drill_may_go_on(const struct drill *drill, struct error *err)
{
    const struct restore_options *options = &drill->options->restore;

    if (options->is_interrupted == NULL || !options->is_interrupted(options->context))
        return true;
    error_set(err, ERROR_FAILED, "the drill was interrupted");
    err->errnum = ECANCELED;
    return false;
}

/* ---- how far the replay is ---- */

static uint64_t position_of(const json_t *object, const char *key)
{
    const char *text = json_text_or_null(object, key);
    struct wal_position position = {0};
    struct error ignored;

    return text != NULL && wal_position_parse(text, &position, &ignored) ? position.value : 0;
}

/* Up to where WAL of the plan's timeline is held by now: since the plan was made the server has gone on. */
static uint64_t end_held(const struct drill *drill)
{
    struct request request SCOPED(request_done) = {.command = COMMAND_ID_wal_status, .options = json_object()};
    struct control_stream *stream SCOPED(scoped_control_stream) = NULL;
    json_t *status SCOPED(scoped_json) = NULL;
    uint64_t end = position_of(drill->plan, "reachable");
    const json_t *range;
    struct error ignored;
    size_t i;

    snprintf(request.server, sizeof request.server, "%s", drill->options->restore.request.server);
    json_t *message SCOPED(scoped_json) = request_to_json(&request);
    if (drill->connector->open(drill->connector->context, &stream, &ignored) && control_send(stream, message, &ignored))
        status = control_await_result(stream, NULL, NULL, &ignored);
    json_array_foreach(json_object_get(status, "ranges"), i, range)
    {
        uint64_t at = position_of(range, "end");
        if (json_number_or(range, "timeline", 0) == json_number_or(drill->plan, "timeline", -1) && at > end &&
            position_of(range, "start") <= end)
            end = at;
    }
    return end;
}

/* From the backup's start to the target, or to the end of what is held. */
static uint64_t bytes_to_replay(const struct drill *drill)
{
    uint64_t start = position_of(drill->plan, "start");
    uint64_t end = position_of(json_object_get(drill->plan, "stop"), "lsn");

    if (end == 0)
        end = end_held(drill);
    return end > start ? end - start : 0;
}

static uint64_t bytes_replayed(const struct drill *drill)
{
    struct wal_segment_size size = {(uint32_t)json_number_or(drill->plan, "segment_size", 0)};
    uint64_t start = position_of(drill->plan, "start");
    struct wal_segment segment;

    if (!wal_segment_size_is_valid(size.bytes) || !wal_segment_parse(drill->log.file, size, &segment))
        return 0;
    uint64_t at = wal_segment_start(segment, size).value;
    return at > start ? at - start : 0;
}

static void show_progress(struct drill *drill)
{
    const struct restore_options *options = &drill->options->restore;
    uint64_t replayed = bytes_replayed(drill);

    /* All is replayed, and PostgreSQL writes it to its files before it opens: that has no end which could be foreseen.
     */
    if (drill->log.replayed_to[0] != '\0') {
        if (strcmp(drill->meter.progress.phase, CHECKPOINT) != 0)
            progress_meter_phase(&drill->meter, clock_monotonic(), CHECKPOINT, "", 0);
        replayed = 0;
    } else {
        progress_meter_item(&drill->meter, drill->log.file);
    }
    if (replayed > drill->meter.progress.total_bytes)
        drill->meter.progress.total_bytes = 0; /* what came meanwhile is replayed too: nobody knows how much */
    if (progress_meter_advance(&drill->meter, clock_monotonic(), replayed) && options->progress != NULL)
        options->progress(options->context, &drill->meter.progress);
}

/* ---- its end before the time ---- */

/* restore_command failed: what it failed by is the reason, and its own words stand in PostgreSQL's log. */
static enum error_kind kind_of_restore_command(int status)
{
    for (int kind = 1; kind < ERROR_KIND_COUNT; kind++) {
        struct error of_kind = {.kind = (enum error_kind)kind};
        if (error_exit_status(&of_kind) == status - WAL_GET_BASE)
            return (enum error_kind)kind;
    }
    return ERROR_FAILED;
}

static bool fail_early(const struct drill *drill, struct error *err)
{
    const struct recovery_log *log = &drill->log;
    /* In the CONTEXT of whatever was refused then: its place is outside of the scratch folder. */
    bool is_tablespace = strstr(log->words, "for Tablespace/CREATE") != NULL;
    char end[PROGRAM_END_SIZE];
    const char *reason = log->failure[0] != '\0' ? log->failure : end;

    program_format_end(&drill->postgres, end);
    if (log->restore_command > 0)
        error_set(err, kind_of_restore_command(log->restore_command), "PostgreSQL did not get the WAL it needs: %s",
                  log->failure);
    else if (is_tablespace)
        error_set(err, ERROR_SERVER, "the WAL makes a tablespace, and a drill writes in its own folder only: %s",
                  reason);
    else if (log->is_recovering && !WIFSIGNALED(drill->postgres.status))
        error_set(err, recovery_log_kind(reason, ERROR_INTEGRITY),
                  "PostgreSQL could not recover from the backup and its WAL: %s", reason);
    else
        error_set(err, recovery_log_kind(reason, ERROR_SERVER), "PostgreSQL did not %s the copy: %s",
                  log->is_recovering ? "get through with" : "start on", reason);
    recovery_log_tell(log, err);
    if (err->kind == ERROR_STORAGE)
        return error_hint(err, "Name a folder with more room with --scratch DIR.");
    if (is_tablespace)
        return error_hint(err, "Take a backup and drill that, or give a target before the tablespace was made.");
    if (strstr(log->words, "resource manager") != NULL)
        return error_hint(err, "Its WAL has records of an extension, whose library a drill does not load.");
    return false;
}

/*
 * PostgreSQL opens where it finds no further record, and cannot know whether there should be one. The plan does, unless
 * a target names the end, which PostgreSQL insists on.
 */
bool drill_check_end(const struct drill *drill, struct error *err)
{
    const char *promised = json_text_or_null(drill->plan, "last_record");
    const char *reached = drill->log.replayed_to;
    struct wal_position position = {0};
    struct error ignored;

    if (promised == NULL ||
        (wal_position_parse(reached, &position, &ignored) && position.value >= position_of(drill->plan, "last_record")))
        return true;
    error_set(err, ERROR_INTEGRITY, "PostgreSQL ended its recovery at %s, and what is held reaches to the record at %s",
              reached[0] != '\0' ? reached : "its beginning", promised);
    return error_hint(err, "\"pgcoffer verify %s --wal\" looks at the WAL.", drill->options->restore.request.server);
}

/* ---- the two phases ---- */

/* The links it asks for are made, and PostgreSQL must make none: one that the WAL asks for would lead to the place of
 * the original's tablespace, which may be in use on this very host. */
static bool drop_tablespace_map(const struct drill *drill, struct error *err)
{
    char *path SCOPED(scoped_free) = memory_text("%s/tablespace_map", drill->data);

    return unlink(path) == 0 || errno == ENOENT || error_set_errno(err, "could not remove \"%s\"", path);
}

bool drill_start(struct drill *drill, struct error *err)
{
    char *configuration SCOPED(scoped_free) = memory_text("config_file=%s/postgresql.conf", drill->scratch.path);
    /* Behind a target it would pause, and nobody could ask it. */
    char *argv[] = {drill->binaries.postgres,
                    (char *)"-D",
                    drill->data,
                    (char *)"-c",
                    configuration,
                    (char *)"-c",
                    (char *)"recovery_target_action=promote",
                    NULL};
    const char *const write_paths[] = {drill->scratch.path, "/dev/null", NULL};
    /* SIGQUIT: it ends at once, and its processes and shared memory with it. */
    struct program_start start = {
        .argv = argv, .kept_fd = drill->scratch.lock, .death_signal = SIGQUIT, .write_paths = write_paths};

    if (!drop_tablespace_map(drill, err) ||
        !drill_write_settings(drill->scratch.path, drill->data, drill->binaries.number, err) ||
        !program_begin(&start, &drill->postgres, err))
        return false;
    while (!drill->log.is_recovering && !drill->log.is_open) {
        if (!program_step(&drill->postgres, DRILL_TICK_MILLISECONDS, recovery_log_take, &drill->log) &&
            !drill->log.is_recovering)
            return fail_early(drill, err);
        if (!drill_may_go_on(drill, err))
            return false;
        show_progress(drill);
    }
    return true;
}

bool drill_replay(struct drill *drill, struct error *err)
{
    drill->meter.progress.total_bytes = bytes_to_replay(drill);
    while (!drill->log.is_open) {
        if (!program_step(&drill->postgres, DRILL_TICK_MILLISECONDS, recovery_log_take, &drill->log))
            return fail_early(drill, err);
        if (!drill_may_go_on(drill, err))
            return false;
        show_progress(drill);
    }
    return drill_check_end(drill, err);
}

static bool await_end(struct drill *drill, int seconds)
{
    int64_t deadline = clock_monotonic() + seconds * MICROSECONDS;
    bool runs = true;

    while (runs && clock_monotonic() < deadline)
        runs = program_step(&drill->postgres, DRILL_TICK_MILLISECONDS, recovery_log_take, &drill->log);
    return !runs;
}

void drill_stop(struct drill *drill, bool is_orderly)
{
    if (drill->postgres.pid > 0 && is_orderly) {
        kill(drill->postgres.pid, SIGINT);
        await_end(drill, FAST_SECONDS);
    }
    if (drill->postgres.pid > 0) {
        kill(drill->postgres.pid, SIGQUIT);
        await_end(drill, IMMEDIATE_SECONDS);
    }
    program_done(&drill->postgres);
}
