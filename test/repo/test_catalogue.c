#include "pgcoffer/repo/backup_notes.h"
#include "pgcoffer/repo/catalogue.h"

#include "repo/repository.h"
#include "repo/sample_backup.h"

#define FIRST  "20261122T013000Z"
#define SECOND "20261122T013000Z-2"
#define TENTH  "20261122T013000Z-10"
#define LATER  "20261123T013000Z"

static void put_backup_of(const char *system, const char *id, enum backup_state state, const char *label)
{
    struct error err;
    struct backup_meta *meta SCOPED(scoped_backup_meta) = sample_backup(id, system);
    char *lock SCOPED(scoped_free) = memory_text("../%s/backup/%s/lock", system, id);
    char *base SCOPED(scoped_free) = memory_text("../%s/backup/%s/base.tar.zst", system, id);

    meta->state = state;
    snprintf(meta->label, sizeof meta->label, "%s", label);
    repository_put(lock, "", 0);
    repository_put(base, "12345", 5);
    MUST(backup_meta_write(&repo, meta, &err));
}

static void put_backup(const char *id, enum backup_state state, const char *label)
{
    put_backup_of(system_id.text, id, state, label);
}

static struct catalogue read_catalogue(void)
{
    struct error err;
    struct catalogue catalogue;

    MUST(catalogue_read(&repo, "primary", &catalogue, &err));
    return catalogue;
}

static const struct catalogue_entry *find(const struct catalogue *catalogue, const char *name)
{
    struct error err;
    const struct catalogue_entry *entry = NULL;

    MUST(catalogue_find(catalogue, name, &entry, &err));
    return entry;
}

static void assert_not_found(const struct catalogue *catalogue, const char *name, enum error_kind kind)
{
    struct error err;
    const struct catalogue_entry *entry = NULL;

    ck_assert_msg(!catalogue_find(catalogue, name, &entry, &err), "%s", name);
    ck_assert_int_eq(err.kind, kind);
}

START_TEST(a_server_without_a_folder_has_no_backups)
{
    struct error err;
    struct catalogue catalogue;

    MUST(catalogue_read(&repo, "unknown", &catalogue, &err));
    ck_assert_uint_eq(catalogue.count, 0);
    assert_not_found(&catalogue, "latest", ERROR_USAGE);
    catalogue_done(&catalogue);
}
END_TEST

START_TEST(backups_are_listed_oldest_first)
{
    put_backup(LATER, BACKUP_COMPLETE, "");
    put_backup(TENTH, BACKUP_COPIED, "");
    put_backup(FIRST, BACKUP_COMPLETE, "");
    put_backup(SECOND, BACKUP_DAMAGED, "");
    repository_put("backup/20261124T013000Z/base.tar.zst", "x", 1); /* neither metadata nor a backup */
    repository_put("backup/20261125T013000Z.deleted/backup.json", "x", 1);
    repository_put("backup/notes", "x", 1);
    struct catalogue catalogue = read_catalogue();
    static const char *const expected[] = {FIRST, SECOND, TENTH, LATER};
    ck_assert_uint_eq(catalogue.count, 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert_str_eq(catalogue.entries[i].id.text, expected[i]);
    ck_assert_int_eq(catalogue.entries[2].meta->state, BACKUP_COPIED);
    catalogue_done(&catalogue);
}
END_TEST

START_TEST(latest_and_oldest_are_complete_ones)
{
    put_backup(FIRST, BACKUP_DAMAGED, "");
    put_backup(SECOND, BACKUP_COMPLETE, "");
    put_backup(TENTH, BACKUP_COMPLETE, "");
    put_backup("20261123T013000Z", BACKUP_DAMAGED, "");
    put_backup("20261124T013000Z", BACKUP_COPIED, "");
    repository_put("backup/20261125T013000Z/backup.json", "damage", 6);
    struct catalogue catalogue = read_catalogue();
    ck_assert_str_eq(find(&catalogue, "latest")->id.text, TENTH);
    ck_assert_str_eq(find(&catalogue, "oldest")->id.text, SECOND);
    ck_assert_str_eq(find(&catalogue, FIRST)->id.text, FIRST);
    catalogue_done(&catalogue);
}
END_TEST

START_TEST(latest_is_of_the_current_system)
{
    struct error err;
    struct system_id current, other;

    MUST(system_id_parse("5", &current, &err));
    MUST(system_id_parse("6", &other, &err));
    put_backup_of("5", FIRST, BACKUP_COMPLETE, "nightly");
    put_backup_of("9", LATER, BACKUP_COMPLETE, "nightly");
    struct catalogue catalogue = read_catalogue();
    ck_assert_str_eq(find(&catalogue, "latest")->id.text, LATER); /* without server.json the newest decides */
    ck_assert_str_eq(find(&catalogue, "oldest")->id.text, LATER);
    ck_assert_str_eq(catalogue.current.text, "9");
    catalogue_done(&catalogue);

    MUST(repo_write_server(&repo, "primary", &current, &err));
    catalogue = read_catalogue();
    ck_assert_str_eq(find(&catalogue, "latest")->id.text, FIRST);
    ck_assert_str_eq(find(&catalogue, "nightly")->id.text, LATER);
    catalogue_done(&catalogue);

    MUST(repo_write_server(&repo, "primary", &other, &err)); /* after an upgrade, before its first backup */
    catalogue = read_catalogue();
    const struct catalogue_entry *entry = NULL;
    ck_assert(!catalogue_find(&catalogue, "latest", &entry, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_str_eq(err.message, "there is no complete backup of the system identifier 6");
    ck_assert_ptr_nonnull(strstr(err.hint, LATER " (complete, of a former system identifier)"));
    catalogue_done(&catalogue);
}
END_TEST

START_TEST(a_label_means_the_newest_with_it)
{
    put_backup(FIRST, BACKUP_COMPLETE, "before upgrade");
    put_backup(SECOND, BACKUP_COMPLETE, "before upgrade");
    put_backup(LATER, BACKUP_COMPLETE, "");
    struct catalogue catalogue = read_catalogue();
    ck_assert_str_eq(find(&catalogue, "before upgrade")->id.text, SECOND);
    assert_not_found(&catalogue, "", ERROR_USAGE);
    assert_not_found(&catalogue, "20261122T013000", ERROR_USAGE);

    struct error err;
    const struct catalogue_entry *entry = NULL;
    ck_assert(!catalogue_find(&catalogue, "after upgrade", &entry, &err));
    ck_assert_str_eq(err.message, "there is no backup \"after upgrade\"");
    ck_assert_ptr_nonnull(strstr(err.hint, FIRST " (complete), " SECOND " (complete), " LATER " (complete)"));
    catalogue_done(&catalogue);
}
END_TEST

START_TEST(an_unreadable_backup_is_listed_with_its_reason)
{
    struct error err;
    const struct catalogue_entry *entry = NULL;

    repository_put("backup/" FIRST "/backup.json", "damage", 6);
    struct catalogue catalogue = read_catalogue();
    ck_assert_uint_eq(catalogue.count, 1);
    ck_assert_ptr_null(catalogue.entries[0].meta);
    ck_assert_str_eq(catalogue.entries[0].id.text, FIRST);
    ck_assert_int_eq(catalogue.entries[0].error.kind, ERROR_INTEGRITY);
    ck_assert(!catalogue_find(&catalogue, FIRST, &entry, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.message, "could not read backup " FIRST));
    assert_not_found(&catalogue, "latest", ERROR_INTEGRITY); /* it may be the one that was meant */
    assert_not_found(&catalogue, "some label", ERROR_USAGE);
    catalogue_done(&catalogue);
}
END_TEST

START_TEST(a_backup_being_read_is_not_deleted)
{
    struct error err;
    struct file_lock one = FILE_LOCK_NONE, other = FILE_LOCK_NONE;
    uint64_t freed = 0;

    put_backup(FIRST, BACKUP_COMPLETE, "");
    struct catalogue catalogue = read_catalogue();
    MUST(catalogue_lock_for_reading(&repo, "primary", &catalogue.entries[0], &one, &err));
    MUST(catalogue_lock_for_reading(&repo, "primary", &catalogue.entries[0], &other, &err));
    ck_assert(!catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err));
    ck_assert_int_eq(err.kind, ERROR_BUSY);
    file_lock_done(&one);
    ck_assert(!catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err));
    file_lock_done(&other);
    ck_assert(repository_has("backup/" FIRST "/backup.json"));
    MUST(catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err));
    ck_assert_uint_gt(freed, 5);
    ck_assert(!repository_has("backup/" FIRST));
    ck_assert(!repository_has("backup/" FIRST ".deleted"));
    ck_assert(!catalogue_lock_for_reading(&repo, "primary", &catalogue.entries[0], &one, &err));
    catalogue_done(&catalogue);
}
END_TEST

static void note_verification(const char *id, bool is_good)
{
    struct error err;
    struct backup_id backup;
    struct backup_proof proof = {.at = {INT64_C(1795311000000000)}, .is_good = is_good};

    ck_assert(backup_id_parse(id, &backup));
    MUST(backup_verified_write(&repo, "primary", &system_id, &backup, &proof, &err));
}

START_TEST(what_was_found_damaged_is_neither_latest_nor_oldest_until_it_is_found_good)
{
    const struct catalogue_entry *entry;
    struct error err;

    put_backup(FIRST, BACKUP_COMPLETE, "one");
    put_backup(LATER, BACKUP_COMPLETE, "two");
    note_verification(FIRST, true);
    note_verification(LATER, false);
    struct catalogue catalogue SCOPED(catalogue_done) = read_catalogue();
    ck_assert_str_eq(find(&catalogue, "latest")->id.text, FIRST);
    ck_assert_str_eq(find(&catalogue, "two")->id.text, LATER);
    note_verification(FIRST, false);
    struct catalogue none SCOPED(catalogue_done) = read_catalogue();
    ck_assert(!catalogue_find(&none, "latest", &entry, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.hint, LATER " (found damaged)"));
    note_verification(LATER, true);
    struct catalogue good SCOPED(catalogue_done) = read_catalogue();
    ck_assert_str_eq(find(&good, "latest")->id.text, LATER);
    ck_assert_str_eq(find(&good, "oldest")->id.text, LATER);
}
END_TEST

START_TEST(a_pinned_backup_is_deleted_by_force_only)
{
    struct backup_pin pin = {.pinned_at = {1}, .until = {INT64_C(4102444800000000)}, .reason = "before the move"};
    struct backup_id id;
    struct error err;
    uint64_t freed;

    put_backup(FIRST, BACKUP_COMPLETE, "");
    ck_assert(backup_id_parse(FIRST, &id));
    MUST(backup_pin_write(&repo, "primary", &system_id, &id, &pin, &err));
    struct catalogue catalogue SCOPED(catalogue_done) = read_catalogue();
    ck_assert(!catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err));
    ck_assert_int_eq(err.kind, ERROR_FAILED);
    ck_assert_ptr_nonnull(strstr(err.message, "before the move"));
    repository_put("backup/" FIRST "/pin.json", "{", 1);
    ck_assert(!catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err));
    ck_assert(repository_has("backup/" FIRST "/backup.json"));
    pin.until.microseconds = 2;
    MUST(backup_pin_write(&repo, "primary", &system_id, &id, &pin, &err));
    put_backup(LATER, BACKUP_COMPLETE, "");
    MUST(catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err));
    ck_assert(!repository_has("backup/" FIRST));
    struct catalogue rest SCOPED(catalogue_done) = read_catalogue();
    repository_put("backup/" LATER "/pin.json", "{", 1);
    MUST(catalogue_delete(&repo, "primary", &rest.entries[0], true, &freed, &err));
}
END_TEST

START_TEST(a_lock_file_lost_in_a_copy_is_made_again)
{
    struct error err;
    struct file_lock lock = FILE_LOCK_NONE;

    put_backup(FIRST, BACKUP_COMPLETE, "");
    struct catalogue catalogue = read_catalogue();
    ck_assert_int_eq(unlink(repository_path("backup/" FIRST "/lock")), 0);
    MUST(catalogue_lock_for_reading(&repo, "primary", &catalogue.entries[0], &lock, &err));
    file_lock_done(&lock);
    catalogue_done(&catalogue);
}
END_TEST

START_TEST(a_backup_half_deleted_before_is_no_obstacle)
{
    struct error err;
    uint64_t freed = 0;

    put_backup(FIRST, BACKUP_COMPLETE, "");
    repository_put("backup/" FIRST ".deleted/base.tar.zst", "x", 1);
    struct catalogue catalogue = read_catalogue();
    MUST(catalogue_delete(&repo, "primary", &catalogue.entries[0], false, &freed, &err));
    ck_assert(!repository_has("backup/" FIRST ".deleted"));
    catalogue_done(&catalogue);
}
END_TEST

START_TEST(a_start_sweeps_what_no_backup_needs)
{
    struct error err;
    unsigned removed = 0;

    put_backup(FIRST, BACKUP_COMPLETE, "");
    repository_put("backup/" FIRST "/copied.json", "old", 3);              /* 1: beside its successor */
    repository_put("backup/" FIRST "/pin.json.tmp", "half", 4);            /* 2 */
    put_backup(SECOND, BACKUP_COPIED, "");                                 /* waits for WAL: stays */
    repository_put("backup/" TENTH "/base.tar.zst.tmp", "half", 4);        /* 3: killed in mid-backup */
    repository_put("backup/" LATER ".deleted/base.tar.zst", "x", 1);       /* 4 */
    repository_put("lease/00000001-0000000003000028-00000001.tmp", "", 0); /* 5 */
    repository_put("lease/00000001-0000000003000028-00000001", "", 0);
    repository_put("../server.json.tmp", "half", 4); /* the receiver may be at it */
    repository_put("backup/notes.txt", "mine", 4);
    repository_put("backup/notes.deleted/x", "mine", 4);
    MUST(catalogue_sweep(&repo, "primary", &removed, &err));
    ck_assert_uint_eq(removed, 5);
    ck_assert(repository_has("lease/00000001-0000000003000028-00000001"));
    ck_assert(repository_has("../server.json.tmp"));
    ck_assert(!repository_has("backup/" FIRST "/copied.json"));
    ck_assert(!repository_has("backup/" TENTH));
    ck_assert(!repository_has("backup/" LATER ".deleted"));
    ck_assert(repository_has("backup/notes.txt"));
    ck_assert(repository_has("backup/notes.deleted/x"));
    struct catalogue catalogue = read_catalogue();
    ck_assert_uint_eq(catalogue.count, 2);
    catalogue_done(&catalogue);
    MUST(catalogue_sweep(&repo, "primary", &removed, &err));
    ck_assert_uint_eq(removed, 0);
    MUST(catalogue_sweep(&repo, "unknown", &removed, &err));
    MUST(catalogue_sweep_server(&repo, "primary", &removed, &err));
    ck_assert_uint_eq(removed, 1);
    ck_assert(!repository_has("../server.json.tmp"));
    MUST(catalogue_sweep_server(&repo, "unknown", &removed, &err));
    ck_assert_uint_eq(removed, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("catalogue");

    tcase_add_checked_fixture(tests, repository_make, repository_remove);
    tcase_add_test(tests, a_server_without_a_folder_has_no_backups);
    tcase_add_test(tests, backups_are_listed_oldest_first);
    tcase_add_test(tests, latest_and_oldest_are_complete_ones);
    tcase_add_test(tests, latest_is_of_the_current_system);
    tcase_add_test(tests, a_label_means_the_newest_with_it);
    tcase_add_test(tests, an_unreadable_backup_is_listed_with_its_reason);
    tcase_add_test(tests, a_backup_being_read_is_not_deleted);
    tcase_add_test(tests, what_was_found_damaged_is_neither_latest_nor_oldest_until_it_is_found_good);
    tcase_add_test(tests, a_pinned_backup_is_deleted_by_force_only);
    tcase_add_test(tests, a_lock_file_lost_in_a_copy_is_made_again);
    tcase_add_test(tests, a_backup_half_deleted_before_is_no_obstacle);
    tcase_add_test(tests, a_start_sweeps_what_no_backup_needs);
    return suite_run("catalogue", tests);
}
