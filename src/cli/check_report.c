#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/check_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

/* ---- collecting ---- */

void check_report_done(struct check_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->pages[i].title);
        json_decref(report->pages[i].checks);
    }
    free(report->pages);
    *report = (struct check_report){.pages = NULL};
}

struct check_page *check_report_begin(struct check_report *report, const char *server, const char *title)
{
    struct check_page *pages = reallocarray(report->pages, report->count + 1, sizeof *pages);

    if (pages == NULL)
        abort(); /* at most CONFIG_MOST_SERVERS */
    report->pages = pages;
    struct check_page *page = &pages[report->count++];
    *page = (struct check_page){.title = output_printable(title), .checks = json_array()};
    snprintf(page->server, sizeof page->server, "%s", server);
    return page;
}

struct check_page *check_report_page(struct check_report *report, const char *server)
{
    for (size_t i = 0; i < report->count; i++)
        if (strcmp(report->pages[i].server, server) == 0)
            return &report->pages[i];
    return check_report_begin(report, server, server[0] != '\0' ? server : CHECK_GATEWAY_TITLE);
}

bool check_page_take(void *page, const struct check_result *result, struct error *err)
{
    json_t *check SCOPED(scoped_json) = check_result_to_json(((struct check_page *)page)->server, result);

    (void)err;
    check_page_add(page, check);
    return true;
}

bool check_gateway_page_take(void *context, const struct check_result *result, struct error *err)
{
    struct check_gateway_page *page = context;

    if (page->page == NULL)
        page->page = check_report_begin(page->report, "", page->title);
    return check_page_take(page->page, result, err);
}

bool check_state_find(const char *word, enum check_state *ret_state)
{
    for (enum check_state state = CHECK_PASS; word != NULL && state <= CHECK_SKIP; state++)
        if (strcmp(check_state_word(state), word) == 0) {
            *ret_state = state;
            return true;
        }
    return false;
}

/* A name of a newer daemon comes last. */
static enum check_id id_of(const json_t *check)
{
    enum check_id id = CHECK_ID_NOTHING;

    return check_find(json_text_or_null(check, "id"), &id) ? id : CHECK_ID_NOTHING;
}

/* The worker tells daemon.configuration, and the rest of that level is told here: the table's order is kept. */
static void insert(json_t *checks, const json_t *check)
{
    size_t at = json_array_size(checks);

    while (at > 0 && id_of(json_array_get(checks, at - 1)) > id_of(check))
        at--;
    json_array_insert(checks, at, (json_t *)check);
}

void check_page_add(struct check_page *page, const json_t *check)
{
    enum check_state state;

    if (json_text_or_null(check, "id") == NULL || !check_state_find(json_text_or_null(check, "state"), &state))
        return;
    enum check_id id = id_of(check);
    insert(page->checks, check);
    page->counts[state]++;
    if (id == CHECK_ID_NOTHING || json_text_or_null(check, "host") != NULL)
        return; /* what follows from a check is asked of the host that is used */
    page->states.is_told[id] = true;
    page->states.state[id] = state;
}

size_t check_report_count(const struct check_report *report, enum check_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < report->count; i++)
        count += report->pages[i].counts[state];
    return count;
}

/* ---- for programs ---- */

static void set_counts(json_t *object, const size_t counts[CHECK_SKIP + 1])
{
    for (enum check_state state = CHECK_PASS; state <= CHECK_SKIP; state++)
        json_object_set_new(object, check_state_word(state), json_integer((json_int_t)counts[state]));
}

json_t *check_report_to_json(const struct check_report *report)
{
    json_t *checks = json_array(), *servers = json_array(), *summary = json_object();
    size_t all[CHECK_SKIP + 1] = {0};

    for (size_t i = 0; i < report->count; i++) {
        const struct check_page *page = &report->pages[i];
        json_t *row = json_pack("{s:o}", "server", control_text(page->title));
        json_array_extend(checks, page->checks);
        set_counts(row, page->counts);
        json_array_append_new(servers, row);
        for (enum check_state state = CHECK_PASS; state <= CHECK_SKIP; state++)
            all[state] += page->counts[state];
    }
    set_counts(summary, all);
    json_object_set_new(summary, "servers", servers);
    return json_pack("{s:o, s:o}", "checks", checks, "summary", summary);
}

/* ---- for people ---- */

#define NAME_WIDTH  22 /* of the longest name, and a blank */
#define TEXT_INDENT "        "

static const char *color_of(enum check_state state)
{
    switch (state) {
    case CHECK_PASS:
        return "\033[32m";
    case CHECK_WARN:
        return "\033[33m";
    case CHECK_FAIL:
        return "\033[1;31m";
    case CHECK_SKIP:
        break;
    }
    return "\033[2m";
}

static char *NEVER_NULL text_of(const json_t *check, const char *key)
{

    return output_printable(json_text_or(check, key, ""));
}

static void print_text(const json_t *check, const char *key)
{
    char *text SCOPED(scoped_free) = text_of(check, key);

    if (text[0] != '\0')
        printf(TEXT_INDENT "%s: %s\n", key, text);
}

char *check_host_prefix(const json_t *check)
{
    const char *host = json_text_or_null(check, "host");

    if (host == NULL)
        return memory_copy_text("");
    char *printable SCOPED(scoped_free) = output_printable(host);
    return memory_text("%s port %lld: ", printable, (long long)json_number_or(check, "port", 0));
}

static void print_check(const struct invocation *invocation, const json_t *check)
{
    enum check_state state = CHECK_SKIP;
    bool has_color = output_has_color(invocation, stdout);
    char *name SCOPED(scoped_free) = text_of(check, "id");
    char *host SCOPED(scoped_free) = check_host_prefix(check);
    char *seen SCOPED(scoped_free) = text_of(check, "seen");

    check_state_find(json_text_or_null(check, "state"), &state);
    printf("  %s%s%s  %-*s %s%s\n", has_color ? color_of(state) : "", check_state_word(state),
           has_color ? "\033[0m" : "", NAME_WIDTH, name, host, seen);
    if (state != CHECK_WARN && state != CHECK_FAIL)
        return;
    print_text(check, "cause");
    print_text(check, "fix");
}

static bool is_of_group(const json_t *check, const char *group)
{

    return json_text_is(check, "group", group);
}

/* The groups in the order in which they first appear: that of the work. */
static void print_groups(const struct invocation *invocation, const struct check_page *page)
{
    const json_t *first, *check;
    size_t i, j;

    json_array_foreach(page->checks, i, first)
    {
        const char *group = json_text_or_null(first, "group");
        bool is_printed = group == NULL;
        for (j = 0; j < i && !is_printed; j++)
            is_printed = is_of_group(json_array_get(page->checks, j), group);
        if (is_printed)
            continue;
        char *heading SCOPED(scoped_free) = output_printable(group);
        printf("\n%s\n", heading);
        json_array_foreach(page->checks, j, check)
        {
            if (is_of_group(check, group))
                print_check(invocation, check);
        }
    }
}

static void print_summary(const struct check_page *page)
{
    const size_t *counts = page->counts;

    printf("\n%s: %zu passed, %zu warning%s, %zu failed, %zu skipped\n", page->title, counts[CHECK_PASS],
           counts[CHECK_WARN], counts[CHECK_WARN] == 1 ? "" : "s", counts[CHECK_FAIL], counts[CHECK_SKIP]);
}

/* --quiet: what failed, and what to type. */
static void print_failures(const struct check_page *page)
{
    enum check_state state;
    const json_t *check;
    size_t i;

    json_array_foreach(page->checks, i, check)
    {
        if (!check_state_find(json_text_or_null(check, "state"), &state) || state != CHECK_FAIL)
            continue;
        char *name SCOPED(scoped_free) = text_of(check, "id");
        char *host SCOPED(scoped_free) = check_host_prefix(check);
        char *cause SCOPED(scoped_free) = text_of(check, "cause");
        printf("%s: %s: %s%s\n", page->title, name, host, cause);
        print_text(check, "fix");
    }
}

void check_report_print(const struct invocation *invocation, const struct check_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct check_page *page = &report->pages[i];
        if (output_is_quiet(invocation)) {
            print_failures(page);
            continue;
        }
        printf("%s%s\n", i > 0 ? "\n" : "", page->title);
        print_groups(invocation, page);
        print_summary(page);
    }
}

/* ---- --list ---- */

void check_report_list(const struct invocation *invocation, const struct check_options *options)
{
    json_t *list SCOPED(scoped_json) = json_array();

    for (enum check_id id = 0; id < CHECK_COUNT; id++) {
        const struct check_row *row = &check_rows[id];
        if (!options->is_wanted[id])
            continue;
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:b, s:s}", "id", row->name, "group", row->group, "level",
                                        row->level_word, "negative", (int)row->is_negative, "sentence", row->sentence));
        output_line(invocation, "%-*s %s", NAME_WIDTH, row->name, row->sentence);
    }
    if (!output_is_json(invocation))
        return;
    json_t *data SCOPED(scoped_json) = json_pack("{s:O}", "checks", list);
    output_json(data);
}
