#ifndef PGCOFFER_TEST_REPO_SAMPLE_BACKUP_H
#define PGCOFFER_TEST_REPO_SAMPLE_BACKUP_H

#include "pgcoffer/repo/backup_meta.h"

#define SOME_SHA256 "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

/* A backup with something in every field; the caller frees it. */
static inline struct backup_meta *sample_backup(const char *id, const char *system)
{
    struct backup_meta *meta = backup_meta_new();

    snprintf(meta->id.text, sizeof meta->id.text, "%s", id);
    snprintf(meta->system.text, sizeof meta->system.text, "%s", system);
    snprintf(meta->server, sizeof meta->server, "primary");
    meta->server_version = 150018;
    snprintf(meta->server_version_text, sizeof meta->server_version_text, "15.18 (Debian)");
    snprintf(meta->tool_version, sizeof meta->tool_version, "0.1.0");
    snprintf(meta->label, sizeof meta->label, "before \"upgrade\" \xc3\xbc");
    snprintf(meta->checksum_algorithm, sizeof meta->checksum_algorithm, "CRC32C");
    snprintf(meta->data_directory_mode, sizeof meta->data_directory_mode, "0700");
    snprintf(meta->tls_version, sizeof meta->tls_version, "TLSv1.3");
    snprintf(meta->tls_cipher, sizeof meta->tls_cipher, "TLS_AES_256_GCM_SHA384");
    meta->is_fast_checkpoint = true;
    meta->has_data_checksums = true;
    meta->segment_size.bytes = 16 << 20;
    meta->start_timeline.value = 1;
    meta->end_timeline.value = 2;
    meta->start_position.value = UINT64_C(0x1602000028);
    meta->end_position.value = UINT64_C(0x1602000100);
    meta->started_at.microseconds = INT64_C(1795311000123456);
    meta->stopped_at.microseconds = INT64_C(1795311060000000);
    meta->server_started_at.microseconds = INT64_C(1795311000000000);
    meta->size_bytes = UINT64_C(5000000000);
    meta->stored_bytes = 1000000000;
    meta->file_count = 970;
    backup_meta_add_notice(meta, "NOTICE: WAL archiving is not enabled");
    backup_meta_add_tablespace(meta, 16389, "/srv/fast disk");
    backup_meta_add_tablespace(meta, UINT32_MAX, "/srv/\xff");
    backup_meta_add_file(meta, "base.tar.zst", 999999999, SOME_SHA256);
    backup_meta_add_file(meta, "index.jsonl.zst", 0, SOME_SHA256);
    return meta;
}

#endif
