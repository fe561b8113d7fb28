#include "pg/base_backup_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define LABEL_MOST         1024 /* PostgreSQL's MAXPGPATH */
#define TABLESPACES_MOST   65536
#define LARGEST_SIZE_IN_KB (UINT64_MAX / 1024)

/* In replication commands only the quote itself is special. */
static char *quote(const char *text)
{
    char *quoted = memory_new(strlen(text) * 2 + 3);
    char *next = quoted;

    *next++ = '\'';
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            *next++ = '\'';
        *next++ = *text;
    }
    *next = '\'';
    return quoted;
}

static bool check_label(const char *label, struct error *err)
{
    if (strlen(label) > LABEL_MOST)
        return error_set(err, ERROR_USAGE, "the label has %zu bytes, more than PostgreSQL's %d", strlen(label),
                         LABEL_MOST);
    /* backup_label has a line for it. */
    for (const char *next = label; *next != '\0'; next++)
        if ((unsigned char)*next < ' ' || *next == 127)
            return error_set(err, ERROR_USAGE, "the label has a control character");
    return true;
}

bool base_backup_command(const struct base_backup_options *options, int server_version, bool is_lz4, char **ret_command,
                         struct error *err)
{
    if (!check_label(options->label, err))
        return false;
    char *label SCOPED(scoped_free) = quote(options->label);
    char *algorithm SCOPED(scoped_free) = quote(options->checksum_algorithm);

    if (server_version >= BASE_BACKUP_FIRST_NEW_GRAMMAR)
        *ret_command = memory_text("BASE_BACKUP (LABEL %s, PROGRESS true, CHECKPOINT '%s', WAIT false, "
                                   "TABLESPACE_MAP true, MANIFEST 'yes', MANIFEST_CHECKSUMS %s%s)",
                                   label, options->is_fast_checkpoint ? "fast" : "spread", algorithm,
                                   is_lz4 ? ", COMPRESSION 'lz4'" : "");
    else
        *ret_command = memory_text("BASE_BACKUP LABEL %s PROGRESS %sNOWAIT TABLESPACE_MAP MANIFEST 'yes' "
                                   "MANIFEST_CHECKSUMS %s",
                                   label, options->is_fast_checkpoint ? "FAST " : "", algorithm);
    return true;
}

static bool take_tablespace(const PGresult *result, int row, struct base_backup_tablespace *ret_tablespace)
{
    const char *oid_text = pg_field(result, row, 0);
    const char *path = pg_field(result, row, 1);
    const char *size_text = pg_field(result, row, 2);
    bool is_last = row == PQntuples(result) - 1;
    uint64_t oid = 0, kilobytes = 0;

    /* The data directory is the row without a number, and the last one. */
    if ((oid_text == NULL) != is_last || (path == NULL) != is_last)
        return false;
    if (oid_text != NULL && (!text_parse_unsigned(oid_text, UINT32_MAX, &oid) || oid == 0))
        return false;
    if (size_text != NULL && !text_parse_unsigned(size_text, LARGEST_SIZE_IN_KB, &kilobytes))
        return false;
    *ret_tablespace = (struct base_backup_tablespace){
        .oid = (uint32_t)oid,
        .path = path == NULL ? NULL : memory_copy_text(path),
        .size_estimate = kilobytes * 1024,
    };
    return true;
}

bool base_backup_take_tablespaces(struct base_backup *backup, const PGresult *result, struct error *err)
{
    int rows = PQntuples(result);

    if (rows < 1 || rows > TABLESPACES_MOST)
        return error_set(err, ERROR_SERVER, "the server sent a list of %d tablespaces", rows);
    backup->tablespaces = memory_new((size_t)rows * sizeof *backup->tablespaces);
    for (int row = 0; row < rows; row++) {
        if (!take_tablespace(result, row, &backup->tablespaces[row]))
            return error_set(err, ERROR_SERVER, "the server sent a list of tablespaces of unknown form");
        backup->tablespace_count++;
    }
    return true;
}
