// SPDX-License-Identifier: Apache-2.0
/* cuBLASLt without a device: products in every layout and type that it combines, and what it
 * refuses. */
#include "fake_cuda.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

enum { M = 16, N = 8, K = 24, LD = 32, ROOM = LD * LD };

typedef struct product {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulPreference_t wish;
    cublasLtMatmulHeuristicResult_t best;
    int found;
    cudaDataType_t type, result;
    bool ta, tb;
} product;

static void good(cublasStatus_t status)
{
    assert_int_equal(status, CUBLAS_STATUS_SUCCESS);
}

static void must(cudaError_t error)
{
    assert_string_equal(cudaGetErrorName(error), "cudaSuccess");
}

static cublasLtMatrixLayout_t layout(cudaDataType_t type, bool flips, int rows, int columns, int ld)
{
    cublasLtMatrixLayout_t out = NULL;

    good(cublasLtMatrixLayoutCreate(&out, type, (uint64_t)(flips ? columns : rows),
                                    (uint64_t)(flips ? rows : columns), ld));
    return out;
}

static void set_wish(product *p, uint32_t alignment)
{
    const uint32_t none = CUBLASLT_REDUCTION_SCHEME_NONE;

    good(cublasLtMatmulPreferenceCreate(&p->wish));
    good(cublasLtMatmulPreferenceSetAttribute(p->wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                              &none, sizeof none));
    for (int i = 0; i < 4; i++) {
        good(cublasLtMatmulPreferenceSetAttribute(
            p->wish,
            (cublasLtMatmulPreferenceAttributes_t)(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES + i),
            &alignment, sizeof alignment));
    }
}

/* op(A) [M, K] op(B) [K, N] = D [M, N], column after column at a distance of `ld`. */
static cublasStatus_t prepare(product *p, int ld, uint32_t alignment)
{
    int32_t first  = p->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    int32_t second = p->tb ? CUBLAS_OP_T : CUBLAS_OP_N;

    good(cublasLtCreate(&p->handle));
    good(cublasLtMatmulDescCreate(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    good(cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first));
    good(
        cublasLtMatmulDescSetAttribute(p->op, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second));
    p->a = layout(p->type, p->ta, M, K, ld);
    p->b = layout(p->type, p->tb, K, N, ld);
    p->d = layout(p->result, false, M, N, ld);
    set_wish(p, alignment);
    return cublasLtMatmulAlgoGetHeuristic(p->handle, p->op, p->a, p->b, p->d, p->d, p->wish, 1,
                                          &p->best, &p->found);
}

static void release(product *p)
{
    good(cublasLtMatmulPreferenceDestroy(p->wish));
    good(cublasLtMatrixLayoutDestroy(p->a));
    good(cublasLtMatrixLayoutDestroy(p->b));
    good(cublasLtMatrixLayoutDestroy(p->d));
    good(cublasLtMatmulDescDestroy(p->op));
    good(cublasLtDestroy(p->handle));
    assert_int_equal(fake_cuda_count().live_handles, 0);
}

/* Small whole numbers, which every type holds. */
static float element(int row, int column, int which)
{
    return (float)((row * 7 + column * 3 + which) % 5 - 2);
}

static void store(void *to, cudaDataType_t type, int at, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    uint16_t half = (uint16_t)(bits >> 16);
    if (type == CUDA_R_32F) {
        memcpy((char *)to + 4 * at, &value, 4);
    } else {
        memcpy((char *)to + 2 * at, &half, 2);
    }
}

static float load(const void *from, cudaDataType_t type, int at)
{
    uint32_t bits = 0;
    float value;

    memcpy(type == CUDA_R_32F ? (char *)&bits : (char *)&bits + 2,
           (const char *)from + (type == CUDA_R_32F ? 4 : 2) * at, type == CUDA_R_32F ? 4 : 2);
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void fill(void *to, cudaDataType_t type, bool flips, int rows, int columns, int which)
{
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
            store(to, type, flips ? i * LD + j : j * LD + i, element(i, j, which));
        }
    }
}

static void compare(const product *p, const void *host)
{
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < N; j++) {
            float sum = 0.0f;
            for (int k = 0; k < K; k++) {
                sum += element(i, k, 1) * element(k, j, 2);
            }
            assert_true(load(host, p->result, j * LD + i) == 2.0f * sum + 3.0f * element(i, j, 3));
        }
    }
}

/* D = 2 A B + 3 D; moved: the address of A in bytes. */
static cublasStatus_t multiply(product *p, size_t moved, bool check)
{
    const float alpha = 2.0f;
    const float beta  = 3.0f;
    char *host        = NULL;
    char *device      = NULL;
    size_t part       = ROOM * sizeof(float);

    must(cudaHostAlloc((void **)&host, 3 * part, cudaHostAllocDefault));
    must(cudaMalloc((void **)&device, 3 * part));
    memset(host, 0xff, 3 * part);
    fill(host, p->type, p->ta, M, K, 1);
    fill(host + part, p->type, p->tb, K, N, 2);
    fill(host + 2 * part, p->result, false, M, N, 3);
    must(cudaMemcpyAsync(device, host, 3 * part, cudaMemcpyHostToDevice, NULL));
    cublasStatus_t status = cublasLtMatmul(p->handle, p->op, &alpha, device + moved, p->a,
                                           device + part, p->b, &beta, device + 2 * part, p->d,
                                           device + 2 * part, p->d, &p->best.algo, NULL, 0, NULL);
    must(cudaMemcpyAsync(host, device, 3 * part, cudaMemcpyDeviceToHost, NULL));
    must(cudaStreamSynchronize(NULL));
    if (check) {
        compare(p, host + 2 * part);
    }
    must(cudaFree(device));
    must(cudaFreeHost(host));
    return status;
}

static void test_products_in_every_layout_and_type(void **state)
{
    static const cudaDataType_t types[][2] = {
        {CUDA_R_32F, CUDA_R_32F}, {CUDA_R_16BF, CUDA_R_32F}, {CUDA_R_16BF, CUDA_R_16BF}};

    (void)state;
    for (int i = 0; i < 12; i++) {
        product p = {.type   = types[i / 4][0],
                     .result = types[i / 4][1],
                     .ta     = i % 2 != 0,
                     .tb     = i / 2 % 2 != 0};
        good(prepare(&p, LD, 16));
        assert_int_equal(p.found, 1);
        good(multiply(&p, 0, true));
        release(&p);
    }
}

static void test_types_and_strides_that_have_no_algorithm(void **state)
{
    product types   = {.type = CUDA_R_32F, .result = CUDA_R_16BF};
    product strides = {.type = CUDA_R_16BF, .result = CUDA_R_32F};

    (void)state;
    assert_int_equal(prepare(&types, LD, 16), CUBLAS_STATUS_NOT_SUPPORTED);
    assert_int_equal(types.found, 0);
    release(&types);
    assert_int_equal(prepare(&strides, LD + 1, 16), CUBLAS_STATUS_NOT_SUPPORTED);
    release(&strides);
}

static void test_an_address_keeps_what_the_heuristic_assumed(void **state)
{
    product p = {.type = CUDA_R_16BF, .result = CUDA_R_32F};

    (void)state;
    good(prepare(&p, LD, 256));
    assert_int_equal(multiply(&p, 16, false), CUBLAS_STATUS_NOT_SUPPORTED);
    good(multiply(&p, 0, true));
    release(&p);
}

static void test_an_algorithm_belongs_to_its_product(void **state)
{
    product p     = {.type = CUDA_R_16BF, .result = CUDA_R_32F};
    product other = {.type = CUDA_R_16BF, .result = CUDA_R_32F, .ta = true};

    (void)state;
    good(prepare(&p, LD, 16));
    cublasLtMatmulHeuristicResult_t foreign = p.best;
    release(&p);
    good(prepare(&other, LD, 16));
    other.best = foreign;
    assert_int_equal(multiply(&other, 0, false), CUBLAS_STATUS_INVALID_VALUE);
    release(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_in_every_layout_and_type),
        cmocka_unit_test(test_types_and_strides_that_have_no_algorithm),
        cmocka_unit_test(test_an_address_keeps_what_the_heuristic_assumed),
        cmocka_unit_test(test_an_algorithm_belongs_to_its_product),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
