// SPDX-License-Identifier: Apache-2.0
/* Activations and the gated product, values and slopes, in place where that is allowed. */
#include "matrices.h"

#include "pb/backend.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 1 << 14 };

typedef enum kind { FORWARD, BACKWARD, GATED, GATED_BACKWARD, KINDS } kind;

typedef struct act_case {
    kind kind;
    int act;
    layout l;
    enum element element;
    bool mixed;    /* the second input is of the other type */
    bool in_place; /* the result replaces the first input */
} act_case;

static float first[MOST], second[MOST], third[MOST];

/* In: x | dy, x | gate, up | dy, gate, up. */
static void run_act(const void *context, void *result)
{
    const act_case *c  = context;
    extent e           = extent_of(c->l);
    enum element other = c->mixed ? (enum element)(ELEMENT_BF16 - c->element) : c->element;
    matrix a           = matrix_new(c->l, c->element, 6.0f, 3);
    matrix b           = matrix_new(c->l, other, 6.0f, 5);
    matrix d           = matrix_new(c->l, c->element, 6.0f, 7);
    matrix out         = matrix_new(c->l, c->element, 1.0f, 9);
    matrix more        = matrix_new(c->l, c->element, 1.0f, 9);
    matrix *y          = c->in_place ? &a : &out;
    cudaError_t code   = cudaSuccess;
    matrix_dense(&a, first);
    matrix_dense(&b, second);
    matrix_dense(&d, third);
    if (c->kind == FORWARD) {
        code = launch_activation_forward(y->v, a.v, c->act, e, NULL);
    } else if (c->kind == BACKWARD) {
        code = launch_activation_backward(y->v, a.v, b.v, c->act, e, NULL);
    } else if (c->kind == GATED) {
        code = launch_gated_forward(y->v, a.v, b.v, c->act, e, NULL);
    } else {
        code = launch_gated_backward(more.v, y->v, a.v, b.v, d.v, c->act, e, NULL);
    }
    assert_int_equal(code, cudaSuccess);
    matrix_read(y);
    matrix_read(&more);
    matrix_dense(y, result);
    matrix_dense(&more, (float *)result + c->l.rows * c->l.columns);
    matrix_free(&more);
    matrix_free(&out);
    matrix_free(&d);
    matrix_free(&b);
    matrix_free(&a);
}

static double value(double x, int act)
{
    switch (act) {
    case PB_ACTIVATION_SILU:
        return x / (1.0 + exp(-x));
    case PB_ACTIVATION_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case PB_ACTIVATION_RELU:
        return x > 0.0 ? x : 0.0;
    case PB_ACTIVATION_TANH:
        return tanh(x);
    default:
        return 1.0 / (1.0 + exp(-x));
    }
}

static double slope(double x, int act)
{
    const double h = 1e-5;
    return act == PB_ACTIVATION_RELU ? (x > 0.0 ? 1.0 : 0.0)
                                     : (value(x + h, act) - value(x - h, act)) / (2.0 * h);
}

static void check_act(const act_case *c)
{
    static float got[2 * MOST];
    int64_t n = c->l.rows * c->l.columns;
    in_all_orders(run_act, c, got, (size_t)(2 * n) * sizeof *got);
    for (int64_t i = 0; i < n; i++) {
        double a = (double)first[i];
        double b = (double)second[i];
        double d = (double)third[i];
        switch (c->kind) {
        case FORWARD:
            assert_near((double)got[i], value(a, c->act), c->element, 0.3);
            break;
        case BACKWARD:
            assert_near((double)got[i], a * slope(b, c->act), c->element, 3.0);
            break;
        case GATED:
            assert_near((double)got[i], value(a, c->act) * b, c->element, 2.0);
            break;
        default:
            assert_near((double)got[i], a * value(b, c->act), c->element, 3.0);
            assert_near((double)got[n + i], a * d * slope(b, c->act), c->element, 20.0);
        }
    }
}

static void all_match(void **state)
{
    (void)state;
    for (int i = 0; i < layout_count; i++) {
        for (int n = 0; n < KINDS * 5 * 8; n++) {
            act_case c = {(enum kind)(n % KINDS),     n / KINDS % 5,   layouts[i],
                          (enum element)(n / 20 % 2), n / 40 % 2 != 0, n / 80 != 0};
            if (layouts[i].rows < 100 || n % 7 == 0) { /* a sample of the largest */
                check_act(&c);
            }
        }
    }
}

static void nan_and_infinity_pass(void **state)
{
    static const float in[8] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 0.0f, -0.0f, 100.0f};
    (void)state;
    for (int act = 0; act < 5; act++) {
        float got[8];
        void *x = device_new(in, sizeof in);
        view v  = {x, 8, NULL, ELEMENT_F32};
        assert_int_equal(launch_activation_forward(v, v, act, (extent){1, 8, 8}, NULL),
                         cudaSuccess);
        device_read(got, x, sizeof got);
        assert_true(isnan(got[0]));
        bool bounded = act == PB_ACTIVATION_TANH || act == PB_ACTIVATION_SIGMOID;
        assert_true(bounded ? got[1] == 1.0f : isinf(got[1]));
        assert_true(bounded ? got[3] == 1.0f : got[3] == 1e30f);
        assert_true(got[5] == (act == PB_ACTIVATION_SIGMOID ? 0.5f : 0.0f));
        device_free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_match),
        cmocka_unit_test(nan_and_infinity_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
