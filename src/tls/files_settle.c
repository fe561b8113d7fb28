#include <libgen.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/files.h"

/*
 * A renewal replaces two or three files one after the other, or writes into one. A daemon takes the next look for it; a
 * restore_command that fails in between ends a recovery.
 */
#define RECENT_SECONDS    10
#define LOOK_MILLISECONDS 100

static bool has_changed_lately(const char *path)
{
    struct stat state;
    char *copy SCOPED(scoped_free) = memory_copy_text(path);

    if (text_is_empty(path))
        return false;
    /* What is not there may have been renamed or removed just now, which is a change of its folder. */
    if (stat(path, &state) < 0 && stat(dirname(copy), &state) < 0)
        return false;
    return llabs((long long)time(NULL) - (long long)state.st_ctime) <= RECENT_SECONDS;
}

static bool is_being_replaced(const struct settings *settings)
{
    return has_changed_lately(settings->tls_cert_file) || has_changed_lately(settings->tls_key_file) ||
           has_changed_lately(settings->tls_crl_file) || has_changed_lately(tls_files_ca_path(settings));
}

bool tls_files_check_settled(const struct server_config *server, struct error *err)
{
    int64_t until = clock_monotonic() + INT64_C(1000) * TLS_FILES_SETTLE_MILLISECONDS;

    while (!tls_files_check(server, err)) {
        if (clock_monotonic() >= until || !is_being_replaced(&server->settings))
            return false;
        /* What would be watched may be a link, a folder that is exchanged, or not there yet. */
        poll(NULL, 0, LOOK_MILLISECONDS);
    }
    return true;
}
