#ifndef PGCOFFER_CONFIG_SETTINGS_INTERNAL_H
#define PGCOFFER_CONFIG_SETTINGS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "pgcoffer/config/config.h"

/* settings.def as a table: what one row says, and the two directions between a value and its text. */
enum setting_type { TYPE_TEXT, TYPE_NUMBER, TYPE_CHOICE, TYPE_BOOLEAN, TYPE_LIST, TYPE_NUMBERS, TYPE_SIZE };

/* One number a row; the rows of settings_table stand in this order. */
enum setting_id {
#define TEXT(name, scope, when, default_text, sample, help)           SETTING_##name,
#define NUMBER(name, scope, when, default_number, least, most, help)  SETTING_##name,
#define CHOICE(name, scope, when, default_text, choices, help)        SETTING_##name,
#define BOOLEAN(name, scope, when, default_text, help)                SETTING_##name,
#define LIST(name, scope, when, default_text, sample, help)           SETTING_##name,
#define NUMBERS(name, scope, when, default_number, least, most, help) SETTING_##name,
#define SIZE(name, scope, when, default_text, help)                   SETTING_##name,
#include "pgcoffer/config/settings.def"
#undef TEXT
#undef NUMBER
#undef CHOICE
#undef BOOLEAN
#undef LIST
#undef NUMBERS
#undef SIZE
    SETTING_COUNT
};

struct setting {
    const char *name;
    enum setting_type type;
    enum setting_scope scope;
    enum setting_when when;
    size_t offset; /* of the member in struct settings */
    size_t size;
    uint64_t least;
    uint64_t most;
    const char *choices;
    const char *default_text;
    const char *sample;
    const char *help;
};

extern const struct setting settings_table[SETTING_COUNT];

void settings_defaults(struct settings *ret_settings);
/* NULL when there is none of that name. */
const struct setting *settings_find(const char *name);
/* Sets the hint to what somebody who wrote `name` probably meant. */
void settings_suggest(const char *name, struct error *err);
/* Checks `text` by the row's type, limits and shape; a refused value changes nothing. */
bool settings_assign(struct settings *settings, const struct setting *setting, const char *text,
                     struct error *err) NODISCARD;
/* The value as settings_assign() reads it. */
void settings_value_text(const struct settings *settings, const struct setting *setting,
                         char ret_text[CONFIG_TEXT_SIZE]);
void settings_copy_value(struct settings *to, const struct settings *from, const struct setting *setting);
bool settings_is_in_scope(const struct setting *setting, bool is_daemon);

/* What a row alone cannot say about a text: files are absolute paths, hostaddr is an address, ... */
bool setting_shapes_check(const struct setting *setting, const char *text, struct error *err) NODISCARD;
/* The items of a list one after the other, without the blanks around them; *at becomes NULL at the end. */
bool setting_item_next(const char **at, char ret_item[CONFIG_TEXT_SIZE]);
/* "a , @b" becomes "a,@b". */
bool setting_shapes_read_list(const struct setting *setting, const char *text, char ret_list[CONFIG_TEXT_SIZE],
                              struct error *err) NODISCARD;
/* "256MB" and its like; PostgreSQL's units, in upper or lower case. */
bool setting_shapes_read_size(const struct setting *setting, const char *text, uint64_t *ret_bytes,
                              struct error *err) NODISCARD;
/* With the largest unit that leaves no rest. */
void setting_shapes_size_text(uint64_t bytes, char ret_text[CONFIG_TEXT_SIZE]);

#endif
