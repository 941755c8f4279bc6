// SPDX-License-Identifier: Apache-2.0
/* bench_gpu: what a device computes, how exactly, and how fast, in parts.
 *
 * The program starts itself once per part, so that a crash, a hang or a lack of memory ends that
 * part alone. A part prints its results as JSON lines, one per figure, as it has them; the first
 * process shows, keeps and tabulates them. */
#pragma once

#include "pb/backend.h"
#include "pb/status.h"

#include <stdbool.h>

typedef struct bench {
    int part;
    bool tiny;           /* sizes for trying the program without a device */
    const char *device;  /* "cuda:1" as given, */
    const char *backend; /* which is this backend */
    int number;          /* and this number */
    const char *golden;  /* folder of checkpoints, or NULL: made from a seed */
    const char *python;  /* for the part peer */
    const char *peer;    /* its script */
    const char *program; /* this one */
    const char *command; /* of the part, for its lines */
    double end;          /* by pb_clock_seconds, when the part should come to its end */
} bench;

typedef struct bench_part {
    const char *name;
    double seconds; /* its limit */
    pb_status (*run)(const bench *b);
} bench_part;

enum { BENCH_TEXT = 160 };

/* Part 1 … count. */
const bench_part *bench_part_at(int number);
int bench_part_count(void);

/* Results. `what` and `sizes` name a line of the table. */
void put_figure(const bench *b, const char *what, const char *sizes, double value,
                const char *unit);
void put_text(const bench *b, const char *what, const char *text);
/* "yes" or "no"; a "no" makes the exit code 1. */
void put_verdict(const bench *b, const char *what, const char *sizes, bool holds, const char *note);
/* What could not be done; the cause of `status` is added, and the error record cleared. */
void put_failure(const bench *b, const char *what, const char *sizes, pb_status status);

/* Time is left for another figure; the first refusal says so in a line. */
bool time_is_left(const bench *b, const char *what, const char *sizes);

/* Results, for the process that reads them: a line of text for the screen, and the table. */
typedef struct report report;
report *report_open(const char *path); /* NULL when the file cannot be made */
void report_line(report *r, const char *json);
int report_problems(const report *r); /* lines that say "no" or "failed" */
void report_table(const report *r);
void report_close(report *r);

/* The parts. */
pb_status part_device(const bench *b);
pb_status part_operations(const bench *b);
pb_status part_bits(const bench *b);
void operations_bits(const bench *b); /* its last piece */
pb_status part_curves(const bench *b);
pb_status part_sanitizer(const bench *b);
pb_status part_products(const bench *b);
pb_status part_kernels(const bench *b);
pb_status part_step(const bench *b);
pb_status part_short_rows(const bench *b);
pb_status part_decoding(const bench *b);
pb_status part_peer(const bench *b);
