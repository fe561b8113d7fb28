#include "jobs/progress_meter_internal.h"

#include <stdio.h>
#include <string.h>

#define MICROSECONDS      1e6
#define SMOOTHING_SECONDS 10.0
/* The longer a phase has gone on, the more of it tells how it will go on. */
#define ETA_SHARE 0.4
/* Before that it is a guess by the first file. */
#define ETA_AFTER_SECONDS 1.0
/* A sample over a shorter time says more about the scheduler than about the rate. */
#define SAMPLE_MICROSECONDS INT64_C(100000)

void progress_meter_start(struct progress_meter *meter, int64_t now)
{
    *meter = (struct progress_meter){.started_at = now, .progress = {.eta_seconds = -1}};
}

void progress_meter_item(struct progress_meter *meter, const char *item)
{
    snprintf(meter->progress.item, sizeof meter->progress.item, "%s", item);
}

static void estimate(struct progress_meter *meter, int64_t now)
{
    struct progress *progress = &meter->progress;

    progress->elapsed_seconds = (double)(now - meter->started_at) / MICROSECONDS;
    progress->eta_seconds = -1;
    if (progress->total_bytes == 0 || meter->eta_rate <= 0 ||
        (double)(now - meter->phase_started_at) / MICROSECONDS < ETA_AFTER_SECONDS)
        return;
    /* The total is the server's estimate; a growing cluster may pass it. */
    uint64_t left = progress->done_bytes < progress->total_bytes ? progress->total_bytes - progress->done_bytes : 0;
    progress->eta_seconds = (double)left / meter->eta_rate;
}

void progress_meter_phase(struct progress_meter *meter, int64_t now, const char *phase, const char *item,
                          uint64_t total_bytes)
{
    snprintf(meter->progress.phase, sizeof meter->progress.phase, "%s", phase);
    progress_meter_item(meter, item);
    meter->progress.done_bytes = 0;
    meter->progress.total_bytes = total_bytes;
    meter->progress.rate_bytes_per_second = meter->eta_rate = 0;
    meter->phase_started_at = meter->measured_at = now;
    meter->measured_bytes = 0;
    meter->sent_at = 0;
    estimate(meter, now);
}

/* The mean until `memory` seconds have passed, then a moving one with that time constant. */
static double smooth(double rate, double sample, double seconds, double memory)
{
    double weight = seconds < memory ? seconds / memory : 1;

    return rate + weight * (sample - rate);
}

static double lesser(double one, double other)
{
    return one < other ? one : other;
}

static void measure(struct progress_meter *meter, int64_t now)
{
    struct progress *progress = &meter->progress;
    double seconds = (double)(now - meter->measured_at) / MICROSECONDS;
    double phase_seconds = (double)(now - meter->phase_started_at) / MICROSECONDS;

    if (now - meter->measured_at < SAMPLE_MICROSECONDS)
        return;
    double sample = (double)(progress->done_bytes - meter->measured_bytes) / seconds;
    double long_memory = phase_seconds * ETA_SHARE > SMOOTHING_SECONDS ? phase_seconds * ETA_SHARE : SMOOTHING_SECONDS;
    progress->rate_bytes_per_second =
        smooth(progress->rate_bytes_per_second, sample, seconds, lesser(phase_seconds, SMOOTHING_SECONDS));
    meter->eta_rate = smooth(meter->eta_rate, sample, seconds, lesser(phase_seconds, long_memory));
    meter->measured_at = now;
    meter->measured_bytes = progress->done_bytes;
}

bool progress_meter_advance(struct progress_meter *meter, int64_t now, uint64_t done_bytes)
{
    if (done_bytes > meter->progress.done_bytes)
        meter->progress.done_bytes = done_bytes;
    if (meter->sent_at != 0 && now - meter->sent_at < PROGRESS_METER_INTERVAL)
        return false;
    measure(meter, now);
    estimate(meter, now);
    meter->sent_at = now;
    return true;
}

void progress_meter_finish(struct progress_meter *meter, int64_t now, uint64_t done_bytes)
{
    struct progress *progress = &meter->progress;
    double seconds = (double)(now - meter->phase_started_at) / MICROSECONDS;

    progress->done_bytes = done_bytes;
    progress->total_bytes = done_bytes;
    progress->rate_bytes_per_second = seconds > 0 ? (double)done_bytes / seconds : 0;
    estimate(meter, now);
    progress->eta_seconds = 0;
    meter->sent_at = now;
}

bool progress_meter_send(const struct progress_meter *meter, struct control_stream *events, struct error *err)
{
    json_t *message SCOPED(scoped_json) = progress_to_json(&meter->progress);

    return control_send(events, message, err);
}
