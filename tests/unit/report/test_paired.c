// SPDX-License-Identifier: Apache-2.0
/* Methods compared on common rows: what is paired, what is not and why. Probabilities are worked
 * out by hand. */
#include "paired.h"
#include "sample.h"
#include "support.h"

#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A cell of model m and data set d; `rows` NULL: 0, 1, 2, … */
static void put(const char *directory, const char *method, int64_t seed, const int64_t *rows,
                const double *values, int64_t count)
{
    pb_record r;

    assert_ok(sample_small("m", "d", method, seed, &r));
    for (int64_t i = 0; i < count; i++) {
        assert_ok(
            pb_record_add_prediction(&r, rows != NULL ? rows[i] : i, "x", "x", -1, values[i]));
    }
    assert_ok(pb_shard_write(directory, &r));
    pb_record_clear(&r);
}

static void compare(const char *directory, paired_list *list)
{
    pb_results r = {0};

    assert_ok(pb_results_open_directory(directory, &r));
    assert_ok(paired_make(&r, 0, 0, list));
    pb_results_clear(&r);
}

static void assert_near(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-12 * fabs(b));
}

/* 6 rows that only A has right, 1 that only B has: 2 (1 + 7) / 2^7. */
static void right_and_wrong_of_one_seed_are_mcnemar(void **state)
{
    static const double a[] = {1, 1, 1, 1, 1, 1, 0, 1, 0, 0};
    static const double b[] = {0, 0, 0, 0, 0, 0, 1, 1, 0, 0};
    const char *directory   = sample_directory();
    paired_list list        = {0};

    (void)state;
    put(directory, "a", 1, NULL, a, 10);
    put(directory, "b", 1, NULL, b, 10);
    compare(directory, &list);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.pairs[0].test, "mcnemar");
    assert_string_equal(list.pairs[0].problem, "");
    assert_near(list.pairs[0].p, 0.125);
    assert_near(list.pairs[0].p_holm, 0.125);
    assert_near(list.pairs[0].difference, 50);
    assert_int_equal(list.pairs[0].rows, 10);
    assert_int_equal(list.pairs[0].seeds, 1);
    assert_true(list.pairs[0].low < 50 && list.pairs[0].high > 50);
    paired other = paired_swapped(&list.pairs[0]);
    assert_true(other.a == 1 && other.b == 0 && other.difference == -50);
    assert_true(other.low == -list.pairs[0].high && other.high == -list.pairs[0].low);
    paired_clear(&list);
}

/* Means over seeds 1 and 2: differences 1, 0, 0.5, 0.5; of 8 flips two are as far from 0. Seed 3 of
 * a has no partner and would change the difference. */
static void seeds_in_common_are_averaged_row_by_row(void **state)
{
    static const double a1[] = {1, 0, 1, 1};
    static const double a2[] = {1, 1, 1, 0};
    static const double b1[] = {0, 0, 1, 0};
    static const double b2[] = {0, 1, 0, 0};
    static const double a3[] = {0, 0, 0, 0};
    const char *directory    = sample_directory();
    paired_list list         = {0};

    (void)state;
    put(directory, "a", 1, NULL, a1, 4);
    put(directory, "a", 2, NULL, a2, 4);
    put(directory, "a", 3, NULL, a3, 4);
    put(directory, "b", 1, NULL, b1, 4);
    put(directory, "b", 2, NULL, b2, 4);
    compare(directory, &list);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.pairs[0].test, "sign_flip_exact");
    assert_near(list.pairs[0].p, 0.25);
    assert_near(list.pairs[0].difference, 50);
    assert_int_equal(list.pairs[0].seeds, 2);
    paired_clear(&list);
}

/* Rows 7, 7, 9, 3, 7: units of 1, 3 and 1 predictions with sums 0.5, 1.5 (1 + 0 + 0.5) and -0.25.
 * |sum| 1.75; flips as far: only those with 0.5 and 1.5 of one sign, 4 of 8 minus those with the
 * -0.25 turned against them: 0.5 + 1.5 ± 0.25 are 2.25 and 1.75, both as far. So 4 of 8. */
static void predictions_of_one_row_stay_together(void **state)
{
    static const int64_t rows[] = {7, 7, 9, 3, 7};
    static const double a[]     = {1, 0.5, 0, 0.5, 1};
    static const double b[]     = {0, 0.5, 0.25, 0, 0.5};
    const char *directory       = sample_directory();
    paired_list list            = {0};

    (void)state;
    put(directory, "a", 1, rows, a, 5);
    put(directory, "b", 1, rows, b, 5);
    compare(directory, &list);
    assert_int_equal(list.pairs[0].rows, 3);
    assert_string_equal(list.pairs[0].test, "sign_flip_exact");
    assert_near(list.pairs[0].p, 0.5);
    assert_near(list.pairs[0].difference, 35); /* of the five predictions */
    paired_clear(&list);
}

/* Two answers of one row, both 0 or 1, are not two rows for McNemar. */
static void doubled_rows_are_no_more_evidence(void **state)
{
    static const int64_t rows[] = {0, 0, 1, 1, 2, 2, 3, 3};
    static const double a[]     = {1, 1, 1, 1, 1, 1, 1, 1};
    static const double b[]     = {0, 0, 0, 0, 0, 0, 0, 0};
    const char *directory       = sample_directory();
    paired_list list            = {0};

    (void)state;
    put(directory, "a", 1, rows, a, 8);
    put(directory, "b", 1, rows, b, 8);
    compare(directory, &list);
    assert_int_equal(list.pairs[0].rows, 4);
    assert_near(list.pairs[0].p, 2.0 / 16);
    assert_true(list.pairs[0].low == 100 && list.pairs[0].high == 100);
    paired_clear(&list);
}

static void pairs_that_cannot_be_compared_say_why(void **state)
{
    static const double ones[]     = {1, 1, 1};
    static const double unknown[]  = {1, NAN, 1};
    static const double endless[]  = {1, 0, INFINITY};
    static const int64_t others[]  = {0, 1, 5};
    static const char *const why[] = {
        "tested on different rows",             /* a other */
        "tested on different rows",             /* a short */
        "the values of the rows are not known", /* a unknown */
        "no predictions are stored",            /* a empty */
        "the values of the rows are not known",
        "no seed in common", /* a late */
    };
    const char *directory = sample_directory();
    paired_list list      = {0};

    (void)state;
    put(directory, "a", 1, NULL, ones, 3);
    put(directory, "b other", 1, others, ones, 3);
    put(directory, "c short", 1, NULL, ones, 2);
    put(directory, "d unknown", 1, NULL, unknown, 3);
    put(directory, "e empty", 1, NULL, ones, 0);
    put(directory, "f endless", 1, NULL, endless, 3);
    put(directory, "g late", 2, NULL, ones, 3);
    put(directory, "h same", 1, NULL, ones, 3);
    compare(directory, &list);
    assert_int_equal(list.count, 8 * 7 / 2);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(list.pairs[i].b, i + 1);
        assert_string_equal(list.pairs[i].problem, why[i]);
        assert_string_equal(list.pairs[i].test, "");
        assert_true(isnan(list.pairs[i].p) && isnan(list.pairs[i].p_holm));
        assert_true(isnan(list.pairs[i].difference) && isnan(list.pairs[i].low));
    }
    assert_string_equal(list.pairs[6].problem, "");
    assert_true(list.pairs[6].p == 1 && list.pairs[6].p_holm == 1);
    assert_true(list.pairs[6].difference == 0 && list.pairs[6].low == 0);
    paired_clear(&list);
}

static void failed_and_invalid_cells_take_no_part(void **state)
{
    static const double ones[] = {1, 1, 1};
    const char *directory      = sample_directory();
    paired_list list           = {0};
    pb_record r;

    (void)state;
    put(directory, "a", 1, NULL, ones, 3);
    put(directory, "b", 1, NULL, ones, 3);
    assert_ok(sample_small("m", "d", "b", 2, &r));
    assert_ok(pb_record_fail(&r, PB_FAIL(PB_ERR_NUMERIC, "the loss is not finite")));
    pb_error_clear();
    assert_ok(pb_shard_write(directory, &r));
    pb_record_clear(&r);
    put(directory, "a", 2, NULL, ones, 3);
    assert_ok(sample_record("m", "d", "c", 1, &r));
    r.valid = false;
    assert_ok(pb_shard_write(directory, &r));
    pb_record_clear(&r);
    compare(directory, &list);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.pairs[0].seeds, 1);
    assert_int_equal(list.pairs[0].b, 1);
    paired_clear(&list);
}

static void one_row_has_a_difference_and_nothing_more(void **state)
{
    static const double a[] = {0.75};
    static const double b[] = {0.25};
    const char *directory   = sample_directory();
    paired_list list        = {0};

    (void)state;
    put(directory, "a", 1, NULL, a, 1);
    put(directory, "b", 1, NULL, b, 1);
    compare(directory, &list);
    assert_near(list.pairs[0].difference, 50);
    assert_true(list.pairs[0].p == 1);
    assert_true(isnan(list.pairs[0].low) && isnan(list.pairs[0].high));
    paired_clear(&list);
}

/* 500 differences of sine and cosine: the interval of a mean is ± 1.96 standard errors. */
static void the_interval_is_that_of_a_mean(void **state)
{
    enum { ROWS = 500 };
    const char *directory = sample_directory();
    paired_list list      = {0};
    paired_list again     = {0};
    double a[ROWS];
    double b[ROWS];
    double sum     = 0;
    double squares = 0;

    (void)state;
    for (int i = 0; i < ROWS; i++) {
        a[i] = 0.5 + 0.5 * sin(i * 1.7);
        b[i] = 0.5 + 0.5 * cos(i * i * 0.3) - 0.1;
        sum += a[i] - b[i];
        squares += (a[i] - b[i]) * (a[i] - b[i]);
    }
    double mean  = sum / ROWS;
    double error = sqrt((squares / ROWS - mean * mean) / ROWS);
    put(directory, "a", 1, NULL, a, ROWS);
    put(directory, "b", 1, NULL, b, ROWS);
    compare(directory, &list);
    compare(directory, &again);
    assert_string_equal(list.pairs[0].test, "sign_flip");
    assert_near(list.pairs[0].difference, 100 * mean);
    /* An end from 2000 samples has a standard error of 0.06 times that of the mean. */
    assert_true(fabs(list.pairs[0].low - 100 * (mean - 1.96 * error)) < 25 * error);
    assert_true(fabs(list.pairs[0].high - 100 * (mean + 1.96 * error)) < 25 * error);
    assert_memory_equal(&list.pairs[0].low, &again.pairs[0].low, sizeof(double));
    assert_memory_equal(&list.pairs[0].p, &again.pairs[0].p, sizeof(double));
    paired_clear(&list);
    paired_clear(&again);
}

static void too_little_memory_is_an_error_without_a_leak(void **state)
{
    static const double a[] = {1, 1, 1, 0.5};
    const char *directory   = sample_directory();
    pb_results r            = {0};
    paired_list list        = {0};
    int failures            = 0;

    (void)state;
    put(directory, "a", 1, NULL, a, 4);
    put(directory, "b", 1, NULL, a, 4);
    put(directory, "c", 1, NULL, a, 4);
    assert_ok(pb_results_open_directory(directory, &r));
    size_t before    = pb_memory_current();
    pb_status status = PB_ERR_MEMORY;
    for (size_t room = 8; status != PB_OK; room += 64) {
        assert_true(room < 1000000);
        pb_memory_limit(before + room);
        status = paired_make(&r, 0, 0, &list);
        pb_memory_limit(0);
        if (status != PB_OK) {
            assert_int_equal(status, PB_ERR_MEMORY);
            assert_int_equal(pb_memory_current(), before);
            pb_error_clear();
            failures++;
        }
    }
    assert_true(failures > 20);
    paired_clear(&list);
    pb_results_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(right_and_wrong_of_one_seed_are_mcnemar, returns_all_bytes),
        cmocka_unit_test_teardown(seeds_in_common_are_averaged_row_by_row, returns_all_bytes),
        cmocka_unit_test_teardown(predictions_of_one_row_stay_together, returns_all_bytes),
        cmocka_unit_test_teardown(doubled_rows_are_no_more_evidence, returns_all_bytes),
        cmocka_unit_test_teardown(pairs_that_cannot_be_compared_say_why, returns_all_bytes),
        cmocka_unit_test_teardown(failed_and_invalid_cells_take_no_part, returns_all_bytes),
        cmocka_unit_test_teardown(one_row_has_a_difference_and_nothing_more, returns_all_bytes),
        cmocka_unit_test_teardown(the_interval_is_that_of_a_mean, returns_all_bytes),
        cmocka_unit_test_teardown(too_little_memory_is_an_error_without_a_leak, returns_all_bytes),
    };
    return cmocka_run_group_tests_name("paired", tests, NULL, NULL);
}
