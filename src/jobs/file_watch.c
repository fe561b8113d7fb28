#include "jobs/file_watch_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "pgcoffer/base/memory.h"
#include "pgcoffer/base/text.h"

#define MOST_LINKS 40 /* as the kernel has it */

/* In a folder where a name is looked up that may come, go, or lead elsewhere. Closing tells of writing in place. */
#define EVENTS_OF_NAMES                                                                                                \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB | EVENTS_OF_ITSELF)
#define EVENTS_OF_ITSELF (IN_MOVE_SELF | IN_DELETE_SELF)

/* What of a file changes with its content; of a missing one, why it cannot be seen. */
struct signature {
    int failure;
    dev_t device;
    ino_t inode;
    off_t size;
    mode_t mode;
    uid_t owner;
    struct timespec modified_at, changed_at;
};

struct file_watch {
    char *paths[FILE_WATCH_MOST];
    struct signature seen[FILE_WATCH_MOST];
    size_t count;
    int events;              /* inotify; -1: cannot be had */
    bool is_blind;           /* not every change makes an event */
    int64_t rest_until;      /* events are not looked at before; 0: they are */
    int64_t look_at;         /* without events; INT64_MAX: never */
    int64_t changed_at;      /* the last change that has not settled; 0: none */
    int64_t unsettled_since; /* the first of them */
};

/* ---- what the files are ---- */

static struct signature read_signature(const char *path)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return (struct signature){.failure = errno};
    return (struct signature){
        .device = status.st_dev,
        .inode = status.st_ino,
        .size = status.st_size,
        .mode = status.st_mode,
        .owner = status.st_uid,
        .modified_at = status.st_mtim,
        .changed_at = status.st_ctim,
    };
}

static bool is_same_time(const struct timespec *left, const struct timespec *right)
{
    return left->tv_sec == right->tv_sec && left->tv_nsec == right->tv_nsec;
}

static bool is_same(const struct signature *left, const struct signature *right)
{
    return left->failure == right->failure && left->device == right->device && left->inode == right->inode &&
           left->size == right->size && left->mode == right->mode && left->owner == right->owner &&
           is_same_time(&left->modified_at, &right->modified_at) && is_same_time(&left->changed_at, &right->changed_at);
}

/* ---- where events are asked for ---- */

/* There the kernel does not learn what other machines do. */
static bool is_remote(const char *folder)
{
    static const unsigned long kinds[] = {NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC,  0xfe534d42UL /* SMB 2 */,
                                          CIFS_SUPER_MAGIC, V9FS_MAGIC,       FUSE_SUPER_MAGIC,
                                          AFS_SUPER_MAGIC,  CEPH_SUPER_MAGIC, OCFS2_SUPER_MAGIC};
    struct statfs status;

    if (statfs(folder, &status) < 0)
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if ((unsigned long)status.f_type == kinds[i])
            return true;
    return false;
}

static void watch_folder(struct file_watch *watch, const char *folder, uint32_t events)
{
    bool is_for_names = events != EVENTS_OF_ITSELF;
    int added = inotify_add_watch(watch->events, folder, events | IN_ONLYDIR | IN_MASK_ADD);

    /* A folder above that may not be listed is seldom exchanged; the one with the file must be seen. */
    if (is_for_names && ((added < 0 && errno != ENOENT) || is_remote(folder)))
        watch->is_blind = true;
}

static void go_up(char folder[PATH_MAX])
{
    char *slash = strrchr(folder, '/');

    if (slash != NULL)
        *slash = '\0';
}

/* Puts the target in front of the rest of the path. False when that is too long for the kernel too. */
static bool follow_link(const char *link, char folder[PATH_MAX], char rest[PATH_MAX])
{
    char target[PATH_MAX], behind[PATH_MAX];
    ssize_t size = readlink(link, target, sizeof target - 1);

    if (size < 0)
        return false;
    target[size] = '\0';
    snprintf(behind, sizeof behind, "%s", rest);
    if (target[0] == '/')
        folder[0] = '\0';
    return snprintf(rest, PATH_MAX, "%s/%s", target, behind) < PATH_MAX;
}

/* Takes the next name off `rest`; false at its end. */
static bool take_name(char rest[PATH_MAX], char ret_name[PATH_MAX])
{
    const char *start = rest + strspn(rest, "/");
    size_t size = strcspn(start, "/");

    memcpy(ret_name, start, size);
    ret_name[size] = '\0';
    memmove(rest, start + size, strlen(start + size) + 1);
    return size > 0;
}

/*
 * One step of the walk: false when it has come to the file, or to a name that leads nowhere. What lies below a link
 * changes in the folder of the link, so that is watched; of plain folders only that they stay where they are.
 */
static bool walk_into(struct file_watch *watch, const char *name, char folder[PATH_MAX], char rest[PATH_MAX],
                      unsigned *links)
{
    char *here SCOPED(scoped_free) = memory_text("%s/%s", folder, name);
    const char *where = text_is_empty(folder) ? "/" : folder;
    struct stat status = {.st_mode = 0};

    if (strcmp(name, ".") == 0)
        return true;
    if (strcmp(name, "..") == 0) {
        go_up(folder);
        return true;
    }
    if (lstat(here, &status) == 0 && S_ISDIR(status.st_mode)) {
        watch_folder(watch, here, EVENTS_OF_ITSELF);
        if (faccessat(AT_FDCWD, here, R_OK | X_OK, AT_EACCESS) < 0) /* that it is opened can be seen from above */
            watch_folder(watch, where, EVENTS_OF_NAMES);
        return snprintf(folder, PATH_MAX, "%s", here) < PATH_MAX;
    }
    watch_folder(watch, where, EVENTS_OF_NAMES);
    return S_ISLNK(status.st_mode) && ++*links <= MOST_LINKS && follow_link(here, folder, rest);
}

static void watch_path(struct file_watch *watch, const char *path)
{
    char folder[PATH_MAX] = "", rest[PATH_MAX], name[PATH_MAX];
    unsigned links = 0;

    snprintf(rest, sizeof rest, "%s", path);
    while (take_name(rest, name) && walk_into(watch, name, folder, rest, &links))
        continue;
}

/* Anew each time: links may lead to other folders now. */
static void watch_paths(struct file_watch *watch)
{
    int former = watch->events;

    watch->is_blind = false;
    watch->events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->events < 0)
        watch->is_blind = true;
    for (size_t i = 0; i < watch->count && watch->events >= 0; i++)
        watch_path(watch, watch->paths[i]);
    if (former >= 0)
        close(former);
}

/* ---- looking ---- */

static bool has_changed(struct file_watch *watch)
{
    bool is_other = false;

    for (size_t i = 0; i < watch->count; i++) {
        struct signature now = read_signature(watch->paths[i]);
        is_other = is_other || !is_same(&watch->seen[i], &now);
        watch->seen[i] = now;
    }
    return is_other;
}

static bool is_one_missing(const struct file_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++)
        if (watch->seen[i].failure != 0)
            return true;
    return false;
}

/* *ret_is_place_lost: a folder went away or elsewhere, or the kernel lost count. */
static bool take_events(struct file_watch *watch, bool *ret_is_place_lost)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool has_any = false;
    ssize_t size;

    *ret_is_place_lost = false;
    while (watch->events >= 0 && (size = read(watch->events, events, sizeof events)) > 0) {
        has_any = true;
        for (const char *at = events; at < events + size;) {
            const struct inotify_event *event = (const void *)at;
            if ((event->mask & (EVENTS_OF_ITSELF | IN_IGNORED | IN_Q_OVERFLOW | IN_UNMOUNT)) != 0)
                *ret_is_place_lost = true;
            at += sizeof *event + event->len;
        }
    }
    return has_any;
}

static void look(struct file_watch *watch, bool is_place_lost, int64_t now)
{
    bool is_changed = has_changed(watch);

    if (is_changed || is_place_lost || is_one_missing(watch)) {
        watch_paths(watch);
        is_changed = has_changed(watch) || is_changed; /* before the new watches saw it */
    }
    watch->look_at = watch->is_blind ? now + FILE_WATCH_BLIND_LOOKS : INT64_MAX;
    if (!is_changed)
        return;
    if (watch->changed_at == 0)
        watch->unsettled_since = now;
    watch->changed_at = now;
}

static int64_t earlier(int64_t left, int64_t right)
{
    return left < right ? left : right;
}

static int64_t settled_at(const struct file_watch *watch)
{
    if (watch->changed_at == 0)
        return INT64_MAX;
    return earlier(watch->changed_at + FILE_WATCH_SETTLED, watch->unsettled_since + FILE_WATCH_UNSETTLED);
}

static bool has_settled(struct file_watch *watch, int64_t now)
{
    if (now < settled_at(watch))
        return false;
    look(watch, false, now);
    if (now < settled_at(watch))
        return false;
    watch->changed_at = 0;
    return true;
}

bool file_watch_turn(struct file_watch *watch, int64_t now)
{
    bool is_place_lost = false;

    if (now >= watch->rest_until) {
        bool has_events = take_events(watch, &is_place_lost);
        watch->rest_until = has_events ? now + FILE_WATCH_EVENTS_APART : 0;
        if (has_events || now >= watch->look_at)
            look(watch, is_place_lost, now);
    }
    return has_settled(watch, now);
}

int file_watch_descriptor(const struct file_watch *watch, int64_t now)
{
    return now >= watch->rest_until ? watch->events : -1;
}

int64_t file_watch_due(const struct file_watch *watch)
{
    int64_t rested_at = watch->rest_until == 0 ? INT64_MAX : watch->rest_until;

    return earlier(earlier(rested_at, watch->look_at), settled_at(watch));
}

void file_watch_look_now(struct file_watch *watch)
{
    watch->look_at = 0;
    watch->rest_until = 0;
}

struct file_watch *file_watch_new(const char *const *paths, size_t count, int64_t now)
{
    struct file_watch *watch = memory_new(sizeof *watch);

    watch->events = -1;
    for (size_t i = 0; i < count && watch->count < FILE_WATCH_MOST; i++)
        if (!text_is_empty(paths[i]))
            watch->paths[watch->count++] = memory_copy_text(paths[i]);
    watch_paths(watch);
    has_changed(watch);
    watch->look_at = watch->is_blind ? now + FILE_WATCH_BLIND_LOOKS : INT64_MAX;
    return watch;
}

void file_watch_free(struct file_watch *watch)
{
    if (watch == NULL)
        return;
    if (watch->events >= 0)
        close(watch->events);
    for (size_t i = 0; i < watch->count; i++)
        free(watch->paths[i]);
    free(watch);
}
