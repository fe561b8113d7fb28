#include <stdlib.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/serve/record_search_internal.h"
#include "jobs/serve/session_internal.h"
#include "jobs/serve/stock_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* The `restore` request: gathers what plan_choose() wants to know, and tells its outcome. */

/* The result is one line of at most 64 KiB: the backup takes 40 of them, names and history a part of the rest. */
#define MOST_NAMES_IN_RESULT   256
#define MOST_HISTORY_IN_RESULT 100

struct gathered {
    struct stock stock;
    struct record_search search;
};

static void gathered_done(struct gathered *gathered)
{
    record_search_done(&gathered->search);
    stock_done(&gathered->stock);
}

/* ---- the wish ---- */

static bool set_target(struct plan_wish *wish, enum plan_target target, const char *value, struct error *err)
{
    if (wish->target != PLAN_END)
        return error_set(err, ERROR_USAGE, "more than one recovery target is given");
    wish->target = target;
    wish->value = value;
    return true;
}

static bool parse_target(const struct request *request, struct plan_wish *wish, struct error *err)
{
    const char *time = request_text(request, OPTION_ID_target_time);
    const char *position = request_text(request, OPTION_ID_target_lsn);
    const char *xid = request_text(request, OPTION_ID_target_xid);
    const char *name = request_text(request, OPTION_ID_target_name);
    uint64_t number = 0;

    if (time != NULL && (!set_target(wish, PLAN_TIME, time, err) || !timestamp_parse(time, &wish->time, err)))
        return false;
    if (position != NULL) {
        if (!set_target(wish, PLAN_LSN, position, err))
            return false;
        if (!wal_position_parse(position, &wish->position, err)) {
            err->kind = ERROR_USAGE;
            return false;
        }
    }
    if (xid != NULL && !text_parse_unsigned(xid, UINT64_MAX, &number))
        return error_set(err, ERROR_USAGE, "\"%s\" is not a transaction id", xid);
    wish->transaction = (uint32_t)number; /* as PostgreSQL takes one with its epoch */
    if (xid != NULL && !set_target(wish, PLAN_XID, xid, err))
        return false;
    if (name != NULL && !set_target(wish, PLAN_NAME, name, err))
        return false;
    return !request_has(request, OPTION_ID_target_immediate) || set_target(wish, PLAN_IMMEDIATE, "", err);
}

static bool parse_timeline(const struct request *request, struct plan_wish *wish, struct error *err)
{
    const char *text = request_text(request, OPTION_ID_target_timeline);
    uint64_t number = 0;

    if (text == NULL || strcmp(text, "latest") == 0)
        return true;
    if (strcmp(text, "current") == 0) {
        wish->timeline_choice = PLAN_TIMELINE_CURRENT;
        return true;
    }
    if (!text_parse_unsigned(text, UINT32_MAX, &number) || number == 0)
        return error_set(err, ERROR_USAGE, "\"%s\" is not a timeline: a number, latest or current", text);
    wish->timeline_choice = PLAN_TIMELINE_NUMBER;
    wish->timeline = (struct timeline){(uint32_t)number};
    return true;
}

static bool check_other_options(const struct request *request, const struct plan_wish *wish, struct error *err)
{
    const char *action = request_text(request, OPTION_ID_target_action);
    bool can_be_exclusive = wish->target == PLAN_TIME || wish->target == PLAN_LSN || wish->target == PLAN_XID;

    if (request_has(request, OPTION_ID_target_exclusive) && !can_be_exclusive)
        return error_set(err, ERROR_USAGE, "--target-exclusive goes with --target-time, --target-lsn or --target-xid");
    if (action != NULL && strcmp(action, "pause") != 0 && strcmp(action, "promote") != 0 &&
        strcmp(action, "shutdown") != 0)
        return error_set(err, ERROR_USAGE, "\"%s\" is not an action: pause, promote or shutdown", action);
    if (request_has(request, OPTION_ID_standby) && wish->target != PLAN_END)
        return error_set(err, ERROR_USAGE, "--standby follows the server for ever and takes no target");
    return true;
}

static bool parse_wish(const struct request *request, struct plan_wish *ret_wish, struct error *err)
{
    /* An export is the backup and what makes it consistent, and nothing behind that. */
    *ret_wish = (struct plan_wish){.target = request->command == COMMAND_ID_export ? PLAN_IMMEDIATE : PLAN_END,
                                   .value = "",
                                   .is_exclusive = request_has(request, OPTION_ID_target_exclusive)};
    return parse_target(request, ret_wish, err) && parse_timeline(request, ret_wish, err) &&
           check_other_options(request, ret_wish, err);
}

/* ---- the stock ---- */

static bool gather(const struct session *session, const struct request *request, struct plan_wish *wish,
                   struct gathered *gathered, struct error *err)
{
    const struct system_id *system = NULL;

    const struct catalogue *catalogue = &gathered->stock.catalogue;

    if (!catalogue_read(session->repo, request->server, &gathered->stock.catalogue, err))
        return false;
    system = &catalogue->current;
    if (request->backup[0] != '\0') {
        if (!catalogue_find(catalogue, request->backup, &wish->backup, err))
            return false;
        system = &wish->backup->system;
    }
    if (catalogue->count == 0) {
        error_set(err, ERROR_USAGE, "there is no backup of \"%s\"", request->server);
        return error_hint(err, "\"pgcoffer backup %s\" takes one.", request->server);
    }
    return stock_read_wal(&gathered->stock, session->repo, request->server, system, err) &&
           record_search_begin(&gathered->search, &gathered->stock.archive, err);
}

/* ---- the answer ---- */

static const char *target_word(enum plan_target target)
{
    switch (target) {
    case PLAN_END:
        return "end";
    case PLAN_IMMEDIATE:
        return "immediate";
    case PLAN_TIME:
        return "time";
    case PLAN_LSN:
        return "lsn";
    case PLAN_XID:
        return "xid";
    case PLAN_NAME:
        return "name";
    }
    return "end";
}

static json_t *history_to_json(const struct history *history)
{
    json_t *list = json_array();

    size_t first = history->entry_count > MOST_HISTORY_IN_RESULT ? history->entry_count - MOST_HISTORY_IN_RESULT : 0;

    for (size_t i = first; i < history->entry_count; i++)
        json_array_append_new(list, json_pack("{s:I, s:o}", "timeline", (json_int_t)history->entries[i].timeline.value,
                                              "switched_at", events_position(history->entries[i].switched_at)));
    return list;
}

static json_t *warnings_to_json(const struct plan *plan)
{
    json_t *list = json_array();

    for (size_t i = 0; i < plan->warning_count; i++)
        json_array_append_new(list, control_text(plan->warnings[i]));
    return list;
}

/* The record that ends the recovery; null when it is not one that could be looked for, or none does. */
static json_t *stop_to_json(const struct plan_wish *wish, const struct plan *plan)
{
    if (!plan->has_stop)
        return json_null();
    json_t *stop = json_pack("{s:I, s:o, s:o}", "timeline", (json_int_t)plan->stop.timeline.value, "lsn",
                             events_position(plan->stop.position), "at", json_time(plan->stop.time));
    if (wish->target == PLAN_NAME)
        json_object_set_new(stop, "name", control_text(plan->stop.name));
    return stop;
}

/* Where no time is the target the last commit has not been looked for. */
static struct timestamp complete_until(const struct wal_archive *archive, const struct plan *plan)
{
    struct timestamp commit = wal_archive_last_commit(archive, plan->history, plan->reach.timeline, plan->reach.end);

    return commit.microseconds > plan->complete_at.microseconds ? commit : plan->complete_at;
}

static json_t *plan_to_json(const struct plan_stock *stock, const struct plan_wish *wish, const struct plan *plan,
                            const struct backup_meta *meta)
{
    json_t *json = json_object();

    json_object_set_new(json, "server", control_text(stock->server));
    json_object_set_new(json, "system_id", control_text(stock->system->text));
    json_object_set_new(json, "backup", events_backup(meta));
    json_object_set_new(json, "timeline", json_integer(plan->history->timeline.value));
    json_object_set_new(json, "history", history_to_json(plan->history));
    json_object_set_new(json, "segment_size", json_integer(stock->segment_size.bytes));
    json_object_set_new(json, "start", events_position(meta->start_position));
    json_object_set_new(json, "consistent_at", events_position(meta->end_position));
    json_object_set_new(json, "reachable", events_position(plan->reach.end));
    json_object_set_new(json, "target",
                        json_pack("{s:s, s:o}", "kind", target_word(wish->target), "value", control_text(wish->value)));
    json_object_set_new(json, "stop", stop_to_json(wish, plan));
    json_object_set_new(json, "replay_to", plan->is_to_end ? events_position(plan->last_record) : json_null());
    json_object_set_new(json, "why", control_text(plan->why));
    json_object_set_new(json, "warnings", warnings_to_json(plan));
    return json;
}

/* A drill looks whether PostgreSQL came as far. Where it cannot be told the recovery goes by what PostgreSQL finds. */
static json_t *last_record_to_json(const struct plan_stock *stock, const struct plan *plan)
{
    struct wal_position last = {0};
    struct error ignored;

    return stock->lookup.find_last_record(stock->lookup.context, plan->reach.timeline, plan->reach.end, &last,
                                          &ignored) &&
                   last.value > 0
               ? events_position(last)
               : json_null();
}

static bool append_name(void *context, const char *name, struct error *err)
{
    (void)err;
    json_array_append_new(context, json_string(name));
    return true;
}

/*
 * A copy that asks nobody chooses its new timeline by the histories beside it: without these it would take a number
 * that is in use. A standby would follow the highest, whose child it need not be.
 */
static void add_later_histories(const struct plan_stock *stock, const struct plan *plan, json_t *names)
{
    char name[WAL_HISTORY_NAME_SIZE];

    for (size_t i = 0; i < stock->timeline_count; i++) {
        const struct plan_timeline *timeline = &stock->timelines[i];
        if (timeline->is_damaged || timeline->history.timeline.value <= plan->history->timeline.value)
            continue;
        wal_history_format(timeline->history.timeline, name);
        json_array_append_new(names, json_string(name));
    }
}

/* With --target-immediate recovery reads no further than the backup's own end. */
static bool list_wal_files(const struct plan_stock *stock, const struct plan_wish *wish, const struct plan *plan,
                           json_t *names, struct error *err)
{
    bool is_short = wish->target == PLAN_IMMEDIATE;
    const struct backup_meta *meta = plan->backup->meta;

    return plan_each_wal_file(stock, plan, append_name, names, is_short ? meta->end_timeline : plan->reach.timeline,
                              is_short ? meta->end_position : plan->reach.end, err);
}

static bool add_wal_files(struct session *session, json_t *json, json_t *names, struct error *err)
{
    json_t *name;
    size_t i;

    if (json_array_size(names) <= MOST_NAMES_IN_RESULT) {
        json_object_set(json, "wal_files", names);
        return true;
    }
    json_array_foreach(names, i, name)
    {
        if (!control_send_item(session->client, json_pack("{s:O}", "wal_file", name), err))
            return false;
    }
    return true;
}

bool answer_restore(struct session *session, const struct request *request, struct error *err)
{
    struct gathered gathered SCOPED(gathered_done) = {0};
    json_t *names SCOPED(scoped_json) = json_array();
    struct plan_wish wish;
    struct plan plan;
    const struct held_backup *held;

    if (!parse_wish(request, &wish, err) || !gather(session, request, &wish, &gathered, err))
        return false;
    struct plan_stock stock = stock_for_plan(&gathered.stock, request->server);
    stock.lookup = record_search_lookup(&gathered.search);
    bool has_wal = request_has(request, OPTION_ID_with_wal);
    if (!plan_choose(&stock, &wish, &plan, err) || !held_add(session, request->server, plan.backup, &held, err) ||
        (has_wal && !list_wal_files(&stock, &wish, &plan, names, err)))
        return false;
    if (has_wal && !request_has(request, OPTION_ID_standby))
        add_later_histories(&stock, &plan, names);
    json_t *json SCOPED(scoped_json) = plan_to_json(&stock, &wish, &plan, held->entry.meta);
    if (request->command == COMMAND_ID_drill && wish.target == PLAN_END)
        json_object_set_new(json, "last_record", last_record_to_json(&stock, &plan));
    json_object_set_new(json, "reachable_at", json_time(complete_until(&gathered.stock.archive, &plan)));
    json_object_set_new(json, "segments_read", json_integer((json_int_t)gathered.search.read_count));
    return (!has_wal || add_wal_files(session, json, names, err)) &&
           control_send_result(session->client, TAKE(json), err);
}
