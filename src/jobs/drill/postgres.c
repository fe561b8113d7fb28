#include <errno.h>
#include <signal.h>
#include <string.h>

#include "jobs/drill/drill_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/wal/segment.h"

/* wal-get ends with 200 and the status of its failure (WAL_GET_STATUS_BASE of the CLI). */
#define WAL_GET_BASE      200
#define MICROSECONDS      INT64_C(1000000)
#define FAST_SECONDS      120 /* a checkpoint of what was replayed */
#define IMMEDIATE_SECONDS 10

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

/* From the backup's start to the target, or to the end of what is held. */
static uint64_t bytes_to_replay(const struct drill *drill)
{
    uint64_t start = position_of(drill->plan, "start");
    uint64_t end = position_of(json_object_get(drill->plan, "stop"), "lsn");

    if (end == 0)
        end = position_of(drill->plan, "reachable");
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

    progress_meter_item(&drill->meter, drill->log.file);
    if (progress_meter_advance(&drill->meter, clock_monotonic(), bytes_replayed(drill)) && options->progress != NULL)
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
    char end[PROGRAM_END_SIZE];

    program_format_end(&drill->postgres, end);
    if (log->restore_command > WAL_GET_BASE)
        error_set(err, kind_of_restore_command(log->restore_command), "PostgreSQL did not get the WAL it needs: %s",
                  log->failure);
    else if (log->is_disk_full) /* which says nothing of the backup */
        error_set(err, ERROR_STORAGE, "there is no room left for the copy: %s", log->failure);
    else if (log->is_recovering)
        error_set(err, ERROR_INTEGRITY, "PostgreSQL could not recover from the backup and its WAL: %s",
                  log->failure[0] != '\0' ? log->failure : end);
    else
        error_set(err, ERROR_SERVER, "PostgreSQL did not start on the copy: %s",
                  log->failure[0] != '\0' ? log->failure : end);
    if (log->words[0] != '\0')
        error_detail(err, "%s", log->words);
    if (log->is_disk_full)
        return error_hint(err, "Name a folder with more room with --scratch DIR.");
    if (strstr(log->words, "resource manager") != NULL)
        return error_hint(err, "Its WAL has records of an extension, whose library a drill does not load.");
    return false;
}

/* ---- the two phases ---- */

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
    /* SIGQUIT: it ends at once, and its processes and shared memory with it. */
    struct program_start start = {.argv = argv, .kept_fd = drill->scratch.lock, .death_signal = SIGQUIT};

    if (!drill_write_settings(drill->scratch.path, drill->data, err) || !program_begin(&start, &drill->postgres, err))
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
    return true;
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
