#include "jobs/exporter/metrics_internal.h"

/* Figures of what is stored, as the last survey found it. */

static const json_t *part(const json_t *server, const char *name)
{
    return json_object_get(json_object_get(server, "survey"), name);
}

void metric_pgcoffer_survey_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_time(scrape, json_object_get(server, "survey"), "at");
}

/* ---- backups ---- */

static const json_t *last_success(const json_t *server)
{
    return json_object_get(part(server, "backups"), "last_success");
}

void metric_pgcoffer_backup_last_success_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_time(scrape, last_success(server), "stopped_at");
}

void metric_pgcoffer_backup_last_duration_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_number(scrape, last_success(server), "duration_seconds");
}

void metric_pgcoffer_backup_last_size_bytes(struct scrape *scrape, const json_t *server)
{
    scrape_number_with(scrape, "plain", last_success(server), "size_bytes");
    scrape_number_with(scrape, "stored", last_success(server), "stored_bytes");
}

void metric_pgcoffer_backups(struct scrape *scrape, const json_t *server)
{
    static const char *const states[] = {"complete", "damaged", "copied", "unreadable"};
    const json_t *counts = json_object_get(part(server, "backups"), "states");

    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        scrape_number_with(scrape, states[i], counts, states[i]);
}

void metric_pgcoffer_repository_size_bytes(struct scrape *scrape, const json_t *server)
{
    scrape_number_with(scrape, "backups", part(server, "room"), "backup_bytes");
    scrape_number_with(scrape, "wal", part(server, "room"), "wal_bytes");
}

/* ---- what can be restored ---- */

static const json_t *newest_window(const json_t *server)
{
    const json_t *windows = json_object_get(part(server, "restorable"), "windows");

    return json_array_get(windows, json_array_size(windows) - 1);
}

void metric_pgcoffer_recovery_window_start_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_time(scrape, newest_window(server), "from");
}

void metric_pgcoffer_recovery_window_end_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_time(scrape, newest_window(server), "until");
}

void metric_pgcoffer_recovery_window_open(struct scrape *scrape, const json_t *server)
{
    scrape_boolean(scrape, newest_window(server), "open");
}

/* ---- proofs ---- */

void metric_pgcoffer_verify_last_success_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_time(scrape, json_object_get(part(server, "proofs"), "verify_success"), "at");
}

void metric_pgcoffer_verify_last_duration_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_number(scrape, json_object_get(part(server, "proofs"), "verify"), "seconds");
}

void metric_pgcoffer_verify_failed_backups(struct scrape *scrape, const json_t *server)
{
    const json_t *proofs = part(server, "proofs");

    /* What a note that cannot be read says is not known: then 0 is not. */
    if (json_text_or_null(proofs, "unreadable") == NULL || json_number_or(proofs, "failed_count", 0) > 0)
        scrape_number(scrape, proofs, "failed_count");
}

void metric_pgcoffer_restore_drill_last_success_timestamp_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_time(scrape, json_object_get(part(server, "proofs"), "drill_success"), "at");
}

void metric_pgcoffer_restore_drill_duration_seconds(struct scrape *scrape, const json_t *server)
{
    scrape_number(scrape, json_object_get(part(server, "proofs"), "drill_success"), "seconds");
}

/* Of a former cluster it proves nothing. */
void metric_pgcoffer_restore_drill_last_good(struct scrape *scrape, const json_t *server)
{
    const json_t *proofs = part(server, "proofs");

    if (!json_is_set(proofs, "drill_former"))
        scrape_boolean(scrape, json_object_get(proofs, "drill"), "good");
}
