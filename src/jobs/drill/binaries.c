#include <ctype.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs/drill/drill_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define PACKAGED       "/usr/lib/postgresql/%d/bin"
#define ANSWER_SIZE    256
#define ANSWER_SECONDS 30
#define FIRST_AMCHECK  14 /* the first PostgreSQL with pg_amcheck */

void binaries_done(struct binaries *binaries)
{
    free(binaries->postgres);
    free(binaries->psql);
    free(binaries->amcheck);
    *binaries = (struct binaries){0};
}

static int read_number(const char **at)
{
    int number = 0;

    for (; isdigit((unsigned char)**at) && number < BINARIES_MAJOR; (*at)++)
        number = number * 10 + (**at - '0');
    return number;
}

/* Also "postgres (PostgreSQL) 19devel" */
int binaries_read_version(const char *words, char *ret_version, size_t size)
{
    static const char name[] = "(PostgreSQL) ";
    const char *at = strstr(words, name);

    if (at == NULL)
        return 0;
    at += strlen(name);
    snprintf(ret_version, size, "%.*s", (int)strcspn(at, " \n"), at);
    text_make_printable(ret_version);
    int major = read_number(&at);
    at += *at == '.';
    return major >= BINARIES_MAJOR ? 0 : major * BINARIES_MAJOR + read_number(&at) % BINARIES_MAJOR;
}

/* ---- asking one ---- */

struct answer {
    char text[ANSWER_SIZE];
    size_t used;
};

static void keep_words(void *context, bool is_error, const char *bytes, size_t size)
{
    struct answer *answer = context;
    size_t room = sizeof answer->text - 1 - answer->used;

    if (is_error)
        return;
    if (size > room)
        size = room;
    memcpy(answer->text + answer->used, bytes, size);
    answer->used += size;
}

/* 0: it does not run, or is something else. */
static int ask_version(const char *path, char *ret_version, size_t size)
{
    char *argv[] = {(char *)path, (char *)"--version", NULL};
    struct program_start start = {.argv = argv, .kept_fd = -1, .death_signal = SIGKILL};
    struct program program SCOPED(program_done) = PROGRAM_NONE;
    struct answer answer = {.used = 0};
    struct error ignored;
    int64_t deadline = clock_monotonic() + ANSWER_SECONDS * INT64_C(1000000);

    if (!program_begin(&start, &program, &ignored))
        return 0;
    while (program_step(&program, DRILL_TICK_MILLISECONDS, keep_words, &answer))
        if (clock_monotonic() > deadline)
            return 0;
    if (!WIFEXITED(program.status) || WEXITSTATUS(program.status) != 0)
        return 0;
    return binaries_read_version(answer.text, ret_version, size);
}

/* ---- looking for them ---- */

static char *find_in_path(const char *name)
{
    const char *path = getenv("PATH");

    for (const char *at = path != NULL ? path : ""; *at != '\0';) {
        size_t size = strcspn(at, ":");
        char *file SCOPED(scoped_free) = memory_text("%.*s/%s", (int)size, at, name);
        if (size > 0 && at[0] == '/' && access(file, X_OK) == 0)
            return TAKE(file);
        at += size + (at[size] == ':');
    }
    return NULL;
}

static char *file_in(const char *folder, const char *name)
{
    char *file SCOPED(scoped_free) = memory_text("%s/%s", folder, name);

    return access(file, X_OK) == 0 ? TAKE(file) : NULL;
}

static bool fail_absent(int major, const char *seen, struct error *err)
{
    error_set(err, ERROR_CONFIG, "there are no programs of PostgreSQL %d on this host, which the backup needs", major);
    if (seen[0] != '\0')
        error_detail(err, "%s.", seen);
    return error_hint(err,
                      "Install them (Debian: apt install postgresql-%d), or name their directory with pg_bin_dir, in "
                      "[pgcoffer], the server's section or [" CONFIG_CLIENT_SECTION "].",
                      major);
}

static bool find_postgres(const char *bin_dir, int major, struct binaries *binaries, struct error *err)
{
    char *packaged SCOPED(scoped_free) = memory_text(PACKAGED, major);
    bool is_set = bin_dir[0] != '\0';
    char seen[512] = "";

    for (unsigned place = 0; place < (is_set ? 1 : 2); place++) {
        char *path SCOPED(scoped_free) =
            place == 1 ? find_in_path("postgres") : file_in(is_set ? bin_dir : packaged, "postgres");
        if (path == NULL) {
            if (is_set)
                snprintf(seen, sizeof seen, "pg_bin_dir is %.400s, and has no postgres that can be run", bin_dir);
            continue;
        }
        int found = ask_version(path, binaries->version, sizeof binaries->version);
        if (found / BINARIES_MAJOR == major) {
            binaries->number = found;
            binaries->postgres = TAKE(path);
            return true;
        }
        if (found == 0)
            snprintf(seen, sizeof seen, "%.400s does not tell its version", path);
        else
            snprintf(seen, sizeof seen, "%.400s is PostgreSQL %.64s", path, binaries->version);
    }
    return fail_absent(major, seen, err);
}

/* Beside postgres; else another's, which can talk to it as well. */
static bool find_client(const struct binaries *binaries, const char *name, const char *option, int major,
                        char **ret_path, struct error *err)
{
    char *folder SCOPED(scoped_free) =
        memory_text("%.*s", (int)(strrchr(binaries->postgres, '/') - binaries->postgres), binaries->postgres);
    char *path SCOPED(scoped_free) = file_in(folder, name);

    if (path == NULL)
        path = find_in_path(name);
    if (path == NULL) {
        error_set(err, ERROR_CONFIG, "%s needs %s, which is neither in \"%s\" nor in PATH", option, name, folder);
        return error_hint(err, "Install it (Debian: apt install postgresql-client-%d), or leave %s out.", major,
                          option);
    }
    *ret_path = TAKE(path);
    return true;
}

bool binaries_find(const struct drill_options *options, int major, struct binaries *ret_binaries, struct error *err)
{
    struct binaries binaries SCOPED(binaries_done) = {0};

    if (options->wants_amcheck && major < FIRST_AMCHECK)
        return error_set(err, ERROR_USAGE, "--amcheck: PostgreSQL %d cannot be checked so, only %d and later", major,
                         FIRST_AMCHECK);
    if (!find_postgres(options->bin_dir, major, &binaries, err) ||
        (options->query != NULL && !find_client(&binaries, "psql", "--query", major, &binaries.psql, err)) ||
        (options->wants_amcheck && !find_client(&binaries, "pg_amcheck", "--amcheck", major, &binaries.amcheck, err)))
        return false;
    *ret_binaries = binaries;
    binaries = (struct binaries){0};
    return true;
}
