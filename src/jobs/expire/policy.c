#include "jobs/expire/expire_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/config/retention.h"

static bool take_number(const struct request *request, enum option_id option, const char *name, unsigned *number,
                        struct error *err)
{
    const char *text = request_text(request, option);
    uint64_t read = 0;

    if (text == NULL)
        return true;
    if (!text_parse_unsigned(text, 100000, &read) || read == 0)
        return error_set(err, ERROR_USAGE, "\"%.100s\" is no value for --%s: a whole number from 1 to 100000", text,
                         name);
    *number = (unsigned)read;
    return true;
}

static bool take_places(const char *text, struct retention_policy *policy, struct error *err)
{
    struct retention_places places;

    if (!retention_places_parse(text, &places, err))
        return false;
    policy->days = places.days;
    policy->weeks = places.weeks;
    policy->months = places.months;
    policy->years = places.years;
    policy->count = 0;
    return true;
}

static bool from_settings(const struct settings *settings, struct retention_policy *policy, struct error *err)
{
    *policy = (struct retention_policy){.least = (unsigned)settings->retention_min};
    if (!take_places(settings->retention, policy, err))
        return false;
    policy->count = (unsigned)settings->retention_count;
    return settings->wal_retention[0] == '\0' ||
           retention_duration_parse(settings->wal_retention, &policy->wal_seconds, err);
}

static bool from_request(const struct request *request, struct retention_policy *policy, struct error *err)
{
    const char *places = request_text(request, OPTION_ID_retention);
    const char *window = request_text(request, OPTION_ID_wal_retention);

    if (places != NULL && request_text(request, OPTION_ID_retention_count) != NULL)
        return error_set(err, ERROR_USAGE, "--retention and --retention-count exclude each other");
    if ((places != NULL && !take_places(places, policy, err)) ||
        (window != NULL && !retention_duration_parse(window, &policy->wal_seconds, err))) {
        err->kind = ERROR_USAGE;
        return false;
    }
    return take_number(request, OPTION_ID_retention_count, "retention-count", &policy->count, err) &&
           take_number(request, OPTION_ID_retention_min, "retention-min", &policy->least, err);
}

bool expire_policy(const struct settings *settings, const struct request *request, struct retention_policy *ret_policy,
                   struct error *err)
{
    bool asks = request_text(request, OPTION_ID_retention) != NULL ||
                request_text(request, OPTION_ID_retention_count) != NULL ||
                request_text(request, OPTION_ID_retention_min) != NULL ||
                request_text(request, OPTION_ID_wal_retention) != NULL;

    if (asks && !request_has(request, OPTION_ID_explain)) {
        error_set(err, ERROR_USAGE, "another policy is only asked about, with --dry-run or --explain");
        return error_hint(err, "What is removed is decided by the configuration: write it there, then give "
                               "\"pgcoffer reload\".");
    }
    return from_settings(settings, ret_policy, err) && from_request(request, ret_policy, err);
}

json_t *expire_policy_to_json(const struct retention_policy *policy)
{
    const struct retention_places places = {policy->days, policy->weeks, policy->months, policy->years};
    char text[RETENTION_PLACES_TEXT_SIZE];

    retention_places_format(&places, text);
    return json_pack("{s:o, s:o, s:I, s:o}", "retention", policy->count > 0 ? json_null() : json_string(text),
                     "retention_count", policy->count > 0 ? json_integer(policy->count) : json_null(), "retention_min",
                     (json_int_t)policy->least, "wal_retention_seconds",
                     policy->wal_seconds > 0 ? json_integer(policy->wal_seconds) : json_null());
}
