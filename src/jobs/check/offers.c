#include <string.h>

#include "jobs/check/handshake_internal.h"
#include "pgcoffer/base/text.h"

#define BAD_CIPHERS  "aNULL:eNULL:"
#define WEAK_CIPHERS "EXPORT:LOW:DES:3DES:RC4:RC2:IDEA:SEED:MD5:"
#define NO_LEVEL     "@SECLEVEL=0"

/* Did the server go along, as far as can be seen? */
static bool is_taken(const struct tls_probe *probe)
{
    return probe->outcome == TLS_PROBE_ACCEPTED || probe->chain != NULL;
}

static bool is_lost(const struct tls_probe *probe)
{
    return probe->is_unprepared || probe->outcome == TLS_PROBE_UNREACHABLE || probe->outcome == TLS_PROBE_NO_TLS ||
           probe->outcome == TLS_PROBE_NOT_POSTGRES;
}

static void look_at_versions(struct check_run *run)
{
    struct tls_probe probe;
    struct finding finding = {0};
    bool is_newest = strcmp(run->bare.version, "TLSv1.3") == 0;

    check_probe_unverified(run,
                           (struct tls_probe_request){
                               .least_version = TLS1_VERSION, .most_version = TLS1_1_VERSION, .is_weak_allowed = true},
                           &probe);
    if (is_lost(&probe)) {
        check_skip(run, CHECK_ID_protocol_versions, "the attempt with TLSv1.1 got no answer: %s", probe.words);
    } else if (is_taken(&probe)) {
        finding_seen(&finding, "a handshake with %s succeeded", probe.version);
        finding_cause(&finding, CHECK_ID_protocol_versions,
                      "The server still takes %s, whose signatures are made with SHA-1 and MD5: somebody between can "
                      "make old clients fall back to it.",
                      probe.version);
        finding_fix(&finding, "Set ssl_min_protocol_version = 'TLSv1.2' in postgresql.conf on the server, then SELECT "
                              "pg_reload_conf();");
        check_warn(run, &finding);
    } else {
        check_pass(run, CHECK_ID_protocol_versions, "TLSv1.0 and TLSv1.1 are refused, %s",
                   is_newest ? "TLSv1.3 is spoken" : "TLSv1.2 is the newest spoken");
    }
    tls_probe_done(&probe);
}

static bool is_anonymous(const char *cipher)
{
    return text_starts_with(cipher, "ADH-") || text_starts_with(cipher, "AECDH-");
}

static bool is_in_clear(const char *cipher)
{
    return strstr(cipher, "NULL") != NULL;
}

static void tell_cipher(struct check_run *run, const char *cipher)
{
    struct finding finding = {0};

    finding_seen(&finding, "a handshake with %s succeeded", cipher);
    if (is_anonymous(cipher)) {
        finding_cause(&finding, CHECK_ID_protocol_ciphers,
                      "The server takes the anonymous cipher %s: a handshake without any certificate, into which "
                      "anybody between can step.",
                      cipher);
        finding_fix(&finding, "Set ssl_ciphers = 'HIGH:!aNULL' in postgresql.conf on the server, then SELECT "
                              "pg_reload_conf();");
        check_fail(run, &finding);
    } else if (is_in_clear(cipher)) {
        finding_cause(&finding, CHECK_ID_protocol_ciphers,
                      "The server takes the cipher %s: the connection is signed but goes without encryption.", cipher);
        finding_fix(&finding, "Take eNULL and NULL out of ssl_ciphers in postgresql.conf on the server, or append "
                              ":!eNULL to it, then SELECT pg_reload_conf();");
        check_fail(run, &finding);
    } else {
        finding_cause(&finding, CHECK_ID_protocol_ciphers, "The server takes the weak cipher %s.", cipher);
        finding_fix(&finding, "Set ssl_ciphers = 'HIGH' and append :!3DES:!RC4 to it in postgresql.conf on the server, "
                              "then SELECT pg_reload_conf();");
        check_warn(run, &finding);
    }
}

/* One attempt with everything bad; which of it the server would rather take is its choice, so a weak one does not mean
 * that it takes nothing worse. */
static void look_at_ciphers(struct check_run *run)
{
    struct tls_probe_request request = {
        .most_version = TLS1_2_VERSION, .is_weak_allowed = true, .ciphers = BAD_CIPHERS WEAK_CIPHERS NO_LEVEL};
    struct tls_probe probe, worse;

    check_probe_unverified(run, request, &probe);
    if (is_lost(&probe)) {
        check_skip(run, CHECK_ID_protocol_ciphers, "the attempt with bad ciphers got no answer: %s", probe.words);
    } else if (!is_taken(&probe)) {
        check_pass(run, CHECK_ID_protocol_ciphers, "anonymous, unencrypted and weak ciphers are refused");
    } else if (is_anonymous(probe.cipher) || is_in_clear(probe.cipher)) {
        tell_cipher(run, probe.cipher);
    } else {
        request.ciphers = BAD_CIPHERS NO_LEVEL;
        check_probe_unverified(run, request, &worse);
        tell_cipher(run, is_taken(&worse) ? worse.cipher : probe.cipher);
        tls_probe_done(&worse);
    }
    tls_probe_done(&probe);
}

void check_offers(struct check_run *run)
{
    if (run->request->options.is_passive)
        return;
    if (check_is_needed(run, CHECK_ID_protocol_versions) && !check_is_interrupted(run))
        look_at_versions(run);
    if (check_is_needed(run, CHECK_ID_protocol_ciphers) && !check_is_interrupted(run))
        look_at_ciphers(run);
}
