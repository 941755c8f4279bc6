// SPDX-License-Identifier: Apache-2.0
/* C = alpha op(A) op(B) + beta C.
 *
 * The product is cut into tiles of C by its shape alone; each tile is one single-threaded call of
 * the CBLAS or of oneDNN, as the front has it (front.c), and threads share the tiles: the result
 * does not depend on their number. Products by our own kernels (panel.h) are cut as suits the
 * threads. Products of few rows with a transposed B (decoding: x W^T) are
 * dot products of our own: there a row of C has the same bits whatever the other rows are, and W is
 * read once. Above DOT_ROWS rows a row's bits may depend on how many rows there are, as the CBLAS
 * chooses.
 *
 * B may be a frozen weight of 16 bits, used in place: strips of it become F32, exactly, in
 * scratch just before they are multiplied, once for every band of rows. With bf16 factors the
 * strips, and A once, are rounded there; or they become BF16 there, where oneDNN multiplies them.
 */
#include "cpu.h"
#include "onednn.h"
#include "panel.h"
#include "simd.h"

#include <cblas.h>
#include <omp.h>

#include <inttypes.h>
#include <limits.h>
#include <string.h>

enum {
    DOT_ROWS    = 4,       /* most rows of C that are computed as dot products */
    DOT_COLUMNS = 32,      /* columns of C that a thread takes at once */
    TILE_MIN    = 256,     /* rows and columns of a tile, where the product has as many */
    TILE_GOAL   = 64,      /* tiles of a large product */
    STRIP_MIN   = 16,      /* columns of C for which B is converted at once: in this range, */
    STRIP_MAX   = 256,     /* as many as give a strip */
    STRIP_GOAL  = 1 << 18, /* elements at most */
    OWN_COLUMNS = 256,     /* of a piece by our own kernels: its panels stay in the second cache */
    OWN_ALONE   = 1 << 20  /* multiplications that are not worth waking threads for */
};

typedef struct product {
    const pb_tensor *a, *b;
    pb_tensor *c;
    const pb_matmul_args *args;
    int64_t m, n, k;
    bool own;       /* by our own kernels … */
    onednn *onednn; /* … or, where this is NULL, by the CBLAS */
    bool rounds;    /* factors are rounded to BF16 … */
    bool narrow;    /* … and are in that type, for oneDNN; else in F32 */
    int64_t strip;  /* columns of C in one strip of a B that is converted; 0: it is used as it is */
    int64_t units;  /* k, or the pairs and zeros that make it up in own panels */
    int64_t depth;  /* units of a strip */
    void *scratch;  /* of all threads, strip · depth elements each, in whole cache lines */
} product;

/* Of an element in scratch. */
static size_t element_bytes(const product *p)
{
    return p->narrow ? sizeof(uint16_t) : sizeof(float);
}

static size_t strip_bytes(const product *p)
{
    return cpu_bytes(p->strip * p->depth, p->own ? sizeof(float) : element_bytes(p));
}

static void *own_scratch(const product *p)
{
    return (char *)p->scratch + strip_bytes(p) * (size_t)omp_get_thread_num();
}

static const void *at_element(const pb_tensor *t, int64_t row, int64_t column)
{
    return (const char *)t->data + (size_t)(row * t->stride + column) * pb_dtype_size(t->dtype);
}

static float blend(float old, float sum, const pb_matmul_args *args)
{
    return args->beta == 0.0f ? args->alpha * sum : args->alpha * sum + args->beta * old;
}

static void put(const product *p, int64_t row, int64_t column, float sum)
{
    float *c = cpu_row(p->c, row) + column;
    *c       = blend(*c, sum, p->args);
}

/* A run of B as it is multiplied. */
static void take_b(const product *p, void *out, const void *from, int64_t n)
{
    if (p->narrow) {
        pb_floats_to_bf16(out, from, p->b->dtype, n);
        return;
    }
    pb_floats_to_f32(out, from, p->b->dtype, n);
    if (p->rounds) {
        pb_floats_round_bf16(out, n);
    }
}

/* Columns first … end - 1 of all rows. */
static void dot_columns(const product *p, int64_t first, int64_t end)
{
    for (int64_t j = first; j < end; j++) {
        const float *b = p->strip > 0 ? own_scratch(p) : cpu_row(p->b, j);
        if (p->strip > 0) {
            take_b(p, own_scratch(p), at_element(p->b, j, 0), p->k);
        }
        int64_t i = 0;
        for (; i + 2 <= p->m; i += 2) {
            float sum[2];
            simd_dot2(cpu_row(p->a, i), cpu_row(p->a, i + 1), b, p->k, sum);
            put(p, i, j, sum[0]);
            put(p, i + 1, j, sum[1]);
        }
        if (i < p->m) {
            put(p, i, j, simd_dot(cpu_row(p->a, i), b, p->k));
        }
    }
}

static void dot_product(const pb_backend *be, const product *p)
{
#pragma omp parallel for num_threads(be->threads) if (p->n * p->k > CPU_PARALLEL_MIN)
    for (int64_t first = 0; first < p->n; first += DOT_COLUMNS) {
        int64_t end = first + DOT_COLUMNS < p->n ? first + DOT_COLUMNS : p->n;
        dot_columns(p, first, end);
    }
}

/* Equal cuts of `size`, each at least TILE_MIN where there is as much, in whole cache lines. */
static int64_t tile_size(int64_t size, int64_t pieces)
{
    int64_t tile = (size + pieces - 1) / pieces;
    tile         = (tile + 15) / 16 * 16;
    return tile < TILE_MIN ? TILE_MIN : tile;
}

/* A tensor of one row may have any stride; a CBLAS wants at least the width. */
static int64_t leading(const pb_tensor *t)
{
    return t->shape[0] > 1 ? t->stride : t->shape[1];
}

static onednn_product part_of(const product *p, int64_t row, int64_t rows, int64_t column,
                              int64_t columns)
{
    bool turned = p->args->transpose_a;
    return (onednn_product){.m           = rows,
                            .n           = columns,
                            .k           = p->k,
                            .a           = at_element(p->a, turned ? 0 : row, turned ? row : 0),
                            .lda         = leading(p->a),
                            .c           = cpu_row(p->c, row) + column,
                            .ldc         = leading(p->c),
                            .transpose_a = turned,
                            .transpose_b = p->args->transpose_b,
                            .bf16        = p->narrow,
                            .alpha       = p->args->alpha,
                            .beta        = p->args->beta};
}

/* The part of C at `column` from B's part at `b`. Returns 0, or the library's status: messages of
 * other threads would be lost. */
static int multiply(const product *p, int64_t row, int64_t rows, int64_t column, int64_t columns,
                    const void *b, int64_t ldb)
{
    const pb_matmul_args *args = p->args;
    if (p->onednn != NULL) {
        onednn_product part = part_of(p, row, rows, column, columns);
        part.b              = b;
        part.ldb            = ldb;
        return onednn_multiply(p->onednn, &part);
    }
    const float *a = args->transpose_a ? (const float *)p->a->data + row : cpu_row(p->a, row);
    cblas_sgemm(CblasRowMajor, args->transpose_a ? CblasTrans : CblasNoTrans,
                args->transpose_b ? CblasTrans : CblasNoTrans, (int)rows, (int)columns, (int)p->k,
                args->alpha, a, (int)leading(p->a), b, (int)ldb, args->beta,
                cpu_row(p->c, row) + column, (int)leading(p->c));
    return 0;
}

/* The strip of a 16-bit B for `columns` columns of C from `column` on; returns its leading size. */
static int64_t convert_strip(const product *p, int64_t column, int64_t columns, void *out)
{
    bool transposed = p->args->transpose_b;
    int64_t rows    = transposed ? columns : p->k;
    int64_t width   = transposed ? p->k : columns;
    for (int64_t r = 0; r < rows; r++) {
        const void *from =
            transposed ? at_element(p->b, column + r, 0) : at_element(p->b, r, column);
        take_b(p, (char *)out + (size_t)(r * width) * element_bytes(p), from, width);
    }
    return width;
}

static int one_tile(const product *p, int64_t row, int64_t rows, int64_t column, int64_t columns)
{
    if (p->strip == 0) {
        const void *b =
            p->args->transpose_b ? at_element(p->b, column, 0) : at_element(p->b, 0, column);
        return multiply(p, row, rows, column, columns, b, leading(p->b));
    }
    void *strip = own_scratch(p);
    int failed  = 0;
    for (int64_t first = column; first < column + columns && failed == 0; first += p->strip) {
        int64_t rest = column + columns - first;
        int64_t n    = rest < p->strip ? rest : p->strip;
        failed       = multiply(p, row, rows, first, n, strip, convert_strip(p, first, n, strip));
    }
    return failed;
}

static pb_status tiled_product(const pb_backend *be, const product *p)
{
    /* Long sides are cut first: a tile packs both of its factors, which costs least when square. */
    int64_t column_pieces = p->n / (2 * TILE_MIN) + 1;
    column_pieces         = column_pieces < TILE_GOAL / 4 ? column_pieces : TILE_GOAL / 4;
    int64_t row_pieces    = p->m / (2 * TILE_MIN) + 1;
    row_pieces            = row_pieces < TILE_GOAL / 4 ? row_pieces : TILE_GOAL / 4;
    int64_t tile_rows     = tile_size(p->m, row_pieces);
    int64_t tile_columns  = tile_size(p->n, column_pieces);
    int64_t down          = (p->m + tile_rows - 1) / tile_rows;
    int64_t across        = (p->n + tile_columns - 1) / tile_columns;
    int failed            = 0;
#pragma omp parallel for schedule(dynamic) num_threads(be->threads) if (down * across > 1) \
    reduction(max                                                                          \
              : failed)
    for (int64_t tile = 0; tile < down * across; tile++) {
        int64_t row    = tile % down * tile_rows;
        int64_t column = tile / down * tile_columns;
        int status     = one_tile(p, row, p->m - row < tile_rows ? p->m - row : tile_rows, column,
                              p->n - column < tile_columns ? p->n - column : tile_columns);
        failed         = status > failed ? status : failed;
    }
    return failed == 0 ? PB_OK : onednn_failure(failed);
}

/* C [rows, columns] at (row, column) takes in sums of some of the terms: those of the first ones
 * replace it as the arguments say, the rest are added. */
static void blend_sums(const product *p, int64_t row, int64_t rows, int64_t column, int64_t columns,
                       const float *sums, float beta)
{
    float alpha = p->args->alpha;
    for (int64_t i = 0; i < rows; i++) {
        float *restrict c        = cpu_row(p->c, row + i) + column;
        const float *restrict at = sums + i * PANEL_COLUMNS;
        if (beta == 0.0f) {
            for (int64_t j = 0; j < columns; j++) {
                c[j] = alpha * at[j];
            }
        } else {
            for (int64_t j = 0; j < columns; j++) {
                c[j] = alpha * at[j] + beta * c[j];
            }
        }
    }
}

/* Sums of up to own_rows(p) rows of A from `row` on and the units of a panel from `first` on. */
static void own_sums(const product *p, int64_t row, int64_t rows, int64_t columns, int64_t first,
                     const float *panel, int64_t units, float *sums)
{
    int64_t stride = p->a->stride;
    if (p->narrow) {
        panel_amx_sums((const uint16_t *)p->a->data + row * stride + 2 * first, stride, panel,
                       units, sums);
        return;
    }
    const float *data = p->a->data;
    panel_rows a      = p->args->transpose_a ? (panel_rows){data + first * stride + row, 1, stride}
                                             : (panel_rows){data + row * stride + first, stride, 1};
    panel_sums(&a, panel, units, rows, columns, sums);
}

static int64_t own_rows(const product *p)
{
    return p->narrow ? AMX_ROWS : PANEL_ROWS;
}

/* What is packed next: the next run of terms, or the first one of the next columns. */
static void fetch_next(const product *p, const panel_source *b, int64_t first, int64_t column,
                       int64_t columns, int64_t part, int64_t parts)
{
    int64_t each = p->narrow ? 2 : 1;
    bool same    = first + p->depth < p->units;
    int64_t from = same ? each * (first + p->depth) : 0;
    int64_t to   = from + each * p->depth < p->k ? from + each * p->depth : p->k;
    int64_t next = same ? column : column + columns;
    int64_t end  = next + columns < p->n ? next + columns : p->n;
    if (next < end) {
        panel_prefetch(b, from, to - from, next, end - next, part, parts);
    }
}

/* A part of C by our own kernels. */
static void own_part(const product *p, int64_t row, int64_t rows, int64_t column, int64_t columns)
{
    float sums[AMX_ROWS * PANEL_COLUMNS];
    float *panels  = own_scratch(p);
    panel_source b = {.data       = p->b->data,
                      .stride     = p->b->stride,
                      .dtype      = p->b->dtype,
                      .transposed = p->args->transpose_b,
                      .rounds     = p->rounds,
                      .pairs      = p->narrow,
                      .terms      = p->k};
    for (int64_t first = 0; first < p->units; first += p->depth) {
        int64_t units = p->units - first < p->depth ? p->units - first : p->depth;
        panel_pack(&b, first, units, column, columns, panels);
        for (int64_t i = row; i < row + rows; i += own_rows(p)) {
            int64_t height = row + rows - i < own_rows(p) ? row + rows - i : own_rows(p);
            fetch_next(p, &b, first, column, columns, (i - row) / own_rows(p),
                       (rows + own_rows(p) - 1) / own_rows(p));
            for (int64_t j = 0; j < columns; j += PANEL_COLUMNS) {
                int64_t width = columns - j < PANEL_COLUMNS ? columns - j : PANEL_COLUMNS;
                own_sums(p, i, height, width, first, panels + j * units, units, sums);
                blend_sums(p, i, height, column + j, width, sums, first == 0 ? p->args->beta : 1);
            }
        }
    }
}

static int64_t round_up(int64_t size, int64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* The size of so many equal pieces, a multiple of `unit`. */
static int64_t cut(int64_t size, int64_t pieces, int64_t unit)
{
    return round_up((size + pieces - 1) / pieces, unit);
}

/* Columns are shared out, or rows where the columns are too few. */
static void own_product(const pb_backend *be, const product *p)
{
    int64_t threads = p->m * p->n * p->k > OWN_ALONE ? be->threads : 1;
    int64_t across  = (p->n + p->strip - 1) / p->strip;
    across          = (across + threads - 1) / threads * threads;
    int64_t columns = cut(p->n, across, PANEL_COLUMNS);
    across          = (p->n + columns - 1) / columns;
    int64_t rows    = cut(p->m, across < threads ? threads : 1, own_rows(p));
    int64_t down    = (p->m + rows - 1) / rows;
#pragma omp parallel for schedule(dynamic) num_threads(be->threads) if (threads > 1)
    for (int64_t piece = 0; piece < down * across; piece++) {
        int64_t row    = piece % down * rows;
        int64_t column = piece / down * columns;
        if (p->narrow) {
            panel_amx_begin();
        }
        own_part(p, row, p->m - row < rows ? p->m - row : rows, column,
                 p->n - column < columns ? p->n - column : columns);
        if (p->narrow) {
            panel_amx_end();
        }
    }
}

/* An empty sum: C = beta C. */
static void scale_only(const product *p)
{
    for (int64_t i = 0; i < p->m; i++) {
        float *c = cpu_row(p->c, i);
        for (int64_t j = 0; j < p->n; j++) {
            c[j] = blend(c[j], 0.0f, p->args);
        }
    }
}

/* Columns of a strip for sums of k: as many as are near the goal, within bounds. */
static int64_t strip_columns(int64_t k)
{
    int64_t columns = STRIP_GOAL / k / STRIP_MIN * STRIP_MIN;
    return columns < STRIP_MIN ? STRIP_MIN : columns > STRIP_MAX ? STRIP_MAX : columns;
}

/* A strip has at most STRIP_GOAL elements, or STRIP_MIN columns. */
size_t cpu_matmul_bytes(const pb_backend *be, int64_t factor, int64_t inner)
{
    int64_t strip = STRIP_MIN * inner > STRIP_GOAL ? STRIP_MIN * inner : STRIP_GOAL;
    return (be->bf16 ? cpu_bytes(factor, sizeof(float)) : 0) +
           cpu_bytes(strip, sizeof(float)) * (size_t)be->threads;
}

static bool is_dot(const product *p)
{
    return p->m <= DOT_ROWS && p->args->transpose_b && !p->args->transpose_a;
}

/* As the front has it, where the library multiplies all of the product. */
static void choose_library(const pb_backend *be, product *p)
{
    const cpu *c               = (const cpu *)be;
    const pb_matmul_args *args = p->args;
    bool whole                 = args->alpha == 1.0f && (args->beta == 0.0f || args->beta == 1.0f);
    product_library by =
        is_dot(p) ? BY_BLAS : products_by(&c->products, args->transpose_a, args->transpose_b, p->m);
    p->own    = by == BY_OWN || by == BY_AMX;
    p->narrow = by == BY_BF16 ? whole : by == BY_AMX && !args->transpose_a;
    p->onednn = by == BY_F32 || (by == BY_BF16 && whole) ? c->onednn : NULL;
}

/* Strips of B: panels of our own, or columns of C as a library gets them. */
static void cut_strips(product *p)
{
    p->units = p->k;
    p->depth = p->k;
    p->strip = strip_columns(p->k);
    if (p->own) {
        p->units = p->narrow ? round_up(p->k, 2 * AMX_UNITS) / 2 : p->k;
        p->depth = cut(p->units, (p->units + PANEL_UNITS - 1) / PANEL_UNITS, AMX_UNITS);
        p->strip = OWN_COLUMNS;
    } else if (p->narrow && p->b->dtype == PB_DTYPE_BF16) {
        p->strip = 0;
    }
}

/* The factor A rounded, in *out at `data`; whole tiles of it for AMX. */
static void round_a(const pb_backend *be, const product *p, void *data, pb_tensor *out)
{
    int64_t rows  = p->a->shape[0];
    int64_t width = p->a->shape[1];
    bool pads     = p->own && p->narrow;
    int64_t all   = pads ? round_up(rows, AMX_ROWS) : rows;
    *out          = pb_tensor_2d(data, p->narrow ? PB_DTYPE_BF16 : PB_DTYPE_F32, all,
                        pads ? 2 * p->units : width);
#pragma omp parallel for num_threads(be->threads) if (p->m * p->k > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < all; i++) {
        int64_t n = i < rows ? width : 0;
        if (p->narrow) {
            uint16_t *to = (uint16_t *)data + i * out->stride;
            pb_floats_to_bf16(to, cpu_row(p->a, i < rows ? i : 0), PB_DTYPE_F32, n);
            memset(to + n, 0, (size_t)(out->stride - n) * sizeof *to);
        } else {
            memcpy(cpu_row(out, i), cpu_row(p->a, i), (size_t)width * sizeof(float));
            pb_floats_round_bf16(cpu_row(out, i), width);
        }
    }
}

/* Scratch for the strips of all threads, and before them the rounded A, where it is. */
static pb_status prepare(pb_backend *be, product *p, pb_tensor *rounded)
{
    void *scratch = NULL;
    size_t of_a   = 0;
    p->rounds     = be->bf16;
    cut_strips(p);
    if (p->rounds) {
        int64_t rows = p->own && p->narrow ? round_up(p->m, AMX_ROWS) : p->m;
        of_a = cpu_bytes(rows * (p->own && p->narrow ? 2 * p->units : p->k), element_bytes(p));
    }
    PB_TRY(cpu_scratch(be, of_a + strip_bytes(p) * (size_t)be->threads, &scratch));
    p->scratch = (char *)scratch + of_a;
    if (p->rounds) {
        round_a(be, p, scratch, rounded);
        p->a = rounded;
    }
    return PB_OK;
}

pb_status cpu_matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                     const pb_matmul_args *args)
{
    product p       = {.a    = a,
                       .b    = b,
                       .c    = c,
                       .args = args,
                       .m    = c->shape[0],
                       .n    = c->shape[1],
                       .k    = a->shape[args->transpose_a ? 0 : 1]};
    int64_t sizes[] = {p.m, p.n, p.k, a->stride, b->stride, c->stride};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i] > INT_MAX) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "matmul: %" PRId64 " is more than this CBLAS can count", sizes[i]);
        }
    }
    pb_tensor rounded;
    choose_library(be, &p);
    if (p.k > 0 && (p.own || b->dtype != PB_DTYPE_F32 || be->bf16)) {
        PB_TRY(prepare(be, &p, &rounded));
    }
    if (p.k == 0) {
        scale_only(&p);
    } else if (is_dot(&p)) {
        dot_product(be, &p);
    } else if (p.own) {
        own_product(be, &p);
    } else {
        PB_TRY(tiled_product(be, &p));
    }
    return PB_OK;
}
