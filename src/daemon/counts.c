#include "daemon/counts_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pgcoffer/base/text.h"

/* ---- workers ---- */

static void take(struct rising *rising, const json_t *report, const char *key)
{
    int64_t told = json_number_or(report, key, -1);

    if (told < 0)
        return;
    uint64_t now = (uint64_t)told;
    if (now > rising->seen)
        rising->total += now - rising->seen;
    rising->seen = now;
}

void worker_counts_take(struct worker_counts *counts, pid_t worker, const json_t *report)
{
    struct rising *const all[] = {&counts->received_bytes, &counts->reconnects, &counts->handshakes_ok,
                                  &counts->handshakes_refused};
    const json_t *handshakes = json_object_get(report, "handshakes");

    for (size_t i = 0; i < sizeof all / sizeof all[0] && worker != counts->worker; i++)
        all[i]->seen = 0;
    counts->worker = worker;
    take(&counts->received_bytes, report, "received_bytes");
    take(&counts->reconnects, report, "reconnects");
    take(&counts->handshakes_ok, handshakes, "ok");
    take(&counts->handshakes_refused, handshakes, "refused");
}

json_t *worker_counts_handshakes(const struct worker_counts *counts)
{
    return json_pack("{s:I, s:I}", "ok", (json_int_t)counts->handshakes_ok.total, "refused",
                     (json_int_t)counts->handshakes_refused.total);
}

/* ---- jobs ---- */

void run_counts_add(json_t **counts, const struct job_entry *entry)
{
    const char *command = job_entry_command(entry), *state = job_state_word(entry->state);

    if (*counts == NULL)
        *counts = json_object();
    json_t *runs = json_object_get(*counts, command);
    if (runs == NULL) {
        runs = json_pack("{s:i, s:i, s:i}", job_state_word(JOB_DONE), 0, job_state_word(JOB_FAILED), 0,
                         job_state_word(JOB_CANCELLED), 0);
        json_object_set_new(*counts, command, runs);
    }
    json_object_set_new(runs, state, json_integer(json_number_or(runs, state, 0) + 1));
}

json_t *run_counts_to_json(const json_t *counts)
{
    return counts != NULL ? json_deep_copy(counts) : json_object();
}

/* ---- the daemon itself ---- */

void counts_begin(struct counts *counts, struct timestamp started_at)
{
    *counts = (struct counts){.reloaded_at = started_at};
    counts->memory_file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    counts->has_memory_file = counts->memory_file >= 0;
}

void counts_done(struct counts *counts)
{
    json_decref(counts->runs);
    if (counts->has_memory_file)
        close(counts->memory_file);
    *counts = (struct counts){.runs = NULL};
}

void counts_note_reload(struct counts *counts, bool is_good)
{
    counts->was_reload_refused = !is_good;
    if (is_good)
        counts->reloaded_at = clock_now();
}

static json_t *cpu_seconds(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return json_null();
    return json_real((double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

/* Of statm the second number are the pages that are resident. */
static json_t *resident_bytes(const struct counts *counts)
{
    char text[128];
    ssize_t size = counts->has_memory_file ? pread(counts->memory_file, text, sizeof text - 1, 0) : -1;
    uint64_t pages;

    text[size > 0 ? size : 0] = '\0';
    char *number = strchr(text, ' ');
    if (number == NULL)
        return json_null();
    number[1 + strcspn(number + 1, " \n")] = '\0';
    if (!text_parse_unsigned(number + 1, INT32_MAX, &pages))
        return json_null();
    return json_integer((json_int_t)(pages * (uint64_t)sysconf(_SC_PAGESIZE)));
}

static json_t *reload_to_json(const struct counts *counts)
{
    return json_pack("{s:b, s:o}", "good", !counts->was_reload_refused, "at", json_time(counts->reloaded_at));
}

json_t *counts_to_json(const struct counts *counts)
{
    return json_pack("{s:o, s:o, s:{s:o, s:o}}", "jobs", run_counts_to_json(counts->runs), "reload",
                     reload_to_json(counts), "process", "cpu_seconds", cpu_seconds(), "resident_bytes",
                     resident_bytes(counts));
}
