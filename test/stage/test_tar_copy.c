#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stage/tar_harness.h"
#include "support/suite.h"

static const size_t pieces[] = {1, 7, 512, 4096, 0};
#define PIECES (int)(sizeof pieces / sizeof pieces[0])

START_TEST(members_pass_with_their_data_and_checksums_whatever_the_piece_size)
{
    static const struct tar_member expected[] = {
        {"backup_label", false, 0600, 30, 512, ""},         {"global", true, 0700, 0, 1536, ""},
        {"global/1262", false, 0600, 9, 2048, "839206e3"},  {"empty", false, 0600, 0, 3072, "00000000"},
        {"pg_wal/archive_status", true, 0700, 0, 3584, ""}, {"global/pg_control", false, 0600, 7, 4096, ""},
    };
    struct copy copy SCOPED(copy_done) = COPY_NEW;

    copy.piece = pieces[_i];
    add_cluster(&copy);
    expect_success(&copy);
    ck_assert_uint_eq(copy.member_count, 6);
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_str_eq(copy.members[i].path, expected[i].path);
        ck_assert_int_eq(copy.members[i].is_directory, expected[i].is_directory);
        ck_assert_uint_eq(copy.members[i].mode, expected[i].mode);
        ck_assert_uint_eq(copy.members[i].size, expected[i].size);
        ck_assert_uint_eq(copy.members[i].data_offset, expected[i].data_offset);
        if (expected[i].checksum[0] != '\0' || expected[i].is_directory)
            ck_assert_str_eq(copy.members[i].checksum, expected[i].checksum);
    }
    ck_assert_mem_eq(copy.plain + 2048, "123456789", 9);
    ck_assert_mem_eq(copy.plain + 4096, "control", 7);
    /* Nothing but padding behind the last member, and the end mark. */
    ck_assert_uint_eq(copy.plain_size, 4096 + 512 + 1024);
    ck_assert_uint_eq(copy.frames[0].length, copy.plain_size);
    ck_assert_int_eq(copy.plain[copy.plain_size - 1025], 0);
}
END_TEST

START_TEST(headers_tell_mode_and_time_and_nothing_else_of_the_host)
{
    struct copy copy SCOPED(copy_done) = COPY_NEW;

    tar_add(&copy.tar, (struct tar_entry){.name = "d/", .type = '5', .mode = 07777});
    tar_add(&copy.tar, (struct tar_entry){.name = "d/f", .type = '0', .size = 1, .data = "x", .mode = 07777});
    tar_end(&copy.tar);
    copy.mode_mask = 0750;
    expect_success(&copy);
    ck_assert_uint_eq(copy.members[0].mode, 0750);
    ck_assert_uint_eq(copy.members[1].mode, 0640);

    const char *directory = (const char *)copy.plain, *file = (const char *)copy.plain + 512;
    ck_assert_str_eq(directory, "d/");
    ck_assert_int_eq(directory[156], '5');
    ck_assert_int_eq(strtol(directory + 100, NULL, 8), 0750);
    ck_assert_str_eq(file, "d/f");
    ck_assert_int_eq(file[156], '0');
    ck_assert_int_eq(strtol(file + 100, NULL, 8), 0640);
    ck_assert_int_eq(strtol(file + 108, NULL, 8), 0);
    ck_assert_int_eq(strtol(file + 116, NULL, 8), 0);
    ck_assert_int_eq(strtol(file + 136, NULL, 8), 1700000000);
    ck_assert_str_eq(file + 265, "postgres");
    ck_assert_str_eq(file + 297, "postgres");
}
END_TEST

START_TEST(names_are_bytes_in_any_locale_and_of_any_length)
{
    static const char *const locales[] = {"C", "C.UTF-8"};
    static const size_t lengths[] = {99, 100, 101, 150, 155, 156, 255};
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    char names[7][256];

    ck_assert_ptr_nonnull(setlocale(LC_ALL, locales[_i]));
    add_file(&copy, "latin1-\xe9t\xe9", "1");
    add_file(&copy, "utf8-\xc3\xa9", "2");
    add_file(&copy, "every-\x01\x7f\x80\xff", "3");
    for (size_t i = 0; i < 7; i++) {
        memset(names[i], 'a' + (int)i, lengths[i]);
        names[i][lengths[i]] = '\0';
        names[i][20] = '/';
        names[i][lengths[i] - 1] = '\xfe';
        add_file(&copy, names[i], "long");
    }
    tar_end(&copy.tar);
    expect_success(&copy);
    ck_assert_uint_eq(copy.member_count, 10);
    ck_assert_str_eq(copy.members[0].path, "latin1-\xe9t\xe9");
    ck_assert_str_eq(copy.members[1].path, "utf8-\xc3\xa9");
    ck_assert_str_eq(copy.members[2].path, "every-\x01\x7f\x80\xff");
    for (unsigned i = 0; i < 3; i++)
        ck_assert_str_eq((const char *)copy.plain + copy.members[i].data_offset - 512, copy.members[i].path);
    for (unsigned i = 0; i < 7; i++) {
        const uint8_t *data = copy.plain + copy.members[3 + i].data_offset;
        ck_assert_str_eq(copy.members[3 + i].path, names[i]);
        ck_assert_mem_eq(data, "long", 4);
        if (lengths[i] <= 100)
            ck_assert_mem_eq(data - 512, names[i], lengths[i]);
        else /* the header before holds it, with its final NUL */
            ck_assert_mem_eq(data - 1024, names[i], lengths[i] + 1);
    }
    setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(a_large_member_has_frames_of_its_own_from_its_first_data_byte_on)
{
    static const size_t sizes[] = {FRAME_OWN_MEMBER_SIZE - 1, FRAME_OWN_MEMBER_SIZE, FRAME_SIZE, FRAME_SIZE + 1,
                                   2 * (size_t)FRAME_SIZE};
    /* What precedes each cut: small things and headers share a frame. */
    static const size_t lengths[] = {
        512 + FRAME_OWN_MEMBER_SIZE - 1 + 1 + 512, /* a small member, its padding, the next header */
        FRAME_OWN_MEMBER_SIZE,
        512,
        FRAME_SIZE,
        512,
        FRAME_SIZE,
        1,
        511 + 512,
        FRAME_SIZE,
        FRAME_SIZE,
        512 + 512 + 1024, /* the last small member and the end mark */
    };
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    uint8_t *data SCOPED(scoped_free) = make_bytes(2 * (size_t)FRAME_SIZE, 37);

    copy.piece = 32768;
    for (size_t i = 0; i < 5; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        tar_add(&copy.tar, (struct tar_entry){.name = name, .type = '0', .size = sizes[i], .data = data});
    }
    add_file(&copy, "last", "x");
    tar_end(&copy.tar);
    expect_success(&copy);

    ck_assert_uint_eq(copy.frame_count, 11);
    for (unsigned i = 0; i < 11; i++)
        ck_assert_uint_eq(copy.frames[i].length, lengths[i]);
    ck_assert_uint_eq(copy.members[1].data_offset, copy.frames[1].offset);
    ck_assert_uint_eq(copy.members[2].data_offset, copy.frames[3].offset);
    ck_assert_uint_eq(copy.members[3].data_offset, copy.frames[5].offset);
    ck_assert_uint_eq(copy.members[4].data_offset, copy.frames[8].offset);
    for (size_t i = 0; i < 5; i++)
        ck_assert(memcmp(copy.plain + copy.members[i].data_offset, data, sizes[i]) == 0);
}
END_TEST

START_TEST(a_size_over_8_gib_survives)
{
    static const uint8_t expected[12] = {0x80, 0, 0, 0, 0, 0, 0, 2, 0x40, 0, 0, 5};
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    uint8_t header[512];

    tar_add(&copy.tar, (struct tar_entry){.name = "huge", .type = '0', .size = (UINT64_C(9) << 30) + 5});
    tar_append(&copy.tar, "x", 1);
    /* The source ends early, but the header has been stored at the cut before the data. */
    expect_refusal(&copy, "could not read the server's tar", "");
    ck_assert_uint_eq(copy.frames[0].length, 512);
    ck_assert_uint_eq(ZSTD_decompress(header, 512, copy.capture.bytes.bytes, copy.frames[0].stored_length), 512);
    ck_assert_mem_eq(header + 124, expected, 12);
}
END_TEST

START_TEST(the_algorithm_is_the_manifests)
{
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    struct copy none SCOPED(copy_done) = COPY_NEW;

    add_file(&copy, "a", "abc");
    add_file(&copy, "b", "");
    tar_end(&copy.tar);
    copy.algorithm = CHECKSUM_SHA256;
    expect_success(&copy);
    ck_assert_str_eq(copy.members[0].checksum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ck_assert_str_eq(copy.members[1].checksum, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

    add_file(&none, "a", "abc");
    tar_end(&none.tar);
    none.algorithm = CHECKSUM_NONE;
    expect_success(&none);
    ck_assert_str_eq(none.members[0].checksum, "");
}
END_TEST

START_TEST(the_tap_gives_the_content_of_the_named_members_only)
{
    static const char *const paths[] = {"empty", "global", "global/1262", "missing", NULL};
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    struct copy full SCOPED(copy_done) = COPY_NEW;

    copy.tapped.limit = 100;
    copy.tap_paths = paths;
    add_cluster(&copy);
    expect_success(&copy);
    ck_assert_uint_eq(copy.tapped.used, 21);
    ck_assert_mem_eq(copy.tapped.bytes, "global/1262:123456789", 21);

    full.tapped.limit = 20;
    full.tap_paths = paths;
    add_cluster(&full);
    ck_assert(!run(&full));
    ck_assert_uint_eq(full.member_count, 2);
}
END_TEST

static bool has_program(const char *name)
{
    char command[128];

    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", name);
    return system(command) == 0;
}

START_TEST(the_tar_program_unpacks_the_archive_for_an_ordinary_user)
{
    char directory[] = "/tmp/tar-copy-test-XXXXXX";
    char command[512];
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    const char *ordinary = geteuid() != 0 ? "" : "setpriv --reuid=65534 --regid=65534 --clear-groups";
    uint8_t *data SCOPED(scoped_free) = make_bytes(3 * (size_t)FRAME_SIZE + 5, 43);
    struct stat status;
    char long_name[152];

    if (!has_program("zstd") || !has_program("tar") || (geteuid() == 0 && !has_program("setpriv")))
        return;
    memset(long_name, 'n', 151);
    long_name[151] = '\0';
    long_name[9] = '\xe9';
    add_file(&copy, long_name, "long");
    tar_add(&copy.tar,
            (struct tar_entry){.name = "big", .type = '0', .size = 3 * (size_t)FRAME_SIZE + 5, .data = data});
    add_cluster(&copy);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chmod(directory, 0777), 0);
    ck_assert_msg(run_chain(&copy, stage_store_new(directory, 0644)), "%s", copy.error.message);

    snprintf(command, sizeof command, "cd %s && mkdir -m 777 out && %s tar --zstd -xf base.tar.zst -C out", directory,
             ordinary);
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof command,
             "cd %s/out && test \"$(cat global/1262)\" = 123456789 && test -d pg_wal/archive_status && "
             "test ! -s empty && test \"$(cat nnnnnnnnn*)\" = long && test $(ls | wc -l) = 6",
             directory);
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof command, "%s/out/big", directory);
    ck_assert_int_eq(stat(command, &status), 0);
    ck_assert_uint_eq(status.st_size, 3 * (size_t)FRAME_SIZE + 5);
    ck_assert_uint_eq(status.st_mode & 07777, 0600);
    ck_assert_int_eq(status.st_mtime, 1700000000);
    snprintf(command, sizeof command, "rm -r %s", directory);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tar_copy");

    tcase_add_loop_test(tests, members_pass_with_their_data_and_checksums_whatever_the_piece_size, 0, PIECES);
    tcase_add_test(tests, headers_tell_mode_and_time_and_nothing_else_of_the_host);
    tcase_add_loop_test(tests, names_are_bytes_in_any_locale_and_of_any_length, 0, 2);
    tcase_add_test(tests, a_large_member_has_frames_of_its_own_from_its_first_data_byte_on);
    tcase_add_test(tests, a_size_over_8_gib_survives);
    tcase_add_test(tests, the_algorithm_is_the_manifests);
    tcase_add_test(tests, the_tap_gives_the_content_of_the_named_members_only);
    tcase_add_test(tests, the_tar_program_unpacks_the_archive_for_an_ordinary_user);
    return suite_run("tar_copy", tests);
}
