#include "repo/backup_meta_internal.h"
#include "repo/repository.h"
#include "repo/sample_backup.h"

#define ID "20261122T013000Z"

static struct backup_meta *parse(const char *text)
{
    struct error err;
    struct backup_meta *meta = NULL;

    MUST(backup_meta_parse(text, strlen(text), &meta, &err));
    return meta;
}

static char *sample_text(void)
{
    struct backup_meta *meta SCOPED(scoped_backup_meta) = sample_backup(ID, "18446744073709551615");

    return backup_meta_to_text(meta);
}

/* The sample with one key changed (NULL: removed) and its digest made right again. */
static char *changed_text(const char *key, const char *value)
{
    struct error err;
    char digest[65];
    char *text SCOPED(scoped_free) = sample_text();
    json_t *document SCOPED(scoped_json) = json_parse_object(text, strlen(text), &err);

    json_object_del(document, "sha256");
    if (value == NULL)
        json_object_del(document, key);
    else
        json_object_set_new(document, key, json_loads(value, JSON_DECODE_ANY, NULL));
    backup_meta_digest(document, digest);
    json_object_set_new(document, "sha256", json_string(digest));
    char *changed SCOPED(scoped_free) = backup_meta_canonical_text(document);
    return memory_text("%s\n", changed);
}

static void assert_refused(const char *text, size_t size, const char *why)
{
    struct error err;
    struct backup_meta *meta = NULL;

    ck_assert_msg(!backup_meta_parse(text, size, &meta, &err), "accepted %.200s", text);
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(err.message, why) != NULL, "\"%s\" instead of \"%s\"", err.message, why);
}

START_TEST(metadata_survive_a_round_trip)
{
    char *text SCOPED(scoped_free) = sample_text();
    struct backup_meta *meta SCOPED(scoped_backup_meta) = parse(text);
    char *again SCOPED(scoped_free) = backup_meta_to_text(meta);

    ck_assert_str_eq(again, text);
    ck_assert_str_eq(meta->system.text, "18446744073709551615");
    ck_assert_str_eq(meta->label, "before \"upgrade\" \xc3\xbc");
    ck_assert_str_eq(meta->tablespaces[1].path, "/srv/\xff");
    ck_assert_uint_eq(meta->tablespaces[1].oid, UINT32_MAX);
    ck_assert_uint_eq(meta->end_position.value, UINT64_C(0x1602000100));
    ck_assert_int_eq(meta->started_at.microseconds, INT64_C(1795311000123456));
    ck_assert_int_eq(meta->server_stopped_at.microseconds, 0);
    ck_assert_uint_eq(meta->file_list_count, 2);
    ck_assert_ptr_null(meta->unknown);
}
END_TEST

START_TEST(the_document_is_readable_by_other_programs)
{
    char *text SCOPED(scoped_free) = sample_text();

    ck_assert_ptr_nonnull(strstr(text, "\"start_lsn\":\"16/2000028\""));
    ck_assert_ptr_nonnull(strstr(text, "\"started_at\":\"2026-11-22T01:30:00.123456Z\""));
    ck_assert_ptr_nonnull(strstr(text, "\"system_identifier\":\"18446744073709551615\""));
    ck_assert_ptr_nonnull(strstr(text, "\"requires_features\":[]"));
    ck_assert_ptr_nonnull(strstr(text, "\"requires_backups\":[]"));
    ck_assert_ptr_nonnull(
        strstr(text, "{\"name\":\"base.tar.zst\",\"sha256\":\"" SOME_SHA256 "\",\"size\":999999999}"));
    ck_assert_ptr_nonnull(strstr(text, "{\"oid\":16389,\"path\":\"/srv/fast disk\"}"));
    struct backup_meta *meta SCOPED(scoped_backup_meta) = parse(text);
    json_t *json SCOPED(scoped_json) = backup_meta_to_json(meta);
    ck_assert_ptr_null(json_object_get(json, "sha256"));
    ck_assert_str_eq(json_text_or_null(json, "state"), "complete");
}
END_TEST

START_TEST(every_altered_byte_is_noticed)
{
    char *text SCOPED(scoped_free) = sample_text();
    size_t size = strlen(text);
    static const uint8_t masks[] = {0xFF, 0x01, 0x20, 0x80};

    for (size_t at = 0; at < size; at++)
        for (size_t i = 0; i < sizeof masks; i++) {
            text[at] = (char)(text[at] ^ masks[i]);
            assert_refused(text, size, "");
            text[at] = (char)(text[at] ^ masks[i]);
        }
    for (size_t left = 0; left < size; left++)
        assert_refused(text, left, "");
}
END_TEST

START_TEST(white_space_and_other_spellings_are_alterations_too)
{
    char *text SCOPED(scoped_free) = sample_text();
    char *blank SCOPED(scoped_free) = memory_text("{ %s", text + 1);
    char *more SCOPED(scoped_free) = memory_text("%s\n", text);
    char *escaped SCOPED(scoped_free) = memory_copy_text(text);
    struct error err;
    json_t *document SCOPED(scoped_json) = json_parse_object(text, strlen(text), &err);
    char *indented SCOPED(scoped_free) = json_dumps(document, JSON_INDENT(1) | JSON_SORT_KEYS);

    assert_refused(blank, strlen(blank), "bytes were altered");
    assert_refused(more, strlen(more), "bytes were altered");
    assert_refused(text, strlen(text) - 1, "bytes were altered");
    assert_refused(indented, strlen(indented), "bytes were altered");
    char *space = strstr(escaped, "fast disk") + 4;
    char *longer SCOPED(scoped_free) = memory_text("%.*s\\u0020%s", (int)(space - escaped), escaped, space + 1);
    assert_refused(longer, strlen(longer), "bytes were altered");
}
END_TEST

START_TEST(a_newer_format_is_refused_with_a_way_out)
{
    struct error err;
    struct backup_meta *meta = NULL;
    char *text SCOPED(scoped_free) = changed_text("format", "2");

    ck_assert(!backup_meta_parse(text, strlen(text), &meta, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_str_eq(err.message, "the metadata of a backup has format 2, and this version reads up to 1");
    ck_assert_ptr_nonnull(strstr(err.hint, "newer pgcoffer"));
    /* Even when its digest is one we do not know. */
    ck_assert(!backup_meta_parse("{\"format\":3}", 12, &meta, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "format 3"));
}
END_TEST

START_TEST(what_a_backup_requires_and_we_do_not_have_is_named)
{
    char *feature SCOPED(scoped_free) = changed_text("requires_features", "[\"sealed\"]");
    char *backup SCOPED(scoped_free) = changed_text("requires_backups", "[\"20261121T013000Z\"]");
    char *no_list SCOPED(scoped_free) = changed_text("requires_features", "\"sealed\"");

    assert_refused(feature, strlen(feature), "requires the feature \"sealed\"");
    assert_refused(backup, strlen(backup), "requires the backup \"20261121T013000Z\"");
    assert_refused(no_list, strlen(no_list), "not a list");
}
END_TEST

START_TEST(unknown_keys_are_kept)
{
    char *text SCOPED(scoped_free) = changed_text("colour", "{\"blue\":[1,0.1,null]}");
    struct backup_meta *meta SCOPED(scoped_backup_meta) = parse(text);
    char *again SCOPED(scoped_free) = backup_meta_to_text(meta);

    ck_assert_ptr_nonnull(meta->unknown);
    ck_assert_uint_eq(json_object_size(meta->unknown), 1);
    ck_assert_str_eq(again, text);
}
END_TEST

START_TEST(a_wrong_value_is_refused_even_with_a_right_digest)
{
    static const char *const bad[][2] = {
        {"format", "\"1\""},
        {"format", "0"},
        {"id", "\"../../etc\""},
        {"id", NULL},
        {"state", "\"perfect\""},
        {"kind", "\"incremental\""},
        {"server", "\"a/b\""},
        {"server", "\"0123456789012345678901234567890123456789012345678901234567890123\""},
        {"system_identifier", "7"},
        {"system_identifier", "\"..\""},
        {"server_version", "-1"},
        {"server_version", "1.5"},
        {"wal_segment_size", "3000000"},
        {"start_timeline", "0"},
        {"end_timeline", "4294967296"},
        {"start_lsn", "\"16\""},
        {"end_lsn", "22"},
        {"started_at", "\"yesterday\""},
        {"stopped_at", "5"},
        {"size_bytes", "-1"},
        {"file_count", "\"5\""},
        {"from_standby", "0"},
        {"label", "null"},
        {"data_directory_mode", "\"0700 and more\""},
        {"notices", "{}"},
        {"notices", "[1]"},
        {"tablespaces", "[{}]"},
        {"tablespaces", "[{\"oid\":0,\"path\":\"/x\"}]"},
        {"tablespaces", "[{\"oid\":1}]"},
        {"tablespaces", "[{\"oid\":1,\"path_hex\":\"2f0\"}]"},
        {"tablespaces", "[{\"oid\":1,\"path_hex\":\"2f00\"}]"},
        {"files", "[3]"},
        {"files", "[{\"name\":\"../x\",\"size\":1,\"sha256\":\"" SOME_SHA256 "\"}]"},
        {"files", "[{\"name\":\".x\",\"size\":1,\"sha256\":\"" SOME_SHA256 "\"}]"},
        {"files", "[{\"name\":\"x\",\"size\":1,\"sha256\":\"9F\"}]"},
        {"files", "[{\"name\":\"x\",\"size\":-1,\"sha256\":\"" SOME_SHA256 "\"}]"},
        {"files", NULL},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *text SCOPED(scoped_free) = changed_text(bad[i][0], bad[i][1]);
        assert_refused(text, strlen(text), "");
    }
    char *text SCOPED(scoped_free) = changed_text("stopped_at", NULL); /* a time may be unknown */
    struct backup_meta *meta SCOPED(scoped_backup_meta) = parse(text);
    ck_assert_int_eq(meta->stopped_at.microseconds, 0);
}
END_TEST

START_TEST(words_of_the_server_in_any_encoding_become_valid_text)
{
    struct backup_meta *meta SCOPED(scoped_backup_meta) = sample_backup(ID, "1");

    backup_meta_add_notice(meta, "Tabelle \"\xfc\" fehlt\x1b[31m\n");
    for (int i = 0; i < 200; i++)
        backup_meta_add_notice(meta, "again");
    ck_assert_uint_eq(meta->notice_count, 100);
    char *text SCOPED(scoped_free) = backup_meta_to_text(meta);
    struct backup_meta *found SCOPED(scoped_backup_meta) = parse(text);
    ck_assert_str_eq(found->notices[1], "Tabelle \"?\" fehlt?[31m?");
    ck_assert_uint_eq(found->notice_count, 100);
}
END_TEST

static struct backup_meta *stored_sample(enum backup_state state)
{
    struct error err;
    struct backup_meta *meta = sample_backup(ID, system_id.text);
    struct backup_id id;

    meta->state = state;
    if (!repository_has("backup/" ID))
        MUST(
            repo_create_backup(&repo, "primary", &system_id, (struct timestamp){INT64_C(1795311000000000)}, &id, &err));
    MUST(backup_meta_write(&repo, meta, &err));
    return meta;
}

START_TEST(a_copied_backup_becomes_complete)
{
    struct error err;
    struct backup_meta *found = NULL;

    struct backup_meta *copied SCOPED(scoped_backup_meta) = stored_sample(BACKUP_COPIED);
    ck_assert(repository_has("backup/" ID "/copied.json"));
    ck_assert(!repository_has("backup/" ID "/backup.json"));
    MUST(backup_meta_read(&repo, "primary", &system_id, &copied->id, &found, &err));
    ck_assert_int_eq(found->state, BACKUP_COPIED);
    backup_meta_free(found);

    struct backup_meta *complete SCOPED(scoped_backup_meta) = stored_sample(BACKUP_COMPLETE);
    ck_assert(!repository_has("backup/" ID "/copied.json"));
    MUST(backup_meta_read(&repo, "primary", &system_id, &complete->id, &found, &err));
    ck_assert_int_eq(found->state, BACKUP_COMPLETE);
    backup_meta_free(found);
}
END_TEST

START_TEST(metadata_in_the_wrong_folder_are_refused)
{
    struct error err;
    struct backup_meta *found = NULL;
    struct backup_id other, id;

    backup_meta_free(stored_sample(BACKUP_COMPLETE));
    struct buffer text = repository_get("backup/" ID "/backup.json");
    repository_put("backup/20261122T013001Z/backup.json", text.bytes, text.used);
    repository_put("backup/20261122T013002Z/copied.json", text.bytes, text.used);
    buffer_done(&text);
    ck_assert(backup_id_parse("20261122T013001Z", &other));
    ck_assert(!backup_meta_read(&repo, "primary", &system_id, &other, &found, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.message, "belongs to the backup " ID));

    ck_assert(backup_id_parse(ID, &id));
    MUST(file_rename_durably(repository_path("backup/" ID "/backup.json"), repository_path("backup/" ID "/copied.json"),
                             &err));
    ck_assert(!backup_meta_read(&repo, "primary", &system_id, &id, &found, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "says that the backup is complete"));

    ck_assert(backup_id_parse("20261122T013009Z", &other));
    ck_assert(!backup_meta_read(&repo, "primary", &system_id, &other, &found, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_int_eq(err.errnum, ENOENT);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("backup_meta");

    tcase_add_checked_fixture(tests, repository_make, repository_remove);
    tcase_add_test(tests, metadata_survive_a_round_trip);
    tcase_add_test(tests, the_document_is_readable_by_other_programs);
    tcase_add_test(tests, every_altered_byte_is_noticed);
    tcase_add_test(tests, white_space_and_other_spellings_are_alterations_too);
    tcase_add_test(tests, a_newer_format_is_refused_with_a_way_out);
    tcase_add_test(tests, what_a_backup_requires_and_we_do_not_have_is_named);
    tcase_add_test(tests, unknown_keys_are_kept);
    tcase_add_test(tests, a_wrong_value_is_refused_even_with_a_right_digest);
    tcase_add_test(tests, words_of_the_server_in_any_encoding_become_valid_text);
    tcase_add_test(tests, a_copied_backup_becomes_complete);
    tcase_add_test(tests, metadata_in_the_wrong_folder_are_refused);
    return suite_run("backup_meta", tests);
}
