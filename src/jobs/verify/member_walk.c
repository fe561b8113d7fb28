#include "jobs/verify/member_walk_internal.h"

#include <string.h>
#include <strings.h>

void member_walk_begin(struct member_walk *walk, const struct index *index, const char *archive,
                       enum checksum_algorithm algorithm)
{
    walk->index = index;
    walk->archive = archive;
    walk->checksum = checksum_new(algorithm);
    checksum_restart(walk->checksum);
}

void member_walk_done(struct member_walk *walk)
{
    checksum_free(walk->checksum);
}

static bool finish_member(struct member_walk *walk, const struct index_member *member, struct error *err)
{
    char found[CHECKSUM_HEX_SIZE];
    bool is_broken = walk->is_broken;

    checksum_final(walk->checksum, found);
    checksum_restart(walk->checksum);
    walk->next++;
    walk->done = 0;
    walk->is_broken = false;
    if (is_broken || member->type != MEMBER_FILE || strcasecmp(found, member->checksum) == 0)
        return true;
    return walk->differs(walk->context, member, found, err);
}

bool member_walk_feed(struct member_walk *walk, const uint8_t *bytes, uint64_t offset, size_t size, struct error *err)
{
    uint64_t end = offset + size;

    for (; walk->next < walk->index->member_count;) {
        const struct index_member *member = &walk->index->members[walk->next];
        if (strcmp(member->archive, walk->archive) != 0) {
            walk->next++;
            continue;
        }
        uint64_t wanted = member->data_offset + walk->done;
        uint64_t left = member->size - walk->done;
        if (wanted > end || (left > 0 && wanted == end))
            return true;
        if (wanted < offset) /* the index reader lets members neither overlap nor go back */
            return error_set(err, ERROR_INTEGRITY, "the members of the index are out of order");
        uint64_t part = end - wanted < left ? end - wanted : left;
        if (part > 0 && bytes != NULL)
            checksum_update(walk->checksum, bytes + (wanted - offset), (size_t)part);
        walk->is_broken = walk->is_broken || (part > 0 && bytes == NULL);
        walk->done += part;
        if (walk->done == member->size && !finish_member(walk, member, err))
            return false;
    }
    return true;
}
