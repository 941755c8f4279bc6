// SPDX-License-Identifier: Apache-2.0
/* Cases of operations on rows: by index, norm, rotation, loss, with their naive forward in double.
 */
#include "ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows by index ---- */

/* The indices of the case, on a page. */
static pb_status list_of(const op_case *c, pb_backend *be, int64_t count, int64_t first,
                         int64_t limit, pb_list *list)
{
    PB_TRY(pb_page_begin(be, 0));
    PB_TRY(pb_page_list(be, "indices", c->with.indices, count, first, limit, list));
    return pb_page_end(be);
}

/* in: x [T, D], y before [N, D]; out: y [N, D] = scale · x at indices, kept where the index is -1.
 */
static void naive_take(const op_case *c, double *const *in, double *const *out)
{
    int64_t width = c->out[0].columns;
    for (int64_t i = 0; i < c->out[0].rows; i++) {
        int32_t row = c->with.indices[i];
        for (int64_t j = 0; j < width; j++) {
            out[0][i * width + j] =
                row < 0 ? in[1][i * width + j] : (double)c->with.scale * in[0][row * width + j];
        }
    }
}

static pb_status embedding(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    pb_list ids;
    PB_TRY(list_of(c, be, c->out[0].rows, -1, c->in[0].rows, &ids));
    PB_TRY(pb_copy(be, &out[0], &in[1]));
    return pb_embedding_forward(be, &out[0], &in[0], &ids, c->with.scale);
}

static pb_status embedding_backward(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                                    pb_tensor *dout, pb_tensor *din)
{
    (void)in;
    (void)out;
    pb_list ids;
    PB_TRY(list_of(c, be, c->out[0].rows, -1, c->in[0].rows, &ids));
    return pb_embedding_backward(be, &din[0], &dout[0], &ids, c->with.scale);
}

static pb_status gather(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    pb_list rows;
    PB_TRY(list_of(c, be, c->out[0].rows, 0, c->in[0].rows, &rows));
    return pb_gather(be, &out[0], &in[0], &rows);
}

static pb_status scatter_add(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                             pb_tensor *dout, pb_tensor *din)
{
    (void)in;
    (void)out;
    pb_list rows;
    PB_TRY(list_of(c, be, c->out[0].rows, 0, c->in[0].rows, &rows));
    return pb_scatter_add(be, &din[0], &dout[0], &rows);
}

/* What cases that move rows [rows, width] by a list have in common. The list, of multiples of
 * `step` modulo `among`, is returned. */
static int32_t *set_moved(op_case *c, int64_t rows, int64_t width, int64_t step, int64_t among)
{
    int32_t *indices = ops_keep((size_t)rows * sizeof *indices);
    for (int64_t i = 0; i < rows; i++) {
        indices[i] = (int32_t)(i * step % among);
    }
    c->ins          = 2;
    c->outs         = 1;
    c->bytes        = 8.0 * (double)(rows * width);
    c->slow         = rows > 1000;
    c->with.indices = indices;
    return indices;
}

static void add_take(bool is_embedding, int64_t from, int64_t rows, int64_t width, float scale)
{
    op_case *c       = ops_add(is_embedding ? "embedding" : "gather", "[%d of %d, %d] times %g",
                         (int)rows, (int)from, (int)width, (double)scale);
    int32_t *indices = set_moved(c, rows, width, 7, from);
    for (int64_t i = 3; is_embedding && i < rows; i += 5) {
        indices[i] = -1;
    }
    c->in[0]      = ops_matrix("x", from, width, OP_GRAD_ADD);
    c->in[1]      = ops_matrix("y before", rows, width, OP_GRAD_NONE);
    c->out[0]     = ops_matrix("y", rows, width, OP_GRAD_NONE);
    c->naive      = naive_take;
    c->forward    = is_embedding ? embedding : gather;
    c->backward   = is_embedding ? embedding_backward : scatter_add;
    c->with.scale = scale;
}

/* in: y before [S, D], x [T, D]; out: y with x at indices. */
static void naive_put(const op_case *c, double *const *in, double *const *out)
{
    int64_t width = c->out[0].columns;
    memcpy(out[0], in[0], (size_t)(c->out[0].rows * width) * sizeof(double));
    for (int64_t i = 0; i < c->in[1].rows; i++) {
        memcpy(out[0] + c->with.indices[i] * width, in[1] + i * width,
               (size_t)width * sizeof(double));
    }
}

static pb_status put_rows(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    pb_list rows;
    PB_TRY(list_of(c, be, c->in[1].rows, 0, c->out[0].rows, &rows));
    return pb_put_rows(be, &out[0], &in[1], &rows);
}

static void add_put(int64_t into, int64_t rows, int64_t width)
{
    op_case *c = ops_add("put_rows", "[%d into %d, %d]", (int)rows, (int)into, (int)width);
    set_moved(c, rows, width, 11, into); /* distinct: 11 divides no `into` here */
    c->in[0]    = ops_matrix("y before", into, width, OP_GRAD_NONE);
    c->in[1]    = ops_matrix("x", rows, width, OP_GRAD_NONE);
    c->out[0]   = ops_matrix("y", into, width, OP_GRAD_NONE);
    c->in_place = true;
    c->naive    = naive_put;
    c->forward  = put_rows;
}

/* ---- rms norm ---- */

static void naive_rmsnorm(const op_case *c, double *const *in, double *const *out)
{
    int64_t n = c->in[0].columns;
    for (int64_t i = 0; i < c->in[0].rows; i++) {
        const double *x = in[0] + i * n;
        double square   = 0;
        for (int64_t j = 0; j < n; j++) {
            square += x[j] * x[j];
        }
        double s = 1.0 / sqrt(square / (double)n + (double)c->with.norm.eps);
        for (int64_t j = 0; j < n; j++) {
            out[0][i * n + j] = x[j] * s * ((double)c->with.norm.offset + in[1][j]);
        }
    }
}

static pb_status rmsnorm(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    return pb_rmsnorm_forward(be, &out[0], &in[0], &in[1], &c->with.norm);
}

static pb_status rmsnorm_backward(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                                  pb_tensor *dout, pb_tensor *din)
{
    (void)out;
    return pb_rmsnorm_backward(be, &din[0], pb_tensor_is_none(&din[1]) ? NULL : &din[1], &dout[0],
                               &in[0], &in[1], &c->with.norm);
}

/* With a frozen weight the backward adds to dx, with a trained one it writes dx. */
static void add_rmsnorm(int64_t rows, int64_t width, bool weight_gradient, float offset)
{
    op_case *c = ops_add("rmsnorm", "[%d, %d]%s offset %g", (int)rows, (int)width,
                         weight_gradient ? "" : " frozen weight", (double)offset);
    c->in[0]   = ops_matrix("x", rows, width, weight_gradient ? OP_GRAD_SET : OP_GRAD_ADD);
    c->in[1]   = ops_vector("weight", width, weight_gradient ? OP_GRAD_ADD : OP_GRAD_NONE);
    c->out[0]  = ops_matrix("y", rows, width, OP_GRAD_NONE);
    c->ins     = 2;
    c->outs    = 1;
    c->naive   = naive_rmsnorm;
    c->forward = rmsnorm;
    /* Of a single column the norm is a sign: no gradient, except for rounding. */
    c->backward        = width > 1 ? rmsnorm_backward : NULL;
    c->bytes           = 8.0 * (double)(rows * width);
    c->backward_factor = 2.0;
    c->slow            = rows > 1000;
    c->with.norm       = (pb_rmsnorm_args){.eps = 1e-5f, .offset = offset, .add = !weight_gradient};
}

/* ---- rope ---- */

/* in: x [T, H·E], table [P, E]; indices are the positions. */
static void naive_rope(const op_case *c, double *const *in, double *const *out)
{
    int64_t n    = c->in[0].columns;
    int64_t e    = c->in[1].columns;
    int64_t half = e / 2;
    for (int64_t i = 0; i < c->in[0].rows; i++) {
        const double *angles = in[1] + c->with.indices[i] * e;
        for (int64_t j = 0; j < n; j++) {
            int64_t d    = j % e;
            double other = d < half ? -in[0][i * n + j + half] : in[0][i * n + j - half];
            out[0][i * n + j] =
                in[0][i * n + j] * angles[d % half] + other * angles[half + d % half];
        }
    }
}

static pb_status rope(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    pb_list positions;
    PB_TRY(list_of(c, be, c->out[0].rows, 0, c->in[1].rows, &positions));
    return pb_rope(be, &out[0], &in[1], &positions, c->with.heads, false);
}

static pb_status rope_backward(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                               pb_tensor *dout, pb_tensor *din)
{
    (void)out;
    pb_list positions;
    PB_TRY(list_of(c, be, c->out[0].rows, 0, c->in[1].rows, &positions));
    PB_TRY(pb_copy(be, &din[0], &dout[0]));
    return pb_rope(be, &din[0], &in[1], &positions, c->with.heads, true);
}

static void add_rope(int64_t rows, int64_t heads, int64_t width)
{
    enum { POSITIONS = 50 };
    op_case *c         = ops_add("rope", "[%d, %d x %d]", (int)rows, (int)heads, (int)width);
    int32_t *positions = ops_keep((size_t)rows * sizeof *positions);
    for (int64_t i = 0; i < rows; i++) {
        positions[i] = (int32_t)(i * 3 % POSITIONS);
    }
    c->in[0]        = ops_matrix("x", rows, heads * width, OP_GRAD_SET);
    c->in[1]        = ops_matrix("table", POSITIONS, width, OP_GRAD_NONE);
    c->out[0]       = ops_matrix("y", rows, heads * width, OP_GRAD_NONE);
    c->ins          = 2;
    c->outs         = 1;
    c->in_place     = true;
    c->naive        = naive_rope;
    c->forward      = rope;
    c->backward     = rope_backward;
    c->bytes        = 8.0 * (double)(rows * heads * width);
    c->slow         = rows > 1000;
    c->with.indices = positions;
    c->with.heads   = heads;
}

/* ---- cross-entropy ---- */

static void naive_cross_entropy(const op_case *c, double *const *in, double *const *out)
{
    int64_t n = c->in[0].columns;
    for (int64_t i = 0; i < c->in[0].rows; i++) {
        const double *x = in[0] + i * n;
        double max      = x[0];
        double sum      = 0;
        for (int64_t j = 1; j < n; j++) {
            max = fmax(max, x[j]);
        }
        for (int64_t j = 0; j < n; j++) {
            sum += exp(x[j] - max);
        }
        int32_t target = c->with.indices[i];
        out[0][i]      = target >= 0 ? max + log(sum) - x[target] : 0.0;
    }
}

static pb_status losses_of(const op_case *c, pb_backend *be, pb_tensor *logits, pb_tensor *losses,
                           const float *scale)
{
    int64_t n     = c->in[0].rows;
    void *memory  = NULL;
    double *host  = calloc((size_t)n + 1, sizeof *host);
    float *narrow = calloc((size_t)n + 1, sizeof *narrow);
    pb_status status;
    pb_list targets;
    pb_tensor own;
    PB_TRY(pb_backend_alloc(be, (size_t)(n + 1) * sizeof *host, &memory));
    pb_tensor numbers = pb_tensor_1d(memory, PB_DTYPE_F64, n);
    PB_TRY_GOTO(status, list_of(c, be, n, -1, c->in[0].columns, &targets), done);
    PB_TRY_GOTO(status, pb_page_floats(be, scale, scale != NULL, &own), done);
    PB_TRY_GOTO(status, pb_page_end(be), done);
    PB_TRY_GOTO(status,
                pb_cross_entropy(be, &numbers, logits, &targets, scale != NULL ? &own : NULL),
                done);
    PB_TRY_GOTO(status, pb_post(be, 0, &numbers), done);
    PB_TRY_GOTO(status, pb_take(be, 0, host), done);
    for (int64_t i = 0; i < n; i++) {
        narrow[i] = (float)host[i];
    }
    pb_tensor from = pb_tensor_2d(narrow, PB_DTYPE_F32, n, 1);
    status         = losses != NULL ? pb_copy(be, losses, &from) : PB_OK;
done:
    pb_backend_free(be, memory);
    free(narrow);
    free(host);
    return status;
}

static pb_status cross_entropy(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    return losses_of(c, be, &in[0], &out[0], NULL);
}

static pb_status cross_entropy_backward(const op_case *c, pb_backend *be, pb_tensor *in,
                                        pb_tensor *out, pb_tensor *dout, pb_tensor *din)
{
    static const float scale = (float)OP_SAME_DOUT;
    (void)out;
    (void)dout;
    PB_TRY(pb_copy(be, &din[0], &in[0]));
    return losses_of(c, be, &din[0], NULL, &scale);
}

static void add_cross_entropy(int64_t rows, int64_t width, double range)
{
    op_case *c       = ops_add("cross_entropy", "[%d, %d] +-%g", (int)rows, (int)width, range);
    int32_t *targets = ops_keep((size_t)rows * sizeof *targets);
    for (int64_t i = 0; i < rows; i++) {
        targets[i] = i % 3 == 2 ? -1 : (int32_t)(i * 31 % width);
    }
    c->in[0]           = ops_matrix("logits", rows, width, OP_GRAD_SET);
    c->out[0]          = ops_matrix("losses", rows, 1, OP_GRAD_NONE);
    c->ins             = 1;
    c->outs            = 1;
    c->range           = range;
    c->same_dout       = true;
    c->naive           = naive_cross_entropy;
    c->forward         = cross_entropy;
    c->backward        = cross_entropy_backward;
    c->bytes           = 4.0 * (double)(rows * width);
    c->backward_factor = 6.0;
    c->slow            = rows * width > 100000;
    c->with.indices    = targets;
}

void ops_add_rows(void)
{
    static const int64_t shapes[][2] = {{1, 1}, {3, 7},    {5, 64},    {33, 100},
                                        {0, 8}, {70, 288}, {130, 257}, {2048, 2048}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int64_t rows  = shapes[i][0];
        int64_t width = shapes[i][1];
        add_take(true, 40, rows, width, 1.0f);
        add_take(false, 9, rows, width, 1.0f);
        add_put(rows + 3, rows, width);
        add_rmsnorm(rows, width, true, 0.0f);
    }
    add_take(true, 40, 33, 100, 8.25f);
    add_rmsnorm(6, 48, false, 0.0f);
    add_rmsnorm(33, 100, true, 1.0f);
    add_rmsnorm(6, 48, false, 1.0f);
    add_rope(1, 1, 2);
    add_rope(17, 3, 8);
    add_rope(40, 4, 64);
    add_rope(2048, 32, 64);
    add_cross_entropy(1, 1, 1.0);
    add_cross_entropy(5, 10, 1.0);
    add_cross_entropy(7, 512, 8.0);
    add_cross_entropy(40, 1001, 30.0);
    add_cross_entropy(0, 10, 1.0);
    add_cross_entropy(64, 128256, 10.0);
}
