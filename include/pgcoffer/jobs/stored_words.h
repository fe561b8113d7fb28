#ifndef PGCOFFER_JOBS_STORED_WORDS_H
#define PGCOFFER_JOBS_STORED_WORDS_H

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/json.h"

/*
 * What is stored of a server and what was proven of it, in words: RESTORABLE, PROOFS and STORED of
 * doc/control-protocol.md as sentences without capital letter and full stop, the same on the terminal and on the status
 * page. All texts are malloc'd; what comes from outside stands in them as it came.
 */

/* EXACT: RFC 3339 as it was told. SECONDS: "2026-11-22 01:30:06 UTC", rounded so that never more is claimed. */
enum moments { MOMENTS_EXACT, MOMENTS_SECONDS };
/* Of what is claimed: from its first moment on, or up to its last one. */
enum moment_edge { MOMENT_FIRST, MOMENT_LAST };
/* "?" for NULL; what is no time stays as it is. */
char *moment_words(const char *time, enum moments moments, enum moment_edge edge) NEVER_NULL;
/* EXACT for a span in which no whole second lies: rounded, it would end before it begins. Otherwise `moments`. */
enum moments moments_of_span(const char *from, const char *until, enum moments moments);

struct restorable_words {
    char *can;    /* "every moment from ... to ... can be restored", or that and why nothing can */
    char *cannot; /* "", or ", but for after ... and before ... (why)", "; not to be restored: ..." behind it */
};
struct restorable_words restorable_words(const json_t *restorable, enum moments moments);
void restorable_words_done(struct restorable_words *words);

/* What a survey proves; NULL when there is nothing to say of it. */
enum proof_sentence {
    PROOF_DRILL,
    PROOF_FAILED, /* backups found damaged */
    PROOF_VERIFY,
    PROOF_UNREADABLE,
    PROOF_SENTENCE_COUNT
};
char *proof_words(const char *server, const json_t *proofs, enum proof_sentence sentence, enum moments moments);

/* "12 backups take 3.1 GB, WAL 800.0 MB; 9.5 GB free; 120.0 MB come a day; with all that comes ... full in 79 days" */
char *room_words(const json_t *room) NEVER_NULL;
/* Its end: "120.0 MB come a day; with all that comes ... full in 79 days" */
char *room_forecast_words(const json_t *room) NEVER_NULL;
/* Why the survey is not of now; NULL: it is. */
char *survey_trouble_words(const json_t *survey, enum moments moments);

#endif
