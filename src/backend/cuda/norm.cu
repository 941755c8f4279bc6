// SPDX-License-Identifier: Apache-2.0
/* RMS norm by rows: a row belongs to a group of threads, which hold it in registers. Narrow rows,
 * as those of heads, belong to a warp, wide ones to a block; pieces of a row that do not fit are
 * read again. The sums of a row have an order that depends on its width alone. */
#include "map.cuh"

enum { THREADS = 256, WARP = 32, WARPS = THREADS / WARP };

template <int GROUP> static __device__ __forceinline__ float group_sum(float v, float *room)
{
    if (GROUP == WARP) {
        return device_warp_sum(v);
    }
    return device_block_sum<WARPS>(v, room);
}

/* Where a thread works: `row` of ROWS rows, pieces lane, lane + GROUP, … */
template <int GROUP, int ROWS> static __device__ __forceinline__ int64_t first_row(void)
{
    return ((int64_t)blockIdx.x * (THREADS / GROUP) + threadIdx.x / GROUP) * ROWS;
}
template <int GROUP> static __device__ __forceinline__ int64_t column_of(int64_t i)
{
    return (threadIdx.x % GROUP + i * GROUP) * PIECE;
}

/* The piece at `column` of a row, zero beyond its end. */
template <unsigned TYPES, bool WHOLE>
static __device__ __forceinline__ piece take(const view &m, int which, int64_t row, int64_t column,
                                             const norm_shape &shape)
{
    piece p = {};
    if (row < shape.rows && column < shape.columns) {
        p = load_piece<WHOLE>(m.data, type_of<TYPES>(m, which), row * m.stride + column,
                              piece_count(column, shape.columns));
    }
    return p;
}

template <bool WHOLE>
static __device__ __forceinline__ piece take_weight(const norm_shape &shape, int64_t column)
{
    piece w = {};
    if (column < shape.columns) {
        w = load_piece<WHOLE>(shape.weight, ELEMENT_F32, column,
                              piece_count(column, shape.columns));
    }
    return w;
}

template <unsigned TYPES, bool WHOLE>
static __device__ __forceinline__ void put(const view &m, int which, int64_t row, int64_t column,
                                           const norm_shape &shape, const piece &p)
{
    store_piece<WHOLE>(m.data, type_of<TYPES>(m, which), row * m.stride + column,
                       piece_count(column, shape.columns), p);
}

static __device__ __forceinline__ float dot(const piece &a, const piece &b)
{
    float sum = 0.0f;
    UNROLL
    for (int i = 0; i < PIECE; i++) {
        sum += a.v[i] * b.v[i];
    }
    return sum;
}

static __device__ __forceinline__ float scale_of(float squares, const norm_shape &shape)
{
    return device_rsqrt(squares * device_reciprocal((float)shape.columns) + shape.eps);
}

/* y of one piece of a row, from its x, with the row's scale and the weights of the piece. */
template <unsigned TYPES, bool WHOLE>
static __device__ __forceinline__ void normalise(const view &y, int64_t row, int64_t column,
                                                 const norm_shape &shape, const piece &x, float s,
                                                 const piece &w)
{
    piece out;
    if (row >= shape.rows || column >= shape.columns) {
        return;
    }
    UNROLL
    for (int i = 0; i < PIECE; i++) {
        out.v[i] = x.v[i] * s * (shape.offset + w.v[i]);
    }
    put<TYPES, WHOLE>(y, 1, row, column, shape, out);
}

/* Types: x, y. */
template <unsigned TYPES, bool WHOLE, int GROUP, int ROWS, int PIECES>
__global__ void __launch_bounds__(THREADS) forward_kernel(view y, view x, norm_shape shape)
{
    float *room   = (float *)device_shared();
    int64_t first = first_row<GROUP, ROWS>();
    piece held[ROWS][PIECES];
    float s[ROWS];
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        UNROLL
        for (int i = 0; i < PIECES; i++) {
            held[r][i] = take<TYPES, WHOLE>(x, 0, first + r, column_of<GROUP>(i), shape);
        }
    }
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        float sum = 0.0f;
        UNROLL
        for (int i = 0; i < PIECES; i++) {
            sum += dot(held[r][i], held[r][i]);
        }
        for (int64_t c = column_of<GROUP>(PIECES); c < shape.columns; c += GROUP * PIECE) {
            piece p = take<TYPES, WHOLE>(x, 0, first + r, c, shape);
            sum += dot(p, p);
        }
        s[r] = scale_of(group_sum<GROUP>(sum, room), shape);
    }
    UNROLL
    for (int i = 0; i < PIECES; i++) {
        piece w = take_weight<WHOLE>(shape, column_of<GROUP>(i));
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            normalise<TYPES, WHOLE>(y, first + r, column_of<GROUP>(i), shape, held[r][i], s[r], w);
        }
    }
    for (int64_t c = column_of<GROUP>(PIECES); c < shape.columns; c += GROUP * PIECE) {
        piece w = take_weight<WHOLE>(shape, c);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            piece p = take<TYPES, WHOLE>(x, 0, first + r, c, shape);
            normalise<TYPES, WHOLE>(y, first + r, c, shape, p, s[r], w);
        }
    }
}

struct backward_args {
    view dx, dy, x; /* types: dx, dy, x */
    float *scale;
    bool add;
};

/* dy · (offset + weight) */
template <unsigned TYPES, bool WHOLE>
static __device__ __forceinline__ piece weighted(const view &dy, int64_t row, int64_t column,
                                                 const norm_shape &shape)
{
    piece g = take<TYPES, WHOLE>(dy, 1, row, column, shape);
    piece w = take_weight<WHOLE>(shape, column);
    UNROLL
    for (int i = 0; i < PIECE; i++) {
        g.v[i] *= shape.offset + w.v[i];
    }
    return g;
}

/* dx = s g - c x */
template <unsigned TYPES, bool WHOLE>
static __device__ __forceinline__ void give_back(const backward_args &a, int64_t row,
                                                 int64_t column, const norm_shape &shape,
                                                 const piece &g, const piece &x, float s, float c)
{
    if (row >= shape.rows || column >= shape.columns) {
        return;
    }
    piece out = {};
    if (a.add) {
        out = take<TYPES, WHOLE>(a.dx, 0, row, column, shape);
    }
    UNROLL
    for (int i = 0; i < PIECE; i++) {
        out.v[i] += s * g.v[i] - c * x.v[i];
    }
    put<TYPES, WHOLE>(a.dx, 0, row, column, shape, out);
}

/* With g = dy · (offset + weight): dx = s g - x s³ mean(g x). */
template <unsigned TYPES, bool WHOLE, int GROUP, int ROWS, int PIECES>
__global__ void __launch_bounds__(THREADS) backward_kernel(backward_args a, norm_shape shape)
{
    float *room   = (float *)device_shared();
    int64_t first = first_row<GROUP, ROWS>();
    piece x[ROWS][PIECES];
    piece g[ROWS][PIECES];
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        UNROLL
        for (int i = 0; i < PIECES; i++) {
            x[r][i] = take<TYPES, WHOLE>(a.x, 2, first + r, column_of<GROUP>(i), shape);
            g[r][i] = weighted<TYPES, WHOLE>(a.dy, first + r, column_of<GROUP>(i), shape);
        }
    }
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        float squares  = 0.0f;
        float products = 0.0f;
        UNROLL
        for (int i = 0; i < PIECES; i++) {
            squares += dot(x[r][i], x[r][i]);
            products += dot(g[r][i], x[r][i]);
        }
        for (int64_t c = column_of<GROUP>(PIECES); c < shape.columns; c += GROUP * PIECE) {
            piece p = take<TYPES, WHOLE>(a.x, 2, first + r, c, shape);
            squares += dot(p, p);
            products += dot(weighted<TYPES, WHOLE>(a.dy, first + r, c, shape), p);
        }
        float s    = scale_of(group_sum<GROUP>(squares, room), shape);
        float mean = group_sum<GROUP>(products, room) * device_reciprocal((float)shape.columns);
        float c    = s * s * s * mean;
        if (a.scale != NULL && threadIdx.x % GROUP == 0 && first + r < shape.rows) {
            a.scale[first + r] = s;
        }
        UNROLL
        for (int i = 0; i < PIECES; i++) {
            give_back<TYPES, WHOLE>(a, first + r, column_of<GROUP>(i), shape, g[r][i], x[r][i], s,
                                    c);
        }
        for (int64_t at = column_of<GROUP>(PIECES); at < shape.columns; at += GROUP * PIECE) {
            give_back<TYPES, WHOLE>(a, first + r, at, shape,
                                    weighted<TYPES, WHOLE>(a.dy, first + r, at, shape),
                                    take<TYPES, WHOLE>(a.x, 2, first + r, at, shape), s, c);
        }
    }
}

static dim3 norm_grid(int64_t rows, int group, int rows_each)
{
    return dim3((unsigned)parts_of(rows, (int64_t)(THREADS / group) * rows_each));
}

/* Threads of a row, rows of a group, pieces that a thread holds of each. */
#define BY_WIDTH(columns, whole, launch)                                       \
    ((whole) && (columns) <= WARP * PIECE ? launch(WARP, ((whole) ? 4 : 1), 1) \
     : (columns) <= 4 * WARP * PIECE      ? launch(WARP, 1, 4)                 \
     : (columns) <= 2 * THREADS * PIECE   ? launch(THREADS, 1, 2)              \
                                          : launch(THREADS, 1, 4))

static bool rows_are_whole(const view *all, int count, const norm_shape &shape)
{
    bool whole = shape.columns % PIECE == 0 && (uintptr_t)shape.weight % 16 == 0;
    for (int i = 0; i < count; i++) {
        whole = whole && is_aligned(all[i]);
    }
    return whole;
}

template <unsigned TYPES, bool WHOLE>
static cudaError_t forward(const view &y, const view &x, const norm_shape &shape,
                           cudaStream_t stream)
{
#define FORWARD(group, rows_each, pieces)                                                        \
    device_launch("rmsnorm forward", forward_kernel<TYPES, WHOLE, group, rows_each, pieces>,     \
                  norm_grid(shape.rows, group, rows_each), dim3(THREADS), WARPS * sizeof(float), \
                  stream, y, x, shape)
    return BY_WIDTH(shape.columns, WHOLE, FORWARD);
#undef FORWARD
}

extern "C" cudaError_t launch_rmsnorm_forward(view y, view x, norm_shape shape, cudaStream_t stream)
{
    const view all[] = {x, y};
    if (shape.rows == 0 || shape.columns == 0) {
        return cudaSuccess;
    }
    if (!rows_are_whole(all, 2, shape)) {
        return forward<MIXED, false>(y, x, shape, stream);
    }
    switch (type_bit(x, 0) | type_bit(y, 1)) {
    case 0:
        return forward<0, true>(y, x, shape, stream);
    case 2:
        return forward<2, true>(y, x, shape, stream);
    case 3:
        return forward<3, true>(y, x, shape, stream);
    default:
        return forward<MIXED, true>(y, x, shape, stream);
    }
}

template <unsigned TYPES, bool WHOLE>
static cudaError_t backward(const backward_args &a, const norm_shape &shape, cudaStream_t stream)
{
#define BACKWARD(group, rows_each, pieces)                                                       \
    device_launch("rmsnorm backward", backward_kernel<TYPES, WHOLE, group, rows_each, pieces>,   \
                  norm_grid(shape.rows, group, rows_each), dim3(THREADS), WARPS * sizeof(float), \
                  stream, a, shape)
    return BY_WIDTH(shape.columns, WHOLE, BACKWARD);
#undef BACKWARD
}

extern "C" cudaError_t launch_rmsnorm_backward(view dx, float *scale, view dy, view x,
                                               norm_shape shape, bool add, cudaStream_t stream)
{
    const view all[]      = {dx, dy, x};
    const backward_args a = {dx, dy, x, scale, add};
    if (shape.rows == 0 || shape.columns == 0) {
        return cudaSuccess;
    }
    if (!rows_are_whole(all, 3, shape)) {
        return backward<MIXED, false>(a, shape, stream);
    }
    switch (type_bit(dx, 0) | type_bit(dy, 1) | type_bit(x, 2)) {
    case 0:
        return backward<0, true>(a, shape, stream);
    case 2:
        return backward<2, true>(a, shape, stream);
    case 7:
        return backward<7, true>(a, shape, stream);
    default:
        return backward<MIXED, true>(a, shape, stream);
    }
}
