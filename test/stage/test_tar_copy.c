#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "pgcoffer/stage/tar_copy.h"
#include "stage/capture.h"
#include "stage/tar_builder.h"
#include "support/suite.h"

#define MOST_SEEN 32

/* One copy: its source, its result, and what the callbacks told. */
struct copy {
    struct buffer tar;
    size_t piece;   /* 0: all at once */
    size_t fail_at; /* the source fails once this many bytes were given; 0: never */
    size_t given;
    struct capture capture;
    uint8_t *plain; /* what was stored, decompressed */
    uint64_t plain_size;
    struct tar_member members[MOST_SEEN];
    unsigned member_count;
    unsigned fail_at_member;
    struct frame_info frames[MOST_SEEN];
    unsigned frame_count;
    const char *const *tap_paths;
    struct buffer tapped; /* "path:piece" for every piece */
    enum checksum_algorithm algorithm;
    uint32_t mode_mask;
    struct error error;
};

#define COPY_NEW                                                                                                       \
    ((struct copy){.tar = BUFFER_WITH_LIMIT((size_t)64 << 20),                                                         \
                   .capture = CAPTURE_UNLIMITED,                                                                       \
                   .algorithm = CHECKSUM_CRC32C,                                                                       \
                   .mode_mask = 0700})

static void copy_done(struct copy *copy)
{
    buffer_done(&copy->tar);
    buffer_done(&copy->tapped);
    capture_done(&copy->capture);
    free(copy->plain);
    for (unsigned i = 0; i < copy->member_count; i++)
        free((char *)copy->members[i].path);
}

static bool read_tar(void *context, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    struct copy *copy = context;
    size_t left = copy->tar.used - copy->given;

    if (copy->fail_at > 0 && copy->given >= copy->fail_at)
        return error_set(err, ERROR_SERVER, "could not receive: connection lost");
    *ret_bytes = copy->tar.bytes + copy->given;
    *ret_size = copy->piece > 0 && copy->piece < left ? copy->piece : left;
    copy->given += *ret_size;
    return true;
}

static bool keep_member(void *context, const struct tar_member *member, struct error *err)
{
    struct copy *copy = context;

    ck_assert_uint_lt(copy->member_count, MOST_SEEN);
    copy->members[copy->member_count] = *member;
    copy->members[copy->member_count++].path = memory_copy_text(member->path);
    return copy->member_count != copy->fail_at_member || error_set(err, ERROR_FAILED, "the index is full");
}

static bool keep_frame(void *context, const struct frame_info *frame, struct error *err)
{
    struct copy *copy = context;

    (void)err;
    ck_assert_uint_lt(copy->frame_count, MOST_SEEN);
    copy->frames[copy->frame_count++] = *frame;
    return true;
}

static bool keep_data(void *context, const char *path, const void *bytes, size_t size, struct error *err)
{
    struct copy *copy = context;

    return buffer_append(&copy->tapped, path, strlen(path), err) && buffer_append(&copy->tapped, ":", 1, err) &&
           buffer_append(&copy->tapped, bytes, size, err);
}

static bool run_chain(struct copy *copy, struct stage *last)
{
    struct tar_copy_options options = {
        .read = read_tar,
        .member = keep_member,
        .data = copy->tap_paths != NULL ? keep_data : NULL,
        .tap_paths = copy->tap_paths,
        .context = copy,
        .algorithm = copy->algorithm,
        .mode_mask = copy->mode_mask,
    };
    struct frames_options frames_options = {
        .level = 1, .without_threads = true, .on_frame = keep_frame, .context = copy};
    struct stage *frames SCOPED(scoped_stage) = stage_frames_new(last, &frames_options);

    return stage_open(frames, "base.tar", &copy->error) &&
           tar_copy(&options, frames, &copy->plain_size, &copy->error) && stage_finish(frames, &copy->error);
}

static bool run(struct copy *copy)
{
    return run_chain(copy, capture_new(&copy->capture));
}

static void unpack(struct copy *copy)
{
    size_t size = 0;

    for (unsigned i = 0; i < copy->frame_count; i++)
        size += copy->frames[i].length;
    copy->plain = malloc(size);
    ck_assert_uint_eq(ZSTD_decompress(copy->plain, size, copy->capture.bytes.bytes, copy->capture.bytes.used), size);
}

static void expect_success(struct copy *copy)
{
    ck_assert_msg(run(copy), "%s", copy->error.message);
    unpack(copy);
}

static void expect_refusal(struct copy *copy, const char *name, const char *words)
{
    ck_assert_msg(!run(copy), "accepted: %s", words);
    ck_assert_int_eq(copy->error.kind, ERROR_INTEGRITY);
    ck_assert_msg(strstr(copy->error.message, name) != NULL, "%s", copy->error.message);
    ck_assert_msg(strstr(copy->error.message, words) != NULL, "%s", copy->error.message);
    ck_assert(!copy->capture.is_finished);
}

static void add_file(struct copy *copy, const char *name, const char *text)
{
    tar_add(&copy->tar, (struct tar_entry){.name = name, .type = '0', .size = strlen(text), .data = text});
}

static void add_directory(struct copy *copy, const char *name)
{
    tar_add(&copy->tar, (struct tar_entry){.name = name, .type = '5', .mode = 0700});
}

/* A little of everything that a server sends. */
static void add_cluster(struct copy *copy)
{
    add_file(copy, "backup_label", "START WAL LOCATION: 0/2000028\n");
    add_directory(copy, "global/");
    add_file(copy, "global/1262", "123456789");
    add_file(copy, "empty", "");
    add_directory(copy, "./pg_wal/archive_status/");
    add_file(copy, "global/pg_control", "control");
    tar_end(&copy->tar);
}

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

START_TEST(what_is_no_file_and_no_directory_is_refused_by_its_name)
{
    static const struct {
        char type;
        const char *words;
    } cases[] = {{'1', "hard link"}, {'2', "symbolic link"}, {'3', "neither"}, {'4', "neither"}, {'6', "neither"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        add_file(&copy, "before", "x");
        tar_add(&copy.tar, (struct tar_entry){.name = "bad\xff", .type = cases[i].type, .link = "before"});
        tar_end(&copy.tar);
        expect_refusal(&copy, "\"bad\\xff\"", cases[i].words);
    }
}
END_TEST

START_TEST(unsafe_names_are_refused)
{
    static const char *const names[] = {"/etc/passwd", "../up", "a/../b", "a/..",  "..",  "../",
                                        ".",           "./",    "././a",  "a//b",  "a//", "//",
                                        "/",           "./..",  "a/.",    "a/./b", ".//a"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        add_file(&copy, "before", "x");
        size_t length = strlen(names[i]);
        if (names[i][length - 1] == '/')
            add_directory(&copy, names[i]);
        else
            add_file(&copy, names[i], "x");
        tar_end(&copy.tar);
        expect_refusal(&copy, names[i], "unsafe name");
    }
}
END_TEST

START_TEST(a_name_longer_than_any_path_is_refused)
{
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    char *name SCOPED(scoped_free) = memory_new(4097);

    memset(name, 'n', 4096);
    add_file(&copy, name, "x");
    tar_end(&copy.tar);
    expect_refusal(&copy, "nnn...\"", "unsafe name");
}
END_TEST

START_TEST(a_name_that_comes_twice_is_refused_in_any_spelling)
{
    static const char *const pairs[][2] = {{"a", "a"}, {"a", "./a"}, {"d/", "d"}, {"./d/", "d/"}};

    for (size_t i = 0; i < 4; i++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        for (size_t k = 0; k < 2; k++)
            if (strchr(pairs[i][k], 'd') != NULL)
                add_directory(&copy, pairs[i][k]);
            else
                add_file(&copy, pairs[i][k], "x");
        tar_end(&copy.tar);
        expect_refusal(&copy, pairs[i][1], "its name came before");
    }
}
END_TEST

START_TEST(every_tar_that_ends_too_early_is_an_error)
{
    struct copy whole SCOPED(copy_done) = COPY_NEW;

    add_cluster(&whole);
    for (size_t size = 0; size < whole.tar.used; size += size % 512 < 2 || size % 512 == 511 ? 1 : 51) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        tar_append(&copy.tar, whole.tar.bytes, size);
        expect_refusal(&copy, "server's tar", "");
    }
    expect_success(&whole);
}
END_TEST

START_TEST(what_follows_the_end_mark_is_under_the_same_rules)
{
    struct copy zeros SCOPED(copy_done) = COPY_NEW;
    struct copy garbage SCOPED(copy_done) = COPY_NEW;
    struct copy hidden SCOPED(copy_done) = COPY_NEW;

    add_cluster(&zeros);
    for (int i = 0; i < 9; i++)
        tar_end(&zeros.tar);
    expect_success(&zeros);

    add_cluster(&garbage);
    tar_append(&garbage.tar, zeros.tar.bytes + 512, 512);
    expect_refusal(&garbage, "server's tar", "");

    add_cluster(&hidden);
    tar_add(&hidden.tar, (struct tar_entry){.name = "late", .type = '2', .link = "x"});
    tar_end(&hidden.tar);
    expect_refusal(&hidden, "\"late\"", "symbolic link");
}
END_TEST

START_TEST(bytes_that_are_no_tar_are_an_error)
{
    struct copy copy SCOPED(copy_done) = COPY_NEW;
    uint8_t *noise SCOPED(scoped_free) = make_bytes(20000, 31);

    tar_append(&copy.tar, noise, 20000);
    expect_refusal(&copy, "could not read the server's tar", "");
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

START_TEST(a_failing_source_is_told_in_its_own_words)
{
    struct copy whole SCOPED(copy_done) = COPY_NEW;

    add_cluster(&whole);
    for (size_t fail_at = 1; fail_at < whole.tar.used; fail_at += 100) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        copy.piece = 100;
        copy.fail_at = fail_at;
        add_cluster(&copy);
        ck_assert(!run(&copy));
        ck_assert_int_eq(copy.error.kind, ERROR_SERVER);
        ck_assert_str_eq(copy.error.message, "could not receive: connection lost");
    }
}
END_TEST

START_TEST(a_failing_archive_or_index_is_told_in_its_own_words)
{
    uint8_t *data SCOPED(scoped_free) = make_bytes(3 * (size_t)FRAME_SIZE, 41);

    for (unsigned fail_at = 1, succeeded = 0; succeeded == 0; fail_at++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        copy.capture.fail_at_write = fail_at;
        tar_add(&copy.tar,
                (struct tar_entry){.name = "big", .type = '0', .size = 3 * (size_t)FRAME_SIZE, .data = data});
        add_cluster(&copy);
        succeeded = run(&copy);
        if (!succeeded)
            ck_assert_str_eq(copy.error.message, "no space left");
        else /* the header, three frames of data, the rest, the seek table */
            ck_assert_uint_eq(fail_at, 7);
    }
    for (unsigned fail_at = 1; fail_at <= 6; fail_at++) {
        struct copy copy SCOPED(copy_done) = COPY_NEW;
        copy.fail_at_member = fail_at;
        add_cluster(&copy);
        ck_assert(!run(&copy));
        ck_assert_str_eq(copy.error.message, "the index is full");
    }
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

START_TEST(the_rule_for_names)
{
    ck_assert(tar_path_is_safe("base/1/1259"));
    ck_assert(tar_path_is_safe("..."));
    ck_assert(tar_path_is_safe("a/..b/c.."));
    ck_assert(tar_path_is_safe(".hidden"));
    ck_assert(!tar_path_is_safe(""));
    ck_assert(!tar_path_is_safe("/"));
    ck_assert(!tar_path_is_safe("a/"));
    ck_assert(!tar_path_is_safe("./a"));
    ck_assert(!tar_path_is_safe("a/../.."));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tar_copy");

    tcase_add_loop_test(tests, members_pass_with_their_data_and_checksums_whatever_the_piece_size, 0, PIECES);
    tcase_add_test(tests, headers_tell_mode_and_time_and_nothing_else_of_the_host);
    tcase_add_loop_test(tests, names_are_bytes_in_any_locale_and_of_any_length, 0, 2);
    tcase_add_test(tests, what_is_no_file_and_no_directory_is_refused_by_its_name);
    tcase_add_test(tests, unsafe_names_are_refused);
    tcase_add_test(tests, a_name_longer_than_any_path_is_refused);
    tcase_add_test(tests, a_name_that_comes_twice_is_refused_in_any_spelling);
    tcase_add_test(tests, every_tar_that_ends_too_early_is_an_error);
    tcase_add_test(tests, what_follows_the_end_mark_is_under_the_same_rules);
    tcase_add_test(tests, bytes_that_are_no_tar_are_an_error);
    tcase_add_test(tests, a_large_member_has_frames_of_its_own_from_its_first_data_byte_on);
    tcase_add_test(tests, a_size_over_8_gib_survives);
    tcase_add_test(tests, a_failing_source_is_told_in_its_own_words);
    tcase_add_test(tests, a_failing_archive_or_index_is_told_in_its_own_words);
    tcase_add_test(tests, the_algorithm_is_the_manifests);
    tcase_add_test(tests, the_tap_gives_the_content_of_the_named_members_only);
    tcase_add_test(tests, the_tar_program_unpacks_the_archive_for_an_ordinary_user);
    tcase_add_test(tests, the_rule_for_names);
    return suite_run("tar_copy", tests);
}
