// SPDX-License-Identifier: Apache-2.0
/* Cases of what methods compute from their own values: norms of rows, the distance from the
 * identity, moving averages, means, and what is kept. None has a backward. */
#include "ops.h"

#include <math.h>
#include <stdlib.h>

enum { SQUARES = 2 }; /* of every row, so that no norm is near zero */

/* F64 [n] in backend memory, all of one value. */
static pb_status numbers_of(pb_backend *be, int64_t n, double value, pb_tensor *out)
{
    double *host   = calloc((size_t)n + 1, sizeof *host);
    pb_tensor from = pb_tensor_1d(host, PB_DTYPE_F64, n);
    for (int64_t i = 0; i < n; i++) {
        host[i] = value;
    }
    pb_status status = pb_backend_vector(be, PB_DTYPE_F64, n, out);
    if (status == PB_OK && n > 0) {
        status = pb_copy(be, out, &from);
    }
    free(host);
    return status;
}

static void naive_inverse_norms(const op_case *c, double *const *in, double *const *out)
{
    int64_t n = c->in[1].rows;
    int64_t r = c->in[1].columns;
    for (int64_t i = 0; i < n; i++) {
        double sum = (double)(SQUARES * r);
        for (int64_t k = 0; k < r; k++) {
            sum += in[0][k * n + i] * in[1][i * r + k];
        }
        out[0][i] = 1.0 / sqrt(sum);
    }
}

static pb_status inverse_norms(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    pb_tensor squares = {0};
    pb_status status =
        numbers_of(be, c->in[1].rows, (double)(SQUARES * c->in[1].columns), &squares);
    if (status == PB_OK) {
        status = pb_inverse_norms(be, &out[0], &squares, &in[0], &in[1]);
    }
    pb_backend_free(be, squares.data);
    return status;
}

static void add_inverse_norms(int64_t n, int64_t r)
{
    op_case *c = ops_add("inverse_norms", "[%d] r %d", (int)n, (int)r);
    c->in[0]   = ops_matrix("trained A", r, n, OP_GRAD_NONE);
    c->in[1]   = ops_matrix("trained B", n, r, OP_GRAD_NONE);
    c->out[0]  = ops_vector("y", n, OP_GRAD_NONE);
    c->ins     = 2;
    c->outs    = 1;
    c->naive   = naive_inverse_norms;
    c->forward = inverse_norms;
}

static void naive_distance(const op_case *c, double *const *in, double *const *out)
{
    int64_t r  = c->in[0].rows;
    double sum = 0.0;
    for (int64_t i = 0; i < r * r; i++) {
        double g = in[0][i] - (i % (r + 1) == 0 ? 1.0 : 0.0);
        sum += g * g;
    }
    for (int64_t i = 0; i < r * r; i++) {
        double g  = in[0][i] - (i % (r + 1) == 0 ? 1.0 : 0.0);
        out[0][i] = 2.0 * c->with.p * g / sqrt(sum);
    }
    out[1][0] = sqrt(sum);
}

static pb_status distance(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    pb_tensor norm   = {0};
    double value     = 0.0;
    float narrow     = 0.0f;
    pb_tensor from   = pb_tensor_1d(&narrow, PB_DTYPE_F32, 1);
    pb_status status = numbers_of(be, 1, NAN, &norm);
    (void)in;
    PB_TRY_GOTO(status, pb_identity_distance(be, &norm, &out[0], c->with.p), done);
    PB_TRY_GOTO(status, pb_post(be, 0, &norm), done);
    PB_TRY_GOTO(status, pb_take(be, 0, &value), done);
    narrow = (float)value;
    PB_TRY_GOTO(status, pb_copy(be, &out[1], &from), done);
done:
    pb_backend_free(be, norm.data);
    return status;
}

static void add_distance(int64_t r)
{
    op_case *c  = ops_add("identity_distance", "[%d]", (int)r);
    c->in[0]    = ops_matrix("trained A", r, r, OP_GRAD_NONE);
    c->out[0]   = ops_matrix("trained A", r, r, OP_GRAD_NONE);
    c->out[1]   = ops_vector("norm", 1, OP_GRAD_NONE);
    c->ins      = 1;
    c->outs     = 2;
    c->in_place = true;
    c->naive    = naive_distance;
    c->forward  = distance;
    c->with.p   = 0.25;
}

enum { MEAN, DEVIATION, VALUE, GRAD };

static const double beta1 = 0.75, beta2 = 0.625;

static void naive_sensitivity(const op_case *c, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < c->in[0].columns; i++) {
        double now = fabs(in[VALUE][i] * in[GRAD][i]);
        out[0][i]  = beta1 * in[MEAN][i] + (1.0 - beta1) * now;
        out[1][i]  = beta2 * in[DEVIATION][i] + (1.0 - beta2) * fabs(now - out[0][i]);
    }
}

static pb_status sensitivity(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    (void)c;
    PB_TRY(pb_copy(be, &out[1], &in[DEVIATION]));
    return pb_sensitivity(be, &out[0], &out[1], &in[VALUE], &in[GRAD], beta1, beta2);
}

static void add_sensitivity(int64_t n)
{
    op_case *c       = ops_add("sensitivity", "[%d]", (int)n);
    c->in[MEAN]      = ops_vector("mean before", n, OP_GRAD_NONE);
    c->in[DEVIATION] = ops_vector("deviation before", n, OP_GRAD_NONE);
    c->in[VALUE]     = ops_vector("value", n, OP_GRAD_NONE);
    c->in[GRAD]      = ops_vector("grad", n, OP_GRAD_NONE);
    c->out[0]        = ops_vector("mean", n, OP_GRAD_NONE);
    c->out[1]        = ops_vector("deviation", n, OP_GRAD_NONE);
    c->ins           = 4;
    c->outs          = 2;
    c->in_place      = true;
    c->naive         = naive_sensitivity;
    c->forward       = sensitivity;
}

static void naive_means(const op_case *c, double *const *in, double *const *out)
{
    bool by_columns = c->with.parts == 1;
    int64_t rows    = c->in[1].rows;
    int64_t columns = c->in[1].columns;
    int64_t terms   = by_columns ? rows : columns;
    for (int64_t i = 0; i < c->in[0].columns; i++) {
        double sum = 0.0;
        for (int64_t k = 0; k < terms; k++) {
            int64_t at = by_columns ? k * columns + i : i * columns + k;
            sum += in[1][at] * in[2][at];
        }
        out[0][i] = in[0][i] + sum / (double)terms;
    }
}

static pb_status means(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    return pb_product_means(be, &out[0], &in[1], &in[2], c->with.parts == 1);
}

static void add_means(int64_t rows, int64_t columns, bool by_columns)
{
    int64_t n     = by_columns ? columns : rows;
    op_case *c    = ops_add("product_means", "[%d, %d]%s", (int)rows, (int)columns,
                         by_columns ? " by columns" : "");
    c->in[0]      = ops_vector("y before", n, OP_GRAD_NONE);
    c->in[1]      = ops_matrix("trained A", rows, columns, OP_GRAD_NONE);
    c->in[2]      = ops_matrix("trained B", rows, columns, OP_GRAD_NONE);
    c->out[0]     = ops_vector("y", n, OP_GRAD_NONE);
    c->ins        = 3;
    c->outs       = 1;
    c->in_place   = true;
    c->naive      = naive_means;
    c->forward    = means;
    c->with.parts = by_columns ? 1 : 0;
}

static void naive_drop(const op_case *c, double *const *in, double *const *out)
{
    int64_t n = c->in[0].columns;
    for (int64_t i = 0; i < n; i++) {
        int64_t smaller = 0;
        for (int64_t k = 0; k < n; k++) {
            smaller += in[0][k] < in[0][i];
        }
        out[0][i] = smaller < c->with.heads ? 0.0 : 1.0;
        out[1][i] = out[0][i] * in[1][i];
    }
}

static pb_status drop(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    PB_TRY(pb_drop_smallest(be, &out[0], &in[0], c->with.heads));
    PB_TRY(pb_copy(be, &out[1], &in[1]));
    return pb_keep(be, &out[1], &out[0]);
}

static void add_drop(int64_t n, int64_t count)
{
    op_case *c    = ops_add("drop_smallest", "%d of [%d], keep", (int)count, (int)n);
    c->in[0]      = ops_vector("scores", n, OP_GRAD_NONE);
    c->in[1]      = ops_vector("x", n, OP_GRAD_NONE);
    c->out[0]     = ops_vector("kept", n, OP_GRAD_NONE);
    c->out[1]     = ops_vector("x kept", n, OP_GRAD_NONE);
    c->ins        = 2;
    c->outs       = 2;
    c->naive      = naive_drop;
    c->forward    = drop;
    c->with.heads = count;
}

void ops_add_parameters(void)
{
    static const int64_t sizes[] = {1, 7, 33, 300, 2049};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int64_t n = sizes[i];
        add_inverse_norms(n, 1);
        add_inverse_norms(n, 12);
        add_sensitivity(n);
        add_means(n, 12, true);
        add_means(12, n, false);
        add_drop(n, (n + 1) / 3 + 1);
        add_drop(n, n);
    }
    add_sensitivity(0);
    add_means(3, 1, false);
    add_distance(1);
    add_distance(3);
    add_distance(40);
}
