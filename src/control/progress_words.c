#include "pgcoffer/control/progress_words.h"

#include <stdio.h>
#include <string.h>

#include "pgcoffer/base/text.h"

const char *progress_phase_words(const char *phase)
{
    static const struct {
        const char *phase, *words;
    } known[] = {
        {"checkpoint", "waiting for the checkpoint"},
        {"copy", "copying"},
        {"wal", "WAL"},
        {"verify", "verifying"},
        {"plan", "making the plan"},
        {"restore", "restoring"},
        {"sync", "to disk"},
        {"start", "starting PostgreSQL"},
        {"replay", "replaying WAL"},
        {"amcheck", "running pg_amcheck"},
        {"query", "running the query"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].phase, phase) == 0)
            return known[i].words;
    return phase;
}

unsigned progress_percent(const struct progress *progress)
{
    if (progress->done_bytes >= progress->total_bytes)
        return 100;
    return (unsigned)((double)progress->done_bytes / (double)progress->total_bytes * 100);
}

void progress_numbers(const struct progress *progress, char *ret_text, size_t size)
{
    char done[TEXT_BYTES_SIZE];
    char total[TEXT_BYTES_SIZE];
    char rate[TEXT_BYTES_SIZE];
    char duration[TEXT_DURATION_SIZE];
    size_t used;

    text_format_bytes(progress->done_bytes, done);
    text_format_bytes(progress->total_bytes, total);
    used = (size_t)snprintf(ret_text, size, "%s%s%s", done, progress->total_bytes > 0 ? " / " : "",
                            progress->total_bytes > 0 ? total : "");
    if (progress->rate_bytes_per_second >= 1 && used < size) {
        text_format_bytes((uint64_t)progress->rate_bytes_per_second, rate);
        used += (size_t)snprintf(ret_text + used, size - used, "  %s/s", rate);
    }
    if (progress->eta_seconds >= 0 && used < size) {
        text_format_duration(progress->eta_seconds, duration);
        snprintf(ret_text + used, size - used, "  ETA %s", duration);
    }
}
