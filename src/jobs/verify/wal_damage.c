#include <errno.h>
#include <string.h>

#include "jobs/events_internal.h"
#include "jobs/verify/verify_internal.h"

/*
 * What verify finds is written down, so that restores do not rely on it and the receiver fetches it again. Only where
 * the daemon runs the verification: a --direct one may be anybody's and changes nothing.
 */
bool verify_read_record(struct checked_wal *wal, struct error *err)
{
    struct error failure;

    wal->has_record = wal_gaps_read(&wal->archive, &wal->record, &failure);
    return wal->has_record ||
           verify_read_failure(wal->verify, NULL, "gaps.json", VERIFY_NO_FRAME, json_array(), &failure, err);
}

bool verify_note_damage(struct checked_wal *wal, const struct wal_file *file, const struct error *damage,
                        struct error *err)
{
    struct wal_gap gap = {.timeline = file->segment.timeline, .reason = WAL_GAP_DAMAGED};
    bool is_whole = file->state == WAL_FILE_RAW || file->state == WAL_FILE_COMPRESSED;
    struct error failure;

    /* One that is being received is compared with the server's again when the stream begins. */
    if (!wal->verify->is_recording || !wal->has_record || !is_whole || !verify_is_damage(damage))
        return true;
    gap.start = wal_segment_start(file->segment, wal->archive.segment_size);
    gap.end = wal_segment_end(file->segment, wal->archive.segment_size);
    snprintf(gap.words, sizeof gap.words, "%s", damage->message);
    return wal_gaps_record(&wal->archive, &gap, &failure) || verify_tell_unrecorded(wal->verify, &failure, err);
}

const struct wal_gap *verify_known_damage(const struct checked_wal *wal, const struct wal_file *file)
{
    return wal->has_record ? wal_gaps_damage(&wal->archive, &wal->record, file) : NULL;
}

bool verify_note_sound(struct checked_wal *wal, const struct wal_file *file, struct error *err)
{
    struct error failure;

    if (!wal->verify->is_recording || verify_known_damage(wal, file) == NULL)
        return true;
    return wal_gaps_mend(&wal->archive, file->segment, &failure) || verify_tell_unrecorded(wal->verify, &failure, err);
}
