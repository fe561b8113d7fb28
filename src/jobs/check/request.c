#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/check.h"

#define MOST_DAYS 3650 /* as expiry_warn_days */

static bool read_days(const struct request *request, enum option_id option, long *days, struct error *err)
{
    const char *text = request_text(request, option);
    uint64_t number = 0;

    if (text == NULL)
        return true;
    if (!text_parse_unsigned(text, MOST_DAYS, &number)) {
        error_set(err, ERROR_USAGE, "--%s: \"%.64s\" is no number of days", option_rows[option].name, text);
        return error_hint(err, "Give a whole number from 0 to %d.", MOST_DAYS);
    }
    *days = (long)number;
    return true;
}

/* A critical number of days above the other one leaves nothing to warn of: only what was typed is a slip. */
static bool settle_days(const struct request *request, struct check_options *options, struct error *err)
{
    bool is_critical_given = request_text(request, OPTION_ID_critical_days) != NULL;

    if (options->critical_days <= options->warn_days)
        return true;
    if (is_critical_given && request_text(request, OPTION_ID_warn_days) != NULL) {
        error_set(err, ERROR_USAGE, "--critical-days %ld is more than --warn-days %ld", options->critical_days,
                  options->warn_days);
        return error_hint(err, "A certificate is first warned of, then a failure: give --warn-days the larger number.");
    }
    if (is_critical_given)
        options->warn_days = options->critical_days;
    else
        options->critical_days = options->warn_days;
    return true;
}

bool check_options_read(const struct request *request, const struct settings *settings,
                        struct check_options *ret_options, struct error *err)
{
    struct check_options options = check_options_default(settings);
    const char *only = request_text(request, OPTION_ID_only);

    options.is_passive = request_has(request, OPTION_ID_passive);
    if (!read_days(request, OPTION_ID_warn_days, &options.warn_days, err) ||
        !read_days(request, OPTION_ID_critical_days, &options.critical_days, err) ||
        !settle_days(request, &options, err) || (only != NULL && !check_options_only(&options, only, true, err)))
        return false;
    *ret_options = options;
    return true;
}
