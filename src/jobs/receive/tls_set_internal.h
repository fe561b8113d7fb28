#ifndef PGCOFFER_SRC_JOBS_RECEIVE_TLS_SET_INTERNAL_H
#define PGCOFFER_SRC_JOBS_RECEIVE_TLS_SET_INTERNAL_H

#include <stdint.h>

#include "pgcoffer/config/config.h"

/*
 * The TLS files of a server as they lie there: enough to tell whether another content came, and which file has it.
 * What cannot be read differs from everything that can.
 */
enum tls_set_file { TLS_SET_CERTIFICATE, TLS_SET_KEY, TLS_SET_AUTHORITIES, TLS_SET_REVOCATIONS, TLS_SET_COUNT };

struct tls_set {
    uint8_t content[TLS_SET_COUNT][32];
    uint32_t access[TLS_SET_COUNT]; /* mode and owner, of which libpq is particular */
    uint32_t owner[TLS_SET_COUNT];
};

/* "" where none is configured. */
const char *tls_set_path(const struct settings *settings, enum tls_set_file file);
void tls_set_read(const struct settings *settings, struct tls_set *ret_set);
bool tls_set_has_same_content(const struct tls_set *left, const struct tls_set *right);
bool tls_set_is_same(const struct tls_set *left, const struct tls_set *right);
/* "tls_cert_file, tls_key_file": the settings whose files have another content. */
#define TLS_SET_NAMES_SIZE 80
void tls_set_name_changed(const struct tls_set *left, const struct tls_set *right, char ret_names[TLS_SET_NAMES_SIZE]);

#endif
