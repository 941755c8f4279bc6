// SPDX-License-Identifier: Apache-2.0
/* A signal handler can only reach globals: the latest signal and the number received. */
#include "pb/stop.h"

#include "pb/clock.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

enum { SIGNALS = 4 };

static const struct {
    int number;
    const char *name;
} signals[SIGNALS] = {
    {SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"}, {SIGINT, "SIGINT"}, {SIGHUP, "SIGHUP"}};

static volatile sig_atomic_t latest = 0; /* 0: none */
static volatile sig_atomic_t caught = 0;

static int depth = 0; /* of calls of pb_stop_catch */
static struct sigaction old[SIGNALS];
static bool armed           = false;
static sig_atomic_t ignored = 0; /* signals received before pb_stop_arm */
static double deadline      = 0;

static char *const *volatile unwanted       = NULL;
static volatile sig_atomic_t unwanted_count = 0;

static void on_signal(int number)
{
    int kept = errno;
    latest   = number;
    caught   = caught + 1;
    for (sig_atomic_t i = 0; i < unwanted_count; i++) {
        (void)unlink(unwanted[i]);
    }
    errno = kept;
}

void pb_stop_unlink(char *const *paths, int64_t count)
{
    unwanted_count = 0; /* first: the handler may run between two of these lines */
    unwanted       = paths;
    unwanted_count = (sig_atomic_t)count;
}

/* nohup starts a program that ignores the end of its terminal. */
static bool stays_ignored(int number)
{
    struct sigaction action = {0};
    (void)sigaction(number, NULL, &action);
    return number == SIGHUP && action.sa_handler == SIG_IGN;
}

static void block(int how)
{
    sigset_t set;
    (void)sigemptyset(&set);
    for (int i = 0; i < SIGNALS; i++) {
        (void)sigaddset(&set, signals[i].number);
    }
    (void)sigprocmask(how, &set, NULL);
}

void pb_stop_hold(bool wait)
{
    if (depth > 0) {
        block(wait ? SIG_BLOCK : SIG_UNBLOCK);
    }
    if (depth > 0 && wait && latest != 0) {
        (void)raise(latest);
    }
}

void pb_stop_catch(void)
{
    if (depth++ > 0) {
        return;
    }
    latest  = 0;
    caught  = 0;
    ignored = 0;
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction action = {0};
        action.sa_handler       = stays_ignored(signals[i].number) ? SIG_IGN : on_signal;
        action.sa_flags         = SA_RESTART;
        if (signals[i].number == SIGINT) {
            action.sa_flags |= (int)SA_RESETHAND;
        }
        sigemptyset(&action.sa_mask);
        (void)sigaction(signals[i].number, &action, &old[i]);
    }
    block(SIG_UNBLOCK);
}

void pb_stop_release(void)
{
    if (--depth > 0) {
        return;
    }
    armed = false;
    for (int i = 0; i < SIGNALS; i++) {
        (void)sigaction(signals[i].number, &old[i], NULL);
    }
}

const char *pb_stop_signal(void)
{
    for (int i = 0; i < SIGNALS; i++) {
        if (latest == signals[i].number) {
            return signals[i].name;
        }
    }
    return NULL;
}

void pb_stop_arm(double until)
{
    armed    = true;
    ignored  = caught;
    deadline = until;
}

pb_status pb_stop_check(void)
{
    if (armed && caught > ignored) {
        return PB_FAIL(PB_STOPPED, "stopped on %s", pb_stop_signal());
    }
    if (armed && deadline > 0 && pb_clock_seconds() >= deadline) {
        return PB_FAIL(PB_STOPPED, "stopped: time is up");
    }
    return PB_OK;
}
