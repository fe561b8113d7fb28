#include "pgcoffer/pg/startup.h"

#include <openssl/ssl.h>

#include "pg/refusal_internal.h"
#include "pg/startup_message_internal.h"
#include "pgcoffer/base/text.h"

#define READ_SIZE 4096

struct conversation {
    const struct buffer *packet;
    struct startup_reader reader;
    struct startup_answer *answer;
    bool is_decided;
};

static void converse(void *context, struct tls_talk *talk)
{
    struct conversation *conversation = context;
    uint8_t bytes[READ_SIZE];

    /* Of TLS 1.3 a server that refuses our certificate may have hung up already: whether this was sent does not
     * matter, the alert is still to be read. */
    bool is_sent = tls_talk_write(talk, conversation->packet->bytes, conversation->packet->used);
    bool has_left = false;
    for (size_t size; (size = tls_talk_read(talk, bytes, sizeof bytes)) > 0;) {
        enum startup_step step = startup_message_feed(&conversation->reader, bytes, size, conversation->answer);
        conversation->is_decided = step != STARTUP_STEP_MORE;
        if (conversation->reader.is_admitted && is_sent && !has_left)
            has_left = tls_talk_write(talk, startup_message_terminate, STARTUP_TERMINATE_SIZE);
        /* Once admitted, read on to the end: a socket closed with bytes unread leaves a line in the server's log. */
        if (step == STARTUP_STEP_END)
            return;
    }
}

/* The way to an answer ended before: why. */
static void tell_why_not(struct startup_answer *answer, bool has_begun)
{
    const struct tls_probe *probe = &answer->probe;
    const char *said = text_is_empty(probe->words) ? "the server closed the connection" : probe->words;
    size_t size = sizeof answer->words;

    answer->kind = STARTUP_NO_ANSWER;
    if (probe->alert >= 0) {
        snprintf(answer->words, size, "the server sent the TLS alert \"%s\"", SSL_alert_desc_string_long(probe->alert));
        return;
    }
    switch (probe->outcome) {
    case TLS_PROBE_NO_TLS:
        snprintf(answer->words, size, "the server answered that it does not speak TLS");
        return;
    case TLS_PROBE_NOT_POSTGRES:
        if (text_is_empty(probe->words))
            snprintf(answer->words, size, "the request for TLS was answered with byte 0x%02x", (unsigned)probe->answer);
        else
            snprintf(answer->words, size, "the request for TLS was answered with %s", probe->words);
        return;
    case TLS_PROBE_REFUSED_BY_US:
        snprintf(answer->words, size, "the server's certificate is not good: %s",
                 X509_verify_cert_error_string(probe->verify_error));
        return;
    case TLS_PROBE_UNREACHABLE:
    case TLS_PROBE_REFUSED_BY_PEER:
    case TLS_PROBE_BROKEN:
    case TLS_PROBE_ACCEPTED:
        break;
    }
    snprintf(answer->words, size, "%s%s", has_begun ? "half a message came, and then: " : "", said);
}

void startup_probe(const struct startup_request *request, struct startup_answer *ret_answer)
{
    struct startup_answer answer = {.kind = STARTUP_NO_ANSWER, .probe.alert = -1};
    struct buffer packet SCOPED(buffer_done) = {0};
    struct conversation conversation = {.packet = &packet, .reader = STARTUP_READER, .answer = &answer};
    struct tls_probe_request tls = request->tls;
    struct error err;

    if (startup_message_build(request->user, request->database, &packet, &err)) {
        tls.converse = converse;
        tls.context = &conversation;
        tls_probe_run(&tls, &answer.probe);
        bool has_begun = conversation.reader.received.used > conversation.reader.parsed;
        if (!conversation.is_decided && !startup_message_end(&conversation.reader, &answer))
            tell_why_not(&answer, has_begun);
    } else
        snprintf(answer.words, sizeof answer.words, "%s", err.message);
    startup_message_done(&conversation.reader);
    *ret_answer = answer;
}

void startup_answer_done(struct startup_answer *answer)
{
    tls_probe_done(&answer->probe);
}

/* "28000: no pg_hba.conf entry ..." */
static void describe_error(const struct startup_answer *answer, char *ret_phrase, size_t size)
{
    const char *what = answer->sqlstate[0] != '\0' ? answer->sqlstate : answer->severity;

    snprintf(ret_phrase, size, "%s%s%s", what, text_is_empty(what) ? "" : ": ",
             text_is_empty(answer->message) ? "an error without words" : answer->message);
}

void startup_answer_phrase(const struct startup_answer *answer, char *ret_phrase, size_t size)
{
    const char *words = answer->words;
    char error[STARTUP_TEXT_SIZE + 32];

    switch (answer->kind) {
    case STARTUP_ADMITTED:
        describe_error(answer, error, sizeof error);
        if (text_is_empty(answer->message))
            snprintf(ret_phrase, size, "AuthenticationOk");
        else
            snprintf(ret_phrase, size, "AuthenticationOk, and then %s", error);
        return;
    case STARTUP_SCRAM:
        snprintf(ret_phrase, size, "%s%s%s", answer->has_scram_plus ? "SCRAM-SHA-256-PLUS" : "",
                 answer->has_scram_plus && answer->has_scram ? ", " : "", answer->has_scram ? "SCRAM-SHA-256" : "");
        return;
    case STARTUP_CLEARTEXT:
        words = "asks for the password in clear text";
        break;
    case STARTUP_MD5:
        words = "asks for the password by MD5";
        break;
    case STARTUP_OTHER:
        snprintf(ret_phrase, size, "asks for %s", words);
        return;
    case STARTUP_REFUSED:
        describe_error(answer, ret_phrase, size);
        return;
    case STARTUP_NO_ANSWER:
        break;
    case STARTUP_GARBAGE:
        snprintf(ret_phrase, size, "an answer that is not PostgreSQL's: %s", words);
        return;
    }
    snprintf(ret_phrase, size, "%s", words);
}

bool startup_explain(const struct server_config *server, const struct startup_answer *answer,
                     struct finding *ret_finding)
{
    char words[STARTUP_TEXT_SIZE + 32];

    if (answer->message[0] == '\0' || (answer->kind != STARTUP_REFUSED && answer->kind != STARTUP_ADMITTED))
        return false;
    /* As libpq would write it. */
    snprintf(words, sizeof words, "%s%s%s", answer->severity, answer->severity[0] == '\0' ? "" : ":  ",
             answer->message);
    return refusal_find(server, words, answer->sqlstate, ret_finding);
}
