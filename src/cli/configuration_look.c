#include <glob.h>
#include <libgen.h>

#include "cli/cli_internal.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/memory.h"

#define MOST_CONFIGURATION (1u << 20)

static bool take_section(void *context, const struct ini_place *place, const char *section, struct error *err)
{
    (void)context;
    (void)place;
    (void)section;
    (void)err;
    return true;
}

static bool look_into(const char *path, ini_pair_function *take_pair, void *context, struct error *err)
{
    struct buffer text SCOPED(buffer_done) = BUFFER_WITH_LIMIT(MOST_CONFIGURATION);
    struct ini_handler handler = {.section = take_section, .pair = take_pair, .context = context};
    struct error ignored; /* what stands above a fault was seen */

    if (!file_read_whole(path, &text, err))
        return false;
    bool is_sound = ini_parse((const char *)text.bytes, text.used, path, &handler, &ignored);
    (void)is_sound;
    return true;
}

bool configuration_look(const char *path, ini_pair_function *take_pair, void *context, struct error *err)
{
    char *copy SCOPED(scoped_free) = memory_copy_text(path);
    char *pattern SCOPED(scoped_free) = memory_text("%s/conf.d/*.conf", dirname(copy));
    glob_t found;
    struct error ignored;

    bool is_readable = look_into(path, take_pair, context, err);
    if (glob(pattern, 0, NULL, &found) != 0)
        return is_readable;
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (!look_into(found.gl_pathv[i], take_pair, context, &ignored))
            continue;
    globfree(&found);
    return is_readable;
}
