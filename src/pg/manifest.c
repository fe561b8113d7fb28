#include "pgcoffer/pg/manifest.h"

#include <assert.h>
#include <openssl/evp.h>

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/base/json.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define LINE_MOST     ((size_t)64 * 1024)
#define CHECKSUM_SIZE 65 /* SHA-256 in hex and the final NUL */

/* Which line is due; the server always writes them in this order. */
enum place { AT_VERSION, AT_HEAD, IN_FILES, AT_RANGES, IN_RANGES, AT_CHECKSUM, AT_END };

struct manifest_reader {
    struct manifest_handler handler;
    struct buffer line; /* a line that has not come whole yet */
    EVP_MD_CTX *digest;
    enum place place;
    unsigned long line_number;
    uint64_t version, system;
    char stated[CHECKSUM_SIZE], found[CHECKSUM_SIZE];
};

struct manifest_reader *manifest_reader_new(const struct manifest_handler *handler)
{
    struct manifest_reader *reader = memory_new(sizeof *reader);

    reader->handler = *handler;
    reader->line = BUFFER_WITH_LIMIT(LINE_MOST);
    reader->digest = EVP_MD_CTX_new();
    assert(reader->digest != NULL && EVP_DigestInit_ex(reader->digest, EVP_sha256(), NULL) == 1);
    return reader;
}

void manifest_reader_free(struct manifest_reader *reader)
{
    if (reader == NULL)
        return;
    buffer_done(&reader->line);
    EVP_MD_CTX_free(reader->digest);
    free(reader);
}

static bool damaged(const struct manifest_reader *reader, const char *message, struct error *err)
{
    return error_set(err, ERROR_INTEGRITY, "backup manifest, line %lu: %s", reader->line_number, message);
}

/* ---- rows: one JSON object a line ---- */

static json_t *parse_row(const struct manifest_reader *reader, const char *line, size_t size, struct error *err)
{
    if (size > 0 && line[size - 1] == ',')
        size--;
    json_t *row = json_parse_object(line, size, err);
    if (row == NULL)
        error_wrap(err, "backup manifest, line %lu", reader->line_number);
    return row;
}

/* A key of a newer format could change what the others mean. */
static bool check_keys(const struct manifest_reader *reader, const json_t *row, const char *const *known, size_t count,
                       struct error *err)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)row, key, value)
    {
        bool is_known = false;
        for (size_t i = 0; i < count; i++)
            is_known = is_known || strcmp(known[i], key) == 0;
        if (!is_known)
            return damaged(reader, "unknown key", err);
    }
    return true;
}

/* The name as raw bytes; NUL cannot be part of one. */
static bool decode_path(const struct manifest_reader *reader, const char *hex, struct buffer *ret_path,
                        struct error *err)
{
    size_t length = strlen(hex);

    if (length % 2 != 0)
        return damaged(reader, "Encoded-Path is not hexadecimal", err);
    for (size_t i = 0; i < length; i += 2) {
        uint64_t byte = 0;
        if (!text_parse_hex(hex + i, 2, &byte) || byte == 0)
            return damaged(reader, "Encoded-Path is not hexadecimal", err);
        uint8_t narrow = (uint8_t)byte;
        if (!buffer_append(ret_path, &narrow, 1, err))
            return false;
    }
    return buffer_append(ret_path, "", 1, err);
}

static bool take_path(const struct manifest_reader *reader, const json_t *row, struct buffer *decoded,
                      const char **ret_path, struct error *err)
{
    const char *plain = json_text_or_null(row, "Path");
    const char *encoded = json_text_or_null(row, "Encoded-Path");

    if ((plain == NULL) == (encoded == NULL))
        return damaged(reader, "a file needs either Path or Encoded-Path", err);
    if (encoded != NULL && !decode_path(reader, encoded, decoded, err))
        return false;
    *ret_path = plain != NULL ? plain : (const char *)decoded->bytes;
    return **ret_path != '\0' || damaged(reader, "a file has no name", err);
}

static bool take_checksum(const struct manifest_reader *reader, const json_t *row, struct manifest_file *file,
                          struct error *err)
{
    const char *algorithm = json_text_or_null(row, "Checksum-Algorithm");
    const char *checksum = json_text_or_null(row, "Checksum");

    if (algorithm == NULL && checksum == NULL)
        return true;
    if (algorithm == NULL || checksum == NULL)
        return damaged(reader, "a checksum needs its algorithm", err);
    size_t length = strlen(checksum);
    if (strlen(algorithm) >= sizeof file->algorithm || length == 0 || length >= sizeof file->checksum ||
        strspn(checksum, "0123456789abcdef") != length)
        return damaged(reader, "a checksum is not one", err);
    snprintf(file->algorithm, sizeof file->algorithm, "%s", algorithm);
    snprintf(file->checksum, sizeof file->checksum, "%s", checksum);
    return true;
}

static bool read_file_row(struct manifest_reader *reader, const char *line, size_t size, struct error *err)
{
    static const char *const known[] = {"Path",          "Encoded-Path",       "Size",
                                        "Last-Modified", "Checksum-Algorithm", "Checksum"};
    json_t *row SCOPED(scoped_json) = parse_row(reader, line, size, err);
    struct buffer decoded SCOPED(buffer_done) = BUFFER_WITH_LIMIT(LINE_MOST);
    struct manifest_file file = {0};
    int64_t file_size = 0;

    if (row == NULL || !check_keys(reader, row, known, sizeof known / sizeof *known, err) ||
        !take_path(reader, row, &decoded, &file.path, err) || !take_checksum(reader, row, &file, err))
        return false;
    if (!json_get_number(row, "Size", 0, INT64_MAX, &file_size, err))
        return error_wrap(err, "backup manifest, line %lu", reader->line_number);
    file.size = (uint64_t)file_size;
    return reader->handler.file == NULL || reader->handler.file(reader->handler.context, &file, err);
}

static bool take_position(const struct manifest_reader *reader, const json_t *row, const char *key,
                          struct wal_position *ret_position, struct error *err)
{
    const char *text = json_text_or_null(row, key);
    struct error ignored;

    return (text != NULL && wal_position_parse(text, ret_position, &ignored)) ||
           damaged(reader, "a WAL range has no positions", err);
}

static bool read_range_row(struct manifest_reader *reader, const char *line, size_t size, struct error *err)
{
    static const char *const known[] = {"Timeline", "Start-LSN", "End-LSN"};
    json_t *row SCOPED(scoped_json) = parse_row(reader, line, size, err);
    struct manifest_range range = {0};
    int64_t timeline = 0;

    if (row == NULL || !check_keys(reader, row, known, sizeof known / sizeof *known, err))
        return false;
    if (!json_get_number(row, "Timeline", 1, UINT32_MAX, &timeline, err))
        return error_wrap(err, "backup manifest, line %lu", reader->line_number);
    range.timeline.value = (uint32_t)timeline;
    if (!take_position(reader, row, "Start-LSN", &range.start, err) ||
        !take_position(reader, row, "End-LSN", &range.end, err))
        return false;
    if (range.end.value < range.start.value)
        return damaged(reader, "a WAL range ends before it starts", err);
    return reader->handler.range == NULL || reader->handler.range(reader->handler.context, &range, err);
}

/* ---- lines between the rows ---- */

/* `"Key": 123,` behind `prefix`, by hand: the system identifier needs all 64 bits. */
static bool take_number(const char *line, size_t size, const char *prefix, uint64_t *ret_number)
{
    char digits[24];
    size_t skip = strlen(prefix);

    if (size < skip + 2 || memcmp(line, prefix, skip) != 0 || line[size - 1] != ',' || size - skip - 1 >= sizeof digits)
        return false;
    snprintf(digits, sizeof digits, "%.*s", (int)(size - skip - 1), line + skip);
    return text_parse_unsigned(digits, UINT64_MAX, ret_number);
}

static bool is_line(const char *line, size_t size, const char *expected)
{
    return size == strlen(expected) && memcmp(line, expected, size) == 0;
}

static bool read_version(struct manifest_reader *reader, const char *line, size_t size, struct error *err)
{
    if (!take_number(line, size, "{ \"PostgreSQL-Backup-Manifest-Version\": ", &reader->version))
        return damaged(reader, "it does not begin as a backup manifest", err);
    if (reader->version != 1 && reader->version != 2) {
        damaged(reader, "its version is not 1 or 2", err);
        return error_hint(err, "Use a newer pgcoffer for this server.");
    }
    reader->place = AT_HEAD;
    return true;
}

static bool read_head(struct manifest_reader *reader, const char *line, size_t size, struct error *err)
{
    if (reader->version == 2 && reader->system == 0) {
        if (take_number(line, size, "\"System-Identifier\": ", &reader->system) && reader->system != 0)
            return true;
        return damaged(reader, "the system identifier is missing", err);
    }
    if (!is_line(line, size, "\"Files\": ["))
        return damaged(reader, "the list of files is missing", err);
    reader->place = IN_FILES;
    return true;
}

static bool read_checksum(struct manifest_reader *reader, const char *line, size_t size, struct error *err)
{
    static const char prefix[] = "\"Manifest-Checksum\": \"";
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;

    if (size != strlen(prefix) + CHECKSUM_SIZE - 1 + strlen("\"}") || memcmp(line, prefix, strlen(prefix)) != 0 ||
        memcmp(line + size - 2, "\"}", 2) != 0)
        return damaged(reader, "the manifest's own checksum is missing", err);
    memcpy(reader->stated, line + strlen(prefix), CHECKSUM_SIZE - 1);
    assert(EVP_DigestFinal_ex(reader->digest, digest, &digest_size) == 1);
    text_from_hex_bytes(digest, digest_size, reader->found);
    reader->place = AT_END;
    return true;
}

static bool read_line(struct manifest_reader *reader, const char *line, size_t size, struct error *err)
{
    bool is_list_end = is_line(line, size, "],");

    reader->line_number++;
    /* The checksum covers every line but its own. */
    if (reader->place != AT_CHECKSUM &&
        (EVP_DigestUpdate(reader->digest, line, size) != 1 || EVP_DigestUpdate(reader->digest, "\n", 1) != 1))
        return error_set(err, ERROR_FAILED, "could not compute the checksum of the backup manifest");
    switch (reader->place) {
    case AT_VERSION:
        return read_version(reader, line, size, err);
    case AT_HEAD:
        return read_head(reader, line, size, err);
    case IN_FILES:
        if (!is_list_end)
            return read_file_row(reader, line, size, err);
        reader->place = AT_RANGES;
        return true;
    case AT_RANGES:
        if (!is_line(line, size, "\"WAL-Ranges\": ["))
            return damaged(reader, "the WAL ranges are missing", err);
        reader->place = IN_RANGES;
        return true;
    case IN_RANGES:
        if (!is_list_end)
            return read_range_row(reader, line, size, err);
        reader->place = AT_CHECKSUM;
        return true;
    case AT_CHECKSUM:
        return read_checksum(reader, line, size, err);
    case AT_END:
        return damaged(reader, "there is something behind the end", err);
    }
    return true;
}

static bool keep(struct manifest_reader *reader, const char *bytes, size_t size, struct error *err)
{
    if (size > LINE_MOST - reader->line.used)
        return damaged(reader, "the next line is longer than 64 KiB", err);
    return buffer_append(&reader->line, bytes, size, err);
}

bool manifest_reader_feed(struct manifest_reader *reader, const void *bytes, size_t size, struct error *err)
{
    const char *next = bytes;

    while (size > 0) {
        const char *newline = memchr(next, '\n', size);
        size_t length = newline == NULL ? size : (size_t)(newline - next);
        bool is_whole = reader->line.used == 0 && newline != NULL && length <= LINE_MOST;

        if (is_whole && !read_line(reader, next, length, err))
            return false;
        if (!is_whole && !keep(reader, next, length, err))
            return false;
        if (!is_whole && newline != NULL) {
            if (!read_line(reader, (const char *)reader->line.bytes, reader->line.used, err))
                return false;
            reader->line.used = 0;
        }
        length += newline != NULL;
        next += length;
        size -= length;
    }
    return true;
}

bool manifest_reader_finish(struct manifest_reader *reader, uint64_t *ret_system, struct error *err)
{
    if (reader->place != AT_END || reader->line.used > 0)
        return error_set(err, ERROR_INTEGRITY, "backup manifest: it ends after line %lu, before its own end",
                         reader->line_number);
    if (strcmp(reader->stated, reader->found) != 0)
        return error_set(err, ERROR_INTEGRITY, "backup manifest: its checksum is %s, and it says %s", reader->found,
                         reader->stated);
    *ret_system = reader->system;
    return true;
}
