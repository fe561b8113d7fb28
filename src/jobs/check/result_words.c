#include "jobs/check/check_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/control/stream.h"

/* Results for those who only read them: what tests is not needed for it. */

const char *check_state_word(enum check_state state)
{
    switch (state) {
    case CHECK_PASS:
        return "pass";
    case CHECK_WARN:
        return "warn";
    case CHECK_FAIL:
        return "fail";
    case CHECK_SKIP:
        break;
    }
    return "skip";
}

json_t *check_result_to_json(const char *server, const struct check_result *result)
{
    const struct check_row *row = &check_rows[result->id];
    json_t *object = json_object();

    if (!text_is_empty(server))
        json_object_set_new(object, "server", control_text(server));
    if (result->host[0] != '\0') {
        json_object_set_new(object, "host", control_text(result->host));
        json_object_set_new(object, "port", json_integer(result->port));
    }
    json_object_set_new(object, "id", json_string(row->name));
    json_object_set_new(object, "group", json_string(row->group));
    json_object_set_new(object, "level", json_string(row->level_word));
    json_object_set_new(object, "state", json_string(check_state_word(result->state)));
    json_object_set_new(object, "seen", control_text(result->seen));
    json_object_set_new(object, "cause", control_text(result->cause));
    json_object_set_new(object, "fix", control_text(result->fix));
    if (result->measure.unit != NULL)
        json_object_set_new(object, "measure",
                            json_pack("{s:s, s:I, s:I, s:I}", "unit", result->measure.unit, "value",
                                      (json_int_t)result->measure.value, "warn", (json_int_t)result->measure.warn,
                                      "critical", (json_int_t)result->measure.critical));
    return object;
}
