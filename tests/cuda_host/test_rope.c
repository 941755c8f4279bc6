// SPDX-License-Identifier: Apache-2.0
/* The rotary embedding and its inverse, in place. */
#include "matrices.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 1 << 14, POSITIONS = 20 };

typedef struct rope_case {
    int64_t rows, heads, width, gap, shift, table_gap;
    enum element element;
    bool inverse;
} rope_case;

static float before[MOST], angles[MOST];
static int32_t positions[MOST];

static void run_rope(const void *context, void *result)
{
    const rope_case *c = context;
    matrix x =
        matrix_new((layout){c->rows, c->heads * c->width, c->gap, c->shift}, c->element, 1.0f, 3);
    matrix table = matrix_new((layout){POSITIONS, c->width, c->table_gap, 0}, ELEMENT_F32, 1.0f, 5);
    int32_t *list = device_new(positions, sizeof positions);
    matrix_dense(&x, before);
    matrix_dense(&table, angles);
    table.v.list = list;
    assert_int_equal(
        launch_rope(x.v, table.v, c->rows, c->heads, c->width, c->inverse ? -1.0f : 1.0f, NULL),
        cudaSuccess);
    matrix_read(&x);
    matrix_dense(&x, result);
    device_free(list);
    matrix_free(&table);
    matrix_free(&x);
}

static void heads_turn(void **state)
{
    static float got[MOST];
    static const rope_case cases[] = {
        {1, 1, 2, 0, 0, 0, 0, false},   {7, 3, 8, 0, 0, 0, 0, true},
        {5, 5, 16, 0, 0, 0, 0, false},  {5, 5, 16, 3, 0, 0, 0, true},
        {3, 9, 64, 8, 0, 8, 0, false},  {3, 9, 64, 8, 0, 3, 0, false},
        {2, 4, 128, 0, 8, 0, 0, false}, {2, 33, 32, 0, 1, 0, 0, true},
        {17, 2, 96, 0, 0, 0, 0, false}, {2, 3, 20, 0, 0, 0, 0, true},
    };
    (void)state;
    for (int64_t i = 0; i < MOST; i++) {
        positions[i] = (int32_t)(i * 3 % POSITIONS);
    }
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        rope_case c  = cases[i / 2];
        int64_t n    = c.heads * c.width;
        int64_t half = c.width / 2;
        c.element    = (enum element)(i % 2);
        in_all_orders(run_rope, &c, got, (size_t)(c.rows * n) * sizeof *got);
        for (int64_t k = 0; k < c.rows * n; k++) {
            int64_t d         = k % c.width;
            const float *turn = angles + positions[k / n] * c.width;
            double sign       = (d < half) == c.inverse ? 1.0 : -1.0;
            double other      = sign * (double)before[d < half ? k + half : k - half];
            double want =
                (double)before[k] * (double)turn[d % half] + other * (double)turn[half + d % half];
            assert_near((double)got[k], want, c.element, 0.3);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(heads_turn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
