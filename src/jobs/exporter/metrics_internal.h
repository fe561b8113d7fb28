#ifndef PGCOFFER_SRC_JOBS_EXPORTER_METRICS_INTERNAL_H
#define PGCOFFER_SRC_JOBS_EXPORTER_METRICS_INTERNAL_H

#include "jobs/exporter/exporter_internal.h"
#include "pgcoffer/base/clock.h"

/*
 * One answer to a scrape: metrics.def says what there is, metrics.c goes through it, and a function for each row says
 * the figures. A function looks at STATE only, and says nothing where that does not tell.
 */
enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_INFO };
enum metric_of { METRIC_DAEMON, METRIC_SERVER, METRIC_BOTH };
enum metric_basis { METRIC_NOW, METRIC_RECEIVER, METRIC_SURVEY };

struct scrape;

struct metric {
    const char *name;
    enum metric_type type;
    enum metric_of of;
    enum metric_basis basis;
    const char *unit, *labels, *help;
    void (*tell)(struct scrape *scrape, const json_t *server);
};

struct scrape {
    struct buffer *out;
    enum metrics_format format;
    const json_t *state;
    struct timestamp now;
    const struct metric *metric;
    const char *server; /* whose figures are told; NULL: the daemon's */
    bool has_begun;     /* the family's HELP and TYPE are written */
    json_t *disk_rates; /* {DISK: bytes an hour of all servers on it}; NULL: not added up yet */
};

/* `server` is the SERVER of STATE; NULL for figures of the daemon. */
#define METRIC(name, type, of, basis, unit, labels, help)                                                              \
    void metric_##name(struct scrape *scrape, const json_t *server);
#include "jobs/exporter/metrics.def"
#undef METRIC

/*
 * One sample of the row at hand. The values are those of its labels, in their order, but for "server", which is known;
 * a NULL one has no label.
 */
void scrape_sample(struct scrape *scrape, double value);
void scrape_sample_with(struct scrape *scrape, const char *first, const char *second, double value);

/* ---- what STATE tells; where it does not, there is no sample ---- */
void scrape_number(struct scrape *scrape, const json_t *object, const char *key);
void scrape_number_with(struct scrape *scrape, const char *label, const json_t *object, const char *key);
void scrape_boolean(struct scrape *scrape, const json_t *object, const char *key);
void scrape_time(struct scrape *scrape, const json_t *object, const char *key);
void scrape_time_with(struct scrape *scrape, const char *label, const json_t *object, const char *key);
/* 1 for the word that it is, 0 for the others; nothing when it is none of them. `words` ends with NULL. */
void scrape_choice(struct scrape *scrape, const json_t *object, const char *key, const char *const *words);

#endif
