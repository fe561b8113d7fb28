#include "stage/name_set_internal.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"

#define FIRST_CAPACITY 1024

/* All zero: no name here. */
struct name_hash {
    uint64_t words[2];
};

struct name_set {
    struct name_hash *slots;
    size_t capacity; /* a power of two */
    size_t used;
    EVP_MD *sha256;
    EVP_MD_CTX *digest;
};

struct name_set *name_set_new(void)
{
    struct name_set *set = memory_new(sizeof *set);

    set->capacity = FIRST_CAPACITY;
    set->slots = memory_new(set->capacity * sizeof *set->slots);
    set->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    set->digest = EVP_MD_CTX_new();
    return set;
}

void name_set_free(struct name_set *set)
{
    if (set == NULL)
        return;
    EVP_MD_CTX_free(set->digest);
    EVP_MD_free(set->sha256);
    free(set->slots);
    free(set);
}

static bool hash_name(struct name_set *set, const char *name, struct name_hash *ret_hash, struct error *err)
{
    unsigned char raw[EVP_MAX_MD_SIZE];

    if (set->sha256 == NULL || set->digest == NULL || !EVP_DigestInit_ex(set->digest, set->sha256, NULL) ||
        !EVP_DigestUpdate(set->digest, name, strlen(name)) || !EVP_DigestFinal_ex(set->digest, raw, NULL))
        return error_set(err, ERROR_FAILED, "could not compute SHA-256");
    memcpy(ret_hash->words, raw, sizeof ret_hash->words);
    return true;
}

static bool is_empty(const struct name_hash *slot)
{
    return slot->words[0] == 0 && slot->words[1] == 0;
}

/* The slot that holds `hash`, or the empty one where it belongs. */
static struct name_hash *find_slot(struct name_hash *slots, size_t capacity, const struct name_hash *hash)
{
    size_t at = (size_t)hash->words[0] & (capacity - 1);

    while (!is_empty(&slots[at]) && memcmp(&slots[at], hash, sizeof *hash) != 0)
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

/* At most three quarters are ever in use, so that searches stay short. */
static bool make_room(struct name_set *set, struct error *err)
{
    if (set->used < set->capacity / 4 * 3)
        return true;
    size_t capacity = set->capacity * 2;
    struct name_hash *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL)
        return error_set(err, ERROR_FAILED, "could not get memory for %zu names", capacity);
    for (size_t i = 0; i < set->capacity; i++)
        if (!is_empty(&set->slots[i]))
            *find_slot(slots, capacity, &set->slots[i]) = set->slots[i];
    free(set->slots);
    set->slots = slots;
    set->capacity = capacity;
    return true;
}

bool name_set_add(struct name_set *set, const char *name, bool *ret_is_new, struct error *err)
{
    struct name_hash hash;

    if (!hash_name(set, name, &hash, err) || !make_room(set, err))
        return false;
    struct name_hash *slot = find_slot(set->slots, set->capacity, &hash);
    *ret_is_new = is_empty(slot);
    if (!*ret_is_new)
        return true;
    if (set->used == NAME_SET_MOST)
        return error_set(err, ERROR_FAILED, "could not take another name: there are %u already", NAME_SET_MOST);
    *slot = hash;
    set->used++;
    return true;
}
