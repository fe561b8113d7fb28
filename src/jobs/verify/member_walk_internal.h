#ifndef PGCOFFER_JOBS_VERIFY_MEMBER_WALK_INTERNAL_H
#define PGCOFFER_JOBS_VERIFY_MEMBER_WALK_INTERNAL_H

#include "pgcoffer/repo/index.h"
#include "pgcoffer/stage/checksum.h"

/*
 * Follows the plain bytes of one archive and computes the checksum of each member on the way: proof that the index
 * points at the very bytes the server's manifest is about.
 */
struct member_walk {
    const struct index *index;
    const char *archive;
    struct checksum *checksum;
    size_t next;    /* the member that is being followed */
    uint64_t done;  /* bytes of it that have passed */
    bool is_broken; /* a part of it was not readable: nothing is said of it */
    /* Called for a member whose checksum is another. */
    bool (*differs)(void *context, const struct index_member *member, const char *found, struct error *err);
    void *context;
};

void member_walk_begin(struct member_walk *walk, const struct index *index, const char *archive,
                       enum checksum_algorithm algorithm);
/* Bytes at `offset` of the plain stream, in order; `bytes` NULL when they could not be read. */
bool member_walk_feed(struct member_walk *walk, const uint8_t *bytes, uint64_t offset, size_t size,
                      struct error *err) NODISCARD;
void member_walk_done(struct member_walk *walk);

#endif
