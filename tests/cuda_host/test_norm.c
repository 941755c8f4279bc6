// SPDX-License-Identifier: Apache-2.0
/* RMS norm, forward and backward: rows of a warp and of a block, wider than its registers too. */
#include "matrices.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 1 << 16, MOST_COLUMNS = 9000 };

typedef struct norm_case {
    layout l;
    enum element x, y, dx; /* y: and dy */
    bool backward, add;
} norm_case;

static float weight[MOST_COLUMNS], x_values[MOST], dy_values[MOST], dx_before[MOST];

static norm_shape shape_of(const norm_case *c, const float *device_weight)
{
    return (norm_shape){.rows    = c->l.rows,
                        .columns = c->l.columns,
                        .weight  = device_weight,
                        .eps     = 1e-5f,
                        .offset  = 1.0f};
}

static void run_norm(const void *context, void *result)
{
    const norm_case *c = context;
    matrix x           = matrix_new(c->l, c->x, 1.0f, 3);
    matrix y           = matrix_new(c->l, c->y, 1.0f, 5);
    matrix dx          = matrix_new(c->l, c->dx, 1.0f, 7);
    float *w           = device_new(weight, sizeof weight);
    float *scale       = device_new(NULL, (size_t)c->l.rows * sizeof *scale);
    matrix *out        = c->backward ? &dx : &y;
    matrix_dense(&x, x_values);
    matrix_dense(&y, dy_values);
    matrix_dense(&dx, dx_before);
    assert_int_equal(
        c->backward ? launch_rmsnorm_backward(dx.v, scale, y.v, x.v, shape_of(c, w), c->add, NULL)
                    : launch_rmsnorm_forward(y.v, x.v, shape_of(c, w), NULL),
        cudaSuccess);
    matrix_read(out);
    matrix_dense(out, result);
    device_read((float *)result + c->l.rows * c->l.columns, scale,
                (size_t)c->l.rows * sizeof *scale);
    device_free(scale);
    device_free(w);
    matrix_free(&dx);
    matrix_free(&y);
    matrix_free(&x);
}

static void check_row(const norm_case *c, int64_t row, const float *got, double scale)
{
    int64_t n       = c->l.columns;
    const float *x  = x_values + row * n;
    const float *dy = dy_values + row * n;
    double squares  = 0;
    double products = 0;
    for (int64_t j = 0; j < n; j++) {
        squares += (double)x[j] * (double)x[j];
        products += (double)dy[j] * (1.0 + (double)weight[j]) * (double)x[j];
    }
    double s = 1.0 / sqrt(squares / (double)n + 1e-5);
    for (int64_t j = 0; j < n; j++) {
        double w = 1.0 + (double)weight[j];
        if (!c->backward) {
            assert_near((double)got[j], (double)x[j] * s * w, c->y, 0.3);
            continue;
        }
        double d = s * (double)dy[j] * w - (double)x[j] * s * s * s * products / (double)n;
        assert_near((double)got[j], d + (c->add ? (double)dx_before[row * n + j] : 0.0), c->dx,
                    3.0);
        assert_near(scale, s, ELEMENT_F32, 0.1);
    }
}

static void check_norm(const norm_case *c)
{
    static float got[MOST + MOST_COLUMNS];
    int64_t n = c->l.rows * c->l.columns;
    in_all_orders(run_norm, c, got, (size_t)(n + c->l.rows) * sizeof *got);
    for (int64_t i = 0; i < c->l.rows; i++) {
        check_row(c, i, got + i * c->l.columns, (double)got[n + i]);
    }
}

static void all_match(void **state)
{
    static const layout wide[] = {{2, 256, 0, 0},  {33, 264, 0, 0}, {3, 1024, 8, 0},
                                  {2, 1032, 0, 0}, {1, 4096, 0, 0}, {2, 4104, 0, 0},
                                  {1, 8200, 0, 0}, {1, 8197, 0, 1}};
    enum { WIDE = sizeof wide / sizeof wide[0] };
    (void)state;
    random_floats(weight, MOST_COLUMNS, 0.5f, 11);
    for (int i = 0; i < layout_count + WIDE; i++) {
        layout l = i < layout_count ? layouts[i] : wide[i - layout_count];
        for (int types = 0; types < 8; types++) {
            norm_case c = {.l  = l,
                           .x  = (enum element)(types % 2),
                           .y  = (enum element)(types / 2 % 2),
                           .dx = (enum element)(types / 4)};
            if (types < 4) {
                check_norm(&c);
            }
            c.backward = true;
            c.add      = types % 2 != 0;
            if (l.columns > 1) { /* of a single column the gradient is rounding alone */
                check_norm(&c);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_match)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
