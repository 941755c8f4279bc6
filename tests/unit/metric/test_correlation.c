// SPDX-License-Identifier: Apache-2.0
/* Correlations of numbers that are huge, tiny, or close to each other, against mpmath with 5000
 * bits. */
#include "metric_value.h"
#include "support.h"

#include "pb/metric.h"

#include <math.h>

enum { ROWS = 5 };

static const char *const gold[ROWS] = {"0.0", "1.2", "2.5", "3.8", "5.0"};

static void score(const char *const *predictions, const char *const *references, int64_t rows,
                  pb_metric_result *out)
{
    pb_metric_input input = {.protocol    = PB_PROTOCOL_CORRECTED,
                             .predictions = predictions,
                             .references  = references,
                             .rows        = rows};
    assert_ok(pb_metric_score("pearsonr", &input, out));
}

static void assert_correlations(const char *const *predictions, double pearson, double spearman)
{
    pb_metric_result r = {0};

    for (int swapped = 0; swapped < 2; swapped++) {
        score(swapped ? gold : predictions, swapped ? predictions : gold, ROWS, &r);
        double p = metric_value(&r, "pearson"), s = metric_value(&r, "spearman");
        if (fabs(p - pearson) > 1e-14 || fabs(s - spearman) > 1e-14) {
            fail_msg("%s …: %.17g and %.17g, not %.17g and %.17g", predictions[0], p, s, pearson,
                     spearman);
        }
        assert_true(r.main == p && metric_value(&r, "invalid") == 0);
        pb_metric_result_clear(&r);
    }
}

static void no_square_overflows_or_vanishes(void **state)
{
    static const struct {
        const char *predictions[ROWS];
        double pearson, spearman;
    } cases[] = {
        {{"1e200", "1.2", "2.5", "3.8", "5.0"}, -0.7014064675675524, 0},
        {{"1e-200", "3e-200", "2e-200", "5e-200", "4e-200"}, 0.80148633964955151, 0.8},
        {{"1.7e308", "-1.7e308", "1e308", "-1e308", "0"}, -0.3004909656005574, -0.3},
        {{"5e-324", "0", "1e-323", "1.5e-323", "5e-323"}, 0.83598571405508425, 0.9},
        {{"1e308", "1e-308", "-1e308", "3", "2"}, -0.44360840061729758, -0.2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_correlations(cases[i].predictions, cases[i].pearson, cases[i].spearman);
    }
}

static void small_differences_of_large_numbers_count(void **state)
{
    static const char *const offset[ROWS] = {"10000000000000000", "10000000000000002",
                                             "10000000000000006", "10000000000000004",
                                             "10000000000000008"};
    static const char *const near[ROWS]   = {"1", "1.0000000000000002", "1.0000000000000004",
                                             "1.0000000000000002", "1.0000000000000007"};
    static const char *const huge[ROWS]   = {"1e300", "1.0000000000000002e+300", "1e300",
                                             "1.0000000000000005e+300", "1e300"};

    (void)state;
    assert_correlations(offset, 0.8967124394098943, 0.9);
    assert_correlations(near, 0.82534275348164643, 0.82078268166812329);
    assert_correlations(huge, 0.25020365093909168, 0.11180339887498948);
}

/* The mean of equal numbers may be rounded to a different one: there is no correlation then. */
static void predictions_that_are_constant_once_repaired_give_nothing(void **state)
{
    static const char *const tenths[ROWS] = {"0.1", "none", "0.1", "0.1", "0.10"};
    static const char *const ends[ROWS]   = {"1.7e308", "1.7e308", "none", "1.7e308", "1.7e308"};
    pb_metric_result r                    = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        score(i == 0 ? tenths : ends, gold, ROWS, &r);
        assert_true(r.main == 0 && metric_value(&r, "spearman") == 0);
        assert_true(r.main_low == 0 && r.main_high == 0);
        pb_metric_result_clear(&r);
    }
}

/* The mean of 1.7e308, 1.7e308 and -1e308 is 8e307: with it r is that of the others' deviations. */
static void an_invalid_prediction_is_the_mean_of_far_numbers(void **state)
{
    static const char *const far[ROWS]  = {"1.7e308", "none", "1.7e308", "-1e308", "none"};
    static const char *const near[ROWS] = {"1.7", "none", "1.7", "-1", "none"};
    pb_metric_result a = {0}, b = {0};

    (void)state;
    score(far, gold, ROWS, &a);
    score(near, gold, ROWS, &b);
    assert_true(fabs(a.main) > 0.1 && fabs(a.main - b.main) < 1e-14);
    assert_true(metric_value(&a, "invalid") == 2);
    pb_metric_result_clear(&a);
    pb_metric_result_clear(&b);
}

static void the_value_of_a_row_needs_no_larger_numbers(void **state)
{
    static const char *const references[3]  = {"-1.6e308", "0", "1.6e308"};
    static const char *const predictions[3] = {"1.6e308", "0", "0"};
    pb_metric_result r                      = {0};

    (void)state;
    score(predictions, references, 3, &r);
    assert_true(r.row_values[0] == 0 && !r.correct[0]);
    assert_true(r.row_values[1] == 1 && r.correct[1]);
    assert_true(r.row_values[2] == 0.5 && !r.correct[2]);
    pb_metric_result_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_square_overflows_or_vanishes),
        cmocka_unit_test(small_differences_of_large_numbers_count),
        cmocka_unit_test(predictions_that_are_constant_once_repaired_give_nothing),
        cmocka_unit_test(an_invalid_prediction_is_the_mean_of_far_numbers),
        cmocka_unit_test(the_value_of_a_row_needs_no_larger_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, returns_all_bytes);
}
