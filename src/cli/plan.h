// SPDX-License-Identifier: Apache-2.0
/* The plan of a sweep: what was foreseen, and how it is shown. */
#pragma once

#include "commands.h"

#include "pb/topology.h"

enum { PLAN_TIMES = 3 };

typedef struct plan {
    pb_sweep_forecast forecast;
    const char *name, *grid; /* of the sweep, and its file; borrowed */
    const char *from;        /* the file that the rates are fitted to; NULL: none */
    pb_sweep_fit fit;
    double gflops; /* stated; 0: measured */
    int64_t processes;
    /* On half the processes, on these, and on twice as many. */
    int64_t counts[PLAN_TIMES];
    pb_sweep_makespan times[PLAN_TIMES];
    pb_topology node; /* this machine, as are the next ones */
    int64_t per_node; /* processes that it has cores, or devices, for */
    double memory_gb;
    double largest; /* seconds of the longest cell */
    int64_t largest_at;
    double files, bytes; /* on disk, modelled */
    int64_t assumed;     /* data sets without files */
    int64_t counted;     /* data sets with tokens of the model's tokenizer */
} plan;

/* plan_sum.c: fills what follows from the forecast. */
pb_status plan_sum_up(plan *p) PB_MUST_USE;
/* The most that a cell of the model holds, GB; its name; *cells, *seconds: sums. `at` is the first
 * cell of the model, the result the first of the next. */
typedef struct plan_model {
    const char *name;
    int64_t cells;
    double seconds, memory_gb, device_gb;
} plan_model;
int64_t plan_next_model(const plan *p, int64_t at, plan_model *out);
/* The lines that start the sweep: under mpirun, and as a job. */
pb_status plan_launch(const plan *p, pb_string *mpirun, pb_string *sbatch) PB_MUST_USE;
const char *plan_rate(const plan *p); /* "measured", "stated", "fitted" */

/* plan_text.c: one screen; with `cells` also every cell. */
pb_status plan_write_text(const plan *p, bool cells, int64_t width, pb_string *out) PB_MUST_USE;
