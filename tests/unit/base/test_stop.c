// SPDX-License-Identifier: Apache-2.0
/* Signals that are recorded, and the checks that respond to them. */
#include "pb/stop.h"

#include "pb/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_ok(pb_status status)
{
    assert_int_equal(status, PB_OK);
}

static void assert_stopped(pb_status status, const char *reason)
{
    assert_int_equal(status, PB_STOPPED);
    assert_non_null(strstr(pb_error_message(), reason));
    pb_error_clear();
}

static const struct {
    int number;
    const char *name;
} all[] = {{SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"}, {SIGINT, "SIGINT"}, {SIGHUP, "SIGHUP"}};

static void every_signal_is_noted_and_answered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        pb_stop_catch();
        assert_null(pb_stop_signal());
        pb_stop_arm(0);
        assert_ok(pb_stop_check());
        assert_int_equal(raise(all[i].number), 0);
        assert_string_equal(pb_stop_signal(), all[i].name);
        assert_stopped(pb_stop_check(), all[i].name);
        assert_stopped(pb_stop_check(), all[i].name);
        pb_stop_release();
    }
}

static void under_nohup_the_end_of_a_terminal_is_no_request(void **state)
{
    (void)state;
    void (*before)(int) = signal(SIGHUP, SIG_IGN);
    pb_stop_catch();
    pb_stop_arm(0);
    assert_int_equal(raise(SIGHUP), 0);
    assert_ok(pb_stop_check());
    pb_stop_release();
    (void)signal(SIGHUP, before);
}

static void only_what_comes_after_arming_counts(void **state)
{
    (void)state;
    pb_stop_catch();
    assert_int_equal(raise(SIGTERM), 0);
    assert_ok(pb_stop_check()); /* nothing is armed */
    pb_stop_arm(0);
    assert_ok(pb_stop_check());
    assert_string_equal(pb_stop_signal(), "SIGTERM");
    assert_int_equal(raise(SIGUSR1), 0);
    assert_stopped(pb_stop_check(), "SIGUSR1");
    pb_stop_arm(0); /* continues, until the next one */
    assert_ok(pb_stop_check());
    pb_stop_release();
    assert_ok(pb_stop_check());
}

static void calls_nest_and_the_outermost_counts(void **state)
{
    (void)state;
    pb_stop_catch();
    pb_stop_arm(0);
    assert_int_equal(raise(SIGTERM), 0);
    pb_stop_catch();
    assert_string_equal(pb_stop_signal(), "SIGTERM");
    pb_stop_release();
    assert_int_equal(raise(SIGTERM), 0); /* would end the process */
    assert_stopped(pb_stop_check(), "SIGTERM");
    pb_stop_release();
    pb_stop_catch();
    assert_null(pb_stop_signal());
    pb_stop_release();
}

static void a_deadline_stops_as_well(void **state)
{
    (void)state;
    pb_stop_catch();
    pb_stop_arm(pb_clock_seconds() + 3600);
    assert_ok(pb_stop_check());
    pb_stop_arm(pb_clock_seconds() - 1);
    assert_stopped(pb_stop_check(), "time");
    pb_stop_release();
}

/* The outcome of a child after the calls: its exit code, or the signal that ended it. */
static int child_ends_with(int number, int times, bool released)
{
    int code    = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        pb_stop_catch();
        if (released) {
            pb_stop_release();
        }
        for (int i = 0; i < times; i++) {
            (void)raise(number);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    return WIFSIGNALED(code) ? WTERMSIG(code) : WEXITSTATUS(code);
}

static void a_second_interrupt_and_a_released_signal_end_the_process(void **state)
{
    (void)state;
    assert_int_equal(child_ends_with(SIGINT, 1, false), 0);
    assert_int_equal(child_ends_with(SIGINT, 2, false), SIGINT);
    assert_int_equal(child_ends_with(SIGTERM, 3, false), 0);
    assert_int_equal(child_ends_with(SIGTERM, 1, true), SIGTERM);
}

static void a_signal_waits_for_the_program_that_follows(void **state)
{
    sigset_t waiting;
    (void)state;
    pb_stop_hold(true); /* nothing is caught */
    assert_int_equal(child_ends_with(SIGTERM, 1, true), SIGTERM);
    pb_stop_catch();
    assert_int_equal(raise(SIGTERM), 0);
    pb_stop_hold(true);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(sigpending(&waiting), 0);
    assert_true(sigismember(&waiting, SIGTERM) == 1 && sigismember(&waiting, SIGUSR1) == 1);
    pb_stop_release(); /* as exec does */
    (void)signal(SIGTERM, SIG_DFL);
    pb_stop_catch();
    assert_non_null(pb_stop_signal());
    assert_int_equal(sigpending(&waiting), 0);
    assert_true(sigismember(&waiting, SIGTERM) == 0 && sigismember(&waiting, SIGUSR1) == 0);
    pb_stop_release();
}

static void a_signal_removes_files_at_once(void **state)
{
    (void)state;
    char made[]  = "/tmp/peftbench-stop-XXXXXX";
    char *path   = made;
    int fd       = mkstemp(made);
    char other[] = "/tmp/peftbench-stop-XXXXXX";
    int kept     = mkstemp(other);
    assert_true(fd >= 0 && kept >= 0);
    pb_stop_catch();
    pb_stop_unlink(&path, 1);
    assert_int_equal(access(made, F_OK), 0);
    raise(SIGTERM);
    assert_int_equal(access(made, F_OK), -1);
    path = other;
    pb_stop_unlink(NULL, 0);
    raise(SIGTERM);
    assert_int_equal(access(other, F_OK), 0);
    pb_stop_release();
    close(fd);
    close(kept);
    unlink(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_signal_is_noted_and_answered),
        cmocka_unit_test(under_nohup_the_end_of_a_terminal_is_no_request),
        cmocka_unit_test(only_what_comes_after_arming_counts),
        cmocka_unit_test(calls_nest_and_the_outermost_counts),
        cmocka_unit_test(a_deadline_stops_as_well),
        cmocka_unit_test(a_second_interrupt_and_a_released_signal_end_the_process),
        cmocka_unit_test(a_signal_waits_for_the_program_that_follows),
        cmocka_unit_test(a_signal_removes_files_at_once),
    };
    return cmocka_run_group_tests_name("stop", tests, NULL, NULL);
}
