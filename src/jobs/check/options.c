#include <string.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/jobs/check.h"

struct check_options check_options_default(const struct settings *settings)
{
    struct check_options options = {
        .warn_days = settings->expiry_warn_days,
        .critical_days = settings->expiry_critical_days,
    };

    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        options.is_wanted[id] = true;
    return options;
}

static bool refuse_name(const char *name, struct error *err)
{
    const char *names[2 * CHECK_COUNT];
    size_t count = 0;

    for (enum check_id id = 0; id < CHECK_COUNT; id++) {
        names[count++] = check_rows[id].group;
        names[count++] = check_rows[id].name;
    }
    const char *closest = text_closest(name, names, count);
    error_set(err, ERROR_USAGE, "there is no check and no group of checks \"%s\"", name);
    if (closest != NULL)
        return error_hint(err, "Did you mean \"%s\"?", closest);
    return error_hint(err, "\"pgcoffer check --list\" prints every one; the group is the word before the dot.");
}

static bool want(struct check_options *options, const char *name)
{
    bool is_found = false;

    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        if (strcmp(check_rows[id].group, name) == 0 || strcmp(check_rows[id].name, name) == 0) {
            options->is_wanted[id] = true;
            is_found = true;
        }
    return is_found;
}

bool check_options_only(struct check_options *options, const char *names, bool is_first, struct error *err)
{
    struct check_options chosen = *options;
    char *list SCOPED(scoped_free) = memory_copy_text(names);
    char *rest = list;

    for (enum check_id id = 0; is_first && id < CHECK_COUNT; id++)
        chosen.is_wanted[id] = false;
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        name += strspn(name, " \t");
        name[strcspn(name, " \t")] = '\0';
        if (!want(&chosen, name))
            return refuse_name(name, err);
    }
    *options = chosen;
    return true;
}
