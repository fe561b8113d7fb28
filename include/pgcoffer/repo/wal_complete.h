#ifndef PGCOFFER_REPO_WAL_COMPLETE_H
#define PGCOFFER_REPO_WAL_COMPLETE_H

#include "pgcoffer/repo/wal_archive.h"

/*
 * Up to when the WAL of a timeline is complete, which its bytes do not tell: on a server where nothing happens none
 * come, and those that come may be old. Every transaction that ended on the timeline by `at`, a time of the server's
 * clock, lies before `position`.
 */
struct wal_complete {
    struct wal_position position;
    struct timestamp at; /* 0: it is not known */
};
/* Takes the place of what was noted before; durable. The timeline has a segment. */
bool wal_complete_write(const struct wal_archive *archive, struct timeline timeline,
                        const struct wal_complete *complete, struct error *err) NODISCARD;
/* What cannot be read or trusted is not known: the times of the transactions in the WAL say less, and that is sound. */
struct wal_complete wal_complete_read(const struct wal_archive *archive, struct timeline timeline);

#endif
