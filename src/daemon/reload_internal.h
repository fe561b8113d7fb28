#ifndef PGCOFFER_SRC_DAEMON_RELOAD_INTERNAL_H
#define PGCOFFER_SRC_DAEMON_RELOAD_INTERNAL_H

#include "daemon/supervisor_internal.h"

/*
 * Reads the configuration again. A wrong one changes nothing; a good one takes effect, except for settings that need a
 * restart: those keep their values, and *ret_restart_needed names them. Logs either.
 */
bool reload_configuration(struct supervisor *supervisor, const char *who, char ret_restart_needed[CONFIG_TEXT_SIZE],
                          struct error *err) NODISCARD;
/* What a configuration demands of the system's groups. CONFIG; *ret_notice "" or what is worth a line in the log. */
bool reload_check_groups(const struct config *config, char ret_notice[256], struct error *err) NODISCARD;

#endif
