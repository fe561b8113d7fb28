#include "cli/cli_internal.h"
#include "pgcoffer/base/text.h"

/* What is noted beside a backup: pin, unpin, annotate. */

static void report_pin(const struct invocation *invocation, const json_t *result)
{
    const char *until = json_text_or_null(json_object_get(result, "pin"), "until");

    output_line(invocation, "backup %s of %s is pinned %s%s", json_text_or(result, "backup", "?"),
                json_text_or(result, "server", "?"), until != NULL ? "until " : "until it is unpinned",
                until != NULL ? until : "");
}

static void report_unpin(const struct invocation *invocation, const json_t *result)
{
    output_line(invocation, "backup %s of %s %s", json_text_or(result, "backup", "?"),
                json_text_or(result, "server", "?"),
                json_is_set(result, "was_pinned") ? "is not pinned any more" : "was not pinned");
}

static void report_annotations(const struct invocation *invocation, const json_t *result)
{
    const char *key;
    json_t *value;

    output_line(invocation, "backup %s of %s has %zu annotation%s", json_text_or(result, "backup", "?"),
                json_text_or(result, "server", "?"), json_object_size(json_object_get(result, "annotations")),
                json_object_size(json_object_get(result, "annotations")) == 1 ? "" : "s");
    json_object_foreach(json_object_get(result, "annotations"), key, value)
    {
        output_line(invocation, "  %s=%s", key, json_is_string(value) ? json_string_value(value) : "?");
    }
}

bool command_pin(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, report_pin, err);
}

bool command_unpin(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, report_unpin, err);
}

bool command_annotate(struct invocation *invocation, struct error *err)
{
    return client_answer(invocation, NULL, report_annotations, err);
}
