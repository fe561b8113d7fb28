#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pgcoffer/base/log.h"

/*
 * What a worker says on its stderr, which may be in foreign hands: whatever it is becomes lines of the log, in JSON
 * each one object. The log is a file in memory, so that what was written can be read back.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int open_log(void)
{
    char path[64];
    int fd = memfd_create("log", MFD_CLOEXEC);
    struct error err;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || !log_open_file(path, &err))
        abort();
    return fd;
}

static void check(int fd, bool is_json)
{
    static char text[1 << 22];
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    struct error err;

    if (size < 0)
        abort();
    text[size] = '\0';
    if (strlen(text) != (size_t)size || (size > 0 && text[size - 1] != '\n'))
        abort();
    for (char *at = text; *at != '\0' && is_json; at += strcspn(at, "\n") + 1) {
        json_t *line SCOPED(scoped_json) = json_parse_object(at, strcspn(at, "\n"), &err);
        if (line == NULL || json_text_or_null(line, "level") == NULL)
            abort();
    }
    if (ftruncate(fd, 0) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;

    if (fd < 0)
        fd = open_log();
    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        log_set_format((enum log_format)format);
        log_on_behalf((const char *)data, size, 1);
        check(fd, format == LOG_FORMAT_JSON);
    }
    return 0;
}
