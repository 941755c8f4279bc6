// SPDX-License-Identifier: Apache-2.0
/* The backward of the whole network against finite differences of its own loss, for every method of
 * the registry: per trainable tensor along the gradient itself, which reveals wrong parts, and
 * along random directions, which reveal missing ones. */
#include "network_fixture.h"
#include "waited.h"

#include "pb/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows 0 to 3 have every kind of segment. */
enum { ROWS = 4, DIRECTIONS = 2 };

/* Relative to the norm of the tensor's gradient. The loss of some 100 nats has an F32 rounding
 * error near 1e-5; a step that changes it by 0.02 along the gradient leaves a relative error of
 * 1e-3, and the remaining margin is for higher derivatives and for the kinks of ReLU. */
#define TOLERANCE   5e-3
#define LOSS_CHANGE 0.02
#define STEP_MAX    0.02

/* The loss of a training pass; without dropout, that of the evaluation is the same. */
static double loss_of(network_fixture *f, const pb_batch *batch)
{
    const pb_method_ops *ops = f->method->ops;
    double loss              = 0.0;
    if (strcmp(ops->name, "dora") !=
        0) { /* the gradient treats its norms as constants by definition */
        assert_ok(pb_method_values_changed(f->method));
    }
    if (ops->drops != NULL && ops->drops(f->method)) {
        return network_step(f, batch, 9);
    }
    assert_ok(waited_loss(f->net, batch, &loss, NULL));
    return loss;
}

/* dL/ds of L(value + s · direction) at s = 0 by a five-point stencil, error O(step⁴). */
static double slope(network_fixture *f, const pb_batch *batch, const pb_tensor *value,
                    const double *direction, int64_t n, double step)
{
    static const double at[]     = {1, -1, 2, -2};
    static const double weight[] = {8, -8, -1, 1};
    float *saved                 = host_values(f->backend, value);
    float *moved                 = host_values(f->backend, value);
    double sum                   = 0.0;
    for (int k = 0; k < 4; k++) {
        for (int64_t i = 0; i < n; i++) {
            moved[i] = (float)((double)saved[i] + at[k] * step * direction[i]);
        }
        host_write(f->backend, value, moved);
        sum += weight[k] * loss_of(f, batch);
    }
    host_write(f->backend, value, saved);
    free(moved);
    free(saved);
    return sum / (12.0 * step);
}

static double norm_of(const double *x, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    return sqrt(sum);
}

/* `which` 0: along the gradient; else random. */
static void check_direction(network_fixture *f, const method_case *c, const pb_batch *batch,
                            const pb_trainable *t, const double *gradient, int which)
{
    int64_t n         = pb_tensor_count(&t->value);
    pb_random stream  = pb_random_stream(2, PB_RANDOM_TEST, (uint64_t)which);
    double *direction = malloc((size_t)n * sizeof *direction);
    double norm       = norm_of(gradient, n);
    double expected   = 0.0;
    assert_non_null(direction);
    for (int64_t i = 0; i < n; i++) {
        direction[i] = which == 0 ? gradient[i] : pb_random_normal(stream, (uint64_t)i);
    }
    double length = norm_of(direction, n);
    for (int64_t i = 0; i < n; i++) {
        direction[i] /= length;
        expected += direction[i] * gradient[i];
    }
    double measured = slope(f, batch, &t->value, direction, n, fmin(STEP_MAX, LOSS_CHANGE / norm));
    if (!(fabs(measured - expected) <= TOLERANCE * norm)) {
        fail_msg("%s: %s, direction %d: slope %g, gradient %g, norm %g", method_case_text(c),
                 t->name, which, measured, expected, norm);
    }
    free(direction);
}

/* `first`: the first of the directions to check. */
static void check_case(const method_case *c, bool biases, int first)
{
    network_fixture f;
    network_rows rows;
    network_fixture_open(&f, c, biases, 1);
    network_rows_fill(&rows);
    pb_batch batch = network_pack(&f, rows.samples, ROWS, true);
    int64_t n      = f.method->parameters;
    double *grads  = calloc((size_t)n + 1, sizeof *grads);
    int64_t at     = 0;
    assert_non_null(grads);
    assert_true(network_step(&f, &batch, 9) == loss_of(&f, &batch));
    (void)network_step(&f, &batch, 9);
    float *taken = host_values(f.backend, &f.method->grads);
    for (int64_t i = 0; i < n; i++) {
        grads[i] = (double)taken[i];
    }
    free(taken);
    for (int64_t i = 0; i < f.method->count; i++) {
        const pb_trainable *t = &f.method->trainables[i];
        if (t->frozen) {
            continue;
        }
        if (!(norm_of(grads + at, pb_tensor_count(&t->value)) > 1e-3)) {
            fail_msg("%s: %s has no gradient", method_case_text(c), t->name);
        }
        for (int which = first; which < DIRECTIONS; which++) {
            check_direction(&f, c, &batch, t, grads + at, which);
        }
        at += pb_tensor_count(&t->value);
    }
    free(grads);
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

/* Finite differences take many passes. On the CPU they prove every method; over `guarded`, where a
 * pass takes several times as long, every third one, and over `cuda` still fewer. */
static int distance(void)
{
    return strcmp(device_name(), "guarded") == 0 ? 3 : 2 * method_case_step() - 1;
}

static void the_gradient_of_every_method_is_the_slope_of_the_loss(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += distance()) {
        check_case(method_case_at(i), false, 0);
    }
}

static void the_gradient_is_right_with_biases_too(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i += distance()) {
        check_case(method_case_at(i), true, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_of_every_method_is_the_slope_of_the_loss),
        cmocka_unit_test(the_gradient_is_right_with_biases_too),
    };
    return cmocka_run_group_tests_name("conformance_method_gradients", tests, NULL, NULL);
}
