// SPDX-License-Identifier: Apache-2.0
/* Intervals of a score over its seeds. Seeds vary the training and the bootstrap varies the test
 * rows; as the two are independent, the squares of their half-widths add up, on each side. */
#include "summary.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* No score is above 100, and only correlations are below 0. */
static summary_range within(const summary_score *score, double low, double high)
{
    bool is_correlation = score->metric != NULL && strncmp(score->metric, "pearson", 7) == 0;
    double smallest     = is_correlation ? -100 : 0;

    return (summary_range){low < smallest ? smallest : low, high > 100 ? 100 : high};
}

static double beside(double a, double b)
{
    double x = a > 0 ? a : 0; /* an end on the other side of the mean adds nothing */
    double y = b > 0 ? b : 0;

    return sqrt(x * x + y * y);
}

void summary_intervals(const double *lows, const double *highs, int64_t count, summary_score *score)
{
    const summary_range unknown = {NAN, NAN};
    stats_mean low              = stats_mean_of(lows, count);
    stats_mean high             = stats_mean_of(highs, count);
    int64_t n                   = score->score.n;
    double mean                 = score->score.mean;

    score->rows  = unknown;
    score->seeds = unknown;
    score->whole = unknown;
    if (n > 0 && low.n == n && high.n == n) {
        score->rows = (summary_range){low.mean, high.mean};
    }
    if (n == 1) {
        score->whole = score->rows;
    }
    if (n < 2) {
        return;
    }
    double half  = stats_t(n - 1) * score->score.std / sqrt((double)n);
    score->seeds = within(score, mean - half, mean + half);
    if (!isnan(score->rows.low)) {
        score->whole = within(score, mean - beside(half, mean - score->rows.low),
                              mean + beside(half, score->rows.high - mean));
    }
}
