#include "pgcoffer/repo/retention.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"

#include "repo/retention_internal.h"

const char *retention_rule_word(enum retention_rule rule)
{
    static const char *const words[] = {
#define BACKUP_RULE(id, word) [RETENTION_RULE_##id] = word,
#define WAL_RULE(id, word, before, behind)
#include "pgcoffer/repo/retention_rules.def"
#undef BACKUP_RULE
#undef WAL_RULE
    };

    return words[rule];
}

struct decision {
    const struct retention_policy *policy;
    const struct retention_stock *stock;
    struct retention_verdict *verdicts;
    size_t *order;                          /* of the backups, oldest first */
    const struct retention_backup *current; /* one of the current group; NULL: it has no complete one yet */
    size_t current_count;                   /* complete ones of the current group */
};

/* The first rule that keeps a backup is the one that is told. */
static void keep(const struct decision *decision, size_t index, enum retention_rule rule, const char *format, ...)
    PRINTF_LIKE(4, 5);
static void keep(const struct decision *decision, size_t index, enum retention_rule rule, const char *format, ...)
{
    struct retention_verdict *verdict = &decision->verdicts[index];
    va_list arguments;

    if (verdict->is_kept)
        return;
    verdict->is_kept = true;
    verdict->rule = rule;
    va_start(arguments, format);
    vsnprintf(verdict->words, sizeof verdict->words, format, arguments);
    va_end(arguments);
}

static bool is_future(const struct decision *decision, const struct retention_backup *backup)
{
    return backup->started_at.microseconds > decision->stock->now.microseconds;
}

/* Only these are counted, and only these let others go. */
static bool is_counted(const struct decision *decision, const struct retention_backup *backup)
{
    return backup->state == RETENTION_COMPLETE && !is_future(decision, backup);
}

static bool is_of_group(const struct retention_backup *one, const struct retention_backup *other)
{
    return one->major_version == other->major_version && strcmp(one->system.text, other->system.text) == 0;
}

static int compare(const void *one, const void *other, void *context)
{
    const struct retention_stock *stock = context;
    const struct retention_backup *left = &stock->backups[*(const size_t *)one];
    const struct retention_backup *right = &stock->backups[*(const size_t *)other];

    if (left->started_at.microseconds != right->started_at.microseconds)
        return left->started_at.microseconds < right->started_at.microseconds ? -1 : 1;
    if (strlen(left->id.text) != strlen(right->id.text))
        return strlen(left->id.text) < strlen(right->id.text) ? -1 : 1; /* -2 before -10 */
    return strcmp(left->id.text, right->id.text);
}

static size_t *sort_backups(const struct retention_stock *stock)
{
    size_t *order = memory_new((stock->count + 1) * sizeof *order);

    for (size_t i = 0; i < stock->count; i++)
        order[i] = i;
    qsort_r(order, stock->count, sizeof *order, compare, (void *)stock);
    return order;
}

/* The newest complete one of the current system tells the version too. */
static void find_current(struct decision *decision)
{
    const struct retention_stock *stock = decision->stock;

    for (size_t i = 0; i < stock->count; i++) {
        const struct retention_backup *backup = &stock->backups[decision->order[i]];
        bool is_of_current = stock->current.text[0] == '\0' || strcmp(backup->system.text, stock->current.text) == 0;
        if (is_of_current && is_counted(decision, backup))
            decision->current = backup;
    }
    for (size_t i = 0; decision->current != NULL && i < stock->count; i++)
        if (is_counted(decision, &stock->backups[i]) && is_of_group(&stock->backups[i], decision->current))
            decision->current_count++;
}

/* ---- what is kept whatever the policy ---- */

static void keep_untouchable(const struct decision *decision)
{
    for (size_t i = 0; i < decision->stock->count; i++) {
        const struct retention_backup *backup = &decision->stock->backups[i];
        if (backup->state == RETENTION_UNREADABLE)
            keep(decision, i, RETENTION_RULE_UNREADABLE, "it, or what tells of the WAL that it needs, cannot be read");
        else if (backup->state == RETENTION_WAITING)
            keep(decision, i, RETENTION_RULE_WAITING, "it still waits for its WAL");
        else if (is_future(decision, backup))
            keep(decision, i, RETENTION_RULE_FUTURE, "it began in the future: the clock was wrong, or is");
    }
}

static void keep_pinned(const struct decision *decision)
{
    for (size_t i = 0; i < decision->stock->count; i++)
        if (decision->stock->backups[i].is_pinned)
            keep(decision, i, RETENTION_RULE_PINNED, "it is pinned");
}

static bool keep_required_by(const struct decision *decision, const struct retention_backup *keeper)
{
    bool is_new = false;

    for (size_t i = 0; i < keeper->required_count; i++)
        for (size_t j = 0; j < decision->stock->count; j++) {
            if (decision->verdicts[j].is_kept ||
                strcmp(decision->stock->backups[j].id.text, keeper->required_ids[i]) != 0)
                continue;
            keep(decision, j, RETENTION_RULE_REQUIRED, "backup %s needs it", keeper->id.text);
            is_new = true;
        }
    return is_new;
}

static void keep_required(const struct decision *decision)
{
    bool is_new = true;

    while (is_new) {
        is_new = false;
        for (size_t i = 0; i < decision->stock->count; i++)
            if (decision->verdicts[i].is_kept && keep_required_by(decision, &decision->stock->backups[i]))
                is_new = true;
    }
}

/* ---- the policy, in one group ---- */

/* Backups of a group that count, oldest first. */
struct members {
    size_t *indexes;
    size_t count;
};

static struct members find_members(const struct decision *decision, const struct retention_backup *of)
{
    struct members members = {memory_new((decision->stock->count + 1) * sizeof(size_t)), 0};

    for (size_t i = 0; i < decision->stock->count; i++) {
        const struct retention_backup *backup = &decision->stock->backups[decision->order[i]];
        if (is_counted(decision, backup) && is_of_group(backup, of))
            members.indexes[members.count++] = decision->order[i];
    }
    return members;
}

static const struct retention_backup *member(const struct decision *decision, const struct members *members, size_t i)
{
    return &decision->stock->backups[members->indexes[i]];
}

static void keep_days(const struct decision *decision, const struct members *members)
{
    unsigned days = decision->policy->days;
    int64_t oldest = decision->stock->now.microseconds - days * RETENTION_DAY_MICROSECONDS;

    for (size_t i = 0; days > 0 && i < members->count; i++)
        if (member(decision, members, i)->started_at.microseconds >= oldest)
            keep(decision, members->indexes[i], RETENTION_RULE_DAYS, "it began within the last %u day%s", days,
                 days == 1 ? "" : "s");
}

/* The last backup of the first day with one: chosen once it stays chosen, and with daily ones it is that of Monday. */
static void keep_one_of_each(const struct decision *decision, const struct members *members,
                             enum retention_period period, unsigned number, enum retention_rule rule)
{
    int64_t oldest = retention_period_number(period, decision->stock->now) - number;
    char words[RETENTION_WORDS_SIZE];
    int64_t former = 0, first_day = 0;

    for (size_t i = 0; i < members->count; i++) {
        const struct timestamp start = member(decision, members, i)->started_at;
        int64_t at = retention_period_number(period, start), day = retention_day_number(start);
        bool is_first = i == 0 || at != former;
        former = at;
        if (is_first)
            first_day = day;
        bool is_last_of_day =
            i + 1 == members->count || retention_day_number(member(decision, members, i + 1)->started_at) != day;
        if (at <= oldest || day != first_day || !is_last_of_day)
            continue;
        retention_period_words(period, start, words);
        keep(decision, members->indexes[i], rule, "it is the one of %.60s", words);
    }
}

static void keep_newest(const struct decision *decision, const struct members *members, unsigned number,
                        enum retention_rule rule, const char *name)
{
    size_t first = members->count > number ? members->count - number : 0;

    for (size_t i = first; i < members->count; i++)
        keep(decision, members->indexes[i], rule, "it is one of the newest (%s = %u)", name, number);
}

static bool is_for(const struct retention_way *way, const struct retention_backup *backup)
{
    return strcmp(way->system.text, backup->system.text) == 0;
}

/* From a branch that was left there is no way back: what is written now needs backups of its own. */
static void keep_least_of_way(const struct decision *decision, const struct members *members,
                              const struct retention_way *way)
{
    unsigned left = decision->policy->least;

    for (size_t i = members->count; i-- > 0 && (left > 0 || way->history == NULL);) {
        const struct retention_backup *backup = member(decision, members, i);
        if (way->history == NULL) {
            keep(decision, members->indexes[i], RETENTION_RULE_LEAST,
                 "timeline %u, whose history is not held, may need it", (unsigned)way->timeline.value);
        } else if (retention_is_on_way(way->history, backup)) {
            keep(decision, members->indexes[i], RETENTION_RULE_LEAST,
                 "it is one of the newest on the way to timeline %u (retention_min = %u)",
                 (unsigned)way->timeline.value, decision->policy->least);
            left--;
        }
    }
}

static void keep_least(const struct decision *decision, const struct members *members)
{
    keep_newest(decision, members, decision->policy->least, RETENTION_RULE_LEAST, "retention_min");
    for (size_t i = 0; i < decision->stock->way_count; i++)
        if (decision->stock->ways[i].is_live && is_for(&decision->stock->ways[i], member(decision, members, 0)))
            keep_least_of_way(decision, members, &decision->stock->ways[i]);
}

static void apply_policy(const struct decision *decision, const struct members *members)
{
    const struct retention_policy *policy = decision->policy;
    bool is_former = decision->current == NULL || !is_of_group(member(decision, members, 0), decision->current);

    if (policy->count > 0) {
        keep_newest(decision, members, policy->count, RETENTION_RULE_COUNT, "retention_count");
    } else {
        keep_days(decision, members);
        keep_one_of_each(decision, members, RETENTION_OF_WEEK, policy->weeks, RETENTION_RULE_WEEK);
        keep_one_of_each(decision, members, RETENTION_OF_MONTH, policy->months, RETENTION_RULE_MONTH);
        keep_one_of_each(decision, members, RETENTION_OF_YEAR, policy->years, RETENTION_RULE_YEAR);
    }
    /* Those of a former cluster are the only ones until the new one has enough of its own. */
    if (!is_former || decision->current_count < policy->least)
        keep_least(decision, members);
    for (size_t i = 0; i < members->count; i++)
        decision->verdicts[members->indexes[i]].is_counted = decision->verdicts[members->indexes[i]].is_kept;
}

/* The newest before the window opens: a moment is reached from a backup that ended before it. History NULL: any. */
static void keep_base_of_way(const struct decision *decision, const struct members *members,
                             const struct history *history)
{
    int64_t opens_at = decision->stock->now.microseconds - decision->policy->wal_seconds * 1000000;

    for (size_t i = members->count; i-- > 0;) {
        const struct retention_backup *backup = member(decision, members, i);
        if (backup->stopped_at.microseconds > opens_at || (history != NULL && !retention_is_on_way(history, backup)))
            continue;
        keep(decision, members->indexes[i], RETENTION_RULE_WINDOW, "every moment of wal_retention is reached from it");
        return;
    }
}

static void keep_bases_of_window(const struct decision *decision, const struct members *members)
{
    const struct retention_stock *stock = decision->stock;
    bool has_way = false;

    if (decision->policy->wal_seconds == 0)
        return;
    for (size_t i = 0; i < stock->way_count; i++)
        if (is_for(&stock->ways[i], member(decision, members, 0))) {
            keep_base_of_way(decision, members, stock->ways[i].history);
            has_way = true;
        }
    if (!has_way)
        keep_base_of_way(decision, members, NULL);
}

static void keep_or_replace_unsound(const struct decision *decision, size_t index, const struct members *members)
{
    const struct retention_policy *policy = decision->policy;
    const struct retention_backup *backup = &decision->stock->backups[index];
    int64_t age = decision->stock->now.microseconds - backup->started_at.microseconds;
    const struct retention_backup *newest = members->count > 0 ? member(decision, members, members->count - 1) : NULL;

    if (newest == NULL || newest->started_at.microseconds <= backup->started_at.microseconds)
        keep(decision, index, RETENTION_RULE_UNSOUND, "it is damaged, but there is no newer complete one");
    else if (policy->count == 0 && age <= policy->days * RETENTION_DAY_MICROSECONDS)
        keep(decision, index, RETENTION_RULE_UNSOUND, "it is damaged, and began within the last %u days", policy->days);
}

static void decide_groups(const struct decision *decision)
{
    const struct retention_stock *stock = decision->stock;

    for (size_t i = 0; i < stock->count; i++) {
        const struct retention_backup *backup = &stock->backups[i];
        bool is_first = true;
        for (size_t j = 0; j < i; j++)
            is_first = is_first && !is_of_group(backup, &stock->backups[j]);
        if (!is_first)
            continue;
        struct members members = find_members(decision, backup);
        if (members.count > 0) {
            apply_policy(decision, &members);
            keep_bases_of_window(decision, &members);
        }
        for (size_t j = i; j < stock->count; j++)
            if (stock->backups[j].state == RETENTION_UNSOUND && is_of_group(backup, &stock->backups[j]))
                keep_or_replace_unsound(decision, j, &members);
        free(members.indexes);
    }
}

static void tell_removed(const struct decision *decision)
{
    const struct retention_policy *policy = decision->policy;

    for (size_t i = 0; i < decision->stock->count; i++) {
        struct retention_verdict *verdict = &decision->verdicts[i];
        if (verdict->is_kept)
            continue;
        if (decision->stock->backups[i].state == RETENTION_UNSOUND) {
            verdict->rule = RETENTION_RULE_REPLACED;
            snprintf(verdict->words, sizeof verdict->words, "it is damaged, and there is a newer complete one");
        } else if (policy->count > 0) {
            verdict->rule = RETENTION_RULE_SURPLUS;
            snprintf(verdict->words, sizeof verdict->words, "there are enough newer ones (retention_count = %u)",
                     policy->count);
        } else {
            verdict->rule = RETENTION_RULE_AGED;
            snprintf(verdict->words, sizeof verdict->words, "no day, week, month or year of retention keeps it");
        }
    }
}

void retention_decide(const struct retention_policy *policy, const struct retention_stock *stock,
                      struct retention_verdict *ret_verdicts)
{
    struct decision decision = {.policy = policy, .stock = stock, .verdicts = ret_verdicts};

    for (size_t i = 0; i < stock->count; i++)
        ret_verdicts[i] = (struct retention_verdict){.is_kept = false};
    decision.order = sort_backups(stock);
    find_current(&decision);
    keep_untouchable(&decision);
    decide_groups(&decision);
    keep_pinned(&decision);
    keep_required(&decision);
    tell_removed(&decision);
    free(decision.order);
}
