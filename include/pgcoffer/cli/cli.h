#ifndef PGCOFFER_CLI_CLI_H
#define PGCOFFER_CLI_CLI_H

/* The command line: parses, runs, prints; returns the exit status of DESIGN 7. */
int cli_main(int argc, char **argv);

#endif
