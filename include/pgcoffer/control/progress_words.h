#ifndef PGCOFFER_CONTROL_PROGRESS_WORDS_H
#define PGCOFFER_CONTROL_PROGRESS_WORDS_H

#include "pgcoffer/control/stream.h"

/* Progress for people: the same on the terminal, in a log and on the status page. */

/* "copying" for "copy"; a phase that is not known stands for itself. */
const char *progress_phase_words(const char *phase);
/* 0 to 100 of a known total; one that grew past its estimate stays below the end. */
unsigned progress_percent(const struct progress *progress);
/* "1.2 GB / 2.6 GB  120.3 MB/s  ETA 12.0s", with what is known of it. */
#define PROGRESS_NUMBERS_SIZE 128
void progress_numbers(const struct progress *progress, char *ret_text, size_t size);

#endif
