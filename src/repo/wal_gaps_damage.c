#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#include "repo/wal_gaps_internal.h"
#include "repo/wal_internal.h"

#define PIECE 131072

/* ---- digests ---- */

static void scoped_digest(EVP_MD_CTX **digest)
{
    EVP_MD_CTX_free(*digest);
}

static bool fail_digest(struct error *err)
{
    return error_set(err, ERROR_FAILED, "could not compute SHA-256");
}

static bool digest_plain(const struct wal_archive *archive, struct wal_segment segment, EVP_MD_CTX *digest,
                         struct error *err)
{
    struct wal_reader *reader SCOPED(scoped_wal_reader) = NULL;
    uint8_t *piece SCOPED(scoped_free) = memory_new(PIECE);

    if (!wal_reader_open(archive, segment, &reader, err))
        return false;
    if (reader == NULL)
        return error_set(err, ERROR_INTEGRITY, "it is not held");
    for (size_t size = 1; size > 0;)
        if (!wal_reader_next(reader, piece, PIECE, &size, err) ||
            (EVP_DigestUpdate(digest, piece, size) != 1 && !fail_digest(err)))
            return false;
    return true;
}

static bool digest_file(const struct wal_archive *archive, struct wal_segment segment, EVP_MD_CTX *digest,
                        struct error *err)
{
    uint8_t *piece SCOPED(scoped_free) = memory_new(PIECE);
    int fd SCOPED(scoped_close) = -1;
    struct wal_file file;
    ssize_t size = 0;

    if (!wal_archive_open_segment(archive, segment, &fd, &file, err))
        return false;
    if (fd < 0)
        return error_set(err, ERROR_INTEGRITY, "it is not held");
    while ((size = read(fd, piece, PIECE)) > 0)
        if (EVP_DigestUpdate(digest, piece, (size_t)size) != 1)
            return fail_digest(err);
    return size == 0 || error_set_errno(err, "could not read a WAL segment of \"%s\"", archive->server);
}

typedef bool feed_digest(const struct wal_archive *archive, struct wal_segment segment, EVP_MD_CTX *digest,
                         struct error *err);

static bool compute(const struct wal_archive *archive, struct wal_segment segment, feed_digest *feed,
                    uint8_t ret_sha256[WAL_DIGEST_SIZE], struct error *err)
{
    EVP_MD_CTX *digest SCOPED(scoped_digest) = EVP_MD_CTX_new();

    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        return fail_digest(err);
    return feed(archive, segment, digest, err) &&
           (EVP_DigestFinal_ex(digest, ret_sha256, NULL) == 1 || fail_digest(err));
}

static bool digest_segment(const struct wal_archive *archive, struct wal_segment segment,
                           uint8_t ret_sha256[WAL_DIGEST_SIZE])
{
    struct error ignored;

    return compute(archive, segment, digest_plain, ret_sha256, &ignored) ||
           compute(archive, segment, digest_file, ret_sha256, &ignored);
}

size_t wal_gaps_digest(const struct wal_archive *archive, const struct wal_gap *gap, size_t most,
                       struct wal_damaged_file *ret_damaged)
{
    struct wal_segment segment = wal_segment_at(gap->timeline, gap->start, archive->segment_size);
    struct wal_segment last = wal_segment_before(gap->timeline, gap->end, archive->segment_size);
    struct wal_file file;
    struct error ignored;
    size_t count = 0;

    for (; segment.number <= last.number && count < most; segment.number++) {
        struct wal_damaged_file *damaged = &ret_damaged[count];
        if (!wal_archive_stat(archive, segment, &file, &ignored) || file.state == WAL_FILE_MISSING ||
            !digest_segment(archive, segment, damaged->sha256))
            continue;
        damaged->timeline = segment.timeline;
        damaged->start = wal_segment_start(segment, archive->segment_size);
        damaged->written_at = file.written_at;
        count++;
    }
    return count;
}

/* ---- the record ---- */

static struct wal_damaged_file *find(const struct wal_gap_record *record, struct timeline timeline,
                                     struct wal_position start)
{
    for (size_t i = 0; i < record->damaged_count; i++)
        if (record->damaged[i].timeline.value == timeline.value && record->damaged[i].start.value == start.value)
            return &record->damaged[i];
    return NULL;
}

bool wal_gaps_put_damaged(struct wal_gap_record *record, const struct wal_damaged_file *damaged)
{
    struct wal_damaged_file *known = find(record, damaged->timeline, damaged->start);

    if (known == NULL && record->damaged_count == WAL_GAPS_MOST)
        return false;
    if (known == NULL) {
        record->damaged = repo_grow(record->damaged, record->damaged_count, sizeof *record->damaged);
        known = &record->damaged[record->damaged_count++];
    } else if (memcmp(known->sha256, damaged->sha256, WAL_DIGEST_SIZE) == 0 &&
               known->written_at.microseconds == damaged->written_at.microseconds) {
        return false;
    }
    *known = *damaged;
    return true;
}

void wal_gaps_prune_damaged(struct wal_gap_record *record)
{
    size_t kept = 0;

    for (size_t i = 0; i < record->damaged_count; i++) {
        const struct wal_gap *gap = wal_gaps_at(&record->open, record->damaged[i].timeline, record->damaged[i].start);
        if (gap != NULL && gap->reason == WAL_GAP_DAMAGED)
            record->damaged[kept++] = record->damaged[i];
    }
    record->damaged_count = kept;
}

/* One that cannot be read now is no other one. */
static bool is_same_file(const struct wal_archive *archive, const struct wal_damaged_file *known,
                         const struct wal_file *file)
{
    uint8_t sha256[WAL_DIGEST_SIZE];

    return file->written_at.microseconds == known->written_at.microseconds ||
           !digest_segment(archive, file->segment, sha256) || memcmp(sha256, known->sha256, WAL_DIGEST_SIZE) == 0;
}

const struct wal_gap *wal_gaps_damage(const struct wal_archive *archive, const struct wal_gap_record *record,
                                      const struct wal_file *file)
{
    struct wal_position start = wal_segment_start(file->segment, archive->segment_size);
    const struct wal_gap *gap = wal_gaps_at(&record->open, file->segment.timeline, start);

    if (gap == NULL || gap->reason != WAL_GAP_DAMAGED)
        return NULL;
    const struct wal_damaged_file *known = find(record, file->segment.timeline, start);
    bool is_same = known != NULL ? is_same_file(archive, known, file)
                                 : file->written_at.microseconds <= gap->noticed_at.microseconds;
    return is_same ? gap : NULL;
}
