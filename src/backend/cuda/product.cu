// SPDX-License-Identifier: Apache-2.0
/* C = alpha op(A) op(B) + beta C for any sizes and strides. Sums run over parts of PART terms,
 * which are added in order, whatever the kernel and the other rows: a row of C has the same bits in
 * any product of the same B.
 *
 * BF16 factors go to the tensor cores, in tiles of 64 x 64, or, where there are few rows, by warps
 * that each take a part of the sum over 16 rows of B. Others are multiplied in F32. */
#include "map.cuh"

enum {
    TILE        = 64, /* rows and columns of C of a block */
    STEP        = 64, /* terms of the sum in one stage */
    PART        = 512,
    THREADS     = 128,
    STAGES      = 2,
    WARP        = 32,
    THIN        = 16, /* rows of A at most, rows of B of a block */
    THIN_WARPS  = 4,
    THIN_STAGES = 4
};

struct product_args {
    view c, a, b;
    const void *before; /* what beta is for: C's own data, or as that */
    int64_t m, n, k;
    float alpha, beta;
    bool aligned_a, aligned_b; /* rows by 16 bytes */
    bool pairs;                /* C two elements at a time */
};

/* A matrix of 16-bit elements as it is stored. */
struct stored {
    const uint16_t *data;
    int64_t rows, columns, stride;
    bool aligned;
};

static __device__ __forceinline__ stored stored_of(const view &m, int64_t rows, int64_t columns,
                                                   bool aligned)
{
    return {(const uint16_t *)m.data, rows, columns, m.stride, aligned};
}

/* Rows of 64 elements are 8 pieces of 16 bytes; piece p of row r lies at p ^ (r % 8), so that eight
 * rows of one piece lie in eight different groups of banks. */
static __device__ __forceinline__ int swizzled(int row, int at)
{
    return row * STEP + (at ^ (row & 7)) * PIECE;
}

/* Eight elements to shared memory; zero beyond the matrix. */
static __device__ __forceinline__ void load_eight(uint16_t *to, const stored &m, int64_t row,
                                                  int64_t column)
{
    int64_t left           = row < m.rows ? m.columns - column : 0;
    int count              = left >= PIECE ? PIECE : left > 0 ? (int)left : 0;
    const uint16_t *source = count > 0 ? m.data + row * m.stride + column : m.data;
    if (m.aligned) {
        device_copy_async(to, source, count * (int)sizeof(uint16_t));
        return;
    }
    uint32_t packed[PIECE / 2];
    UNROLL
    for (int i = 0; i < PIECE / 2; i++) {
        uint32_t low  = 2 * i < count ? source[2 * i] : 0;
        uint32_t high = 2 * i + 1 < count ? source[2 * i + 1] : 0;
        packed[i]     = low | high << 16;
    }
    *(uint4 *)to = make_uint4(packed[0], packed[1], packed[2], packed[3]);
}

/* TILE rows of STEP columns, by the whole block. */
static __device__ __forceinline__ void load_tile(uint16_t *to, const stored &m, int64_t row,
                                                 int64_t column)
{
    UNROLL
    for (int i = 0; i < TILE * STEP / PIECE / THREADS; i++) {
        int at = (int)threadIdx.x + i * THREADS;
        int r  = at / (STEP / PIECE);
        int p  = at % (STEP / PIECE);
        load_eight(to + swizzled(r, p), m, row + r, column + p * PIECE);
    }
}

/* The fragment of 16 rows of A from `row` on, and of 16 columns of op(B), for terms 16 kk … */
template <bool TRANSPOSED>
static __device__ __forceinline__ void fragment_a(uint32_t f[4], const uint16_t *tile, int row,
                                                  int kk)
{
    int lane = (int)threadIdx.x % WARP;
    if (!TRANSPOSED) {
        device_load_matrix(f, tile + swizzled(row + lane % 16, 2 * kk + lane / 16));
    } else {
        device_load_matrix_transposed(
            f, tile + swizzled(16 * kk + lane / 16 * 8 + lane % 8, row / PIECE + lane / 8 % 2));
    }
}
template <bool TRANSPOSED>
static __device__ __forceinline__ void fragment_b(uint32_t f[4], const uint16_t *tile, int column,
                                                  int kk)
{
    int lane = (int)threadIdx.x % WARP;
    if (TRANSPOSED) {
        device_load_matrix(
            f, tile + swizzled(column + lane / 16 * 8 + lane % 8, 2 * kk + lane / 8 % 2));
    } else {
        device_load_matrix_transposed(
            f, tile + swizzled(16 * kk + lane % 16, column / PIECE + lane / 16));
    }
}

static __device__ __forceinline__ float blend(const product_args &p, int64_t at, float sum)
{
    return p.beta == 0.0f ? p.alpha * sum
                          : fmaf(p.alpha, sum, p.beta * load_element(p.before, p.c.element, at));
}

/* C[row][column], C[row][column + 1] */
static __device__ __forceinline__ void put_pair(const product_args &p, int64_t row, int64_t column,
                                                const float sum[2])
{
    int64_t at = row * p.c.stride + column;
    if (row >= p.m || column >= p.n) {
        return;
    }
    float low = blend(p, at, sum[0]);
    if (column + 1 == p.n) {
        store_element(p.c.data, p.c.element, at, low);
        return;
    }
    float high = blend(p, at + 1, sum[1]);
    if (p.pairs && p.c.element == ELEMENT_F32) {
        *(float2 *)((float *)p.c.data + at) = make_float2(low, high);
    } else if (p.pairs) {
        *(uint32_t *)((uint16_t *)p.c.data + at) = device_pair(low, high);
    } else {
        store_element(p.c.data, p.c.element, at, low);
        store_element(p.c.data, p.c.element, at + 1, high);
    }
}

/* A warp's 32 x 32 of C. */
struct sums {
    float v[2][4][4];
};

static __device__ __forceinline__ void add_part(sums &total, sums &part)
{
    UNROLL
    for (int i = 0; i < 2; i++) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            UNROLL
            for (int e = 0; e < 4; e++) {
                total.v[i][j][e] += part.v[i][j][e];
                part.v[i][j][e] = 0.0f;
            }
        }
    }
}

template <bool TA, bool TB>
static __device__ __forceinline__ void multiply_stage(sums &part, const uint16_t *tile_a,
                                                      const uint16_t *tile_b, int row, int column)
{
    UNROLL
    for (int kk = 0; kk < STEP / 16; kk++) {
        uint32_t fa[2][4];
        uint32_t fb[2][4];
        UNROLL
        for (int i = 0; i < 2; i++) {
            fragment_a<TA>(fa[i], tile_a, row + 16 * i, kk);
            fragment_b<TB>(fb[i], tile_b, column + 16 * i, kk);
        }
        UNROLL
        for (int i = 0; i < 2; i++) {
            UNROLL
            for (int j = 0; j < 4; j++) {
                device_mma(part.v[i][j], fa[i], &fb[j / 2][j % 2 * 2]);
            }
        }
    }
}

static __device__ __forceinline__ void put_sums(const product_args &p, const sums &total,
                                                int64_t row, int64_t column)
{
    int lane = (int)threadIdx.x % WARP;
    UNROLL
    for (int i = 0; i < 2; i++) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            int64_t r = row + 16 * i + lane / 4;
            int64_t q = column + 8 * j + lane % 4 * 2;
            put_pair(p, r, q, total.v[i][j]);
            put_pair(p, r + 8, q, total.v[i][j] + 2);
        }
    }
}

/* One stage of both factors. */
template <bool TA, bool TB>
static __device__ __forceinline__ void load_stage(uint16_t *to, const product_args &p, int64_t row,
                                                  int64_t column, int64_t term)
{
    stored a = TA ? stored_of(p.a, p.k, p.m, p.aligned_a) : stored_of(p.a, p.m, p.k, p.aligned_a);
    stored b = TB ? stored_of(p.b, p.n, p.k, p.aligned_b) : stored_of(p.b, p.k, p.n, p.aligned_b);
    load_tile(to, a, TA ? term : row, TA ? row : term);
    load_tile(to + TILE * STEP, b, TB ? column : term, TB ? term : column);
}

template <bool TA, bool TB> __global__ void __launch_bounds__(THREADS) tile_kernel(product_args p)
{
    uint16_t *tiles = (uint16_t *)device_shared(); /* [STAGES][A, B][TILE, STEP] */
    int64_t row     = (int64_t)blockIdx.x * TILE;
    int64_t column  = (int64_t)blockIdx.y * TILE;
    int warp        = (int)threadIdx.x / WARP;
    int warp_row    = warp / 2 * 32;
    int warp_column = warp % 2 * 32;
    int64_t steps   = (p.k + STEP - 1) / STEP;
    sums total      = {};
    sums part       = {};
    if (steps > 0) {
        load_stage<TA, TB>(tiles, p, row, column, 0);
    }
    device_copy_commit();
    for (int64_t s = 0; s < steps; s++) {
        const uint16_t *at = tiles + s % STAGES * 2 * TILE * STEP;
        if (s + 1 < steps) {
            load_stage<TA, TB>(tiles + (s + 1) % STAGES * 2 * TILE * STEP, p, row, column,
                               (s + 1) * STEP);
        }
        device_copy_commit();
        device_copy_wait<1>();
        __syncthreads();
        multiply_stage<TA, TB>(part, at, at + TILE * STEP, warp_row, warp_column);
        if ((s + 1) % (PART / STEP) == 0 || s + 1 == steps) {
            add_part(total, part);
        }
        __syncthreads();
    }
    device_copy_wait<0>();
    put_sums(p, total, row + warp_row, column + warp_column);
}

/* ---- few rows: A [m ≤ 16, k], B [n, k] ---- */

/* STEP terms of 16 rows of A and of B, by one warp. */
static __device__ __forceinline__ void load_thin(uint16_t *to, const product_args &p, int64_t row,
                                                 int64_t term)
{
    stored a = stored_of(p.a, p.m, p.k, true);
    stored b = stored_of(p.b, p.n, p.k, true);
    int lane = (int)threadIdx.x % WARP;
    UNROLL
    for (int i = 0; i < THIN * STEP / PIECE / WARP; i++) {
        int r = (lane + i * WARP) / (STEP / PIECE);
        int q = (lane + i * WARP) % (STEP / PIECE);
        load_eight(to + swizzled(r, q), a, r, term + q * PIECE);
        load_eight(to + THIN * STEP + swizzled(r, q), b, row + r, term + q * PIECE);
    }
}

/* The sum of one part over its steps, to shared memory as [16 rows of A][16 rows of B]. */
static __device__ __forceinline__ void thin_part(float *out, uint16_t *tiles, const product_args &p,
                                                 int64_t row, int64_t part)
{
    int lane        = (int)threadIdx.x % WARP;
    int64_t first   = part * PART;
    int64_t left    = (p.k - first + STEP - 1) / STEP;
    int steps       = left < PART / STEP ? (int)left : PART / STEP;
    float sum[2][4] = {};
    for (int s = 0; s < THIN_STAGES - 1; s++) {
        if (s < steps) {
            load_thin(tiles + s * 2 * THIN * STEP, p, row, first + s * STEP);
        }
        device_copy_commit();
    }
    for (int s = 0; s < steps; s++) {
        const uint16_t *at = tiles + s % THIN_STAGES * 2 * THIN * STEP;
        device_copy_wait<THIN_STAGES - 2>();
        __syncwarp();
        int next = s + THIN_STAGES - 1;
        if (next < steps) {
            load_thin(tiles + next % THIN_STAGES * 2 * THIN * STEP, p, row, first + next * STEP);
        }
        device_copy_commit();
        UNROLL
        for (int kk = 0; kk < STEP / 16; kk++) {
            uint32_t fa[4];
            uint32_t fb[4];
            fragment_a<false>(fa, at, 0, kk);
            fragment_b<true>(fb, at + THIN * STEP, 0, kk);
            device_mma(sum[0], fa, fb);
            device_mma(sum[1], fa, fb + 2);
        }
    }
    device_copy_wait<0>();
    __syncwarp();
    UNROLL
    for (int j = 0; j < 2; j++) {
        UNROLL
        for (int e = 0; e < 4; e++) {
            out[(lane / 4 + e / 2 * 8) * THIN + 8 * j + lane % 4 * 2 + e % 2] = sum[j][e];
        }
    }
}

__global__ void __launch_bounds__(THIN_WARPS *WARP) thin_kernel(product_args p, int parts)
{
    const int own = THIN_STAGES * 2 * THIN * STEP;
    int warp      = (int)threadIdx.x / WARP;
    uint16_t *tiles =
        (uint16_t *)device_shared() + warp * own; /* [warps][stages][A, B][THIN, STEP] */
    float *out  = (float *)((uint16_t *)device_shared() + THIN_WARPS * own); /* [parts][m][n] */
    int64_t row = (int64_t)blockIdx.x * THIN;
    for (int part = warp; part < parts; part += THIN_WARPS) {
        thin_part(out + part * THIN * THIN, tiles, p, row, part);
    }
    __syncthreads();
    int at       = (int)threadIdx.x * 2; /* of the 256 sums */
    float sum[2] = {0.0f, 0.0f};
    for (int part = 0; part < parts; part++) {
        sum[0] += out[part * THIN * THIN + at];
        sum[1] += out[part * THIN * THIN + at + 1];
    }
    put_pair(p, at / THIN, row + at % THIN, sum);
}

/* ---- any types, in F32 ---- */

enum { PLAIN_STEP = 16, PLAIN_THREADS = 256, EACH = 4, PITCH = TILE + EACH };

/* Four elements of a stored row, zero beyond the matrix. */
static __device__ __forceinline__ void load_four(float v[EACH], const view &m, int64_t row,
                                                 int64_t column, int64_t rows, int64_t columns,
                                                 bool aligned)
{
    int64_t at = row * m.stride + column;
    if (aligned && m.element == ELEMENT_F32 && row < rows && column + EACH <= columns) {
        float4 four = *(const float4 *)((const float *)m.data + at);
        v[0]        = four.x;
        v[1]        = four.y;
        v[2]        = four.z;
        v[3]        = four.w;
        return;
    }
    UNROLL
    for (int i = 0; i < EACH; i++) {
        v[i] = row < rows && column + i < columns ? load_element(m.data, m.element, at + i) : 0.0f;
    }
}

/* The thread's four elements of a stage of a factor: `outer` counts rows or columns of C. */
template <bool BY_TERMS>
static __device__ __forceinline__ void take_four(float v[EACH], const view &m, int64_t outer,
                                                 int64_t term, int64_t outers, int64_t terms,
                                                 bool aligned)
{
    int t = (int)threadIdx.x;
    if (BY_TERMS) { /* a stored row is a row of A, or a column of B */
        load_four(v, m, outer + t / 4, term + t % 4 * EACH, outers, terms, aligned);
    } else {
        load_four(v, m, term + t / 16, outer + t % 16 * EACH, terms, outers, aligned);
    }
}
template <bool BY_TERMS>
static __device__ __forceinline__ void keep_four(float *to, const float v[EACH])
{
    int t = (int)threadIdx.x;
    UNROLL
    for (int i = 0; i < EACH; i++) {
        int term                 = BY_TERMS ? t % 4 * EACH + i : t / 16;
        int outer                = BY_TERMS ? t / 4 : t % 16 * EACH + i;
        to[term * PITCH + outer] = v[i];
    }
}

template <bool TA, bool TB>
__global__ void __launch_bounds__(PLAIN_THREADS) plain_kernel(product_args p)
{
    float *stage_a          = (float *)device_shared(); /* [PLAIN_STEP, PITCH] */
    float *stage_b          = stage_a + PLAIN_STEP * PITCH;
    int64_t row             = (int64_t)blockIdx.x * TILE;
    int64_t column          = (int64_t)blockIdx.y * TILE;
    int own_row             = (int)threadIdx.x / 16 * EACH;
    int own_column          = (int)threadIdx.x % 16 * EACH;
    float total[EACH][EACH] = {};
    float part[EACH][EACH]  = {};
    float next_a[EACH];
    float next_b[EACH];
    take_four<!TA>(next_a, p.a, row, 0, p.m, p.k, p.aligned_a);
    take_four<TB>(next_b, p.b, column, 0, p.n, p.k, p.aligned_b);
    for (int64_t term = 0; term < p.k; term += PLAIN_STEP) {
        keep_four<!TA>(stage_a, next_a);
        keep_four<TB>(stage_b, next_b);
        __syncthreads();
        take_four<!TA>(next_a, p.a, row, term + PLAIN_STEP, p.m, p.k, p.aligned_a);
        take_four<TB>(next_b, p.b, column, term + PLAIN_STEP, p.n, p.k, p.aligned_b);
        UNROLL
        for (int k = 0; k < PLAIN_STEP; k++) {
            const float *a = stage_a + k * PITCH + own_row;
            const float *b = stage_b + k * PITCH + own_column;
            UNROLL
            for (int i = 0; i < EACH; i++) {
                UNROLL
                for (int j = 0; j < EACH; j++) {
                    part[i][j] += a[i] * b[j];
                }
            }
        }
        bool ends = (term + PLAIN_STEP) % PART == 0 || term + PLAIN_STEP >= p.k;
        UNROLL
        for (int i = 0; ends && i < EACH; i++) {
            UNROLL
            for (int j = 0; j < EACH; j++) {
                total[i][j] += part[i][j];
                part[i][j] = 0.0f;
            }
        }
        __syncthreads();
    }
    UNROLL
    for (int i = 0; i < EACH; i++) {
        put_pair(p, row + own_row + i, column + own_column, total[i]);
        put_pair(p, row + own_row + i, column + own_column + 2, total[i] + 2);
    }
}

/* ---- */

static dim3 tile_grid(const product_args &p)
{
    return dim3((unsigned)parts_of(p.m, TILE), (unsigned)parts_of(p.n, TILE));
}

template <bool TA, bool TB>
static cudaError_t product(const product_args &p, bool tensor_cores, cudaStream_t stream)
{
    if (!tensor_cores) {
        return device_launch("plain product", plain_kernel<TA, TB>, tile_grid(p),
                             dim3(PLAIN_THREADS), 2 * PLAIN_STEP * PITCH * sizeof(float), stream,
                             p);
    }
    return device_launch("tile product", tile_kernel<TA, TB>, tile_grid(p), dim3(THREADS),
                         STAGES * 2 * TILE * STEP * sizeof(uint16_t), stream, p);
}

/* Shared memory of the thin kernel. */
static size_t thin_bytes(const product_args &p)
{
    return THIN_WARPS * THIN_STAGES * 2 * THIN * STEP * sizeof(uint16_t) +
           (size_t)parts_of(p.k, PART) * THIN * THIN * sizeof(float);
}

extern "C" cudaError_t launch_product(view c, view a, view b, product_shape shape, size_t shared,
                                      cudaStream_t stream)
{
    bool tensor_cores = a.element == ELEMENT_BF16 && b.element == ELEMENT_BF16;
    size_t pair       = c.element == ELEMENT_F32 ? sizeof(float2) : sizeof(uint32_t);
    product_args p    = {c,
                         a,
                         b,
                      shape.before != NULL ? shape.before : c.data,
                         shape.m,
                         shape.n,
                         shape.k,
                         shape.alpha,
                         shape.beta,
                         is_aligned(a),
                         is_aligned(b),
                         (uintptr_t)c.data % pair == 0 && c.stride % 2 == 0};
    if (p.m == 0 || p.n == 0) {
        return cudaSuccess;
    }
    if (tensor_cores && p.m <= THIN && !shape.transpose_a && shape.transpose_b && p.aligned_a &&
        p.aligned_b && p.k > 0 && thin_bytes(p) <= shared) {
        return device_launch("thin product", thin_kernel, dim3((unsigned)parts_of(p.n, THIN)),
                             dim3(THIN_WARPS * WARP), thin_bytes(p), stream, p,
                             (int)parts_of(p.k, PART));
    }
    if (shape.transpose_a) {
        return shape.transpose_b ? product<true, true>(p, tensor_cores, stream)
                                 : product<true, false>(p, tensor_cores, stream);
    }
    return shape.transpose_b ? product<false, true>(p, tensor_cores, stream)
                             : product<false, false>(p, tensor_cores, stream);
}
