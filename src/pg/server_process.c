#include "pg/connection_internal.h"

int pg_server_process(const struct pg_connection *connection)
{
    return PQbackendPID(connection->handle);
}
