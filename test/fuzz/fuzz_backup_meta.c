#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "repo/backup_meta_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What parses must come out as it went in. */
static void parse(const char *text, size_t size)
{
    struct backup_meta *meta = NULL;
    struct error err;

    if (!backup_meta_parse(text, size, &meta, &err))
        return;
    char *again = backup_meta_to_text(meta);
    struct backup_meta *twin = NULL;
    if (!backup_meta_parse(again, strlen(again), &twin, &err))
        abort();
    backup_meta_free(twin);
    backup_meta_free(meta);
    free(again);
}

/* The digest would keep every changed document out, so it is also made right before parsing. */
static void parse_sealed(const char *text, size_t size)
{
    char digest[BACKUP_META_DIGEST_SIZE];
    struct error err;
    json_t *document = json_parse_object(text, size, &err);

    if (document == NULL)
        return;
    json_object_del(document, "sha256");
    backup_meta_digest(document, digest);
    json_object_set_new(document, "sha256", json_string(digest));
    char *sealed = backup_meta_canonical_text(document);
    size_t sealed_size = strlen(sealed);
    sealed[sealed_size] = '\n'; /* in place of the final NUL */
    parse(sealed, sealed_size + 1);
    free(sealed);
    json_decref(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse((const char *)data, size);
    parse_sealed((const char *)data, size);
    return 0;
}
