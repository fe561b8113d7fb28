#include "jobs/file_table_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/stage/checksum.h"

#define DIGEST_BYTES   16
#define FIRST_SLOTS    1024
#define SEEN_BIT       (UINT64_C(1) << 63)
#define OCCUPIED_BIT   (UINT64_C(1) << 62)
#define SIZE_MASK      (OCCUPIED_BIT - 1)
#define FULLEST_NUMBER 4 /* of five slots: 200 000 files fit into 2^18 */
#define FULLEST_OF     5

struct slot {
    uint8_t path[DIGEST_BYTES];
    uint8_t checksum[DIGEST_BYTES];
    uint64_t size_and_marks;
};

struct file_table {
    struct slot *slots;
    size_t slot_count; /* a power of two */
    size_t used;
    size_t matched;
    struct checksum *digest;
};

struct file_table *file_table_new(void)
{
    struct file_table *table = memory_new(sizeof *table);

    table->slots = memory_new(FIRST_SLOTS * sizeof *table->slots);
    table->slot_count = FIRST_SLOTS;
    table->digest = checksum_new(CHECKSUM_SHA256);
    return table;
}

void file_table_free(struct file_table *table)
{
    if (table == NULL)
        return;
    checksum_free(table->digest);
    free(table->slots);
    free(table);
}

static unsigned hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return (unsigned)(digit - '0');
    if (digit >= 'a' && digit <= 'f')
        return (unsigned)(digit - 'a') + 10;
    if (digit >= 'A' && digit <= 'F')
        return (unsigned)(digit - 'A') + 10;
    return 0;
}

/* The first 16 bytes of a hex text; a shorter one is completed with zeros. */
static void first_bytes(const char *hex, uint8_t ret_bytes[DIGEST_BYTES])
{
    memset(ret_bytes, 0, DIGEST_BYTES);
    for (size_t i = 0; i < DIGEST_BYTES && hex[2 * i] != '\0' && hex[2 * i + 1] != '\0'; i++)
        ret_bytes[i] = (uint8_t)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
}

static void digest_path(struct file_table *table, const char *path, uint8_t ret_bytes[DIGEST_BYTES])
{
    char hex[CHECKSUM_HEX_SIZE];

    checksum_restart(table->digest);
    checksum_update(table->digest, path, strlen(path));
    checksum_final(table->digest, hex);
    first_bytes(hex, ret_bytes);
}

/* The slot of that path, or the free one where it would go. */
static struct slot *find_slot(struct slot *slots, size_t slot_count, const uint8_t path[DIGEST_BYTES])
{
    uint64_t hash;

    memcpy(&hash, path, sizeof hash);
    for (size_t i = (size_t)hash & (slot_count - 1);; i = (i + 1) & (slot_count - 1)) {
        struct slot *slot = &slots[i];
        if ((slot->size_and_marks & OCCUPIED_BIT) == 0 || memcmp(slot->path, path, DIGEST_BYTES) == 0)
            return slot;
    }
}

static bool make_room(struct file_table *table, struct error *err)
{
    size_t more = table->slot_count * 2;

    if ((table->used + 1) * FULLEST_OF <= table->slot_count * FULLEST_NUMBER)
        return true;
    if (more > FILE_TABLE_MOST_FILES)
        return error_set(err, ERROR_FAILED, "the backup has too many files (over %zu)", table->used);
    struct slot *slots = calloc(more, sizeof *slots);
    if (slots == NULL)
        return error_set(err, ERROR_FAILED, "no memory to remember %zu files", table->used);
    for (size_t i = 0; i < table->slot_count; i++)
        if ((table->slots[i].size_and_marks & OCCUPIED_BIT) != 0)
            *find_slot(slots, more, table->slots[i].path) = table->slots[i];
    free(table->slots);
    table->slots = slots;
    table->slot_count = more;
    return true;
}

static bool refuse(struct error *err, const char *path, const char *what)
{
    char printable[512];

    snprintf(printable, sizeof printable, "%s", path);
    text_make_printable(printable);
    return error_set(err, ERROR_INTEGRITY, "file \"%s\" %s", printable, what);
}

bool file_table_add(struct file_table *table, const char *path, uint64_t size, const char *checksum, struct error *err)
{
    uint8_t digest[DIGEST_BYTES];

    if (!make_room(table, err))
        return false;
    digest_path(table, path, digest);
    struct slot *slot = find_slot(table->slots, table->slot_count, digest);
    if ((slot->size_and_marks & OCCUPIED_BIT) != 0)
        return refuse(err, path, "came twice");
    memcpy(slot->path, digest, DIGEST_BYTES);
    first_bytes(checksum, slot->checksum);
    slot->size_and_marks = (size & SIZE_MASK) | OCCUPIED_BIT;
    table->used++;
    return true;
}

bool file_table_match(struct file_table *table, const char *path, uint64_t size, const char *checksum,
                      struct error *err)
{
    uint8_t digest[DIGEST_BYTES];
    uint8_t wanted[DIGEST_BYTES];
    char what[128];

    digest_path(table, path, digest);
    struct slot *slot = find_slot(table->slots, table->slot_count, digest);
    if ((slot->size_and_marks & OCCUPIED_BIT) == 0)
        return refuse(err, path, "is in the server's manifest but not in the backup");
    if ((slot->size_and_marks & SEEN_BIT) != 0)
        return refuse(err, path, "is in the server's manifest twice");
    if ((slot->size_and_marks & SIZE_MASK) != size) {
        snprintf(what, sizeof what, "has %" PRIu64 " bytes, but %" PRIu64 " in the server's manifest",
                 slot->size_and_marks & SIZE_MASK, size);
        return refuse(err, path, what);
    }
    first_bytes(checksum, wanted);
    if (memcmp(slot->checksum, wanted, DIGEST_BYTES) != 0)
        return refuse(err, path, "has another checksum than in the server's manifest");
    slot->size_and_marks |= SEEN_BIT;
    table->matched++;
    return true;
}

size_t file_table_unmatched(const struct file_table *table)
{
    return table->used - table->matched;
}

bool file_table_is_unmatched(struct file_table *table, const char *path)
{
    uint8_t digest[DIGEST_BYTES];

    digest_path(table, path, digest);
    const struct slot *slot = find_slot(table->slots, table->slot_count, digest);
    return (slot->size_and_marks & (OCCUPIED_BIT | SEEN_BIT)) == OCCUPIED_BIT;
}

void file_table_manifest_path(uint32_t tablespace_oid, const char *member_path, char *ret_path, size_t size)
{
    if (tablespace_oid == 0)
        snprintf(ret_path, size, "%s", member_path);
    else
        snprintf(ret_path, size, "pg_tblspc/%" PRIu32 "/%s", tablespace_oid, member_path);
}
