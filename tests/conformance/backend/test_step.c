// SPDX-License-Identifier: Apache-2.0
/* Guarantees of every registered backend for a training step: AdamW with clipping, non-finite
 * steps, numbers that arrive later. */
#include "device.h"

#include "pb/random.h"

#include <math.h>
#include <stdlib.h>

enum { N = 37 };

static const pb_backend_ops *table; /* the one under test */

typedef struct fixture {
    pb_backend *be;
    pb_tensor value, first, second, grad; /* [1, N] */
    pb_tensor sums;                       /* F64 [PB_NUMBERS] */
} fixture;

static pb_tensor random_matrix(pb_backend *be, uint64_t salt)
{
    float values[N];
    pb_random stream = pb_random_stream(1, PB_RANDOM_TEST, salt);
    for (int i = 0; i < N; i++) {
        values[i] = (float)(2.0 * pb_random_uniform(stream, (uint64_t)i) - 1.0);
    }
    return device_matrix(be, 1, N, values);
}

static int set_up(void **state)
{
    static fixture f;
    void *data = NULL;
    f          = (fixture){0};
    assert_ok(pb_backend_open(table->name, 0, 1, &f.be));
    assert_ok(pb_backend_alloc(f.be, PB_NUMBERS * sizeof(double), &data));
    f.value  = random_matrix(f.be, 1);
    f.grad   = random_matrix(f.be, 2);
    f.first  = device_matrix(f.be, 1, N, NULL);
    f.second = device_matrix(f.be, 1, N, NULL);
    f.sums   = pb_tensor_1d(data, PB_DTYPE_F64, PB_NUMBERS);
    *state   = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f       = *state;
    pb_tensor *all[] = {&f->value, &f->first, &f->second, &f->grad, &f->sums};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        pb_backend_free(f->be, all[i]->data);
    }
    pb_backend_close(f->be);
    return 0;
}

static void put(fixture *f, const double *numbers)
{
    pb_tensor from = pb_tensor_1d((void *)(uintptr_t)numbers, PB_DTYPE_F64, PB_NUMBERS);
    assert_ok(pb_copy(f->be, &f->sums, &from));
}

/* The numbers, once they have arrived. */
static void take(fixture *f, double *numbers)
{
    assert_ok(pb_post(f->be, 0, &f->sums));
    assert_ok(pb_take(f->be, 0, numbers));
}

static pb_adamw_tensor whole(const fixture *f)
{
    return (pb_adamw_tensor){
        .value = f->value, .first = f->first, .second = f->second, .grad = f->grad, .rate = 1.0};
}

/* The rate of the tensor is half that of the step; its norm is clipped to half. */
static void adamw_follows_its_formula(void **state)
{
    enum { STEPS = 5 };
    fixture *f             = *state;
    pb_adamw_tensor tensor = whole(f);
    pb_adamw_args args     = {.lr = 0.02, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    pb_tensor squares      = pb_number(&f->sums, PB_NUMBER_SQUARES);
    float *g               = host_values(f->be, &f->grad);
    float *start           = host_values(f->be, &f->value);
    double p64[N];
    double m64[N] = {0};
    double v64[N] = {0};
    double numbers[PB_NUMBERS];
    tensor.rate         = 0.5;
    tensor.weight_decay = 0.1;
    assert_ok(pb_sum_squares(f->be, &squares, &f->grad));
    take(f, numbers);
    args.clip = 0.5 * sqrt(numbers[PB_NUMBER_SQUARES]);
    for (int i = 0; i < N; i++) {
        p64[i] = (double)start[i];
    }
    for (args.step = 1; args.step <= STEPS; args.step++) {
        assert_ok(pb_adamw(f->be, &tensor, 1, &f->sums, &args));
        for (int i = 0; i < N; i++) {
            double grad = 0.5 * (double)g[i];
            m64[i]      = 0.9 * m64[i] + 0.1 * grad;
            v64[i]      = 0.999 * v64[i] + 0.001 * grad * grad;
            double mean = m64[i] / (1.0 - pow(0.9, (double)args.step));
            double var  = v64[i] / (1.0 - pow(0.999, (double)args.step));
            p64[i] -= 0.01 * 0.1 * p64[i];
            p64[i] -= 0.01 * mean / (sqrt(var) + 1e-8);
            assert_true(fabs(p64[i] - (double)host_get(f->be, &f->value, i)) < 1e-6);
        }
    }
    free(g);
    free(start);
}

static void a_step_that_is_not_finite_changes_nothing_nor_do_those_after_it(void **state)
{
    static const double bad[][PB_NUMBERS] = {
        {NAN, 1.0, 0.0, 0.0}, {1.0, INFINITY, 0.0, 0.0}, {1.0, 1.0, 0.0, NAN}};
    fixture *f             = *state;
    pb_adamw_tensor tensor = whole(f);
    pb_tensor before       = random_matrix(f->be, 1);
    for (int k = 0; k < 3; k++) {
        double numbers[PB_NUMBERS];
        put(f, bad[k]);
        for (int step = 3; step <= 4; step++) {
            pb_adamw_args args = {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.9, .eps = 1e-8, .step = step};
            assert_ok(pb_adamw(f->be, &tensor, 1, &f->sums, &args));
            take(f, numbers);
            assert_true(numbers[PB_NUMBER_BAD] == 3.0); /* the first one */
            assert_true(host_equal(f->be, &f->value, &before));
            assert_true(host_get(f->be, &f->first, 0) == 0.0f);
            assert_true(host_get(f->be, &f->second, 0) == 0.0f);
            put(f, (const double[]){1.0, 1.0, numbers[PB_NUMBER_BAD], 0.0});
        }
    }
    pb_backend_free(f->be, before.data);
}

static void clipping_scales_what_is_longer_than_the_limit(void **state)
{
    static const float values[] = {3.0f, 4.0f};
    fixture *f                  = *state;
    pb_tensor x                 = device_matrix(f->be, 1, 2, values);
    pb_tensor squares           = pb_number(&f->sums, PB_NUMBER_SQUARES);
    assert_ok(pb_sum_squares(f->be, &squares, &x));
    assert_ok(pb_clip(f->be, &x, &f->sums, 0.0));
    assert_ok(pb_clip(f->be, &x, &f->sums, 6.0));
    assert_true(host_get(f->be, &x, 0) == 3.0f && host_get(f->be, &x, 1) == 4.0f);
    assert_ok(pb_clip(f->be, &x, &f->sums, 2.5));
    assert_true(fabsf(host_get(f->be, &x, 0) - 1.5f) < 1e-5f);
    assert_true(fabsf(host_get(f->be, &x, 1) - 2.0f) < 1e-5f);
    pb_backend_free(f->be, x.data);
}

static void numbers_may_change_while_a_post_is_on_its_way(void **state)
{
    static const double first[PB_NUMBERS] = {1.5, 2.5, 3.5};
    fixture *f                            = *state;
    pb_tensor one                         = pb_number(&f->sums, 2);
    double numbers[PB_NUMBERS];
    assert_true(pb_backend_lag(f->be) >= 0 && pb_backend_lag(f->be) < PB_SLOTS);
    put(f, first);
    assert_ok(pb_post(f->be, 0, &f->sums));
    /* (1.5 + 2.5 + 3.5) / 3 · 2 on top of the last one */
    assert_ok(pb_loss_sum(f->be, &one, &f->sums, 3.0, 2.0));
    assert_ok(pb_post(f->be, 1, &one));
    assert_ok(pb_take(f->be, 0, numbers));
    assert_memory_equal(numbers, first, sizeof first);
    assert_ok(pb_take(f->be, 1, numbers));
    assert_true(numbers[0] == 3.5 + 5.0);
}

static void cross_entropy_keeps_its_digits(void **state)
{
    static const float logits[]    = {0.0f,    -20.0f,    -21.0f, /* nearly certain */
                                      1e4f,    -1e4f,     0.0f,   /* far apart */
                                      0.0f,    -INFINITY, 0.0f,   /* a masked choice */
                                      NAN,     0.0f,      0.0f,   /* seen */
                                      -300.0f, 0.0f,      0.0f};  /* e^-300 is not an F32 */
    static const int32_t targets[] = {0, 1, 0, 1, 0};
    static const float one         = 1.0f;
    fixture *f                     = *state;
    pb_tensor x                    = device_matrix(f->be, 5, 3, logits);
    pb_tensor scale;
    void *data = NULL;
    float host[15];
    double losses[5];
    pb_list list;
    assert_ok(pb_backend_alloc(f->be, sizeof losses, &data));
    pb_tensor sums = pb_tensor_1d(data, PB_DTYPE_F64, 5);
    assert_ok(pb_page_begin(f->be, 0));
    assert_ok(pb_page_list(f->be, "targets", targets, 5, 0, 3, &list));
    assert_ok(pb_page_floats(f->be, &one, 1, &scale));
    assert_ok(pb_page_end(f->be));
    assert_ok(pb_cross_entropy(f->be, &sums, &x, &list, NULL));
    host_read(f->be, &x, host);
    assert_memory_equal(host, logits, sizeof logits);
    assert_ok(pb_cross_entropy(f->be, &sums, &x, &list, &scale));
    assert_ok(pb_post(f->be, 0, &sums));
    assert_ok(pb_take(f->be, 0, losses));
    host_read(f->be, &x, host);
    double others = exp(-20.0) + exp(-21.0);
    assert_true(fabs(losses[0] - log1p(others)) < 1e-6 * others);
    assert_true(fabs((double)host[0] + others / (1.0 + others)) < 1e-6 * others);
    assert_true(fabs(losses[1] - 2e4) < 1e-9);
    assert_true(fabs(losses[2] - log(2.0)) < 1e-7);
    assert_true(host[7] == 0.0f);
    assert_true(isnan(losses[3]));
    assert_true(fabs(losses[4] - 300.0 - log(2.0)) < 1e-6);
    assert_true(host[12] == -1.0f);
    pb_backend_free(f->be, x.data);
    pb_backend_free(f->be, data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(adamw_follows_its_formula),
        TEST(a_step_that_is_not_finite_changes_nothing_nor_do_those_after_it),
        TEST(clipping_scales_what_is_longer_than_the_limit),
        TEST(cross_entropy_keeps_its_digits),
        TEST(numbers_may_change_while_a_post_is_on_its_way),
    };
    int failed = 0;
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        table = *ops;
        if (!device_is_absent(table->name)) {
            failed += cmocka_run_group_tests_name(table->name, tests, NULL, NULL);
        }
    }
    return failed;
}
