#include "pg/startup_message_internal.h"

#include "pg/error_response_internal.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/answer.h"

#define HEADER_SIZE       5 /* type and length, which counts itself but not the type */
#define PACKET_MOST       ((size_t)8 * 1024)
#define AUTHENTICATION_OK 0
#define CLEARTEXT         3
#define MD5               5
#define SASL              10

const uint8_t startup_message_terminate[STARTUP_TERMINATE_SIZE] = {'X', 0, 0, 0, 4};

/* ---- ours ---- */

static void write_number(uint32_t number, uint8_t ret_bytes[4])
{
    for (size_t i = 4; i-- > 0; number >>= 8)
        ret_bytes[i] = (uint8_t)number;
}

static uint32_t read_number(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool add_parameter(struct buffer *packet, const char *name, const char *value, struct error *err)
{
    return buffer_append(packet, name, strlen(name) + 1, err) && buffer_append(packet, value, strlen(value) + 1, err);
}

bool startup_message_build(const char *user, const char *database, struct buffer *packet, struct error *err)
{
    uint8_t header[8] = {0};

    packet->limit = PACKET_MOST;
    write_number(UINT32_C(3) << 16, header + 4);
    bool is_built = buffer_append(packet, header, sizeof header, err) && add_parameter(packet, "user", user, err) &&
                    (database == NULL ? add_parameter(packet, "replication", "true", err)
                                      : add_parameter(packet, "database", database, err)) &&
                    add_parameter(packet, "application_name", "pgcoffer check", err) &&
                    buffer_append(packet, "", 1, err);
    if (!is_built)
        return error_wrap(err, "could not build the startup packet");
    write_number((uint32_t)packet->used, packet->bytes);
    return true;
}

/* ---- the server's ---- */

bool startup_message_reject(struct startup_answer *answer, const char *words)
{
    answer->kind = STARTUP_GARBAGE;
    snprintf(answer->words, sizeof answer->words, "%s", words);
    return false;
}

const char *startup_message_take_text(const uint8_t **bytes, size_t *size)
{
    const char *text = (const char *)*bytes;
    const uint8_t *end = *size == 0 ? NULL : memchr(*bytes, '\0', *size);

    if (end == NULL)
        return NULL;
    *size -= (size_t)(end + 1 - *bytes);
    *bytes = end + 1;
    return text;
}

static bool take_mechanisms(const uint8_t *bytes, size_t size, struct startup_answer *answer)
{
    size_t used = 0;

    for (;;) {
        const char *mechanism = startup_message_take_text(&bytes, &size);
        if (mechanism == NULL)
            return startup_message_reject(answer, "an AuthenticationSASL whose list does not end");
        if (mechanism[0] == '\0')
            break;
        answer->has_scram = answer->has_scram || strcmp(mechanism, "SCRAM-SHA-256") == 0;
        answer->has_scram_plus = answer->has_scram_plus || strcmp(mechanism, "SCRAM-SHA-256-PLUS") == 0;
        if (used < sizeof answer->words)
            used += (size_t)snprintf(answer->words + used, sizeof answer->words - used, "%s%s", used == 0 ? "" : ", ",
                                     mechanism);
    }
    text_make_printable(answer->words);
    answer->kind = answer->has_scram || answer->has_scram_plus ? STARTUP_SCRAM : STARTUP_OTHER;
    return size == 0 || startup_message_reject(answer, "an AuthenticationSASL with bytes behind its list");
}

static void name_method(struct startup_answer *answer)
{
    static const char *const names[] = {
        [1] = "Kerberos 4", [2] = "Kerberos 5", [4] = "crypt", [6] = "a credential of the socket",
        [7] = "GSSAPI",     [9] = "SSPI"};
    size_t count = sizeof names / sizeof *names;
    const char *name = answer->method >= 0 && (size_t)answer->method < count ? names[answer->method] : NULL;

    if (name != NULL)
        snprintf(answer->words, sizeof answer->words, "%s", name);
    else
        snprintf(answer->words, sizeof answer->words, "authentication method %d", answer->method);
}

static bool take_authentication(const uint8_t *bytes, size_t size, struct startup_answer *answer)
{
    if (size < 4)
        return startup_message_reject(answer, "an authentication request that is too short");
    answer->method = (int)read_number(bytes);
    bytes += 4;
    size -= 4;
    if (answer->method == SASL)
        return take_mechanisms(bytes, size, answer);
    if (size != (answer->method == MD5 ? 4 : 0) &&
        (answer->method == AUTHENTICATION_OK || answer->method == CLEARTEXT || answer->method == MD5))
        return startup_message_reject(answer, "an authentication request of the wrong length");
    if (answer->method == AUTHENTICATION_OK)
        answer->kind = STARTUP_ADMITTED;
    else if (answer->method == CLEARTEXT || answer->method == MD5)
        answer->kind = answer->method == MD5 ? STARTUP_MD5 : STARTUP_CLEARTEXT;
    else {
        answer->kind = STARTUP_OTHER;
        name_method(answer);
    }
    return true;
}

/* The newest version the server speaks, then the parameters it does not know. */
static bool take_negotiation(const uint8_t *bytes, size_t size, struct startup_answer *answer)
{
    if (size < 8 || answer->has_negotiated)
        return startup_message_reject(answer, "a NegotiateProtocolVersion of the wrong length, or a second one");
    uint32_t version = read_number(bytes);
    uint32_t count = read_number(bytes + 4);
    bytes += 8;
    size -= 8;
    for (uint32_t i = 0; i < count; i++)
        if (startup_message_take_text(&bytes, &size) == NULL)
            return startup_message_reject(answer, "a NegotiateProtocolVersion whose list does not end");
    if (size != 0)
        return startup_message_reject(answer, "a NegotiateProtocolVersion with bytes behind its list");
    /* The protocol's description says the minor version; servers send both halves. */
    if (version >> 16 != 0 && version >> 16 != 3)
        return startup_message_reject(answer, "a NegotiateProtocolVersion of another protocol");
    answer->has_negotiated = true;
    return true;
}

/* ---- one message after the other ---- */

enum shape { SHAPE_MORE, SHAPE_MESSAGE, SHAPE_OLD_ERROR, SHAPE_FOREIGN };

static bool is_type_known(const struct startup_reader *reader, uint8_t type)
{
    return memchr(reader->is_admitted ? "ENSKZ" : "ENRv", type, reader->is_admitted ? 5 : 4) != NULL;
}

static enum shape find_shape(const struct startup_reader *reader, const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return SHAPE_MORE;
    if (!is_type_known(reader, bytes[0]))
        return SHAPE_FOREIGN;
    if (size < HEADER_SIZE)
        return SHAPE_MORE;
    uint32_t length = read_number(bytes + 1);
    if (length >= 4 && length < STARTUP_MOST_BYTES)
        return size > length ? SHAPE_MESSAGE : SHAPE_MORE;
    /* "ERROR" on a line of its own is how memcached and others refuse. */
    if (bytes[0] == 'E' && memcmp(bytes, "ERROR", 5) != 0 && !reader->is_admitted && bytes[1] >= ' ')
        return SHAPE_OLD_ERROR;
    return SHAPE_FOREIGN;
}

static void refuse_foreign(const uint8_t *bytes, size_t size, struct startup_answer *answer)
{
    answer->kind = STARTUP_GARBAGE;
    tls_answer_describe(bytes, size, answer->words, sizeof answer->words);
}

/* Nothing that comes after AuthenticationOk takes it back; only an error is worth knowing. */
static enum startup_step take_late_message(uint8_t type, const uint8_t *bytes, size_t size,
                                           struct startup_answer *answer)
{
    struct startup_answer later = *answer;

    if (type == 'E' && error_response_read(bytes, size, &later))
        *answer = later;
    return type == 'E' || type == 'Z' ? STARTUP_STEP_END : STARTUP_STEP_ADMITTED;
}

static enum startup_step take_message(struct startup_reader *reader, uint8_t type, const uint8_t *bytes, size_t size,
                                      struct startup_answer *answer)
{
    if (reader->is_admitted)
        return take_late_message(type, bytes, size, answer);
    if (type == 'N')
        return STARTUP_STEP_MORE;
    if (type == 'v')
        return take_negotiation(bytes, size, answer) ? STARTUP_STEP_MORE : STARTUP_STEP_END;
    if (type == 'E') {
        answer->kind = STARTUP_REFUSED;
        error_response_read(bytes, size, answer);
        return STARTUP_STEP_END;
    }
    reader->is_admitted = take_authentication(bytes, size, answer) && answer->kind == STARTUP_ADMITTED;
    return reader->is_admitted ? STARTUP_STEP_ADMITTED : STARTUP_STEP_END;
}

static enum startup_step judge(struct startup_reader *reader, struct startup_answer *answer)
{
    for (;;) {
        const uint8_t *bytes = reader->received.bytes + reader->parsed;
        size_t size = reader->received.used - reader->parsed;
        enum startup_step step = STARTUP_STEP_END;
        switch (find_shape(reader, bytes, size)) {
        case SHAPE_MORE:
            return reader->is_admitted ? STARTUP_STEP_ADMITTED : STARTUP_STEP_MORE;
        case SHAPE_FOREIGN:
            if (reader->is_admitted)
                return STARTUP_STEP_END;
            if (!tls_answer_is_line(bytes, size))
                return STARTUP_STEP_MORE;
            refuse_foreign(bytes, size, answer);
            return STARTUP_STEP_END;
        case SHAPE_OLD_ERROR:
            if (memchr(bytes, '\0', size) == NULL)
                return STARTUP_STEP_MORE;
            error_response_read_old(bytes + 1, (size_t)((const uint8_t *)memchr(bytes, '\0', size) - bytes) - 1,
                                    answer);
            return STARTUP_STEP_END;
        case SHAPE_MESSAGE:
            break;
        }
        size_t length = read_number(bytes + 1);
        step = take_message(reader, bytes[0], bytes + HEADER_SIZE, length + 1 - HEADER_SIZE, answer);
        reader->parsed += length + 1;
        if (step == STARTUP_STEP_END)
            return step;
    }
}

enum startup_step startup_message_feed(struct startup_reader *reader, const uint8_t *bytes, size_t size,
                                       struct startup_answer *answer)
{
    struct error too_much;

    /* What goes beyond the ceiling is not needed to judge what lies below it. */
    size_t room = reader->received.limit - reader->received.used;
    if (!buffer_append(&reader->received, bytes, size < room ? size : room, &too_much))
        return STARTUP_STEP_END;
    enum startup_step step = judge(reader, answer);
    if (step == STARTUP_STEP_END || size < room)
        return step;
    if (!reader->is_admitted)
        startup_message_reject(answer, "more than 64 kB before any decision");
    return STARTUP_STEP_END;
}

bool startup_message_end(struct startup_reader *reader, struct startup_answer *answer)
{
    size_t size = reader->received.used - reader->parsed;

    if (size == 0)
        return false;
    const uint8_t *bytes = reader->received.bytes + reader->parsed;
    switch (find_shape(reader, bytes, size)) {
    case SHAPE_FOREIGN:
        refuse_foreign(bytes, size, answer);
        return true;
    case SHAPE_OLD_ERROR:
        error_response_read_old(bytes + 1, size - 1, answer);
        return true;
    case SHAPE_MORE:
    case SHAPE_MESSAGE:
        break;
    }
    return false;
}

void startup_message_done(struct startup_reader *reader)
{
    buffer_done(&reader->received);
    reader->parsed = 0;
}
