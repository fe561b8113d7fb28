#include "stage/tar_path_internal.h"

#include <stdio.h>
#include <string.h>

#include "pgcoffer/stage/tar_copy.h"

bool tar_path_is_safe(const char *path)
{
    if (strlen(path) >= TAR_PATH_SIZE)
        return false;
    /* An absolute path and a trailing '/' show as an empty component, and so does an empty path. */
    for (const char *component = path;;) {
        size_t length = strcspn(component, "/");
        if (length == 0 || (length == 1 && component[0] == '.') ||
            (length == 2 && component[0] == '.' && component[1] == '.'))
            return false;
        if (component[length] == '\0')
            return true;
        component += length + 1;
    }
}

bool tar_path_normalise(const char *raw, char ret_path[TAR_PATH_SIZE])
{
    if (raw[0] == '.' && raw[1] == '/')
        raw += 2;
    size_t length = strlen(raw);
    if (length > 0 && raw[length - 1] == '/')
        length--;
    if (length >= TAR_PATH_SIZE)
        return false;
    memcpy(ret_path, raw, length);
    ret_path[length] = '\0';
    return tar_path_is_safe(ret_path);
}

void tar_path_printable(const char *raw, char ret_text[TAR_PATH_PRINTABLE_SIZE])
{
    static const char more[] = "...";
    size_t used = 0;

    for (; *raw != '\0'; raw++) {
        unsigned char byte = (unsigned char)*raw;
        bool is_plain = byte >= 0x20 && byte < 0x7F;
        if (used + (is_plain ? 1 : 4) + sizeof more > TAR_PATH_PRINTABLE_SIZE) {
            memcpy(ret_text + used, more, sizeof more);
            return;
        }
        if (is_plain)
            ret_text[used++] = (char)byte;
        else
            used += (size_t)snprintf(ret_text + used, 5, "\\x%02x", byte);
    }
    ret_text[used] = '\0';
}
