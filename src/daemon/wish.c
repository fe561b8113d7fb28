#include "daemon/wish_internal.h"

#include <string.h>

#include "pgcoffer/base/text.h"

static bool is_same_text(const char *left, const char *right)
{
    return strcmp(left, right) == 0;
}

/* How long it is kept is no concern of who receives it. */
static bool is_of_retention(const char *name)
{
    return text_starts_with(name, "retention") || strcmp(name, "wal_retention") == 0;
}

/* Lists name who may do what; that is the supervisor's business and no reason to reconnect. */
bool wish_is_same(const struct settings *left, const struct settings *right)
{
    bool is_same = true;

#define TEXT(name, scope, when, default_text, sample, help)                                                            \
    is_same = is_same && (is_of_retention(#name) || is_same_text(left->name, right->name));
#define NUMBER(name, scope, when, default_number, least, most, help)                                                   \
    is_same = is_same && (is_of_retention(#name) || left->name == right->name);
#define CHOICE(name, scope, when, default_text, choices, help)                                                         \
    is_same = is_same && is_same_text(left->name, right->name);
#define BOOLEAN(name, scope, when, default_text, help) is_same = is_same && left->name == right->name;
#define LIST(name, scope, when, default_text, sample, help)
#define NUMBERS(name, scope, when, default_number, least, most, help)                                                  \
    is_same = is_same && left->name == right->name && is_same_text(left->name##_list, right->name##_list);
#define SIZE(name, scope, when, default_text, help) is_same = is_same && left->name == right->name;
#include "pgcoffer/config/settings.def"
#undef TEXT
#undef NUMBER
#undef CHOICE
#undef BOOLEAN
#undef LIST
#undef NUMBERS
#undef SIZE
    return is_same;
}
