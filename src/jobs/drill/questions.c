#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "jobs/drill/drill_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/*
 * What the copy is asked when it is open, by PostgreSQL's own programs: the CLI is linked without libpq (decision
 * 0023).
 */
#define RECORD_END          '\x1e' /* between two rows: what a row holds may have newlines */
#define MICROSECONDS        INT64_C(1000000)
#define SECONDS_TO_END      10 /* for psql, once the server should have ended the query */
#define MOST_TROUBLE        768
#define AMCHECK_FOUND       2 /* pg_amcheck's status when it found corruption */
#define MOST_AMCHECK_JOBS   16
#define ENVIRONMENT_ENTRIES 8

struct listener {
    struct drill *drill;
    bool keeps_answer;
    bool has_answer;
    char trouble[MOST_TROUBLE];
    size_t trouble_used;
};

/* Rows are counted to the end, the answer is kept as far as there is room for it. */
static void take_answer(struct listener *listener, const char *bytes, size_t size)
{
    struct drill *drill = listener->drill;
    struct error full;

    if (size > 0 && !listener->has_answer)
        drill->rows = 1;
    listener->has_answer |= size > 0;
    for (size_t i = 0; i < size; i++) {
        char byte = bytes[i];
        if (byte == RECORD_END) {
            drill->rows++;
            byte = '\n';
        }
        if (drill->answer.used < drill->answer.limit && !buffer_append(&drill->answer, &byte, 1, &full))
            return;
    }
}

static void take_words(void *context, bool is_error, const char *bytes, size_t size)
{
    struct listener *listener = context;
    size_t room = sizeof listener->trouble - 1 - listener->trouble_used;

    if (!is_error && listener->keeps_answer) {
        take_answer(listener, bytes, size);
        return;
    }
    if (size > room)
        size = room;
    memcpy(listener->trouble + listener->trouble_used, bytes, size);
    listener->trouble_used += size;
}

static void clean(char *words)
{
    size_t size = strlen(words);

    while (size > 0 && words[size - 1] == '\n')
        words[--size] = '\0';
    for (char *at = words; *at != '\0'; at++)
        if (*at == '\n')
            *at = ' ';
    text_make_printable(words);
}

/* How to reach the copy, and nothing else of libpq's. */
struct surroundings {
    char *entries[ENVIRONMENT_ENTRIES];
};

static void surroundings_done(struct surroundings *surroundings)
{
    for (size_t i = 0; i < ENVIRONMENT_ENTRIES; i++)
        free(surroundings->entries[i]);
}

/*
 * pg_amcheck is a superuser's, who may override what databases and roles have set for their sessions: libraries that
 * this host need not have, and what keeps it from installing its extension.
 */
#define OF_AMCHECK "-c session_preload_libraries= -c local_preload_libraries= -c default_transaction_read_only=off"

static struct surroundings surroundings_of(const struct drill *drill, unsigned timeout_seconds)
{
    const char *more = timeout_seconds == 0 ? " " OF_AMCHECK : "";

    return (struct surroundings){
        {memory_text("PGHOST=%s", drill->scratch.path), memory_copy_text("PGPORT=" DRILL_PORT),
         memory_text("PGUSER=%s", drill->options->role), memory_text("PGDATABASE=%s", drill->options->database),
         memory_text("PGOPTIONS=-c statement_timeout=%us%s", timeout_seconds, more),
         memory_copy_text("PGCLIENTENCODING=UTF8"), memory_text("PGPASSFILE=%s/none", drill->scratch.path)}};
}

/* Until it ends. `seconds` 0: however long it takes. */
static bool run(struct drill *drill, char *const *argv, unsigned seconds, struct listener *listener,
                struct program *program, struct error *err)
{
    struct surroundings surroundings SCOPED(surroundings_done) = surroundings_of(drill, seconds);
    struct program_start start = {
        .argv = argv, .environment = surroundings.entries, .kept_fd = -1, .death_signal = SIGKILL};
    int64_t deadline = clock_monotonic() + (int64_t)(seconds + SECONDS_TO_END) * MICROSECONDS;
    const struct restore_options *options = &drill->options->restore;

    if (!program_begin(&start, program, err))
        return false;
    while (program_step(program, DRILL_TICK_MILLISECONDS, take_words, listener)) {
        /* The server's words, too: its pipe must not fill up. */
        if (!program_step(&drill->postgres, 0, recovery_log_take, &drill->log)) {
            error_set(err, recovery_log_kind(drill->log.failure, ERROR_INTEGRITY),
                      "PostgreSQL ended while it was asked: %s", drill->log.failure);
            recovery_log_tell(&drill->log, err);
            return false;
        }
        if (!drill_may_go_on(drill, err))
            return false;
        if (seconds > 0 && clock_monotonic() > deadline)
            return error_set(err, ERROR_FAILED, "the query did not end within %u seconds", seconds);
        if (progress_meter_advance(&drill->meter, clock_monotonic(), 0) && options->progress != NULL)
            options->progress(options->context, &drill->meter.progress);
    }
    clean(listener->trouble);
    return true;
}

static bool has_status(const struct program *program, int status)
{
    return WIFEXITED(program->status) && WEXITSTATUS(program->status) == status;
}

bool drill_run_amcheck(struct drill *drill, struct error *err)
{
    struct program program SCOPED(program_done) = PROGRAM_NONE;
    struct listener listener = {.drill = drill};
    unsigned jobs = drill->options->restore.jobs;
    char *parallel SCOPED(scoped_free) = memory_text("--jobs=%u", jobs == 0                  ? 2
                                                                  : jobs > MOST_AMCHECK_JOBS ? MOST_AMCHECK_JOBS
                                                                                             : jobs);
    char *argv[] = {drill->binaries.amcheck,
                    (char *)"--all",
                    (char *)"--install-missing",
                    (char *)"--heapallindexed",
                    (char *)"--no-password",
                    parallel,
                    NULL};

    if (!run(drill, argv, 0, &listener, &program, err))
        return false;
    if (has_status(&program, 0))
        return true;
    if (has_status(&program, AMCHECK_FOUND))
        error_set(err, ERROR_FAILED, "pg_amcheck found corruption in the restored cluster");
    else
        error_set(err, recovery_log_kind(listener.trouble, ERROR_FAILED), "pg_amcheck failed");
    return listener.trouble[0] == '\0' || error_detail(err, "%s", listener.trouble);
}

/* "f" and nothing else. */
static bool says_no(const struct drill *drill)
{
    const struct buffer *answer = &drill->answer;

    return drill->rows == 1 && answer->used == 2 && memcmp(answer->bytes, "f\n", 2) == 0;
}

bool drill_run_query(struct drill *drill, struct error *err)
{
    struct program program SCOPED(program_done) = PROGRAM_NONE;
    struct listener listener = {.drill = drill, .keeps_answer = true};
    char *argv[] = {drill->binaries.psql,
                    (char *)"--no-psqlrc",
                    (char *)"--quiet",
                    (char *)"--no-align",
                    (char *)"--tuples-only",
                    (char *)"--no-password",
                    (char *)"--record-separator=\x1e",
                    (char *)"--set=ON_ERROR_STOP=1",
                    (char *)"--command",
                    (char *)drill->options->query,
                    NULL};

    if (!run(drill, argv, drill->options->query_seconds, &listener, &program, err))
        return false;
    if (!has_status(&program, 0)) {
        error_set(err, recovery_log_kind(listener.trouble, ERROR_FAILED), "the query failed: %s",
                  listener.trouble[0] != '\0' ? listener.trouble : "psql told no reason");
        return false;
    }
    return !says_no(drill) || error_set(err, ERROR_FAILED, "the query's answer is f");
}
