// SPDX-License-Identifier: Apache-2.0
/* The statistics of a report against numbers of scipy 1.x and statsmodels, or worked out by hand.
 */
#include "stats.h"
#include "summary.h"
#include "support.h"

#include <math.h>
#include <string.h>

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance * fabs(b))) {
        print_error("%.17g is not %.17g\n", a, b);
        fail();
    }
}

/* scipy.stats.t.ppf(0.975, df) */
static void quantiles_of_t_are_those_of_the_tables(void **state)
{
    (void)state;
    assert_near(stats_t(1), 12.706204736174694, 1e-12);
    assert_near(stats_t(2), 4.302652729749462, 1e-12);
    assert_near(stats_t(3), 3.1824463052837078, 1e-12);
    assert_near(stats_t(4), 2.7764451051977934, 1e-12);
    assert_near(stats_t(7), 2.364624251592784, 1e-12);
    assert_near(stats_t(30), 2.0422724563012378, 1e-12);
    assert_near(stats_t(100), 1.9839715185235518, 1e-12);
}

/* scipy.stats.binomtest(a, a + b, 0.5).pvalue */
static void mcnemar_is_the_exact_binomial_test(void **state)
{
    (void)state;
    assert_near(stats_mcnemar(5, 15), 0.04138946533203125, 1e-12);
    assert_near(stats_mcnemar(15, 5), 0.04138946533203125, 1e-12);
    assert_near(stats_mcnemar(0, 6), 0.03125, 1e-12);
    assert_near(stats_mcnemar(100, 140), 0.01166409231767769, 1e-11);
    assert_near(stats_mcnemar(2000, 2100), 0.12206497999113655, 1e-10);
    assert_near(stats_mcnemar(7, 8), 1, 1e-12);
    assert_true(stats_mcnemar(3, 3) == 1);
    assert_true(stats_mcnemar(0, 0) == 1);
    assert_true(stats_mcnemar(1, 0) == 1);
    assert_true(stats_mcnemar(0, 5000) > 0); /* 2^-4999 is too small for a double */
}

static void a_weighted_sum_is_that_of_its_products(void **state)
{
    static const double x[] = {1, 2, 3, 4, 5, 6, 7};
    static const double w[] = {1, 0, 2, 0, 1, 3, 0};

    (void)state;
    for (int64_t count = 0; count <= 7; count++) {
        double sum = 0;
        for (int64_t i = 0; i < count; i++) {
            sum += w[i] * x[i];
        }
        assert_true(stats_weighted_sum(w, x, count) == sum);
    }
}

static void words_below_their_limits_choose_what_is_summed(void **state)
{
    uint32_t words[100], limits[100];
    double x[100];

    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        words[i]  = i * UINT32_C(2654435761);
        limits[i] = ~i * UINT32_C(2246822519);
        x[i]      = 1 + i;
    }
    for (int64_t count = 0; count <= 100; count++) {
        double sum = 0;
        for (int64_t i = 0; i < count; i++) {
            if (words[i] < limits[i]) {
                sum += x[i];
            }
        }
        assert_true(stats_sum_below(words, limits, x, count) == sum);
    }
}

/* statsmodels multipletests(…, method="holm") of the five that are numbers. */
static void holm_adjusts_step_by_step(void **state)
{
    static const double p[]        = {0.01, 0.04, NAN, 0.03, 0.005, 0.9};
    static const double expected[] = {0.04, 0.09, NAN, 0.09, 0.025, 0.9};
    static const double ties[]     = {0.02, 0.02, 0.7};
    double adjusted[6];

    (void)state;
    assert_ok(stats_holm(p, 6, adjusted));
    for (int i = 0; i < 6; i++) {
        if (isnan(expected[i])) {
            assert_true(isnan(adjusted[i]));
        } else {
            assert_near(adjusted[i], expected[i], 1e-12);
        }
    }
    assert_ok(stats_holm(ties, 3, adjusted));
    assert_near(adjusted[0], 0.06, 1e-12);
    assert_near(adjusted[1], 0.06, 1e-12);
    assert_near(adjusted[2], 0.7, 1e-12);
    assert_ok(stats_holm(ties, 0, adjusted));
}

static void assert_range(summary_range range, double low, double high)
{
    if (isnan(low)) {
        assert_true(isnan(range.low) && isnan(range.high));
        return;
    }
    assert_near(range.low, low, 1e-12);
    assert_near(range.high, high, 1e-12);
}

static summary_score intervals(const double *scores, const double *lows, const double *highs,
                               int64_t count)
{
    summary_score score = {.score = stats_mean_of(scores, count)};

    summary_intervals(lows, highs, count, &score);
    return score;
}

/* numpy: hypot of the half-widths on either side; t of 1 degree of freedom · 1 / sqrt(2) · sqrt(2)
 * is 12.7062. */
static void intervals_join_rows_and_seeds(void **state)
{
    static const double scores[] = {70, 72, 74, NAN};
    static const double lows[]   = {66, 68, 70, NAN};
    static const double highs[]  = {73, 75, 77, NAN};
    static const double some[]   = {66, NAN, 70, NAN};
    static const double aside[]  = {73, 75, 77, NAN}; /* a low end above the score adds nothing */
    summary_score s              = intervals(scores, lows, highs, 4);

    (void)state;
    assert_range(s.rows, 68, 75);
    assert_range(s.seeds, 67.03172457649934, 76.96827542350066);
    assert_range(s.whole, 65.62161770636467, 77.80377124667751);
    s = intervals(scores, some, highs, 4); /* unknown for one seed: unknown */
    assert_range(s.rows, NAN, NAN);
    assert_range(s.seeds, 67.03172457649934, 76.96827542350066);
    assert_range(s.whole, NAN, NAN);
    s = intervals(scores, aside, highs, 4);
    assert_true(s.whole.low == s.seeds.low);
    s = intervals(scores, lows, highs, 1);
    assert_range(s.rows, 66, 73);
    assert_range(s.seeds, NAN, NAN);
    assert_range(s.whole, 66, 73);
    s = intervals(scores + 3, lows + 3, highs + 3, 1);
    assert_range(s.rows, NAN, NAN);
    assert_range(s.whole, NAN, NAN);
}

/* Seeds that are far apart at a low score; a correlation may be below 0. */
static void no_interval_goes_below_what_the_metric_can_be(void **state)
{
    static const double scores[] = {1, 3};
    static const double lows[]   = {0, 1};
    static const double highs[]  = {3, 5};
    summary_score s              = intervals(scores, lows, highs, 2);

    (void)state;
    assert_true(s.seeds.low == 0 && s.whole.low == 0);
    s.metric = "pearson";
    summary_intervals(lows, highs, 2, &s);
    assert_true(s.seeds.low < -10 && s.whole.low < -10 && s.whole.low >= -100);
}

static void no_interval_goes_above_100(void **state)
{
    static const double scores[] = {97, 99};
    static const double lows[]   = {95, 97};
    static const double highs[]  = {98, 100};
    summary_score s              = intervals(scores, lows, highs, 2);

    (void)state;
    assert_range(s.seeds, 98 - 12.706204736174694, 100);
    assert_true(s.whole.high == 100);
    assert_true(s.whole.low < s.seeds.low);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_of_t_are_those_of_the_tables),
        cmocka_unit_test(mcnemar_is_the_exact_binomial_test),
        cmocka_unit_test(a_weighted_sum_is_that_of_its_products),
        cmocka_unit_test(words_below_their_limits_choose_what_is_summed),
        cmocka_unit_test_teardown(holm_adjusts_step_by_step, returns_all_bytes),
        cmocka_unit_test(intervals_join_rows_and_seeds),
        cmocka_unit_test(no_interval_goes_below_what_the_metric_can_be),
        cmocka_unit_test(no_interval_goes_above_100),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
