// SPDX-License-Identifier: Apache-2.0
/* Rates of work, and their fit to measured times: least squares under the condition that no rate is
 * negative. There are few kinds of work, so every set of kinds is solved without the condition; the
 * best solution that satisfies it is the answer. */
#include "pb/rates.h"

#include <math.h>
#include <stdbool.h>

const char *const pb_work_names[] = {"train_flops", "forward_flops", "passes", "read_bytes",
                                     "cells"};

enum { KINDS = PB_WORK_KINDS, SETS = 1 << PB_WORK_KINDS };

/* A pivot below this share of its diagonal: the kind cannot be told from others. */
static const double SINGULAR = 1e-10;

/* The normal equations A x = b, in units in which every diagonal is 1. */
typedef struct equations {
    double a[KINDS][KINDS], b[KINDS];
    double unit[KINDS]; /* of x; 0: no sample has this kind */
} equations;

pb_rates pb_rates_of_product(double gflops)
{
    double second = 1.0 / (0.5 * gflops * 1e9);
    return (pb_rates){.seconds = {[PB_WORK_TRAIN] = second, [PB_WORK_FORWARD] = second}};
}

double pb_rates_seconds(const pb_rates *rates, const pb_work *work)
{
    double seconds = 0.0;
    for (int k = 0; k < KINDS; k++) {
        seconds += work->amount[k] * rates->seconds[k];
    }
    return seconds;
}

static equations set_up(const pb_rates_sample *samples, int64_t count)
{
    equations e = {0};
    for (int64_t i = 0; i < count; i++) {
        const double *w = samples[i].work.amount;
        for (int k = 0; k < KINDS; k++) {
            e.b[k] += w[k];
            for (int l = 0; l < KINDS; l++) {
                e.a[k][l] += w[k] * w[l] / samples[i].seconds;
            }
        }
    }
    for (int k = 0; k < KINDS; k++) {
        e.unit[k] = e.a[k][k] > 0.0 ? 1.0 / sqrt(e.a[k][k]) : 0.0;
    }
    for (int k = 0; k < KINDS; k++) {
        e.b[k] *= e.unit[k];
        for (int l = 0; l < KINDS; l++) {
            e.a[k][l] *= e.unit[k] * e.unit[l];
        }
    }
    return e;
}

/* Solves the equations of the kinds in `set`, the others being 0. False: they do not determine all
 * of them. */
static bool solve(const equations *e, unsigned set, double x[KINDS])
{
    double l[KINDS][KINDS] = {{0.0}}; /* A = L Lᵀ */
    double y[KINDS]        = {0.0};
    for (int k = 0; k < KINDS; k++) {
        x[k] = 0.0;
        if ((set >> k & 1) == 0) {
            continue;
        }
        for (int j = 0; j <= k; j++) {
            double sum = e->a[k][j];
            for (int i = 0; i < j; i++) {
                sum -= l[k][i] * l[j][i];
            }
            if (j == k && sum < SINGULAR) {
                return false;
            }
            bool absent = (set >> j & 1) == 0;
            l[k][j]     = absent ? 0.0 : j == k ? sqrt(sum) : sum / l[j][j];
        }
        y[k] = e->b[k];
        for (int i = 0; i < k; i++) {
            y[k] -= l[k][i] * y[i];
        }
        y[k] /= l[k][k];
    }
    for (int k = KINDS - 1; k >= 0; k--) {
        if ((set >> k & 1) != 0) {
            x[k] = y[k];
            for (int i = k + 1; i < KINDS; i++) {
                x[k] -= l[i][k] * x[i];
            }
            x[k] /= l[k][k];
        }
    }
    return true;
}

/* xᵀ A x - 2 bᵀ x: the sum of squares but for a constant. */
static double loss_of(const equations *e, const double x[KINDS])
{
    double loss = 0.0;
    for (int k = 0; k < KINDS; k++) {
        loss -= 2.0 * e->b[k] * x[k];
        for (int l = 0; l < KINDS; l++) {
            loss += x[k] * e->a[k][l] * x[l];
        }
    }
    return loss;
}

static bool is_negative(const double x[KINDS])
{
    bool negative = false;
    for (int k = 0; k < KINDS; k++) {
        negative = negative || x[k] < 0.0;
    }
    return negative;
}

pb_status pb_rates_fit(const pb_rates_sample *samples, int64_t count, pb_rates *out)
{
    if (count < 1) {
        return PB_FAIL(PB_ERR_ARGUMENT, "there is no measured work to fit rates to");
    }
    equations e      = set_up(samples, count);
    double best_loss = INFINITY;
    double x[KINDS];
    for (unsigned set = 0; set < SETS; set++) {
        if (!solve(&e, set, x) || is_negative(x) || !(loss_of(&e, x) < best_loss)) {
            continue;
        }
        best_loss = loss_of(&e, x);
        for (int k = 0; k < KINDS; k++) {
            out->seconds[k] = x[k] * e.unit[k];
        }
    }
    return PB_OK;
}
