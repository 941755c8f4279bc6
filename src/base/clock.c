// SPDX-License-Identifier: Apache-2.0
/* Clocks of the system, and the one text form of a time that the program writes. */
#include "pb/clock.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double read_clock(clockid_t id)
{
    struct timespec now = {0};

    (void)clock_gettime(id, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double pb_clock_seconds(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double pb_clock_unix(void)
{
    return read_clock(CLOCK_REALTIME);
}

void pb_clock_iso8601(double unix_seconds, char *text, size_t size)
{
    const double year_10000 = 253402300800.0;
    struct tm utc           = {0};

    if (size == 0) {
        return;
    }
    /* Written so that NaN fails it too. */
    if (!(unix_seconds >= 0.0 && unix_seconds < year_10000)) {
        (void)snprintf(text, size, "unknown");
        return;
    }
    time_t whole = (time_t)unix_seconds;
    if (gmtime_r(&whole, &utc) == NULL || strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
        (void)snprintf(text, size, "unknown");
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

void pb_clock_sort(double *seconds, size_t count)
{
    qsort(seconds, count, sizeof *seconds, by_value);
}

void pb_clock_pause(pb_pause *pause)
{
    const double awake = 0.2e-3, shortest = 0.05e-3, longest = 10e-3, growth = 1.25;
    double now = pb_clock_seconds();

    if (pause->began <= 0.0) {
        pause->began = now;
    }
    if (now - pause->began < awake) {
        (void)sched_yield();
        return;
    }
    pause->seconds       = pause->seconds > 0.0 ? pause->seconds * growth : shortest;
    pause->seconds       = pause->seconds < longest ? pause->seconds : longest;
    struct timespec span = {.tv_nsec = (long)(pause->seconds * 1e9)};
    (void)nanosleep(&span, NULL); /* a signal ends it early, and the caller polls again */
}
