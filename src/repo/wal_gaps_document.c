#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#include "repo/wal_gaps_internal.h"

#define TIMELINE_MOST INT64_C(0xFFFFFFFF)

void wal_gap_record_done(struct wal_gap_record *record)
{
    wal_gaps_done(&record->open);
    wal_gaps_done(&record->filled);
    free(record->damaged);
    record->damaged = NULL;
    record->damaged_count = 0;
}

static bool parse_position(const json_t *object, const char *key, bool may_be_null, struct wal_position *ret_position,
                           struct error *err)
{
    const json_t *value = json_object_get(object, key);

    *ret_position = (struct wal_position){0};
    return (may_be_null && (value == NULL || json_is_null(value))) || repo_get_position(object, key, ret_position, err);
}

static bool parse_time(const json_t *object, const char *key, struct timestamp *ret_time, struct error *err)
{
    *ret_time = (struct timestamp){0};
    return json_is_null(json_object_get(object, key)) || repo_get_time(object, key, ret_time, err);
}

static bool parse_reason(const json_t *object, enum wal_gap_reason *ret_reason, struct error *err)
{
    const char *word = NULL;

    if (!json_get_text(object, "reason", &word, err))
        return false;
    for (enum wal_gap_reason reason = 0; reason < WAL_GAP_REASON_COUNT; reason++)
        if (strcmp(word, wal_gap_reason_word(reason)) == 0) {
            *ret_reason = reason;
            return true;
        }
    return error_set(err, ERROR_INTEGRITY, "\"reason\" is \"%.32s\", which is not known", word);
}

static bool parse_gap(const json_t *object, struct wal_gap *ret_gap, struct error *err)
{
    struct wal_gap gap = {.words = ""};
    const char *words = json_text_or(object, "words", "");
    int64_t timeline = 0;

    if (!json_get_number(object, "timeline", 1, TIMELINE_MOST, &timeline, err) ||
        !parse_position(object, "start", false, &gap.start, err) ||
        !parse_position(object, "end", true, &gap.end, err) || !parse_reason(object, &gap.reason, err) ||
        !parse_time(object, "noticed_at", &gap.noticed_at, err) ||
        !parse_time(object, "filled_at", &gap.filled_at, err))
        return false;
    if (gap.start.value == 0 || (gap.end.value != 0 && gap.end.value <= gap.start.value))
        return error_set(err, ERROR_INTEGRITY, "a gap ends before it begins");
    gap.timeline.value = (uint32_t)timeline;
    snprintf(gap.words, sizeof gap.words, "%s", words);
    text_make_printable(gap.words);
    *ret_gap = gap;
    return true;
}

static bool parse_list(const json_t *document, const char *key, size_t most, struct wal_gaps *gaps, struct error *err)
{
    const json_t *list = json_object_get(document, key);
    const json_t *item;
    struct wal_gap gap;
    size_t i;

    if (list == NULL)
        return true;
    if (!json_is_array(list) || json_array_size(list) > most)
        return error_set(err, ERROR_INTEGRITY, "\"%s\" is no list of at most %zu gaps", key, most);
    json_array_foreach(list, i, item)
    {
        if (!parse_gap(item, &gap, err))
            return error_wrap(err, "number %zu of \"%s\"", i + 1, key);
        wal_gaps_add(gaps, &gap);
    }
    return true;
}

static bool parse_sha256(const json_t *object, uint8_t ret_sha256[WAL_DIGEST_SIZE], struct error *err)
{
    const char *text = NULL;
    uint64_t byte = 0;

    if (!json_get_text(object, "sha256", &text, err))
        return false;
    if (!repo_is_hex(text, 2 * WAL_DIGEST_SIZE))
        return error_set(err, ERROR_INTEGRITY, "\"sha256\" is not a digest");
    for (size_t i = 0; i < WAL_DIGEST_SIZE; i++) {
        if (!text_parse_hex(text + 2 * i, 2, &byte))
            return error_set(err, ERROR_INTEGRITY, "\"sha256\" is not a digest");
        ret_sha256[i] = (uint8_t)byte;
    }
    return true;
}

static bool parse_damaged(const json_t *document, struct wal_gap_record *record, struct error *err)
{
    const json_t *list = json_object_get(document, "damaged_files");
    const json_t *item;
    size_t i;

    if (list == NULL)
        return true;
    if (!json_is_array(list) || json_array_size(list) > WAL_GAPS_MOST)
        return error_set(err, ERROR_INTEGRITY, "\"damaged_files\" is no list of at most %d files", WAL_GAPS_MOST);
    json_array_foreach(list, i, item)
    {
        struct wal_damaged_file damaged = {.timeline = {0}};
        int64_t timeline = 0;
        if (!json_get_number(item, "timeline", 1, TIMELINE_MOST, &timeline, err) ||
            !parse_position(item, "start", false, &damaged.start, err) ||
            !parse_time(item, "written_at", &damaged.written_at, err) || !parse_sha256(item, damaged.sha256, err))
            return error_wrap(err, "number %zu of \"damaged_files\"", i + 1);
        damaged.timeline.value = (uint32_t)timeline;
        wal_gaps_put_damaged(record, &damaged);
    }
    return true;
}

static bool parse(const json_t *document, struct wal_gap_record *ret_record, struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct wal_gaps listed SCOPED(scoped_wal_gaps) = {NULL, 0};

    if (!parse_list(document, "gaps", WAL_GAPS_MOST, &listed, err) ||
        !parse_list(document, "filled", WAL_GAPS_MOST_FILLED, &record.filled, err) ||
        !parse_damaged(document, &record, err))
        return false;
    /* Sorted and without overlaps, whoever wrote it. */
    for (size_t i = 0; i < listed.count; i++)
        wal_gaps_merge(&record.open, &listed.gaps[i]);
    *ret_record = record;
    record = (struct wal_gap_record){.open = {NULL, 0}};
    return true;
}

bool wal_gaps_load(const char *path, struct wal_gap_record *ret_record, json_t **ret_document, struct error *err)
{
    json_t *document SCOPED(scoped_json) = NULL;

    if (!repo_read_document(path, &document, err)) {
        if (err->errnum != ENOENT)
            return false;
        *ret_record = (struct wal_gap_record){.open = {NULL, 0}};
        *ret_document = json_object();
        return true;
    }
    if (!parse(document, ret_record, err)) {
        err->kind = ERROR_INTEGRITY;
        return error_wrap(err, "\"%s\" is damaged", path);
    }
    *ret_document = TAKE(document);
    return true;
}

static json_t *position_to_json(struct wal_position position)
{
    char text[WAL_POSITION_TEXT_SIZE];

    if (position.value == 0)
        return json_null();
    wal_position_format(position, text);
    return json_string(text);
}

/* What the gap was before, for the keys that are not known here. */
static json_t *find_former(const json_t *former, const struct wal_gap *gap)
{
    static const char *const keys[] = {"gaps", "filled"};
    const json_t *item;
    struct wal_gap other;
    struct error ignored;
    size_t i;

    for (size_t list = 0; list < sizeof keys / sizeof keys[0]; list++)
        json_array_foreach(json_object_get(former, keys[list]), i, item)
        {
            if (parse_gap(item, &other, &ignored) && other.timeline.value == gap->timeline.value &&
                other.start.value == gap->start.value && other.reason == gap->reason)
                return json_deep_copy(item);
        }
    return json_object();
}

static json_t *gap_to_json(const struct wal_gap *gap, const json_t *former)
{
    json_t *object = find_former(former, gap);

    json_object_set_new(object, "timeline", json_integer(gap->timeline.value));
    json_object_set_new(object, "start", position_to_json(gap->start));
    json_object_set_new(object, "end", position_to_json(gap->end));
    json_object_set_new(object, "reason", json_string(wal_gap_reason_word(gap->reason)));
    json_object_set_new(object, "noticed_at", json_time(gap->noticed_at));
    if (gap->filled_at.microseconds != 0)
        json_object_set_new(object, "filled_at", json_time(gap->filled_at));
    json_object_set_new(object, "words", repo_json_text(gap->words));
    return object;
}

static json_t *list_to_json(const struct wal_gaps *gaps, const json_t *former)
{
    json_t *list = json_array();

    for (size_t i = 0; i < gaps->count; i++)
        json_array_append_new(list, gap_to_json(&gaps->gaps[i], former));
    return list;
}

static json_t *damaged_to_json(const struct wal_gap_record *record)
{
    json_t *list = json_array();

    for (size_t i = 0; i < record->damaged_count; i++) {
        const struct wal_damaged_file *damaged = &record->damaged[i];
        json_t *object = json_object();
        char sha256[2 * WAL_DIGEST_SIZE + 1];
        text_from_hex_bytes(damaged->sha256, WAL_DIGEST_SIZE, sha256);
        json_object_set_new(object, "timeline", json_integer(damaged->timeline.value));
        json_object_set_new(object, "start", position_to_json(damaged->start));
        json_object_set_new(object, "written_at", json_time(damaged->written_at));
        json_object_set_new(object, "sha256", json_string(sha256));
        json_array_append_new(list, object);
    }
    return list;
}

bool wal_gaps_store(const struct repo *repo, const char *path, const struct wal_gap_record *record,
                    const json_t *former, struct error *err)
{
    json_t *document SCOPED(scoped_json) = json_deep_copy(former);

    json_object_set_new(document, "format", json_integer(1));
    json_object_set_new(document, "gaps", list_to_json(&record->open, former));
    json_object_set_new(document, "filled", list_to_json(&record->filled, former));
    if (record->damaged_count > 0)
        json_object_set_new(document, "damaged_files", damaged_to_json(record));
    else
        json_object_del(document, "damaged_files");
    return repo_write_document(repo, path, document, err);
}
