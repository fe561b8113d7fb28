#ifndef PGCOFFER_TEST_STAGE_TAR_BUILDER_H
#define PGCOFFER_TEST_STAGE_TAR_BUILDER_H

#include <string.h>

#include "stage/capture.h"

/* Tars made by hand, as PostgreSQL makes them, so that they can be wrong in one chosen way. */
struct tar_entry {
    const char *name;
    char type; /* '0' file, '5' directory, '1' hard link, '2' symbolic link, ... */
    uint64_t size;
    const void *data; /* NULL: the caller appends it */
    unsigned mode;    /* 0: 0600 */
    const char *link;
};

static inline void tar_append(struct buffer *tar, const void *data, size_t size)
{
    ck_assert_works(buffer_append(tar, data, size, err));
}

static inline void tar_pad(struct buffer *tar)
{
    static const char zeros[512];

    tar_append(tar, zeros, (512 - tar->used % 512) % 512);
}

static inline void tar_put_number(char *field, size_t size, uint64_t number)
{
    if (number < UINT64_C(1) << (3 * (size - 1))) {
        for (size_t i = size - 1; i > 0; i--, number >>= 3)
            field[i - 1] = (char)('0' + (number & 7));
        field[size - 1] = ' ';
        return;
    }
    for (size_t i = size; i > 1; i--, number >>= 8)
        field[i - 1] = (char)(number & 0xFF);
    field[0] = (char)0x80;
}

static inline void tar_add(struct buffer *tar, struct tar_entry entry)
{
    char header[512] = "";
    unsigned sum = 0;
    size_t name_size = strlen(entry.name);

    if (name_size > 99) {
        tar_add(tar,
                (struct tar_entry){.name = "././@LongLink", .type = 'L', .size = name_size + 1, .data = entry.name});
        name_size = 99;
    }
    memcpy(header, entry.name, name_size);
    tar_put_number(header + 100, 8, entry.mode ? entry.mode : 0600);
    tar_put_number(header + 108, 8, 1234);
    tar_put_number(header + 116, 8, 5678);
    tar_put_number(header + 124, 12, entry.size);
    tar_put_number(header + 136, 12, 1700000000);
    header[156] = entry.type;
    if (entry.link != NULL)
        memcpy(header + 157, entry.link, strlen(entry.link));
    memcpy(header + 257, "ustar\00000", 8);
    memcpy(header + 265, "alice", 5);
    memcpy(header + 297, "users", 5);
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < sizeof header; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 7, "%06o", sum);
    tar_append(tar, header, sizeof header);
    if (entry.data != NULL) {
        tar_append(tar, entry.data, entry.size);
        tar_pad(tar);
    }
}

static inline void tar_end(struct buffer *tar)
{
    static const char zeros[1024];

    tar_append(tar, zeros, sizeof zeros);
}

#endif
