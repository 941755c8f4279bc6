// SPDX-License-Identifier: Apache-2.0
/* Philox against its published known answers, the mapping of items to blocks against independently
 * computed values, and the distributions. Statistical bounds are five or more standard errors; the
 * numbers are fixed, so a test passes always or never. */
#include "pb/random.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static void philox_gives_the_known_answers(void **state)
{
    /* Salmon et al., Random123, kat_vectors: philox4x32 10 */
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } answers[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        uint32_t out[4];
        pb_random_philox(answers[i].counter, answers[i].key, out);
        assert_memory_equal(out, answers[i].out, sizeof out);
    }
}

static void numbers_of_a_stream_never_change(void **state)
{
    const uint64_t indices[]  = {0, 1, 2, 3, 4, UINT64_C(1) << 40};
    const uint32_t expected[] = {0xa24445b3, 0x9030e6ea, 0x5a7edaf8,
                                 0x278cda26, 0x20ade949, 0xe655bfd9};

    (void)state;
    pb_random s = pb_random_stream(42, PB_RANDOM_INIT, 7);
    assert_true(s.key == UINT64_C(0x12db3fd96083166a));
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(pb_random_u32(s, indices[i]), expected[i]);
    }
    assert_true(fabs(pb_random_normal(s, 0) - -0.20081757030807185) < 1e-14);
    assert_true(fabs(pb_random_normal(s, 1) - 1.7196400407545482) < 1e-14);
    assert_true(fabs(pb_random_normal(s, 2) - -0.3452323203394906) < 1e-14);
    assert_int_equal(pb_random_below(s, 0, 1000), 392);
    assert_int_equal(pb_random_below(s, 1, 1000), 959);
    assert_int_equal(pb_random_below(s, 2, 1000), 404);
    assert_int_equal(pb_random_below(s, 1, UINT64_C(1) << 32), 4119952115);
}

static void streams_differ_in_seed_purpose_and_salt(void **state)
{
    (void)state;
    uint64_t keys[] = {
        pb_random_stream(1, PB_RANDOM_INIT, 0).key,
        pb_random_stream(2, PB_RANDOM_INIT, 0).key,
        pb_random_stream(1, PB_RANDOM_DROPOUT, 0).key,
        pb_random_stream(1, PB_RANDOM_INIT, 1).key,
        pb_random_stream(0, PB_RANDOM_INIT, 1).key,
        pb_random_stream(UINT64_C(1) << 32, PB_RANDOM_INIT, 0).key,
        pb_random_stream(1, PB_RANDOM_INIT, UINT64_C(1) << 32).key,
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_true(keys[i] != keys[j]);
        }
    }
}

static void uniform_numbers_fill_the_unit_interval_evenly(void **state)
{
    enum { N = 200000, BINS = 64 };
    int bins[BINS] = {0};
    double sum     = 0.0;
    double chi2    = 0.0;

    (void)state;
    pb_random s = pb_random_stream(1, PB_RANDOM_TEST, 0);
    for (uint64_t i = 0; i < N; i++) {
        double u = pb_random_uniform(s, i);
        assert_true(u >= 0.0 && u < 1.0);
        sum += u;
        bins[(int)(u * BINS)]++;
    }
    for (int i = 0; i < BINS; i++) {
        double off = bins[i] - (double)N / BINS;
        chi2 += off * off / ((double)N / BINS);
    }
    assert_true(fabs(sum / N - 0.5) < 5.0 * sqrt(1.0 / 12.0 / N));
    assert_true(fabs(chi2 - (BINS - 1)) < 5.0 * sqrt(2.0 * (BINS - 1)));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov against the normal distribution; 1.95 / sqrt(N) is exceeded once in 1000. */
static void normal_numbers_follow_the_normal_distribution(void **state)
{
    enum { N = 100000 };
    double *x      = malloc(N * sizeof *x);
    double sum     = 0.0;
    double squares = 0.0;
    double worst   = 0.0;

    (void)state;
    assert_non_null(x);
    pb_random s = pb_random_stream(2, PB_RANDOM_TEST, 0);
    for (uint64_t i = 0; i < N; i++) {
        x[i] = pb_random_normal(s, i);
        assert_true(isfinite(x[i]));
        sum += x[i];
        squares += x[i] * x[i];
    }
    qsort(x, N, sizeof *x, by_value);
    for (int i = 0; i < N; i++) {
        double gap = fabs(0.5 * erfc(-x[i] / sqrt(2.0)) - (i + 0.5) / N);
        worst      = gap > worst ? gap : worst;
    }
    free(x);
    assert_true(fabs(sum / N) < 5.0 / sqrt(N));
    assert_true(fabs(squares / N - 1.0) < 5.0 * sqrt(2.0 / N));
    assert_true(worst < 1.95 / sqrt(N));
}

static void numbers_below_a_bound_reach_all_and_only_those(void **state)
{
    int seen[6] = {0};

    (void)state;
    pb_random s = pb_random_stream(3, PB_RANDOM_TEST, 0);
    for (uint64_t i = 0; i < 60000; i++) {
        uint64_t value = pb_random_below(s, i, 6);
        assert_true(value < 6);
        seen[value]++;
        assert_int_equal(pb_random_below(s, i, 1), 0);
        assert_true(pb_random_below(s, i, UINT64_C(1) << 32) < UINT64_C(1) << 32);
    }
    for (int i = 0; i < 6; i++) {
        assert_true(abs(seen[i] - 10000) < 5 * 92); /* sqrt(60000 · 1/6 · 5/6) = 91.3 */
    }
}

static void kinds_of_draw_at_one_index_are_independent(void **state)
{
    enum { N = 20000 };
    double product = 0.0;

    (void)state;
    pb_random s = pb_random_stream(4, PB_RANDOM_TEST, 0);
    for (uint64_t i = 0; i < N; i++) {
        product += (pb_random_uniform(s, 4 * i) - 0.5) *
                   ((double)pb_random_below(s, i, UINT64_C(1) << 32) * 0x1p-32 - 0.5);
    }
    /* The product of two independent ones has variance 1/144. */
    assert_true(fabs(product / N) < 5.0 / 12.0 / sqrt(N));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(numbers_of_a_stream_never_change),
        cmocka_unit_test(streams_differ_in_seed_purpose_and_salt),
        cmocka_unit_test(uniform_numbers_fill_the_unit_interval_evenly),
        cmocka_unit_test(normal_numbers_follow_the_normal_distribution),
        cmocka_unit_test(numbers_below_a_bound_reach_all_and_only_those),
        cmocka_unit_test(kinds_of_draw_at_one_index_are_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
