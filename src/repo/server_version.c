#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"

bool repo_read_server_version(const struct repo *repo, const char *server, int *ret_version, struct error *err)
{
    char *path SCOPED(scoped_free) = repo_server_path(repo, server, "server.json");
    json_t *document SCOPED(scoped_json) = NULL;

    if (!repo_read_document(path, &document, err))
        return false;
    int64_t version = json_number_or(document, "server_version", 0);
    *ret_version = version > 0 && version <= INT32_MAX ? (int)version : 0;
    return true;
}

bool repo_write_server_version(const struct repo *repo, const char *server, const struct system_id *system, int version,
                               struct error *err)
{
    char *path SCOPED(scoped_free) = repo_server_path(repo, server, "server.json");
    json_t *document SCOPED(scoped_json) = NULL;

    if (!repo_renew_server(repo, server, system, &document, err))
        return false;
    json_object_set_new(document, "server_version", json_integer(version));
    return repo_write_document(repo, path, document, err);
}
