#ifndef BREAKING_BOARD_H
#define BREAKING_BOARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The board is a file that run.py and every process under test have mapped. run.py writes what is to happen, the
 * processes count their calls on it and note where the fault was. board.py has the same layout.
 *
 * Nothing here allocates, and the C library is called by system call only: this runs within write(), in any thread.
 */
#define BOARD_MAGIC        0x62726b32u
#define BOARD_ROLE_SIZE    32
#define BOARD_FOLDER_SIZE  256
#define BOARD_CALL_SIZE    32
#define BOARD_PATH_SIZE    384
#define BOARD_ENVIRONMENT  "PGCOFFER_BREAKING_BOARD"
#define LEDGER_ENVIRONMENT "PGCOFFER_BREAKING_LEDGER"

enum call_class { CALL_WRITE, CALL_SYNC, CALL_RENAME, CALL_UNLINK, CALL_CREATE, CALL_SEND, CALL_RECEIVE, CALL_CLASSES };

enum fault {
    FAULT_NONE,
    FAULT_EIO,
    FAULT_ENOSPC,
    FAULT_SHORT, /* half of what was asked for, which is no error */
    FAULT_RESET, /* ECONNRESET */
    FAULT_END,   /* the peer has closed */
    FAULT_KILL,  /* the process ends before the call */
    FAULT_TORN,  /* half of the call, and then the process ends */
    FAULT_POWER, /* the process ends, and with it its parent: the machine is gone */
};

enum board_mode { BOARD_OFF, BOARD_COUNT, BOARD_INJECT };
enum board_sockets { BOARD_SOCKETS_INTERNET, BOARD_SOCKETS_ALL };

struct board {
    uint32_t magic;
    uint32_t mode;
    uint32_t class;
    uint32_t fault;
    uint64_t number;     /* of the call, from 1 on */
    uint32_t is_lasting; /* all calls from that one on */
    uint32_t sockets;
    char role[BOARD_ROLE_SIZE];     /* of a worker, or "cli" */
    char folder[BOARD_FOLDER_SIZE]; /* only files below it */
    uint64_t counts[CALL_CLASSES];  /* from here on the processes write */
    uint32_t fired;                 /* how often */
    uint32_t fired_pid;
    uint64_t fired_number;
    char fired_call[BOARD_CALL_SIZE];
    char fired_path[BOARD_PATH_SIZE];
};

/* What is to happen to this call; `path` may be NULL. */
enum fault board_decide(enum call_class class, const char *call, const char *path);

/* Is this a path whose calls count? */
bool board_is_watched(const char *path);

/* Does this process take part at all? Before its constructor has run a library knows nothing. */
bool board_is_attached(void);
bool board_is_for_us(void);

bool board_takes_unix_sockets(void);

_Noreturn void board_die(enum fault fault);

/* ---- the C library, without the C library ---- */

long board_system_call(long number, long one, long two, long three, long four, long five, long six);

#endif
