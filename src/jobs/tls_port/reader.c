#include "jobs/tls_port/reader_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "jobs/file_watch_internal.h"
#include "jobs/tls_port/ends_internal.h"
#include "pgcoffer/base/clock.h"
#include "pgcoffer/base/file.h"
#include "pgcoffer/base/log.h"
#include "pgcoffer/base/text.h"
#include "pgcoffer/tls/files.h"

/* What time alone mends (a certificate that is not valid yet) or ends (a revocation list) no file tells. */
#define BAD_LOOKED_AGAIN_AFTER  INT64_C(30000000)
#define GOOD_LOOKED_AGAIN_AFTER INT64_C(21600000000)

/* ---- one look ---- */

static bool check_files(const struct server_config *view, struct error *err)
{
    static const enum check_id order[] = {
        CHECK_ID_file_ca,          CHECK_ID_expiry_ca, CHECK_ID_file_crl, CHECK_ID_expiry_crl,
        CHECK_ID_file_certificate, CHECK_ID_file_key,  CHECK_ID_key_mode, CHECK_ID_key_match,
    };
    struct finding finding;

    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (tls_files_fault(view, order[i], &finding))
            return finding_to_plain_error(&finding, ERROR_TLS, err);
    return true;
}

static bool add_file(json_t *message, const char *name, const char *path, struct error *err)
{
    struct buffer bytes SCOPED(buffer_done) = BUFFER_WITH_LIMIT(READER_MOST_FILE_SIZE);

    if (text_is_empty(path))
        return true;
    if (!file_read_whole(path, &bytes, err) || !buffer_append(&bytes, "", 1, err))
        return false;
    json_object_set_new(message, name, control_text((const char *)bytes.bytes));
    return true;
}

static bool read_files(const struct port_reading *reading, json_t *message, struct error *err)
{
    const struct settings *view = &reading->view.settings;

    if (!check_files(&reading->view, err))
        return false;
    return (add_file(message, "certificate", view->tls_cert_file, err) &&
            add_file(message, "key", view->tls_key_file, err) &&
            add_file(message, "authorities", view->tls_ca_file, err) &&
            add_file(message, "revocations", view->tls_crl_file, err)) ||
           error_wrap(err, "could not read %s's files", reading->words->owner);
}

/* There is room for one. What will end the service goes first, and stands there until it is mended. */
static bool find_warning(const struct port_reading *reading, struct error *ret_warning)
{
    return ends_find(&reading->view.settings, reading->words, ret_warning) ||
           (reading->find_warning != NULL && reading->find_warning(reading->config, ret_warning));
}

json_t *port_reader_look(const struct port_reading *reading)
{
    json_t *message SCOPED(scoped_json) = json_pack("{s:s}", "event", "files");
    struct error failure;

    if (!read_files(reading, message, &failure))
        return control_error_to_json(&failure);
    if (find_warning(reading, &failure))
        json_object_set_new(message, "warning", control_failure_to_json(&failure));
    return TAKE(message);
}

void port_reading_of_daemon(const struct config *config, const struct port_words *words,
                            struct port_reading *ret_reading)
{
    *ret_reading = (struct port_reading){.config = config, .words = words, .view.settings = config->settings};
    /* the section that the faults name */
    snprintf(ret_reading->view.name, sizeof ret_reading->view.name, "pgcoffer");
}

/* ---- the process ---- */

struct reader {
    const struct port_reading *reading;
    struct control_stream *port;
    struct file_watch *watch;
    json_t *told;
};

static bool tell(struct reader *reader, struct error *err)
{
    json_t *message SCOPED(scoped_json) = port_reader_look(reader->reading);

    if (reader->told != NULL && json_equal(reader->told, message))
        return true;
    json_decref(reader->told);
    reader->told = json_incref(message);
    return control_send(reader->port, message, err);
}

/* -1: for ever. */
static int wait_milliseconds(const struct reader *reader, int64_t look_at, int64_t now)
{
    int64_t due = file_watch_due(reader->watch);

    if (look_at < due)
        due = look_at;
    if (due == INT64_MAX)
        return -1;
    return due <= now ? 0 : (int)((due - now) / 1000 + 1);
}

/* Whatever comes from the port's process is its end: it has nothing to say. */
static bool wait_for_change(struct reader *reader)
{
    bool is_good = strcmp(json_text_or_null(reader->told, "event"), "files") == 0;
    int64_t look_at = clock_monotonic() + (is_good ? GOOD_LOOKED_AGAIN_AFTER : BAD_LOOKED_AGAIN_AFTER);

    for (;;) {
        int64_t now = clock_monotonic();
        struct pollfd pollers[] = {
            {.fd = file_watch_descriptor(reader->watch, now), .events = POLLIN},
            {.fd = control_stream_descriptor(reader->port), .events = POLLIN | POLLRDHUP},
        };
        (void)!poll(pollers, 2, wait_milliseconds(reader, look_at, now));
        if (pollers[1].revents != 0)
            return false;
        now = clock_monotonic();
        if (file_watch_turn(reader->watch, now) || now >= look_at)
            return true;
    }
}

static _Noreturn void be_reader(const struct port_reading *reading, int fd)
{
    const struct settings *settings = &reading->view.settings;
    const char *const paths[] = {settings->tls_cert_file, settings->tls_key_file, settings->tls_ca_file,
                                 settings->tls_crl_file};
    struct reader reader = {.reading = reading,
                            .port = control_stream_new(fd, CONTROL_CHANNEL_SIZE),
                            .watch = file_watch_new(paths, sizeof paths / sizeof *paths, clock_monotonic())};
    struct error err;

    do
        if (!tell(&reader, &err))
            break;
    while (wait_for_change(&reader));
    _exit(EXIT_SUCCESS);
}

bool port_reader_start(const struct port_reading *reading, const int *unwanted, struct control_stream **ret_stream,
                       struct error *err)
{
    int ends[2];
    pid_t port = getpid();

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not make a channel to the reader of %s's files",
                                    reading->words->owner);
    int ours SCOPED(scoped_close) = ends[0];
    int theirs SCOPED(scoped_close) = ends[1];
    pid_t pid = fork();
    if (pid < 0)
        return error_set_kind_errno(err, ERROR_FAILED, "could not start the reader of %s's files",
                                    reading->words->owner);
    if (pid == 0) {
        close(ours);
        for (; *unwanted >= 0; unwanted++)
            close(*unwanted);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != port)
            _exit(EXIT_FAILURE);
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        be_reader(reading, theirs);
    }
    *ret_stream = control_stream_new(file_take_descriptor(&ours), CONTROL_CHANNEL_SIZE);
    return true;
}
