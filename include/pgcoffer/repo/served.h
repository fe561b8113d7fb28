#ifndef PGCOFFER_REPO_SERVED_H
#define PGCOFFER_REPO_SERVED_H

#include "pgcoffer/repo/layout.h"

/*
 * BASE/SERVER/tls.json: the certificate that PostgreSQL showed last, so that another one is noticed even when the
 * daemon was restarted in between. Written by the receiver only.
 */
struct served_certificate {
    char subject[256];
    char not_after[TIMESTAMP_TEXT_SIZE];
    char fingerprint[96]; /* SHA-256, "AB:CD:..." */
    struct timestamp first_seen_at;
};

/* errnum is ENOENT when none was noted yet; damage, and a document of a newer program, are INTEGRITY. */
bool served_certificate_read(const struct repo *repo, const char *server, struct served_certificate *ret_certificate,
                             struct error *err) NODISCARD;
/* Replaces what was noted. The server's folder must be there. */
bool served_certificate_write(const struct repo *repo, const char *server, const struct served_certificate *certificate,
                              struct error *err) NODISCARD;

#endif
