#include <openssl/evp.h>
#include <stdlib.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/stage/stages.h"

struct digest_stage {
    struct stage stage; /* must be first */
    EVP_MD_CTX *sha256;
    uint64_t size;
    struct digest_result *ret_result; /* borrowed from the caller, filled at finish */
};

static bool digest_open(struct stage *stage, const char *object_name, struct error *err)
{
    struct digest_stage *self = (struct digest_stage *)stage;

    self->sha256 = EVP_MD_CTX_new();
    if (self->sha256 == NULL || !EVP_DigestInit_ex(self->sha256, EVP_sha256(), NULL))
        return error_set(err, ERROR_FAILED, "could not start SHA-256");
    return stage_forward_open(stage, object_name, err);
}

static bool digest_write(struct stage *stage, const void *data, size_t size, struct error *err)
{
    struct digest_stage *self = (struct digest_stage *)stage;

    if (!EVP_DigestUpdate(self->sha256, data, size))
        return error_set(err, ERROR_FAILED, "could not compute SHA-256");
    self->size += size;
    return stage_write(stage->next, data, size, err);
}

static bool digest_finish(struct stage *stage, struct error *err)
{
    struct digest_stage *self = (struct digest_stage *)stage;
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned int raw_size;

    if (!EVP_DigestFinal_ex(self->sha256, raw, &raw_size))
        return error_set(err, ERROR_FAILED, "could not finish SHA-256");
    if (!stage_forward_finish(stage, err))
        return false;
    text_from_hex_bytes(raw, raw_size, self->ret_result->sha256);
    self->ret_result->size = self->size;
    return true;
}

static void digest_release(struct stage *stage)
{
    struct digest_stage *self = (struct digest_stage *)stage;

    EVP_MD_CTX_free(self->sha256);
    free(self);
}

static const struct stage_ops digest_ops = {
    .name = "digest",
    .open = digest_open,
    .write = digest_write,
    .finish = digest_finish,
    .release = digest_release,
};

struct stage *stage_digest_new(struct stage *next, struct digest_result *ret_result)
{
    struct digest_stage *self = memory_new(sizeof *self);

    self->stage = (struct stage){.ops = &digest_ops, .next = next};
    self->ret_result = ret_result;
    return &self->stage;
}
