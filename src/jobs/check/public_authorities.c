#include <fts.h>
#include <string.h>

#include "jobs/check/files_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/certificate.h"
#include "pgcoffer/tls/files.h"

/* Where Debian's update-ca-certificates takes the owner's own CAs from; they then stand in the bundle like public ones.
 */
#define OWN_FOLDER   "/usr/local/share/ca-certificates"
#define MOST_OWN_CAS 256

struct bundle {
    STACK_OF(X509) * all;
    STACK_OF(X509) * own; /* NULL until one of all has been found */
};

static void bundle_done(struct bundle *bundle)
{
    sk_X509_pop_free(bundle->all, X509_free);
    sk_X509_pop_free(bundle->own, X509_free);
}

static void scoped_tree(FTS **tree)
{
    if (*tree != NULL)
        fts_close(*tree);
}

static struct bundle read_bundle(void)
{
    struct bundle bundle = {0};
    struct error ignored;

    if (!certificate_read_all(TLS_SYSTEM_BUNDLE, &bundle.all, &ignored))
        bundle.all = NULL;
    return bundle;
}

static void read_own_file(const char *path, STACK_OF(X509) * own)
{
    STACK_OF(X509) *found = NULL;
    struct error ignored;

    if (!text_ends_with(path, ".crt") || !certificate_read_all(path, &found, &ignored))
        return;
    for (X509 *certificate; (certificate = sk_X509_shift(found)) != NULL;)
        if (sk_X509_num(own) >= MOST_OWN_CAS || !sk_X509_push(own, certificate))
            X509_free(certificate);
    sk_X509_free(found);
}

static void read_own_folder(STACK_OF(X509) * own)
{
    char folder[] = OWN_FOLDER;
    FTS *tree SCOPED(scoped_tree) = fts_open((char *const[]){folder, NULL}, FTS_LOGICAL | FTS_NOCHDIR, NULL);

    for (FTSENT *entry; tree != NULL && (entry = fts_read(tree)) != NULL;)
        if (entry->fts_info == FTS_F)
            read_own_file(entry->fts_accpath, own);
}

static bool is_public(struct bundle *bundle, const X509_NAME *name)
{
    if (certificate_find_subject(bundle->all, name) == NULL)
        return false;
    if (bundle->own == NULL) {
        bundle->own = sk_X509_new_null();
        if (bundle->own != NULL)
            read_own_folder(bundle->own);
    }
    return certificate_find_subject(bundle->own, name) == NULL;
}

bool check_holds_public(STACK_OF(X509) * certificates)
{
    struct bundle bundle SCOPED(bundle_done) = read_bundle();

    for (int i = 0; i < sk_X509_num(certificates); i++)
        if (is_public(&bundle, X509_get_subject_name(sk_X509_value(certificates, i))))
            return true;
    return false;
}

int check_count_public(STACK_OF(X509_NAME) * names)
{
    struct bundle bundle SCOPED(bundle_done) = read_bundle();
    int count = 0;

    for (int i = 0; i < sk_X509_NAME_num(names); i++)
        count += is_public(&bundle, sk_X509_NAME_value(names, i));
    return count;
}
