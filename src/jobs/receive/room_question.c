#include "jobs/receive/receiver_internal.h"

#include <string.h>

#include "pgcoffer/base/text.h"

#define SECOND             INT64_C(1000000)
#define SERVER_ASKED_EVERY (60 * SECOND)
#define QUESTION_NAME      "pgcoffer room" /* no name that synchronous_standby_names could mean */

void receive_room_ask(struct receiver *receiver)
{
    struct receive_room *room = &receiver->room;
    struct pg_connection *connection SCOPED(scoped_pg_connection) = NULL;
    struct error *err = &room->question_error;
    struct pg_identity identity;
    struct pg_slot slot = {.exists = false};

    room->ask_at = clock_monotonic() + SERVER_ASKED_EVERY;
    room->is_unanswered =
        !pg_connect(receiver->server, QUESTION_NAME, receiver->worker->interrupt_fd, &connection, err) ||
        !pg_identify(connection, &identity, err);
    if (room->is_unanswered)
        return;
    if (receiver->has_archive && identity.system_identifier != system_id_value(&receiver->archive.system))
        return; /* another cluster: the next session tells it */
    room->asked_at = clock_now();
    room->server_now = identity.position;
    if (room->server_before.value == 0)
        room->server_before = identity.position;
    receive_report_server(&receiver->report, identity.position);
    if (!pg_show(connection, "max_slot_wal_keep_size", room->slot_limit, sizeof room->slot_limit, err) ||
        strcmp(room->slot_limit, "-1") == 0)
        room->slot_limit[0] = '\0';
    if (receiver->acknowledged.value == 0 && !text_is_empty(receiver->server->settings.wal_slot) &&
        pg_slot_read(connection, receiver->server->settings.wal_slot, &slot, err) && slot.has_position)
        room->slot_position = slot.restart_position;
}
