#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jobs/exporter/metrics_internal.h"
#include "pgcoffer/base/text.h"

#define MOST_LABELS 3
#define NUMBER_SIZE 64

static const struct metric metrics[] = {
#define METRIC(name, type, of, basis, unit, labels, help)                                                              \
    {#name, METRIC_##type, METRIC_##of, METRIC_##basis, unit, labels, help, metric_##name},
#include "jobs/exporter/metrics.def"
#undef METRIC
};

/* ---- words ---- */

/* In OpenMetrics a quote is escaped wherever it stands, in Prometheus' format in labels only. */
static void write_escaped(struct buffer *out, const char *text, bool is_quote_escaped)
{
    const char *const special = is_quote_escaped ? "\\\n\"" : "\\\n";

    while (*text != '\0') {
        size_t plain = strcspn(text, special);
        write_bytes(out, text, plain);
        text += plain;
        if (*text == '\0')
            return;
        write_text(out, *text == '\n' ? "\\n" : *text == '"' ? "\\\"" : "\\\\");
        text++;
    }
}

/* Whole numbers as such, others to the microsecond. */
static void format_number(double value, char ret_text[NUMBER_SIZE])
{
    if (fabs(value) >= 1e15) {
        snprintf(ret_text, NUMBER_SIZE, "%.17g", value);
        return;
    }
    size_t size = (size_t)snprintf(ret_text, NUMBER_SIZE, "%.6f", value);
    while (ret_text[size - 1] == '0')
        size--;
    if (ret_text[size - 1] == '.')
        size--;
    ret_text[size] = '\0';
}

/* ---- a family ---- */

static const char *type_word(enum metric_type type, enum metrics_format format)
{
    switch (type) {
    case METRIC_GAUGE:
        return "gauge";
    case METRIC_COUNTER:
        return "counter";
    case METRIC_INFO:
        return format == METRICS_OPENMETRICS ? "info" : "gauge";
    }
    return "";
}

/* OpenMetrics names the family, of which the samples of a counter and of an info are called otherwise. */
static int family_name_size(const struct metric *metric, enum metrics_format format)
{
    static const char *const endings[] = {[METRIC_GAUGE] = "", [METRIC_COUNTER] = "_total", [METRIC_INFO] = "_info"};
    size_t size = strlen(metric->name);

    return (int)(format == METRICS_OPENMETRICS ? size - strlen(endings[metric->type]) : size);
}

static const char *basis_words(enum metric_basis basis)
{
    switch (basis) {
    case METRIC_NOW:
    case METRIC_RECEIVER:
        return "";
    case METRIC_SURVEY:
        return " As of pgcoffer_survey_timestamp_seconds.";
    }
    return "";
}

static void begin_family(struct scrape *scrape)
{
    const struct metric *metric = scrape->metric;
    struct buffer *out = scrape->out;
    bool is_open = scrape->format == METRICS_OPENMETRICS;
    int size = family_name_size(metric, scrape->format);

    scrape->has_begun = true;
    write_format(out, "# HELP %.*s ", size, metric->name);
    write_escaped(out, metric->help, is_open);
    write_escaped(out, basis_words(metric->basis), is_open);
    write_format(out, "\n# TYPE %.*s %s\n", size, metric->name, type_word(metric->type, scrape->format));
    if (is_open && metric->unit[0] != '\0')
        write_format(out, "# UNIT %.*s %s\n", size, metric->name, metric->unit);
}

/* ---- a sample ---- */

static void write_labels(struct scrape *scrape, const char *const values[MOST_LABELS])
{
    const char *name = scrape->metric->labels;
    bool has_one = false;

    for (size_t i = 0; i < MOST_LABELS && *name != '\0'; i++) {
        size_t size = strcspn(name, ",");
        if (values[i] != NULL) {
            write_format(scrape->out, "%s%.*s=\"", has_one ? "," : "{", (int)size, name);
            write_escaped(scrape->out, values[i], true);
            write_text(scrape->out, "\"");
            has_one = true;
        }
        name += size + (name[size] == ',');
    }
    write_text(scrape->out, has_one ? "}" : "");
}

void scrape_sample_with(struct scrape *scrape, const char *first, const char *second, double value)
{
    bool has_server = scrape->metric->of != METRIC_DAEMON;
    const char *const values[MOST_LABELS] = {has_server ? scrape->server : first, has_server ? first : second,
                                             has_server ? second : NULL};
    char number[NUMBER_SIZE];

    if (!scrape->has_begun)
        begin_family(scrape);
    format_number(value, number);
    write_text(scrape->out, scrape->metric->name);
    write_labels(scrape, values);
    write_format(scrape->out, " %s\n", number);
}

void scrape_sample(struct scrape *scrape, double value)
{
    scrape_sample_with(scrape, NULL, NULL, value);
}

/* ---- what STATE tells ---- */

void scrape_number_with(struct scrape *scrape, const char *label, const json_t *object, const char *key)
{
    const json_t *number = json_object_get(object, key);

    if (json_is_number(number) && isfinite(json_number_value(number)))
        scrape_sample_with(scrape, label, NULL, json_number_value(number));
}

void scrape_number(struct scrape *scrape, const json_t *object, const char *key)
{
    scrape_number_with(scrape, NULL, object, key);
}

void scrape_boolean(struct scrape *scrape, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_boolean(value))
        scrape_sample(scrape, json_is_true(value));
}

void scrape_time_with(struct scrape *scrape, const char *label, const json_t *object, const char *key)
{
    struct timestamp time;

    if (json_find_time(object, key, &time))
        scrape_sample_with(scrape, label, NULL, (double)time.microseconds / 1e6);
}

void scrape_time(struct scrape *scrape, const json_t *object, const char *key)
{
    scrape_time_with(scrape, NULL, object, key);
}

void scrape_choice(struct scrape *scrape, const json_t *object, const char *key, const char *const *words)
{
    const char *word = json_text_or_null(object, key);
    bool is_known = false;

    for (size_t i = 0; words[i] != NULL; i++)
        is_known = is_known || (word != NULL && strcmp(words[i], word) == 0);
    for (size_t i = 0; is_known && words[i] != NULL; i++)
        scrape_sample_with(scrape, words[i], NULL, strcmp(words[i], word) == 0);
}

/* ---- all ---- */

static void tell_metric(struct scrape *scrape)
{
    const json_t *server, *servers = json_object_get(scrape->state, "servers");
    size_t i;

    if (scrape->metric->of != METRIC_DAEMON) {
        json_array_foreach(servers, i, server)
        {
            scrape->server = json_text_or_null(server, "server");
            if (scrape->server != NULL)
                scrape->metric->tell(scrape, server);
        }
    }
    scrape->server = NULL;
    if (scrape->metric->of != METRIC_SERVER)
        scrape->metric->tell(scrape, NULL);
}

void metrics_write(struct buffer *out, const json_t *state, enum metrics_format format)
{
    struct scrape scrape = {.out = out, .format = format, .state = state};

    if (!json_find_time(state, "now", &scrape.now))
        scrape.now = clock_now();
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        scrape.metric = &metrics[i];
        scrape.has_begun = false;
        tell_metric(&scrape);
    }
    json_decref(scrape.disk_rates);
    if (format == METRICS_OPENMETRICS)
        write_text(out, "# EOF\n");
}
