// SPDX-License-Identifier: Apache-2.0
/* Narrow products in BF16 against F64, with masks, in all orders; the bits of a row do not depend
 * on the other rows. */
#include "launch.h"

#include "pb/random.h"
#include "pb/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 23, GAP = 8 };

typedef struct rank_case {
    int64_t rows, columns, r;
    double p;
    bool add;
} rank_case;

static double want[1 << 18];
static float x_values[MOST], u_values[MOST], a_values[MOST], y_values[MOST], result[MOST];

static drop_mask mask_of(const rank_case *c)
{
    return c->p > 0 ? device_mask(c->p) : (drop_mask){0};
}

static low_rank_shape shape_of(const rank_case *c)
{
    return (low_rank_shape){c->rows, c->columns, c->r, 0.75f, c->add, true};
}

static double dropped(const rank_case *c, double x, int64_t row, int64_t column)
{
    uint64_t index = (uint64_t)(row * c->columns + column);
    bool kept      = c->p == 0 || pb_random_uniform(device_stream(), index) >= c->p;
    return kept ? x / (1 - c->p) : 0.0;
}

/* Relative root mean square error of `got` [n] against `want`. */
static void assert_close(const float *got, int64_t n, double tolerance)
{
    double error  = 0;
    double square = 0;
    for (int64_t i = 0; i < n; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        square += want[i] * want[i];
    }
    assert_true(error <= tolerance * tolerance * square);
}

static int64_t wide(const rank_case *c)
{
    return c->columns + GAP;
}

/* out [rows, r] BF16 */
static void run_down(const void *context, void *out)
{
    const rank_case *c   = context;
    low_rank_shape shape = shape_of(c);
    random_floats(x_values, c->rows * wide(c), 1.0f, 3);
    random_floats(a_values, c->r * c->columns, 1.0f, 5);
    void *x     = device_elements(x_values, c->rows * wide(c), ELEMENT_BF16);
    void *a     = device_elements(a_values, c->r * c->columns, ELEMENT_F32);
    void *y     = device_new(NULL, (size_t)(c->rows * c->r) * sizeof(uint16_t));
    void *parts = device_new(NULL, (size_t)lowrank_down_parts(shape) * sizeof(float));
    assert_int_equal(launch_lowrank_down((view){y, c->r, NULL, ELEMENT_BF16}, (view){0}, parts,
                                         (view){x, wide(c), NULL, ELEMENT_BF16},
                                         (low_rank_factor){a, c->columns, 1, ELEMENT_F32},
                                         mask_of(c), shape, NULL),
                     cudaSuccess);
    device_floats(out, y, c->rows * c->r, ELEMENT_BF16);
    device_free(parts);
    device_free(y);
    device_free(a);
    device_free(x);
}

/* y [rows, columns] BF16, with gaps; the factor is [columns, r]. */
static void run_up(const void *context, void *out)
{
    const rank_case *c = context;
    random_floats(u_values, c->rows * c->r, 1.0f, 3);
    random_floats(a_values, c->r * c->columns, 1.0f, 5);
    random_floats(y_values, c->rows * wide(c), 1.0f, 7);
    void *u = device_elements(u_values, c->rows * c->r, ELEMENT_BF16);
    void *a = device_elements(a_values, c->r * c->columns, ELEMENT_F32);
    void *y = device_elements(y_values, c->rows * wide(c), ELEMENT_BF16);
    assert_int_equal(launch_lowrank_up((view){y, wide(c), NULL, ELEMENT_BF16},
                                       (view){u, c->r, NULL, ELEMENT_BF16},
                                       (low_rank_factor){a, 1, c->r, ELEMENT_F32}, mask_of(c),
                                       shape_of(c), NULL),
                     cudaSuccess);
    device_floats(out, y, c->rows * wide(c), ELEMENT_BF16);
    device_free(y);
    device_free(a);
    device_free(u);
}

/* g [r, columns] F32, added to */
static void run_grad(const void *context, void *out)
{
    const rank_case *c   = context;
    low_rank_shape shape = shape_of(c);
    random_floats(u_values, c->rows * c->r, 1.0f, 3);
    random_floats(x_values, c->rows * wide(c), 1.0f, 5);
    random_floats(a_values, c->r * c->columns, 1.0f, 7);
    void *u     = device_elements(u_values, c->rows * c->r, ELEMENT_BF16);
    void *x     = device_elements(x_values, c->rows * wide(c), ELEMENT_BF16);
    void *g     = device_elements(a_values, c->r * c->columns, ELEMENT_F32);
    void *parts = device_new(NULL, (size_t)lowrank_grad_parts(shape) * sizeof(float));
    assert_int_equal(launch_lowrank_grad((low_rank_factor){g, c->columns, 1, ELEMENT_F32}, parts,
                                         (view){u, c->r, NULL, ELEMENT_BF16},
                                         (view){x, wide(c), NULL, ELEMENT_BF16}, mask_of(c), shape,
                                         NULL),
                     cudaSuccess);
    device_floats(out, g, c->r * c->columns, ELEMENT_F32);
    device_free(parts);
    device_free(g);
    device_free(x);
    device_free(u);
}

static const rank_case cases[] = {
    {1, 1, 1, 0.0, false},    {70, 136, 8, 0.25, true},  {65, 1100, 16, 0.0, true},
    {130, 72, 17, 0.5, true}, {33, 64, 72, 0.1, false},  {600, 40, 6, 0.1, true},
    {0, 8, 4, 0.1, true},     {1100, 24, 40, 0.0, true},
};

/* Half a unit in the last place of BF16 is 2^-9 of a value. */
#define BF16_TOLERANCE 4e-3

static void rows_become_narrow(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const rank_case *c = &cases[k];
        in_all_orders(run_down, c, result, (size_t)(c->rows * c->r) * sizeof *result);
        for (int64_t at = 0; at < c->rows * c->r; at++) {
            double sum = 0;
            for (int64_t j = 0; j < c->columns; j++) {
                sum += dropped(c, (double)x_values[at / c->r * wide(c) + j], at / c->r, j) *
                       (double)a_values[at % c->r * c->columns + j];
            }
            want[at] = 0.75 * sum;
        }
        assert_close(result, c->rows * c->r, BF16_TOLERANCE);
    }
}

static void narrow_rows_become_wide(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const rank_case *c = &cases[k];
        in_all_orders(run_up, c, result, (size_t)(c->rows * wide(c)) * sizeof *result);
        for (int64_t at = 0; at < c->rows * wide(c); at++) {
            int64_t row    = at / wide(c);
            int64_t column = at % wide(c);
            double sum     = 0;
            want[at]       = (double)y_values[at];
            if (column >= c->columns) {
                assert_true(result[at] == y_values[at]);
                continue;
            }
            for (int64_t j = 0; j < c->r; j++) {
                sum += (double)u_values[row * c->r + j] * (double)a_values[column * c->r + j];
            }
            want[at] = (c->add ? want[at] : 0.0) + dropped(c, 0.75 * sum, row, column);
        }
        assert_close(result, c->rows * wide(c), BF16_TOLERANCE);
    }
}

static void gradients_of_factors_are_added(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const rank_case *c = &cases[k];
        in_all_orders(run_grad, c, result, (size_t)(c->r * c->columns) * sizeof *result);
        for (int64_t at = 0; at < c->r * c->columns; at++) {
            int64_t column = at % c->columns;
            double sum     = 0;
            for (int64_t row = 0; row < c->rows; row++) {
                sum += (double)u_values[row * c->r + at / c->columns] *
                       dropped(c, (double)x_values[row * wide(c) + column], row, column);
            }
            want[at] = (double)a_values[at] + 0.75 * sum;
        }
        assert_close(result, c->r * c->columns, BF16_TOLERANCE);
    }
}

/* With few rows, blocks share the columns; with many, a block has them all. */
static void bits_of_a_row_do_not_depend_on_the_others(void **state)
{
    enum { FEW = 3, MANY = 64 * 127 + 1, COLUMNS = 520, R = 2 };
    static float few[FEW * R], many[MANY * R];
    rank_case c = {FEW, COLUMNS, R, 0.1, false};
    (void)state;
    assert_true(lowrank_down_parts(shape_of(&c)) > 0);
    run_down(&c, few);
    c.rows = MANY;
    assert_true(lowrank_down_parts(shape_of(&c)) == 0);
    run_down(&c, many);
    assert_memory_equal(few, many, sizeof few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_narrow),
        cmocka_unit_test(narrow_rows_become_wide),
        cmocka_unit_test(gradients_of_factors_are_added),
        cmocka_unit_test(bits_of_a_row_do_not_depend_on_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
