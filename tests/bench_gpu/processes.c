// SPDX-License-Identifier: Apache-2.0
/* The processes of the parts: started, read, and ended when their time is over. */
#include "bench_gpu.h"

#include "pb/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE = 8192 };

/* Seconds: until a device is open; for a killed process to end. */
#define OPENING 60.0
#define DYING   5.0

/* Starting ------------------------------------------------------------------------------------ */

/* Does not return. */
static void become_part(const bench *b, double seconds)
{
    char part[16], done[24], time[32];
    (void)snprintf(part, sizeof part, "%d", b->part);
    (void)snprintf(done, sizeof done, "%lld", (long long)b->done);
    (void)snprintf(time, sizeof time, "%g", seconds);
    const char *pairs[][2] = {{"--one-part", part},    {"--done", done},
                              {"--seconds", time},     {"--device", b->device},
                              {"--golden", b->golden}, {"--python", b->python},
                              {"--peer", b->peer},     {b->tiny ? "--tiny" : NULL, NULL}};
    const char *arguments[2 * sizeof pairs / sizeof *pairs + 2] = {b->program};
    int count                                                   = 1;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (pairs[i][1] != NULL) {
            arguments[count++] = pairs[i][0];
            arguments[count++] = pairs[i][1];
        }
    }
    if (b->tiny) {
        arguments[count] = "--tiny";
    }
    execv("/proc/self/exe", (char *const *)(void *)arguments);
    fprintf(stderr, "bench_gpu: the part cannot be started: %s\n", strerror(errno));
    _exit(127);
}

/* What it prints can be read from *out; -1: errno says why there is none. */
static pid_t start_part(const bench *b, double seconds, int *out)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return -1;
    }
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);                    /* with all that it starts */
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would read on */
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        become_part(b, seconds);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return -1;
    }
    *out = ends[0];
    return child;
}

/* Ending -------------------------------------------------------------------------------------- */

/* False where it does not end within `seconds`, as one that a driver holds may not. Its number
 * stays its own until it is taken off. */
static bool has_ended(pid_t child, double seconds)
{
    double end     = pb_clock_seconds() + seconds;
    pb_pause pause = {0};
    siginfo_t info = {0};
    while (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0) {
        if (pb_clock_seconds() > end) {
            return false;
        }
        pb_clock_pause(&pause);
    }
    return true;
}

/* What is wrong with how a process ended; "": nothing. */
static void describe_end(int state, char note[BENCH_TEXT])
{
    if (WIFSIGNALED(state)) {
        (void)snprintf(note, BENCH_TEXT, "ended by signal %d, %s", WTERMSIG(state),
                       strsignal(WTERMSIG(state)));
    } else if (WEXITSTATUS(state) != 0 && WEXITSTATUS(state) != EXIT_NEXT_ITEM) {
        (void)snprintf(note, BENCH_TEXT, "ended with exit code %d", WEXITSTATUS(state));
    } else {
        *note = '\0';
    }
}

/* Reading ------------------------------------------------------------------------------------- */

typedef struct reading {
    char text[LINE + 1];
    size_t used;
} reading;

/* Whole lines of what a read brought, and the beginning of one that does not fit. */
static void take_lines(report *r, const bench *b, reading *in, running_item *item)
{
    char *end = NULL;
    while ((end = memchr(in->text, '\n', in->used)) != NULL || in->used == LINE) {
        size_t length = end != NULL ? (size_t)(end - in->text) + 1 : in->used;
        char text[LINE + 2];
        memcpy(text, in->text, length);
        memcpy(text + length, end != NULL ? "" : "\n", end != NULL ? 1 : 2);
        report_line(r, b, text, item);
        in->used -= length;
        memmove(in->text, in->text + length, in->used);
    }
}

/* Reads until the process ends, its item exceeds its time, or `end`; false: it has to be killed. */
static bool read_part(report *r, const bench *b, int from, double item_seconds, double end,
                      running_item *item)
{
    static reading in;
    in.used = 0;
    for (;;) {
        double most        = item->number > b->done ? item_seconds : OPENING;
        double item_end    = item->since + most;
        double left        = (item_end < end ? item_end : end) - pb_clock_seconds();
        struct pollfd wait = {.fd = from, .events = POLLIN};
        if (left <= 0.0) {
            return false;
        }
        if (poll(&wait, 1, (int)(1000.0 * left) + 1) <= 0) {
            continue;
        }
        ssize_t got = read(from, in.text + in.used, LINE - in.used);
        if (got <= 0) {
            return true;
        }
        in.used += (size_t)got;
        take_lines(r, b, &in, item);
    }
}

/* One process of the part; true where another one is to continue with the next item. */
static bool run_process(const bench *b, double item_seconds, double end, report *r,
                        running_item *item)
{
    char note[BENCH_TEXT] = "";
    int from              = -1;
    int state             = 0;
    double left           = end - pb_clock_seconds();
    pid_t child           = start_part(b, 0.9 * left, &from);
    if (child < 0) {
        (void)snprintf(note, sizeof note, "no process: %s", strerror(errno));
        report_failure(r, b, item, note);
        return false;
    }
    item->since = pb_clock_seconds();
    bool ended  = read_part(r, b, from, item_seconds, end, item);
    double took = pb_clock_seconds() - item->since;
    if (!ended) {
        kill(-child, SIGKILL);
        (void)snprintf(note, sizeof note, "had to be ended after %.0f s%s", took,
                       pb_clock_seconds() >= end ? ", with the time of the part" : "");
    }
    bool gone = has_ended(child, DYING);
    kill(-child, SIGKILL); /* what it started and left */
    close(from);
    if (!gone) {
        (void)snprintf(note, sizeof note, "does not end, even when killed");
    } else if (waitpid(child, &state, 0) == child && ended) {
        describe_end(state, note);
    }
    if (*note != '\0') {
        report_failure(r, b, item, note);
    }
    bool whole = *note == '\0' && WEXITSTATUS(state) == 0;
    return !whole && item->number > b->done && pb_clock_seconds() < end;
}

void process_part(const bench *b, double limit, report *r)
{
    const bench_part *part = bench_part_at(b->part);
    bench now              = *b;
    running_item item      = {0};
    double start           = pb_clock_seconds();
    double end             = start + limit * part->seconds;
    while (run_process(&now, limit * part->item_seconds, end, r, &item)) {
        now.done = item.number;
        item     = (running_item){0};
    }
    report_seconds(r, b, pb_clock_seconds() - start, limit * part->seconds);
}

int process_try_device(const bench *b)
{
    int state   = 0;
    pid_t child = fork();
    if (child == 0) {
        pb_backend *be   = NULL;
        pb_status status = pb_backend_open(b->backend, b->number, 0, &be);
        if (status != PB_OK) {
            fprintf(stderr, "bench_gpu: %s\n", pb_error_message());
        }
        pb_backend_close(be);
        _exit(status == PB_OK ? 0 : EXIT_UNABLE);
    }
    const char *problem = child < 0 ? "there is no process to open the device in" : NULL;
    if (child > 0 && !has_ended(child, OPENING)) {
        kill(child, SIGKILL);
        problem = "opening the device takes more than a minute";
    } else if (child > 0 && waitpid(child, &state, 0) == child && !WIFEXITED(state)) {
        problem = "opening the device ended its process by a signal";
    }
    if (problem != NULL) {
        fprintf(stderr, "bench_gpu: %s\n", problem);
        return EXIT_UNABLE;
    }
    return WEXITSTATUS(state);
}
