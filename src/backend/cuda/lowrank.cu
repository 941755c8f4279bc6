// SPDX-License-Identifier: Apache-2.0
/* Products with a narrow factor, as methods of the LoRA family add them. Dropout is applied while
 * rows are read, so what it leaves is never stored.
 *
 * Tiles are 64 rows by 64 columns, by tensor cores in BF16, or in F32 with the same cuts. Sums over
 * columns are cut every 512 columns and sums over rows every 512 rows, and the parts are added in
 * order: neither depends on how the work is shared among blocks. */
#include "philox.cuh"

enum {
    THREADS = 128,
    TILE    = 64,
    PITCH   = TILE + 8, /* elements from one row of a tile to the next: no bank conflicts */
    STEP    = 16,       /* of the inner dimension, by one instruction */
    PIECES  = TILE * TILE / PIECE / THREADS,
    ENOUGH  = 128 /* blocks */
};

static __device__ __forceinline__ void put_piece(float *to, const piece &p)
{
    ((float4 *)to)[0] = make_float4(p.v[0], p.v[1], p.v[2], p.v[3]);
    ((float4 *)to)[1] = make_float4(p.v[4], p.v[5], p.v[6], p.v[7]);
}
static __device__ __forceinline__ void put_piece(__nv_bfloat16 *to, const piece &p)
{
    *(uint4 *)to = make_uint4(device_pair(p.v[0], p.v[1]), device_pair(p.v[2], p.v[3]),
                              device_pair(p.v[4], p.v[5]), device_pair(p.v[6], p.v[7]));
}

static __device__ __forceinline__ piece read_piece(const view &m, bool aligned, int64_t row,
                                                   int64_t column, int64_t columns)
{
    int count  = piece_count(column, columns);
    int64_t at = row * m.stride + column;
    return aligned && count == PIECE ? load_piece<true>(m.data, m.element, at, count)
                                     : load_piece<false>(m.data, m.element, at, count);
}

/* Where the pieces of a tile are that a thread moves. */
static __device__ __forceinline__ int piece_row(int i)
{
    return ((int)threadIdx.x + i * THREADS) / (TILE / PIECE);
}
static __device__ __forceinline__ int piece_column(void)
{
    return (int)threadIdx.x % (TILE / PIECE) * PIECE;
}

/* Rows first_row … and columns first_column … of m become a tile, zero beyond `rows`, `columns`. */
template <typename S>
static __device__ __forceinline__ void
stage_rows(S *tile, const view &m, bool aligned, const drop_draw &draw, int64_t first_row,
           int64_t rows, int64_t first_column, int64_t columns)
{
    piece p[PIECES];
    int64_t column = first_column + piece_column();
    UNROLL
    for (int i = 0; i < PIECES; i++) {
        int64_t row = first_row + piece_row(i);
        p[i]        = piece{};
        if (row < rows && column < columns) {
            p[i] = read_piece(m, aligned, row, column, columns);
        }
    }
    UNROLL
    for (int i = 0; i < PIECES; i++) {
        if (draw.threshold != 0) {
            drop_piece(&p[i], draw, first_row + piece_row(i), column, columns);
        }
        put_piece(tile + piece_row(i) * PITCH + piece_column(), p[i]);
    }
}

/* Where element (n, k) of a factor of a product is. */
struct factor_view {
    const void *data;
    enum element element;
    int64_t n_step, k_step;
};

/* N rows of a tile, by n, from n and k on; zero beyond the limits. */
template <int N, typename S>
static __device__ __forceinline__ void stage_factor(S *tile, const factor_view &f, int64_t first_n,
                                                    int64_t n_limit, int64_t first_k,
                                                    int64_t k_limit)
{
    for (int at = (int)threadIdx.x; at < N * TILE; at += THREADS) {
        int n      = f.k_step == 1 ? at / TILE : at % N;
        int k      = f.k_step == 1 ? at % TILE : at / N;
        int64_t in = (first_n + n) * f.n_step + (first_k + k) * f.k_step;
        bool real  = first_n + n < n_limit && first_k + k < k_limit;
        device_put(tile + n * PITCH + k, real ? load_element(f.data, f.element, in) : 0.0f);
    }
}

/* sum [16, 8 N8] += a [16, 16 steps] b [8 N8, 16 steps]ᵀ, both by rows of tiles. Lane l has rows
 * l / 4 and l / 4 + 8, columns 8 n + l % 4 · 2 and the next one, of sum[n]. */
template <int N8>
static __device__ __forceinline__ void multiply(float sum[N8][4], const __nv_bfloat16 *a,
                                                const __nv_bfloat16 *b, int steps)
{
    int lane = (int)threadIdx.x % 32;
    a += lane % 16 * PITCH + lane / 16 * 8;
    b += (lane % 8 + lane / 16 * 8) * PITCH + lane / 8 % 2 * 8;
    for (int s = 0; s < steps; s++) {
        uint32_t left[4];
        device_load_matrix(left, a + s * STEP);
        UNROLL
        for (int n = 0; n < N8; n += 2) {
            uint32_t right[4];
            device_load_matrix(right, b + n * 8 * PITCH + s * STEP);
            device_mma(sum[n], left, right);
            device_mma(sum[n + 1], left, right + 2);
        }
    }
}

template <int N8>
static __device__ __forceinline__ void multiply(float sum[N8][4], const float *a, const float *b,
                                                int steps)
{
    int lane = (int)threadIdx.x % 32;
    a += lane / 4 * PITCH;
    b += lane % 4 * 2 * PITCH;
    for (int k = 0; k < steps * STEP; k++) {
        UNROLL
        for (int n = 0; n < N8; n++) {
            float b0 = b[n * 8 * PITCH + k];
            float b1 = b[(n * 8 + 1) * PITCH + k];
            sum[n][0] += a[k] * b0;
            sum[n][1] += a[k] * b1;
            sum[n][2] += a[8 * PITCH + k] * b0;
            sum[n][3] += a[8 * PITCH + k] * b1;
        }
    }
}

/* sum [16 M16, 16] += a [TILE, 16 M16]ᵀ b [TILE, 16]: both tiles by rows of the inner dimension. */
template <int M16>
static __device__ __forceinline__ void
multiply_columns(float sum[M16][2][4], const __nv_bfloat16 *a, const __nv_bfloat16 *b)
{
    int lane = (int)threadIdx.x % 32;
    a += (lane % 8 + lane / 16 * 8) * PITCH + lane / 8 % 2 * 8;
    b += lane % 16 * PITCH + lane / 16 * 8;
    for (int k = 0; k < TILE; k += STEP) {
        uint32_t right[4];
        device_load_matrix_transposed(right, b + k * PITCH);
        UNROLL
        for (int m = 0; m < M16; m++) {
            uint32_t left[4];
            device_load_matrix_transposed(left, a + k * PITCH + m * 16);
            device_mma(sum[m][0], left, right);
            device_mma(sum[m][1], left, right + 2);
        }
    }
}

template <int M16>
static __device__ __forceinline__ void multiply_columns(float sum[M16][2][4], const float *a,
                                                        const float *b)
{
    int lane = (int)threadIdx.x % 32;
    a += lane / 4;
    b += lane % 4 * 2;
    for (int k = 0; k < TILE; k++, a += PITCH, b += PITCH) {
        UNROLL
        for (int m = 0; m < M16; m++) {
            UNROLL
            for (int n = 0; n < 2; n++) {
                sum[m][n][0] += a[m * 16] * b[n * 8];
                sum[m][n][1] += a[m * 16] * b[n * 8 + 1];
                sum[m][n][2] += a[m * 16 + 8] * b[n * 8];
                sum[m][n][3] += a[m * 16 + 8] * b[n * 8 + 1];
            }
        }
    }
}

/* ---- down: [rows, columns] to [rows, r] ---- */

static __device__ __forceinline__ void store_down(const view &out, const view &also, int64_t row,
                                                  int64_t n, float value)
{
    store_element(out.data, out.element, row * out.stride + n, value);
    if (also.data != NULL) {
        store_element(also.data, also.element, row * also.stride + n, value);
    }
}

template <typename S, int R>
__global__ void __launch_bounds__(THREADS)
    lowrank_down_kernel(view out, view also, float *parts, view x, factor_view f, drop_mask mask,
                        low_rank_shape shape, bool aligned)
{
    S *left               = (S *)device_shared(); /* [TILE][PITCH] */
    S *right              = left + TILE * PITCH;  /* [R][PITCH] */
    int warp              = (int)threadIdx.x / 32;
    int lane              = (int)threadIdx.x % 32;
    int64_t first_row     = (int64_t)blockIdx.x * TILE;
    int64_t first_n       = (int64_t)blockIdx.z * R;
    bool alone            = gridDim.y == 1;
    int64_t start         = alone ? 0 : (int64_t)blockIdx.y * LOW_RANK_PART;
    int64_t limit         = alone ? shape.columns : start + LOW_RANK_PART;
    int64_t end           = limit < shape.columns ? limit : shape.columns;
    float total[R / 8][4] = {};
    float sum[R / 8][4]   = {};
    const drop_draw draw(mask);
    for (int64_t k = start; k < end; k += TILE) {
        __syncthreads();
        stage_rows(left, x, aligned, draw, first_row, shape.rows, k, shape.columns);
        stage_factor<R>(right, f, first_n, shape.r, k, shape.columns);
        __syncthreads();
        multiply<R / 8>(sum, left + warp * 16 * PITCH, right, TILE / STEP);
        if ((k + TILE) % LOW_RANK_PART == 0 || k + TILE >= end) {
            UNROLL
            for (int i = 0; i < R / 8 * 4; i++) {
                total[i / 4][i % 4] += sum[i / 4][i % 4];
                sum[i / 4][i % 4] = 0.0f;
            }
        }
    }
    UNROLL
    for (int i = 0; i < R / 8 * 4; i++) {
        int64_t row = first_row + warp * 16 + lane / 4 + i % 4 / 2 * 8;
        int64_t n   = first_n + i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (row < shape.rows && n < shape.r && alone) {
            store_down(out, also, row, n, shape.alpha * total[i / 4][i % 4]);
        } else if (row < shape.rows && n < shape.r) {
            parts[(blockIdx.y * shape.rows + row) * shape.r + n] = total[i / 4][i % 4];
        }
    }
}

__global__ void __launch_bounds__(THREADS)
    lowrank_down_total_kernel(view out, view also, const float *parts, int64_t count,
                              low_rank_shape shape)
{
    int64_t all = shape.rows * shape.r;
    int64_t at  = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    float total = 0.0f;
    for (int64_t i = 0; i < count && at < all; i++) {
        total += parts[i * all + at];
    }
    if (at < all) {
        store_down(out, also, at / shape.r, at % shape.r, shape.alpha * total);
    }
}

/* Columns of the narrow side in one block. */
static int width_of(int64_t r)
{
    return r <= 16 ? 16 : r <= 32 ? 32 : TILE;
}

static dim3 down_grid(const low_rank_shape &shape)
{
    int64_t rows  = parts_of(shape.rows, TILE);
    int64_t r     = parts_of(shape.r, width_of(shape.r));
    int64_t parts = rows * r < ENOUGH ? parts_of(shape.columns, LOW_RANK_PART) : 1;
    return dim3((unsigned)rows, (unsigned)(parts > 0 ? parts : 1), (unsigned)r);
}

template <typename S, int R>
static cudaError_t down(view out, view also, float *parts, view x, const factor_view &f,
                        const drop_mask &mask, const low_rank_shape &shape, cudaStream_t stream)
{
    return device_launch("lowrank_down", lowrank_down_kernel<S, R>, down_grid(shape), dim3(THREADS),
                         (TILE + R) * PITCH * sizeof(S), stream, out, also, parts, x, f, mask,
                         shape, is_aligned(x));
}

template <typename S>
static cudaError_t down_any(view out, view also, float *parts, view x, const factor_view &f,
                            const drop_mask &mask, const low_rank_shape &shape, cudaStream_t stream)
{
    switch (width_of(shape.r)) {
    case 16:
        return down<S, 16>(out, also, parts, x, f, mask, shape, stream);
    case 32:
        return down<S, 32>(out, also, parts, x, f, mask, shape, stream);
    default:
        return down<S, TILE>(out, also, parts, x, f, mask, shape, stream);
    }
}

extern "C" int64_t lowrank_down_parts(low_rank_shape shape)
{
    dim3 grid = down_grid(shape);
    return grid.y > 1 ? (int64_t)grid.y * shape.rows * shape.r : 0;
}

extern "C" cudaError_t launch_lowrank_down(view out, view also, float *parts, view x,
                                           low_rank_factor factor, drop_mask mask,
                                           low_rank_shape shape, cudaStream_t stream)
{
    factor_view f  = {factor.data, factor.element, factor.r_step, factor.step};
    int64_t all    = shape.rows * shape.r;
    unsigned count = down_grid(shape).y;
    if (all == 0) {
        return cudaSuccess;
    }
    cudaError_t code = shape.narrow
                           ? down_any<__nv_bfloat16>(out, also, parts, x, f, mask, shape, stream)
                           : down_any<float>(out, also, parts, x, f, mask, shape, stream);
    if (code != cudaSuccess || count == 1) {
        return code;
    }
    return device_launch("lowrank_down_total", lowrank_down_total_kernel,
                         dim3((unsigned)parts_of(all, THREADS)), dim3(THREADS), 0, stream, out,
                         also, parts, (int64_t)count, shape);
}

/* ---- up: [rows, r] to [rows, columns] ---- */

/* What a thread has of the product becomes pieces of rows of y. */
static __device__ __forceinline__ void store_up(const view &y, const float *room,
                                                const drop_draw &draw, const low_rank_shape &shape,
                                                bool aligned, int64_t first_row,
                                                int64_t first_column)
{
    int64_t column = first_column + piece_column();
    UNROLL
    for (int i = 0; i < PIECES; i++) {
        int64_t row = first_row + piece_row(i);
        if (row >= shape.rows || column >= shape.columns) {
            continue;
        }
        int count  = piece_count(column, shape.columns);
        int64_t at = row * y.stride + column;
        piece p;
        UNROLL
        for (int j = 0; j < PIECE; j++) {
            p.v[j] = shape.alpha * room[piece_row(i) * PITCH + piece_column() + j];
        }
        if (draw.threshold != 0) {
            drop_piece(&p, draw, row, column, shape.columns);
        }
        if (shape.add) {
            piece before = read_piece(y, aligned, row, column, shape.columns);
            UNROLL
            for (int j = 0; j < PIECE; j++) {
                p.v[j] += before.v[j];
            }
        }
        if (aligned && count == PIECE) {
            store_piece<true>(y.data, y.element, at, count, p);
        } else {
            store_piece<false>(y.data, y.element, at, count, p);
        }
    }
}

template <typename S>
__global__ void __launch_bounds__(THREADS)
    lowrank_up_kernel(view y, view u, factor_view f, drop_mask mask, low_rank_shape shape,
                      bool y_aligned, bool u_aligned)
{
    S *left                = (S *)device_shared();     /* [TILE][PITCH] */
    S *right               = left + TILE * PITCH;      /* the same */
    float *room            = (float *)device_shared(); /* the same, when both have been read */
    int warp               = (int)threadIdx.x / 32;
    int lane               = (int)threadIdx.x % 32;
    int64_t first_row      = (int64_t)blockIdx.x * TILE;
    int64_t first_column   = (int64_t)blockIdx.y * TILE;
    float sum[TILE / 8][4] = {};
    for (int64_t k = 0; k < shape.r; k += TILE) {
        int left_over = shape.r - k < TILE ? (int)(shape.r - k) : TILE;
        __syncthreads();
        stage_rows(left, u, u_aligned, drop_draw(drop_mask{}), first_row, shape.rows, k, shape.r);
        stage_factor<TILE>(right, f, first_column, shape.columns, k, shape.r);
        __syncthreads();
        multiply<TILE / 8>(sum, left + warp * 16 * PITCH, right, (left_over + STEP - 1) / STEP);
    }
    __syncthreads();
    UNROLL
    for (int i = 0; i < TILE / 8 * 4; i++) {
        int row                    = warp * 16 + lane / 4 + i % 4 / 2 * 8;
        int column                 = i / 4 * 8 + lane % 4 * 2 + i % 2;
        room[row * PITCH + column] = sum[i / 4][i % 4];
    }
    __syncthreads();
    store_up(y, room, drop_draw(mask), shape, y_aligned, first_row, first_column);
}

template <typename S>
static cudaError_t up(view y, view u, const factor_view &f, const drop_mask &mask,
                      const low_rank_shape &shape, cudaStream_t stream)
{
    dim3 grid((unsigned)parts_of(shape.rows, TILE), (unsigned)parts_of(shape.columns, TILE));
    return device_launch("lowrank_up", lowrank_up_kernel<S>, grid, dim3(THREADS),
                         2 * TILE * PITCH * sizeof(S), stream, y, u, f, mask, shape, is_aligned(y),
                         is_aligned(u));
}

extern "C" cudaError_t launch_lowrank_up(view y, view u, low_rank_factor factor, drop_mask mask,
                                         low_rank_shape shape, cudaStream_t stream)
{
    factor_view f = {factor.data, factor.element, factor.step, factor.r_step};
    if (shape.rows == 0 || shape.columns == 0) {
        return cudaSuccess;
    }
    return shape.narrow ? up<__nv_bfloat16>(y, u, f, mask, shape, stream)
                        : up<float>(y, u, f, mask, shape, stream);
}

/* ---- grad: the gradient [r, columns] of a factor ---- */

template <typename S, int R>
__global__ void __launch_bounds__(THREADS)
    lowrank_grad_kernel(low_rank_factor g, float *parts, view u, view x, drop_mask mask,
                        low_rank_shape shape, bool u_aligned, bool x_aligned)
{
    S *left              = (S *)device_shared(); /* [TILE][PITCH] */
    S *right             = left + TILE * PITCH;
    int warp             = (int)threadIdx.x / 32;
    int lane             = (int)threadIdx.x % 32;
    int64_t first_column = (int64_t)blockIdx.x * TILE;
    int64_t first_r      = (int64_t)blockIdx.z * R;
    int64_t start        = (int64_t)blockIdx.y * LOW_RANK_CHUNK;
    int64_t end = start + LOW_RANK_CHUNK < shape.rows ? start + LOW_RANK_CHUNK : shape.rows;
    float sum[R / 16][2][4] = {};
    const drop_draw draw(mask);
    for (int64_t row = start; row < end; row += TILE) {
        __syncthreads();
        stage_rows(left, u, u_aligned, drop_draw(drop_mask{}), row, end, first_r, shape.r);
        stage_rows(right, x, x_aligned, draw, row, end, first_column, shape.columns);
        __syncthreads();
        multiply_columns<R / 16>(sum, left, right + warp * 16);
    }
    UNROLL
    for (int i = 0; i < R / 16 * 8; i++) {
        int64_t r      = first_r + i / 8 * 16 + lane / 4 + i % 4 / 2 * 8;
        int64_t column = first_column + warp * 16 + i / 4 % 2 * 8 + lane % 4 * 2 + i % 2;
        float value    = sum[i / 8][i / 4 % 2][i % 4];
        if (r < shape.r && column < shape.columns && gridDim.y == 1) {
            float *to = (float *)g.data + r * g.r_step + column * g.step;
            *to       = device_add(*to, device_mul(shape.alpha, value));
        } else if (r < shape.r && column < shape.columns) {
            parts[(blockIdx.y * shape.r + r) * shape.columns + column] = value;
        }
    }
}

__global__ void __launch_bounds__(THREADS)
    lowrank_grad_total_kernel(low_rank_factor g, const float *parts, int64_t count,
                              low_rank_shape shape)
{
    int64_t all  = shape.r * shape.columns;
    int64_t at   = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    double total = 0.0;
    for (int64_t i = 0; i < count && at < all; i++) {
        total += (double)parts[i * all + at];
    }
    if (at < all) {
        float *to = (float *)g.data + at / shape.columns * g.r_step + at % shape.columns * g.step;
        *to       = device_add(*to, device_mul(shape.alpha, (float)total));
    }
}

static dim3 grad_grid(const low_rank_shape &shape)
{
    return dim3((unsigned)parts_of(shape.columns, TILE),
                (unsigned)parts_of(shape.rows, LOW_RANK_CHUNK),
                (unsigned)parts_of(shape.r, width_of(shape.r)));
}

template <typename S, int R>
static cudaError_t grad(const low_rank_factor &g, float *parts, view u, view x,
                        const drop_mask &mask, const low_rank_shape &shape, cudaStream_t stream)
{
    return device_launch("lowrank_grad", lowrank_grad_kernel<S, R>, grad_grid(shape), dim3(THREADS),
                         2 * TILE * PITCH * sizeof(S), stream, g, parts, u, x, mask, shape,
                         is_aligned(u), is_aligned(x));
}

template <typename S>
static cudaError_t grad_any(const low_rank_factor &g, float *parts, view u, view x,
                            const drop_mask &mask, const low_rank_shape &shape, cudaStream_t stream)
{
    switch (width_of(shape.r)) {
    case 16:
        return grad<S, 16>(g, parts, u, x, mask, shape, stream);
    case 32:
        return grad<S, 32>(g, parts, u, x, mask, shape, stream);
    default:
        return grad<S, TILE>(g, parts, u, x, mask, shape, stream);
    }
}

extern "C" int64_t lowrank_grad_parts(low_rank_shape shape)
{
    dim3 grid = grad_grid(shape);
    return grid.y > 1 ? (int64_t)grid.y * shape.r * shape.columns : 0;
}

extern "C" cudaError_t launch_lowrank_grad(low_rank_factor g, float *parts, view u, view x,
                                           drop_mask mask, low_rank_shape shape,
                                           cudaStream_t stream)
{
    int64_t all    = shape.r * shape.columns;
    unsigned count = grad_grid(shape).y;
    if (all == 0 || shape.rows == 0) {
        return cudaSuccess;
    }
    cudaError_t code = shape.narrow ? grad_any<__nv_bfloat16>(g, parts, u, x, mask, shape, stream)
                                    : grad_any<float>(g, parts, u, x, mask, shape, stream);
    if (code != cudaSuccess || count == 1) {
        return code;
    }
    return device_launch("lowrank_grad_total", lowrank_grad_total_kernel,
                         dim3((unsigned)parts_of(all, THREADS)), dim3(THREADS), 0, stream, g, parts,
                         (int64_t)count, shape);
}
