#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/exporter/page_internal.h"
#include "pgcoffer/base/memory.h"

/*
 * The picture: time runs to the right, in percent of the width, so that it needs no script to fit; heights are pixels.
 *
 *   proofs    drills and verifications, when they were made
 *   windows   all that can be restored, gaps hatched, and the backups on it
 *   WAL       from the oldest held to what is complete
 *   dates
 */
#define MINUTE         INT64_C(60000000)
#define LEAST_SPAN     (10 * MINUTE)
#define MOST_SPAN      (INT64_C(200) * 366 * 24 * 60 * MINUTE)
#define PROOF_MIDDLE   13
#define WINDOW_TOP     30
#define WINDOW_HEIGHT  30
#define BACKUP_MIDDLE  (WINDOW_TOP + WINDOW_HEIGHT / 2)
#define WAL_TOP        68
#define WAL_HEIGHT     8
#define AXIS           84
#define PICTURE_HEIGHT 104

enum mark {
    MARK_BACKUP,
    MARK_PINNED,
    MARK_DAMAGED,
    MARK_COPIED,
    MARK_RUNNING,
    MARK_DRILL,
    MARK_DRILL_FAILED,
    MARK_VERIFIED,
    MARK_VERIFY_FAILED,
    MARK_COUNT
};

static const struct {
    const char *name, *legend;
    const char *shape; /* around 0,0 */
} marks[MARK_COUNT] = {
    [MARK_BACKUP] = {"backup", "backup", "<circle r=\"7\"/>"},
    [MARK_PINNED] = {"pinned", "pinned backup", "<path d=\"M0-9 9 0 0 9-9 0Z\"/>"},
    [MARK_DAMAGED] = {"damaged", "backup that is damaged, or cannot be restored",
                      "<circle r=\"8\"/><path class=\"cross\" d=\"M-4-4 4 4M4-4-4 4\"/>"},
    [MARK_COPIED] = {"copied", "backup that waits for WAL", "<circle r=\"7\"/>"},
    [MARK_RUNNING] = {"running", "backup that runs", "<circle r=\"7\"/>"},
    [MARK_DRILL] = {"drill", "proven by a drill", "<path d=\"M0-8 8 6-8 6Z\"/>"},
    [MARK_DRILL_FAILED] = {"drill-failed", "drill that failed",
                           "<path d=\"M0-8 8 6-8 6Z\"/><path class=\"cross\" d=\"M0-3V2M0 3.5V4.5\"/>"},
    [MARK_VERIFIED] = {"verified", "verified", "<path d=\"M-7 0-2 5 7-5\"/>"},
    [MARK_VERIFY_FAILED] = {"verify-failed", "verification that failed", "<path d=\"M-6-6 6 6M6-6-6 6\"/>"},
};

struct timeline {
    const struct page *page;
    const json_t *server, *survey, *restorable;
    struct axis axis;
    bool has_mark[MARK_COUNT], has_gap, has_wal, has_window;
};

void page_symbols(const struct page *page)
{
    write_text(page->out, "<svg class=\"symbols\" aria-hidden=\"true\" width=\"0\" height=\"0\"><defs>\n"
                          "<symbol id=\"is-good\" viewBox=\"0 0 14 14\"><circle cx=\"7\" cy=\"7\" r=\"7\"/>"
                          "<path d=\"M3.5 7.2 6 9.7 10.5 4.8\"/></symbol>\n"
                          "<symbol id=\"is-unknown\" viewBox=\"0 0 14 14\"><circle cx=\"7\" cy=\"7\" r=\"7\"/>"
                          "<path d=\"M5.2 5.4C5.2 3 8.8 3 8.8 5.4 8.8 6.8 7 6.8 7 8.4M7 10V11\"/></symbol>\n"
                          "<symbol id=\"is-warning\" viewBox=\"0 0 14 14\"><path class=\"body\" d=\"M7 0 14 13H0Z\"/>"
                          "<path d=\"M7 4.5V8.5M7 10V11.2\"/></symbol>\n"
                          "<symbol id=\"is-bad\" viewBox=\"0 0 14 14\">"
                          "<path class=\"body\" d=\"M4 0H10L14 4V10L10 14H4L0 10V4Z\"/>"
                          "<path d=\"M4.5 4.5 9.5 9.5M9.5 4.5 4.5 9.5\"/></symbol>\n"
                          "<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
                          "patternTransform=\"rotate(45)\"><path d=\"M1.5 0V6\"/></pattern>\n");
    for (enum mark mark = 0; mark < MARK_COUNT; mark++)
        write_format(page->out, "<g id=\"mark-%s\" class=\"mark mark-%s\">%s</g>\n", marks[mark].name, marks[mark].name,
                     marks[mark].shape);
    write_text(page->out, "</defs></svg>\n");
}

/* ---- from when ---- */

static void reach_back(struct axis *axis, const json_t *object, const char *key)
{
    struct timestamp time;

    if (json_find_time(object, key, &time) && time.microseconds < axis->from &&
        time.microseconds > axis->until - MOST_SPAN)
        axis->from = time.microseconds;
}

/* False: there is nothing on it. */
static bool find_axis(struct timeline *timeline)
{
    const json_t *backups = json_object_get(json_object_get(timeline->survey, "backups"), "newest");
    int64_t now = timeline->page->now.microseconds;
    struct axis *axis = &timeline->axis;

    if (now == 0)
        return false;
    *axis = (struct axis){.from = now, .until = now};
    reach_back(axis, json_array_get(json_object_get(timeline->restorable, "windows"), 0), "from");
    reach_back(axis, json_array_get(json_object_get(timeline->restorable, "gaps"), 0), "from");
    reach_back(axis, json_array_get(backups, 0), "stopped_at");
    reach_back(axis, json_object_get(timeline->survey, "room"), "wal_since");
    if (axis->from == now)
        return false;
    if (now - axis->from < LEAST_SPAN)
        axis->from = now - LEAST_SPAN;
    return true;
}

/* ---- what is drawn ---- */

/* Of two times; at least a pixel or two. False: it is not on the axis. */
static bool write_stretch(const struct timeline *timeline, const char *class, const json_t *from_object,
                          const char *from_key, const json_t *until_object, const char *until_key, int top, int height)
{
    const struct axis *axis = &timeline->axis;
    struct timestamp from, until = {axis->until};

    if (!json_find_time(from_object, from_key, &from))
        return false;
    if (until_object != NULL && !json_find_time(until_object, until_key, &until))
        until.microseconds = axis->until;
    double start = axis_place(axis, from.microseconds), end = axis_place(axis, until.microseconds);
    if (until.microseconds < axis->from || end < start)
        return false;
    write_format(timeline->page->out,
                 "<rect class=\"%s\" x=\"%.2f%%\" width=\"%.2f%%\" y=\"%d\" height=\"%d\" rx=\"3\">", class, start,
                 end - start < 0.3 ? 0.3 : end - start, top, height);
    return true;
}

static void write_title(const struct timeline *timeline, const char *what, const json_t *object, const char *from,
                        const char *until)
{
    const char *begin = json_text_or_null(object, from), *end = json_text_or_null(object, until);
    enum moments moments = moments_of_span(begin, end, MOMENTS_SECONDS);
    char *first SCOPED(scoped_free) = moment_words(begin, moments, MOMENT_FIRST);
    char *last SCOPED(scoped_free) = moment_words(end, moments, MOMENT_LAST);

    write_text(timeline->page->out, "<title>");
    page_format(timeline->page, "%s %s to %s", what, first, end != NULL ? last : "now");
    write_text(timeline->page->out, "</title></rect>\n");
}

static void write_windows(struct timeline *timeline)
{
    const json_t *windows = json_object_get(timeline->restorable, "windows");
    const json_t *gaps = json_object_get(timeline->restorable, "gaps"), *stretch;
    size_t i;

    json_array_foreach(windows, i, stretch)
    {
        if (!write_stretch(timeline, "window", stretch, "from", stretch, "until", WINDOW_TOP, WINDOW_HEIGHT))
            continue;
        write_title(timeline, "every moment can be restored:", stretch, "from", "until");
        timeline->has_window = true;
    }
    json_array_foreach(gaps, i, stretch)
    {
        if (!write_stretch(timeline, "gap", stretch, "from", stretch, "until", WINDOW_TOP, WINDOW_HEIGHT))
            continue;
        write_title(timeline, "cannot be restored:", stretch, "from", "until");
        timeline->has_gap = true;
    }
}

/* WAL that is missing is cut out of what is held. */
static void write_wal(struct timeline *timeline)
{
    const json_t *room = json_object_get(timeline->survey, "room");
    const json_t *complete = json_object_get(json_object_get(timeline->server, "receiver"), "complete");
    const json_t *windows = json_object_get(timeline->restorable, "windows"), *gap;
    const json_t *last = json_array_get(windows, json_array_size(windows) - 1);
    bool is_noted = json_text_or_null(complete, "at") != NULL;
    size_t i;

    if ((!is_noted && last == NULL) || !write_stretch(timeline, "wal", room, "wal_since", is_noted ? complete : last,
                                                      is_noted ? "at" : "until", WAL_TOP, WAL_HEIGHT))
        return;
    write_text(timeline->page->out, "<title>WAL held</title></rect>\n");
    timeline->has_wal = true;
    json_array_foreach(json_object_get(timeline->restorable, "gaps"), i, gap)
    {
        if (json_is_object(json_object_get(gap, "wal")) &&
            write_stretch(timeline, "missing", gap, "from", gap, "until", WAL_TOP - 1, WAL_HEIGHT + 2))
            write_title(timeline, "WAL is missing:", gap, "from", "until");
    }
}

static void write_mark(struct timeline *timeline, enum mark mark, const json_t *object, const char *time_key,
                       const char *name_key, int middle)
{
    const struct page *page = timeline->page;
    const char *name = json_text_or_null(object, name_key);
    struct timestamp time;

    if (!json_find_time(object, time_key, &time) || time.microseconds < timeline->axis.from)
        return;
    char *moment SCOPED(scoped_free) = moment_words(json_text_or_null(object, time_key), MOMENTS_SECONDS, MOMENT_LAST);
    write_format(page->out, "<use href=\"#mark-%s\" x=\"%.2f%%\" y=\"%d\"><title>", marks[mark].name,
                 axis_place(&timeline->axis, time.microseconds), middle);
    page_format(page, "%s%s%s, %s", marks[mark].legend, name != NULL ? " " : "", name != NULL ? name : "", moment);
    write_text(page->out, "</title></use>\n");
    timeline->has_mark[mark] = true;
}

/* Whole, and yet no recovery from it is possible: WAL that it needs itself is missing. */
static bool is_unusable(const struct timeline *timeline, const json_t *backup)
{
    const json_t *unusable = json_object_get(json_object_get(timeline->restorable, "unusable"), "newest"), *other;
    const char *id = json_text_or(backup, "id", "");
    size_t i;

    json_array_foreach(unusable, i, other)
    {
        if (json_text_is(other, "backup", id))
            return true;
    }
    return false;
}

static enum mark mark_of(const struct timeline *timeline, const json_t *backup)
{
    if (json_text_is(backup, "state", "copied"))
        return MARK_COPIED;
    if (!json_text_is(backup, "state", "complete") || json_is_false(json_object_get(backup, "verified")) ||
        is_unusable(timeline, backup))
        return MARK_DAMAGED;
    return json_is_set(backup, "pinned") ? MARK_PINNED : MARK_BACKUP;
}

static void write_backups(struct timeline *timeline)
{
    const json_t *backups = json_object_get(json_object_get(timeline->survey, "backups"), "newest"), *item;
    const char *server = json_text_or_null(timeline->server, "server");
    size_t i;

    json_array_foreach(backups, i, item)
    {
        write_mark(timeline, mark_of(timeline, item), item, "stopped_at", "id", BACKUP_MIDDLE);
    }
    json_array_foreach(json_object_get(timeline->page->state, "jobs"), i, item)
    {
        if (server != NULL && json_text_is(item, "server", server) && json_text_is(item, "command", "backup"))
            write_mark(timeline, MARK_RUNNING, item, "started_at", "caller", BACKUP_MIDDLE);
    }
}

static void write_proofs(struct timeline *timeline)
{
    const json_t *proofs = json_object_get(timeline->survey, "proofs");
    const json_t *verify = json_object_get(proofs, "verify"), *drill = json_object_get(proofs, "drill");

    write_mark(timeline, json_is_set(verify, "good") ? MARK_VERIFIED : MARK_VERIFY_FAILED, verify, "at", "backup",
               PROOF_MIDDLE);
    if (!json_is_set(proofs, "drill_former"))
        write_mark(timeline, json_is_set(drill, "good") ? MARK_DRILL : MARK_DRILL_FAILED, drill, "at", "backup",
                   PROOF_MIDDLE);
}

static void write_now(const struct timeline *timeline)
{
    double place = axis_place(&timeline->axis, timeline->axis.until);

    write_format(timeline->page->out,
                 "<line class=\"now\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%d\" y2=\"%d\"/>"
                 "<text class=\"now\" x=\"%.2f%%\" y=\"%d\" text-anchor=\"end\">now</text>\n",
                 place, place, WINDOW_TOP - 6, AXIS, place, AXIS + 15);
}

/* ---- in words ---- */

static void describe(const struct timeline *timeline, size_t number)
{
    const struct page *page = timeline->page;
    const char *server = json_text_or(timeline->server, "server", "?");
    const json_t *backups = json_object_get(timeline->survey, "backups");
    struct restorable_words words SCOPED(restorable_words_done) =
        restorable_words(timeline->restorable, MOMENTS_SECONDS);

    write_format(page->out, "<title id=\"picture-%zu\">", number);
    page_format(page, "What can be restored of %s", server);
    write_format(page->out, "</title><desc id=\"picture-%zu-words\">", number);
    page_format(page, "%s%s. Backups: %" PRId64 ".", words.can, words.cannot, json_number_or(backups, "count", 0));
    for (enum proof_sentence sentence = 0; sentence < PROOF_SENTENCE_COUNT; sentence++) {
        char *proof SCOPED(scoped_free) =
            proof_words(server, json_object_get(timeline->survey, "proofs"), sentence, MOMENTS_SECONDS);
        if (proof != NULL)
            page_format(page, " %s.", proof);
    }
    write_text(page->out, "</desc>\n");
}

static void write_key(const struct page *page, const char *shape, const char *words)
{
    write_format(page->out, "<li><svg aria-hidden=\"true\" width=\"20\" height=\"20\">%s</svg>%s</li>\n", shape, words);
}

static void write_legend(const struct timeline *timeline)
{
    const struct page *page = timeline->page;
    const json_t *backups = json_object_get(timeline->survey, "backups");
    int64_t more = json_number_or(backups, "count", 0) - (int64_t)json_array_size(json_object_get(backups, "newest"));
    char use[64];

    write_text(page->out, "<figcaption><ul class=\"legend\">\n");
    if (timeline->has_window)
        write_key(page, "<rect class=\"window\" x=\"1\" y=\"4\" width=\"18\" height=\"12\" rx=\"3\"/>",
                  "every moment can be restored");
    if (timeline->has_gap)
        write_key(page, "<rect class=\"gap\" x=\"1\" y=\"4\" width=\"18\" height=\"12\" rx=\"3\"/>", "gap");
    if (timeline->has_wal)
        write_key(page, "<rect class=\"wal\" x=\"1\" y=\"6\" width=\"18\" height=\"8\" rx=\"3\"/>", "WAL held");
    for (enum mark mark = 0; mark < MARK_COUNT; mark++) {
        snprintf(use, sizeof use, "<use href=\"#mark-%s\" x=\"10\" y=\"10\"/>", marks[mark].name);
        if (timeline->has_mark[mark])
            write_key(page, use, marks[mark].legend);
    }
    write_text(page->out, "</ul>");
    if (more > 0)
        write_format(page->out, "<p>%" PRId64 " earlier backup%s not drawn one by one.</p>", more,
                     more == 1 ? " is" : "s are");
    write_text(page->out, "</figcaption>\n");
}

void page_timeline(const struct page *page, const json_t *server, size_t number)
{
    const json_t *survey = json_object_get(server, "survey");
    struct timeline timeline = {
        .page = page, .server = server, .survey = survey, .restorable = json_object_get(survey, "restorable")};

    if (!find_axis(&timeline))
        return;
    write_format(page->out,
                 "<figure><svg class=\"timeline\" role=\"img\" aria-labelledby=\"picture-%zu\" "
                 "aria-describedby=\"picture-%zu-words\" width=\"100%%\" height=\"%d\">\n",
                 number, number, PICTURE_HEIGHT);
    describe(&timeline, number);
    axis_write(page, &timeline.axis, WINDOW_TOP - 4, AXIS);
    write_windows(&timeline);
    write_wal(&timeline);
    write_now(&timeline);
    write_backups(&timeline);
    write_proofs(&timeline);
    write_text(page->out, "</svg>\n");
    write_legend(&timeline);
    write_text(page->out, "</figure>\n");
}
