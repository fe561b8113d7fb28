#ifndef PGCOFFER_TEST_SUPPORT_SCRATCH_H
#define PGCOFFER_TEST_SUPPORT_SCRATCH_H

#include <check.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "pgcoffer/base/file.h"

/*
 * A folder of its own for each test: tcase_add_checked_fixture(tests, scratch_make, scratch_remove).
 * scratch_path("a") is good until the eighth call after it.
 */
static char scratch_directory[64];

static inline void scratch_make(void)
{
    snprintf(scratch_directory, sizeof scratch_directory, "/tmp/pgcoffer-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(scratch_directory));
}

static inline void scratch_remove(void)
{
    struct error err;

    ck_assert_msg(file_remove_tree(scratch_directory, &err), "%s", err.message);
}

static inline const char *scratch_path(const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, PATH_MAX, "%s/%s", scratch_directory, name);
    return path;
}

static inline int scratch_count_entries(void)
{
    int count = 0;
    DIR *directory = opendir(scratch_directory);

    ck_assert_ptr_nonnull(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count - 2; /* "." and ".." */
}

#endif
