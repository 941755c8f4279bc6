// SPDX-License-Identifier: Apache-2.0
/* Guarantees of every registered backend besides the values of its operations (tests/ops): opening,
 * memory, counted work, extreme numbers, failures. */
#include "device.h"

#include "pb/device.h"
#include "pb/kernels.h"
#include "pb/memory.h"
#include "pb/usage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const pb_backend_ops *table; /* the one under test */

static pb_backend *opened(int threads)
{
    pb_backend *be = NULL;
    assert_int_equal(pb_backend_open(table->name, 0, threads, &be), PB_OK);
    return be;
}

static pb_tensor matrix(pb_backend *be, int64_t rows, int64_t columns)
{
    return device_matrix(be, rows, columns, NULL);
}

/* Uniform in -1 … 1. */
static pb_tensor random_matrix(pb_backend *be, int64_t rows, int64_t columns, uint64_t salt)
{
    float *values    = calloc((size_t)(rows * columns) + 1, sizeof *values);
    pb_random stream = pb_random_stream(1, PB_RANDOM_TEST, salt);
    for (int64_t i = 0; i < rows * columns; i++) {
        values[i] = (float)(2.0 * pb_random_uniform(stream, (uint64_t)i) - 1.0);
    }
    pb_tensor t = device_matrix(be, rows, columns, values);
    free(values);
    return t;
}

/* F64 in backend memory. */
static pb_tensor numbers(pb_backend *be, int64_t n)
{
    void *data = NULL;
    assert_int_equal(pb_backend_alloc(be, (size_t)n * sizeof(double), &data), PB_OK);
    return pb_tensor_1d(data, PB_DTYPE_F64, n);
}

/* The numbers, once they have arrived. */
static void take(pb_backend *be, const pb_tensor *t, double *values)
{
    assert_int_equal(pb_post(be, 0, t), PB_OK);
    assert_int_equal(pb_take(be, 0, values), PB_OK);
}

static pb_status plan_of(pb_backend *be, const pb_attention_args *args, pb_attention_plan *plan)
{
    PB_TRY(pb_page_begin(be, 0));
    PB_TRY(pb_page_plan(be, args, plan));
    return pb_page_end(be);
}

static void every_required_slot_is_filled(void **state)
{
    (void)state;
    enum {
        FIRST = offsetof(pb_backend_ops, open),
        SLOTS = (offsetof(pb_backend_ops, page_begin) - FIRST) / sizeof(void (*)(void))
    };
    void (*slots[SLOTS])(void);
    memcpy(slots, (const char *)table + FIRST, sizeof slots);
    for (int i = 0; i < SLOTS; i++) {
        assert_true(slots[i] != NULL);
    }
}

static void opening_tells_what_it_is(void **state)
{
    (void)state;
    pb_backend *be = opened(2);
    assert_string_equal(pb_backend_name(be), table->name);
    assert_int_equal(pb_backend_threads(be), 2);
    if (pb_backend_device_id(be).parts[0] == 0) { /* the processor computes */
        assert_non_null(strstr(pb_backend_describe(be), "2 threads"));
    }
    pb_backend_close(be);
    assert_int_equal(pb_backend_open("auto", 0, 0, &be), PB_OK);
    assert_true(pb_backend_threads(be) >= 1);
    pb_backend_close(be);
    pb_backend_close(NULL);
}

static void an_unknown_name_lists_the_known_ones(void **state)
{
    (void)state;
    pb_backend *be = NULL;
    assert_int_equal(pb_backend_open("abacus", 0, 1, &be), PB_ERR_CONFIG);
    assert_null(be);
    assert_non_null(strstr(pb_error_message(), "abacus"));
    assert_non_null(strstr(pb_error_message(), table->name));
    assert_int_equal(pb_backend_open(table->name, 999, 1, &be), PB_ERR_CONFIG);
}

static void a_number_belongs_to_a_name(void **state)
{
    (void)state;
    const char *name = NULL;
    int number       = 0;
    char text[64];
    (void)snprintf(text, sizeof text, "%s:7", table->name);
    assert_ok(pb_device_parse(text, 3, &name, &number));
    assert_string_equal(name, table->name);
    assert_int_equal(number, 7);
    assert_ok(pb_device_parse("auto", 3, &name, &number));
    assert_int_equal(number, -4);
    assert_error(pb_device_parse("auto:7", 3, &name, &number), PB_ERR_CONFIG,
                 "auto:7: \"auto\" takes no number; name the device, such as cuda:7");
}

/* A product library that is limited to one thread may change OpenMP's own number. */
static void all_threads_are_the_same_number_every_time(void **state)
{
    int threads[3] = {0};
    (void)state;
    for (int i = 0; i < 3; i++) {
        pb_backend *be = opened(i < 2 ? 0 : -1);
        threads[i]     = pb_backend_threads(be);
        pb_backend_close(be);
    }
    assert_true(threads[0] >= 1);
    assert_int_equal(threads[1], threads[0]);
    assert_int_equal(threads[2], threads[0]);
}

/* The description is part of the key of a result: kernels have the same one, whoever chose them. */
static void whose_choice_the_kernels_are_is_no_part_of_the_description(void **state)
{
    (void)state;
    pb_kernels kernels;
    char before[256];
    if (!table->is_host) {
        skip(); /* only the host's memory can be limited */
    }
    pb_backend *be = opened(1);
    snprintf(before, sizeof before, "%s", pb_backend_describe(be));
    pb_backend_close(be);
    pb_kernels_get(&kernels);
    assert_int_equal(kernels.by, PB_KERNELS_BY_LIBRARY);
    assert_int_equal(setenv("OPENBLAS_CORETYPE", kernels.name, 1), 0);
    be = opened(1);
    pb_kernels_get(&kernels);
    unsetenv("OPENBLAS_CORETYPE");
    assert_string_equal(pb_backend_describe(be), before);
    pb_backend_close(be);
    if (strstr(before, "OpenBLAS") != NULL) {
        assert_non_null(strstr(before, kernels.name));
    }
}

static void memory_is_zeroed_aligned_and_returned(void **state)
{
    (void)state;
    size_t before  = pb_memory_current();
    pb_backend *be = opened(1);
    void *data     = NULL;
    size_t own     = 0;
    size_t held    = 0;
    pb_backend_memory(be, &own, NULL);
    assert_int_equal(pb_backend_alloc(be, 1000, &data), PB_OK);
    assert_int_equal((uintptr_t)data % 64, 0);
    pb_tensor t = pb_tensor_1d(data, PB_DTYPE_F32, 250);
    for (int i = 0; i < 250; i++) {
        assert_true(host_get(be, &t, i) == 0.0f);
    }
    pb_backend_memory(be, &held, NULL);
    assert_true(table->is_host ? pb_memory_current() >= before + 1000 : held == own + 1000);
    pb_backend_free(be, data);
    pb_backend_free(be, NULL);
    pb_backend_close(be);
    assert_int_equal(pb_memory_current(), before);
}

static void copies_between_strides_and_types(void **state)
{
    (void)state;
    pb_backend *be = opened(1);
    pb_tensor a    = random_matrix(be, 5, 8, 1);
    pb_tensor b    = matrix(be, 5, 3);
    pb_tensor view = pb_tensor_columns(&a, 2, 3);
    assert_int_equal(pb_copy(be, &b, &view), PB_OK);
    float *all = host_values(be, &a);
    for (int i = 0; i < 15; i++) {
        assert_true(host_get(be, &b, i) == all[i / 3 * 8 + 2 + i % 3]);
    }
    uint16_t half[15];
    pb_tensor c = pb_tensor_2d(half, PB_DTYPE_BF16, 5, 3);
    assert_int_equal(pb_copy(be, &c, &b), PB_OK);
    assert_int_equal(pb_copy(be, &b, &c), PB_OK);
    for (int i = 0; i < 15; i++) {
        assert_true(host_get(be, &b, i) == pb_bf16_to_f32(half[i]));
        assert_true(fabsf(host_get(be, &b, i) - all[i / 3 * 8 + 2 + i % 3]) < 0.004f);
    }
    free(all);
    int32_t whole[15] = {0};
    pb_tensor d       = pb_tensor_2d(whole, PB_DTYPE_I32, 5, 3);
    assert_int_equal(pb_copy(be, &b, &d), PB_ERR_UNSUPPORTED);
    assert_int_equal(pb_zero(be, &view), PB_OK);
    assert_true(host_get(be, &a, 0) != 0.0f && host_get(be, &a, 2) == 0.0f &&
                host_get(be, &a, 5) != 0.0f);
    pb_backend_free(be, a.data);
    pb_backend_free(be, b.data);
    pb_backend_close(be);
}

static void work_is_counted(void **state)
{
    (void)state;
    pb_backend *be      = opened(1);
    pb_tensor a         = random_matrix(be, 30, 20, 1);
    pb_tensor b         = random_matrix(be, 40, 20, 2);
    pb_tensor c         = matrix(be, 30, 40);
    pb_matmul_args args = {.transpose_b = true, .alpha = 1.0f};
    pb_backend_work_reset(be, false);
    assert_int_equal(pb_matmul(be, &c, &a, &b, &args), PB_OK);
    assert_true(pb_backend_work_get(be).matmul_flops == 2.0 * 30 * 40 * 20);
    assert_true(pb_backend_work_get(be).matmul_seconds == 0.0);
    pb_backend_work_reset(be, true);
    assert_int_equal(pb_matmul(be, &c, &a, &b, &args), PB_OK);
    assert_true(pb_backend_work_get(be).matmul_seconds > 0.0);

    /* One row of 30 tokens, 2 heads of width 10: 30 · 31 / 2 pairs, 3 of them outside the window.
     */
    pb_segment segment      = {.rows = 30, .length = 30, .parent = -1};
    pb_forest forest        = {.segments = &segment, .count = 1, .rows = 30, .keys = 30};
    pb_attention_args shape = {
        .forest = &forest, .heads = 2, .kv_heads = 2, .head_dim = 10, .scale = 0.3f, .window = 28};
    pb_tensor out = matrix(be, 30, 20);
    pb_tensor lse = matrix(be, 30, 2);
    pb_attention_plan plan;
    assert_int_equal(plan_of(be, &shape, &plan), PB_OK);
    assert_int_equal(pb_attention_forward(be, &out, &lse, &a, &a, &a, &plan), PB_OK);
    assert_true(pb_backend_work_get(be).attention_flops == 4.0 * (465 - 3) * 20);
    assert_true(pb_backend_work_get(be).attention_seconds > 0.0);
    pb_backend_work_reset(be, false);
    assert_true(pb_backend_work_get(be).attention_flops == 0.0);
    pb_tensor *all[] = {&a, &b, &c, &out, &lse};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        pb_backend_free(be, all[i]->data);
    }
    pb_backend_close(be);
}

typedef struct attention_set {
    pb_segment segments[2];
    pb_forest forest;
    pb_attention_args args;
    pb_tensor q, k, v, out, lse, dq, dk, dv;
} attention_set;

static void attention_open(pb_backend *be, attention_set *s)
{
    s->segments[0] = (pb_segment){.rows = 9, .length = 9, .parent = -1};
    s->segments[1] =
        (pb_segment){.row = 9, .rows = 5, .key = 9, .length = 5, .position = 9, .parent = 0};
    s->forest = (pb_forest){.segments = s->segments, .count = 2, .rows = 14, .keys = 14};
    s->args   = (pb_attention_args){.forest   = &s->forest,
                                    .heads    = 2,
                                    .kv_heads = 1,
                                    .head_dim = 8,
                                    .scale    = 0.35f,
                                    .backward = true};
    s->q      = random_matrix(be, 14, 16, 1);
    s->k      = random_matrix(be, 14, 8, 2);
    s->v      = random_matrix(be, 14, 8, 3);
    s->out    = matrix(be, 14, 16);
    s->lse    = matrix(be, 14, 2);
    s->dq     = matrix(be, 14, 16);
    s->dk     = matrix(be, 14, 8);
    s->dv     = matrix(be, 14, 8);
}

static void attention_close(pb_backend *be, attention_set *s)
{
    pb_tensor *all[] = {&s->q, &s->k, &s->v, &s->out, &s->lse, &s->dq, &s->dk, &s->dv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        pb_backend_free(be, all[i]->data);
    }
}

static pb_status attention_both(pb_backend *be, attention_set *s)
{
    pb_attention_plan plan;
    PB_TRY(plan_of(be, &s->args, &plan));
    PB_TRY(pb_attention_forward(be, &s->out, &s->lse, &s->q, &s->k, &s->v, &plan));
    return pb_attention_backward(be, &s->dq, &s->dk, &s->dv, &s->out, &s->out, &s->lse, &s->q,
                                 &s->k, &s->v, &plan);
}

static void a_repeated_step_allocates_nothing(void **state)
{
    (void)state;
    pb_backend *be = opened(2);
    attention_set s;
    attention_open(be, &s);
    assert_int_equal(attention_both(be, &s), PB_OK);
    size_t held = pb_memory_current();
    pb_memory_peak_reset();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(attention_both(be, &s), PB_OK);
    }
    assert_int_equal(pb_memory_current(), held);
    assert_int_equal(pb_memory_peak(), held);
    attention_close(be, &s);
    pb_backend_close(be);
}

/* One tree and one key head, which must not leave threads idle, and chains of several pieces of
 * keys; also with a window. */
static void gradients_of_one_tree_have_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    enum { ROWS = 700, HEADS = 3, WIDTH = 16 };
    static const int threads[]  = {1, 2, 3, 7};
    const pb_segment segments[] = {
        {.rows = 530, .length = 530, .parent = -1},
        {.row = 530, .rows = 100, .key = 530, .length = 100, .position = 530, .parent = 0},
        {.row = 630, .key = 630, .position = 630, .parent = 1}, /* empty */
        {.row = 630, .rows = 40, .key = 630, .length = 40, .position = 630, .parent = 2},
        {.row = 670, .rows = 30, .key = 670, .length = 30, .position = 530, .parent = 0},
    };
    pb_forest forest = {.segments = segments, .count = 5, .rows = ROWS, .keys = ROWS};
    for (int64_t window = 0; window <= 300; window += 300) {
        float *first[3] = {NULL};
        for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
            pb_backend *be         = opened(threads[t]);
            pb_tensor q            = random_matrix(be, ROWS, HEADS * WIDTH, 1);
            pb_tensor k            = random_matrix(be, ROWS, WIDTH, 2);
            pb_tensor v            = random_matrix(be, ROWS, WIDTH, 3);
            pb_tensor out          = matrix(be, ROWS, HEADS * WIDTH);
            pb_tensor lse          = matrix(be, ROWS, HEADS);
            pb_tensor grads[]      = {matrix(be, ROWS, HEADS * WIDTH), matrix(be, ROWS, WIDTH),
                                      matrix(be, ROWS, WIDTH)};
            pb_attention_args args = {.forest   = &forest,
                                      .heads    = HEADS,
                                      .kv_heads = 1,
                                      .head_dim = WIDTH,
                                      .scale    = 0.25f,
                                      .window   = window,
                                      .backward = true};
            pb_attention_plan plan;
            assert_int_equal(plan_of(be, &args, &plan), PB_OK);
            assert_int_equal(pb_attention_forward(be, &out, &lse, &q, &k, &v, &plan), PB_OK);
            assert_int_equal(pb_attention_backward(be, &grads[0], &grads[1], &grads[2], &q, &out,
                                                   &lse, &q, &k, &v, &plan),
                             PB_OK);
            for (int i = 0; i < 3; i++) {
                float *now = host_values(be, &grads[i]);
                if (t == 0) {
                    first[i] = host_values(be, &grads[i]);
                }
                assert_memory_equal(first[i], now, pb_tensor_bytes(&grads[i]));
                free(now);
            }
            pb_tensor *all[] = {&q, &k, &v, &out, &lse, &grads[0], &grads[1], &grads[2]};
            for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
                pb_backend_free(be, all[i]->data);
            }
            pb_backend_close(be);
        }
        for (int i = 0; i < 3; i++) {
            free(first[i]);
        }
    }
}

static void lack_of_memory_is_reported(void **state)
{
    (void)state;
    if (!table->is_host) {
        skip(); /* only the host's memory can be limited */
    }
    size_t before  = pb_memory_current();
    pb_backend *be = opened(1);
    attention_set s;
    attention_open(be, &s);
    pb_memory_limit(pb_memory_current() + 64);
    assert_int_equal(attention_both(be, &s), PB_ERR_MEMORY);
    pb_memory_limit(0);
    assert_int_equal(attention_both(be, &s), PB_OK);
    attention_close(be, &s);
    pb_backend_close(be);
    assert_int_equal(pb_memory_current(), before);
}

/* A query of one segment gives the same bits alone as among others: rows of one, two and more. */
static void few_rows_have_the_same_bits_alone(void **state)
{
    (void)state;
    pb_backend *be      = opened(1);
    pb_tensor a         = random_matrix(be, 4, 70, 1);
    pb_tensor b         = random_matrix(be, 50, 70, 2);
    pb_tensor all       = matrix(be, 4, 50);
    pb_tensor alone     = matrix(be, 1, 50);
    pb_matmul_args args = {.transpose_b = true, .alpha = 1.0f};
    assert_int_equal(pb_matmul(be, &all, &a, &b, &args), PB_OK);
    for (int64_t i = 0; i < 4; i++) {
        pb_tensor row = pb_tensor_rows(&a, i, 1);
        assert_int_equal(pb_matmul(be, &alone, &row, &b, &args), PB_OK);
        pb_tensor among = pb_tensor_rows(&all, i, 1);
        assert_true(host_equal(be, &alone, &among));
    }
    pb_backend_free(be, a.data);
    pb_backend_free(be, b.data);
    pb_backend_free(be, all.data);
    pb_backend_free(be, alone.data);
    pb_backend_close(be);
}

static void sums_and_choices_are_exact(void **state)
{
    (void)state;
    pb_backend *be = opened(1);
    pb_tensor x    = random_matrix(be, 300, 77, 1);
    pb_tensor view = pb_tensor_columns(&x, 3, 50);
    pb_tensor sum  = numbers(be, 1);
    double want    = 0;
    double got     = 0;
    float *at      = host_values(be, &x);
    for (int64_t i = 0; i < 300; i++) {
        for (int64_t j = 3; j < 53; j++) {
            want += pow((double)at[i * 77 + j], 2);
        }
    }
    assert_int_equal(pb_sum_squares(be, &sum, &view), PB_OK);
    take(be, &sum, &got);
    assert_true(fabs(got - want) < 1e-12 * want);

    pb_tensor index = matrix(be, 1, 5);
    pb_tensor value = matrix(be, 1, 5);
    pb_tensor rows  = pb_tensor_rows(&x, 0, 5);
    index           = pb_tensor_1d(index.data, PB_DTYPE_I32, 5);
    value           = pb_tensor_1d(value.data, PB_DTYPE_F32, 5);
    at[5]           = 2.0f;
    at[60]          = 2.0f; /* the first of two */
    at[77]          = 3.0f;
    at[2 * 77 + 76] = 4.0f;
    at[3 * 77 + 40] = NAN;
    at[3 * 77 + 4]  = INFINITY;
    for (int64_t j = 0; j < 77; j++) {
        at[4 * 77 + j] = -INFINITY;
    }
    host_write(be, &x, at);
    assert_int_equal(pb_argmax(be, &index, &value, &rows), PB_OK);
    static const int32_t first[] = {5, 0, 76, 40};
    int32_t found[5];
    float largest[5];
    pb_tensor host = pb_tensor_1d(found, PB_DTYPE_I32, 5);
    assert_int_equal(pb_copy(be, &host, &index), PB_OK);
    host_read(be, &value, largest);
    assert_memory_equal(found, first, sizeof first);
    assert_true(largest[0] == 2.0f && largest[1] == 3.0f && largest[2] == 4.0f);
    assert_true(isnan(largest[3]));
    assert_true(largest[4] == -INFINITY);
    free(at);
    pb_backend_free(be, sum.data);
    pb_backend_free(be, index.data);
    pb_backend_free(be, value.data);
    pb_backend_free(be, x.data);
    pb_backend_close(be);
}

/* The exponential, through silu(x) = x / (1 + e^-x), over its whole range. */
static void exponentials_hold_over_the_whole_range(void **state)
{
    (void)state;
    enum { N = 40001 };
    pb_backend *be = opened(1);
    float *from    = calloc(N, sizeof *from);
    for (int i = 0; i < N; i++) {
        from[i] = (float)(i - N / 2) * 0.005f;
    }
    from[0]     = -200.0f;
    from[1]     = NAN;
    from[2]     = INFINITY;
    pb_tensor x = device_matrix(be, 1, N, from);
    pb_tensor y = matrix(be, 1, N);
    assert_int_equal(pb_activation_forward(be, &y, &x, PB_ACTIVATION_SILU), PB_OK);
    float *got = host_values(be, &y);
    for (int i = 3; i < N; i++) {
        double t    = (double)from[i];
        double want = t / (1.0 + exp(-t));
        /* Below -87 the divisor overflows on the way to a subnormal result. */
        double allowed = t > -87.0 ? 4e-7 * fabs(want) : 2e-36;
        assert_true(fabs((double)got[i] - want) <= allowed);
    }
    assert_true(got[0] == 0.0f);
    assert_true(isnan(got[1]));
    assert_true(isinf(got[2]));
    free(got);
    free(from);
    pb_backend_free(be, x.data);
    pb_backend_free(be, y.data);
    pb_backend_close(be);
}

static void dropout_drops_its_share_and_can_be_off(void **state)
{
    (void)state;
    pb_backend *be = opened(1);
    pb_tensor x    = random_matrix(be, 100, 333, 1);
    pb_tensor y    = matrix(be, 100, 333);
    pb_mask mask   = {.seed = 5, .salt = 9};
    assert_int_equal(pb_dropout(be, &y, &x, 0.25, &mask), PB_OK);
    int dropped = 0;
    float *kept = host_values(be, &y);
    for (int i = 0; i < 33300; i++) {
        dropped += kept[i] == 0.0f;
    }
    free(kept);
    assert_true(abs(dropped - 33300 / 4) < 400); /* 5 standard deviations */
    assert_int_equal(pb_dropout(be, &y, &x, 0.0, &mask), PB_OK);
    assert_true(host_equal(be, &y, &x));
    pb_backend_free(be, x.data);
    pb_backend_free(be, y.data);
    pb_backend_close(be);
}

/* A NaN in one row appears in that row of every result, and no sum turns it into a number. */
static void nan_is_never_hidden(void **state)
{
    (void)state;
    pb_backend *be = opened(1);
    attention_set s;
    attention_open(be, &s);
    host_set(be, &s.q, 13 * 16 + 3, NAN);
    host_set(be, &s.k, 2 * 8 + 1, NAN); /* seen by every query from row 2 on */
    assert_int_equal(attention_both(be, &s), PB_OK);
    assert_false(isnan(host_get(be, &s.out, 1 * 16)) || isnan(host_get(be, &s.lse, 1 * 2)));
    for (int row = 2; row < 14; row++) {
        assert_true(isnan(host_get(be, &s.out, row * 16)));
        assert_true(isnan(host_get(be, &s.lse, row * 2)));
        assert_true(isnan(host_get(be, &s.dq, row * 16)));
    }
    assert_true(isnan(host_get(be, &s.dk, 0)) && isnan(host_get(be, &s.dv, 0)));
    pb_tensor weight     = pb_tensor_1d(s.v.data, PB_DTYPE_F32, 16);
    pb_rmsnorm_args norm = {.eps = 1e-5f};
    assert_int_equal(pb_rmsnorm_forward(be, &s.dq, &s.q, &weight, &norm), PB_OK);
    assert_true(isnan(host_get(be, &s.dq, 13 * 16)) && !isnan(host_get(be, &s.dq, 12 * 16)));
    for (int act = PB_ACTIVATION_SILU; act <= PB_ACTIVATION_SIGMOID; act++) {
        assert_int_equal(pb_activation_forward(be, &s.dq, &s.q, (pb_activation)act), PB_OK);
        assert_true(isnan(host_get(be, &s.dq, 13 * 16 + 3)) &&
                    !isnan(host_get(be, &s.dq, 13 * 16 + 4)));
        assert_int_equal(
            pb_gated_backward(be, &s.dq, &s.out, &s.dq, &s.q, &s.q, (pb_activation)act), PB_OK);
        assert_true(isnan(host_get(be, &s.dq, 13 * 16 + 3)));
    }
    pb_tensor sum = numbers(be, 1);
    double taken  = 0;
    assert_int_equal(pb_sum_squares(be, &sum, &s.q), PB_OK);
    take(be, &sum, &taken);
    assert_true(isnan(taken));
    pb_backend_free(be, sum.data);
    attention_close(be, &s);
    pb_backend_close(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_required_slot_is_filled),
        cmocka_unit_test(opening_tells_what_it_is),
        cmocka_unit_test(an_unknown_name_lists_the_known_ones),
        cmocka_unit_test(a_number_belongs_to_a_name),
        cmocka_unit_test(all_threads_are_the_same_number_every_time),
        cmocka_unit_test(whose_choice_the_kernels_are_is_no_part_of_the_description),
        cmocka_unit_test(memory_is_zeroed_aligned_and_returned),
        cmocka_unit_test(copies_between_strides_and_types),
        cmocka_unit_test(work_is_counted),
        cmocka_unit_test(a_repeated_step_allocates_nothing),
        cmocka_unit_test(gradients_of_one_tree_have_the_same_bits_for_any_threads),
        cmocka_unit_test(lack_of_memory_is_reported),
        cmocka_unit_test(few_rows_have_the_same_bits_alone),
        cmocka_unit_test(sums_and_choices_are_exact),
        cmocka_unit_test(exponentials_hold_over_the_whole_range),
        cmocka_unit_test(dropout_drops_its_share_and_can_be_off),
        cmocka_unit_test(nan_is_never_hidden),
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
