#include <math.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/control/stream.h"

#define MOST_SECONDS 3.2e9 /* a hundred years */
#define MOST_RATE    1e18

static json_t *bytes_to_json(uint64_t bytes)
{
    return json_integer(bytes < INT64_MAX ? (json_int_t)bytes : INT64_MAX);
}

/* JSON has no infinity: a rate or time that is none counts as unknown. */
static json_t *real_to_json(double value)
{
    return json_real(isfinite(value) ? value : -1.0);
}

json_t *progress_to_json(const struct progress *progress)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "event", "progress", "phase",
                     control_text(progress->phase), "item", control_text(progress->item), "done_bytes",
                     bytes_to_json(progress->done_bytes), "total_bytes", bytes_to_json(progress->total_bytes),
                     "rate_bytes_per_second", real_to_json(progress->rate_bytes_per_second), "eta_seconds",
                     real_to_json(progress->eta_seconds < 0 ? -1.0 : progress->eta_seconds), "elapsed_seconds",
                     real_to_json(progress->elapsed_seconds));
}

static uint64_t bytes_from_json(const json_t *message, const char *key)
{
    int64_t bytes = json_number_or(message, key, 0);

    return bytes > 0 ? (uint64_t)bytes : 0;
}

static double real_from_json(const json_t *message, const char *key)
{
    const json_t *value = json_object_get(message, key);

    return json_is_number(value) ? json_number_value(value) : -1.0;
}

bool progress_from_json(const json_t *message, struct progress *ret_progress)
{
    const char *phase = json_text_or_null(message, "phase");
    const char *item = json_text_or(message, "item", "");

    if (phase == NULL)
        return false;
    *ret_progress = (struct progress){
        .done_bytes = bytes_from_json(message, "done_bytes"),
        .total_bytes = bytes_from_json(message, "total_bytes"),
        .rate_bytes_per_second = real_from_json(message, "rate_bytes_per_second"),
        .eta_seconds = real_from_json(message, "eta_seconds"),
        .elapsed_seconds = real_from_json(message, "elapsed_seconds"),
    };
    snprintf(ret_progress->phase, sizeof ret_progress->phase, "%s", phase);
    snprintf(ret_progress->item, sizeof ret_progress->item, "%s", item);
    return true;
}

/* `otherwise` for what is no number of that kind. */
static double within(double value, double most, double otherwise)
{
    return value >= 0 && value <= most ? value : otherwise;
}

void progress_tame(struct progress *progress)
{
    text_make_printable(progress->phase);
    text_make_printable(progress->item);
    progress->rate_bytes_per_second = within(progress->rate_bytes_per_second, MOST_RATE, 0);
    progress->eta_seconds = within(progress->eta_seconds, MOST_SECONDS, -1);
    progress->elapsed_seconds = within(progress->elapsed_seconds, MOST_SECONDS, 0);
}
