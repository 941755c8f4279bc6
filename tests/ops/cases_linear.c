// SPDX-License-Identifier: Apache-2.0
/* Cases of the part that methods of the LoRA family add to a product, with dropout and without. */
#include "ops.h"

#include <stdlib.h>

enum { PASS = 4 };

static double dropped(const op_case *c, double x, int64_t index)
{
    const pb_mask *mask = &c->with.mask;
    pb_random stream =
        pb_random_stream(mask->seed, PB_RANDOM_DROPOUT, PASS * mask->stride + mask->salt);
    return pb_random_uniform(stream, (uint64_t)index) >= c->with.p ? x / (1.0 - c->with.p) : 0.0;
}

/* in: y before [T, O], x [T, I], A [R, I], B [O, R]; out: y, kept [T, R]. */
static void naive_low_rank(const op_case *c, double *const *in, double *const *out)
{
    int64_t wide = c->in[1].columns;
    int64_t r    = c->in[2].rows;
    int64_t n    = c->in[3].rows;
    for (int64_t i = 0; i < c->in[1].rows; i++) {
        double *kept = out[1] + i * r;
        for (int64_t k = 0; k < r; k++) {
            kept[k] = 0;
        }
        for (int64_t j = 0; j < wide; j++) {
            double x = dropped(c, in[1][i * wide + j], i * wide + j);
            for (int64_t k = 0; k < r; k++) {
                kept[k] += x * in[2][k * wide + j];
            }
        }
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < r; k++) {
                sum += kept[k] * in[3][j * r + k];
            }
            out[0][i * n + j] = in[0][i * n + j] + (double)c->with.scale * sum;
        }
    }
}

static pb_low_rank part_of(const op_case *c, const pb_tensor *in)
{
    return (pb_low_rank){
        .a = in[2], .b = in[3], .scale = c->with.scale, .dropout = c->with.p, .mask = c->with.mask};
}

/* The memory that a part needs; freed by the caller. */
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
    pb_low_rank part = part_of(c, in);
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
    pb_low_rank part = part_of(c, in);
    pb_tensor room   = {0};
    pb_status status;
    part.da = din[2];
    part.db = din[3];
    PB_TRY_GOTO(status, room_of(c, be, &part, &room), done);
    PB_TRY_GOTO(status,
                pb_low_rank_backward(be, &din[1], &dout[0], &in[1], &part, &out[1], &room, add),
                done);
done:
    pb_backend_free(be, room.data);
    return status;
}

static void add_low_rank(int64_t rows, int64_t wide, int64_t n, int64_t r, double p, bool adds)
{
    op_case *c    = ops_add("low_rank", "[%d, %d] by %d to %d p %g%s", (int)rows, (int)wide, (int)r,
                            (int)n, p, adds ? " +=" : "");
    c->in[0]      = ops_matrix("y before", rows, n, OP_GRAD_NONE);
    c->in[1]      = ops_matrix("x", rows, wide, adds ? OP_GRAD_ADD : OP_GRAD_SET);
    c->in[2]      = ops_matrix("trained A", r, wide, OP_GRAD_ADD);
    c->in[3]      = ops_matrix("trained B", n, r, OP_GRAD_ADD);
    c->out[0]     = ops_matrix("y", rows, n, OP_GRAD_NONE);
    c->out[1]     = ops_matrix("kept", rows, r, OP_GRAD_NONE);
    c->ins        = 4;
    c->outs       = 2;
    c->in_place   = true;
    c->naive      = naive_low_rank;
    c->forward    = low_rank;
    c->backward   = low_rank_backward;
    c->flops      = 2.0 * (double)(rows * r * (wide + n));
    c->slow       = rows > 1000;
    c->with.p     = p;
    c->with.mask  = (pb_mask){.seed = 5, .stride = 9, .salt = (uint64_t)r};
    c->with.scale = 0.75f;
    c->backward_factor = 2.0;
    c->out[1].constant = true;
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
}
