#include "jobs/receive/receiver_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/receive/start_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/memory.h"

/* Leftovers of a killed process are finished; what lies raw is queued. */
static bool recover_archive(struct receiver *receiver, struct error *err)
{
    struct wal_segment *raw SCOPED(scoped_free) = NULL;
    size_t count = 0;

    receive_compressor_free(TAKE(receiver->compressor));
    if (!wal_archive_recover(&receiver->archive, &raw, &count, err) ||
        !receive_compressor_new(&receiver->archive, (int)receiver->server->settings.compression_level,
                                &receiver->compressor, err))
        return false;
    if (receiver->server->settings.synchronous)
        receive_compressor_be_polite(receiver->compressor);
    for (size_t i = 0; i < count; i++)
        receive_compressor_add(receiver->compressor, raw[i]);
    receive_room_begin(receiver);
    receiver->is_to_recover = false;
    return true;
}

/* Positions of one cluster say nothing about another one, whose timelines may have the same numbers. */
static void forget_positions(struct receiver *receiver)
{
    receiver->acknowledged_timeline = (struct timeline){0};
    receiver->acknowledged = (struct wal_position){0};
    receiver->is_lost = false;
    receiver->behind_since = 0;
}

/* Without a segment size nothing was ever stored, so there is nothing to recover either. */
static bool use_archive(struct receiver *receiver, const struct system_id *system, struct wal_segment_size segment_size,
                        struct error *err)
{
    struct wal_archive archive;

    if (!wal_archive_open(receiver->repo, receiver->server->name, system, segment_size, &archive, err))
        return false;
    bool is_same = receiver->has_archive && strcmp(receiver->archive.system.text, system->text) == 0;
    if (strcmp(receiver->report.system.text, system->text) != 0)
        forget_positions(receiver);
    receiver->report.system = *system;
    if (archive.segment_size.bytes == 0 || (is_same && !receiver->is_to_recover))
        return true;
    /* What another thread is writing just now looks like what a killed process left. */
    if (!receive_gaps_rest(receiver, err))
        return false;
    receiver->has_archive = false;
    receiver->archive = archive;
    receiver->has_archive = recover_archive(receiver, err);
    return receiver->has_archive;
}

bool receive_cluster_open_stored(struct receiver *receiver, struct error *err)
{
    struct system_id system;

    if (!repo_read_server(receiver->repo, receiver->server->name, &system, err))
        return err->errnum == ENOENT;
    return use_archive(receiver, &system, (struct wal_segment_size){0}, err);
}

static bool refuse_system(const struct receiver *receiver, const struct system_id *stored, const char *found,
                          int stored_version, int version, struct error *err)
{
    error_set(err, ERROR_INTEGRITY, "the server has system identifier %s, but WAL and backups of %s are held", found,
              stored->text);
    if (stored_version > 0)
        error_detail(err, "the server held is of version %d, the one found of version %d", stored_version / 10000,
                     version / 10000);
    return error_hint(err,
                      "Check that host and port of [%s] lead to the right server. Another cluster needs a section with "
                      "another name (and what is held stays); only a cluster of a higher major version, as pg_upgrade "
                      "makes it, may follow under the same one.",
                      receiver->server->name);
}

/*
 * Of several hosts one may lead to another cluster, which must not take over while the right one is down: an upgrade is
 * believed when all of them have come to the same new identifier.
 */
static bool refuse_lonely_upgrade(const struct receiver *receiver, const struct system_id *stored, const char *found,
                                  int stored_version, int version, struct error *err)
{
    const char *name = receiver->server->name;

    error_set(err, ERROR_INTEGRITY,
              "it has system identifier %s and version %d, but WAL and backups of %s, version %d, are held: it was "
              "upgraded, or it is another cluster",
              found, version / 10000, stored->text, stored_version / 10000);
    error_detail(err, "an upgrade is believed once every host of [%s] answers with the same new system identifier",
                 name);
    return error_hint(err,
                      "If the cluster was upgraded, take those hosts out of host of [%s] that do not have system "
                      "identifier %s yet, and type: pgcoffer reload. Otherwise take the one out that has it: another "
                      "cluster gets a section of its own. Nothing was changed.",
                      name, found);
}

/* *ret_noted: server.json says so already. *ret_upgraded_from: 0, or its former version. */
static bool check_system(struct receiver *receiver, const struct system_id *system, int version, bool *ret_noted,
                         int *ret_upgraded_from, struct error *err)
{
    const char *name = receiver->server->name;
    struct system_id stored;
    int stored_version = 0;

    *ret_noted = false;
    *ret_upgraded_from = 0;
    if (!repo_read_server(receiver->repo, name, &stored, err))
        return err->errnum == ENOENT;
    if (!repo_read_server_version(receiver->repo, name, &stored_version, err))
        return false;
    bool is_same = strcmp(stored.text, system->text) == 0;
    *ret_noted = is_same && stored_version == version;
    if (is_same)
        return true;
    if (!receive_start_is_upgrade(stored_version, version))
        return refuse_system(receiver, &stored, system->text, stored_version, version, err);
    if (receiver->hosts.count > 1 && receiver->hosts.common_system != system_id_value(system))
        return refuse_lonely_upgrade(receiver, &stored, system->text, stored_version, version, err);
    *ret_upgraded_from = stored_version;
    return true;
}

static bool system_id_of(uint64_t system_identifier, struct system_id *ret_system, struct error *err)
{
    char text[SYSTEM_ID_TEXT_SIZE];

    snprintf(text, sizeof text, "%" PRIu64, system_identifier);
    return system_id_parse(text, ret_system, err);
}

bool receive_cluster_check(struct receiver *receiver, uint64_t system_identifier, int server_version, struct error *err)
{
    struct system_id system;
    bool is_noted = false;
    int upgraded_from = 0;

    return system_id_of(system_identifier, &system, err) &&
           check_system(receiver, &system, server_version, &is_noted, &upgraded_from, err);
}

bool receive_cluster_adopt(struct receiver *receiver, uint64_t system_identifier, int server_version,
                           struct wal_segment_size segment_size, struct error *err)
{
    struct system_id system;
    bool is_noted = false;
    int upgraded_from = 0;

    if (!system_id_of(system_identifier, &system, err) ||
        !check_system(receiver, &system, server_version, &is_noted, &upgraded_from, err))
        return false;
    if (upgraded_from > 0)
        log_warning("the server was upgraded from version %d to %d: its new system identifier is %s; what is held of "
                    "the former one stays, and a new backup is needed",
                    upgraded_from / 10000, server_version / 10000, system.text);
    if (!is_noted && !(repo_create_system(receiver->repo, receiver->server->name, &system, err) &&
                       repo_write_server_version(receiver->repo, receiver->server->name, &system, server_version, err)))
        return false;
    return use_archive(receiver, &system, segment_size, err);
}
