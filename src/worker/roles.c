#include <string.h>

#include "pgcoffer/worker/worker.h"

enum network { NO_NETWORK, USE_NETWORK, BOUND_NETWORK };
enum repository { NO_REPOSITORY, READ_REPOSITORY, WRITE_REPOSITORY };
enum keys { NO_KEYS, READ_KEYS };

const struct role roles[ROLE_COUNT] = {
#define ROLE(name_, network, repository, keys, summary_)                                                               \
    [ROLE_##name_] = {                                                                                                 \
        .id = ROLE_##name_,                                                                                            \
        .name = #name_,                                                                                                \
        .may_use_network = (network) == USE_NETWORK,                                                                   \
        .is_bound_to_port = (network) == BOUND_NETWORK,                                                                \
        .may_write_repository = (repository) == WRITE_REPOSITORY,                                                      \
        .may_read_repository = (repository) != NO_REPOSITORY,                                                          \
        .may_read_keys = (keys) == READ_KEYS,                                                                          \
        .summary = (summary_),                                                                                         \
    },
#include "pgcoffer/worker/roles.def"
#undef ROLE
};

bool role_find(const char *name, enum role_id *ret_role)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (strcmp(roles[i].name, name) == 0) {
            *ret_role = roles[i].id;
            return true;
        }
    }
    return false;
}
