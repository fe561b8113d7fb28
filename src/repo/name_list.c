#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgcoffer/base/memory.h"

#include "repo/repo_internal.h"

static void scoped_closedir(DIR **directory)
{
    if (*directory != NULL)
        closedir(*directory);
}

static void scoped_name_list(struct name_list *names)
{
    name_list_done(names);
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

void *repo_grow(void *array, size_t count, size_t element_size)
{
    if ((count & (count - 1)) != 0) /* room is always the next power of two */
        return array;
    void *grown = reallocarray(array, count == 0 ? 1 : 2 * count, element_size);
    if (grown == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return grown;
}

bool name_list_read(const char *directory, struct name_list *ret_names, struct error *err)
{
    struct name_list names SCOPED(scoped_name_list) = {NULL, 0};
    DIR *stream SCOPED(scoped_closedir) = opendir(directory);

    if (stream == NULL && errno != ENOENT)
        return error_set_errno(err, "could not open directory \"%s\"", directory);
    while (stream != NULL) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL && errno != 0)
            return error_set_errno(err, "could not read directory \"%s\"", directory);
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        names.names = repo_grow(names.names, names.count, sizeof *names.names);
        names.names[names.count++] = memory_copy_text(entry->d_name);
    }
    if (names.count > 0)
        qsort(names.names, names.count, sizeof *names.names, compare_names);
    *ret_names = names;
    names = (struct name_list){NULL, 0};
    return true;
}

void name_list_done(struct name_list *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = (struct name_list){NULL, 0};
}
