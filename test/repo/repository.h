#ifndef PGCOFFER_TEST_REPO_REPOSITORY_H
#define PGCOFFER_TEST_REPO_REPOSITORY_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/repo/wal_archive.h"
#include "support/scratch.h"
#include "support/suite.h"

/* A repository in the scratch folder, with the WAL of one server in segments of 1 MB. */

#define ONE_MB     (1 << 20)
#define MUST(call) ck_assert_msg((call), "%s", err.message)

static struct repo repo;
static struct system_id system_id;
static struct wal_archive archive __attribute__((unused));

static inline void repository_make(void)
{
    struct error err;

    scratch_make();
    MUST(repo_open(scratch_directory, "", &repo, &err));
    MUST(system_id_parse("7000000000000000001", &system_id, &err));
    MUST(repo_create_system(&repo, "primary", &system_id, &err));
    MUST(wal_archive_open(&repo, "primary", &system_id, (struct wal_segment_size){ONE_MB}, &archive, &err));
}

static inline void repository_remove(void)
{
    repo_done(&repo);
    scratch_remove();
}

/* "wal/00000001/00000000/000000010000000000000003.zst" below BASE/primary/SYSTEMID. */
static inline const char *repository_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, 512, "%s/primary/%s/%s", repo.base_dir, system_id.text, name);
    return path;
}

static inline bool repository_has(const char *name)
{
    return access(repository_path(name), F_OK) == 0;
}

static inline void repository_put(const char *name, const void *bytes, size_t size)
{
    struct error err;
    char *path SCOPED(scoped_free) = memory_copy_text(repository_path(name));
    char *folder SCOPED(scoped_free) = memory_copy_text(path);

    *strrchr(folder, '/') = '\0';
    MUST(file_make_directories(folder, 0700, &err));
    int fd SCOPED(scoped_close) = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    MUST(file_write_all(fd, bytes, size, path, &err));
}

static inline struct buffer repository_get(const char *name)
{
    struct error err;
    struct buffer bytes = BUFFER_WITH_LIMIT(64 << 20);

    MUST(file_read_whole(repository_path(name), &bytes, &err));
    return bytes;
}

/* Bytes that do not repeat, the same for the same seed. */
static inline uint8_t *make_bytes(size_t size, uint32_t seed)
{
    uint8_t *bytes = memory_new(size);

    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(i % 7 == 0 ? 'w' : seed >> 24);
    }
    return bytes;
}

static inline struct wal_segment segment_of(uint32_t timeline, uint64_t number)
{
    return (struct wal_segment){{timeline}, number};
}

/* A finished, raw segment as the receiver leaves it. */
static inline void hold_segment(uint32_t timeline, uint64_t number)
{
    struct error err;
    struct wal_partial *partial = NULL;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, (uint32_t)number + 1000 * timeline);

    MUST(wal_partial_open(&archive, segment_of(timeline, number), &partial, &err));
    MUST(wal_partial_write(partial, 0, bytes, ONE_MB, &err));
    MUST(wal_partial_sync(partial, &err));
    MUST(wal_partial_finish(partial, &err));
    wal_partial_free(partial);
}

/* The first `size` bytes of that segment, unfinished. */
static inline void hold_partial(uint32_t timeline, uint64_t number, uint32_t size)
{
    struct error err;
    struct wal_partial *partial = NULL;
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, (uint32_t)number + 1000 * timeline);

    MUST(wal_partial_open(&archive, segment_of(timeline, number), &partial, &err));
    MUST(wal_partial_write(partial, 0, bytes, size, &err));
    MUST(wal_partial_sync(partial, &err));
    wal_partial_free(partial);
}

static inline void assert_holds(uint32_t timeline, uint64_t number, enum wal_file_state state)
{
    struct error err;
    struct wal_file file;
    struct buffer plain = BUFFER_WITH_LIMIT(ONE_MB);
    uint8_t *bytes SCOPED(scoped_free) = make_bytes(ONE_MB, (uint32_t)number + 1000 * timeline);

    MUST(wal_archive_read_segment(&archive, segment_of(timeline, number), &plain, &file, &err));
    ck_assert_int_eq(file.state, state);
    ck_assert_uint_eq(plain.used, ONE_MB);
    memset(bytes + file.held_bytes, 0, ONE_MB - file.held_bytes);
    ck_assert_int_eq(memcmp(plain.bytes, bytes, ONE_MB), 0);
    buffer_done(&plain);
}

#endif
