// SPDX-License-Identifier: Apache-2.0
/* The optimizer against that of the CPU, whose bits it has. */
#include "launch.h"

#include "pb/backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 20011, RUNS = 5, STEPS = 3 };

/* Where runs begin: empty ones, whole pieces, one that is not aligned to 16 bytes. */
static const int64_t starts[RUNS + 1] = {0, 1, 1, 4097, 12289, N};
static const double rates[RUNS]       = {1.0, 0.5, 16.0, 1.0, 2.0};
static const double decays[RUNS]      = {0.0, 0.1, 0.01, 0.1, 0.0};

typedef struct state_of {
    float value[N], first[N], second[N], grad[N];
    double numbers[PB_NUMBERS];
} state_of;

typedef struct step_case {
    double numbers[PB_NUMBERS]; /* SQUARES 0: those of the gradient */
    double clip;
} step_case;

static const pb_adamw_args options = {.lr = 0.02, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};

static void start(const step_case *c, state_of *s)
{
    memset(s, 0, sizeof *s);
    random_floats(s->value, N, 1.0f, 3);
    random_floats(s->grad, N, 0.1f, 5);
    memcpy(s->numbers, c->numbers, sizeof s->numbers);
    for (int64_t i = 0; c->numbers[PB_NUMBER_SQUARES] == 0.0 && i < N; i++) {
        s->numbers[PB_NUMBER_SQUARES] += (double)s->grad[i] * (double)s->grad[i];
    }
}

static adamw_run run_of(int i, int64_t step, state_of *device)
{
    double lr = options.lr * rates[i];
    return (adamw_run){
        .value  = device->value + starts[i],
        .first  = device->first + starts[i],
        .second = device->second + starts[i],
        .grad   = device->grad + starts[i],
        .count  = starts[i + 1] - starts[i],
        .decay  = (float)(1.0 - lr * decays[i]),
        .rate   = (float)(lr / (1.0 - pow(options.beta1, (double)step))),
    };
}

/* The launches of a few steps. */
static void run_steps(const void *context, void *result)
{
    const step_case *c = context;
    start(c, result);
    state_of *device = device_new(result, sizeof *device);
    for (int64_t step = 1; step <= STEPS; step++) {
        adamw_runs runs   = {.count = RUNS};
        adamw_step common = {
            .clip    = c->clip,
            .number  = (double)step,
            .loss    = PB_NUMBER_LOSS,
            .penalty = PB_NUMBER_PENALTY,
            .squares = PB_NUMBER_SQUARES,
            .bad     = PB_NUMBER_BAD,
            .keep1   = (float)options.beta1,
            .new1    = (float)(1.0 - options.beta1),
            .keep2   = (float)options.beta2,
            .new2    = (float)(1.0 - options.beta2),
            .root    = (float)(1.0 / sqrt(1.0 - pow(options.beta2, (double)step))),
            .eps     = (float)options.eps,
        };
        for (int i = 0; i < RUNS; i++) {
            runs.run[i] = run_of(i, step, device);
        }
        assert_int_equal(launch_adamw(&runs, &common, device->numbers, NULL), cudaSuccess);
    }
    device_read(result, device, sizeof *device);
    device_free(device);
}

static void run_cpu(const step_case *c, state_of *s)
{
    pb_backend *be = NULL;
    assert_int_equal(pb_backend_open("cpu", 0, 1, &be), PB_OK);
    start(c, s);
    pb_tensor numbers = pb_tensor_1d(s->numbers, PB_DTYPE_F64, PB_NUMBERS);
    pb_adamw_tensor tensors[RUNS];
    for (int i = 0; i < RUNS; i++) {
        int64_t n  = starts[i + 1] - starts[i];
        tensors[i] = (pb_adamw_tensor){
            .value        = pb_tensor_1d(s->value + starts[i], PB_DTYPE_F32, n),
            .first        = pb_tensor_1d(s->first + starts[i], PB_DTYPE_F32, n),
            .second       = pb_tensor_1d(s->second + starts[i], PB_DTYPE_F32, n),
            .grad         = pb_tensor_1d(s->grad + starts[i], PB_DTYPE_F32, n),
            .rate         = rates[i],
            .weight_decay = decays[i],
        };
    }
    pb_adamw_args args = options;
    args.clip          = c->clip;
    for (args.step = 1; args.step <= STEPS; args.step++) {
        assert_int_equal(pb_adamw(be, tensors, RUNS, &numbers, &args), PB_OK);
    }
    pb_backend_close(be);
}

static void adamw_has_the_bits_of_the_cpu(void **state)
{
    static const step_case cases[] = {
        {{1.0, 0.0, 0.0}, 0.0},      {{1.0, 0.0, 0.0}, 0.5},      {{1.0, 0.0, 0.0}, 1e6},
        {{NAN, 0.0, 0.0}, 0.5},      {{1.0, INFINITY, 0.0}, 0.5}, {{-INFINITY, NAN, 0.0}, 0.0},
        {{1.0, 0.0, 7.0}, 0.0}, /* bad before */
        {{1.0, 0.0, 0.0, NAN}, 0.5},
    };
    static state_of got, want;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        in_all_orders(run_steps, &cases[i], &got, sizeof got);
        run_cpu(&cases[i], &want);
        assert_memory_equal(&got, &want, sizeof got);
    }
}

typedef struct matrix_case {
    int64_t rows, columns, stride;
    double limit;
} matrix_case;

enum { MOST = 80000 };

static float before[MOST];

static void run_squares(const void *context, void *result)
{
    const matrix_case *c = context;
    random_floats(before, c->rows * c->stride, 1.0f, 3);
    void *x     = device_elements(before, c->rows * c->stride, ELEMENT_F32);
    void *parts = device_new(NULL, SQUARE_PARTS * sizeof(double));
    void *out   = device_new(NULL, sizeof(double));
    assert_int_equal(launch_sum_squares(out, parts, x, c->stride, c->rows, c->columns, NULL),
                     cudaSuccess);
    device_read(result, out, sizeof(double));
    device_free(out);
    device_free(parts);
    device_free(x);
}

static void run_clip(const void *context, void *result)
{
    const matrix_case *c = context;
    double squares       = 9.0;
    random_floats(before, c->rows * c->stride, 1.0f, 3);
    void *x      = device_elements(before, c->rows * c->stride, ELEMENT_F32);
    void *number = device_new(&squares, sizeof squares);
    assert_int_equal(launch_clip(x, c->stride, c->rows, c->columns, number, c->limit, NULL),
                     cudaSuccess);
    device_floats(result, x, c->rows * c->stride, ELEMENT_F32);
    device_free(number);
    device_free(x);
}

static const int64_t matrices[][3] = {{1, 1, 1},         {1, 4096, 4096}, {1, 4097, 4097},
                                      {1, 70001, 70001}, {3, 5000, 5003}, {37, 50, 53},
                                      {300, 3, 4},       {0, 8, 8}};

static void squares_are_summed_in_f64(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
        matrix_case c    = {matrices[i][0], matrices[i][1], matrices[i][2], 0.0};
        long double want = 0;
        double got       = -1;
        in_all_orders(run_squares, &c, &got, sizeof got);
        for (int64_t j = 0; j < c.rows * c.columns; j++) {
            long double x = (long double)before[j / c.columns * c.stride + j % c.columns];
            want += x * x;
        }
        assert_true(fabs(got - (double)want) <= 1e-14 * (double)want);
    }
}

static void clipping_scales_columns_and_not_what_is_between(void **state)
{
    static float got[MOST];
    static const double limits[] = {0.0, 1.5, 4.0};
    (void)state;
    for (size_t i = 0; i < 3 * sizeof matrices / sizeof matrices[0]; i++) {
        const int64_t *m = matrices[i / 3];
        matrix_case c    = {m[0], m[1], m[2], limits[i % 3]};
        float factor     = i % 3 == 1 ? (float)(1.5 / (3.0 + 1e-6)) : 1.0f;
        in_all_orders(run_clip, &c, got, (size_t)(c.rows * c.stride) * sizeof *got);
        for (int64_t j = 0; j < c.rows * c.stride; j++) {
            assert_true(got[j] == before[j] * (j % c.stride < c.columns ? factor : 1.0f));
        }
    }
}

enum { PARTS = 200, WIDTH = 30, PITCH = 33 };

/* Tensors of a step on one backend: PARTS vectors in a row, of which neighbours may share their
 * factors, and a matrix with gaps between its rows; the result is all of their memory. */
static void step_on(const char *name, double loss, float *result, double *numbers)
{
    enum { ROWS = 90, FLAT = PARTS * WIDTH, ALL = FLAT + ROWS * PITCH };
    pb_backend *be = NULL;
    pb_adamw_tensor tensors[PARTS + 1];
    void *data[4];
    void *sums           = NULL;
    const double start[] = {loss, 4.0, 0.0, 0.0};
    assert_int_equal(pb_backend_open(name, 0, 1, &be), PB_OK);
    for (int k = 0; k < 4; k++) {
        random_floats(result, ALL, 1.0f, 3 + (unsigned)k);
        for (int i = 0; k == 2 && i < ALL; i++) {
            result[i] = fabsf(result[i]); /* squares */
        }
        pb_tensor from = pb_tensor_1d(result, PB_DTYPE_F32, ALL);
        assert_int_equal(pb_backend_alloc(be, ALL * sizeof *result, &data[k]), PB_OK);
        pb_tensor to = pb_tensor_1d(data[k], PB_DTYPE_F32, ALL);
        assert_int_equal(pb_copy(be, &to, &from), PB_OK);
    }
    for (int i = 0; i <= PARTS; i++) {
        pb_tensor t[4];
        for (int k = 0; k < 4; k++) {
            float *at   = (float *)data[k] + (i < PARTS ? i * WIDTH : FLAT);
            t[k]        = i < PARTS ? pb_tensor_1d(at, PB_DTYPE_F32, WIDTH)
                                    : pb_tensor_2d(at, PB_DTYPE_F32, ROWS, WIDTH);
            t[k].stride = i < PARTS ? 1 : PITCH;
        }
        tensors[i] = (pb_adamw_tensor){.value        = t[0],
                                       .first        = t[1],
                                       .second       = t[2],
                                       .grad         = t[3],
                                       .rate         = i / 2 % 5 == 0 ? 1.0 : 1.0 / (1 + i / 2),
                                       .weight_decay = 0.1};
    }
    pb_tensor host = pb_tensor_1d((void *)(uintptr_t)start, PB_DTYPE_F64, PB_NUMBERS);
    assert_int_equal(pb_backend_alloc(be, sizeof start, &sums), PB_OK);
    pb_tensor number   = pb_tensor_1d(sums, PB_DTYPE_F64, PB_NUMBERS);
    pb_adamw_args args = options;
    args.step          = 4;
    args.clip          = 0.5;
    assert_int_equal(pb_copy(be, &number, &host), PB_OK);
    assert_int_equal(pb_adamw(be, tensors, PARTS + 1, &number, &args), PB_OK);
    assert_int_equal(pb_post(be, 0, &number), PB_OK);
    assert_int_equal(pb_take(be, 0, numbers), PB_OK);
    for (int k = 0; k < 4; k++) {
        pb_tensor to   = pb_tensor_1d(result + k * ALL, PB_DTYPE_F32, ALL);
        pb_tensor from = pb_tensor_1d(data[k], PB_DTYPE_F32, ALL);
        assert_int_equal(pb_copy(be, &to, &from), PB_OK);
        pb_backend_free(be, data[k]);
    }
    pb_backend_free(be, sums);
    pb_backend_close(be);
}

static void more_tensors_than_a_launch_takes_have_the_bits_of_the_cpu(void **state)
{
    static float got[4 * 10000], want[4 * 10000];
    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        double got_numbers[PB_NUMBERS];
        double want_numbers[PB_NUMBERS];
        step_on("cuda", bad ? NAN : 1.0, got, got_numbers);
        step_on("cpu", bad ? NAN : 1.0, want, want_numbers);
        assert_memory_equal(got, want, sizeof got);
        assert_memory_equal(got_numbers, want_numbers, sizeof got_numbers);
        assert_true(got_numbers[PB_NUMBER_BAD] == (bad ? 4.0 : 0.0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_has_the_bits_of_the_cpu),
        cmocka_unit_test(more_tensors_than_a_launch_takes_have_the_bits_of_the_cpu),
        cmocka_unit_test(squares_are_summed_in_f64),
        cmocka_unit_test(clipping_scales_columns_and_not_what_is_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
