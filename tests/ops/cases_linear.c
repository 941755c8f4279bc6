// SPDX-License-Identifier: Apache-2.0
/* Cases of linear sites with the parts that methods of the LoRA family add to them, with dropout
 * and without, and of such a part alone. */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

enum { PASS = 4, MOST_PARTS = 3 };

/* Parts grow along the rows; with few rows the first are empty. */
static int64_t first_row(const op_case *c, int64_t part)
{
    return c->in[1].rows * part * part / (c->with.parts * c->with.parts);
}

static pb_mask mask_of(const op_case *c, int64_t part)
{
    pb_mask mask = c->with.mask;
    mask.salt += (uint64_t)part;
    return mask;
}

static float scale_of(const op_case *c, int64_t part)
{
    return c->with.scale * (float)(part + 1);
}

static double dropped(const op_case *c, const pb_mask *mask, double x, int64_t index)
{
    pb_random stream =
        pb_random_stream(mask->seed, PB_RANDOM_DROPOUT, PASS * mask->stride + mask->salt);
    return pb_random_uniform(stream, (uint64_t)index) >= c->with.p ? x / (1.0 - c->with.p) : 0.0;
}

/* in[1]: x [T, I]; in[2]: A of all parts [parts · R, I]; in[3]: their B, side by side [O, parts ·
 * R]; out: y += , kept [T, R]. */
static void naive_part(const op_case *c, double *const *in, double *const *out, int64_t part)
{
    pb_mask mask  = mask_of(c, part);
    int64_t first = first_row(c, part);
    int64_t wide  = c->in[1].columns;
    int64_t n     = c->in[3].rows;
    int64_t all   = c->in[3].columns;
    int64_t r     = all / c->with.parts;
    for (int64_t i = first; i < first_row(c, part + 1); i++) {
        double *kept = out[1] + i * r;
        for (int64_t k = 0; k < r; k++) {
            kept[k] = 0;
        }
        for (int64_t j = 0; j < wide; j++) {
            double x = dropped(c, &mask, in[1][i * wide + j], (i - first) * wide + j);
            for (int64_t k = 0; k < r; k++) {
                kept[k] += x * in[2][(part * r + k) * wide + j];
            }
        }
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < r; k++) {
                sum += kept[k] * in[3][j * all + part * r + k];
            }
            out[0][i * n + j] += (double)scale_of(c, part) * sum;
        }
    }
}

static void naive_parts(const op_case *c, double *const *in, double *const *out)
{
    for (int64_t part = 0; part < c->with.parts; part++) {
        naive_part(c, in, out, part);
    }
}

/* in[0]: y before */
static void naive_low_rank(const op_case *c, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < c->out[0].rows * c->out[0].columns; i++) {
        out[0][i] = in[0][i];
    }
    naive_parts(c, in, out);
}

/* in[0]: W [O, I]; in[4]: bias [O]; in[5]: residual [T, O], where there is one */
static void naive_linear(const op_case *c, double *const *in, double *const *out)
{
    int64_t wide = c->in[1].columns;
    int64_t n    = c->in[0].rows;
    for (int64_t at = 0; at < c->in[1].rows * n; at++) {
        out[0][at] = in[4][at % n] + (c->ins > 5 ? in[5][at] : 0.0);
        for (int64_t j = 0; j < wide; j++) {
            out[0][at] += in[1][at / n * wide + j] * in[0][at % n * wide + j];
        }
    }
    naive_parts(c, in, out);
}

static pb_low_rank low_rank_of(const op_case *c, const pb_tensor *in, int64_t part)
{
    int64_t r = in[2].shape[0] / c->with.parts;
    return (pb_low_rank){.a       = pb_tensor_rows(&in[2], part * r, r),
                         .b       = pb_tensor_columns(&in[3], part * r, r),
                         .scale   = scale_of(c, part),
                         .dropout = c->with.p,
                         .mask    = mask_of(c, part)};
}

static void set_gradients(const op_case *c, const pb_tensor *din, int64_t part, pb_low_rank *of)
{
    int64_t r = din[2].shape[0] / c->with.parts;
    of->da    = pb_tensor_rows(&din[2], part * r, r);
    of->db    = pb_tensor_columns(&din[3], part * r, r);
}

/* The memory that parts need; freed by the caller. */
static pb_status room_of(const op_case *c, pb_backend *be, const pb_low_rank *part, pb_tensor *room)
{
    int64_t width = 2 * pb_low_rank_room(part);
    void *data    = NULL;
    PB_TRY(pb_backend_alloc(be, (size_t)(c->in[1].rows * width) * sizeof(float), &data));
    *room = pb_tensor_2d(data, PB_DTYPE_F32, c->in[1].rows, width);
    PB_TRY(pb_page_begin(be, PASS));
    return pb_page_end(be);
}

static pb_status low_rank(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    pb_low_rank part = low_rank_of(c, in, 0);
    pb_tensor room   = {0};
    pb_status status;
    PB_TRY_GOTO(status, room_of(c, be, &part, &room), done);
    PB_TRY_GOTO(status, pb_low_rank_forward(be, &out[0], &in[1], &part, &out[1], &room), done);
done:
    pb_backend_free(be, room.data);
    return status;
}

static pb_status low_rank_backward(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                                   pb_tensor *dout, pb_tensor *din)
{
    bool add         = c->in[1].gradient == OP_GRAD_ADD;
    pb_low_rank part = low_rank_of(c, in, 0);
    pb_tensor room   = {0};
    pb_status status;
    set_gradients(c, din, 0, &part);
    PB_TRY_GOTO(status, room_of(c, be, &part, &room), done);
    PB_TRY_GOTO(status,
                pb_low_rank_backward(be, &din[1], &dout[0], &in[1], &part, &out[1], &room, add),
                done);
done:
    pb_backend_free(be, room.data);
    return status;
}

/* The parts of a site, whose room the caller frees. */
static pb_status parts_of(const op_case *c, pb_backend *be, const pb_tensor *in,
                          const pb_tensor *out, pb_linear_part *parts, pb_tensor *room)
{
    pb_low_rank first = low_rank_of(c, in, 0);
    PB_TRY(room_of(c, be, &first, room));
    for (int64_t i = 0; i < c->with.parts; i++) {
        int64_t row  = first_row(c, i);
        int64_t rows = first_row(c, i + 1) - row;
        parts[i]     = (pb_linear_part){.low_rank = low_rank_of(c, in, i),
                                        .first    = row,
                                        .rows     = rows,
                                        .kept     = pb_tensor_rows(&out[1], row, rows),
                                        .room     = pb_tensor_rows(room, row, rows)};
    }
    return PB_OK;
}

/* *t becomes a copy with a border, which holds ones; its memory, *block, is freed by the caller. */
static pb_status give_border(pb_backend *be, pb_tensor *t, int64_t border, void **block)
{
    int64_t rows   = t->shape[0];
    int64_t width  = t->shape[1] + border;
    int64_t count  = (rows + border) * width;
    float *ones    = malloc((size_t)count * sizeof *ones);
    pb_tensor from = *t;
    for (int64_t i = 0; i < count; i++) {
        ones[i] = 1.0f;
    }
    pb_tensor host   = pb_tensor_1d(ones, PB_DTYPE_F32, count);
    pb_status status = pb_backend_alloc(be, (size_t)count * pb_dtype_size(t->dtype), block);
    pb_tensor memory = pb_tensor_1d(*block, t->dtype, count);
    status           = status == PB_OK ? pb_copy(be, &memory, &host) : status;
    free(ones);
    pb_tensor all = pb_tensor_2d(*block, t->dtype, rows, width);
    *t            = pb_tensor_narrow(&all, border);
    return status == PB_OK ? pb_copy(be, t, &from) : status;
}

/* The parts ride, side by side, in a copy of W beside a copy of `rows`; several are written by the
 * operation. */
static pb_status ride(const op_case *c, pb_backend *be, pb_linear *of, pb_tensor *rows,
                      void **blocks)
{
    pb_scaled_copy copies[2 * MOST_PARTS];
    int64_t border = c->in[3].columns;
    if (!c->with.rides) {
        return PB_OK;
    }
    PB_TRY(give_border(be, &of->weight, border, &blocks[0]));
    PB_TRY(give_border(be, rows, border, &blocks[1]));
    of->rides = pb_linear_may_ride(of);
    of->holds = of->count == 1;
    pb_linear_border(of, copies);
    return of->holds ? pb_copy_scaled(be, copies, 2) : PB_OK;
}

static pb_status linear(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    pb_linear_part parts[MOST_PARTS];
    pb_linear of    = {.weight = in[0], .bias = in[4], .parts = parts, .count = c->with.parts};
    of.residual     = c->ins > 5 ? in[5] : (pb_tensor){0};
    pb_tensor x     = in[1];
    pb_tensor room  = {0};
    void *blocks[2] = {NULL};
    pb_status status;
    PB_TRY_GOTO(status, parts_of(c, be, in, out, parts, &room), done);
    PB_TRY_GOTO(status, ride(c, be, &of, &x, blocks), done);
    PB_TRY_GOTO(status, pb_linear_forward(be, &out[0], &x, &of), done);
done:
    pb_backend_free(be, blocks[0]);
    pb_backend_free(be, blocks[1]);
    pb_backend_free(be, room.data);
    return status;
}

static pb_status linear_backward(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                                 pb_tensor *dout, pb_tensor *din)
{
    pb_linear_part parts[MOST_PARTS];
    pb_linear of    = {.weight  = in[0],
                       .dweight = din[0],
                       .bias    = in[4],
                       .dbias   = din[4],
                       .parts   = parts,
                       .count   = c->with.parts};
    bool add        = c->in[1].gradient == OP_GRAD_ADD;
    pb_tensor dy    = dout[0];
    pb_tensor room  = {0};
    void *blocks[2] = {NULL};
    pb_status status;
    PB_TRY_GOTO(status, parts_of(c, be, in, out, parts, &room), done);
    PB_TRY_GOTO(status, ride(c, be, &of, &dy, blocks), done);
    for (int64_t i = 0; i < c->with.parts; i++) {
        set_gradients(c, din, i, &parts[i].low_rank);
    }
    PB_TRY_GOTO(status, pb_linear_backward(be, &din[1], &dy, &in[1], &of, add), done);
done:
    pb_backend_free(be, blocks[0]);
    pb_backend_free(be, blocks[1]);
    pb_backend_free(be, room.data);
    return status;
}

/* What cases of a part and of a site have in common. */
static void set_common(op_case *c, int64_t rows, int64_t wide, int64_t n, int64_t r, int64_t parts,
                       double p, bool adds)
{
    c->in[1]           = ops_matrix("x", rows, wide, adds ? OP_GRAD_ADD : OP_GRAD_SET);
    c->in[2]           = ops_matrix("trained A", parts * r, wide, OP_GRAD_ADD);
    c->in[3]           = ops_matrix("trained B", n, parts * r, OP_GRAD_ADD);
    c->out[0]          = ops_matrix("y", rows, n, OP_GRAD_NONE);
    c->out[1]          = ops_matrix("kept", rows, r, OP_GRAD_NONE);
    c->outs            = 2;
    c->flops           = 2.0 * (double)(rows * r * (wide + n));
    c->backward_factor = 2.0;
    c->with.parts      = parts;
    c->with.p          = p;
    c->with.mask       = (pb_mask){.seed = 5, .stride = 9, .salt = (uint64_t)r};
    c->with.scale      = 0.75f;
    c->out[1].constant = true;
}

static void add_low_rank(int64_t rows, int64_t wide, int64_t n, int64_t r, double p, bool adds)
{
    op_case *c = ops_add("low_rank", "[%d, %d] by %d to %d p %g%s", (int)rows, (int)wide, (int)r,
                         (int)n, p, adds ? " +=" : "");
    set_common(c, rows, wide, n, r, 1, p, adds);
    c->in[0]    = ops_matrix("y before", rows, n, OP_GRAD_NONE);
    c->ins      = 4;
    c->in_place = true;
    c->naive    = naive_low_rank;
    c->forward  = low_rank;
    c->backward = low_rank_backward;
    c->slow     = rows > 1000;
}

/* Parts, each with its rows, dropout and scale; the weight is trained with the bias, or neither.
 * Those that add to dx add a residual, too. */
static op_case *add_linear(int64_t rows, int64_t wide, int64_t n, int64_t r, int64_t parts,
                           double p, bool adds, bool trained)
{
    op_case *c =
        ops_add("linear", "[%d, %d] by %d in %d parts to %d p %g%s%s", (int)rows, (int)wide, (int)r,
                (int)parts, (int)n, p, adds ? " +=" : "", trained ? " trained" : "");
    set_common(c, rows, wide, n, r, parts, p, adds);
    c->in[0] =
        ops_matrix(trained ? "trained W" : "W", n, wide, trained ? OP_GRAD_ADD : OP_GRAD_NONE);
    c->in[4]    = ops_vector("bias", n, trained ? OP_GRAD_ADD : OP_GRAD_NONE);
    c->in[5]    = ops_matrix("residual", rows, n, OP_GRAD_NONE);
    c->ins      = adds ? 6 : 5;
    c->naive    = naive_linear;
    c->forward  = linear;
    c->backward = linear_backward;
    c->flops += 2.0 * (double)(rows * wide * n);
    return c;
}

/* The same where the parts ride, on a backend that lets them. */
static void add_riding(int64_t rows, int64_t wide, int64_t n, int64_t r, int64_t parts, double p,
                       bool adds)
{
    op_case *c    = add_linear(rows, wide, n, r, parts, p, adds, false);
    c->with.rides = true;
    (void)strncat(c->name, " riding", sizeof c->name - strlen(c->name) - 1);
}

void ops_add_linear(void)
{
    add_low_rank(1, 1, 1, 1, 0.0, false);
    add_low_rank(3, 5, 7, 2, 0.25, true);
    add_low_rank(0, 8, 8, 4, 0.0, false);
    add_low_rank(70, 130, 66, 8, 0.1, false);
    add_low_rank(65, 600, 40, 16, 0.0, true);
    add_low_rank(40, 72, 530, 17, 0.5, true);
    add_low_rank(33, 64, 64, 80, 0.1, false);
    add_low_rank(600, 64, 48, 6, 0.1, true);
    add_low_rank(2048, 2048, 2048, 16, 0.05, true);
    (void)add_linear(5, 7, 6, 2, 1, 0.0, false, true);
    (void)add_linear(9, 12, 10, 3, 2, 0.25, true, false);
    (void)add_linear(70, 24, 20, 4, 3, 0.1, false, false);
    (void)add_linear(4, 40, 32, 4, 3, 0.0, true, false);
    add_riding(3, 5, 7, 8, 1, 0.0, false);
    add_riding(9, 12, 10, 1, 1, 0.0, true); /* a rank that does not ride */
    add_riding(33, 64, 72, 64, 1, 0.0, true);
    add_riding(40, 600, 24, 16, 1, 0.0, false);
    add_riding(20, 64, 40, 16, 1, 0.1, true);
    add_riding(70, 24, 20, 8, 3, 0.0, true);
    add_riding(2, 24, 48, 8, 3, 0.1, false);
}
