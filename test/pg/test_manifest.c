#include "pgcoffer/pg/manifest.h"

#include <openssl/evp.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/text.h"
#include "support/suite.h"

#define VERSION_1 "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n"
#define VERSION_2 "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 18446744073709551615,\n"
#define FILES     "\"Files\": [\n"
#define LABEL                                                                                                          \
    "{ \"Path\": \"backup_label\", \"Size\": 203, \"Last-Modified\": \"2026-11-22 00:06:37 GMT\", "                    \
    "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"8a744722\" }"
#define CONTROL "{ \"Encoded-Path\": \"676cff\", \"Size\": 8192, \"Last-Modified\": \"2026-11-22 00:06:37 GMT\" }"
#define RANGES                                                                                                         \
    "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 3, \"Start-LSN\": \"0/1600028\", \"End-LSN\": \"1/120\" }\n],\n"

/* What the reader told. */
static struct seen {
    unsigned files, ranges;
    char paths[128], algorithm[16], checksum[129];
    uint64_t sizes;
    struct manifest_range range;
} seen;

static bool see_file(void *context, const struct manifest_file *file, struct error *err)
{
    (void)context;
    (void)err;
    size_t used = strlen(seen.paths);
    snprintf(seen.paths + used, sizeof seen.paths - used, "%s;", file->path);
    seen.files++;
    seen.sizes += file->size;
    if (file->algorithm[0] != '\0') {
        memcpy(seen.algorithm, file->algorithm, sizeof seen.algorithm);
        memcpy(seen.checksum, file->checksum, sizeof seen.checksum);
    }
    return true;
}

static bool see_range(void *context, const struct manifest_range *range, struct error *err)
{
    (void)context;
    (void)err;
    seen.ranges++;
    seen.range = *range;
    return true;
}

/* Ends `text` with the line that covers it, as the server does. */
static struct buffer seal(const char *text)
{
    struct buffer bytes = BUFFER_WITH_LIMIT(1 << 20);
    uint8_t digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1], line[256];
    unsigned size = 0;
    struct error err;

    ck_assert(EVP_Digest(text, strlen(text), digest, &size, EVP_sha256(), NULL));
    text_from_hex_bytes(digest, size, hex);
    snprintf(line, sizeof line, "\"Manifest-Checksum\": \"%s\"}\n", hex);
    ck_assert(buffer_append(&bytes, text, strlen(text), &err) && buffer_append(&bytes, line, strlen(line), &err));
    return bytes;
}

static bool read_bytes(const void *bytes, size_t size, size_t step, uint64_t *ret_system, struct error *err)
{
    struct manifest_handler handler = {.file = see_file, .range = see_range};
    struct manifest_reader *reader = manifest_reader_new(&handler);
    bool is_good = true;

    seen = (struct seen){0};
    for (size_t at = 0; is_good && at < size; at += step)
        is_good = manifest_reader_feed(reader, (const char *)bytes + at, size - at < step ? size - at : step, err);
    is_good = is_good && manifest_reader_finish(reader, ret_system, err);
    manifest_reader_free(reader);
    return is_good;
}

static bool read_sealed(const char *text, size_t step, uint64_t *ret_system, struct error *err)
{
    struct buffer bytes SCOPED(buffer_done) = seal(text);

    return read_bytes(bytes.bytes, bytes.used, step, ret_system, err);
}

START_TEST(a_manifest_is_read_in_pieces_of_any_size)
{
    static const size_t steps[] = {1, 7, 4096, SIZE_MAX / 2};
    uint64_t system = 1;
    struct error err = {0};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        ck_assert_msg(read_sealed(VERSION_1 FILES LABEL ",\n" CONTROL RANGES, steps[i], &system, &err), "%s",
                      err.message);
        ck_assert_uint_eq(system, 0);
        ck_assert_uint_eq(seen.files, 2);
        ck_assert_uint_eq(seen.sizes, 203 + 8192);
        ck_assert_str_eq(seen.paths, "backup_label;gl\xff;");
        ck_assert_str_eq(seen.algorithm, "CRC32C");
        ck_assert_str_eq(seen.checksum, "8a744722");
        ck_assert_uint_eq(seen.ranges, 1);
        ck_assert_uint_eq(seen.range.timeline.value, 3);
        ck_assert_uint_eq(seen.range.start.value, 0x1600028);
        ck_assert_uint_eq(seen.range.end.value, UINT64_C(0x100000120));
    }
}
END_TEST

START_TEST(version_2_tells_the_whole_system_identifier)
{
    uint64_t system = 0;
    struct error err = {0};

    ck_assert_msg(read_sealed(VERSION_2 FILES LABEL RANGES, 4096, &system, &err), "%s", err.message);
    ck_assert_uint_eq(system, UINT64_MAX);
}
END_TEST

START_TEST(a_changed_byte_is_found)
{
    struct buffer bytes SCOPED(buffer_done) = seal(VERSION_1 FILES LABEL RANGES);
    uint64_t system = 0;
    struct error err = {0};

    char *digit = strstr((char *)bytes.bytes, "203");
    *digit = '4';
    ck_assert(!read_bytes(bytes.bytes, bytes.used, 4096, &system, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    ck_assert_ptr_nonnull(strstr(err.message, "checksum"));
}
END_TEST

START_TEST(a_manifest_cut_anywhere_is_an_error)
{
    struct buffer bytes SCOPED(buffer_done) = seal(VERSION_1 FILES LABEL RANGES);
    uint64_t system = 0;

    for (size_t size = 0; size < bytes.used; size++) {
        struct error err = {0};
        ck_assert(!read_bytes(bytes.bytes, size, 4096, &system, &err));
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
    }
}
END_TEST

START_TEST(malformed_manifests_are_errors_with_their_line)
{
    static const char *const texts[] = {
        "[]\n",
        "{ \"PostgreSQL-Backup-Manifest-Version\": 3,\n" FILES LABEL RANGES,
        "{ \"PostgreSQL-Backup-Manifest-Version\": x,\n" FILES LABEL RANGES,
        VERSION_2 "\"System-Identifier\": 5,\n" FILES LABEL RANGES,
        "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n" FILES LABEL RANGES,
        VERSION_1 LABEL RANGES,
        VERSION_1 FILES "{ \"Path\": \"a\" }" RANGES,
        VERSION_1 FILES "{ \"Size\": 1 }" RANGES,
        VERSION_1 FILES "{ \"Path\": \"a\", \"Encoded-Path\": \"61\", \"Size\": 1 }" RANGES,
        VERSION_1 FILES "{ \"Encoded-Path\": \"6\", \"Size\": 1 }" RANGES,
        VERSION_1 FILES "{ \"Encoded-Path\": \"00\", \"Size\": 1 }" RANGES,
        VERSION_1 FILES "{ \"Encoded-Path\": \"zz\", \"Size\": 1 }" RANGES,
        VERSION_1 FILES "{ \"Path\": \"\", \"Size\": 1 }" RANGES,
        VERSION_1 FILES "{ \"Path\": \"a\", \"Size\": -1 }" RANGES,
        VERSION_1 FILES "{ \"Path\": \"a\", \"Size\": 1, \"Surprise\": 1 }" RANGES,
        VERSION_1 FILES "{ \"Path\": \"a\", \"Size\": 1, \"Checksum\": \"00\" }" RANGES,
        VERSION_1 FILES "{ \"Path\": \"a\", \"Size\": 1, \"Checksum-Algorithm\": \"X\", \"Checksum\": \"0G\" }" RANGES,
        VERSION_1 FILES "{ \"Path\": \"a\", \"Path\": \"b\", \"Size\": 1 }" RANGES,
        VERSION_1 FILES LABEL "\n],\n\"Surprise\": [\n],\n",
        VERSION_1 FILES LABEL
        "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 0, \"Start-LSN\": \"0/1\", \"End-LSN\": \"0/2\" "
        "}\n],\n",
        VERSION_1 FILES LABEL
        "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/3\", \"End-LSN\": \"0/2\" "
        "}\n],\n",
        VERSION_1 FILES LABEL "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"End-LSN\": \"0/2\" }\n],\n",
        VERSION_1 FILES LABEL RANGES "\"Manifest-Checksum\": \"short\"}\n",
    };
    uint64_t system = 0;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct error err = {0};
        ck_assert_msg(!read_sealed(texts[i], 4096, &system, &err), "%s", texts[i]);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        ck_assert_msg(strstr(err.message, "backup manifest") != NULL, "%s", err.message);
    }
}
END_TEST

START_TEST(a_line_without_an_end_has_a_ceiling)
{
    static char line[70000];
    struct manifest_handler handler = {0};
    struct error err = {0};

    memset(line, 'x', sizeof line);
    for (size_t step = 1000; step <= sizeof line; step += 69000) {
        struct manifest_reader *reader = manifest_reader_new(&handler);
        bool is_good = true;
        for (size_t at = 0; is_good && at + step <= sizeof line; at += step)
            is_good = manifest_reader_feed(reader, line + at, step, &err);
        ck_assert(!is_good);
        ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
        manifest_reader_free(reader);
    }
}
END_TEST

START_TEST(bytes_behind_the_end_are_an_error)
{
    struct buffer bytes SCOPED(buffer_done) = seal(VERSION_1 FILES LABEL RANGES);
    uint64_t system = 0;
    struct error err = {0};

    ck_assert(buffer_append(&bytes, "x", 1, &err));
    ck_assert(!read_bytes(bytes.bytes, bytes.used, 4096, &system, &err));
    ck_assert(buffer_append(&bytes, "\n", 1, &err));
    ck_assert(!read_bytes(bytes.bytes, bytes.used, 4096, &system, &err));
    ck_assert_int_eq(err.kind, ERROR_INTEGRITY);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("manifest");

    tcase_add_test(tests, a_manifest_is_read_in_pieces_of_any_size);
    tcase_add_test(tests, version_2_tells_the_whole_system_identifier);
    tcase_add_test(tests, a_changed_byte_is_found);
    tcase_add_test(tests, a_manifest_cut_anywhere_is_an_error);
    tcase_add_test(tests, malformed_manifests_are_errors_with_their_line);
    tcase_add_test(tests, a_line_without_an_end_has_a_ceiling);
    tcase_add_test(tests, bytes_behind_the_end_are_an_error);
    return suite_run("manifest", tests);
}
