#include "pgcoffer/pg/base_backup.h"

#include <assert.h>
#include <poll.h>

#include "pg/base_backup_internal.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define BAD_CHECKSUMS "XX001"

static const char what[] = "could not read the base backup";
static const char starting[] = "could not start the base backup";
static const char ending[] = "could not end the base backup";

void base_backup_free(struct base_backup *backup)
{
    if (backup == NULL)
        return;
    lz4_wire_free(backup->wire);
    PQfreemem(backup->chunk);
    for (size_t i = 0; i < backup->tablespace_count; i++)
        free(backup->tablespaces[i].path);
    free(backup->tablespaces);
    free(backup);
}

static void scoped_base_backup(struct base_backup **backup)
{
    base_backup_free(*backup);
}

/* Sends the command and waits for the first row, which comes after the checkpoint. */
static bool begin(struct base_backup *backup, const struct base_backup_options *options, PGresult **ret_result,
                  struct error *err)
{
    struct pg_connection *connection = backup->connection;
    char *command SCOPED(scoped_free) = NULL;

    if (!base_backup_command(options, connection->session.server_version, backup->is_lz4, &command, err))
        return false;
    if (!pg_send_command(connection, command, starting, err))
        return false;
    connection->answer_within = 0; /* a checkpoint takes as long as it takes, and so does WAL that is archived */
    if (pg_expect_result(connection, PGRES_TUPLES_OK, starting, ret_result, err))
        return true;
    if (err->errnum == 0)
        pg_forget_rest(connection, starting);
    return false;
}

/* Was it the compression the server does not like? It says so before any work is done. */
static bool is_refused_option(const struct pg_connection *connection)
{
    const char *sqlstate = pg_last_sqlstate(connection);

    return strcmp(sqlstate, "42601") == 0 || strcmp(sqlstate, "0A000") == 0 || strcmp(sqlstate, "22023") == 0;
}

bool base_backup_start(struct pg_connection *connection, const struct base_backup_options *options,
                       struct base_backup **ret_backup, struct error *err)
{
    struct base_backup *backup SCOPED(scoped_base_backup) = memory_new(sizeof *backup);
    PGresult *start SCOPED(scoped_result) = NULL, *list SCOPED(scoped_result) = NULL;
    PGresult *copy SCOPED(scoped_result) = NULL;

    backup->connection = connection;
    backup->has_old_grammar = connection->session.server_version < BASE_BACKUP_FIRST_NEW_GRAMMAR;
    backup->is_lz4 = options->want_lz4_on_wire && !backup->has_old_grammar;
    if (!begin(backup, options, &start, err)) {
        if (!backup->is_lz4 || !is_refused_option(connection))
            return false;
        backup->is_lz4 = false;
        if (!begin(backup, options, &start, err))
            return false;
    }
    if (!pg_field_position(start, 0, 0, starting, &backup->start_position, err) ||
        !pg_field_timeline(start, 0, 1, starting, &backup->start_timeline, err) ||
        !pg_expect_result(connection, PGRES_TUPLES_OK, starting, &list, err) ||
        !base_backup_take_tablespaces(backup, list, err) ||
        !pg_expect_result(connection, PGRES_COPY_OUT, starting, &copy, err))
        return false;
    *ret_backup = TAKE(backup);
    return true;
}

struct wal_position base_backup_start_position(const struct base_backup *backup)
{
    return backup->start_position;
}

struct timeline base_backup_start_timeline(const struct base_backup *backup)
{
    return backup->start_timeline;
}

const struct base_backup_tablespace *base_backup_tablespaces(const struct base_backup *backup, size_t *ret_count)
{
    *ret_count = backup->tablespace_count;
    return backup->tablespaces;
}

/* The next CopyData into backup->chunk; *ret_is_end when the COPY is over. */
static bool read_chunk(struct base_backup *backup, size_t *ret_size, bool *ret_is_end, struct error *err)
{
    struct pg_connection *connection = backup->connection;

    PQfreemem(TAKE(backup->chunk));
    for (;;) {
        int size = PQgetCopyData(connection->handle, &backup->chunk, 1);
        if (size == -2)
            return pg_result_error(connection, NULL, what, err);
        if (size != 0) {
            *ret_is_end = size == -1;
            *ret_size = size == -1 ? 0 : (size_t)size;
            return true;
        }
        if (!pg_wait(connection, POLLIN, 0, what, err))
            return false;
        if (!PQconsumeInput(connection->handle))
            return pg_result_error(connection, NULL, what, err);
    }
}

static bool unexpected(const char *message, struct error *err)
{
    return error_set(err, ERROR_SERVER, "%s: %s", what, message);
}

/* ---- 15 and later: one COPY of typed messages ---- */

/* The next message that is not mere progress; the end of the COPY sets is_over. */
static bool read_message(struct base_backup *backup, struct copy_backup_message *ret_message, struct error *err)
{
    for (;;) {
        size_t size = 0;
        if (!read_chunk(backup, &size, &backup->is_over, err))
            return false;
        if (backup->is_over)
            return true;
        if (!copy_message_decode_backup((const uint8_t *)backup->chunk, size, ret_message, err))
            return error_wrap(err, "%s", what);
        bool is_empty = ret_message->kind == COPY_BACKUP_DATA && ret_message->size == 0;
        if (ret_message->kind != COPY_BACKUP_PROGRESS && !is_empty)
            return true;
    }
}

/* The bytes of the current item as they come, compressed or not. */
static bool read_typed(void *context, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    struct base_backup *backup = context;
    struct copy_backup_message message;

    *ret_size = 0;
    if (backup->is_over || backup->has_ahead)
        return true;
    if (!read_message(backup, &message, err))
        return false;
    if (backup->is_over)
        return true;
    if (message.kind != COPY_BACKUP_DATA) {
        backup->ahead = message;
        backup->has_ahead = true;
        return true;
    }
    *ret_bytes = message.bytes;
    *ret_size = message.size;
    return true;
}

/* The server announces archives in the order of its list, under names that follow from it. */
static bool check_archive_name(const struct base_backup *backup, const char *name, struct error *err)
{
    const struct base_backup_tablespace *tablespace = &backup->tablespaces[backup->archives_begun];
    char expected[32];

    if (tablespace->oid == 0)
        snprintf(expected, sizeof expected, "base.tar%s", backup->is_lz4 ? ".lz4" : "");
    else
        snprintf(expected, sizeof expected, "%u.tar%s", tablespace->oid, backup->is_lz4 ? ".lz4" : "");
    return strcmp(name, expected) == 0 || unexpected("the server sent another archive than it announced", err);
}

static bool begin_typed(struct base_backup *backup, struct error *err)
{
    struct copy_backup_message message = backup->ahead;

    if (!backup->is_over && !backup->has_ahead && !read_message(backup, &message, err))
        return false;
    backup->has_ahead = false;
    if (backup->is_over)
        return backup->is_manifest_begun || unexpected("the server ended without a manifest", err);
    if (message.kind == COPY_BACKUP_MANIFEST) {
        if (backup->is_manifest_begun || backup->archives_begun < backup->tablespace_count)
            return unexpected("the manifest came too early", err);
        backup->is_manifest_begun = true;
        backup->place = BACKUP_IN_MANIFEST;
        return true;
    }
    if (message.kind != COPY_BACKUP_ARCHIVE || backup->is_manifest_begun ||
        backup->archives_begun == backup->tablespace_count)
        return unexpected("data came where an archive or the manifest was due", err);
    if (!check_archive_name(backup, message.archive_name, err))
        return false;
    lz4_wire_free(TAKE(backup->wire));
    if (backup->is_lz4)
        backup->wire = lz4_wire_new(read_typed, backup);
    backup->archives_begun++;
    backup->place = BACKUP_IN_ARCHIVE;
    return true;
}

/* ---- 13 and 14: a COPY for each archive, then one for the manifest ---- */

static bool begin_untyped(struct base_backup *backup, struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;

    if (backup->is_manifest_begun) {
        backup->is_over = true;
        return true;
    }
    backup->has_tail = false;
    /* The first COPY was opened by base_backup_start(). */
    if (backup->archives_begun > 0 && !pg_expect_result(backup->connection, PGRES_COPY_OUT, what, &result, err))
        return false;
    if (backup->archives_begun == backup->tablespace_count) {
        backup->is_manifest_begun = true;
        backup->place = BACKUP_IN_MANIFEST;
        return true;
    }
    backup->archives_begun++;
    backup->place = BACKUP_IN_ARCHIVE;
    return true;
}

static bool read_untyped(struct base_backup *backup, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    static const uint8_t tail[1024];
    bool is_end = backup->has_tail;

    *ret_size = 0;
    while (!is_end && *ret_size == 0)
        if (!read_chunk(backup, ret_size, &is_end, err))
            return false;
    *ret_bytes = backup->chunk;
    /* These servers leave out the two zero blocks that end a tar. */
    if (is_end && backup->place == BACKUP_IN_ARCHIVE && !backup->has_tail) {
        backup->has_tail = true;
        *ret_bytes = tail;
        *ret_size = sizeof tail;
    }
    return true;
}

bool base_backup_next(struct base_backup *backup, enum base_backup_item *ret_item,
                      const struct base_backup_tablespace **ret_tablespace, struct error *err)
{
    assert(backup->place == BACKUP_BETWEEN);
    if (backup->has_old_grammar ? !begin_untyped(backup, err) : !begin_typed(backup, err))
        return false;
    *ret_tablespace = NULL;
    switch (backup->place) {
    case BACKUP_IN_ARCHIVE:
        *ret_item = BASE_BACKUP_ARCHIVE;
        *ret_tablespace = &backup->tablespaces[backup->archives_begun - 1];
        return true;
    case BACKUP_IN_MANIFEST:
        *ret_item = BASE_BACKUP_MANIFEST;
        return true;
    case BACKUP_BETWEEN:
        *ret_item = BASE_BACKUP_FINISHED;
        return true;
    }
    return true;
}

bool base_backup_read(struct base_backup *backup, const void **ret_bytes, size_t *ret_size, struct error *err)
{
    bool is_read = false;

    *ret_size = 0;
    if (backup->place == BACKUP_BETWEEN)
        return true;
    if (backup->has_old_grammar)
        is_read = read_untyped(backup, ret_bytes, ret_size, err);
    else if (backup->wire != NULL && backup->place == BACKUP_IN_ARCHIVE)
        is_read = lz4_wire_read(backup->wire, ret_bytes, ret_size, err);
    else
        is_read = read_typed(backup, ret_bytes, ret_size, err);
    if (is_read && *ret_size == 0)
        backup->place = BACKUP_BETWEEN;
    return is_read;
}

/* Bad page checksums come after everything was delivered, so the caller may keep the backup, marked. */
static bool take_status(const struct base_backup *backup, struct base_backup_end *end, struct error *err)
{
    PGresult *result SCOPED(scoped_result) = NULL;

    if (!pg_next_result(backup->connection, ending, &result, err))
        return false;
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (PQresultStatus(result) == PGRES_COMMAND_OK)
        return true;
    if (sqlstate == NULL || strcmp(sqlstate, BAD_CHECKSUMS) != 0)
        return pg_result_error(backup->connection, result, ending, err);
    end->has_checksum_failures = true;
    snprintf(end->checksum_words, sizeof end->checksum_words, "%s", words == NULL ? "" : words);
    text_make_printable(end->checksum_words);
    return true;
}

bool base_backup_end(struct base_backup *backup, struct base_backup_end *ret_end, struct error *err)
{
    struct pg_connection *connection = backup->connection;
    PGresult *position SCOPED(scoped_result) = NULL;
    struct base_backup_end end = {0};

    assert(backup->is_over && backup->place == BACKUP_BETWEEN);
    if (!pg_expect_result(connection, PGRES_TUPLES_OK, ending, &position, err) ||
        !pg_field_position(position, 0, 0, ending, &end.position, err) ||
        !pg_field_timeline(position, 0, 1, ending, &end.timeline, err) || !take_status(backup, &end, err) ||
        !pg_drain(connection, ending, err))
        return false;
    *ret_end = end;
    return true;
}
