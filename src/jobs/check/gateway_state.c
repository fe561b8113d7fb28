#include <string.h>

#include "pgcoffer/base/json.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/check.h"

/* What the gateway says of itself: also what nobody can see at its files, or may not try at its port. */

/* The check of the files that tells it already, and as loud: a gateway that does not listen is more than a warning
 * about a file. NOTHING when none does. */
static enum check_id find_told(const struct check_states *before, enum check_state state)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (check_rows[id].level == CHECK_LEVEL_GATEWAY && before->is_told[id] &&
            (before->state[id] == CHECK_FAIL || before->state[id] == state))
            return id;
    return CHECK_ID_NOTHING;
}

static void tell(const json_t *words, enum check_state state, const char *what, const struct check_states *before,
                 struct check_result *result)
{
    const char *message = json_text_or_null(words, "message"), *hint = json_text_or_null(words, "hint");
    enum check_id told = find_told(before, state);

    if (message == NULL)
        message = "it does not say why";
    if (told != CHECK_ID_NOTHING) {
        result->state = CHECK_SKIP;
        snprintf(result->seen, sizeof result->seen, "see %s; %.900s", check_rows[told].name, message);
        return;
    }
    result->state = state;
    snprintf(result->seen, sizeof result->seen, "%.1000s", message);
    snprintf(result->cause, sizeof result->cause, "%s: %.1000s", what, message);
    snprintf(result->fix, sizeof result->fix, "%.1000s",
             text_is_empty(hint) ? "See pgcoffer status and journalctl -u pgcofferd." : hint);
}

static void judge(const json_t *gateway, const struct check_states *before, struct check_result *result)
{
    const char *state = json_text_or_null(gateway, "state"), *host = json_text_or_null(gateway, "host");
    const json_t *failure = json_object_get(gateway, "error"), *warning = json_object_get(gateway, "warning");

    if (state == NULL || strcmp(state, "listening") != 0) {
        tell(failure, CHECK_FAIL, "The gateway does not listen", before, result);
    } else if (json_is_object(warning)) {
        tell(warning, CHECK_WARN, "The gateway listens, but warns", before, result);
    } else {
        snprintf(result->seen, sizeof result->seen, "listening on %s port %lld",
                 text_is_empty(host) ? "localhost" : host, (long long)json_number_or(gateway, "port", 0));
    }
    text_make_printable(result->seen);
    text_make_printable(result->cause);
    text_make_printable(result->fix);
}

bool check_gateway_state(const json_t *status, const struct check_states *before, const struct check_options *options,
                         check_sink *sink, void *context, struct error *err)
{
    struct check_result result = {.id = CHECK_ID_gateway_running, .state = CHECK_PASS};
    const json_t *gateway = json_object_get(status, "gateway");

    if (!json_is_object(gateway) || !options->is_wanted[CHECK_ID_gateway_running])
        return true;
    judge(gateway, before, &result);
    return sink(context, &result, err);
}
