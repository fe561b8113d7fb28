#ifndef PGCOFFER_SRC_JOBS_CHECK_HBA_RULE_INTERNAL_H
#define PGCOFFER_SRC_JOBS_CHECK_HBA_RULE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A line of pg_hba.conf as pg_hba_file_rules shows it, and what it means for a replication connection. Pure. Where a
 * line cannot be judged from here (a group, a regular expression, a host name) it is taken to fit.
 */
struct hba_rule {
    const char *line;    /* "12" */
    const char *type;    /* "hostssl"; NULL: PostgreSQL could not read the line */
    const char *bases;   /* "replication,all" */
    const char *users;   /* "repl,+backup" */
    const char *address; /* "192.0.2.0", "all", "samenet", a name; NULL with local */
    const char *netmask; /* NULL with a word or a name */
    const char *method;  /* "scram-sha-256" */
    const char *options; /* "clientcert=verify-full,map=agents"; NULL without */
    const char *error;   /* NULL also for some lines that are wrong: `type` tells */
};

/* What a line demands. */
enum hba_demand { HBA_DEMANDS_NOTHING, HBA_DEMANDS_PASSWORD, HBA_DEMANDS_CERTIFICATE };
enum hba_demand hba_rule_demand(const struct hba_rule *rule);
bool hba_rule_takes_plaintext(const struct hba_rule *rule);

/* Does it decide about physical replication over TCP by that role from that address ("" : from any)? */
bool hba_rule_fits(const struct hba_rule *rule, const char *user, const char *client);
/* The line that decides about us, over TLS; NULL when none does. */
const struct hba_rule *hba_rule_find_ours(const struct hba_rule *rules, size_t count, const char *user,
                                          const char *client);
/* Of the lines above `ours` (NULL: of all) the first that admits replication with less: our role with less than ours
 * demands, or any role with nothing at all. NULL when there is none. */
const struct hba_rule *hba_rule_find_looser(const struct hba_rule *rules, size_t count, const struct hba_rule *ours,
                                            const char *user);

/* Does the system name of a line of pg_ident.conf ("/^(.*)$") take every name? */
bool ident_name_catches_all(const char *system_name);

#endif
