// SPDX-License-Identifier: Apache-2.0
/* Trials of products with different numbers of rows.
 *
 * The factors are such that all terms of a sum cancel: the second half of a row holds the negative
 * values of the first, turned by one place, as the weight's columns are. What is left is the
 * rounding of the partial sums, which another order of the terms changes in every bit, also where
 * results are rounded to BF16. All rows are equal, so that a trial also shows whether a row's place
 * matters. */
#include "pb/rows.h"

#include "internal.h"

#include "pb/hash.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

enum {
    ALIGNMENT = 256,     /* bytes, of the parts of the room */
    COMPARED  = 1 << 18, /* about as many results of a product are compared */
    PRODUCTS  = 14       /* at most, in a trial */
};

typedef struct tried {
    pb_rows rows;
    bool alike; /* with each other */
    pb_digest bits;
} tried;

typedef struct row_shape {
    pb_dtype dtype;
    int64_t out, in, stride;
    tried *tried;
    int64_t count;
    bool reported;
} row_shape;

struct row_trials {
    row_shape *shapes;
    int64_t count;
};

typedef struct trial {
    pb_backend *be;
    pb_rows rows;
    pb_tensor weight; /* in the room, with its border, as are … */
    char *factor;     /* the rows of one factor … */
    char *product;    /* and those of the product */
    float *vector;    /* [max(out, in) + border] a row of the factor */
    float *results;   /* some rows of the product */
    float *first;     /* [PRODUCTS · max(out, in)] one of each product */
    int64_t used;     /* of these */
    bool alike;
} trial;

void rows_forget(pb_backend *be)
{
    row_trials *all = be->rows;
    for (int64_t i = 0; all != NULL && i < all->count; i++) {
        pb_memory_free(all->shapes[i].tried);
    }
    pb_memory_free(all != NULL ? all->shapes : NULL);
    pb_memory_free(all);
    be->rows = NULL;
}

bool pb_backend_shares(const pb_backend *be)
{
    return be->shares;
}

/* What was found ------------------------------------------------------------------------------ */

static row_shape *find_shape(const pb_backend *be, const pb_tensor *weight)
{
    for (int64_t i = 0; be->rows != NULL && i < be->rows->count; i++) {
        row_shape *s = &be->rows->shapes[i];
        if (s->dtype == weight->dtype && s->out == weight->shape[0] && s->in == weight->shape[1] &&
            s->stride == weight->stride) {
            return s;
        }
    }
    return NULL;
}

static const tried *find(const pb_backend *be, const pb_tensor *weight, const pb_rows *rows)
{
    const row_shape *s = find_shape(be, weight);
    for (int64_t i = 0; s != NULL && i < s->count; i++) {
        if (memcmp(&s->tried[i].rows, rows, sizeof *rows) == 0) {
            return &s->tried[i];
        }
    }
    return NULL;
}

static pb_status add_shape(pb_backend *be, const pb_tensor *weight, row_shape **out)
{
    if (be->rows == NULL) {
        PB_TRY(PB_ALLOC(be->rows, 1));
    }
    row_trials *all = be->rows;
    PB_TRY(PB_GROW(all->shapes, all->count + 1));
    *out  = &all->shapes[all->count++];
    **out = (row_shape){.dtype  = weight->dtype,
                        .out    = weight->shape[0],
                        .in     = weight->shape[1],
                        .stride = weight->stride};
    return PB_OK;
}

static pb_status keep(pb_backend *be, const pb_tensor *weight, const tried *result)
{
    row_shape *s = find_shape(be, weight);
    if (s == NULL) {
        PB_TRY(add_shape(be, weight, &s));
    }
    PB_TRY(PB_GROW(s->tried, s->count + 1));
    s->tried[s->count++] = *result;
    return PB_OK;
}

bool pb_rows_alike(const pb_backend *be, const pb_tensor *weight, const pb_rows *a,
                   const pb_rows *b)
{
    const tried *of_a = find(be, weight, a);
    const tried *of_b = find(be, weight, b);
    return of_a != NULL && of_b != NULL && of_a->alike && of_b->alike &&
           memcmp(&of_a->bits, &of_b->bits, sizeof of_a->bits) == 0;
}

void pb_rows_report(pb_backend *be, const pb_tensor *weight, bool shared)
{
    row_shape *s = find_shape(be, weight);
    if (s != NULL && !s->reported) {
        s->reported = true;
        pb_log0_info("gangs: products with weights of %s [%" PRId64 ", %" PRId64 "] are %s",
                     pb_dtype_name(s->dtype), s->out, s->in,
                     shared ? "shared"
                            : "not shared: a row's bits may depend on the number of rows");
    }
}

/* Trials -------------------------------------------------------------------------------------- */

static int64_t wider(const pb_tensor *weight)
{
    return weight->shape[0] > weight->shape[1] ? weight->shape[0] : weight->shape[1];
}

static size_t rounded(int64_t count, size_t size)
{
    return ((size_t)count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Cuts the room; false where it is too small. */
static bool place(trial *t, const pb_tensor *weight, void *room, size_t bytes)
{
    int64_t wide   = wider(weight);
    int64_t border = weight->border;
    size_t weight_bytes =
        rounded((weight->shape[0] + border) * weight->stride, pb_dtype_size(weight->dtype));
    size_t row_bytes = rounded(t->rows.rows * (wide + border), sizeof(float));
    size_t skipped   = (ALIGNMENT - (uintptr_t)room % ALIGNMENT) % ALIGNMENT;
    t->weight        = *weight;
    t->weight.data   = (char *)room + skipped;
    t->factor        = (char *)t->weight.data + weight_bytes;
    t->product       = t->factor + row_bytes;
    return skipped + weight_bytes + 2 * row_bytes <= bytes;
}

/* `to` = `from`, of one shape, with the first column, or row, after the others. */
static pb_status copy_turned(pb_backend *be, const pb_tensor *to, const pb_tensor *from,
                             bool columns)
{
    pb_tensor (*part)(const pb_tensor *, int64_t, int64_t) =
        columns ? pb_tensor_columns : pb_tensor_rows;
    int64_t others        = from->shape[columns ? 1 : 0] - 1;
    pb_tensor to_begin    = part(to, 0, others);
    pb_tensor to_end      = part(to, others, 1);
    const pb_tensor rest  = part(from, 1, others);
    const pb_tensor first = part(from, 0, 1);
    PB_TRY(pb_copy(be, &to_end, &first));
    return others > 0 ? pb_copy(be, &to_begin, &rest) : PB_OK;
}

/* A quarter of the real weight four times: turned by a column on the right, by a row below. A
 * middle row or column is zero, and so is the border. */
static pb_status fill_weight(trial *t, const pb_tensor *weight)
{
    const pb_tensor *w = &t->weight;
    int64_t out        = w->shape[0] / 2;
    int64_t in         = w->shape[1] / 2;
    pb_tensor all      = pb_tensor_2d(w->data, w->dtype, w->shape[0] + w->border, w->stride);
    PB_TRY(pb_zero(t->be, &all));
    if (out == 0 || in == 0) {
        return PB_OK;
    }
    pb_tensor half    = pb_tensor_rows(weight, 0, out);
    pb_tensor quarter = pb_tensor_columns(&half, 0, in);
    pb_tensor upper   = pb_tensor_rows(&all, 0, out);
    pb_tensor lower   = pb_tensor_rows(&all, w->shape[0] - out, out);
    pb_tensor left    = pb_tensor_columns(&upper, 0, in);
    pb_tensor right   = pb_tensor_columns(&upper, w->shape[1] - in, in);
    PB_TRY(pb_copy(t->be, &left, &quarter));
    PB_TRY(copy_turned(t->be, &right, &quarter, true));
    return copy_turned(t->be, &lower, &upper, false);
}

/* What rides: columns and rows of the weight again, the second half turned in the same way. */
static pb_status fill_border(trial *t)
{
    const pb_tensor *w = &t->weight;
    const pb_rows *r   = &t->rows;
    int64_t half       = r->rank / 2;
    pb_tensor wide     = pb_tensor_widen(w, w->border);
    pb_tensor tall     = pb_tensor_columns(w, 0, w->shape[1]);
    tall.shape[0]      = w->shape[0] + w->border;
    pb_tensor columns  = pb_tensor_columns(w, 0, half);
    pb_tensor rows     = pb_tensor_rows(&tall, 0, half);
    pb_tensor left     = pb_tensor_columns(&wide, w->shape[1] + r->column, half);
    pb_tensor right    = pb_tensor_columns(&wide, w->shape[1] + r->column + half, half);
    pb_tensor upper    = pb_tensor_rows(&tall, w->shape[0] + r->column, half);
    pb_tensor lower    = pb_tensor_rows(&tall, w->shape[0] + r->column + half, half);
    PB_TRY(pb_copy(t->be, &left, &columns));
    PB_TRY(copy_turned(t->be, &right, &columns, true));
    PB_TRY(pb_copy(t->be, &upper, &rows));
    return copy_turned(t->be, &lower, &rows, false);
}

/* Random values, followed by their negatives, turned. */
static void fill_vector(float *v, int64_t count, uint64_t salt)
{
    pb_random stream = pb_random_stream(1, PB_RANDOM_TEST, salt);
    int64_t half     = count / 2;
    for (int64_t i = 0; i < half; i++) {
        v[i]                                    = (float)pb_random_normal(stream, (uint64_t)i);
        v[count - half + (i + half - 1) % half] = -v[i];
    }
}

/* *x = equal rows [rows, width] with a border. */
static pb_status fill_factor(trial *t, int64_t width, pb_tensor *x)
{
    int64_t all    = width + t->weight.border;
    pb_tensor host = pb_tensor_2d(t->vector, PB_DTYPE_F32, 1, all);
    pb_tensor rows = pb_tensor_2d(t->factor, activation_of(t->be), t->rows.rows, all);
    memset(t->vector, 0, (size_t)all * sizeof *t->vector);
    fill_vector(t->vector, width, 0);
    fill_vector(t->vector + width + t->rows.column, t->rows.rank, 1);
    pb_tensor first = pb_tensor_rows(&rows, 0, 1);
    PB_TRY(pb_copy(t->be, &first, &host));
    for (int64_t have = 1, n = 0; have < t->rows.rows; have += n) {
        n              = have < t->rows.rows - have ? have : t->rows.rows - have;
        pb_tensor to   = pb_tensor_rows(&rows, have, n);
        pb_tensor from = pb_tensor_rows(&rows, 0, n);
        PB_TRY(pb_copy(t->be, &to, &from));
    }
    *x = pb_tensor_narrow(&rows, t->weight.border);
    return PB_OK;
}

static int64_t step_of(int64_t rows, int64_t width)
{
    int64_t step = rows * width / COMPARED;
    return step < 1 ? 1 : step;
}

/* Sums of few terms may be exact: then they show nothing. */
static bool any_rounding(const float *sums, int64_t count)
{
    int64_t i = 0;
    while (i < count && sums[i] == 0.0f) {
        i++;
    }
    return i < count;
}

/* Compares rows of a product with its first one, which is kept. */
static pb_status compare(trial *t, const pb_tensor *y)
{
    int64_t width  = y->shape[1];
    int64_t step   = step_of(t->rows.rows, width);
    size_t bytes   = (size_t)width * sizeof *t->results;
    float *first   = t->first + t->used;
    pb_tensor some = *y;
    some.shape[0]  = (t->rows.rows - 1) / step + 1;
    some.stride *= step;
    pb_tensor last      = pb_tensor_rows(y, t->rows.rows - 1, 1);
    float *end          = t->results + some.shape[0] * width;
    pb_tensor host      = pb_tensor_2d(t->results, PB_DTYPE_F32, some.shape[0], width);
    pb_tensor host_last = pb_tensor_2d(end, PB_DTYPE_F32, 1, width);
    PB_TRY(pb_copy(t->be, &host, &some));
    PB_TRY(pb_copy(t->be, &host_last, &last));
    memcpy(first, t->results, bytes);
    t->alike = t->alike && any_rounding(first, width);
    for (const float *row = t->results; row <= end; row += width) {
        t->alike = t->alike && memcmp(row, first, bytes) == 0;
    }
    t->used += width;
    return PB_OK;
}

/* y = x Wᵀ, with `width` columns of the borders; as F32, which a residual may be, y = 0 + x Wᵀ, too
 */
static pb_status try_forward(trial *t, pb_dtype dtype, int64_t width)
{
    pb_matmul_args args = {.transpose_b = true, .alpha = 1.0f};
    pb_tensor weight    = pb_tensor_widen(&t->weight, width);
    pb_tensor y         = pb_tensor_2d(t->product, dtype, t->rows.rows, weight.shape[0]);
    pb_tensor x;
    PB_TRY(fill_factor(t, t->weight.shape[1], &x));
    pb_tensor wide = pb_tensor_widen(&x, width);
    PB_TRY(pb_matmul(t->be, &y, &wide, &weight, &args));
    PB_TRY(compare(t, &y));
    if (dtype != PB_DTYPE_F32) {
        return PB_OK;
    }
    args.beta = 1.0f;
    PB_TRY(pb_zero(t->be, &y));
    PB_TRY(pb_matmul(t->be, &y, &wide, &weight, &args));
    return compare(t, &y);
}

/* dx = dy W, and dx = 0 + dy W */
static pb_status try_backward(trial *t, pb_dtype dtype, int64_t width)
{
    pb_tensor weight = t->weight;
    pb_tensor dx     = pb_tensor_2d(t->product, dtype, t->rows.rows, weight.shape[1]);
    pb_tensor dy;
    weight.shape[0] += width;
    PB_TRY(fill_factor(t, t->weight.shape[0], &dy));
    pb_tensor wide = pb_tensor_widen(&dy, width);
    PB_TRY(pb_matmul(t->be, &dx, &wide, &weight, &(pb_matmul_args){.alpha = 1.0f}));
    PB_TRY(compare(t, &dx));
    PB_TRY(pb_zero(t->be, &dx));
    PB_TRY(pb_matmul(t->be, &dx, &wide, &weight, &(pb_matmul_args){.alpha = 1.0f, .beta = 1.0f}));
    return compare(t, &dx);
}

static pb_status try_products(trial *t, const pb_tensor *weight)
{
    const pb_dtype types[] = {PB_DTYPE_F32, activation_of(t->be)};
    const int64_t widths[] = {0, t->rows.width};
    int kinds              = types[1] != types[0] ? 2 : 1;
    bool rides             = t->rows.rank > 0;
    PB_TRY(fill_weight(t, weight));
    PB_TRY(rides ? fill_border(t) : PB_OK);
    for (int i = 0; i < (rides ? 2 : 1) * kinds; i++) {
        PB_TRY(try_forward(t, types[i % kinds], widths[i / kinds]));
        PB_TRY(try_backward(t, types[i % kinds], widths[i / kinds]));
    }
    return PB_OK;
}

/* Products of a trial are not counted as work. */
static pb_status run(trial *t, const pb_tensor *weight)
{
    pb_backend *be       = t->be;
    pb_backend_work work = be->work;
    bool timing          = be->timing;
    be->timing           = false;
    pb_status status     = try_products(t, weight);
    be->timing           = timing;
    be->work             = work;
    return status;
}

/* The halves of what rides are copies of rows and columns of the weight. */
static bool may_fill(const pb_tensor *weight, const pb_rows *rows)
{
    return rows->rank / 2 <= weight->shape[0] && rows->rank / 2 <= weight->shape[1];
}

pb_status pb_rows_try(pb_backend *be, const pb_tensor *weight, const pb_rows *rows, void *room,
                      size_t bytes)
{
    trial t      = {.be = be, .rows = *rows, .alike = true};
    int64_t wide = wider(weight);
    tried result = {.rows = *rows};
    pb_status status;
    if (rows->rows == 0 || find(be, weight, rows) != NULL) {
        return PB_OK;
    }
    if (!may_fill(weight, rows) || !place(&t, weight, room, bytes)) {
        return keep(be, weight, &result);
    }
    PB_TRY_GOTO(status, PB_ALLOC(t.vector, wide + weight->border), done);
    PB_TRY_GOTO(status, PB_ALLOC(t.first, PRODUCTS * wide), done);
    PB_TRY_GOTO(status, PB_ALLOC(t.results, 2 * (COMPARED + wide)), done);
    PB_TRY_GOTO(status, run(&t, weight), done);
    result.alike = t.alike;
    PB_TRY_GOTO(status, pb_digest_of(t.first, (size_t)t.used * sizeof *t.first, &result.bits),
                done);
    PB_TRY_GOTO(status, keep(be, weight, &result), done);
done:
    pb_memory_free(t.results);
    pb_memory_free(t.first);
    pb_memory_free(t.vector);
    return status;
}
