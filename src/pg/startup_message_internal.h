#ifndef PGCOFFER_PG_STARTUP_MESSAGE_INTERNAL_H
#define PGCOFFER_PG_STARTUP_MESSAGE_INTERNAL_H

#include "pgcoffer/base/buffer.h"
#include "pgcoffer/pg/startup.h"

/*
 * The first words of the protocol, ours and the server's: pure, so that they can be fuzzed. Whatever comes before the
 * server has let us in comes from a stranger, so nothing of it may be longer than STARTUP_MOST_BYTES altogether.
 */
#define STARTUP_MOST_BYTES ((size_t)64 * 1024)

/* StartupMessage with user, database (NULL: replication=true) and application_name. Fails when it gets too long. */
bool startup_message_build(const char *user, const char *database, struct buffer *packet, struct error *err) NODISCARD;

#define STARTUP_TERMINATE_SIZE 5
extern const uint8_t startup_message_terminate[STARTUP_TERMINATE_SIZE];

/* Reads the server's answer, in pieces of any size: the verdict does not depend on how it was cut. */
struct startup_reader {
    struct buffer received;
    size_t parsed; /* so many bytes of `received` are done with */
    bool is_admitted;
};
#define STARTUP_READER ((struct startup_reader){.received = BUFFER_WITH_LIMIT(STARTUP_MOST_BYTES)})

enum startup_step {
    STARTUP_STEP_MORE,
    STARTUP_STEP_ADMITTED, /* AuthenticationOk; what follows may still be an ErrorResponse, for another reason */
    STARTUP_STEP_END       /* nothing more is needed */
};
enum startup_step startup_message_feed(struct startup_reader *reader, const uint8_t *bytes, size_t size,
                                       struct startup_answer *answer);
/* Nothing more comes: judges what there is. False when that is no answer: half a message, or nothing. */
bool startup_message_end(struct startup_reader *reader, struct startup_answer *answer);
void startup_message_done(struct startup_reader *reader);

/* For all that look into a message. Takes a NUL-terminated text from the front; NULL when it does not end. */
const char *startup_message_take_text(const uint8_t **bytes, size_t *size);
/* The answer becomes garbage, for this reason; returns false. */
bool startup_message_reject(struct startup_answer *answer, const char *words);

#endif
