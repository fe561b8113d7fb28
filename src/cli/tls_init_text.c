#include <string.h>

#include "cli/tls_kit_internal.h"
#include "pgcoffer/base/memory.h"

/* How each kind of file wants its values written. */

/* Puts a backslash in front of each of `special`, or doubles it. */
static char *escape(const char *text, const char *special, bool is_doubled)
{
    char *escaped = memory_new(2 * strlen(text) + 1);
    char *end = escaped;

    for (; *text != '\0'; text++) {
        bool is_special = strchr(special, *text) != NULL;
        if (is_special && is_doubled)
            *end++ = *text;
        else if (is_special)
            *end++ = '\\';
        *end++ = *text;
    }
    return escaped;
}

char *tls_init_setting_line(const char *name, const char *directory, const char *file)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", directory, file);
    char *escaped SCOPED(scoped_free) = escape(path, "'\\", true);

    return memory_text("%s = '%s'", name, escaped);
}

char *tls_init_pair_line(const char *name, const char *directory, const char *file)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", directory, file);

    if (strpbrk(path, " \"#;\\") == NULL)
        return memory_text("%s = %s", name, path);
    char *escaped SCOPED(scoped_free) = escape(path, "\"\\", false);
    return memory_text("%s = \"%s\"", name, escaped);
}

char *tls_init_yaml_line(const char *name, const char *directory, const char *file)
{
    char *path SCOPED(scoped_free) = memory_text("%s/%s", directory, file);
    char *escaped SCOPED(scoped_free) = escape(path, "'", true);

    return memory_text("%s: '%s'", name, escaped);
}

char *tls_init_with_port(const char *name, int port)
{
    bool is_ipv6 = strchr(name, ':') != NULL;

    return memory_text("%s%s%s:%d", is_ipv6 ? "[" : "", name, is_ipv6 ? "]" : "", port);
}
