#ifndef PGCOFFER_REPO_BACKUP_META_H
#define PGCOFFER_REPO_BACKUP_META_H

#include "pgcoffer/base/json.h"
#include "pgcoffer/repo/layout.h"
#include "pgcoffer/wal/segment.h"

/*
 * backup.json: the metadata of one backup, written last and never changed. Its presence is the
 * commit. copied.json has the same content and stands in its place while the backup
 * waits for the WAL it needs. Keys this version does not know are kept in `unknown`.
 * The document carries "sha256" of itself: SHA-256 of the compact sorted JSON without that key.
 */
#define BACKUP_META_FORMAT     1
#define BACKUP_META_MOST_BYTES (16 << 20)

struct backup_tablespace {
    uint32_t oid;
    char *path; /* as on the server; raw bytes, hex in JSON when not UTF-8 */
};

struct backup_file {
    char *name; /* "base.tar.zst", "16389.tar.zst", "backup_manifest.zst", "index.jsonl.zst" */
    uint64_t size;
    char sha256[65];
};

enum backup_state { BACKUP_COMPLETE, BACKUP_DAMAGED, BACKUP_COPIED }; /* COPIED: waits for WAL */

struct backup_meta {
    struct backup_id id;
    enum backup_state state;
    char server[64];
    struct system_id system;
    int server_version; /* PQserverVersion(): 150018 */
    char server_version_text[64];
    char tool_version[32];
    char label[256];
    char checksum_algorithm[16]; /* of the server's manifest: "CRC32C" */
    bool from_standby;
    bool is_fast_checkpoint;
    bool has_data_checksums;
    char data_directory_mode[8]; /* "0700" */
    struct wal_segment_size segment_size;
    struct timeline start_timeline, end_timeline;
    struct wal_position start_position, end_position;
    struct timestamp started_at, stopped_at; /* own clock: command sent, end position known */
    struct timestamp server_started_at,
        server_stopped_at;             /* the server's: START TIME of backup_label; 0 when unknown */
    uint64_t size_bytes, stored_bytes; /* tar stream before, files after compression */
    uint64_t file_count;
    uint64_t checksum_failures; /* reported by the server; > 0 makes the state DAMAGED */
    char **notices;             /* the server's WARNINGs and NOTICEs, at most 100, printable */
    size_t notice_count;
    struct backup_tablespace *tablespaces;
    size_t tablespace_count;
    struct backup_file *files;
    size_t file_list_count;
    char tls_version[16], tls_cipher[64]; /* of the connection it came over; "" when insecure */
    json_t *unknown;                      /* keys of a writer that knew more; NULL when none */
};

struct backup_meta *backup_meta_new(void);
void backup_meta_free(struct backup_meta *meta);
static inline void scoped_backup_meta(struct backup_meta **meta)
{
    backup_meta_free(*meta);
}
void backup_meta_add_notice(struct backup_meta *meta, const char *text);
void backup_meta_add_file(struct backup_meta *meta, const char *name, uint64_t size, const char *sha256);
void backup_meta_add_tablespace(struct backup_meta *meta, uint32_t oid, const char *path);

/* `size` bytes of backup.json or copied.json. Damage, a newer format, an unknown feature: INTEGRITY, with a hint. */
bool backup_meta_parse(const char *text, size_t size, struct backup_meta **ret_meta, struct error *err) NODISCARD;
/* The document as it is stored; malloc'd, ends with a newline. */
char *backup_meta_to_text(const struct backup_meta *meta);
/* For `list` and `show`: plain keys, no "sha256" of itself. New reference. */
json_t *backup_meta_to_json(const struct backup_meta *meta);
const char *backup_state_word(enum backup_state state); /* "complete", "damaged", "copied" */

bool backup_meta_read(const struct repo *repo, const char *server, const struct system_id *system,
                      const struct backup_id *id, struct backup_meta **ret_meta, struct error *err) NODISCARD;
/* Writes copied.json (state COPIED), or backup.json and then removes copied.json; durable on return. */
bool backup_meta_write(const struct repo *repo, const struct backup_meta *meta, struct error *err) NODISCARD;

#endif
