// SPDX-License-Identifier: Apache-2.0
/* Student's t by its finite series for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and
 * 26.7.4), McNemar's test by binomial sums. */
#include "stats.h"

#include "pb/memory.h"
#include "pb/statistics.h"

#include <float.h>
#include <math.h>

#define PI 3.14159265358979323846

stats_mean stats_mean_of(const double *values, int64_t count)
{
    stats_mean stat = {.mean = NAN, .std = NAN};
    double sum      = 0;
    double squares  = 0;

    for (int64_t i = 0; i < count; i++) {
        if (!isnan(values[i])) {
            sum += values[i];
            stat.n++;
        }
    }
    if (stat.n == 0) {
        return stat;
    }
    stat.mean = sum / (double)stat.n;
    for (int64_t i = 0; i < count; i++) {
        if (!isnan(values[i])) {
            squares += (values[i] - stat.mean) * (values[i] - stat.mean);
        }
    }
    if (stat.n > 1) {
        stat.std = sqrt(squares / (double)(stat.n - 1));
    }
    return stat;
}

/* P(|T| <= sqrt(df) tan(angle)). */
static double t_within(double angle, int64_t df)
{
    double c     = cos(angle);
    double power = df % 2 == 0 ? 1 : c;
    double sum   = df == 1 ? 0 : power;

    for (int64_t k = df % 2 == 0 ? 2 : 3; k <= df - 2; k += 2) {
        power *= (double)(k - 1) / (double)k * c * c;
        sum += power;
    }
    return df % 2 == 0 ? sin(angle) * sum : 2 / PI * (angle + sin(angle) * sum);
}

double stats_t(int64_t df)
{
    double low  = 0;
    double high = PI / 2;

    for (int i = 0; i < 100; i++) {
        double middle = (low + high) / 2;
        if (t_within(middle, df) < PB_STATISTICS_LEVEL) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return sqrt((double)df) * tan(low);
}

double stats_mcnemar(int64_t only_a, int64_t only_b)
{
    int64_t n    = only_a + only_b;
    int64_t less = only_a < only_b ? only_a : only_b;
    double log_p = -(double)n * log(2); /* of the binomial probability of k */
    double tail  = 0;

    for (int64_t k = 0; k <= less; k++) {
        tail += exp(log_p);
        log_p += log((double)(n - k) / (double)(k + 1));
    }
    return tail < 0.5 ? fmax(2 * tail, DBL_MIN) : 1;
}

/* In four sums, so that the processor need not wait for one. */
double stats_weighted_sum(const double *weights, const double *x, int64_t count)
{
    double sums[4] = {0};
    int64_t i      = 0;

    for (; i + 4 <= count; i += 4) {
        for (int k = 0; k < 4; k++) {
            sums[k] += weights[i + k] * x[i + k];
        }
    }
    for (; i < count; i++) {
        sums[0] += weights[i] * x[i];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* Products: for the same sums with a choice between x and 0, gcc 12.2 generates wrong code (-O3,
 * AVX2). */
double stats_sum_below(const uint32_t *words, const uint32_t *limits, const double *x,
                       int64_t count)
{
    double sums[8] = {0};
    int64_t i      = 0;

    for (; i + 8 <= count; i += 8) {
        for (int k = 0; k < 8; k++) {
            sums[k] += (double)(words[i + k] < limits[i + k]) * x[i + k];
        }
    }
    for (; i < count; i++) {
        sums[0] += (double)(words[i] < limits[i]) * x[i];
    }
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
           ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

pb_status stats_holm(const double *p, int64_t count, double *adjusted)
{
    double *sorted = NULL;
    int64_t tests  = 0;

    PB_TRY(PB_ALLOC(sorted, count + 1));
    for (int64_t i = 0; i < count; i++) {
        if (!isnan(p[i])) {
            sorted[tests++] = p[i];
        }
    }
    pb_statistics_sort(sorted, tests);
    for (int64_t i = 0; i < count; i++) {
        adjusted[i] = isnan(p[i]) ? NAN : 0;
        for (int64_t k = 0; k < tests && sorted[k] <= p[i]; k++) {
            double here = (double)(tests - k) * sorted[k];
            adjusted[i] = here > adjusted[i] ? here : adjusted[i];
        }
        adjusted[i] = adjusted[i] > 1 ? 1 : adjusted[i];
    }
    pb_memory_free(sorted);
    return PB_OK;
}
