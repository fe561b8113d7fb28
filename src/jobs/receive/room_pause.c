#include "jobs/receive/room_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "jobs/receive/receiver_internal.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"

#define SECOND                        INT64_C(1000000)
#define LOOKS_EVERY                   (2 * SECOND)
#define LOOKS_EVERY_WHILE_COMPRESSING (SECOND / 5)
/* On a disk that is full to the brim every segment is followed by a pause; one line in the log tells it. */
#define SAME_PAUSE (600 * SECOND)

/* ---- is there enough again? ---- */

/* Without a segment that waits, what failed was a name, a folder or a small file. */
static uint64_t needed_bytes(const struct receiver *receiver)
{
    return receiver->room.has_segment ? room_for_segment(receiver->archive.segment_size) : ROOM_MARGIN_BYTES;
}

static bool is_segment_missing(const struct receiver *receiver)
{
    struct wal_file file;
    struct error ignored;

    return receiver->room.has_segment &&
           wal_archive_stat(&receiver->archive, receiver->room.segment, &file, &ignored) &&
           file.state == WAL_FILE_MISSING;
}

/* Quotas and what is kept for root show only when it is tried; what fails for another reason the next session tells. */
static bool can_go_on(struct receiver *receiver)
{
    struct wal_partial *partial = NULL;
    struct error err;

    if (receiver->is_to_recover && !receive_cluster_open_stored(receiver, &err))
        return !room_is_short(&err);
    if (!receiver->room.has_segment)
        return true;
    bool is_made = wal_partial_open(&receiver->archive, receiver->room.segment, &partial, &err);
    wal_partial_free(partial);
    return is_made || !room_is_short(&err);
}

static bool has_room_again(struct receiver *receiver)
{
    struct error ignored;
    bool has_room = false;

    if (is_segment_missing(receiver)) {
        if (!receive_room_fits(receiver, &has_room, &ignored))
            return true;
    } else {
        if (!receive_room_read(receiver, &ignored))
            return true;
        has_room =
            receiver->room.seen.free_bytes >= ROOM_MARGIN_BYTES && receiver->room.seen.free_files >= ROOM_MARGIN_FILES;
    }
    return has_room && can_go_on(receiver);
}

/* ---- what the slot keeps meanwhile ---- */

/* "slot "pgcoffer" keeps 64 MB of WAL on the server, 48 MB more than when receiving paused" */
static void describe_growth(const struct receiver *receiver, char *ret_text, size_t size)
{
    const struct receive_room *room = &receiver->room;
    const char *slot = receiver->server->settings.wal_slot;
    uint64_t from = receiver->acknowledged.value != 0 ? receiver->acknowledged.value : room->slot_position.value;
    uint64_t kept = room->server_now.value > from && from != 0 ? room->server_now.value - from : 0;
    uint64_t more =
        room->server_now.value > room->server_before.value ? room->server_now.value - room->server_before.value : 0;
    char kept_text[TEXT_BYTES_SIZE], more_text[TEXT_BYTES_SIZE], limit[96] = "", asked[TIMESTAMP_TEXT_SIZE + 16] = "";

    text_format_bytes(kept, kept_text);
    text_format_bytes(more, more_text);
    if (room->asked_at.microseconds != 0) {
        char at[TIMESTAMP_TEXT_SIZE];
        timestamp_format((struct timestamp){room->asked_at.microseconds / SECOND * SECOND}, at);
        snprintf(asked, sizeof asked, " (at %s)", at);
    }
    if (room->slot_limit[0] != '\0')
        snprintf(limit, sizeof limit, "; at %s (max_slot_wal_keep_size) it is given up", room->slot_limit);
    if (text_is_empty(slot))
        snprintf(ret_text, size,
                 "the server has written %s of WAL since receiving paused%s, and without a slot (wal_slot) it keeps no "
                 "more of it than wal_keep_size",
                 more_text, asked);
    else
        snprintf(ret_text, size, "slot \"%s\" keeps %s of WAL on the server, %s more than when receiving paused%s%s",
                 slot, kept_text, more_text, asked, limit);
}

/* ---- the pause ---- */

static void describe(const struct receiver *receiver, const struct error *cause, struct error *ret_told)
{
    const struct receive_room *room = &receiver->room;
    uint64_t needed = needed_bytes(receiver);
    char growth[400], free_text[TEXT_BYTES_SIZE], needed_text[TEXT_BYTES_SIZE];

    text_format_bytes(room->seen.free_bytes, free_text);
    text_format_bytes(needed, needed_text);
    if (cause->errnum == EDQUOT)
        error_set(ret_told, ERROR_STORAGE,
                  "receiving is paused: the quota on the disk of the repository, %s, is used up (%s are needed)",
                  room->disk.name, needed_text);
    else if (room->seen.free_files < ROOM_MARGIN_FILES)
        error_set(ret_told, ERROR_STORAGE,
                  "receiving is paused: the disk of the repository, %s, has no room for files, whatever their size "
                  "(df -i %s)",
                  room->disk.name, room->disk.place);
    else
        error_set(ret_told, ERROR_STORAGE,
                  "receiving is paused: the disk of the repository, %s, is full: %s free, and %s are needed",
                  room->disk.name, free_text, needed_text);
    ret_told->errnum = cause->errnum;
    describe_growth(receiver, growth, sizeof growth);
    error_detail(ret_told, "%s%s%.200s; %.300s", growth, room->is_unanswered ? "; it could not be asked again: " : "",
                 room->is_unanswered ? room->question_error.message : "", cause->message);
    room_hint(&room->disk, receiver->server->name, "; receiving goes on by itself.", ret_told);
}

static void begin_pause(struct receiver *receiver, const struct error *cause, struct error *ret_told)
{
    struct receive_room *room = &receiver->room;
    struct error ignored;
    int64_t now = clock_monotonic();
    bool is_same = room->paused_until != 0 && now - room->paused_until < SAME_PAUSE;

    room->is_paused = true;
    if (receiver->gaps.is_busy)
        receive_gaps_cancel(&receiver->gaps); /* what it would fetch takes room as well */
    room->disk.name[0] = '\0';                /* it may have been mounted anew */
    if (!receive_room_read(receiver, &ignored))
        log_debug("%s", ignored.message);
    room->server_before = receiver->report.server_position;
    room->server_now = room->server_before;
    room->asked_at = (struct timestamp){0};
    room->is_unanswered = false;
    describe(receiver, cause, ret_told);
    if (is_same)
        log_debug("%s", ret_told->message);
    else
        log_failure(LOG_LEVEL_WARNING, ret_told);
    receive_report_state(&receiver->report, RECEIVE_WAITING, ret_told);
}

static void end_pause(struct receiver *receiver)
{
    struct receive_room *room = &receiver->room;
    char free_text[TEXT_BYTES_SIZE];

    text_format_bytes(room->seen.free_bytes, free_text);
    log_info("there is room on the disk of the repository, %s, again (%s free): receiving goes on", room->disk.name,
             free_text);
    room->is_paused = false;
    room->paused_until = clock_monotonic();
    room->has_segment = false;
    room->look_at = 0;
}

bool receive_room_pause(struct receiver *receiver, const struct error *cause)
{
    struct receive_room *room = &receiver->room;
    struct error told, before;

    begin_pause(receiver, cause, &told);
    for (;;) {
        bool is_compressing = receiver->compressor != NULL && receive_compressor_is_working(receiver->compressor);
        int64_t pause = is_compressing ? LOOKS_EVERY_WHILE_COMPRESSING : LOOKS_EVERY;
        if (receiver_wait(receiver, -1, false, clock_monotonic() + pause) == RECEIVE_WAKE_INTERRUPTED)
            return false;
        if (has_room_again(receiver)) {
            end_pause(receiver);
            return true;
        }
        if (clock_monotonic() >= room->ask_at)
            receive_room_ask(receiver);
        before = told;
        describe(receiver, cause, &told);
        if (strcmp(before.message, told.message) != 0 || strcmp(before.detail, told.detail) != 0)
            receive_report_state(&receiver->report, RECEIVE_WAITING, &told);
    }
}
