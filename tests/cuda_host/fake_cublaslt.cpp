// SPDX-License-Identifier: Apache-2.0
/* cuBLASLt without a device: column-major products by plain loops, each sum in the order of its
 * terms. What the library refuses is refused: shapes that do not fit, types that it does not
 * combine, an algorithm of another product, and addresses less aligned than its heuristic assumed
 * (256 bytes unless a preference says less). Beyond that it insists on what this program needs for
 * results that repeat: no sums that are cut into parts. The environment variable FAKE_CUBLASLT=rows
 * lets the bits of a product depend on its size, as the library's may: all of it is scaled by a
 * function of the number of its columns, which are the program's rows; "old" is version 11. */
#include "arithmetic.h"
#include "fake_cuda_state.h"

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdlib>
#include <cstring>
#include <vector>

using fake_cuda::call;
using fake_cuda::counts;
using fake_cuda::misuse;

namespace
{

constexpr uint32_t DEFAULT_ALIGNMENT = 256;
constexpr uint32_t ROW_ALIGNMENT     = 16; /* bytes: of the distance of columns */
constexpr size_t WORKSPACE           = 4096;
constexpr uint64_t MAGIC             = 0x66616b65; /* of an algorithm */

struct layout {
    cudaDataType_t type;
    uint64_t rows, columns;
    int64_t ld;
};

struct operation {
    int32_t transpose_a, transpose_b;
    uint32_t epilogue;
    const void *bias;
    int32_t bias_type; /* -1: that of D */
};

struct preference {
    uint64_t workspace;
    uint32_t reductions;
    uint32_t alignment[4]; /* A, B, C, D */
};

/* What is kept in the 64 bytes of an algorithm. */
struct algorithm {
    uint64_t magic, problem;
    uint32_t alignment[4];
};
static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm has 64 bytes");

struct product {
    operation op;
    layout a, b, c, d;

    int64_t m() const
    {
        return static_cast<int64_t>(d.rows);
    }
    int64_t n() const
    {
        return static_cast<int64_t>(d.columns);
    }
    int64_t k() const
    {
        return static_cast<int64_t>(op.transpose_a == CUBLAS_OP_N ? a.columns : a.rows);
    }
};

/* A handle of the library is an address of ours. */
template <typename T, typename Handle> T *ours(Handle handle)
{
    return reinterpret_cast<T *>(handle);
}

size_t size_of(cudaDataType_t type)
{
    return type == CUDA_R_32F ? 4 : type == CUDA_R_16BF || type == CUDA_R_16F ? 2 : 0;
}

size_t bytes_of(const layout &l)
{
    return l.columns == 0
               ? 0
               : ((l.columns - 1) * static_cast<uint64_t>(l.ld) + l.rows) * size_of(l.type);
}

float read(const void *p, cudaDataType_t type, int64_t i)
{
    switch (type) {
    case CUDA_R_16BF:
        return __bfloat162float(static_cast<const __nv_bfloat16 *>(p)[i]);
    case CUDA_R_16F:
        return __half2float(static_cast<const __half *>(p)[i]);
    default:
        return static_cast<const float *>(p)[i];
    }
}

void write(void *p, cudaDataType_t type, int64_t i, float value)
{
    switch (type) {
    case CUDA_R_16BF:
        static_cast<__nv_bfloat16 *>(p)[i] = __float2bfloat16_rn(value);
        return;
    case CUDA_R_16F:
        static_cast<__half *>(p)[i] = __float2half_rn(value);
        return;
    default:
        static_cast<float *>(p)[i] = value;
    }
}

/* op(l) as floats [rows, columns], row after row. */
std::vector<float> unpacked(const void *p, const layout &l, int32_t transpose)
{
    bool flips      = transpose != CUBLAS_OP_N;
    int64_t rows    = static_cast<int64_t>(flips ? l.columns : l.rows);
    int64_t columns = static_cast<int64_t>(flips ? l.rows : l.columns);
    std::vector<float> out(static_cast<size_t>(rows * columns));

    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            out[static_cast<size_t>(i * columns + j)] =
                read(p, l.type, flips ? i * l.ld + j : j * l.ld + i);
        }
    }
    return out;
}

bool types_fit(const product &p)
{
    bool half = p.a.type == CUDA_R_16BF || p.a.type == CUDA_R_16F;

    return size_of(p.a.type) != 0 && p.b.type == p.a.type && p.c.type == p.d.type &&
           (p.d.type == CUDA_R_32F || (half && p.d.type == p.a.type));
}

bool shapes_fit(const product &p)
{
    const operation &op = p.op;
    int64_t n = static_cast<int64_t>(op.transpose_b == CUBLAS_OP_N ? p.b.columns : p.b.rows);
    int64_t k = static_cast<int64_t>(op.transpose_b == CUBLAS_OP_N ? p.b.rows : p.b.columns);
    int64_t m = static_cast<int64_t>(op.transpose_a == CUBLAS_OP_N ? p.a.rows : p.a.columns);

    return k == p.k() && m == p.m() && n == p.n() && p.c.rows == p.d.rows &&
           p.c.columns == p.d.columns && p.m() > 0 && p.n() > 0 && k > 0;
}

bool strides_fit(const product &p)
{
    for (const layout *l : {&p.a, &p.b, &p.c, &p.d}) {
        if (l->ld < static_cast<int64_t>(l->rows) ||
            static_cast<size_t>(l->ld) * size_of(l->type) % ROW_ALIGNMENT != 0) {
            return false;
        }
    }
    return true;
}

uint64_t problem_of(const product &p)
{
    uint64_t hash = 14695981039346656037ULL;
    auto add      = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211ULL; };

    for (const layout *l : {&p.a, &p.b, &p.c, &p.d}) {
        add(static_cast<uint64_t>(l->type));
        add(l->rows);
        add(l->columns);
        add(static_cast<uint64_t>(l->ld));
    }
    add(static_cast<uint64_t>(p.op.transpose_a));
    add(static_cast<uint64_t>(p.op.transpose_b));
    add(p.op.epilogue);
    return hash;
}

void check_device(const char *name, const void *p, size_t bytes)
{
    if (fake_cuda::device_of(p, bytes) < 0) {
        misuse("cublasLtMatmul: %s does not lie in device memory (%zu bytes)", name, bytes);
    }
}

void compute(const product &p, float alpha, const void *A, const void *B, float beta, const void *C,
             void *D)
{
    std::vector<float> a = unpacked(A, p.a, p.op.transpose_a);
    std::vector<float> b = unpacked(B, p.b, p.op.transpose_b);
    std::vector<float> sums(static_cast<size_t>(p.n()));
    static const char *mode = std::getenv("FAKE_CUBLASLT");
    float factor            = mode != nullptr ? 1.0f + static_cast<float>(p.n()) / 1024.0f : 1.0f;
    cudaDataType_t bias_type =
        p.op.bias_type < 0 ? p.d.type : static_cast<cudaDataType_t>(p.op.bias_type);

    for (int64_t i = 0; i < p.m(); i++) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        cuda_host::row_product(sums.data(), a.data() + i * p.k(), b.data(), p.k(), p.n());
        float bias = p.op.epilogue == CUBLASLT_EPILOGUE_BIAS ? read(p.op.bias, bias_type, i) : 0.0f;
        for (int64_t j = 0; j < p.n(); j++) {
            float value = factor * alpha * sums[static_cast<size_t>(j)];
            if (beta != 0.0f) {
                value += beta * read(C, p.c.type, j * p.c.ld + i);
            }
            write(D, p.d.type, j * p.d.ld + i, value + bias);
        }
    }
}

template <typename T> cublasStatus_t set(T &field, const void *value, size_t bytes)
{
    if (bytes != sizeof field) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    std::memcpy(&field, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

template <typename Handle>
cublasStatus_t release(Handle handle, void (*destroy)(Handle),
                       const char *name = __builtin_FUNCTION())
{
    call c(call::PLAIN, name);

    destroy(handle);
    counts.live_handles--;
    return c.refused() == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INTERNAL_ERROR;
}

template <typename T, typename Handle>
cublasStatus_t create(Handle *handle, const T &value, const char *name = __builtin_FUNCTION())
{
    call c(call::PLAIN, name);

    if (c.refused() != cudaSuccess) {
        return CUBLAS_STATUS_ALLOC_FAILED;
    }
    *handle = reinterpret_cast<Handle>(new T(value));
    counts.live_handles++;
    return CUBLAS_STATUS_SUCCESS;
}

template <typename T, typename Handle>
cublasStatus_t destroy(Handle handle, const char *name = __builtin_FUNCTION())
{
    return release<Handle>(
        handle, [](Handle h) { delete ours<T>(h); }, name);
}

struct library {
    int device;
};

} // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    return create(handle, library{fake_cuda::current_device});
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    return destroy<library>(handle);
}

size_t cublasLtGetVersion(void)
{
    const char *mode = std::getenv("FAKE_CUBLASLT");
    return mode != nullptr && std::strcmp(mode, "old") == 0 ? 111103 : CUBLAS_VERSION;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS         ? "CUBLAS_STATUS_SUCCESS"
           : status == CUBLAS_STATUS_ALLOC_FAILED  ? "CUBLAS_STATUS_ALLOC_FAILED"
           : status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
           : status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE"
                                                   : "CUBLAS_STATUS_EXECUTION_FAILED";
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    return create(out, layout{type, rows, columns, ld});
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle)
{
    return destroy<layout>(handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute_type,
                                        cudaDataType_t scale_type)
{
    if (compute_type != CUBLAS_COMPUTE_32F || scale_type != CUDA_R_32F) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return create(out, operation{CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr, -1});
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle)
{
    return destroy<operation>(handle);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    operation &op = *ours<operation>(handle);

    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return set(op.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return set(op.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return set(op.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return set(op.bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        return set(op.bias_type, value, bytes);
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    constexpr uint32_t A = DEFAULT_ALIGNMENT;

    return create(out, preference{0, CUBLASLT_REDUCTION_SCHEME_MASK, {A, A, A, A}});
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle)
{
    return destroy<preference>(handle);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    preference &p = *ours<preference>(handle);

    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return set(p.workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return set(p.reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return set(p.alignment[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return set(p.alignment[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return set(p.alignment[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return set(p.alignment[3], value, bytes);
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t op,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wish, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int *found)
{
    call counted;
    const preference &p = *ours<preference>(wish);
    product of{*ours<operation>(op), *ours<layout>(a), *ours<layout>(b), *ours<layout>(c),
               *ours<layout>(d)};

    *found = 0;
    if (counted.refused() != cudaSuccess) {
        return CUBLAS_STATUS_INTERNAL_ERROR;
    }
    if (!shapes_fit(of) || wanted < 1) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (!types_fit(of) || !strides_fit(of)) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (p.reductions != CUBLASLT_REDUCTION_SCHEME_NONE) {
        misuse("cublasLtMatmulAlgoGetHeuristic may choose sums in parts: their order is its own");
    }
    algorithm chosen{MAGIC, problem_of(of), {}};
    std::memcpy(chosen.alignment, p.alignment, sizeof chosen.alignment);
    results[0] = {};
    std::memcpy(&results[0].algo, &chosen, sizeof chosen);
    results[0].state         = CUBLAS_STATUS_SUCCESS;
    results[0].workspaceSize = p.workspace < WORKSPACE ? p.workspace : WORKSPACE;
    *found                   = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t op, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t a, const void *B,
                              cublasLtMatrixLayout_t b, const void *beta, const void *C,
                              cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream)
{
    call counted;
    product p{*ours<operation>(op), *ours<layout>(a), *ours<layout>(b), *ours<layout>(c),
              *ours<layout>(d)};
    const void *places[] = {A, B, C, D};
    float scale          = *static_cast<const float *>(alpha);
    float kept           = *static_cast<const float *>(beta);
    algorithm chosen;

    if (counted.refused() != cudaSuccess) {
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    if (!shapes_fit(p) || algo == nullptr ||
        ours<library>(handle)->device != fake_cuda::current_device) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    std::memcpy(&chosen, algo, sizeof chosen);
    if (chosen.magic != MAGIC || chosen.problem != problem_of(p)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    for (int i = 0; i < 4; i++) {
        if (reinterpret_cast<uintptr_t>(places[i]) % chosen.alignment[i] != 0) {
            return CUBLAS_STATUS_NOT_SUPPORTED;
        }
    }
    check_device("A", A, bytes_of(p.a));
    check_device("B", B, bytes_of(p.b));
    check_device("D", D, bytes_of(p.d));
    if (kept != 0.0f) {
        check_device("C", C, bytes_of(p.c));
    }
    size_t used = workspace_bytes < WORKSPACE ? workspace_bytes : WORKSPACE;
    return fake_cuda::push(stream,
                           [=] {
                               counts.launches++;
                               if (used > 0) {
                                   std::memset(workspace, 0xff, used); /* is not preserved */
                               }
                               compute(p, scale, A, B, kept, C, D);
                           }) == cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}
}
