// SPDX-License-Identifier: Apache-2.0
/* bench_gpu: what a device computes, how exactly, and how fast, in parts.
 *
 * The program starts itself once per part, so that a crash, a hang or a lack of memory ends that
 * part alone. A part consists of items and prints its results as JSON lines, one per figure, as it
 * has them; the first process shows, keeps and tabulates them. Where an item ends its process, or
 * leaves it without a usable device, a new process continues with the next item. */
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
    const char *command; /* that repeats the part, for its lines */
    int64_t done;        /* items that earlier processes of the part began */
    double end;          /* by pb_clock_seconds: no item begins later */
} bench;

typedef struct bench_part {
    const char *name;
    double seconds, item_seconds; /* limits of the part and of an item */
    pb_status (*run)(const bench *b);
} bench_part;

enum { BENCH_TEXT = 160 };

/* Exit codes; the last one is between the processes of the program. */
enum { EXIT_PROBLEM = 1, EXIT_UNABLE = 2, EXIT_NEXT_ITEM = 3 };

/* Part 1, 2 … */
const bench_part *bench_part_at(int number);

/* Items of a part, in the same order in each of its processes. False: an earlier process began this
 * one, or the time of the part is spent, which the first refusal says in a line. */
bool item_begin(const bench *b, const char *what, const char *sizes);
/* What the item is doing, in case it ends the process. */
void item_at(const char *what, const char *sizes);
/* Within an item. */
bool time_is_left(const bench *b);

/* Results. `what` and `sizes` name a line of the table. */
void put_figure(const bench *b, const char *what, const char *sizes, double value,
                const char *unit);
/* The same with what it should reach, or NULL. */
void put_goal(const bench *b, const char *what, const char *sizes, double value, const char *unit,
              const char *goal);
void put_text(const bench *b, const char *what, const char *text);
/* "yes" or "no"; a "no" makes the exit code 1. */
void put_verdict(const bench *b, const char *what, const char *sizes, bool holds, const char *note);
/* What could not be done; the cause of `status` is added, and the error record cleared. Does not
 * return where a library of the device failed, since all that follows would fail with it. */
void put_failure(const bench *b, const char *what, const char *sizes, pb_status status);

/* Results, for the process that reads them: a line of text for the screen, and the table. */
typedef struct report report;

/* The item that a part is at. */
typedef struct running_item {
    int64_t number;                           /* 0: it has not begun one */
    char what[BENCH_TEXT], sizes[BENCH_TEXT]; /* "": it has not said */
    double since;                             /* by pb_clock_seconds */
} running_item;

/* Lines are added to the file at `path`, after one with the command line. NULL: errno says why. */
report *report_open(const char *path, int argc, char **argv);
void report_close(report *r);
/* A line of a process of the part; *item is changed where it says so. */
void report_line(report *r, const bench *b, const char *text, running_item *item);
/* Lines of this process: a failure, and how long a part took. */
void report_failure(report *r, const bench *b, const running_item *item, const char *note);
void report_seconds(report *r, const bench *b, double seconds, double limit);
void report_table(const report *r);
/* Results that are "no" or failures. */
int report_problems(const report *r);

/* processes.c: a part in processes of its own, within its time limit times `limit`. */
void process_part(const bench *b, double limit, report *r);
/* 0 where the device opens, in a process of its own: this one holds none of its memory. */
int process_try_device(const bench *b);

/* The parts. */
pb_status part_device(const bench *b);
pb_status part_operations(const bench *b);
pb_status part_bits(const bench *b);
pb_status operations_bits(const bench *b); /* its last piece */
pb_status part_curves(const bench *b);
pb_status part_sanitizer(const bench *b);
pb_status part_products(const bench *b);
pb_status part_kernels(const bench *b);
pb_status part_step(const bench *b);
pb_status part_short_rows(const bench *b);
pb_status part_decoding(const bench *b);
pb_status part_peer(const bench *b);
