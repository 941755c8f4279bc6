// SPDX-License-Identifier: Apache-2.0
/* Dropout has the masks of pb_random_uniform, bit for bit. */
#include "matrices.h"

#include <stdlib.h>

enum { MOST = 1 << 14 };

typedef struct drop_case {
    layout l;
    enum element element;
    double p;
    bool in_place;
} drop_case;

static float before[MOST];

static void run_drop(const void *context, void *result)
{
    const drop_case *c = context;
    matrix x           = matrix_new(c->l, c->element, 1.0f, 3);
    matrix y           = matrix_new(c->l, c->element, 1.0f, 5);
    matrix *to         = c->in_place ? &x : &y;
    matrix_dense(&x, before);
    drop_mask mask = device_mask(c->p);
    assert_int_equal(launch_dropout(to->v, x.v, mask, extent_of(c->l), NULL), cudaSuccess);
    matrix_read(to);
    matrix_dense(to, result);
    matrix_free(&y);
    matrix_free(&x);
}

static void masks_are_those_of_the_stream(void **state)
{
    static float got[MOST];
    static const double chances[] = {0.0, 0.1, 0.9};
    const pb_random stream        = device_stream();
    (void)state;
    for (int i = 0; i < layout_count * 12; i++) {
        drop_case c = {layouts[i % layout_count], (enum element)(i / layout_count % 2),
                       chances[i / layout_count / 2 % 3], i / layout_count / 6 != 0};
        int64_t n   = c.l.rows * c.l.columns;
        in_all_orders(run_drop, &c, got, (size_t)n * sizeof *got);
        for (int64_t j = 0; j < n; j++) {
            if (pb_random_uniform(stream, (uint64_t)j) >= c.p) {
                assert_near((double)got[j], (double)before[j] / (1.0 - c.p), c.element, 1e-3);
                assert_true(before[j] == 0.0f || got[j] != 0.0f);
            } else {
                assert_true(got[j] == 0.0f);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(masks_are_those_of_the_stream)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
