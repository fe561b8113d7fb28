#ifndef PGCOFFER_SRC_JOBS_EXPORTER_PAGE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_EXPORTER_PAGE_INTERNAL_H

#include "jobs/exporter/exporter_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/jobs/stored_words.h"

/*
 * The status page. It is HTML that is well-formed XML, too, which a test proves. Everything that comes from STATE goes
 * through page_text() or what is made of it; nothing else is escaped anywhere.
 */
struct page {
    struct buffer *out;
    const json_t *state;
    struct timestamp now; /* 0: STATE has no "now", and nothing is said of how long ago something was */
};

/* Told by a word and a shape, and by a colour besides. In rising order. */
enum level { LEVEL_GOOD, LEVEL_UNKNOWN, LEVEL_WARNING, LEVEL_BAD, LEVEL_COUNT };

/* ---- page_text.c ---- */
/* Characters that HTML or XML cannot hold, and those that turn the direction of writing, become U+FFFD. */
void page_text(const struct page *page, const char *text);
void page_format(const struct page *page, const char *format, ...) PRINTF_LIKE(2, 3); /* escaped as a whole */
/* With a capital letter and a full stop; a time such as moment_words() writes it becomes <time>. */
void page_sentence(const struct page *page, const char *text);
/* The same without capital letter and full stop. */
void page_words(const struct page *page, const char *text);
/* <time>2026-11-22 01:30:06 UTC</time>, rounded down; "?" when there is none. */
void page_time(const struct page *page, const json_t *object, const char *key);
/* " (3 min ago)"; nothing when it is not known. */
void page_ago(const struct page *page, const json_t *object, const char *key);
/* "good", ..., also the class of its colour */
const char *page_level_word(enum level level);
/* "all well", ... */
const char *page_verdict_word(enum level level);
/* The shape and the word. */
void page_badge(const struct page *page, enum level level, const char *word);
/* <dt>name</dt><dd> and </dd> */
void page_fact_begin(const struct page *page, const char *name);
void page_fact_end(const struct page *page);

/* ---- page_judge.c ---- */
/* Why something is not good, shortly. */
struct reasons {
    enum level level; /* the worst of them; GOOD without any */
    json_t *words;    /* [TEXT] */
};
struct reasons page_judge_server(const struct page *page, const json_t *server);
struct reasons page_judge_daemon(const struct page *page);
void reasons_done(struct reasons *reasons);
/* Whole days; false: it has none. */
bool page_days_left(const struct page *page, const json_t *object, const char *key, int64_t *ret_days) NODISCARD;
enum level page_judge_days(int64_t days);
enum level page_judge_receiver(const char *state);

/* ---- page_timeline.c ---- */
/* Nothing while there is nothing to draw. */
void page_timeline(const struct page *page, const json_t *server, size_t number);
/* The marks that timelines use, once in a page. */
void page_symbols(const struct page *page);

/* ---- page_axis.c ---- */
/* Where in a picture a time lies, in percent of its width. */
struct axis {
    int64_t from, until; /* microseconds */
};
double axis_place(const struct axis *axis, int64_t time);
/* Lines and dates from `top` to `bottom` pixels. */
void axis_write(const struct page *page, const struct axis *axis, int top, int bottom);

/* ---- page_server.c ---- */
void page_server(const struct page *page, const json_t *server, size_t number);

/* ---- page_facts.c ---- */
void page_wal(const struct page *page, const json_t *server);
void page_room(const struct page *page, const json_t *server);
/* A row of the table of certificates; nothing when there is none. */
void page_certificate(const struct page *page, const char *whose, const json_t *certificate);
void page_certificates_begin(const struct page *page);
void page_certificates_end(const struct page *page);
void page_certificates(const struct page *page, const json_t *server);

/* ---- page_jobs.c ---- */
/* Those of the server that run; "": those of none. */
void page_jobs(const struct page *page, const char *server);
/* An ERROR as a box; nothing for null. */
void page_fault(const struct page *page, enum level level, const char *title, const json_t *error);
/* What went wrong last, newest first. */
void page_failures(const struct page *page, const char *server);
/* The newest job of each command that failed since it last went well; borrowed; NULL at the end. */
const json_t *page_failed_job(const struct page *page, const char *server, size_t *index);

/* ---- page_style.c ---- */
extern const char page_style[];

#endif
