#include "pgcoffer/repo/served.h"

#include <stdio.h>
#include <stdlib.h>

#include "pgcoffer/base/memory.h"
#include "repo/repo_internal.h"

static char *document_path(const struct repo *repo, const char *server)
{
    return repo_server_path(repo, server, "tls.json");
}

static bool take_text(const json_t *object, const char *key, char *ret_text, size_t size, struct error *err)
{
    const char *text = NULL;

    if (!json_get_text(object, key, &text, err))
        return false;
    snprintf(ret_text, size, "%s", text);
    return true;
}

bool served_certificate_read(const struct repo *repo, const char *server, struct served_certificate *ret_certificate,
                             struct error *err)
{
    char *path SCOPED(scoped_free) = document_path(repo, server);
    json_t *document SCOPED(scoped_json) = NULL;
    struct served_certificate found = {.subject = ""};
    char seen[TIMESTAMP_TEXT_SIZE];

    if (!repo_read_document(path, &document, err))
        return false;
    const json_t *object = json_object_get(document, "server_certificate");
    if (take_text(object, "subject", found.subject, sizeof found.subject, err) &&
        take_text(object, "not_after", found.not_after, sizeof found.not_after, err) &&
        take_text(object, "fingerprint", found.fingerprint, sizeof found.fingerprint, err) &&
        take_text(object, "first_seen_at", seen, sizeof seen, err) &&
        timestamp_parse(seen, &found.first_seen_at, err)) {
        *ret_certificate = found;
        return true;
    }
    err->kind = ERROR_INTEGRITY;
    return error_wrap(err, "\"%s\" is damaged", path);
}

bool served_certificate_write(const struct repo *repo, const char *server, const struct served_certificate *certificate,
                              struct error *err)
{
    char *path SCOPED(scoped_free) = document_path(repo, server);
    char seen[TIMESTAMP_TEXT_SIZE];

    timestamp_format(certificate->first_seen_at, seen);
    json_t *document SCOPED(scoped_json) =
        json_pack("{s:i, s:s, s:{s:o, s:s, s:s, s:s}}", "format", 1, "server", server, "server_certificate", "subject",
                  repo_json_text(certificate->subject), "not_after", certificate->not_after, "fingerprint",
                  certificate->fingerprint, "first_seen_at", seen);
    return repo_write_document(repo, path, document, err);
}
