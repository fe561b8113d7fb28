#include "jobs/receive/expiry_internal.h"

#include <stdio.h>
#include <string.h>

#define DAY INT64_C(86400000000)

enum expiry_level expiry_judge(struct timestamp not_after, struct timestamp now, struct expiry_limits limits)
{
    int64_t left = not_after.microseconds - now.microseconds;

    if (left <= 0)
        return EXPIRY_OVER;
    if (left < limits.critical_days * DAY)
        return EXPIRY_CRITICAL;
    return left < limits.warn_days * DAY ? EXPIRY_NEAR : EXPIRY_FAR;
}

bool expiry_next_change(struct timestamp not_after, struct timestamp now, struct expiry_limits limits,
                        struct timestamp *ret_at)
{
    const long days[] = {limits.warn_days, limits.critical_days, 0};
    bool has_any = false;

    for (size_t i = 0; i < sizeof days / sizeof days[0]; i++) {
        /* The first moment at which less than so many days are left. */
        int64_t at = not_after.microseconds - days[i] * DAY + (days[i] > 0);
        if (at <= now.microseconds || (has_any && at >= ret_at->microseconds))
            continue;
        ret_at->microseconds = at;
        has_any = true;
    }
    return has_any;
}

static struct expiry_told *find_told(struct expiry_memory *memory, const char *name)
{
    for (size_t i = 0; i < EXPIRY_MOST_TOLD; i++)
        if (strncmp(memory->told[i].name, name, sizeof memory->told[i].name - 1) == 0) /* kept cut */
            return &memory->told[i];
    return NULL;
}

bool expiry_is_due(struct expiry_memory *memory, const char *name, enum expiry_level level, int64_t now)
{
    struct expiry_told *told = find_told(memory, name);

    if (level == EXPIRY_FAR)
        return false;
    if (told != NULL && level <= told->level && now - told->told_at < EXPIRY_TOLD_EVERY)
        return false;
    if (told == NULL) {
        told = &memory->told[memory->next];
        memory->next = (memory->next + 1) % EXPIRY_MOST_TOLD;
        snprintf(told->name, sizeof told->name, "%s", name);
    }
    told->level = level;
    told->told_at = now;
    return true;
}
