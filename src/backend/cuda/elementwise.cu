// SPDX-License-Identifier: Apache-2.0
/* Copies of bytes, sums, and scaling and shifting by columns. */
#include "map.cuh"

enum { COPY_ROWS = 4 };

/* Rows of `columns` units each; the units are up to 16 bytes. */
template <typename U>
__global__ void __launch_bounds__(MAP_THREADS)
    copy_kernel(U *to, int64_t to_step, const U *from, int64_t from_step, extent shape)
{
    int64_t first = (int64_t)blockIdx.x * blockDim.y * COPY_ROWS + threadIdx.y;
    int64_t step  = (int64_t)gridDim.y * blockDim.x;
    int64_t start = (int64_t)blockIdx.y * blockDim.x + threadIdx.x;
    for (int64_t column = start; column < shape.columns; column += step) {
        U held[COPY_ROWS] = {};
        UNROLL
        for (int r = 0; r < COPY_ROWS; r++) {
            int64_t row = first + (int64_t)r * blockDim.y;
            if (from != NULL && row < shape.rows && (row < shape.rows - 1 || column < shape.last)) {
                held[r] = from[row * from_step + column];
            }
        }
        UNROLL
        for (int r = 0; r < COPY_ROWS; r++) {
            int64_t row = first + (int64_t)r * blockDim.y;
            if (row < shape.rows && (row < shape.rows - 1 || column < shape.last)) {
                to[row * to_step + column] = held[r];
            }
        }
    }
}

template <typename U>
static cudaError_t copy_units(void *to, int64_t to_step, const void *from, int64_t from_step,
                              extent shape, cudaStream_t stream)
{
    const int64_t size = sizeof(U);
    extent units       = {shape.rows, shape.columns / size, shape.last / size};
    dim3 block         = map_block(units.columns);
    return device_launch("copy", copy_kernel<U>,
                         map_grid(units.rows, units.columns, block, COPY_ROWS), block, 0, stream,
                         (U *)to, to_step / size, (const U *)from, from_step / size, units);
}

extern "C" cudaError_t launch_copy(void *to, int64_t to_step, const void *from, int64_t from_step,
                                   extent shape, cudaStream_t stream)
{
    uint64_t all = (uint64_t)(uintptr_t)to | (uint64_t)(uintptr_t)from | (uint64_t)to_step |
                   (uint64_t)from_step | (uint64_t)shape.columns | (uint64_t)shape.last;
    if (shape.rows == 0 || shape.columns == 0) {
        return cudaSuccess;
    }
    if (all % 16 == 0) {
        return copy_units<uint4>(to, to_step, from, from_step, shape, stream);
    }
    if (all % 4 == 0) {
        return copy_units<uint32_t>(to, to_step, from, from_step, shape, stream);
    }
    if (all % 2 == 0) {
        return copy_units<uint16_t>(to, to_step, from, from_step, shape, stream);
    }
    return copy_units<uint8_t>(to, to_step, from, from_step, shape, stream);
}

enum { SCALED_PIECE = 2048 }; /* elements of a block */

__global__ void __launch_bounds__(MAP_THREADS) scaled_copies_kernel(const scaled_copies copies)
{
    int which = 0;
    while (which + 1 < copies.count && blockIdx.x >= copies.copy[which + 1].block) {
        which++;
    }
    const scaled_copy &c = copies.copy[which];
    int64_t first        = (int64_t)(blockIdx.x - c.block) * SCALED_PIECE;
    int64_t all          = c.rows * c.columns;
    for (int64_t at = first + threadIdx.x; at < first + SCALED_PIECE && at < all;
         at += MAP_THREADS) {
        int64_t row    = at / c.columns;
        int64_t column = at % c.columns;
        float value    = ((const float *)c.from.data)[row * c.from.stride + column];
        store_element(c.to.data, c.to.element, row * c.to.stride + column, c.scale * value);
    }
}

extern "C" cudaError_t launch_scaled_copies(scaled_copies *copies, cudaStream_t stream)
{
    int64_t blocks = 0;
    for (int i = 0; i < copies->count; i++) {
        scaled_copy *c = &copies->copy[i];
        c->block       = (unsigned)blocks;
        blocks += parts_of(c->rows * c->columns, SCALED_PIECE);
    }
    if (blocks == 0) {
        return cudaSuccess;
    }
    return device_launch("scaled_copies", scaled_copies_kernel, dim3((unsigned)blocks),
                         dim3(MAP_THREADS), 0, stream, *copies);
}

/* A vector [columns] as a matrix whose rows are all the same. */
static view row_vector(const float *data)
{
    return view{(void *)data, 0, NULL, ELEMENT_F32};
}

struct axpy {
    float alpha;
    __device__ void operator()(const piece *in, piece *out, int64_t, int64_t) const
    {
        UNROLL
        for (int i = 0; i < PIECE; i++) {
            out->v[i] = in[0].v[i] + alpha * in[1].v[i];
        }
    }
};

struct multiply {
    __device__ void operator()(const piece *in, piece *out, int64_t, int64_t) const
    {
        UNROLL
        for (int i = 0; i < PIECE; i++) {
            out->v[i] = in[0].v[i] * in[1].v[i];
        }
    }
};

struct add {
    __device__ void operator()(const piece *in, piece *out, int64_t, int64_t) const
    {
        UNROLL
        for (int i = 0; i < PIECE; i++) {
            out->v[i] = in[0].v[i] + in[1].v[i];
        }
    }
};

/* Types in use, bits {first input, second input, output}: all F32, an F32 sum of BF16 parts, all
 * BF16; and with a vector, which is F32. */
extern "C" cudaError_t launch_axpy(view y, float alpha, view x, extent shape, cudaStream_t stream)
{
    return map<2, 0, 2, 7>("axpy", axpy{alpha}, matrices<2, 1>{{y, x, y}}, shape, stream);
}

extern "C" cudaError_t launch_column_scale(view y, view x, const float *scale, extent shape,
                                           cudaStream_t stream)
{
    return map<2, 0, 5>("column scale", multiply{}, matrices<2, 1>{{x, row_vector(scale), y}},
                        shape, stream);
}

extern "C" cudaError_t launch_bias(view y, const float *bias, extent shape, cudaStream_t stream)
{
    return map<2, 0, 5>("bias", add{}, matrices<2, 1>{{y, row_vector(bias), y}}, shape, stream);
}
