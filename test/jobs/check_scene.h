#ifndef PGCOFFER_TEST_JOBS_CHECK_SCENE_H
#define PGCOFFER_TEST_JOBS_CHECK_SCENE_H

#include <string.h>

#include "pgcoffer/jobs/check.h"
#include "pgcoffer/tls/certificate.h"
#include "support/suite.h"
#include "tls/pki.h"

/* A server's section with files in a scratch folder, and what `check` says of it. */
static struct scene {
    char folder[64];
    struct pki_pair root;
    struct server_config config;
    struct check_request request;
    struct check_result results[CHECK_COUNT];
    bool is_told[CHECK_COUNT];
} scene;

static inline const char *scene_path(char path[CONFIG_TEXT_SIZE], const char *name)
{
    snprintf(path, CONFIG_TEXT_SIZE, "%s/%s", scene.folder, name);
    return path;
}

/* verify-full to localhost, by the certificate of "Lab Root"; no client certificate. */
static inline void scene_make(void)
{
    struct settings *settings = &scene.config.settings;

    scene = (struct scene){0};
    pki_scratch(scene.folder);
    scene.root = pki_authority("Lab Root");
    snprintf(scene.config.name, sizeof scene.config.name, "primary");
    snprintf(settings->host, sizeof settings->host, "localhost");
    snprintf(settings->hostaddr, sizeof settings->hostaddr, "127.0.0.1");
    snprintf(settings->user, sizeof settings->user, "repl");
    snprintf(settings->tls_mode, sizeof settings->tls_mode, "verify-full");
    settings->port = 1;
    settings->connect_timeout = 10;
    settings->expiry_warn_days = 21;
    settings->expiry_critical_days = 3;
    pki_write_certificate(scene_path(settings->tls_ca_file, "root.crt"), &scene.root);
    scene.request = (struct check_request){.server = &scene.config, .interrupt_fd = -1};
}

/* Writes repl.crt and repl.key and makes them the client's; `pair` may be followed by its intermediate. */
static inline void scene_use_client(const struct pki_pair *pair, const struct pki_pair *intermediate)
{
    struct settings *settings = &scene.config.settings;

    pki_write_certificate(scene_path(settings->tls_cert_file, "repl.crt"), pair);
    if (intermediate != NULL)
        pki_write_certificate(settings->tls_cert_file, intermediate);
    pki_write_key(scene_path(settings->tls_key_file, "repl.key"), pair, NULL);
}

static inline bool scene_keep(void *context, const struct check_result *result, struct error *err)
{
    (void)context;
    (void)err;
    scene.results[result->id] = *result;
    scene.is_told[result->id] = true;
    return true;
}

/* Looks as far as the level, without what only a login tells. */
static inline void scene_look(enum check_level level)
{
    struct error err = {0};

    scene.request.options.warn_days = scene.config.settings.expiry_warn_days;
    scene.request.options.critical_days = scene.config.settings.expiry_critical_days;
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        scene.request.options.is_wanted[id] = check_rows[id].level <= level && id != CHECK_ID_identity_common_name;
    if (level == CHECK_LEVEL_FILES)
        scene.request.options.is_wanted[CHECK_ID_chain_ca] = scene.request.options.is_wanted[CHECK_ID_expiry_ca] =
            false;
    memset(scene.is_told, 0, sizeof scene.is_told);
    ck_assert_msg(check_server(&scene.request, scene_keep, NULL, &err), "%s", err.message);
}

/* The state, and pieces of cause and fix (of what was seen, for PASS and SKIP). */
static inline void scene_expect(enum check_id id, enum check_state state, const char *cause, const char *fix)
{
    const struct check_result *result = &scene.results[id];
    const char *told = state == CHECK_PASS || state == CHECK_SKIP ? result->seen : result->cause;

    ck_assert_msg(scene.is_told[id], "%s is not told", check_rows[id].name);
    ck_assert_msg(result->state == state, "%s is %s: %s %s", check_rows[id].name, check_state_word(result->state),
                  result->seen, result->cause);
    ck_assert_msg(strstr(told, cause) != NULL, "%s: \"%s\" has no \"%s\"", check_rows[id].name, told, cause);
    ck_assert_msg(fix == NULL || strstr(result->fix, fix) != NULL, "%s: \"%s\" has no \"%s\"", check_rows[id].name,
                  result->fix, fix);
}

/* Nothing but this one is wrong (CHECK_ID_NOTHING: nothing at all). */
static inline void scene_expect_only(enum check_id only)
{
    for (enum check_id id = 0; id < CHECK_COUNT; id++)
        ck_assert_msg(!scene.is_told[id] || id == only || scene.results[id].state == CHECK_PASS ||
                          scene.results[id].state == CHECK_SKIP,
                      "%s is %s: %s", check_rows[id].name, check_state_word(scene.results[id].state),
                      scene.results[id].cause);
}

#endif
