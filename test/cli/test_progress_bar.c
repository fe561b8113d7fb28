#include <string.h>

#include "cli/cli_internal.h"
#include "support/suite.h"

static const struct progress half = {.phase = "copy",
                                     .done_bytes = UINT64_C(1) << 30,
                                     .total_bytes = UINT64_C(2) << 30,
                                     .rate_bytes_per_second = 100 << 20,
                                     .eta_seconds = 3661,
                                     .elapsed_seconds = 12};

START_TEST(a_bar_shows_share_bytes_rate_and_the_time_left)
{
    char line[256];

    progress_bar_line(&half, 120, line, sizeof line);
    ck_assert_str_eq(line, "copying  [###############---------------]   50%  1.0 GB / 2.0 GB  100 MB/s  ETA 1h01m");
}
END_TEST

START_TEST(a_line_never_grows_wider_than_the_terminal)
{
    static const size_t widths[] = {1, 7, 20, 40, 60, 79, 80, 200};
    char line[256];

    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        progress_bar_line(&half, widths[i], line, sizeof line);
        ck_assert_uint_le(strlen(line), widths[i]);
    }
}
END_TEST

START_TEST(without_a_total_there_is_no_share_and_no_bar)
{
    struct progress progress = {.phase = "wal", .done_bytes = 1 << 20, .eta_seconds = -1};
    char line[256];

    progress_bar_line(&progress, 80, line, sizeof line);
    ck_assert_str_eq(line, "WAL  1.0 MB");
    progress = (struct progress){.phase = "checkpoint", .eta_seconds = -1, .elapsed_seconds = 75};
    progress_bar_line(&progress, 80, line, sizeof line);
    ck_assert_str_eq(line, "waiting for the checkpoint  1m15s");
}
END_TEST

START_TEST(a_total_that_was_passed_is_the_end)
{
    struct progress progress = {.phase = "copy", .done_bytes = 300, .total_bytes = 200, .eta_seconds = 0};
    char line[256];

    progress_bar_line(&progress, 80, line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, "100%"));
}
END_TEST

START_TEST(a_log_gets_words_instead_of_a_bar)
{
    char line[256];

    progress_plain_line(&half, line, sizeof line);
    ck_assert_str_eq(line, "copying: 50%, 1.0 GB / 2.0 GB  100 MB/s  ETA 1h01m, running for 12.0s");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("progress_bar");

    tcase_add_test(tests, a_bar_shows_share_bytes_rate_and_the_time_left);
    tcase_add_test(tests, a_line_never_grows_wider_than_the_terminal);
    tcase_add_test(tests, without_a_total_there_is_no_share_and_no_bar);
    tcase_add_test(tests, a_total_that_was_passed_is_the_end);
    tcase_add_test(tests, a_log_gets_words_instead_of_a_bar);
    return suite_run("progress_bar", tests);
}
