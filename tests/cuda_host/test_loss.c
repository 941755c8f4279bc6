// SPDX-License-Identifier: Apache-2.0
/* Cross-entropy against F64, extreme logits, and choices. */
#include "launch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, MOST = 20000 };

typedef struct loss_case {
    int64_t columns, stride;
    float range, scale;
} loss_case;

typedef struct loss_result {
    double losses[ROWS];
    float logits[ROWS * MOST];
} loss_result;

static float before[ROWS * MOST];

static int32_t target_of(const loss_case *c, int row)
{
    return (int32_t)(row * 31 % c->columns);
}

static void run_loss(const void *context, void *result)
{
    const loss_case *c    = context;
    loss_result *r        = result;
    int32_t targets[ROWS] = {target_of(c, 0), target_of(c, 1), target_of(c, 2)};
    random_floats(before, ROWS * c->stride, c->range, 3);
    void *logits = device_elements(before, ROWS * c->stride, ELEMENT_F32);
    void *losses = device_new(NULL, sizeof r->losses);
    void *list   = device_new(targets, sizeof targets);
    void *scale  = device_new(&c->scale, sizeof c->scale);
    assert_int_equal(launch_cross_entropy(losses, logits, c->stride, list, ROWS, c->columns,
                                          c->scale != 0.0f ? scale : NULL, NULL),
                     cudaSuccess);
    device_read(r->losses, losses, sizeof r->losses);
    device_floats(r->logits, logits, ROWS * c->stride, ELEMENT_F32);
    device_free(scale);
    device_free(list);
    device_free(losses);
    device_free(logits);
}

static void check_row(const loss_case *c, const loss_result *r, int row)
{
    const float *x  = before + row * c->stride;
    const float *dx = r->logits + row * c->stride;
    int32_t target  = target_of(c, row);
    double max      = -INFINITY;
    double sum      = 0;
    for (int64_t j = 0; j < c->columns; j++) {
        max = fmax(max, (double)x[j]);
    }
    for (int64_t j = 0; j < c->columns; j++) {
        sum += exp((double)x[j] - max);
    }
    double loss = max + log(sum) - (double)x[target];
    assert_true(fabs(r->losses[row] - loss) <= 1e-6 * (1.0 + fabs(loss)));
    for (int64_t j = 0; j < c->stride; j++) {
        double p    = exp((double)x[j] - max) / sum;
        double want = (double)c->scale * (j == target ? p - 1.0 : p);
        if (c->scale == 0.0f || j >= c->columns) {
            assert_true(dx[j] == x[j]);
        } else {
            assert_true(fabs((double)dx[j] - want) <= 2e-6 * fabs(want) + 1e-9);
        }
    }
}

static void the_loss_and_its_gradient_are_those_of_f64(void **state)
{
    static const int64_t columns[] = {1, 2, 10, 1001, 4096, 4097, 19990};
    static loss_result result;
    (void)state;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        for (int mode = 0; mode < 4; mode++) {
            loss_case c = {.columns = columns[i],
                           .stride  = (mode & 1) != 0 ? (columns[i] + 3) / 4 * 4 : columns[i] + 5,
                           .range   = columns[i] % 2 == 0 ? 1.0f : 30.0f,
                           .scale   = (mode & 2) != 0 ? 0.375f : 0.0f};
            memset(&result, 0, sizeof result);
            in_all_orders(run_loss, &c, &result,
                          offsetof(loss_result, logits) +
                              (size_t)(ROWS * c.stride) * sizeof(float));
            for (int row = 0; row < ROWS; row++) {
                check_row(&c, &result, row);
            }
        }
    }
}

/* The loss and the first gradient of one row. */
static double loss_of(const float *row, int64_t n, int32_t target, float *gradient)
{
    static const float one = 1.0f;
    double loss            = 0;
    void *logits           = device_new(row, (size_t)n * sizeof *row);
    void *losses           = device_new(NULL, sizeof loss);
    void *list             = device_new(&target, sizeof target);
    void *scale            = device_new(&one, sizeof one);
    assert_int_equal(launch_cross_entropy(losses, logits, n, list, 1, n, scale, NULL), cudaSuccess);
    device_read(&loss, losses, sizeof loss);
    device_read(gradient, logits, sizeof *gradient);
    device_free(scale);
    device_free(list);
    device_free(losses);
    device_free(logits);
    return loss;
}

static void extreme_logits_count_as_on_the_cpu(void **state)
{
    float g;
    (void)state;
    assert_true(isnan(loss_of((float[]){0.0f, NAN, 1.0f}, 3, 0, &g)) && isnan(g));
    assert_true(isnan(loss_of((float[]){NAN, -INFINITY, 1.0f}, 3, 2, &g)) && isnan(g));
    assert_true(isnan(loss_of((float[]){0.0f, INFINITY, 1.0f}, 3, 0, &g)));
    assert_true(loss_of((float[]){INFINITY, 0.0f, 1.0f}, 3, 0, &g) == 0.0 && isnan(g));
    assert_true(isnan(loss_of((float[]){-INFINITY, -INFINITY}, 2, 0, &g)));
    assert_true(loss_of((float[]){-INFINITY, 0.0f, 0.0f}, 3, 0, &g) == INFINITY && g == -1.0f);
    assert_true(fabs(loss_of((float[]){0.0f, -INFINITY, 0.0f}, 3, 0, &g) - log(2.0)) < 1e-7);
    assert_true(fabs(loss_of((float[]){-300.0f, 0.0f, 0.0f}, 3, 0, &g) - 300.0 - log(2.0)) < 1e-6);
    assert_true(g == -1.0f);
    double others = exp(-20.0) + exp(-21.0);
    assert_true(fabs(loss_of((float[]){0.0f, -20.0f, -21.0f}, 3, 0, &g) - log1p(others)) <
                1e-6 * others);
    assert_true(fabs((double)g + others / (1.0 + others)) < 1e-6 * others);
}

static void losses_are_added_in_order(void **state)
{
    enum { N = 2500 };
    static float values[N];
    static double losses[N];
    (void)state;
    random_floats(values, N, 1.0f, 3);
    for (int n = 0; n <= N; n += 1250) {
        double want  = 0;
        double first = 0.125;
        double sum   = 0;
        for (int i = 0; i < n; i++) {
            losses[i] = exp(10.0 * (double)values[i]);
            want += losses[i];
        }
        void *device = device_new(losses, sizeof losses);
        void *out    = device_new(&first, sizeof first);
        assert_int_equal(launch_loss_sum(out, device, n, 7.0, 3.0, NULL), cudaSuccess);
        device_read(&sum, out, sizeof sum);
        assert_true(sum == first + want / 7.0 * 3.0);
        device_free(out);
        device_free(device);
    }
}

enum { CHOICE_COLUMNS = 2050, CHOICE_ROWS = 8 };

typedef struct choices {
    int32_t index[CHOICE_ROWS];
    float value[CHOICE_ROWS];
} choices;

static void run_choices(const void *context, void *result)
{
    choices *r   = result;
    void *logits = device_new(context, sizeof(float) * CHOICE_ROWS * CHOICE_COLUMNS);
    void *index  = device_new(NULL, sizeof r->index);
    void *value  = device_new(NULL, sizeof r->value);
    assert_int_equal(
        launch_argmax(index, value, logits, CHOICE_COLUMNS, CHOICE_ROWS, CHOICE_COLUMNS - 2, NULL),
        cudaSuccess);
    device_read(r->index, index, sizeof r->index);
    device_read(r->value, value, sizeof r->value);
    device_free(value);
    device_free(index);
    device_free(logits);
}

static void the_first_of_the_largest_is_chosen(void **state)
{
    static float rows[CHOICE_ROWS][CHOICE_COLUMNS];
    static const int32_t want[CHOICE_ROWS] = {5, 1500, 40, 0, 2047, 0, 3, 7};
    choices r;
    (void)state;
    random_floats(&rows[0][0], CHOICE_ROWS * CHOICE_COLUMNS, 1.0f, 3);
    rows[0][5]    = 2.0f; /* the first of two */
    rows[0][60]   = 2.0f;
    rows[1][1500] = INFINITY;
    rows[2][40]   = NAN; /* the first NaN, though infinity is there */
    rows[2][4]    = INFINITY;
    rows[2][41]   = -NAN;
    for (int j = 0; j < CHOICE_COLUMNS; j++) {
        rows[3][j] = -INFINITY;
        rows[5][j] = j == 0 ? -0.0f : 0.0f; /* equal */
        rows[6][j] = j == 3 ? -1.0f : -1.5f;
    }
    rows[4][2047] = 1.5f; /* the last column; none follows */
    rows[4][2048] = 3.0f;
    rows[7][7]    = 1e30f;
    in_all_orders(run_choices, rows, &r, sizeof r);
    for (int i = 0; i < CHOICE_ROWS; i++) {
        assert_int_equal(r.index[i], want[i]);
        assert_memory_equal(&r.value[i], &rows[i][want[i]], sizeof(float));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_and_its_gradient_are_those_of_f64),
        cmocka_unit_test(extreme_logits_count_as_on_the_cpu),
        cmocka_unit_test(losses_are_added_in_order),
        cmocka_unit_test(the_first_of_the_largest_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
