#include "board.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ledger.h"

#define COMMAND_LINE_SIZE 4096

static struct board *board;
static char own_role[BOARD_ROLE_SIZE];

long board_system_call(long number, long one, long two, long three, long four, long five, long six)
{
    long result;

#if defined(__x86_64__)
    register long fourth __asm__("r10") = four;
    register long fifth __asm__("r8") = five;
    register long sixth __asm__("r9") = six;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(one), "S"(two), "d"(three), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = one;
    register long x1 __asm__("x1") = two;
    register long x2 __asm__("x2") = three;
    register long x3 __asm__("x3") = four;
    register long x4 __asm__("x4") = five;
    register long x5 __asm__("x5") = six;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    result = x0;
#else
#error "no system calls for this processor"
#endif
    return result;
}

static void copy_text(char *to, size_t room, const char *from)
{
    size_t size = 0;

    while (from != NULL && from[size] != '\0' && size + 1 < room)
        size++;
    if (size > 0)
        memcpy(to, from, size);
    to[size] = '\0';
}

/* "--role=receive" of a worker; the command line itself is "cli". */
static void learn_own_role(void)
{
    char line[COMMAND_LINE_SIZE + 1] = "";
    long fd = board_system_call(SYS_openat, AT_FDCWD, (long)"/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    long size = fd < 0 ? -1 : board_system_call(SYS_read, fd, (long)line, COMMAND_LINE_SIZE, 0, 0, 0);

    if (fd >= 0)
        board_system_call(SYS_close, fd, 0, 0, 0, 0, 0);
    if (size <= 0)
        return;
    const char *name = strrchr(line, '/') != NULL ? strrchr(line, '/') + 1 : line;
    if (strcmp(name, "pgcoffer") == 0)
        copy_text(own_role, sizeof own_role, "cli");
    for (const char *word = line; word < line + size; word += strlen(word) + 1)
        if (strncmp(word, "--role=", 7) == 0)
            copy_text(own_role, sizeof own_role, word + 7);
}

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv(BOARD_ENVIRONMENT);

    if (path == NULL)
        return;
    learn_own_role();
    long fd = board_system_call(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    board_system_call(SYS_close, fd, 0, 0, 0, 0, 0);
    if (mapped != MAP_FAILED && ((struct board *)mapped)->magic == BOARD_MAGIC)
        board = mapped;
    ledger_open(getenv(LEDGER_ENVIRONMENT));
}

bool board_is_watched(const char *path)
{
    size_t size = board == NULL ? 0 : strlen(board->folder);

    return size > 0 && path != NULL && strncmp(path, board->folder, size) == 0 &&
           (path[size] == '/' || path[size] == '\0');
}

bool board_is_attached(void)
{
    return board != NULL;
}

bool board_is_for_us(void)
{
    return board != NULL && __atomic_load_n(&board->mode, __ATOMIC_ACQUIRE) != BOARD_OFF && own_role[0] != '\0' &&
           strcmp(board->role, own_role) == 0;
}

bool board_takes_unix_sockets(void)
{
    return board != NULL && board->sockets == BOARD_SOCKETS_ALL;
}

enum fault board_decide(enum call_class class, const char *call, const char *path)
{
    if (!board_is_for_us())
        return FAULT_NONE;
    uint64_t number = __atomic_add_fetch(&board->counts[class], 1, __ATOMIC_ACQ_REL);
    if (board->mode != BOARD_INJECT || board->class != class || number < board->number ||
        (number > board->number && !board->is_lasting))
        return FAULT_NONE;
    if (number == board->number) {
        copy_text(board->fired_call, sizeof board->fired_call, call);
        copy_text(board->fired_path, sizeof board->fired_path, path);
        board->fired_number = number;
        board->fired_pid = (uint32_t)getpid();
    }
    __atomic_add_fetch(&board->fired, 1, __ATOMIC_ACQ_REL);
    return (enum fault)board->fault;
}

void board_die(enum fault fault)
{
    /* The command line has no part in the daemon: its parent is who typed the command. */
    if (fault == FAULT_POWER && strcmp(own_role, "cli") != 0)
        board_system_call(SYS_kill, getppid(), SIGKILL, 0, 0, 0, 0);
    for (;;)
        board_system_call(SYS_kill, getpid(), SIGKILL, 0, 0, 0, 0);
}
