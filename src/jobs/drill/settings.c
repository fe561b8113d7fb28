#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jobs/drill/drill_internal.h"
#include "jobs/restore/restore_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#define MOST_PG_CONTROL   8192
#define LEAST_CONNECTIONS 50 /* for pg_amcheck and the query, beside what is reserved */
#define LEAST_PREPARED    64 /* a change of the limit may lie in the WAL only */
/* Nothing says how many replication origins the WAL names, and too few end the recovery. */
#define ORIGINS "1000"

/*
 * What keeps the copy to itself: no network, no archive, no other server, no library and no job that nobody asked for.
 * Shared memory lies in the data directory, which is removed, and not where a killed server would leave it.
 */
static const char fixed_settings[] = "listen_addresses = ''\n"
                                     "port = " DRILL_PORT "\n"
                                     "unix_socket_permissions = 0700\n"
                                     "ssl = off\n"
                                     "archive_mode = off\n"
                                     "primary_conninfo = ''\n"
                                     "primary_slot_name = ''\n"
                                     "synchronous_standby_names = ''\n"
                                     "max_logical_replication_workers = 0\n"
                                     "session_replication_role = replica\n" /* what has triggers does not fire them */
                                     "autovacuum = off\n"
                                     "wal_level = replica\n"
                                     "shared_preload_libraries = ''\n"
                                     "session_preload_libraries = ''\n"
                                     "local_preload_libraries = ''\n"
                                     "dynamic_shared_memory_type = mmap\n"
                                     "huge_pages = off\n"
                                     "shared_buffers = 128MB\n"
                                     "restart_after_crash = off\n"
                                     /* Connections are wanted at the end only; then the limits that were raised
                                      * meanwhile do not stop the replay. */
                                     "hot_standby = off\n"
                                     "logging_collector = off\n"
                                     "log_destination = 'stderr'\n"
                                     "log_line_prefix = ''\n"
                                     "lc_messages = 'C'\n"
                                     "cluster_name = 'pgcoffer drill'\n";

static bool read_limits(const char *data, struct control_limits *ret_limits, struct error *err)
{
    char *path SCOPED(scoped_free) = memory_text("%s/" RESTORE_PG_CONTROL, data);
    struct buffer bytes SCOPED(buffer_done) = BUFFER_WITH_LIMIT(2 * MOST_PG_CONTROL);

    return file_read_whole(path, &bytes, err) &&
           (control_limits_read(bytes.bytes, bytes.used, ret_limits, err) || error_wrap(err, "\"%s\"", path));
}

static uint32_t at_least(uint32_t number, uint32_t least)
{
    return number > least ? number : least;
}

static bool write_file(const char *scratch, const char *name, const char *text, struct error *err)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", scratch, name);
    int fd SCOPED(scoped_close) = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return error_set_errno(err, "could not create \"%s\"", path);
    return file_write_all(fd, text, strlen(text), path, err);
}

static char *path_setting(const char *name, const char *scratch, const char *file)
{
    char *path SCOPED(scoped_free) = memory_text("%s%s%s", scratch, file[0] != '\0' ? "/" : "", file);
    char *quoted SCOPED(scoped_free) = quote_for_conf(path);

    return memory_text("%s = %s\n", name, quoted);
}

static const char *settings_of_version(int version)
{
    if (version >= 180000)
        return "event_triggers = off\nmax_active_replication_origins = " ORIGINS "\n";
    return version >= 170000 ? "event_triggers = off\n" : "";
}

bool drill_write_settings(const char *scratch, const char *data, int version, struct error *err)
{
    struct control_limits limits;

    if (!read_limits(data, &limits, err))
        return false;
    char *socket SCOPED(scoped_free) = path_setting("unix_socket_directories", scratch, "");
    char *hba SCOPED(scoped_free) = path_setting("hba_file", scratch, "pg_hba.conf");
    char *ident SCOPED(scoped_free) = path_setting("ident_file", scratch, "pg_ident.conf");
    char *text SCOPED(scoped_free) = memory_text(
        "%s%s%s%smax_connections = %" PRIu32 "\nmax_worker_processes = %" PRIu32 "\nmax_wal_senders = %" PRIu32
        "\nmax_prepared_transactions = %" PRIu32 "\nmax_locks_per_transaction = %" PRIu32
        "\nmax_replication_slots = " ORIGINS "\n%s",
        fixed_settings, socket, hba, ident, at_least(limits.max_connections, LEAST_CONNECTIONS),
        limits.max_worker_processes, limits.max_wal_senders, at_least(limits.max_prepared_transactions, LEAST_PREPARED),
        at_least(limits.max_locks_per_transaction, 64), settings_of_version(version));
    /* Who may enter the folder may enter the server, and that is nobody else. */
    return write_file(scratch, "postgresql.conf", text, err) &&
           write_file(scratch, "pg_hba.conf", "local all all trust\n", err) &&
           write_file(scratch, "pg_ident.conf", "", err);
}
