// SPDX-License-Identifier: Apache-2.0
/* The cost model of cells: how many seconds work takes.
 *
 *     seconds = sum over the kinds of work of amount × seconds per unit
 *
 * The rates are those of a square product, or fitted to cells that have run. */
#pragma once

#include "pb/status.h"

#include <stdint.h>

typedef enum pb_work_kind {
    PB_WORK_TRAIN,   /* FLOP of training steps */
    PB_WORK_FORWARD, /* FLOP of validation and test */
    PB_WORK_PASSES,  /* passes over a batch; a generated token, or all that drafts have, is one */
    PB_WORK_READ,    /* bytes of the weights that passes for a generated token read */
    PB_WORK_CELLS,   /* 1 of every cell */
    PB_WORK_KINDS
} pb_work_kind;

extern const char *const pb_work_names[]; /* "train_flops", … */

typedef struct pb_work {
    double amount[PB_WORK_KINDS];
} pb_work;

typedef struct pb_rates {
    double seconds[PB_WORK_KINDS]; /* per unit */
} pb_rates;

/* Work whose time was measured. */
typedef struct pb_rates_sample {
    pb_work work;
    double seconds; /* more than 0 */
} pb_rates_sample;

/* The work of a finished cell and the times it took: training; validation and test; the rest. Those
 * that took no time are left out. Of cells that trained together only training and test can be told
 * apart. `whole` is complete (see pb_record_visit). */
enum { PB_RATES_SAMPLES = 3 };
struct pb_record;
pb_status pb_rates_measured(const struct pb_record *whole,
                            pb_rates_sample samples[PB_RATES_SAMPLES], int *count) PB_MUST_USE;

/* Training and forward passes at half the rate of a square product (GFLOP/s); all else is free. */
pb_rates pb_rates_of_product(double gflops);

double pb_rates_seconds(const pb_rates *rates, const pb_work *work);

/* The rates, none negative, with the least sum of (predicted - seconds)² / seconds, as if the
 * variance of a time were proportional to it. A kind of which no sample has any work, or none that
 * can be told from another kind, is free. PB_ERR_ARGUMENT without a sample. */
pb_status pb_rates_fit(const pb_rates_sample *samples, int64_t count, pb_rates *out) PB_MUST_USE;
