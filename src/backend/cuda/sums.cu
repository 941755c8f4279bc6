// SPDX-License-Identifier: Apache-2.0
/* Sums of columns, in a fixed order: a warp adds 32 rows in F32, its block the 16 sums of 512 rows
 * in F64, and a second launch those of more rows. */
#include "device.cuh"
#include "kernels.h"

enum {
    WARPS     = 16,
    ROWS      = 32, /* of a warp */
    CHUNK     = COLUMN_SUM_CHUNK,
    AT_ONCE   = 8, /* rows whose loads do not wait for each other */
    FINISHERS = 128
};

static_assert(CHUNK == WARPS * ROWS, "the rows of a block");

template <typename A, typename B>
__global__ void __launch_bounds__(WARPS * 32)
    column_sum_kernel(float *out, double *parts, view a, view b, const float *row_scale,
                      int64_t rows, int64_t columns)
{
    double *room   = (double *)device_shared(); /* [WARPS][32] */
    int lane       = (int)threadIdx.x % 32;
    int warp       = (int)threadIdx.x / 32;
    int64_t column = (int64_t)blockIdx.x * 32 + lane;
    int64_t first  = (int64_t)blockIdx.y * CHUNK + warp * ROWS;
    float sum      = 0.0f;
    for (int64_t row = first; row < first + ROWS && row < rows; row += AT_ONCE) {
        float v[AT_ONCE];
        UNROLL
        for (int i = 0; i < AT_ONCE; i++) {
            int64_t at = row + i;
            bool in    = column < columns && at < rows;
            v[i]       = in ? device_float(((const A *)a.data)[at * a.stride + column]) : 0.0f;
            if (in && b.data != NULL) {
                v[i] = device_mul(v[i], device_float(((const B *)b.data)[at * b.stride + column]));
            }
            if (in && row_scale != NULL) {
                v[i] = device_mul(v[i], row_scale[at]);
            }
        }
        UNROLL
        for (int i = 0; i < AT_ONCE; i++) {
            sum = device_add(sum, v[i]);
        }
    }
    room[threadIdx.x] = (double)sum;
    __syncthreads();
    if (warp > 0 || column >= columns) {
        return;
    }
    double total = 0.0;
    for (int w = 0; w < WARPS; w++) {
        total += room[w * 32 + lane];
    }
    if (gridDim.y == 1) {
        out[column] += (float)total;
    } else {
        parts[blockIdx.y * columns + column] = total;
    }
}

__global__ void __launch_bounds__(FINISHERS)
    column_total_kernel(float *out, const double *parts, int64_t count, int64_t columns)
{
    int64_t column = (int64_t)blockIdx.x * FINISHERS + threadIdx.x;
    double total   = 0.0;
    for (int64_t i = 0; i < count && column < columns; i++) {
        total += parts[i * columns + column];
    }
    if (column < columns) {
        out[column] += (float)total;
    }
}

extern "C" cudaError_t launch_column_sum(float *out, double *parts, view a, view b,
                                         const float *row_scale, int64_t rows, int64_t columns,
                                         cudaStream_t stream)
{
    int64_t chunks = (rows + CHUNK - 1) / CHUNK;
    size_t shared  = WARPS * 32 * sizeof(double);
    bool narrow_a  = a.element == ELEMENT_BF16;
    bool narrow_b  = b.element == ELEMENT_BF16;
    auto kernel    = narrow_a && narrow_b ? column_sum_kernel<__nv_bfloat16, __nv_bfloat16>
                     : narrow_a           ? column_sum_kernel<__nv_bfloat16, float>
                     : narrow_b           ? column_sum_kernel<float, __nv_bfloat16>
                                          : column_sum_kernel<float, float>;
    if (rows == 0 || columns == 0) {
        return cudaSuccess;
    }
    cudaError_t code =
        device_launch("column_sum", kernel, dim3((unsigned)((columns + 31) / 32), (unsigned)chunks),
                      dim3(WARPS * 32), shared, stream, out, parts, a, b, row_scale, rows, columns);
    if (code != cudaSuccess || chunks == 1) {
        return code;
    }
    return device_launch("column_total", column_total_kernel,
                         dim3((unsigned)((columns + FINISHERS - 1) / FINISHERS)), dim3(FINISHERS),
                         0, stream, out, parts, chunks, columns);
}
