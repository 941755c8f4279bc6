// SPDX-License-Identifier: Apache-2.0
/* Copies, conversions, rows by lists, sums and scales by columns: every type and layout, in place
 * where that is allowed. */
#include "matrices.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 14 };

typedef enum kind { CONVERT, GATHER, PUT_ROWS, AXPY, SCALE, SCALE_IN_PLACE, BIAS, KINDS } kind;

typedef struct map_case {
    kind kind;
    layout l;
    enum element y, x;
} map_case;

static float vector[MOST];
static int32_t rows[MOST];
static float y_before[MOST], x_before[MOST];

static cudaError_t launch(const map_case *c, view y, view x, const float *device_vector,
                          const int32_t *list)
{
    extent e = extent_of(c->l);
    switch (c->kind) {
    case GATHER:
        x.list = list;
        return launch_convert(y, x, e, NULL);
    case PUT_ROWS:
        y.list = list;
        return launch_convert(y, x, e, NULL);
    case AXPY:
        return launch_axpy(y, -0.75f, x, e, NULL);
    case SCALE:
        return launch_column_scale(y, x, device_vector, e, NULL);
    case SCALE_IN_PLACE:
        return launch_column_scale(y, y, device_vector, e, NULL);
    case BIAS:
        return launch_bias(y, device_vector, e, NULL);
    default:
        return launch_convert(y, x, e, NULL);
    }
}

/* The x of a gather, and the y of a put, are the longer side. */
static layout side(const map_case *c, kind longer)
{
    layout l = c->l;
    l.rows += c->kind == longer ? 3 : 0;
    return l;
}

static void run_map(const void *context, void *result)
{
    const map_case *c = context;
    matrix y          = matrix_new(side(c, PUT_ROWS), c->y, 1.0f, 3);
    matrix x          = matrix_new(side(c, GATHER), c->x, 1.0f, 5);
    float *scale      = device_new(vector, sizeof vector);
    int32_t *list     = device_new(rows, sizeof rows);
    matrix_dense(&y, y_before);
    matrix_dense(&x, x_before);
    assert_int_equal(launch(c, y.v, x.v, scale, list), cudaSuccess);
    matrix_read(&y);
    matrix_dense(&y, result);
    device_free(list);
    device_free(scale);
    matrix_free(&x);
    matrix_free(&y);
}

static double naive(const map_case *c, int64_t row, int64_t column)
{
    int64_t n = c->l.columns;
    double y  = (double)y_before[row * n + column];
    double x  = (double)x_before[row * n + column];
    switch (c->kind) {
    case GATHER:
        return (double)x_before[rows[row] * n + column];
    case AXPY:
        return y - 0.75 * x;
    case SCALE:
        return x * (double)vector[column];
    case SCALE_IN_PLACE:
        return y * (double)vector[column];
    case BIAS:
        return y + (double)vector[column];
    default:
        return x;
    }
}

static void check_map(const map_case *c)
{
    static float got[MOST];
    int64_t n = c->l.columns;
    in_all_orders(run_map, c, got, (size_t)(side(c, PUT_ROWS).rows * n) * sizeof *got);
    for (int64_t i = 0; i < c->l.rows; i++) {
        int64_t row = c->kind == PUT_ROWS ? rows[i] : i;
        for (int64_t j = 0; j < n; j++) {
            assert_near((double)got[row * n + j], naive(c, i, j), c->y, 0.1);
        }
    }
    for (int64_t j = 0; c->kind == PUT_ROWS && j < 3 * n; j++) { /* rows that are not put */
        int64_t row = (c->l.rows + j / n) * 11 % (c->l.rows + 3);
        assert_true(got[row * n + j % n] == y_before[row * n + j % n]);
    }
}

static void maps_match(void **state)
{
    (void)state;
    random_floats(vector, MOST, 2.0f, 11);
    for (int i = 0; i < layout_count; i++) {
        for (int64_t j = 0; j < layouts[i].rows; j++) { /* 11 divides no number of rows + 3 here */
            rows[j] = (int32_t)(j * 11 % (layouts[i].rows + 3));
        }
        for (int k = 0; k < KINDS; k++) {
            for (int types = 0; types < 6; types++) {
                map_case c = {(enum kind)k, layouts[i], (enum element)(types % 2),
                              (enum element)(types / 2)};
                if (c.x != ELEMENT_F16 || k <= PUT_ROWS) {
                    check_map(&c);
                }
            }
        }
    }
}

/* A run that is cut into rows, the last of which is short. */
static void last_row_is_short(void **state)
{
    static float got[MOST];
    enum { N = 5 * 64 + 13 };
    (void)state;
    for (int element = ELEMENT_F32; element <= ELEMENT_BF16; element++) {
        matrix y   = matrix_new((layout){1, N, 0, 0}, (enum element)element, 1.0f, 3);
        matrix x   = matrix_new((layout){1, N, 0, 0}, (enum element)element, 1.0f, 5);
        y.v.stride = x.v.stride = 64;
        assert_int_equal(launch_axpy(y.v, 2.0f, x.v, (extent){6, 64, 13}, NULL), cudaSuccess);
        matrix_read(&y);
        matrix_dense(&y, got);
        for (int64_t j = 0; j < N; j++) {
            assert_near((double)got[j],
                        (double)matrix_before(&y, 0, j) + 2.0 * (double)matrix_before(&x, 0, j),
                        (enum element)element, 0.1);
        }
        matrix_free(&x);
        matrix_free(&y);
    }
}

typedef struct copy_case {
    int64_t rows, columns, to_step, from_step, to_shift, from_shift;
    bool zero;
} copy_case;

static void run_copy(const void *context, void *result)
{
    static unsigned char bytes[MOST];
    const copy_case *c = context;
    for (int i = 0; i < MOST; i++) {
        bytes[i] = (unsigned char)(i * 37 + 11);
    }
    char *to   = device_new(NULL, MOST);
    char *from = device_new(bytes, MOST);
    memset(bytes, 0xa5, MOST);
    device_write(to, bytes, MOST);
    assert_int_equal(launch_copy(to + c->to_shift, c->to_step,
                                 c->zero ? NULL : from + c->from_shift, c->from_step,
                                 (extent){c->rows, c->columns, c->columns}, NULL),
                     cudaSuccess);
    device_read(result, to, MOST);
    device_free(from);
    device_free(to);
}

static void bytes_are_copied_and_cleared(void **state)
{
    static const copy_case cases[] = {
        {5, 64, 80, 96, 16, 0, false}, {5, 60, 60, 64, 4, 8, false}, {70, 6, 8, 6, 2, 2, false},
        {9, 7, 11, 7, 1, 3, false},    {5, 64, 80, 0, 16, 0, true},  {9, 7, 11, 0, 1, 0, true},
        {1, 4096, 0, 0, 0, 0, false},
    };
    static unsigned char got[MOST];
    static unsigned char want[MOST];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const copy_case *c = &cases[i];
        memset(want, 0xa5, MOST);
        for (int64_t j = 0; j < c->rows * c->columns; j++) {
            int64_t row    = j / c->columns;
            int64_t column = j % c->columns;
            int64_t from   = c->from_shift + row * c->from_step + column;
            want[c->to_shift + row * c->to_step + column] =
                c->zero ? 0 : (unsigned char)(from * 37 + 11);
        }
        in_all_orders(run_copy, c, got, MOST);
        assert_memory_equal(got, want, MOST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_match),
        cmocka_unit_test(last_row_is_short),
        cmocka_unit_test(bytes_are_copied_and_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
