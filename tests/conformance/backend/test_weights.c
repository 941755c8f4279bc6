// SPDX-License-Identifier: Apache-2.0
/* Frozen 16-bit weights, for every registered backend: products and look-ups use them like their
 * F32 values. */
#include "device.h"

#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const pb_backend_ops *table; /* the one under test */

/* Bits of small numbers: BF16 or F16 of about -2 … 2, subnormals of F16 included. */
static uint16_t half_at(pb_dtype dtype, uint64_t i)
{
    pb_random stream = pb_random_stream(4, PB_RANDOM_TEST, 1);
    if (dtype == PB_DTYPE_BF16) {
        return pb_f32_to_bf16((float)(4.0 * pb_random_uniform(stream, i) - 2.0));
    }
    uint16_t sign = pb_random_below(stream, 2 * i, 2) != 0 ? 0x8000 : 0;
    return (uint16_t)(sign | pb_random_below(stream, 2 * i + 1, 0x4000));
}

static pb_tensor matrix(pb_backend *be, int64_t rows, int64_t columns, pb_dtype dtype)
{
    void *host       = calloc((size_t)(rows * columns) + 1, sizeof(float));
    pb_random stream = pb_random_stream(4, PB_RANDOM_TEST, 2);
    pb_tensor from   = pb_tensor_2d(host, dtype, rows, columns);
    pb_tensor t      = from;
    for (int64_t i = 0; i < rows * columns; i++) {
        if (dtype == PB_DTYPE_F32) {
            ((float *)host)[i] = (float)(2.0 * pb_random_uniform(stream, (uint64_t)i) - 1.0);
        } else {
            ((uint16_t *)host)[i] = half_at(dtype, (uint64_t)i);
        }
    }
    assert_int_equal(pb_backend_alloc(be, pb_tensor_bytes(&t), &t.data), PB_OK);
    assert_int_equal(pb_copy(be, &t, &from), PB_OK);
    free(host);
    return t;
}

static pb_tensor widened(pb_backend *be, const pb_tensor *half)
{
    pb_tensor wide = matrix(be, half->shape[0], half->shape[1], PB_DTYPE_F32);
    assert_int_equal(pb_copy(be, &wide, half), PB_OK);
    return wide;
}

static double relative_error(pb_backend *be, const pb_tensor *got, const pb_tensor *wanted)
{
    double difference = 0;
    double size       = 0;
    float *x          = host_values(be, got);
    float *y          = host_values(be, wanted);
    for (int64_t i = 0; i < pb_tensor_count(got); i++) {
        difference += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        size += (double)y[i] * (double)y[i];
    }
    free(x);
    free(y);
    return size > 0 ? sqrt(difference / size) : difference;
}

/* Rounds x to the nearest BF16 values. */
static void round_bf16(pb_backend *be, const pb_tensor *x)
{
    float *values = host_values(be, x);
    pb_floats_round_bf16(values, pb_tensor_count(x));
    host_write(be, x, values);
    free(values);
}

/* Few rows with a transposed B give the same sums, bit for bit; a CBLAS may sum in a different
 * order. */
static void check_product(int64_t m, int64_t n, int64_t k, pb_dtype dtype, bool transposed)
{
    pb_backend *be      = NULL;
    pb_matmul_args args = {.transpose_b = transposed, .alpha = 0.5f, .beta = 2.0f};
    assert_int_equal(pb_backend_open(table->name, 0, 3, &be), PB_OK);
    pb_tensor a    = matrix(be, m, k, PB_DTYPE_F32);
    pb_tensor b    = transposed ? matrix(be, n, k, dtype) : matrix(be, k, n, dtype);
    pb_tensor wide = widened(be, &b);
    pb_tensor got  = matrix(be, m, n, PB_DTYPE_F32);
    pb_tensor want = matrix(be, m, n, PB_DTYPE_F32);
    assert_int_equal(pb_matmul(be, &got, &a, &b, &args), PB_OK);
    assert_int_equal(pb_matmul(be, &want, &a, &wide, &args), PB_OK);
    if (transposed && m <= 4) {
        assert_true(host_equal(be, &got, &want));
    }
    assert_true(relative_error(be, &got, &want) < 1e-6);

    pb_backend *alone = NULL;
    assert_int_equal(pb_backend_open(table->name, 0, 1, &alone), PB_OK);
    pb_tensor own_a = matrix(alone, m, k, PB_DTYPE_F32); /* the same values */
    pb_tensor own_b = transposed ? matrix(alone, n, k, dtype) : matrix(alone, k, n, dtype);
    pb_tensor again = matrix(alone, m, n, PB_DTYPE_F32);
    assert_int_equal(pb_matmul(alone, &again, &own_a, &own_b, &args), PB_OK);
    float *first  = host_values(be, &got);
    float *second = host_values(alone, &again);
    assert_memory_equal(first, second, (size_t)(m * n) * sizeof *first);
    free(first);
    free(second);
    pb_backend_free(alone, own_a.data);
    pb_backend_free(alone, own_b.data);
    pb_backend_free(alone, again.data);
    pb_backend_close(alone);

    pb_tensor *all[] = {&a, &b, &wide, &got, &want};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        pb_backend_free(be, all[i]->data);
    }
    pb_backend_close(be);
    assert_int_equal(pb_memory_current(), 0);
}

static void products_are_those_of_the_f32_values(void **state)
{
    (void)state;
    static const int64_t shapes[][3] = {{1, 1, 1},      {1, 70, 33},    {3, 40, 129},  {4, 300, 64},
                                        {5, 1, 7},      {9, 17, 100},   {70, 600, 40}, {33, 16, 0},
                                        {700, 900, 70}, {12, 40, 20000}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int64_t *s = shapes[i];
        for (int transposed = 0; transposed < 2; transposed++) {
            check_product(s[0], s[1], s[2], PB_DTYPE_BF16, transposed);
            check_product(s[0], s[1], s[2], PB_DTYPE_F16, transposed);
        }
    }
}

/* Parts of a weight have the stride of the whole. */
static void a_part_of_a_weight_can_be_multiplied(void **state)
{
    (void)state;
    pb_backend *be = NULL;
    assert_int_equal(pb_backend_open(table->name, 0, 1, &be), PB_OK);
    pb_tensor a         = matrix(be, 6, 10, PB_DTYPE_F32);
    pb_tensor whole     = matrix(be, 20, 30, PB_DTYPE_BF16);
    pb_tensor part      = pb_tensor_columns(&whole, 7, 10);
    pb_tensor wide      = widened(be, &part);
    pb_tensor got       = matrix(be, 6, 20, PB_DTYPE_F32);
    pb_tensor want      = matrix(be, 6, 20, PB_DTYPE_F32);
    pb_matmul_args args = {.transpose_b = true, .alpha = 1.0f};
    assert_int_equal(pb_matmul(be, &got, &a, &part, &args), PB_OK);
    assert_int_equal(pb_matmul(be, &want, &a, &wide, &args), PB_OK);
    assert_true(relative_error(be, &got, &want) < 1e-6);
    pb_tensor *all[] = {&a, &whole, &wide, &got, &want};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        pb_backend_free(be, all[i]->data);
    }
    pb_backend_close(be);
}

static void rows_are_looked_up_exactly(void **state)
{
    (void)state;
    pb_backend *be             = NULL;
    static const int32_t ids[] = {3, -1, 0, 3, 8};
    assert_int_equal(pb_backend_open(table->name, 0, 2, &be), PB_OK);
    for (pb_dtype dtype = PB_DTYPE_BF16; dtype <= PB_DTYPE_F16; dtype++) {
        pb_tensor half = matrix(be, 9, 21, dtype);
        pb_tensor wide = widened(be, &half);
        pb_tensor got  = matrix(be, 5, 21, PB_DTYPE_F32);
        pb_tensor want = matrix(be, 5, 21, PB_DTYPE_F32);
        pb_list list;
        assert_int_equal(pb_page_begin(be, 0), PB_OK);
        assert_int_equal(pb_page_list(be, "ids", ids, 5, -1, 9, &list), PB_OK);
        assert_int_equal(pb_page_end(be), PB_OK);
        assert_int_equal(pb_embedding_forward(be, &got, &half, &list, 3.5f), PB_OK);
        assert_int_equal(pb_embedding_forward(be, &want, &wide, &list, 3.5f), PB_OK);
        assert_true(host_equal(be, &got, &want));
        pb_tensor *all[] = {&half, &wide, &got, &want};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            pb_backend_free(be, all[i]->data);
        }
    }
    pb_backend_close(be);
}

/* Whichever library multiplies them: a weight that is BF16, and one that becomes it. */
static void products_of_bf16_factors_have_the_same_bits_for_any_threads(void **state)
{
    (void)state;
    enum { M = 530, N = 610, K = 130 };
    const pb_matmul_args args = {.transpose_b = true, .alpha = 1.0f};
    for (int half = 0; half < 2; half++) {
        float *values[2] = {NULL, NULL};
        for (int i = 0; i < 2; i++) {
            pb_backend *be = NULL;
            assert_int_equal(pb_backend_open(table->name, 0, i == 0 ? 1 : 3, &be), PB_OK);
            assert_int_equal(pb_backend_use_dtype(be, PB_DTYPE_BF16), PB_OK);
            pb_tensor a = matrix(be, M, K, PB_DTYPE_F32);
            pb_tensor b = matrix(be, N, K, half != 0 ? PB_DTYPE_BF16 : PB_DTYPE_F32);
            pb_tensor c = matrix(be, M, N, PB_DTYPE_F32);
            assert_int_equal(pb_matmul(be, &c, &a, &b, &args), PB_OK);
            values[i] = host_values(be, &c);
            pb_backend_free(be, a.data);
            pb_backend_free(be, b.data);
            pb_backend_free(be, c.data);
            pb_backend_close(be);
        }
        assert_memory_equal(values[0], values[1], M * N * sizeof *values[0]);
        free(values[0]);
        free(values[1]);
    }
}

/* Products of bf16 factors are those of the rounded values; sums stay F32. */
static void bf16_factors_are_rounded(void **state)
{
    (void)state;
    static const int64_t shapes[][3] = {{2, 30, 70}, {40, 33, 90}, {700, 600, 20}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (int t = 0; t < 4; t++) {
            const int64_t *s    = shapes[i];
            pb_matmul_args args = {.transpose_a = t & 1, .transpose_b = t & 2, .alpha = 1.0f};
            pb_backend *be      = NULL;
            assert_int_equal(pb_backend_open(table->name, 0, 1, &be), PB_OK);
            pb_tensor a    = args.transpose_a ? matrix(be, s[2], s[0], PB_DTYPE_F32)
                                              : matrix(be, s[0], s[2], PB_DTYPE_F32);
            pb_tensor b    = args.transpose_b ? matrix(be, s[1], s[2], PB_DTYPE_F32)
                                              : matrix(be, s[2], s[1], PB_DTYPE_F32);
            pb_tensor got  = matrix(be, s[0], s[1], PB_DTYPE_F32);
            pb_tensor full = matrix(be, s[0], s[1], PB_DTYPE_F32);
            pb_tensor want = matrix(be, s[0], s[1], PB_DTYPE_F32);
            assert_int_equal(pb_backend_use_dtype(be, PB_DTYPE_BF16), PB_OK);
            assert_int_equal(pb_matmul(be, &got, &a, &b, &args), PB_OK);
            assert_int_equal(pb_backend_use_dtype(be, PB_DTYPE_F32), PB_OK);
            assert_int_equal(pb_matmul(be, &full, &a, &b, &args), PB_OK);
            round_bf16(be, &a);
            round_bf16(be, &b);
            assert_int_equal(pb_matmul(be, &want, &a, &b, &args), PB_OK);
            assert_true(relative_error(be, &got, &want) < 1e-6);
            assert_true(relative_error(be, &got, &full) > 1e-4);
            pb_tensor *all[] = {&a, &b, &got, &full, &want};
            for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
                pb_backend_free(be, all[k]->data);
            }
            pb_backend_close(be);
        }
    }
    pb_backend *be = NULL;
    assert_int_equal(pb_backend_open(table->name, 0, 1, &be), PB_OK);
    assert_int_equal(pb_backend_use_dtype(be, PB_DTYPE_F16), PB_ERR_UNSUPPORTED);
    pb_error_clear();
    /* After bf16 was switched on and off again, thirds are unchanged. */
    const float third   = 1.0f / 3.0f;
    pb_tensor x         = device_matrix(be, 1, 1, &third);
    pb_tensor one       = device_matrix(be, 1, 1, &(const float){1.0f});
    pb_tensor y         = device_matrix(be, 1, 1, NULL);
    pb_matmul_args args = {.transpose_b = true, .alpha = 1.0f};
    assert_int_equal(pb_backend_use_dtype(be, PB_DTYPE_BF16), PB_OK);
    assert_int_equal(pb_matmul(be, &y, &x, &one, &args), PB_OK);
    assert_true(host_get(be, &y, 0) != third);
    assert_int_equal(pb_backend_use_dtype(be, PB_DTYPE_F32), PB_OK);
    assert_int_equal(pb_matmul(be, &y, &x, &one, &args), PB_OK);
    assert_true(host_get(be, &y, 0) == third);
    pb_backend_free(be, x.data);
    pb_backend_free(be, one.data);
    pb_backend_free(be, y.data);
    pb_backend_close(be);
}

/* Only frozen weights may have 16 bits: computed values are F32. */
static void other_factors_are_refused(void **state)
{
    (void)state;
    pb_backend *be = NULL;
    assert_int_equal(pb_backend_open(table->name, 0, 1, &be), PB_OK);
    pb_tensor half      = matrix(be, 4, 4, PB_DTYPE_BF16);
    pb_tensor wide      = matrix(be, 4, 4, PB_DTYPE_F32);
    pb_tensor out       = matrix(be, 4, 4, PB_DTYPE_F32);
    pb_matmul_args args = {.alpha = 1.0f};
    assert_int_equal(pb_matmul(be, &out, &half, &wide, &args), PB_ERR_UNSUPPORTED);
    assert_int_equal(pb_matmul(be, &half, &wide, &out, &args), PB_ERR_UNSUPPORTED);
    pb_error_clear();
    pb_backend_free(be, half.data);
    pb_backend_free(be, wide.data);
    pb_backend_free(be, out.data);
    pb_backend_close(be);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_the_f32_values),
        cmocka_unit_test(a_part_of_a_weight_can_be_multiplied),
        cmocka_unit_test(rows_are_looked_up_exactly),
        cmocka_unit_test(products_of_bf16_factors_have_the_same_bits_for_any_threads),
        cmocka_unit_test(bf16_factors_are_rounded),
        cmocka_unit_test(other_factors_are_refused),
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
