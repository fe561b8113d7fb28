#include "pgcoffer/stage/checksum.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "pgcoffer/base/crc32c.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

static const struct {
    const char *word;        /* as the manifest writes it */
    const char *digest_name; /* OpenSSL's; NULL when it is not one of its digests */
} algorithms[] = {
    [CHECKSUM_NONE] = {"NONE", NULL},         [CHECKSUM_CRC32C] = {"CRC32C", NULL},
    [CHECKSUM_SHA224] = {"SHA224", "SHA224"}, [CHECKSUM_SHA256] = {"SHA256", "SHA256"},
    [CHECKSUM_SHA384] = {"SHA384", "SHA384"}, [CHECKSUM_SHA512] = {"SHA512", "SHA512"},
};

struct checksum {
    enum checksum_algorithm algorithm;
    uint32_t crc32c;
    EVP_MD *digest; /* fetched once: a look-up for each of many small files would cost more than hashing them */
    EVP_MD_CTX *context;
};

/* A digest of OpenSSL's own over bytes in memory fails only for want of memory. */
static void demand(bool worked)
{
    if (worked)
        return;
    fputs("could not compute a checksum\n", stderr);
    abort();
}

bool checksum_algorithm_from_word(const char *word, enum checksum_algorithm *ret_algorithm)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
        if (strcasecmp(algorithms[i].word, word) == 0) {
            *ret_algorithm = (enum checksum_algorithm)i;
            return true;
        }
    return false;
}

const char *checksum_algorithm_word(enum checksum_algorithm algorithm)
{
    return algorithms[algorithm].word;
}

struct checksum *checksum_new(enum checksum_algorithm algorithm)
{
    struct checksum *checksum = memory_new(sizeof *checksum);

    checksum->algorithm = algorithm;
    if (algorithms[algorithm].digest_name != NULL) {
        checksum->digest = EVP_MD_fetch(NULL, algorithms[algorithm].digest_name, NULL);
        checksum->context = EVP_MD_CTX_new();
        demand(checksum->digest != NULL && checksum->context != NULL);
    }
    checksum_restart(checksum);
    return checksum;
}

void checksum_free(struct checksum *checksum)
{
    if (checksum == NULL)
        return;
    EVP_MD_CTX_free(checksum->context);
    EVP_MD_free(checksum->digest);
    free(checksum);
}

void checksum_restart(struct checksum *checksum)
{
    checksum->crc32c = 0;
    if (checksum->context != NULL)
        demand(EVP_DigestInit_ex(checksum->context, checksum->digest, NULL));
}

void checksum_update(struct checksum *checksum, const void *data, size_t size)
{
    if (checksum->algorithm == CHECKSUM_CRC32C)
        checksum->crc32c = crc32c_update(checksum->crc32c, data, size);
    else if (checksum->context != NULL)
        demand(EVP_DigestUpdate(checksum->context, data, size));
}

void checksum_final(struct checksum *checksum, char ret_hex[CHECKSUM_HEX_SIZE])
{
    uint8_t raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (checksum->algorithm == CHECKSUM_CRC32C)
        for (; size < sizeof checksum->crc32c; size++)
            raw[size] = (uint8_t)(checksum->crc32c >> 8 * size);
    else if (checksum->context != NULL)
        demand(EVP_DigestFinal_ex(checksum->context, raw, &size));
    text_from_hex_bytes(raw, size, ret_hex);
}
