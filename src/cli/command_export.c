#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/restoring_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/export.h"

#define STANDARD_OUT "-"

/* ---- options ---- */

static enum export_form form_of_name(const char *output)
{
    if (text_ends_with(output, ".tar.zst") || text_ends_with(output, ".tzst"))
        return EXPORT_TAR_ZST;
    if (text_ends_with(output, ".tar") || strcmp(output, STANDARD_OUT) == 0)
        return EXPORT_TAR;
    return EXPORT_FOLDER;
}

static bool parse_form(const struct invocation *invocation, const char *output, enum export_form *ret_form,
                       struct error *err)
{
    const char *text = invocation_text(invocation, OPTION_ID_format);

    if (text == NULL) {
        *ret_form = form_of_name(output);
        return true;
    }
    for (int form = EXPORT_TAR; form <= EXPORT_FOLDER; form++) {
        if (strcmp(text, export_form_word((enum export_form)form)) != 0)
            continue;
        *ret_form = (enum export_form)form;
        return true;
    }
    return error_set(err, ERROR_USAGE, "--format: \"%s\" is not one of tar, tar.zst, directory", text);
}

/* What would spoil the stream, or the terminal. */
static bool check_stream(const struct invocation *invocation, enum export_form form, struct error *err)
{
    if (form == EXPORT_FOLDER)
        return error_set(err, ERROR_USAGE, "a directory cannot be written to the standard output");
    if (output_is_json(invocation))
        return error_set(err, ERROR_USAGE, "--json: the standard output is taken by the tar");
    if (!isatty(STDOUT_FILENO))
        return true;
    error_set(err, ERROR_USAGE, "the standard output is a terminal");
    return error_hint(err, "Send it somewhere: | ssh ... or > FILE, or name a file with --output.");
}

/* ---- running ---- */

static void report(const struct invocation *invocation, const json_t *result)
{
    const char *backup = json_text_or(result, "backup", "?");
    const char *output = json_text_or_null(result, "output");
    char bytes[TEXT_BYTES_SIZE];
    char duration[TEXT_DURATION_SIZE];

    if (output == NULL) /* the tar went there */
        return;
    if (output_is_json(invocation)) {
        output_json(result);
        return;
    }
    text_format_bytes((uint64_t)json_number_or(result, "bytes", 0), bytes);
    text_format_duration(json_number_value(json_object_get(result, "seconds")), duration);
    output_line(invocation, "backup %s of %s is exported to %s: %s, %lld files, %lld of WAL, in %s", backup,
                invocation_argument(invocation, 0), output, bytes, (long long)json_number_or(result, "files", 0),
                (long long)json_number_or(result, "wal_files", 0), duration);
}

static bool run(struct invocation *invocation, struct export_options *options, struct session_source *source,
                struct error *err)
{
    struct restoring restoring = restoring_new(invocation);
    struct connector connector;
    json_t *result SCOPED(scoped_json) = NULL;

    if (!restoring_prepare(&restoring, source, &options->restore, &connector, err))
        return false;
    umask(077);
    bool is_exported = export_run(options, &connector, &result, err);
    restoring_end(&restoring, is_exported, result, err);
    if (is_exported)
        report(invocation, result);
    return is_exported;
}

bool command_export(struct invocation *invocation, struct error *err)
{
    const char *output = invocation_text(invocation, OPTION_ID_output);
    struct session_source *source SCOPED(scoped_session_source) = NULL;
    struct request request SCOPED(request_done) = {0};
    char *path SCOPED(scoped_free) = NULL;
    struct export_options options = {.may_replace = invocation_has(invocation, OPTION_ID_force),
                                     .with_wal = invocation_has(invocation, OPTION_ID_with_wal)};

    if (text_is_empty(output)) {
        error_set(err, ERROR_USAGE, "it is not said where the backup goes");
        return error_hint(err, "Add --output FILE.tar, FILE.tar.zst, DIR, or - for the standard output.");
    }
    if (!parse_form(invocation, output, &options.form, err) ||
        !restoring_parse_jobs(invocation, &options.restore.jobs, err) || !invocation_request(invocation, &request, err))
        return false;
    if (options.may_replace && (options.form == EXPORT_FOLDER || strcmp(output, STANDARD_OUT) == 0))
        return error_set(err, ERROR_USAGE, "--force replaces a file, and nothing else");
    if (strcmp(output, STANDARD_OUT) != 0)
        path = restoring_absolute_path(output);
    else if (!check_stream(invocation, options.form, err))
        return false;
    for (size_t size = path != NULL ? strlen(path) : 0; size > 1 && path[size - 1] == '/'; size--)
        path[size - 1] = '\0';
    options.path = path;
    options.restore.request = request;
    return session_source_new(invocation, false, &source, err) && run(invocation, &options, source, err);
}
