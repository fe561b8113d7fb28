#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/serve/plan_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MOST_NAMES 10

static const struct backup_meta *first_backup(const struct plan_stock *stock, const struct plan_wish *wish,
                                              const struct history *history)
{
    if (wish->backup != NULL)
        return reach_is_on_path(history, wish->backup->meta) ? wish->backup->meta : NULL;
    for (size_t i = 0; i < stock->catalogue->count; i++)
        if (plan_is_candidate(stock, wish, history, &stock->catalogue->entries[i]))
            return stock->catalogue->entries[i].meta;
    return NULL;
}

/* Everything on the way from the oldest backup. False also when nothing could be found. */
static bool search_along(const struct plan_stock *stock, const struct plan_wish *wish, const struct plan_wish *wanted,
                         const struct history *history, struct plan_found *found)
{
    const struct backup_meta *meta = first_backup(stock, wish, history);
    struct error ignored;

    if (meta == NULL)
        return false;
    const struct plan_search search = {.wish = wanted,
                                       .history = history,
                                       .timeline = meta->start_timeline,
                                       .from = meta->start_position,
                                       .end = {UINT64_MAX}};
    return stock->lookup.search(stock->lookup.context, &search, found, &ignored) && found->count > 0;
}

/* A dead branch may have what the chosen timeline has not. */
static uint32_t find_on_other_timeline(const struct plan_stock *stock, const struct plan_wish *wish,
                                       const struct plan *plan)
{
    for (size_t i = stock->timeline_count; i-- > 0;) {
        const struct plan_timeline *timeline = &stock->timelines[i];
        struct plan_found found SCOPED(plan_found_done) = {0};
        if (!timeline->is_damaged && &timeline->history != plan->history &&
            search_along(stock, wish, wish, &timeline->history, &found))
            return timeline->history.timeline.value;
    }
    return 0;
}

static void append(char *list, size_t room, const char *name)
{
    size_t used = strlen(list);

    snprintf(list + used, room - used, "%s%s", used > 0 ? ", " : "", name);
}

static bool is_listed(const char *const *listed, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(listed[i], name) == 0)
            return true;
    return false;
}

/* The one that looks most like the wish, then the newest. */
static void list_names(const struct plan_found *found, const char *wish, char *ret_list, size_t room)
{
    const char **names SCOPED(scoped_free) = memory_new((found->count + 1) * sizeof *names);
    const char *listed[MOST_NAMES];
    size_t count = 0;
    bool has_more = false;

    for (size_t i = 0; i < found->count; i++)
        names[i] = found->matches[i].name;
    const char *closest = text_closest(wish, names, found->count);
    if (closest != NULL)
        listed[count++] = closest;
    for (size_t i = found->count; i-- > 0;) {
        if (is_listed(listed, count, names[i]))
            continue;
        has_more = count == MOST_NAMES;
        if (has_more)
            break;
        listed[count++] = names[i];
    }
    ret_list[0] = '\0';
    for (size_t i = 0; i < count; i++)
        append(ret_list, room, listed[i]);
    if (has_more)
        append(ret_list, room, "...");
    text_make_printable(ret_list);
}

static bool fail_name(const struct plan_stock *stock, const struct plan_wish *wish, const struct plan *plan,
                      struct error *err)
{
    const struct plan_wish any = {.target = PLAN_NAME, .value = NULL};
    struct plan_found found SCOPED(plan_found_done) = {0};
    char names[MOST_NAMES * (WAL_RESTORE_POINT_SIZE + 2)];

    error_set(err, ERROR_USAGE, "there is no restore point \"%s\" on the way to timeline %" PRIu32, wish->value,
              plan->history->timeline.value);
    if (!search_along(stock, wish, &any, plan->history, &found))
        return error_hint(err, "There is none at all in the WAL held since the oldest backup.");
    list_names(&found, wish->value, names, sizeof names);
    return error_hint(err, "There are: %s.", names);
}

static bool fail_transaction(const struct plan_wish *wish, const struct plan *plan, const struct plan_found *found,
                             struct error *err)
{
    error_set(err, ERROR_USAGE, "transaction %s did not end in the WAL held on the way to timeline %" PRIu32,
              wish->value, plan->history->timeline.value);
    if (!found->has_transactions)
        return error_hint(err, "No transaction did since the oldest backup.");
    return error_hint(err,
                      "Those that did since the oldest backup are between %" PRIu32 " and %" PRIu32
                      ". The id of a subtransaction is no target; that of the whole transaction is.",
                      found->lowest_transaction, found->highest_transaction);
}

bool plan_fail_absent(const struct plan_stock *stock, const struct plan_wish *wish, const struct plan *plan,
                      const struct plan_found *found, struct error *err)
{
    uint32_t timeline = find_on_other_timeline(stock, wish, plan);

    if (wish->target == PLAN_XID)
        fail_transaction(wish, plan, found, err);
    else
        fail_name(stock, wish, plan, err);
    if (timeline == 0)
        return false;
    return error_hint(err, "It lies on the way to timeline %" PRIu32 ": --target-timeline %" PRIu32 " goes there.",
                      timeline, timeline);
}
