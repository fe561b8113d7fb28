#include "pg/lz4_wire_internal.h"

#include <archive.h>
#include <archive_entry.h>

#include "support/suite.h"

#define PLAIN_SIZE  300000
#define PACKED_SIZE 400000

static unsigned char plain[PLAIN_SIZE], packed[PACKED_SIZE];
static size_t packed_size;

/* The source gives `step` bytes a call, `most` in all, and fails when it may. */
static struct source {
    size_t at, step, most;
    bool fails_at_end;
} source;

static bool give(void *context, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    (void)context;
    size_t left = source.most - source.at;
    if (left == 0 && source.fails_at_end)
        return error_set(err, ERROR_SERVER, "the wire broke");
    *ret_bytes = packed + source.at;
    *ret_size = left < source.step ? left : source.step;
    source.at += *ret_size;
    return true;
}

static void pack(void)
{
    struct archive *archive = archive_write_new();
    struct archive_entry *entry = archive_entry_new();

    for (size_t i = 0; i < PLAIN_SIZE; i++)
        plain[i] = (unsigned char)(i * i / 97);
    archive_write_add_filter_lz4(archive);
    archive_write_set_format_raw(archive);
    ck_assert_int_eq(archive_write_open_memory(archive, packed, sizeof packed, &packed_size), ARCHIVE_OK);
    archive_entry_set_filetype(entry, AE_IFREG);
    ck_assert_int_eq(archive_write_header(archive, entry), ARCHIVE_OK);
    ck_assert_int_eq(archive_write_data(archive, plain, PLAIN_SIZE), PLAIN_SIZE);
    archive_write_close(archive);
    archive_write_free(archive);
    archive_entry_free(entry);
    ck_assert_uint_gt(packed_size, 0);
}

static bool unpack(size_t *ret_total, struct error *err)
{
    struct lz4_wire *wire = lz4_wire_new(give, NULL);
    const void *bytes = NULL;
    size_t size = 1;
    bool is_good = true;

    *ret_total = 0;
    while (is_good && size > 0) {
        is_good = lz4_wire_read(wire, &bytes, &size, err);
        if (is_good && size > 0) {
            ck_assert_uint_le(*ret_total + size, PLAIN_SIZE);
            ck_assert_mem_eq(bytes, plain + *ret_total, size);
            *ret_total += size;
        }
    }
    lz4_wire_free(wire);
    return is_good;
}

START_TEST(what_was_packed_comes_back_in_pieces_of_any_size)
{
    static const size_t steps[] = {1, 7, 4096, PACKED_SIZE};
    size_t total = 0;
    struct error err = {0};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        source = (struct source){.step = steps[i], .most = packed_size};
        ck_assert_msg(unpack(&total, &err), "%s", err.message);
        ck_assert_uint_eq(total, PLAIN_SIZE);
    }
}
END_TEST

START_TEST(a_failing_source_keeps_its_own_words)
{
    size_t total = 0;
    struct error err = {0};

    source = (struct source){.step = 100, .most = packed_size / 2, .fails_at_end = true};
    ck_assert(!unpack(&total, &err));
    ck_assert_str_eq(err.message, "the wire broke");
    source = (struct source){.step = 100, .most = 0, .fails_at_end = true};
    ck_assert(!unpack(&total, &err));
    ck_assert_str_eq(err.message, "the wire broke");
}
END_TEST

START_TEST(a_frame_cut_short_is_an_error)
{
    size_t total = 0;
    struct error err = {0};

    source = (struct source){.step = 4096, .most = packed_size / 2};
    ck_assert(!unpack(&total, &err));
    ck_assert_int_eq(err.kind, ERROR_SERVER);
    ck_assert_uint_lt(total, PLAIN_SIZE);
}
END_TEST

START_TEST(damaged_bytes_are_an_error)
{
    size_t total = 0;
    struct error err = {0};

    memset(packed + packed_size - 8, 0xff, 8);
    source = (struct source){.step = 4096, .most = packed_size};
    ck_assert(!unpack(&total, &err));
    ck_assert_int_eq(err.kind, ERROR_SERVER);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("lz4_wire");

    tcase_add_checked_fixture(tests, pack, NULL);
    tcase_add_test(tests, what_was_packed_comes_back_in_pieces_of_any_size);
    tcase_add_test(tests, a_failing_source_keeps_its_own_words);
    tcase_add_test(tests, a_frame_cut_short_is_an_error);
    tcase_add_test(tests, damaged_bytes_are_an_error);
    return suite_run("lz4_wire", tests);
}
