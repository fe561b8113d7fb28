#include <sys/syscall.h>
#include <sys/wait.h>
#include <zstd.h>

#include "pgcoffer/repo/wal_trailer.h"
#include "repo/repository.h"
#include "repo/wal_internal.h"

/* The n-th of these calls fails, once: 0 means none. */
static int fail_at, calls;

static int call_or_fail(long result_of_call(void *), void *context)
{
    if (++calls == fail_at) {
        errno = EIO;
        return -1;
    }
    return (int)result_of_call(context);
}

static long call_fsync(void *context)
{
    return syscall(SYS_fsync, *(int *)context);
}

static long call_rename(void *context)
{
    return syscall(SYS_rename, ((const char **)context)[0], ((const char **)context)[1]);
}

static long call_unlink(void *context)
{
    return syscall(SYS_unlink, *(const char **)context);
}

int fsync(int fd)
{
    return call_or_fail(call_fsync, &fd);
}

int rename(const char *from, const char *to)
{
    const char *names[] = {from, to};

    return call_or_fail(call_rename, (void *)names);
}

int unlink(const char *path)
{
    return call_or_fail(call_unlink, (void *)&path);
}

#define FOLDER    "wal/00000001/00000000/"
#define SEGMENT_3 FOLDER "000000010000000000000003"

static struct wal_file stat_segment(uint32_t timeline, uint64_t number)
{
    struct error err;
    struct wal_file file;

    MUST(wal_archive_stat(&archive, segment_of(timeline, number), &file, &err));
    return file;
}

START_TEST(a_segment_is_found_in_each_of_its_states)
{
    struct error err;

    ck_assert_int_eq(stat_segment(1, 3).state, WAL_FILE_MISSING);
    hold_partial(1, 3, 1000);
    ck_assert_int_eq(stat_segment(1, 3).state, WAL_FILE_PARTIAL);
    ck_assert_uint_eq(stat_segment(1, 3).held_bytes, 1000);
    assert_holds(1, 3, WAL_FILE_PARTIAL);
    ck_assert_int_eq(unlink(repository_path(SEGMENT_3 ".partial")), 0);
    hold_segment(1, 3);
    ck_assert_int_eq(stat_segment(1, 3).state, WAL_FILE_RAW);
    assert_holds(1, 3, WAL_FILE_RAW);
    struct timestamp written_at = stat_segment(1, 3).written_at;
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
    ck_assert_int_eq(stat_segment(1, 3).state, WAL_FILE_COMPRESSED);
    ck_assert_uint_eq(stat_segment(1, 3).held_bytes, ONE_MB);
    ck_assert_int_eq(stat_segment(1, 3).written_at.microseconds, written_at.microseconds);
    ck_assert(!repository_has(SEGMENT_3));
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err)); /* done already */
}
END_TEST

START_TEST(an_opened_segment_outlives_its_name)
{
    struct error err;
    struct wal_file file;
    int fd SCOPED(scoped_close) = -1;
    uint8_t byte[2], *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);

    hold_segment(1, 3);
    MUST(wal_archive_open_segment(&archive, segment_of(1, 3), &fd, &file, &err));
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
    ck_assert_int_eq(pread(fd, byte, 2, ONE_MB - 2), 2);
    ck_assert_int_eq(memcmp(byte, bytes + ONE_MB - 2, 2), 0);

    int missing = 7;
    MUST(wal_archive_open_segment(&archive, segment_of(1, 4), &missing, &file, &err));
    ck_assert_int_eq(missing, -1);
    ck_assert_int_eq(file.state, WAL_FILE_MISSING);
    struct buffer plain = BUFFER_WITH_LIMIT(ONE_MB);
    MUST(wal_archive_read_segment(&archive, segment_of(1, 4), &plain, &file, &err));
    ck_assert_int_eq(file.state, WAL_FILE_MISSING);
    ck_assert_uint_eq(plain.used, 0);
}
END_TEST

static bool can_read(uint64_t number, struct error *err)
{
    struct wal_file file;
    struct buffer plain = BUFFER_WITH_LIMIT(ONE_MB);
    bool read = wal_archive_read_segment(&archive, segment_of(1, number), &plain, &file, err);

    buffer_done(&plain);
    return read;
}

START_TEST(every_altered_or_missing_byte_of_a_compressed_segment_is_noticed)
{
    struct error err;

    hold_segment(1, 3);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 1, &err));
    struct buffer stored = repository_get(SEGMENT_3 ".zst");
    size_t step = stored.used / 400 + 1;
    for (size_t at = 0; at < stored.used; at += at < 20 || at + 20 > stored.used ? 1 : step) {
        stored.bytes[at] ^= 0xFF;
        repository_put(SEGMENT_3 ".zst", stored.bytes, stored.used);
        ck_assert_msg(!can_read(3, &err), "byte %zu", at);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_ptr_nonnull(strstr(err.message, "000000010000000000000003.zst"));
        stored.bytes[at] ^= 0xFF;
        repository_put(SEGMENT_3 ".zst", stored.bytes, at);
        ck_assert_msg(!can_read(3, &err), "%zu bytes", at);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    }
    repository_put(SEGMENT_3 ".zst", stored.bytes, stored.used);
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
    buffer_done(&stored);
}
END_TEST

/* Some bits of a zstd frame change nothing of what it decompresses to; its trailer knows them all the same. */
START_TEST(every_flipped_bit_of_a_compressed_segment_is_found)
{
    struct error err;
    size_t unseen_by_zstd = 0;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 5);
    uint8_t *plain SCOPED(scoped_free) = memory_new(ONE_MB);

    for (size_t i = 0; i < ONE_MB; i++)
        bytes[i] = i < 300 ? bytes[i] % 8 : 0; /* so few kinds of bytes are written with an entropy table */
    repository_put(SEGMENT_3, bytes, ONE_MB);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
    struct buffer stored = repository_get(SEGMENT_3 ".zst");
    ck_assert_uint_lt(stored.used, 300);
    MUST(can_read(3, &err));
    for (size_t bit = 0; bit < 8 * stored.used; bit++) {
        stored.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        repository_put(SEGMENT_3 ".zst", stored.bytes, stored.used);
        ck_assert_msg(!can_read(3, &err), "bit %zu of byte %zu", bit % 8, bit / 8);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_ptr_nonnull(strstr(err.message, "000000010000000000000003.zst"));
        unseen_by_zstd += bit / 8 < stored.used - WAL_TRAILER_SIZE &&
                          ZSTD_decompress(plain, ONE_MB, stored.bytes, stored.used) == ONE_MB;
        stored.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ck_assert_uint_gt(unseen_by_zstd, 0);
    buffer_done(&stored);
}
END_TEST

START_TEST(any_zstd_reader_passes_over_the_trailer)
{
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);
    uint8_t *plain SCOPED(scoped_free) = memory_new(ONE_MB);

    hold_segment(1, 3);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
    struct buffer stored = repository_get(SEGMENT_3 ".zst");
    ck_assert_uint_eq(ZSTD_decompress(plain, ONE_MB, stored.bytes, stored.used), ONE_MB);
    ck_assert_int_eq(memcmp(plain, bytes, ONE_MB), 0);
    buffer_done(&stored);
}
END_TEST

START_TEST(a_segment_without_its_trailer_is_damaged)
{
    struct error err;

    hold_segment(1, 3);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
    struct buffer stored = repository_get(SEGMENT_3 ".zst");
    repository_put(SEGMENT_3 ".zst", stored.bytes, stored.used - WAL_TRAILER_SIZE);
    ck_assert(!can_read(3, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    memset(stored.bytes + stored.used - WAL_TRAILER_SIZE, 0, WAL_TRAILER_SIZE);
    repository_put(SEGMENT_3 ".zst", stored.bytes, stored.used);
    ck_assert(!can_read(3, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "it does not end with a trailer"));
    buffer_done(&stored);
}
END_TEST

START_TEST(bytes_behind_a_compressed_segment_are_noticed)
{
    static const uint8_t skippable[] = {0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0};
    struct error err;

    hold_segment(1, 3);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 1, &err));
    struct buffer stored = repository_get(SEGMENT_3 ".zst");
    stored.limit = 8 << 20;
    size_t size = stored.used;
    MUST(buffer_append(&stored, skippable, sizeof skippable, &err));
    for (size_t extra = 1; extra <= sizeof skippable; extra++) {
        repository_put(SEGMENT_3 ".zst", stored.bytes, size + extra);
        ck_assert(!can_read(3, &err));
        ck_assert_ptr_nonnull(strstr(err.message, "other bytes than its trailer"));
    }
    stored.used = size;
    MUST(buffer_append(&stored, stored.bytes, 0, &err));
    buffer_done(&stored);
}
END_TEST

static void put_with_trailer(const uint8_t *frame, size_t size)
{
    struct wal_trailer *trailer SCOPED(scoped_wal_trailer) = wal_trailer_new();
    uint8_t *stored SCOPED(scoped_free) = memory_new(size + WAL_TRAILER_SIZE);

    memcpy(stored, frame, size);
    wal_trailer_feed(trailer, frame, size);
    wal_trailer_make(trailer, stored + size);
    repository_put(SEGMENT_3 ".zst", stored, size + WAL_TRAILER_SIZE);
}

START_TEST(a_frame_of_another_size_or_without_checksum_is_no_segment)
{
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 3 + 1000);
    size_t room = ZSTD_compressBound(ONE_MB);
    uint8_t *stored SCOPED(scoped_free) = memory_new(room);

    put_with_trailer(stored, ZSTD_compress(stored, room, bytes, ONE_MB, 3));
    ck_assert(!can_read(3, &err));
    ZSTD_CCtx *compressor = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_checksumFlag, 1);
    put_with_trailer(stored, ZSTD_compress2(compressor, stored, room, bytes, ONE_MB - 1));
    ck_assert(!can_read(3, &err));
    /* What the zstd program makes at its default level is as good as ours. */
    put_with_trailer(stored, ZSTD_compress2(compressor, stored, room, bytes, ONE_MB));
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
    ZSTD_freeCCtx(compressor);
    repository_put(SEGMENT_3 ".zst", "", 0);
    ck_assert(!can_read(3, &err));
}
END_TEST

START_TEST(a_raw_segment_of_the_wrong_size_is_damage)
{
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB + 1, 3 + 1000);

    for (int size = ONE_MB - 1; size <= ONE_MB + 1; size += 2) {
        repository_put(SEGMENT_3, bytes, (size_t)size);
        ck_assert(!can_read(3, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert(!wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert(!repository_has(SEGMENT_3 ".zst"));
    }
}
END_TEST

START_TEST(segments_from_1_mb_to_1_gb_compress_and_read_back)
{
    static const uint32_t sizes[] = {1 << 20, 2 << 20, 4 << 20, 16 << 20, 1 << 30};
    struct error err;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t header[WAL_ZST_HEADER_MOST], found[WAL_ZST_HEADER_MOST], byte[3];
        size_t got = 0, size = wal_zst_header((struct wal_segment_size){sizes[i]}, header);
        struct wal_reader *reader = NULL;
        struct wal_segment segment = segment_of(2, 9);
        archive.segment_size.bytes = sizes[i];
        struct wal_partial *partial = NULL;
        MUST(wal_partial_open(&archive, segment, &partial, &err));
        wal_partial_free(partial);
        char *path SCOPED(scoped_free) = wal_segment_path(&archive, segment, ".partial");
        char *raw SCOPED(scoped_free) = wal_segment_path(&archive, segment, "");
        char *stored SCOPED(scoped_free) = wal_segment_path(&archive, segment, ".zst");
        ck_assert_int_eq(rename(path, raw), 0);
        ck_assert_int_eq(truncate(raw, sizes[i]), 0); /* a hole: quick to read */
        int fd SCOPED(scoped_close) = open(raw, O_WRONLY);
        ck_assert_int_eq(pwrite(fd, "end", 3, sizes[i] - 3), 3);
        MUST(wal_archive_compress(&archive, segment, 1, &err));
        int zst SCOPED(scoped_close) = open(stored, O_RDONLY);
        ck_assert_int_eq(pread(zst, found, size, 0), (ssize_t)size);
        ck_assert_int_eq(memcmp(found, header, size), 0);
        MUST(wal_reader_open(&archive, segment, &reader, &err));
        MUST(wal_reader_skip(reader, sizes[i] - 3, &err));
        MUST(wal_reader_next(reader, byte, sizeof byte, &got, &err));
        ck_assert_uint_eq(got, 3);
        ck_assert_int_eq(memcmp(byte, "end", 3), 0);
        MUST(wal_reader_next(reader, byte, sizeof byte, &got, &err));
        ck_assert_uint_eq(got, 0);
        wal_reader_free(reader);
        ck_assert_int_eq(unlink(stored), 0);
    }
    archive.segment_size.bytes = ONE_MB;
}
END_TEST

START_TEST(re_received_bytes_are_compared_in_every_state)
{
    static const uint32_t places[][2] = {{0, 1}, {0, ONE_MB}, {7, 4096}, {4096, 131072}, {ONE_MB - 1, 1}, {9, 0}};
    struct error err;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB + 1, 3 + 1000);

    for (int round = 0; round < 2; round++) {
        if (round == 0)
            hold_segment(1, 3);
        else
            MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            uint32_t at = places[i][0], size = places[i][1];
            MUST(wal_archive_compare(&archive, segment_of(1, 3), at, bytes + at, size, &err));
            if (size == 0)
                continue;
            bytes[at + size - 1] ^= 1;
            ck_assert(!wal_archive_compare(&archive, segment_of(1, 3), at, bytes + at, size, &err));
            bytes[at + size - 1] ^= 1;
            ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
            ck_assert_int_eq(err.errnum, EILSEQ);
        }
        ck_assert(!wal_archive_compare(&archive, segment_of(1, 3), 0, bytes, ONE_MB + 1, &err));
    }
    ck_assert(!wal_archive_compare(&archive, segment_of(1, 4), 0, bytes, 1, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_int_ne(err.errnum, EILSEQ);
}
END_TEST

START_TEST(the_segment_size_is_remembered_and_must_not_change)
{
    struct error err;
    struct wal_archive other;

    MUST(wal_archive_open(&repo, "primary", &system_id, (struct wal_segment_size){0}, &other, &err));
    ck_assert_uint_eq(other.segment_size.bytes, 0);
    struct wal_files files;
    MUST(wal_archive_list(&other, &files, &err));
    ck_assert_uint_eq(files.count, 0);
    hold_partial(1, 3, 10);
    MUST(wal_archive_open(&repo, "primary", &system_id, (struct wal_segment_size){0}, &other, &err));
    ck_assert_uint_eq(other.segment_size.bytes, ONE_MB);
    ck_assert(!wal_archive_open(&repo, "primary", &system_id, (struct wal_segment_size){16 << 20}, &other, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);

    static const char *const bad[] = {"", "{\"format\":1}", "{\"format\":1,\"segment_size\":3000000}",
                                      "{\"format\":1,\"segment_size\":16}", "{\"format\":9,\"segment_size\":1048576}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        repository_put("wal/segment_size.json", bad[i], strlen(bad[i]));
        ck_assert(!wal_archive_open(&repo, "primary", &system_id, (struct wal_segment_size){ONE_MB}, &other, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    }
    ck_assert_int_eq(unlink(repository_path("wal/segment_size.json")), 0);
    MUST(wal_archive_open(&repo, "primary", &system_id, (struct wal_segment_size){0}, &other, &err));
    ck_assert(!wal_archive_list(&other, &files, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "segment_size.json"));
}
END_TEST

START_TEST(a_segment_in_two_states_is_listed_once_and_strangers_never)
{
    static const char *const strangers[] = {FOLDER "000000010000000000000004.zst.tmp",
                                            FOLDER "000000010000000000000004.partial.suspect-1",
                                            FOLDER "000000010000000100000004",
                                            FOLDER "000000020000000000000004",
                                            FOLDER "00000001000000000000FFFF",
                                            FOLDER "README",
                                            "wal/0000000g/x",
                                            "wal/00000001/0000000/x"};
    struct error err;
    struct wal_files files;

    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        repository_put(strangers[i], "x", 1);
    hold_segment(2, 1);
    hold_segment(1, 0x1003);
    hold_segment(1, 3);
    struct buffer raw = repository_get(SEGMENT_3);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
    repository_put(SEGMENT_3, raw.bytes, raw.used);
    buffer_done(&raw);
    hold_partial(1, 0x1004, 77);

    MUST(wal_archive_list(&archive, &files, &err));
    ck_assert_uint_eq(files.count, 4);
    ck_assert_uint_eq(files.files[0].segment.number, 3);
    ck_assert_int_eq(files.files[0].state, WAL_FILE_COMPRESSED);
    ck_assert_uint_eq(files.files[1].segment.number, 0x1003);
    ck_assert_int_eq(files.files[2].state, WAL_FILE_PARTIAL);
    ck_assert_uint_eq(files.files[2].held_bytes, 77);
    ck_assert_uint_eq(files.files[3].segment.timeline.value, 2);
    wal_files_done(&files);
}
END_TEST

/* One step of a segment's way fails; afterwards a new start brings it to its end, and nothing is lost. */
START_TEST(compression_interrupted_anywhere_loses_nothing)
{
    struct error err;
    struct wal_segment *raw = NULL;
    size_t raw_count = 0;
    bool done = false;

    for (int n = 1; !done; n++) {
        hold_segment(1, 3);
        calls = 0;
        fail_at = n;
        done = wal_archive_compress(&archive, segment_of(1, 3), 3, &err);
        fail_at = 0;
        assert_holds(1, 3, stat_segment(1, 3).state);
        MUST(wal_archive_recover(&archive, &raw, &raw_count, &err));
        for (size_t i = 0; i < raw_count; i++)
            MUST(wal_archive_compress(&archive, raw[i], 3, &err));
        free(raw);
        assert_holds(1, 3, WAL_FILE_COMPRESSED);
        ck_assert(!repository_has(SEGMENT_3) && !repository_has(SEGMENT_3 ".zst.tmp"));
        ck_assert_int_eq(unlink(repository_path(SEGMENT_3 ".zst")), 0);
        ck_assert_int_lt(n, 20);
    }
}
END_TEST

START_TEST(a_start_cleans_up_what_a_kill_left)
{
    struct error err;
    struct wal_segment *raw = NULL;
    size_t raw_count = 0;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB + 1, 5 + 1000);

    hold_segment(1, 2); /* waits for compression */
    repository_put(FOLDER "000000010000000000000002.zst.tmp", "half", 4);
    hold_segment(1, 3); /* compressed, not yet removed */
    struct buffer copy = repository_get(SEGMENT_3);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
    repository_put(SEGMENT_3, copy.bytes, copy.used);
    repository_put(FOLDER "000000010000000000000005.partial", bytes, ONE_MB); /* whole, not renamed */
    hold_partial(1, 6, 100);                                                  /* simply unfinished */
    repository_put("wal/00000002.history.tmp", "1", 1);
    repository_put(FOLDER "000000010000000000000007.partial", bytes, ONE_MB + 1);
    repository_put(SEGMENT_3 ".partial", "x", 1); /* beside a finished one */
    repository_put(FOLDER "note.txt", "x", 1);

    MUST(wal_archive_recover(&archive, &raw, &raw_count, &err));
    ck_assert_uint_eq(raw_count, 1);
    ck_assert_uint_eq(raw[0].number, 2);
    free(raw);
    assert_holds(1, 2, WAL_FILE_RAW);
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
    assert_holds(1, 5, WAL_FILE_PARTIAL);
    assert_holds(1, 6, WAL_FILE_PARTIAL);
    ck_assert(!repository_has(FOLDER "000000010000000000000002.zst.tmp"));
    ck_assert(!repository_has(SEGMENT_3));
    ck_assert(!repository_has("wal/00000002.history.tmp"));
    ck_assert(repository_has(FOLDER "000000010000000000000007.partial.suspect-1"));
    ck_assert(repository_has(SEGMENT_3 ".partial.suspect-1"));
    ck_assert(repository_has(FOLDER "note.txt"));
    buffer_done(&copy);
}
END_TEST

START_TEST(a_partial_of_full_size_is_received_again_because_a_power_cut_may_have_left_zeros_in_it)
{
    struct error err;
    struct wal_segment *raw SCOPED(scoped_free) = NULL;
    size_t raw_count = 0;
    struct wal_partial *partial = NULL;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, 5 + 1000);
    uint8_t *left SCOPED(scoped_free) = make_bytes(ONE_MB, 5 + 1000);

    hold_segment(1, 4);
    memset(left + 8192, 0, 65536); /* of all that was written, these pages never came to the disk */
    repository_put(FOLDER "000000010000000000000005.partial", left, ONE_MB);
    MUST(wal_archive_recover(&archive, &raw, &raw_count, &err));
    ck_assert(!repository_has(FOLDER "000000010000000000000005"));
    MUST(wal_partial_open(&archive, segment_of(1, 5), &partial, &err));
    ck_assert_uint_eq(wal_partial_held(partial), ONE_MB - 1);
    MUST(wal_partial_write(partial, 0, bytes, ONE_MB, &err));
    MUST(wal_partial_sync(partial, &err));
    MUST(wal_partial_finish(partial, &err));
    wal_partial_free(partial);
    assert_holds(1, 5, WAL_FILE_RAW);
}
END_TEST

START_TEST(a_damaged_compressed_twin_does_not_cost_the_raw_segment)
{
    struct error err;
    struct wal_segment *raw = NULL;
    size_t raw_count = 0;

    hold_segment(1, 3);
    repository_put(SEGMENT_3 ".zst", "garbage", 7);
    MUST(wal_archive_recover(&archive, &raw, &raw_count, &err));
    ck_assert_uint_eq(raw_count, 1);
    free(raw);
    assert_holds(1, 3, WAL_FILE_RAW);
    ck_assert(repository_has(SEGMENT_3 ".zst.suspect-1"));
    repository_put(SEGMENT_3 ".zst", "garbage", 7);
    MUST(wal_archive_compress(&archive, segment_of(1, 3), 3, &err));
    assert_holds(1, 3, WAL_FILE_COMPRESSED);
}
END_TEST

/* The receiver's part, in a process of its own. */
static void bring_to_its_end(uint64_t number)
{
    struct error err;
    struct wal_partial *partial = NULL;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, (uint32_t)number + 1000);

    bool done = wal_partial_open(&archive, segment_of(1, number), &partial, &err) &&
                wal_partial_write(partial, 0, bytes, ONE_MB, &err) && wal_partial_sync(partial, &err) &&
                wal_partial_finish(partial, &err) && wal_archive_compress(&archive, segment_of(1, number), 1, &err);
    wal_partial_free(partial);
    _exit(done ? 0 : 1);
}

START_TEST(a_reader_beside_the_receiver_never_misses_a_segment)
{
    struct error err;
    struct wal_file file;

    for (uint64_t number = 1; number <= 40; number++) {
        int status = 0;
        enum wal_file_state before = WAL_FILE_PARTIAL;
        hold_partial(1, number, 10);
        pid_t child = fork();
        if (child == 0)
            bring_to_its_end(number);
        do {
            MUST(wal_archive_stat(&archive, segment_of(1, number), &file, &err));
            if (file.state < before)
                ck_abort_msg("segment %d went from state %d to %d", (int)number, before, file.state);
            before = file.state;
        } while (waitpid(child, &status, WNOHANG) == 0);
        ck_assert_int_eq(status, 0);
        assert_holds(1, number, WAL_FILE_COMPRESSED);
    }
}
END_TEST

START_TEST(a_start_on_an_empty_repository_does_nothing)
{
    struct error err;
    struct wal_segment *raw = NULL;
    size_t raw_count = 7;

    MUST(wal_archive_recover(&archive, &raw, &raw_count, &err));
    ck_assert_uint_eq(raw_count, 0);
    MUST(wal_archive_open(&repo, "unknown", &system_id, (struct wal_segment_size){0}, &archive, &err));
    MUST(wal_archive_recover(&archive, &raw, &raw_count, &err));
    ck_assert_uint_eq(raw_count, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wal_archive");

    tcase_add_checked_fixture(tests, repository_make, repository_remove);
    tcase_add_test(tests, a_segment_is_found_in_each_of_its_states);
    tcase_add_test(tests, an_opened_segment_outlives_its_name);
    tcase_add_test(tests, every_altered_or_missing_byte_of_a_compressed_segment_is_noticed);
    tcase_add_test(tests, every_flipped_bit_of_a_compressed_segment_is_found);
    tcase_add_test(tests, any_zstd_reader_passes_over_the_trailer);
    tcase_add_test(tests, a_segment_without_its_trailer_is_damaged);
    tcase_add_test(tests, bytes_behind_a_compressed_segment_are_noticed);
    tcase_add_test(tests, a_frame_of_another_size_or_without_checksum_is_no_segment);
    tcase_add_test(tests, a_raw_segment_of_the_wrong_size_is_damage);
    tcase_add_test(tests, segments_from_1_mb_to_1_gb_compress_and_read_back);
    tcase_add_test(tests, re_received_bytes_are_compared_in_every_state);
    tcase_add_test(tests, the_segment_size_is_remembered_and_must_not_change);
    tcase_add_test(tests, a_segment_in_two_states_is_listed_once_and_strangers_never);
    tcase_add_test(tests, compression_interrupted_anywhere_loses_nothing);
    tcase_add_test(tests, a_start_cleans_up_what_a_kill_left);
    tcase_add_test(tests, a_partial_of_full_size_is_received_again_because_a_power_cut_may_have_left_zeros_in_it);
    tcase_add_test(tests, a_damaged_compressed_twin_does_not_cost_the_raw_segment);
    tcase_add_test(tests, a_reader_beside_the_receiver_never_misses_a_segment);
    tcase_add_test(tests, a_start_on_an_empty_repository_does_nothing);
    return suite_run("wal_archive", tests);
}
