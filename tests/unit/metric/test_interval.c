// SPDX-License-Identifier: Apache-2.0
/* Intervals from sums of parts against the metric itself, run on every resampled test set. */
#include "metrics.h"
#include "support.h"

#include "pb/clock.h"
#include "pb/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 12, MANY = 10000 };

static const char *const labels[] = {"a", "b", "c", "d", "e"};

static void score(const char *metric, pb_protocol protocol, const char *const *predictions,
                  const char *const *references, int64_t rows, pb_metric_result *out)
{
    pb_metric_input input = {.protocol    = protocol,
                             .predictions = predictions,
                             .references  = references,
                             .rows        = rows,
                             .labels      = (char *const *)(uintptr_t)labels,
                             .label_count = 5};
    assert_ok(pb_metric_score(metric, &input, out));
}

static int compare_values(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* numpy.percentile with its default rule. */
static double percentile(const double *sorted, int64_t count, double share)
{
    double place = share * (double)(count - 1);
    double below = floor(place);
    double a = sorted[(int64_t)below], b = sorted[(int64_t)ceil(place)];
    return a + (b - a) * (place - below);
}

/* Draws the rows themselves and scores them again. */
static void resample(const char *metric, pb_protocol protocol, const char *const *predictions,
                     const char *const *references, double *low, double *high)
{
    double values[METRIC_RESAMPLES];
    int64_t count = 0;

    for (uint64_t r = 0; r < METRIC_RESAMPLES; r++) {
        pb_random stream = pb_random_stream(0, PB_RANDOM_BOOTSTRAP, r);
        const char *p[ROWS], *g[ROWS];
        pb_metric_result result = {0};
        for (uint64_t i = 0; i < ROWS; i++) {
            uint64_t row = (uint64_t)pb_random_u32(stream, i) * ROWS >> 32;
            p[i]         = predictions[row];
            g[i]         = references[row];
        }
        score(metric, protocol, p, g, ROWS, &result);
        if (!isnan(result.main)) {
            values[count++] = result.main;
        }
        pb_metric_result_clear(&result);
    }
    qsort(values, (size_t)count, sizeof *values, compare_values);
    *low  = percentile(values, count, 0.025);
    *high = percentile(values, count, 0.975);
}

static void check_under(pb_protocol protocol, const char *metric, const char *const *predictions,
                        const char *const *references)
{
    pb_metric_result r = {0};
    double low = 0, high = 0;

    score(metric, protocol, predictions, references, ROWS, &r);
    resample(metric, protocol, predictions, references, &low, &high);
    assert_true(low < high);
    if (fabs(r.main_low - low) > 1e-12 || fabs(r.main_high - high) > 1e-12) {
        fail_msg("%s: %.17g … %.17g, of the rows %.17g … %.17g", metric, r.main_low, r.main_high,
                 low, high);
    }
    pb_metric_result_clear(&r);
}

static void check(const char *metric, const char *const *predictions, const char *const *references)
{
    check_under(PB_PROTOCOL_PAPER, metric, predictions, references);
    check_under(PB_PROTOCOL_CORRECTED, metric, predictions, references);
}

static void the_interval_is_that_of_scoring_resampled_rows(void **state)
{
    static const char *const gold[ROWS]    = {"a", "a", "a", "b", "b", "b",
                                              "b", "c", "c", "d", "d", "e"};
    static const char *const guess[ROWS]   = {"a", "b", "x", "b", "b", "",
                                              "a", "c", "d", "d", "c", "nothing"};
    static const char *const scores[ROWS]  = {"0", "1", "2", "3", "4", "5",
                                              "1", "2", "3", "4", "0", "5"};
    static const char *const guessed[ROWS] = {"0.5", "1", "many", "3", "2", "5",
                                              "0",   "",  "4",    "4", "1", "3.5"};
    static const char *const worked[ROWS]  = {"#### 1", "#### 2", "#### 3", "#### 4",
                                              "#### 5", "#### 6", "#### 7", "#### 8",
                                              "#### 9", "#### 0", "#### 1", "#### 2"};
    static const char *const solved[ROWS]  = {"#### 1", "#### 2", "3",      "#### 5",
                                              "#### 5", "#### 6", "#### 8", "#### 8",
                                              "#### 9", "none",   "#### 1", "#### 2"};
    (void)state;
    check("f1", guess, gold);
    check("macro_f1", guess, gold);
    check("record", guess, gold);
    check("pearsonr", guessed, scores);
    check("gsm8k", solved, worked);
}

/* Samples without the outlier have the correlation of the others. */
static void far_numbers_leave_the_samples_without_them_as_they_are(void **state)
{
    static const char *const gold[ROWS] = {"0", "1", "2", "3", "4", "5",
                                           "1", "2", "3", "4", "0", "5"};
    static const char *const far[ROWS]  = {"1e200", "1", "many", "3", "2", "5",
                                           "0",     "",  "4",    "4", "1", "3.5"};
    static const char *const near[ROWS] = {"1e300", "1", "2", "3e-320", "2e-320", "5",
                                           "0",     "1", "4", "4",      "1",      "3.5"};

    (void)state;
    check_under(PB_PROTOCOL_CORRECTED, "pearsonr", far, gold);
    check_under(PB_PROTOCOL_CORRECTED, "pearsonr", near, gold);
}

static void the_interval_of_a_share_has_the_width_of_the_binomial(void **state)
{
    static const char *predictions[MANY], *references[MANY];
    pb_metric_result r = {0};

    (void)state;
    for (int i = 0; i < MANY; i++) {
        references[i]  = labels[i % 5];
        predictions[i] = labels[i % 10 < 3 ? i % 5 : (i + 1) % 5];
    }
    double start = pb_clock_seconds();
    score("macro_f1", PB_PROTOCOL_CORRECTED, predictions, references, MANY, &r);
    double seconds = pb_clock_seconds() - start;
    print_message("macro_f1 of %d rows with its interval: %.3f s\n", MANY, seconds);
    pb_metric_result_clear(&r);
    score("accuracy", PB_PROTOCOL_CORRECTED, predictions, references, MANY, &r);
    double half = 1.96 * sqrt(0.3 * 0.7 / MANY);
    assert_true(r.main == 0.3);
    assert_true(fabs((0.3 - r.main_low) / half - 1) < 0.1);
    assert_true(fabs((r.main_high - 0.3) / half - 1) < 0.1);
    pb_metric_result_clear(&r);
}

static void rows_that_ask_the_same_are_drawn_together(void **state)
{
    const char *predictions[] = {"x", "x", "x", "y"};
    const char *references[]  = {"x", "x", "x", "x"};
    const char *ids[]         = {"1", "1", "1", "2"};
    pb_metric_input input     = {
            .predictions = predictions, .references = references, .ids = ids, .rows = 4};
    pb_metric_result r = {0};

    (void)state;
    /* Two questions, right and wrong: a quarter of the resamples have only right answers, a quarter
     * have none. */
    input.protocol = PB_PROTOCOL_CORRECTED;
    assert_ok(pb_metric_score("record", &input, &r));
    assert_true(r.main == 0.5 && r.main_low == 0 && r.main_high == 1);
    pb_metric_result_clear(&r);
    input.protocol = PB_PROTOCOL_PAPER;
    assert_ok(pb_metric_score("record", &input, &r));
    assert_true(r.main == 0.75 && r.main_low == 0 && r.main_high == 1);
    pb_metric_result_clear(&r);
    ids[3] = "1";
    assert_ok(pb_metric_score("record", &input, &r));
    assert_true(isnan(r.main_low) && isnan(r.main_high));
    pb_metric_result_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_interval_is_that_of_scoring_resampled_rows),
        cmocka_unit_test(far_numbers_leave_the_samples_without_them_as_they_are),
        cmocka_unit_test(the_interval_of_a_share_has_the_width_of_the_binomial),
        cmocka_unit_test(rows_that_ask_the_same_are_drawn_together),
    };
    return cmocka_run_group_tests(tests, NULL, returns_all_bytes);
}
