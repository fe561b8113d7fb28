#include <string.h>

#include "pgcoffer/base/text.h"
#include "pgcoffer/control/stream.h"

/* What programs alone send: named like options on the wire, and never on a command line. All are needed. */
static const struct wire_word {
    enum command_id command;
    const char *name;
} wire_words[] = {
    {COMMAND_ID_annotate, "annotations"},
    {COMMAND_ID_drill_result, "result"},
    {COMMAND_ID_lease, "timeline"},
    {COMMAND_ID_lease, "for"},
    {COMMAND_ID_release, "lease"},
    {COMMAND_ID_report, "command"},
    {COMMAND_ID_read, "file"},
    {COMMAND_ID_read, "offset"},
    {COMMAND_ID_read, "length"},
    {COMMAND_ID_wal_get, "file"},
};
#define WIRE_WORD_COUNT (sizeof wire_words / sizeof wire_words[0])

static bool is_wire_word(enum command_id command, const char *name)
{
    for (size_t i = 0; i < WIRE_WORD_COUNT; i++)
        if (wire_words[i].command == command && strcmp(wire_words[i].name, name) == 0)
            return true;
    return false;
}

static bool has_control_character(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    return false;
}

static bool check_text(const char *name, const json_t *value, struct error *err)
{
    if (!json_is_string(value))
        return error_set(err, ERROR_USAGE, "the value of \"%s\" is not a text", name);
    if (has_control_character(json_string_value(value)))
        return error_set(err, ERROR_USAGE, "the value of \"%s\" holds a control character", name);
    return true;
}

static bool check_option(enum command_id command, const char *name, const json_t *value, struct error *err)
{
    enum option_id option;

    if (is_wire_word(command, name))
        return check_text(name, value, err);
    if (!option_find(name, &option) || option_rows[option].where != OPTION_WIRE || !option_belongs(option, command)) {
        char printable[64];
        snprintf(printable, sizeof printable, "%s", name);
        text_make_printable(printable);
        return error_set(err, ERROR_USAGE, "the request \"%s\" takes no option \"%s\"", commands[command].words,
                         printable);
    }
    if (option_rows[option].argument[0] != '\0')
        return check_text(name, value, err);
    if (!json_is_true(value))
        return error_set(err, ERROR_USAGE, "the value of \"%s\" is not true", name);
    return true;
}

static bool parse_options(const json_t *message, struct request *request, struct error *err)
{
    json_t *options = json_object_get(message, "options");
    const char *name;
    json_t *value;

    if (options != NULL && !json_is_object(options))
        return error_set(err, ERROR_USAGE, "\"options\" is not an object");
    json_object_foreach(options, name, value)
    {
        if (!check_option(request->command, name, value, err))
            return false;
    }
    for (size_t i = 0; i < WIRE_WORD_COUNT; i++)
        if (wire_words[i].command == request->command && json_object_get(options, wire_words[i].name) == NULL)
            return error_set(err, ERROR_USAGE, "the request \"%s\" needs the option \"%s\"",
                             commands[request->command].words, wire_words[i].name);
    request->options = options != NULL ? json_incref(options) : json_object();
    return true;
}

/* server, backup or job: "SERVER [BACKUP]" in commands.def says whether it is taken and whether it is needed. */
static bool parse_place(const json_t *message, const struct command *command, const char *member, const char *place,
                        char *ret_text, size_t size, struct error *err)
{
    const json_t *value = json_object_get(message, member);
    const char *taken = strstr(command->arguments, place);
    bool is_optional = taken != NULL && memchr(command->arguments, '[', (size_t)(taken - command->arguments)) != NULL;

    ret_text[0] = '\0';
    if (value == NULL && taken != NULL && !is_optional)
        return error_set(err, ERROR_USAGE, "the request \"%s\" needs a \"%s\"", command->words, member);
    if (value == NULL)
        return true;
    if (taken == NULL)
        return error_set(err, ERROR_USAGE, "the request \"%s\" takes no \"%s\"", command->words, member);
    if (!check_text(member, value, err))
        return false;
    if (json_string_length(value) == 0 || json_string_length(value) >= size)
        return error_set(err, ERROR_USAGE, "\"%s\" has %zu bytes, not 1 to %zu", member, json_string_length(value),
                         size - 1);
    memcpy(ret_text, json_string_value(value), json_string_length(value) + 1);
    return true;
}

static bool parse_places(const json_t *message, struct request *request, struct error *err)
{
    const struct command *command = &commands[request->command];

    if (!parse_place(message, command, "server", "SERVER", request->server, sizeof request->server, err) ||
        !parse_place(message, command, "backup", "BACKUP", request->backup, sizeof request->backup, err) ||
        !parse_place(message, command, "job", "JOB", request->job, sizeof request->job, err))
        return false;
    if (request->server[0] != '\0' && !text_is_server_name(request->server))
        return error_set(err, ERROR_USAGE, "\"%s\" is not the name of a server", request->server);
    if (request->backup[0] != '\0' && request->server[0] == '\0')
        return error_set(err, ERROR_USAGE, "\"backup\" is given without \"server\"");
    return true;
}

static bool check_members(const json_t *message, struct error *err)
{
    static const char *const members[] = {"v", "command", "server", "backup", "job", "options"};
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)message, name, value)
    {
        bool is_known = false;
        for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
            is_known = is_known || strcmp(members[i], name) == 0;
        if (!is_known) {
            char printable[64];
            snprintf(printable, sizeof printable, "%s", name);
            text_make_printable(printable);
            return error_set(err, ERROR_USAGE, "a request has no member \"%s\"", printable);
        }
    }
    return true;
}

bool request_parse(const json_t *message, struct request *ret_request, struct error *err)
{
    struct request request = {.options = NULL};
    const json_t *version = json_object_get(message, "v");
    const char *words = json_text_or_null(message, "command");

    if (!json_is_integer(version))
        return error_set(err, ERROR_USAGE, "the request does not say its version: \"v\":%d", CONTROL_VERSION);
    if (json_integer_value(version) != CONTROL_VERSION) {
        error_set(err, ERROR_USAGE, "version %lld of the control protocol is not spoken here, only %d",
                  (long long)json_integer_value(version), CONTROL_VERSION);
        return error_hint(err, "pgcoffer and pgcofferd must be of the same release.");
    }
    if (words == NULL)
        return error_set(err, ERROR_USAGE, "the request names no \"command\"");
    if (!command_find(words, &request.command, err) || !check_members(message, err) ||
        !parse_places(message, &request, err) || !parse_options(message, &request, err))
        return false;
    *ret_request = request;
    return true;
}

json_t *request_to_json(const struct request *request)
{
    json_t *message = json_pack("{s:i, s:s}", "v", CONTROL_VERSION, "command", commands[request->command].words);

    if (request->server[0] != '\0')
        json_object_set_new(message, "server", control_text(request->server));
    if (request->backup[0] != '\0')
        json_object_set_new(message, "backup", control_text(request->backup));
    if (request->job[0] != '\0')
        json_object_set_new(message, "job", control_text(request->job));
    if (json_object_size(request->options) > 0)
        json_object_set(message, "options", request->options);
    return message;
}

void request_done(struct request *request)
{
    json_decref(request->options);
    *request = (struct request){.command = COMMAND_COUNT};
}

bool request_has(const struct request *request, enum option_id option)
{
    return json_is_set(request->options, option_rows[option].name);
}

const char *request_text(const struct request *request, enum option_id option)
{
    return json_text_or_null(request->options, option_rows[option].name);
}

const char *request_wire_text(const struct request *request, const char *name)
{
    return json_text_or_null(request->options, name);
}
