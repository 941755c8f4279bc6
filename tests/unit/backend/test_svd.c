// SPDX-License-Identifier: Apache-2.0
/* Singular values of tall, wide and square matrices: the factors multiply to the matrix, have
 * orthonormal columns, and signs that do not depend on the library. */
#include "support.h"

#include "pb/memory.h"
#include "pb/random.h"
#include "pb/svd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE_MAX = 40 };

typedef struct factors {
    int64_t m, n, r;
    float a[SIDE_MAX * SIDE_MAX], u[SIDE_MAX * SIDE_MAX], vt[SIDE_MAX * SIDE_MAX];
} factors;

static void decompose(factors *f, int64_t m, int64_t n, int threads)
{
    pb_random stream = pb_random_stream(5, PB_RANDOM_TEST, (uint64_t)(m * SIDE_MAX + n));
    *f               = (factors){.m = m, .n = n, .r = m < n ? m : n};
    for (int64_t i = 0; i < m * n; i++) {
        f->a[i] = (float)pb_random_normal(stream, (uint64_t)i);
    }
    assert_ok(pb_svd(f->a, m, n, threads, f->u, f->vt));
}

/* u_kᵀ a v_l: the singular value for k = l, zero elsewhere. */
static double value_at(const factors *f, int64_t k, int64_t l)
{
    double sum = 0.0;
    for (int64_t i = 0; i < f->m; i++) {
        for (int64_t j = 0; j < f->n; j++) {
            sum += (double)f->u[i * f->r + k] * (double)f->a[i * f->n + j] *
                   (double)f->vt[l * f->n + j];
        }
    }
    return sum;
}

static double column_product(const factors *f, int64_t k, int64_t l)
{
    double sum = 0.0;
    for (int64_t i = 0; i < f->m; i++) {
        sum += (double)f->u[i * f->r + k] * (double)f->u[i * f->r + l];
    }
    return sum;
}

static void check_signs(const factors *f)
{
    for (int64_t k = 0; k < f->r; k++) {
        float largest = 0.0f;
        for (int64_t i = 0; i < f->m; i++) {
            float value = f->u[i * f->r + k];
            largest     = fabsf(value) > fabsf(largest) ? value : largest;
        }
        assert_true(largest > 0.0f);
    }
}

static void factors_are_those_of_the_matrix(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{1, 1}, {1, 7}, {7, 1}, {6, 6}, {40, 12}, {12, 40}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        factors f;
        decompose(&f, shapes[s][0], shapes[s][1], 1);
        double before  = INFINITY;
        double squares = 0.0, all = 0.0;
        for (int64_t k = 0; k < f.r; k++) {
            double value = value_at(&f, k, k);
            assert_true(value > 0.0 && value <= before);
            before = value;
            squares += value * value;
            for (int64_t l = 0; l < f.r; l++) {
                assert_true(fabs(column_product(&f, k, l) - (k == l)) < 1e-6);
                assert_true(k == l || fabs(value_at(&f, k, l)) < 1e-5);
            }
        }
        for (int64_t i = 0; i < f.m * f.n; i++) {
            all += (double)f.a[i] * (double)f.a[i];
        }
        assert_true(fabs(squares / all - 1.0) < 1e-6); /* nothing is left out */
        check_signs(&f);
    }
    assert_int_equal(pb_memory_current(), 0);
}

static void the_same_matrix_gives_the_same_factors(void **state)
{
    (void)state;
    factors once, again;
    decompose(&once, 30, 20, 2);
    decompose(&again, 30, 20, 2);
    assert_memory_equal(&once, &again, sizeof once);
}

static void values_that_are_not_finite_are_an_error(void **state)
{
    (void)state;
    factors f;
    decompose(&f, 4, 3, 1);
    f.a[5] = NAN;
    assert_error(pb_svd(f.a, 4, 3, 1, f.u, f.vt), PB_ERR_NUMERIC, "a matrix of 4 by 3");
    assert_error(pb_svd(f.a, 0, 3, 1, f.u, f.vt), PB_ERR_ARGUMENT, "0 by 3");
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_are_those_of_the_matrix),
        cmocka_unit_test(the_same_matrix_gives_the_same_factors),
        cmocka_unit_test(values_that_are_not_finite_are_an_error),
    };
    float a[1] = {1.0f}, u[1], vt[1];
    need(pb_svd(a, 1, 1, 1, u, vt));
    return cmocka_run_group_tests_name("unit_backend_svd", tests, NULL, NULL);
}
