#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"
#include "repo/retention_internal.h"

struct wal_decision {
    const struct retention_policy *policy;
    const struct retention_stock *stock;
    const struct retention_verdict *verdicts;
    const struct retention_wal *wal;
    struct retention_wal_verdict *files;
};

/* A stretch of a way through the timelines: from `start` on one of them, on to the history's own, up to `end` there. */
struct way {
    const struct history *history;
    struct timeline start_timeline;
    struct wal_position start;
    uint64_t end; /* UINT64_MAX: everything */
};

static uint64_t file_start(const struct wal_decision *decision, size_t index)
{
    return wal_segment_start(decision->wal->files->files[index].segment, decision->wal->segment_size).value;
}

static uint64_t file_end(const struct wal_decision *decision, size_t index)
{
    return wal_segment_end(decision->wal->files->files[index].segment, decision->wal->segment_size).value;
}

static struct timeline file_timeline(const struct wal_decision *decision, size_t index)
{
    return decision->wal->files->files[index].segment.timeline;
}

/* The first reason to keep a file is the one that is told. */
static void keep(const struct wal_decision *decision, size_t index, enum retention_wal_rule rule,
                 const struct retention_backup *backup)
{
    if (!decision->files[index].is_kept)
        decision->files[index] = (struct retention_wal_verdict){.is_kept = true, .rule = rule, .backup = backup};
}

static void keep_all(const struct wal_decision *decision, enum retention_wal_rule rule)
{
    for (size_t i = 0; i < decision->wal->files->count; i++)
        keep(decision, i, rule, NULL);
}

/* Segments that hold a byte of the way; at a fork those of both timelines. */
static void keep_way(const struct wal_decision *decision, const struct way *way, enum retention_wal_rule rule,
                     const struct retention_backup *backup)
{
    for (size_t i = 0; i < decision->wal->files->count; i++) {
        struct timeline timeline = file_timeline(decision, i);
        struct wal_position switched_at;
        uint64_t end = way->end;
        if (timeline.value < way->start_timeline.value || !history_contains(way->history, timeline))
            continue;
        if (history_switch_point(way->history, timeline, &switched_at) && switched_at.value < end)
            end = switched_at.value;
        if (file_end(decision, i) > way->start.value && file_start(decision, i) < end)
            keep(decision, i, rule, backup);
    }
}

static bool is_of_system(const struct wal_decision *decision, const struct retention_backup *backup)
{
    return strcmp(backup->system.text, decision->wal->system.text) == 0;
}

static bool is_kept(const struct wal_decision *decision, const struct retention_backup *backup)
{
    return decision->verdicts[backup - decision->stock->backups].is_kept;
}

/* Whole backups of this system that stay, and from which a moment can be reached. */
static bool is_base(const struct wal_decision *decision, const struct retention_backup *backup)
{
    return is_of_system(decision, backup) && backup->state == RETENTION_COMPLETE && is_kept(decision, backup) &&
           backup->started_at.microseconds <= decision->stock->now.microseconds;
}

/* ---- what one backup needs ---- */

static void keep_for_backup(const struct wal_decision *decision, const struct retention_backup *backup)
{
    const struct history *history = retention_find_history(decision->wal, backup->end_timeline);

    if (history == NULL) {
        keep_all(decision, RETENTION_WAL_IN_DOUBT);
        return;
    }
    struct way way = {history, backup->start_timeline, backup->start, backup->end.value};
    keep_way(decision, &way, RETENTION_WAL_CONSISTENT, backup);
}

/* It may come to its end on any timeline. */
static void keep_from(const struct wal_decision *decision, struct timeline timeline, struct wal_position start,
                      enum retention_wal_rule rule, const struct retention_backup *backup)
{
    for (size_t i = 0; i < decision->wal->files->count; i++)
        if (file_timeline(decision, i).value >= timeline.value && file_end(decision, i) > start.value)
            keep(decision, i, rule, backup);
}

static void keep_for_backups(const struct wal_decision *decision)
{
    for (size_t i = 0; i < decision->stock->count; i++) {
        const struct retention_backup *backup = &decision->stock->backups[i];
        if (!is_of_system(decision, backup) || !is_kept(decision, backup))
            continue;
        if (backup->state == RETENTION_UNREADABLE)
            keep_all(decision, RETENTION_WAL_IN_DOUBT);
        else if (backup->state == RETENTION_WAITING)
            keep_from(decision, backup->start_timeline, backup->start, RETENTION_WAL_COMING, backup);
        else if (decision->verdicts[i].rule == RETENTION_RULE_IN_USE) /* perhaps it is restored, to any moment */
            keep_from(decision, backup->start_timeline, backup->start, RETENTION_WAL_WITH_IT, backup);
        else
            keep_for_backup(decision, backup);
    }
}

/* ---- what keeps moments reachable ---- */

static bool is_older(const struct retention_backup *one, const struct retention_backup *other)
{
    return one->stopped_at.microseconds < other->stopped_at.microseconds;
}

static bool begins_before(const struct retention_backup *one, const struct retention_backup *other)
{
    return other == NULL || one->start.value < other->start.value;
}

/* Of the bases on the way the newest that ended before the window opens; NULL: there is none, or no window. */
static const struct retention_backup *find_before_window(const struct wal_decision *decision,
                                                         const struct history *history)
{
    int64_t opens_at = decision->stock->now.microseconds - decision->policy->wal_seconds * 1000000;
    const struct retention_backup *newest = NULL;

    for (size_t i = 0; decision->policy->wal_seconds > 0 && i < decision->stock->count; i++) {
        const struct retention_backup *backup = &decision->stock->backups[i];
        if (is_base(decision, backup) && retention_is_on_way(history, backup) &&
            backup->stopped_at.microseconds <= opens_at && (newest == NULL || !is_older(backup, newest)))
            newest = backup;
    }
    return newest;
}

/*
 * Where the moments of a way begin. Times tell which backups are to be reached, and positions which of them comes
 * first: a clock that was set back once must not cost a moment.
 */
static const struct retention_backup *find_base(const struct wal_decision *decision, const struct history *history)
{
    const struct retention_backup *before = find_before_window(decision, history), *first = before;
    bool has_window = decision->policy->wal_seconds > 0;

    for (size_t i = 0; i < decision->stock->count; i++) {
        const struct retention_backup *backup = &decision->stock->backups[i];
        bool is_wanted = has_window ? before == NULL || !is_older(backup, before) : decision->verdicts[i].is_counted;
        if (is_wanted && is_base(decision, backup) && retention_is_on_way(history, backup) &&
            begins_before(backup, first))
            first = backup;
    }
    return first;
}

static const struct retention_backup *find_newest(const struct wal_decision *decision)
{
    const struct retention_backup *newest = NULL;

    for (size_t i = 0; i < decision->stock->count; i++)
        if (is_base(decision, &decision->stock->backups[i]) &&
            (newest == NULL || !is_older(&decision->stock->backups[i], newest)))
            newest = &decision->stock->backups[i];
    return newest;
}

/* A branch that nobody has written on since the window opened holds no moment of it; that a server is idle is another
 * thing, so those that may be written now and that of the newest backup always count. */
static bool is_in_window(const struct wal_decision *decision, struct timeline timeline,
                         const struct retention_backup *newest)
{
    int64_t opens_at = decision->stock->now.microseconds - decision->policy->wal_seconds * 1000000;

    return decision->policy->wal_seconds == 0 || retention_is_live(decision->wal, timeline) ||
           (newest != NULL && timeline.value == newest->end_timeline.value) ||
           retention_is_written_since(decision->wal, timeline, opens_at);
}

static void keep_timeline(const struct wal_decision *decision, struct timeline timeline, enum retention_wal_rule rule)
{
    for (size_t i = 0; i < decision->wal->files->count; i++)
        if (file_timeline(decision, i).value == timeline.value)
            keep(decision, i, rule, NULL);
}

static void keep_moments(const struct wal_decision *decision)
{
    const struct wal_files *files = decision->wal->files;
    const struct retention_backup *newest = find_newest(decision);

    for (size_t i = 0; i < files->count; i++) {
        struct timeline timeline = files->files[i].segment.timeline;
        const struct history *history = retention_find_history(decision->wal, timeline);
        if (i > 0 && files->files[i - 1].segment.timeline.value == timeline.value)
            continue;
        if (history == NULL) {
            keep_timeline(decision, timeline, RETENTION_WAL_IN_DOUBT); /* its switch is not published yet */
            continue;
        }
        const struct retention_backup *base = find_base(decision, history);
        if (base == NULL && decision->wal->is_current && retention_is_live(decision->wal, timeline))
            keep_timeline(decision, timeline, RETENTION_WAL_NO_BASE);
        if (base == NULL || !is_in_window(decision, timeline, newest))
            continue;
        struct way way = {history, base->start_timeline, base->start, UINT64_MAX};
        keep_way(decision, &way, RETENTION_WAL_REACHABLE, base);
    }
}

/* ---- what others need ---- */

static void keep_leased(const struct wal_decision *decision)
{
    for (size_t i = 0; i < decision->wal->lease_count; i++) {
        const struct retention_lease *lease = &decision->wal->leases[i];
        const struct history *history = retention_find_history(decision->wal, lease->timeline);
        if (history == NULL) {
            keep_from(decision, lease->start_timeline, lease->start, RETENTION_WAL_LEASE, NULL);
            continue;
        }
        struct way way = {history, lease->start_timeline, lease->start, UINT64_MAX};
        keep_way(decision, &way, RETENTION_WAL_LEASE, NULL);
    }
}

/* Somebody is about to give it another name. */
static void keep_unfinished(const struct wal_decision *decision)
{
    for (size_t i = 0; decision->wal->is_current && i < decision->wal->files->count; i++)
        if (decision->wal->files->files[i].state != WAL_FILE_COMPRESSED)
            keep(decision, i, RETENTION_WAL_UNFINISHED, NULL);
}

static bool has_backup(const struct wal_decision *decision)
{
    for (size_t i = 0; i < decision->stock->count; i++)
        if (is_of_system(decision, &decision->stock->backups[i]) && is_kept(decision, &decision->stock->backups[i]))
            return true;
    return false;
}

void retention_decide_wal(const struct retention_policy *policy, const struct retention_stock *stock,
                          const struct retention_verdict *verdicts, const struct retention_wal *wal,
                          struct retention_wal_verdict *ret_verdicts)
{
    const struct wal_decision decision = {policy, stock, verdicts, wal, ret_verdicts};
    bool is_abandoned = !wal->is_current && !has_backup(&decision);

    for (size_t i = 0; i < wal->files->count; i++)
        ret_verdicts[i] =
            (struct retention_wal_verdict){.rule = is_abandoned ? RETENTION_WAL_ABANDONED : RETENTION_WAL_UNNEEDED};
    if (wal->files->count == 0)
        return;
    if (wal->has_damaged_history)
        keep_all(&decision, RETENTION_WAL_IN_DOUBT);
    if (wal->is_current && find_newest(&decision) == NULL)
        keep_all(&decision, RETENTION_WAL_NO_BASE);
    if (!is_abandoned)
        keep_moments(&decision);
    keep_for_backups(&decision);
    keep_leased(&decision);
    keep_unfinished(&decision);
}

/* ---- for people, and for the record ---- */

static bool is_same(const struct retention_wal_verdict *one, const struct retention_wal_verdict *other)
{
    return one->is_kept == other->is_kept && one->rule == other->rule && one->backup == other->backup;
}

void retention_stretches(const struct retention_wal *wal, const struct retention_wal_verdict *verdicts,
                         struct retention_stretch **ret_stretches, size_t *ret_count)
{
    struct retention_stretch *stretches = NULL;
    size_t count = 0;

    for (size_t i = 0; i < wal->files->count; i++) {
        const struct wal_file *file = &wal->files->files[i];
        struct wal_position start = wal_segment_start(file->segment, wal->segment_size);
        struct retention_stretch *last = count > 0 ? &stretches[count - 1] : NULL;
        if (last == NULL || last->timeline.value != file->segment.timeline.value || last->end.value != start.value ||
            !is_same(&last->verdict, &verdicts[i])) {
            stretches = repo_grow(stretches, count, sizeof *stretches);
            last = &stretches[count++];
            *last =
                (struct retention_stretch){.timeline = file->segment.timeline, .start = start, .verdict = verdicts[i]};
        }
        last->end = wal_segment_end(file->segment, wal->segment_size);
        if (file->state == WAL_FILE_PARTIAL)
            last->end.value = start.value + file->held_bytes;
        last->segments++;
        last->stored_bytes += file->stored_bytes;
    }
    *ret_stretches = stretches;
    *ret_count = count;
}

static const struct {
    const char *word, *before, *behind;
} rules[] = {
#define BACKUP_RULE(id, word)
#define WAL_RULE(id, word, before, behind) [RETENTION_WAL_##id] = {word, before, behind},
#include "pgcoffer/repo/retention_rules.def"
#undef BACKUP_RULE
#undef WAL_RULE
};

const char *retention_wal_rule_word(enum retention_wal_rule rule)
{
    return rules[rule].word;
}

void retention_wal_words(const struct retention_wal_verdict *verdict, char ret_words[RETENTION_WORDS_SIZE])
{
    snprintf(ret_words, RETENTION_WORDS_SIZE, "%s%s%s", rules[verdict->rule].before,
             verdict->backup != NULL ? verdict->backup->id.text : "", rules[verdict->rule].behind);
}
