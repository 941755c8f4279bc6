// SPDX-License-Identifier: Apache-2.0
/* Products of our own: all transposes, types, alignments, and rows whose bits do not depend on how
 * many there are. */
#include "fake_cuda.h"
#include "matrices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 17 };

typedef struct product_case {
    product_shape s;
    int64_t gap, shift; /* of all three matrices */
    enum element factor, result;
    bool apart; /* what is multiplied by beta is in a matrix of its own */
} product_case;

static size_t shared = 227 << 10; /* of a block */

static float a_values[MOST], b_values[MOST], c_before[MOST];

static void run_product(const void *context, void *result)
{
    const product_case *c  = context;
    const product_shape *s = &c->s;
    layout of_a   = {s->transpose_a ? s->k : s->m, s->transpose_a ? s->m : s->k, c->gap, c->shift};
    layout of_b   = {s->transpose_b ? s->n : s->k, s->transpose_b ? s->k : s->n, c->gap, c->shift};
    matrix a      = matrix_new(of_a, c->factor, 1.0f, 3);
    matrix b      = matrix_new(of_b, c->factor, 1.0f, 5);
    layout of_c   = {s->m, s->n, c->gap, c->shift};
    matrix out    = matrix_new(of_c, c->result, 1.0f, 7);
    matrix before = matrix_new(of_c, c->result, 1.0f, 11);
    product_shape made = *s;
    made.before        = c->apart ? before.v.data : NULL;
    matrix_dense(&a, a_values);
    matrix_dense(&b, b_values);
    matrix_dense(c->apart ? &before : &out, c_before);
    assert_int_equal(launch_product(out.v, a.v, b.v, made, shared, NULL), cudaSuccess);
    matrix_read(&out);
    matrix_dense(&out, result);
    matrix_free(&before);
    matrix_free(&out);
    matrix_free(&b);
    matrix_free(&a);
}

static double naive(const product_shape *s, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t k = 0; k < s->k; k++) {
        sum += (double)a_values[s->transpose_a ? k * s->m + i : i * s->k + k] *
               (double)b_values[s->transpose_b ? j * s->k + k : k * s->n + j];
    }
    return (double)s->alpha * sum +
           (s->beta == 0.0f ? 0.0 : (double)s->beta * (double)c_before[i * s->n + j]);
}

static void check_product(const product_case *c)
{
    static float got[MOST];
    in_all_orders(run_product, c, got, (size_t)(c->s.m * c->s.n) * sizeof *got);
    for (int64_t i = 0; i < c->s.m * c->s.n; i++) {
        assert_near((double)got[i], naive(&c->s, i / c->s.n, i % c->s.n), c->result,
                    sqrt((double)c->s.k + 1.0));
    }
}

static void all_match(void **state)
{
    static const int64_t sizes[][3] = {{1, 1, 1},   {3, 5, 0},    {16, 16, 16}, {17, 33, 40},
                                       {5, 70, 90}, {70, 66, 72}, {2, 24, 600}};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int n = 0; n < 4 * 3 * 3; n++) {
            int types      = n / 4 % 3; /* F32; BF16 to BF16; BF16 to F32 */
            int place      = n / 12;    /* packed; rows aligned with gaps; not aligned */
            product_case c = {.s      = {sizes[i][0], sizes[i][1], sizes[i][2], n % 2 != 0,
                                         n / 2 % 2 != 0, n % 3 == 0 ? 1.0f : -0.5f,
                                    n % 3 == 0 ? 0.0f : 2.0f, NULL},
                              .gap    = place == 0   ? 0
                                        : place == 1 ? 8
                                                     : 3,
                              .shift  = place == 2 ? 1 : 0,
                              .factor = types == 0 ? ELEMENT_F32 : ELEMENT_BF16,
                              .result = types == 1 ? ELEMENT_BF16 : ELEMENT_F32,
                              .apart  = n % 3 == 1};
            check_product(&c);
        }
    }
}

/* 20 rows go to tiles, up to 16 to the kernel of few rows; sums of several parts. */
static void rows_do_not_depend_on_others(void **state)
{
    static const int64_t counts[] = {20, 16, 3, 1};
    static float want[MOST];
    static float got[MOST];
    enum { N = 40, K = 1160 };
    (void)state;
    for (int element = ELEMENT_F32; element <= ELEMENT_BF16; element++) {
        for (int i = 0; i < 4; i++) {
            product_case c = {.s      = {counts[i], N, K, false, true, 1.0f, 0.0f, NULL},
                              .factor = (enum element)element,
                              .result = ELEMENT_F32};
            run_product(&c, i == 0 ? want : got);
            if (i > 0) {
                assert_memory_equal(got, want, (size_t)(counts[i] * N) * sizeof *got);
            }
        }
    }
}

/* Long sums of few rows have the same bits wherever the kernel of few rows finds no room; the tile
 * that replaces it fits every device. */
static void shared_memory_changes_no_bit(void **state)
{
    static const size_t sizes[] = {227 << 10, 163 << 10, 99 << 10};
    static float want[MOST];
    static float got[MOST];
    enum { N = 4 };
    static const int64_t lengths[] = {17920, 17928, 26000};
    (void)state;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        product_case c = {.s      = {3, N, lengths[l], false, true, 1.0f, 0.0f, NULL},
                          .factor = ELEMENT_BF16,
                          .result = ELEMENT_F32};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            shared = sizes[i];
            fake_cuda_shared(shared);
            run_product(&c, i == 0 ? want : got);
            assert_memory_equal(i == 0 ? want : got, want, 3 * N * sizeof *got);
        }
        for (int64_t i = 0; i < 3 * N; i++) {
            assert_near((double)want[i], naive(&c.s, i / N, i % N), ELEMENT_F32, 200.0);
        }
    }
    shared = sizes[0];
    fake_cuda_shared(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_match),
        cmocka_unit_test(rows_do_not_depend_on_others),
        cmocka_unit_test(shared_memory_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
