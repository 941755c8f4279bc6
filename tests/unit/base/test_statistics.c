// SPDX-License-Identifier: Apache-2.0
/* Draws against the item-by-item generator, quantiles against numpy. The numbers are fixed, so a
 * test passes always or never. */
#include "pb/statistics.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

enum { UNITS = 7, SAMPLES = 2000 };

static void resample(uint64_t sample, int64_t count, double *weights)
{
    pb_statistics_resample(pb_random_stream(0, PB_RANDOM_TEST, sample), count, weights);
}

static void a_sample_draws_each_unit_once_on_average(void **state)
{
    double weights[UNITS], total[UNITS] = {0};

    (void)state;
    for (uint64_t sample = 0; sample < SAMPLES; sample++) {
        double sum = 0;
        resample(sample, UNITS, weights);
        for (int i = 0; i < UNITS; i++) {
            sum += weights[i];
            total[i] += weights[i];
        }
        assert_true(sum == UNITS);
    }
    for (int i = 0; i < UNITS; i++) { /* variance of a weight: 1 - 1/7 */
        assert_true(fabs(total[i] - SAMPLES) < 5 * sqrt(SAMPLES * 6.0 / 7));
    }
}

/* Stored results depend on this: item i of n is the upper half of the stream's word i times n. */
static void a_sample_is_a_function_of_stream_and_count(void **state)
{
    (void)state;
    for (int64_t count = 1; count <= UNITS; count++) {
        double weights[UNITS], wanted[UNITS] = {0};
        pb_random stream = pb_random_stream(0, PB_RANDOM_TEST, (uint64_t)count);
        for (uint64_t i = 0; i < (uint64_t)count; i++) {
            wanted[(uint64_t)pb_random_u32(stream, i) * (uint64_t)count >> 32] += 1;
        }
        resample((uint64_t)count, count, weights);
        assert_memory_equal(weights, wanted, (size_t)count * sizeof *weights);
    }
}

/* numpy.quantile */
static void quantiles_lie_between_neighbours(void **state)
{
    double values[]  = {16, 1, 8, 2, 4};
    const double one = 3;
    double low, high;

    (void)state;
    pb_statistics_interval(values, 5, &low, &high);
    assert_true(values[0] == 1 && values[4] == 16);
    assert_true(fabs(low - 1.1) < 1e-12 && fabs(high - 15.2) < 1e-12);
    assert_true(fabs(pb_statistics_quantile(values, 5, 0.5) - 4) < 1e-12);
    assert_true(pb_statistics_quantile(values, 5, 1) == 16);
    assert_true(pb_statistics_quantile(&one, 1, 0.975) == 3);
    pb_statistics_interval(values, 0, &low, &high);
    assert_true(isnan(low) && isnan(high));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_draws_each_unit_once_on_average),
        cmocka_unit_test(a_sample_is_a_function_of_stream_and_count),
        cmocka_unit_test(quantiles_lie_between_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
