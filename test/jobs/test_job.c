#include "pgcoffer/jobs/job.h"

#include <string.h>

#include "pgcoffer/base/memory.h"
#include "support/scratch.h"
#include "support/suite.h"

/* A role on the network is not shut into the repository, so that the test can still remove its folder. */
static struct worker_context worker_for(const char *base_dir, const char *server)
{
    struct worker_context worker = {.role = ROLE_backup, .client = -1, .interrupt_fd = -1};
    char *text SCOPED(scoped_free) =
        memory_text("[pgcoffer]\nbase_dir = %s\n[primary]\nhost = a\nuser = repl\ntls_cert_file = /c\n"
                    "tls_key_file = /k\ntls_ca_file = /a\n",
                    base_dir);

    worker.start = json_pack("{s:s, s:s, s:s*}", "config", text, "config_path", "/etc/x.conf", "server", server);
    return worker;
}

START_TEST(the_start_line_is_all_a_job_needs)
{
    struct worker_context worker = worker_for(scratch_directory, "primary");
    struct error err;
    struct job job;

    ck_assert_msg(job_prepare(&worker, &job, &err), "%s", err.message);
    ck_assert_ptr_eq(job.worker, &worker);
    ck_assert_str_eq(job.server->name, "primary");
    ck_assert_str_eq(job.repo.base_dir, scratch_directory);
    ck_assert_str_eq(job.config->path, "/etc/x.conf");
    job_done(&job);
    json_decref(worker.start);
}
END_TEST

START_TEST(without_a_server_a_job_has_all_of_them)
{
    struct worker_context worker = worker_for(scratch_directory, NULL);
    struct error err;
    struct job job;

    ck_assert(job_prepare(&worker, &job, &err));
    ck_assert_ptr_null(job.server);
    ck_assert_uint_eq(job.config->server_count, 1);
    job_done(&job);
    json_decref(worker.start);
}
END_TEST

START_TEST(what_is_missing_is_told)
{
    struct worker_context other_server = worker_for(scratch_directory, "primry");
    struct worker_context no_repository = worker_for("/no/such/place", "primary");
    struct worker_context no_configuration = {.role = ROLE_backup, .start = json_object()};
    struct error err;
    struct job job;

    ck_assert(!job_prepare(&other_server, &job, &err));
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert(!job_prepare(&no_repository, &job, &err));
    ck_assert_int_eq(err.kind, ERROR_STORAGE);
    ck_assert(!job_prepare(&no_configuration, &job, &err));
    ck_assert_str_eq(err.message, "\"config\" is missing");
    json_decref(other_server.start);
    json_decref(no_repository.start);
    json_decref(no_configuration.start);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("job");

    tcase_add_checked_fixture(tests, scratch_make, scratch_remove);
    tcase_add_test(tests, the_start_line_is_all_a_job_needs);
    tcase_add_test(tests, without_a_server_a_job_has_all_of_them);
    tcase_add_test(tests, what_is_missing_is_told);
    return suite_run("job", tests);
}
