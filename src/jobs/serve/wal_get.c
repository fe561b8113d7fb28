#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "jobs/serve/session_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_gaps.h"

/*
 * "Not found" ends a recovery and promotes the server, so it is said only of what was never to be had: a file beyond
 * the last byte held of its timeline, of an unknown timeline, or from before its timeline began. A hole is an error.
 */
static bool send_not_found(struct session *session, const char *reason, struct error *err)
{
    return control_send_result(session->client, json_pack("{s:b, s:s}", "found", 0, "reason", reason), err);
}

static bool send_found(struct session *session, const char *encoding, uint64_t stored, uint64_t length,
                       struct error *err)
{
    return control_send_item(session->client,
                             json_pack("{s:b, s:s, s:I, s:I}", "found", 1, "encoding", encoding, "stored",
                                       (json_int_t)stored, "length", (json_int_t)length),
                             err);
}

static bool fail_hole(const struct wal_archive *archive, const char *name, struct error *err)
{
    error_set(err, ERROR_INTEGRITY, "WAL file %s is missing from the archive of \"%s\", and later WAL is known", name,
              archive->server);
    return error_hint(err, "\"pgcoffer wal status %s\" shows the gap; a recovery cannot pass it.", archive->server);
}

/* ---- history files ---- */

static bool send_history(struct session *session, const struct wal_archive *archive, const char *name,
                         struct timeline timeline, struct error *err)
{
    struct buffer text SCOPED(scoped_buffer) = BUFFER_WITH_LIMIT(HISTORY_MOST_BYTES);
    struct history history SCOPED(scoped_history) = {0};
    bool is_hole = false;

    if (wal_archive_read_history(archive, timeline, &text, err)) {
        if (!history_parse(timeline, text.bytes, text.used, &history, err))
            return error_wrap(err, "\"%s\" is damaged", name);
        return send_found(session, "history", text.used, text.used, err) &&
               control_send_bytes(session->client, text.bytes, text.used, err) &&
               control_send_result(session->client, json_object(), err);
    }
    if (err->errnum != ENOENT)
        return false;
    /* A switch is published with its history; until then the copied segment of the new timeline is a partial one. */
    if (timeline.value != 1 && !wal_archive_has_finished(archive, timeline, &is_hole, err))
        return false;
    return is_hole ? fail_hole(archive, name, err) : send_not_found(session, "this timeline is not known", err);
}

/* ---- segments ---- */

/* Is there anything of this timeline behind the segment? A file that is still empty is proof that the stream went by.
 */
static bool is_followed(const struct wal_archive *archive, struct wal_segment segment, bool *ret_is_followed,
                        struct error *err)
{
    struct wal_segment newest;
    bool has_one = false;

    if (!wal_archive_newest(archive, segment.timeline, &newest, &has_one, err))
        return false;
    *ret_is_followed = has_one && newest.number > segment.number;
    return true;
}

/*
 * Does a timeline held here leave this one behind the segment? Then the segment was once written, and a recovery on the
 * way to that timeline must not take its absence for the end. A history that cannot be read might be that proof.
 */
static bool is_on_way_to_fork(const struct wal_archive *archive, struct wal_segment segment, bool *ret_is_on_way,
                              struct error *err)
{
    struct timeline *timelines SCOPED(scoped_free) = NULL;
    size_t count = 0;

    *ret_is_on_way = false;
    if (!wal_archive_timelines(archive, &timelines, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct history history SCOPED(scoped_history) = {0};
        struct wal_position fork;
        if (timelines[i].value <= segment.timeline.value)
            continue;
        if (!wal_archive_history(archive, timelines[i], &history, err)) {
            if (err->errnum == ENOENT)
                continue;
            return false;
        }
        if (history_switch_point(&history, segment.timeline, &fork) &&
            segment.number < wal_segment_at(segment.timeline, fork, archive->segment_size).number)
            *ret_is_on_way = true;
    }
    return true;
}

/* Recorded as lost: nothing need have come behind it yet. */
static bool is_known_lost(const struct wal_archive *archive, const struct wal_file *file, bool *ret_is_lost,
                          struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};
    struct wal_gaps gaps SCOPED(scoped_wal_gaps) = {NULL, 0};
    struct wal_ranges ranges SCOPED(scoped_wal_ranges) = {0};
    struct wal_position next = wal_segment_start(file->segment, archive->segment_size);

    next.value += file->held_bytes;
    *ret_is_lost = false;
    if (!wal_gaps_read(archive, &record, err))
        return false;
    if (record.open.count == 0)
        return true;
    if (!wal_gaps_look(archive, &record, &ranges, &gaps, err))
        return false;
    *ret_is_lost = wal_gaps_at(&gaps, file->segment.timeline, next) != NULL;
    return true;
}

/* Not every damage shows in the checksums of the file: verify may know more. */
static bool check_damage(const struct wal_archive *archive, const char *name, const struct wal_file *file,
                         struct error *err)
{
    struct wal_gap_record record SCOPED(scoped_wal_gap_record) = {.open = {NULL, 0}};

    if (!wal_gaps_read(archive, &record, err))
        return false;
    const struct wal_gap *damage = wal_gaps_damage(archive, &record, file);
    if (damage == NULL)
        return true;
    error_set(err, ERROR_INTEGRITY, "WAL segment %s is damaged in the archive of \"%s\"", name, archive->server);
    error_detail(err, "%s", damage->words);
    return error_hint(err, "\"pgcoffer verify %s --wal-only\" looks at it again.", archive->server);
}

/* Is more known of what follows the bytes held of a segment, which is no end of WAL then? */
static bool is_before_more(const struct wal_archive *archive, const struct wal_file *file, bool *ret_is_before,
                           struct error *err)
{
    return is_followed(archive, file->segment, ret_is_before, err) &&
           (*ret_is_before || is_on_way_to_fork(archive, file->segment, ret_is_before, err)) &&
           (*ret_is_before || is_known_lost(archive, file, ret_is_before, err));
}

/* False in *ret_has_one: the timeline left no other, or none that is known. */
static bool find_beginning(const struct wal_archive *archive, struct timeline timeline, struct wal_position *ret_fork,
                           bool *ret_has_one, struct error *err)
{
    struct history history SCOPED(scoped_history) = {0};

    *ret_has_one = false;
    if (!wal_archive_history(archive, timeline, &history, err))
        return err->errnum == ENOENT;
    *ret_has_one = history.entry_count > 0;
    if (*ret_has_one)
        *ret_fork = history.entries[history.entry_count - 1].switched_at;
    return true;
}

/*
 * Of the first segment of a timeline nothing is held, and nothing is known to follow. A recovery that were told so
 * would ask for the segment of that number on the former timeline, and replay the branch that died there. So it gets a
 * segment of zeros, the end of WAL. Where bytes before the fork belong into it, they were copied before the history
 * came.
 */
static bool answer_empty(struct session *session, const struct wal_archive *archive, const char *name,
                         struct wal_segment segment, const char *reason, struct error *err)
{
    struct wal_position fork = {0};
    bool has_fork = false;

    if (!find_beginning(archive, segment.timeline, &fork, &has_fork, err))
        return false;
    if (!has_fork || wal_segment_at(segment.timeline, fork, archive->segment_size).number != segment.number)
        return send_not_found(session, reason, err);
    if (wal_segment_start(segment, archive->segment_size).value != fork.value)
        return fail_hole(archive, name, err);
    return send_found(session, "partial", 0, archive->segment_size.bytes, err) &&
           control_send_bytes(session->client, "", 0, err) && control_send_result(session->client, json_object(), err);
}

/* A timeline has no segments from before its fork; recovery may ask for them all the same. */
static bool is_before_timeline(const struct wal_archive *archive, struct wal_segment segment)
{
    struct wal_position fork = {0};
    bool has_fork = false;
    struct error ignored;

    return find_beginning(archive, segment.timeline, &fork, &has_fork, &ignored) && has_fork &&
           segment.number < wal_segment_at(segment.timeline, fork, archive->segment_size).number;
}

/* False in *ret_is_settled: the segment has changed its state since it was looked at, so look again. */
static bool answer_missing(struct session *session, const struct wal_archive *archive, const char *name,
                           const struct wal_file *file, bool *ret_is_settled, struct error *err)
{
    struct wal_file now;
    bool is_before = false;

    if (!is_before_more(archive, file, &is_before, err) || !wal_archive_stat(archive, file->segment, &now, err))
        return false;
    *ret_is_settled = now.state == WAL_FILE_MISSING;
    if (!*ret_is_settled)
        return true;
    if (!is_before)
        return answer_empty(session, archive, name, file->segment, "it lies beyond the last byte held of its timeline",
                            err);
    if (is_before_timeline(archive, file->segment))
        return send_not_found(session, "its timeline begins later", err);
    return fail_hole(archive, name, err);
}

/*
 * Before a gap it is given to a recovery with a target only: with one PostgreSQL ends in an error unless it comes by
 * it, without one it would take the end of the segment for the end of all.
 */
static bool send_partial(struct session *session, const struct wal_archive *archive, const char *name, int fd,
                         const struct wal_file *file, bool is_to_target, bool *ret_is_settled, struct error *err)
{
    struct wal_file now;
    bool is_before_gap = false;

    if (!is_before_more(archive, file, &is_before_gap, err) || !wal_archive_stat(archive, file->segment, &now, err))
        return false;
    *ret_is_settled = now.state == WAL_FILE_PARTIAL;
    if (!*ret_is_settled)
        return true;
    if (is_before_gap && (!is_to_target || file->held_bytes == 0))
        return fail_hole(archive, name, err);
    if (file->held_bytes == 0)
        return answer_empty(session, archive, name, file->segment, "nothing of it has arrived yet", err);
    return send_found(session, "partial", file->held_bytes, archive->segment_size.bytes, err) &&
           control_send_file(session->client, fd, 0, file->held_bytes, err) &&
           control_send_result(session->client, json_object(), err);
}

static bool send_whole(struct session *session, const struct wal_archive *archive, const char *name,
                       const char *encoding, int fd, const struct wal_file *file, struct error *err)
{
    return check_damage(archive, name, file, err) &&
           send_found(session, encoding, file->stored_bytes, archive->segment_size.bytes, err) &&
           control_send_file(session->client, fd, 0, file->stored_bytes, err) &&
           control_send_result(session->client, json_object(), err);
}

static bool look_and_send(struct session *session, const struct wal_archive *archive, const char *name,
                          struct wal_segment segment, bool is_to_target, bool *ret_is_settled, struct error *err)
{
    int fd SCOPED(scoped_close) = -1;
    struct wal_file file;

    if (!wal_archive_open_segment(archive, segment, &fd, &file, err))
        return false;
    *ret_is_settled = true;
    switch (file.state) {
    case WAL_FILE_MISSING:
        return answer_missing(session, archive, name, &file, ret_is_settled, err);
    case WAL_FILE_PARTIAL:
        return send_partial(session, archive, name, fd, &file, is_to_target, ret_is_settled, err);
    case WAL_FILE_RAW:
        if (file.stored_bytes != archive->segment_size.bytes)
            return error_set(err, ERROR_INTEGRITY, "WAL segment %s is damaged: it has %" PRIu64 " bytes", name,
                             file.stored_bytes);
        return send_whole(session, archive, name, "plain", fd, &file, err);
    case WAL_FILE_COMPRESSED:
        return send_whole(session, archive, name, "zstd", fd, &file, err);
    }
    return error_set(err, ERROR_FAILED, "unknown state of WAL segment %s", name);
}

/* A segment goes from missing to partial to whole, each once: a few looks find it settled. */
static bool send_segment(struct session *session, const struct wal_archive *archive, const char *name,
                         struct wal_segment segment, bool is_to_target, struct error *err)
{
    bool is_settled = false;

    for (int look = 0; look < 4 && !is_settled; look++)
        if (!look_and_send(session, archive, name, segment, is_to_target, &is_settled, err))
            return false;
    return is_settled || error_set(err, ERROR_INTEGRITY, "WAL segment %s comes and goes", name);
}

/* The system the caller restores must be one whose WAL lies here, or the answer would be of another cluster. */
static bool choose_system(const struct session *session, const struct request *request, struct wal_archive *ret_archive,
                          struct error *err)
{
    const char *wanted = request_text(request, OPTION_ID_system_id);
    struct system_id system;
    struct stat status;

    if (wanted == NULL)
        return session_open_wal(session, request->server, NULL, ret_archive, err);
    if (!system_id_parse(wanted, &system, err)) {
        err->kind = ERROR_USAGE;
        return false;
    }
    char *folder SCOPED(scoped_free) = repo_system_path(session->repo, request->server, &system, "wal");
    if (lstat(folder, &status) < 0 || !S_ISDIR(status.st_mode)) {
        error_set(err, ERROR_INTEGRITY, "nothing is stored of \"%s\" with system identifier %s", request->server,
                  system.text);
        return error_hint(err, "The cluster that asks was not restored from this server's backups.");
    }
    return session_open_wal(session, request->server, &system, ret_archive, err);
}

bool answer_wal_get(struct session *session, const struct request *request, struct error *err)
{
    const char *name = request_wire_text(request, "file");
    struct wal_archive archive = {.repo = NULL};
    struct timeline timeline;
    struct wal_segment segment;

    if (name == NULL)
        return error_set(err, ERROR_USAGE, "\"file\" is missing");
    if (!choose_system(session, request, &archive, err))
        return false;
    if (wal_history_name_parse(name, &timeline))
        return send_history(session, &archive, name, timeline, err);
    if (wal_segment_parse(name, archive.segment_size, &segment))
        return send_segment(session, &archive, name, segment, request_has(request, OPTION_ID_to_target), err);
    return send_not_found(session, "it is neither a WAL segment nor a timeline history", err);
}
