// SPDX-License-Identifier: Apache-2.0
/* p of sign flips against scipy's exact permutation test and, if it has too many flips for that,
 * against the distribution of the sum of ±k by repeated convolution in whole numbers. */
#include "flips.h"
#include "stats.h"
#include "support.h"

#include "pb/clock.h"
#include "pb/random.h"

#include <math.h>

static double p_of(const double *d, int64_t count, bool exact)
{
    flips test = {0};

    assert_ok(flips_open(d, count, &test));
    assert_true(test.exact == exact);
    assert_ok(flips_draw(&test, 1));
    double p = test.p;
    flips_close(&test);
    assert_true(p > 0 && p <= 1);
    return p;
}

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance * fabs(b))) {
        fail_msg("%.17g is not %.17g", a, b);
    }
}

/* scipy.stats.permutation_test((d,), numpy.sum, permutation_type="samples", n_resamples=inf) */
static void few_differences_are_flipped_in_all_ways(void **state)
{
    static const double eight[]  = {0.5, -0.2, 0.3, 0.1, -0.05, 0.4, 0, 0.25};
    static const double twelve[] = {0.31, -0.12, 0.58,  0.07, -0.44, 0.29,
                                    0.93, 0.15,  -0.05, 0.66, 0.21,  0.38};
    static const double zero[]   = {0, 0, 0};
    double many[28];

    (void)state;
    assert_near(p_of(eight, 8, true), 0.109375, 1e-12);
    assert_near(p_of(twelve, 12, true), 0.04150390625, 1e-12);
    assert_true(p_of(eight, 1, true) == 1); /* one row: both flips are as far */
    assert_true(p_of(zero, 3, true) == 1);
    assert_true(p_of(zero, 0, true) == 1);
    for (int i = 0; i < 28; i++) {
        many[i] = ((37 * i * i + 11 * i) % 97 - 30) / 97.0;
    }
    assert_near(p_of(many, 28, true), 0.0031291842460632324, 1e-12);
}

/* Right and wrong, one seed: the two tests agree, enumerated or convolved. */
static void all_flips_of_ones_are_mcnemar(void **state)
{
    enum { MOST = 2 * FLIPS_ENUMERATED };
    double d[MOST];

    (void)state;
    for (int count = FLIPS_ENUMERATED - 1; count <= MOST; count += FLIPS_ENUMERATED / 2) {
        for (int plus = 0; plus <= count; plus += 3) {
            for (int i = 0; i < count; i++) {
                d[i] = i < plus ? 1 : -1;
            }
            assert_near(p_of(d, count, true), stats_mcnemar(plus, count - plus), 1e-12);
        }
    }
}

/* Sums that are equal except for rounding count as equal: 0.1 + 0.2 against 0.3. |sum| is 0.3; of
 * 16 flips ±0.1 ±0.2 ±0.3 ±0.3 those with |sum| below 0.3 are the 2 · 2 with ±(0.2 - 0.1) and ±(0.3
 * - 0.3). */
static void ties_survive_rounding(void **state)
{
    static const double d[] = {0.1, 0.2, 0.3, -0.3};

    (void)state;
    assert_near(p_of(d, 4, true), 12.0 / 16, 1e-12);
}

static void whole_multiples_have_their_exact_p_however_many_there_are(void **state)
{
    static const double scales[] = {1, 1 / 3.0, 0.1, 1e-200, 1e300};
    double d[1000];

    (void)state;
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        for (int i = 0; i < 60; i++) {
            d[i] = ((5 * i * i + 3 * i) % 7 - 3 + (i % 4 == 0 ? 1 : 0)) * scales[s];
        }
        assert_near(p_of(d, 60, true), 0.0139933554083254, 1e-12);
        for (int i = 0; i < 300; i++) {
            d[i] = (i % 3 != 0 ? (i * i * 7 + i * 3) % 7 - 2 : 0) * scales[s];
        }
        assert_near(p_of(d, 300, true), 3.8517453094590794e-11, 1e-10);
    }
    for (int i = 0; i < 1000; i++) {
        d[i] = 1;
    }
    assert_near(p_of(d, 1000, true), ldexp(1, -999), 1e-10);
    for (int i = 0; i < 1000; i++) {
        d[i] = i % 2 == 0 ? 0.75 : -0.75;
    }
    assert_true(p_of(d, 1000, true) == 1); /* a sum of 0: every flip is as far */
    d[1]        = 0.75; /* sums of ±0.75 are even multiples: |sum| >= 1.5 is all but a sum of 0 */
    double zero = exp(lgamma(1001) - 2 * lgamma(501) - 1000 * log(2));
    assert_near(p_of(d, 1000, true), 1 - zero, 1e-10);
}

/* `shift` of 120 numbers without a small common unit. */
static double drawn(int shift, double scale)
{
    double d[120];

    for (int i = 0; i < 120; i++) {
        d[i] = ((37 * i * i + 11 * i) % 97 - shift) * scale;
    }
    return p_of(d, 120, false);
}

static void other_differences_are_drawn_with_a_relative_error(void **state)
{
    (void)state;
    assert_near(drawn(30, 1), 6.272958117190437e-09, 0.1);
    assert_near(drawn(10, 1), 1.879615277381109e-27, 0.1);
    assert_true(drawn(30, 1) == drawn(30, 1)); /* determined by the number of the flip */
    assert_near(drawn(30, 0.25e-300), drawn(30, 1), 1e-9);
    assert_near(drawn(30, 1e300), drawn(30, 1), 1e-9);
}

/* The largest of sums is reached by one flip and its opposite. */
static void a_sum_that_no_flip_exceeds_has_two_of_all_flips(void **state)
{
    double d[400];

    (void)state;
    for (int i = 0; i < 400; i++) {
        d[i] = 1 + sqrt(i);
    }
    assert_near(p_of(d, 400, false), ldexp(1, -399), 0.1);
    assert_near(p_of(d, 60, false), ldexp(1, -59), 0.1);
}

static double normal(uint64_t test, uint64_t place)
{
    return pb_random_normal(pb_random_stream(1, PB_RANDOM_TEST, test), place);
}

/* All pairs of 33 methods: with p in steps of 1/10,000, none could be significant, since the
 * smallest would be adjusted to 528/10,001. */
static void real_differences_of_many_pairs_are_significant(void **state)
{
    enum { PAIRS = 528, ROWS = 100, REAL = 40 };
    static flips tests[PAIRS];
    static double d[ROWS], p[PAIRS], adjusted[PAIRS];
    int small = 0;

    (void)state;
    double start = pb_clock_seconds();
    for (uint64_t k = 0; k < PAIRS; k++) {
        for (uint64_t i = 0; i < ROWS; i++) {
            d[i] = normal(k, i) + (k < REAL ? 0.8 : 0);
        }
        assert_ok(flips_open(d, ROWS, &tests[k]));
        assert_false(tests[k].exact);
    }
    assert_ok(flips_draw(tests, PAIRS));
    print_message("%d tests of %d rows: %.2f s\n", PAIRS, ROWS, pb_clock_seconds() - start);
    for (int k = 0; k < PAIRS; k++) {
        p[k] = tests[k].p;
        small += k >= REAL && p[k] < 0.05;
        flips_close(&tests[k]);
    }
    assert_ok(stats_holm(p, PAIRS, adjusted));
    for (int k = 0; k < PAIRS; k++) {
        assert_true((adjusted[k] < 0.05) == (k < REAL));
    }
    /* Of 488 without a difference 5 % are below 0.05: 24.4 with a deviation of 4.8. */
    assert_in_range(small, 6, 43);
}

/* p of a pair does not depend on the other pairs. */
static void tests_that_share_draws_have_their_own_p(void **state)
{
    flips tests[3] = {{0}};
    double d[100];

    (void)state;
    for (int k = 0; k < 3; k++) {
        for (uint64_t i = 0; i < 100; i++) {
            d[i] = normal((uint64_t)k, i) + 0.1 * k;
        }
        assert_ok(flips_open(d, 40 + 30 * k, &tests[k]));
    }
    assert_ok(flips_draw(tests, 3));
    assert_true(tests[2].p == p_of(d, 100, false));
    for (int k = 0; k < 3; k++) {
        flips_close(&tests[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(few_differences_are_flipped_in_all_ways, returns_all_bytes),
        cmocka_unit_test_teardown(all_flips_of_ones_are_mcnemar, returns_all_bytes),
        cmocka_unit_test_teardown(ties_survive_rounding, returns_all_bytes),
        cmocka_unit_test_teardown(whole_multiples_have_their_exact_p_however_many_there_are,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(other_differences_are_drawn_with_a_relative_error,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(a_sum_that_no_flip_exceeds_has_two_of_all_flips,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(real_differences_of_many_pairs_are_significant,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(tests_that_share_draws_have_their_own_p, returns_all_bytes),
    };
    return cmocka_run_group_tests_name("flips", tests, NULL, NULL);
}
