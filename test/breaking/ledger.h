#ifndef BREAKING_LEDGER_H
#define BREAKING_LEDGER_H

/*
 * What was made and what was made durable below the board's folder, as lines in a file that all processes append to.
 * After a power cut run.py takes from the disk what the ledger says nobody had synced: see losses.py.
 *
 *   created INODE PATH         a file that was not there
 *   folder PATH                a folder that was not there
 *   synced INODE SIZE PATH     that many bytes are durable
 *   synced-folder PATH         the names in it are
 *   renamed OVERWRITES FROM TO
 *   removed PATH
 */
#define LEDGER_PATH_SIZE 1024

void ledger_open(const char *path);

/* False too when there is no ledger. */
int ledger_is_kept(void);

void ledger_created(const char *path);
void ledger_folder(const char *path);
void ledger_synced(int fd, const char *path, long long size);
void ledger_renamed(const char *from, const char *to, int has_overwritten);
void ledger_removed(const char *path);

/* -1 when it is a folder, -2 when it cannot be told. */
long long ledger_size_of(int fd);

#endif
