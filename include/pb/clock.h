// SPDX-License-Identifier: Apache-2.0
/* Time. */
#pragma once

#include <stddef.h>

double pb_clock_seconds(void); /* monotonic, seconds from an arbitrary start */
double pb_clock_unix(void);    /* seconds since 1970, UTC */

/* Sorts seconds upwards, for medians. */
void pb_clock_sort(double *seconds, size_t count);

/* "2026-11-24T08:05:00Z"; size ≥ 21. */
void pb_clock_iso8601(double unix_seconds, char *text, size_t size);

/* A pause between two polls: none for the first 0.2 ms, so that short waits stay short, then sleeps
 * that grow to 10 ms, so that long waits cost no processor time. Starts zeroed, once per wait. */
typedef struct pb_pause {
    double began, seconds;
} pb_pause;

void pb_clock_pause(pb_pause *pause);
