#include "pgcoffer/repo/wal_trailer.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"

/* RFC 8878, section 3.1.2: any of 0x184D2A50 to 5F begins a skippable frame; 5E is that of seek tables. */
#define SKIPPABLE_MAGIC UINT32_C(0x184D2A57)
#define SHA256_SIZE     32

static const uint8_t tag[4] = {'P', 'G', 'C', 'S'}; /* this skippable frame is ours */

struct wal_trailer {
    EVP_MD_CTX *sha256;
};

/* It fails for want of memory only. */
static void must(int done)
{
    if (done == 1)
        return;
    fputs("could not compute SHA-256\n", stderr);
    abort();
}

struct wal_trailer *wal_trailer_new(void)
{
    struct wal_trailer *trailer = memory_new(sizeof *trailer);

    trailer->sha256 = EVP_MD_CTX_new();
    must(trailer->sha256 != NULL && EVP_DigestInit_ex(trailer->sha256, EVP_sha256(), NULL));
    return trailer;
}

void wal_trailer_free(struct wal_trailer *trailer)
{
    if (trailer == NULL)
        return;
    EVP_MD_CTX_free(trailer->sha256);
    free(trailer);
}

void wal_trailer_feed(struct wal_trailer *trailer, const void *bytes, size_t size)
{
    must(EVP_DigestUpdate(trailer->sha256, bytes, size));
}

static void put_number(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

void wal_trailer_make(struct wal_trailer *trailer, uint8_t ret_bytes[WAL_TRAILER_SIZE])
{
    put_number(ret_bytes, SKIPPABLE_MAGIC);
    put_number(ret_bytes + 4, sizeof tag + SHA256_SIZE);
    memcpy(ret_bytes + 8, tag, sizeof tag);
    must(EVP_DigestFinal_ex(trailer->sha256, ret_bytes + 8 + sizeof tag, NULL));
}

bool wal_trailer_check(struct wal_trailer *trailer, const uint8_t found[WAL_TRAILER_SIZE], struct error *err)
{
    uint8_t expected[WAL_TRAILER_SIZE];

    wal_trailer_make(trailer, expected);
    if (memcmp(found, expected, WAL_TRAILER_SIZE - SHA256_SIZE) != 0)
        return error_set(err, ERROR_INTEGRITY, "it does not end with a trailer");
    return memcmp(found, expected, WAL_TRAILER_SIZE) == 0 ||
           error_set(err, ERROR_INTEGRITY, "the SHA-256 in its trailer is not that of its bytes");
}
