// SPDX-License-Identifier: Apache-2.0
/* Sums of columns: with and without a second factor and factors of rows, up to several chunks. */
#include "launch.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 1 << 18, MOST_COLUMNS = 300 };

typedef struct sum_case {
    int64_t rows, columns, stride;
    enum element a, b;
    bool product, scaled;
} sum_case;

static float a_values[MOST], b_values[MOST], scales[MOST], before[MOST_COLUMNS];

static void run_sum(const void *context, void *result)
{
    const sum_case *c = context;
    int64_t n         = c->rows * c->stride;
    random_floats(a_values, n, 1.0f, 3);
    random_floats(b_values, n, 1.0f, 5);
    random_floats(scales, c->rows, 2.0f, 7);
    random_floats(before, c->columns, 1.0f, 9);
    void *a     = device_elements(a_values, n, c->a);
    void *b     = device_elements(b_values, n, c->b);
    void *scale = device_elements(scales, c->rows, ELEMENT_F32);
    void *out   = device_elements(before, c->columns, ELEMENT_F32);
    void *parts = device_new(NULL, (size_t)(c->rows / COLUMN_SUM_CHUNK + 1) * (size_t)c->columns *
                                       sizeof(double));
    assert_int_equal(launch_column_sum(out, parts, (view){a, c->stride, NULL, c->a},
                                       (view){c->product ? b : NULL, c->stride, NULL, c->b},
                                       c->scaled ? scale : NULL, c->rows, c->columns, NULL),
                     cudaSuccess);
    device_floats(result, out, c->columns, ELEMENT_F32);
    device_free(parts);
    device_free(out);
    device_free(scale);
    device_free(b);
    device_free(a);
}

/* As the CPU adds: 32 rows in F32, these sums in F64. */
static float naive_sum(const sum_case *c, int64_t column)
{
    double total = 0;
    for (int64_t block = 0; block < c->rows; block += 32) {
        float part = 0;
        for (int64_t i = block; i < block + 32 && i < c->rows; i++) {
            float x = a_values[i * c->stride + column];
            x       = c->product ? x * b_values[i * c->stride + column] : x;
            x       = c->scaled ? x * scales[i] : x;
            part += x;
        }
        total += (double)part;
    }
    return before[column] + (float)total;
}

static void columns_are_summed_as_on_the_cpu(void **state)
{
    static const int64_t shapes[][2] = {{1, 1},    {3, 7},    {32, 32},   {33, 100},
                                        {512, 65}, {513, 40}, {1700, 33}, {0, 8}};
    static float result[MOST_COLUMNS];
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (unsigned mode = 0; mode < 16; mode++) {
            sum_case c = {.rows    = shapes[s][0],
                          .columns = shapes[s][1],
                          .stride  = shapes[s][1] + 3,
                          .a       = (mode & 1) != 0 ? ELEMENT_BF16 : ELEMENT_F32,
                          .b       = (mode & 2) != 0 ? ELEMENT_BF16 : ELEMENT_F32,
                          .product = (mode & 4) != 0,
                          .scaled  = (mode & 8) != 0};
            in_all_orders(run_sum, &c, result, (size_t)c.columns * sizeof *result);
            for (int64_t j = 0; j < c.columns; j++) {
                float want = naive_sum(&c, j);
                if (c.rows <= COLUMN_SUM_CHUNK) {
                    assert_true(result[j] == want);
                } else { /* sums of chunks are rounded in F64 */
                    assert_true(fabsf(result[j] - want) <= 1e-6f * fabsf(want));
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_summed_as_on_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
