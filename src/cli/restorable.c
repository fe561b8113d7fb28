#include "cli/restorable_internal.h"

#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/memory.h"
#include "pgcoffer/jobs/stored_words.h"

/* What is said of a survey that is not older than that is said of now. */
#define OLD_MICROSECONDS INT64_C(120000000)

static void print_line(const struct invocation *invocation, const char *server, const json_t *restorable,
                       const char *as_of)
{
    if (!json_is_object(restorable))
        return;
    struct restorable_words words SCOPED(restorable_words_done) = restorable_words(restorable, MOMENTS_EXACT);
    output_line(invocation, "%s: %s%s%s%s%s", server != NULL ? server : "?", words.can, words.cannot,
                as_of != NULL ? " (as of " : "", as_of != NULL ? as_of : "", as_of != NULL ? ")" : "");
}

void restorable_print(const struct invocation *invocation, const char *server, const json_t *restorable)
{
    print_line(invocation, server, restorable, NULL);
}

/* Its time, when it is an old one or the next one failed; else NULL. */
static const char *told_as_of(const json_t *survey)
{
    struct timestamp time;

    if (!json_find_time(survey, "at", &time))
        return NULL;
    bool is_old = clock_now().microseconds - time.microseconds > OLD_MICROSECONDS;
    return is_old || json_is_object(json_object_get(survey, "error")) ? json_text_or_null(survey, "at") : NULL;
}

/* Nothing for NULL. */
static void print_words(const struct invocation *invocation, const char *server, char *words_stolen)
{
    char *words SCOPED(scoped_free) = words_stolen;

    if (words != NULL)
        output_line(invocation, "%s: %s", server, words);
}

void stored_print(const struct invocation *invocation, const char *server, const json_t *survey)
{
    const json_t *proofs = json_object_get(survey, "proofs"), *room = json_object_get(survey, "room");

    if (!json_is_object(survey))
        return;
    server = server != NULL ? server : "?";
    print_line(invocation, server, json_object_get(survey, "restorable"), told_as_of(survey));
    for (enum proof_sentence sentence = 0; sentence < PROOF_SENTENCE_COUNT; sentence++)
        print_words(invocation, server, proof_words(server, proofs, sentence, MOMENTS_EXACT));
    print_words(invocation, server, json_is_object(room) ? room_words(room) : NULL);
    print_words(invocation, server, survey_trouble_words(survey, MOMENTS_EXACT));
}
