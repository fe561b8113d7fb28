#ifndef PGCOFFER_SRC_JOBS_EXPORTER_SERVER_INTERNAL_H
#define PGCOFFER_SRC_JOBS_EXPORTER_SERVER_INTERNAL_H

#include "jobs/exporter/exporter_internal.h"
#include "jobs/exporter/http_internal.h"
#include "jobs/tls_port/port_internal.h"

/*
 * The exporter: one process, one event loop, HTTP or HTTPS on one side and the supervisor's word on the other. It opens
 * no file and holds nothing but the last STATE, which it asks of the supervisor when somebody asks it; who comes
 * meanwhile shares that answer. No byte of HTTP is read before a client's certificate was verified, where one is
 * demanded.
 */

/* What strangers and friends can take of it. */
struct exporter_limits {
    size_t handshakes;   /* unfinished or refused; one more displaces a refused one, or else the oldest */
    size_t visitors;     /* behind the handshake; one more displaces who has been answered, or else the oldest */
    size_t unsent_bytes; /* of answers that are not taken; more displaces who has been taking longest */
    int handshake_seconds;
    int request_seconds; /* from its first byte, or the connection's first, to its last */
    int answer_seconds;  /* to take all of it */
    int idle_seconds;    /* between two requests */
    int state_seconds;   /* the supervisor's */
};
extern const struct exporter_limits exporter_usual_limits;

/* One client each; server.c has the list, visitor.c the life. */
struct visitor;

struct exporter {
    struct port port;
    const struct exporter_limits *limits;
    const char *host;           /* in the configuration; "" is localhost */
    bool is_https;              /* otherwise on loopback, and only under its names */
    void (*ask)(void *context); /* the supervisor for a STATE; exporter_take() gets the answer */
    void *context;              /* of `ask` */

    struct visitor *first; /* newest first */
    size_t handshake_count, visitor_count;
    size_t unsent_bytes;

    bool is_asked;          /* the supervisor's answer is on its way */
    struct event *patience; /* of those who wait for it */
    json_t *arriving;       /* as far as it has come; NULL */
};

/* ---- server.c ---- */
extern const struct port_words exporter_words;
void exporter_begin(struct exporter *exporter, struct event_base *events, const struct exporter_limits *limits);
void exporter_end(struct exporter *exporter);
/* Nobody new; the loop ends when everybody has the answer that was begun. */
void exporter_end_softly(struct exporter *exporter);
/* Of the supervisor: "item" with {"server"}, {"job"} or {"recent"}, and last "state" with the rest of STATE. */
void exporter_take(struct exporter *exporter, const json_t *message);
/* EXPORTER of doc/control-protocol.md, as far as the process knows it. */
json_t *exporter_report(const struct exporter *exporter);
/* A visitor has come to the place where it needs a STATE. */
void exporter_ask(struct exporter *exporter);
/* Certificates end, and files are renewed, while a connection stays: who would not be let in any more is dropped. */
bool exporter_lets_in(const struct exporter *exporter, struct visitor *visitor) NODISCARD;
/* The newcomer's handshake is done: when there are too many visitors, somebody else has to go. */
void exporter_make_room(struct exporter *exporter, const struct visitor *newcomer);

/* ---- answer.c ---- */
enum answer_kind {
    ANSWER_METRICS,
    ANSWER_OPENMETRICS,
    ANSWER_PAGE,
    ANSWER_STATUS,
    ANSWER_HEALTH,
    ANSWER_KIND_COUNT,
    ANSWER_NONE = ANSWER_KIND_COUNT /* there is no such path */
};

/* What is told; to all that have waited for it the same bytes. */
struct answer_body {
    unsigned references;
    enum http_status status;
    const char *content_type;
    struct buffer bytes;
    size_t *account; /* of bytes that are held; NULL: nobody counts */
};

#define ANSWER_HEAD_SIZE 768
enum answer_kind answer_kind_of(const struct http_request *request);
/* `state` NULL: the supervisor gave none. `account` counts the body until its last reference is gone. */
struct answer_body *answer_make(enum answer_kind kind, const json_t *state, size_t *account);
/* The words of a status, with what to do about it. */
struct answer_body *answer_refusal(enum http_status status);
size_t answer_head(const struct answer_body *body, bool keeps_alive, char ret_head[ANSWER_HEAD_SIZE]);
void answer_release(struct answer_body *body); /* NULL is fine */

/* ---- health.c ---- */
/* Every server's WAL comes in, or has been missing for less than HEALTH_PATIENCE_SECONDS only; otherwise false, and a
 * line for each that does not. */
#define HEALTH_PATIENCE_SECONDS 300
bool health_is_good(const json_t *state, struct buffer *out);

/* ---- visitor.c ---- */
enum visitor_state {
    VISITOR_SHAKES_HANDS,
    VISITOR_REFUSED, /* in the handshake; the alert is on its way */
    VISITOR_ASKS,    /* its request is being read */
    VISITOR_IDLE,    /* has had an answer, and says nothing */
    VISITOR_WAITS,   /* for a STATE */
    VISITOR_TAKES,   /* its answer */
    VISITOR_LINGERS, /* our last words are on their way */
    VISITOR_GONE,
};

struct visitor {
    struct exporter *exporter;
    enum visitor_state state;
    int fd;
    SSL *tls; /* NULL: HTTP */
    struct event *read, *write, *deadline;
    char input[HTTP_HEAD_SIZE];
    size_t input_size;
    struct http_request request;
    char head[ANSWER_HEAD_SIZE];
    size_t head_size;
    struct answer_body *body; /* while it takes */
    size_t sent;              /* of head and body */
    char address[PORT_ADDRESS_SIZE];
    char verify_fault[PORT_VERIFY_FAULT_SIZE];
    struct visitor *next;
};

/* Owns the descriptor, which does not block. */
struct visitor *visitor_new(struct exporter *exporter, int fd, const struct sockaddr_storage *address);
/* Ends at once; the struct goes when the loop comes round. `reason` is logged as a refusal; NULL: nothing is. */
void visitor_drop(struct visitor *visitor, const char *reason);
/* One that waits, or whose request needs no STATE. Shares the body. */
void visitor_answer(struct visitor *visitor, struct answer_body *body);
void visitor_free(struct visitor *visitor);

#endif
