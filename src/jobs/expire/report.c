#include "jobs/events_internal.h"
#include "jobs/expire/expire_internal.h"
#include "pgcoffer/base/memory.h"

static const char *state_word(const struct catalogue_entry *entry, const struct retention_backup *backup)
{
    if (entry->meta == NULL)
        return "unreadable";
    return backup->state == RETENTION_UNSOUND ? "damaged" : backup_state_word(entry->meta->state);
}

static bool tell_backup(const struct expire *expire, size_t i, struct control_stream *events, struct error *err)
{
    const struct catalogue_entry *entry = &expire->catalogue.entries[i];
    const struct retention_verdict *verdict = &expire->verdicts[i];

    return control_send_item(events,
                             json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:I}", "server", expire->server,
                                       "what", "backup", "id", entry->id.text, "system_id", entry->system.text, "state",
                                       state_word(entry, &expire->backups[i]), "kept", (int)verdict->is_kept, "rule",
                                       retention_rule_word(verdict->rule), "words", verdict->words, "stored_bytes",
                                       entry->meta != NULL ? (json_int_t)entry->meta->stored_bytes : (json_int_t)0),
                             err);
}

static bool tell_stretch(const struct expire *expire, const struct expire_wal *wal,
                         const struct retention_stretch *stretch, struct control_stream *events, struct error *err)
{
    char words[RETENTION_WORDS_SIZE];

    retention_wal_words(&stretch->verdict, words);
    return control_send_item(events,
                             json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:I, s:I, s:b, s:s, s:s}", "server",
                                       expire->server, "what", "wal", "system_id", wal->archive.system.text, "timeline",
                                       (json_int_t)stretch->timeline.value, "start", events_position(stretch->start),
                                       "end", events_position(stretch->end), "segments", (json_int_t)stretch->segments,
                                       "stored_bytes", (json_int_t)stretch->stored_bytes, "kept",
                                       (int)stretch->verdict.is_kept, "rule",
                                       retention_wal_rule_word(stretch->verdict.rule), "words", words),
                             err);
}

bool expire_tell(const struct expire *expire, struct control_stream *events, struct error *err)
{
    for (size_t i = 0; i < expire->stock.count; i++)
        if (!tell_backup(expire, i, events, err))
            return false;
    for (size_t i = 0; i < expire->wal_count; i++) {
        struct retention_stretch *stretches SCOPED(scoped_free) = NULL;
        size_t count = 0;
        if (expire->wal[i].archive.segment_size.bytes == 0)
            continue;
        retention_stretches(&expire->wal[i].view, expire->wal[i].verdicts, &stretches, &count);
        for (size_t j = 0; j < count; j++)
            if (!tell_stretch(expire, &expire->wal[i], &stretches[j], events, err))
                return false;
    }
    return true;
}
