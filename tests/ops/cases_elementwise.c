// SPDX-License-Identifier: Apache-2.0
/* Cases of operations on elements and columns: activations, scale, bias, dropout, axpy, with their
 * naive forward in double. */
#include "ops.h"

#include <math.h>

/* ---- activations ---- */

static double activate(double x, pb_activation act)
{
    switch (act) {
    case PB_ACTIVATION_SILU:
        return x / (1.0 + exp(-x));
    case PB_ACTIVATION_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case PB_ACTIVATION_RELU:
        return x > 0.0 ? x : 0.0;
    case PB_ACTIVATION_TANH:
        return tanh(x);
    case PB_ACTIVATION_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    }
    return NAN;
}

static void naive_activation(const op_case *c, double *const *in, double *const *out)
{
    bool gated = c->ins == 2;
    for (int64_t i = 0; i < c->in[0].rows * c->in[0].columns; i++) {
        out[0][i] = activate(in[0][i], c->with.activation) * (gated ? in[1][i] : 1.0);
    }
}

static pb_status activation(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    return pb_activation_forward(be, &out[0], &in[0], c->with.activation);
}

static pb_status activation_backward(const op_case *c, pb_backend *be, pb_tensor *in,
                                     pb_tensor *out, pb_tensor *dout, pb_tensor *din)
{
    (void)out;
    return pb_activation_backward(be, &din[0], &dout[0], &in[0], c->with.activation);
}

/* The gradient replaces the incoming one. */
static pb_status activation_backward_alias(const op_case *c, pb_backend *be, pb_tensor *in,
                                           pb_tensor *out, pb_tensor *dout, pb_tensor *din)
{
    (void)out;
    PB_TRY(pb_copy(be, &din[0], &dout[0]));
    return pb_activation_backward(be, &din[0], &din[0], &in[0], c->with.activation);
}

static pb_status gated(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    return pb_gated_forward(be, &out[0], &in[0], &in[1], c->with.activation);
}

static pb_status gated_backward(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                                pb_tensor *dout, pb_tensor *din)
{
    (void)out;
    return pb_gated_backward(be, &din[0], &din[1], &dout[0], &in[0], &in[1], c->with.activation);
}

static pb_status gated_backward_alias(const op_case *c, pb_backend *be, pb_tensor *in,
                                      pb_tensor *out, pb_tensor *dout, pb_tensor *din)
{
    (void)out;
    PB_TRY(pb_copy(be, &din[1], &dout[0]));
    return pb_gated_backward(be, &din[0], &din[1], &din[1], &in[0], &in[1], c->with.activation);
}

static void add_activation(bool is_gated, bool alias, int64_t rows, int64_t width,
                           pb_activation act)
{
    static const char *const names[] = {"silu", "gelu_tanh", "relu", "tanh", "sigmoid"};
    op_case *c  = ops_add(is_gated ? "gated" : "activation", "%s [%d, %d]%s", names[act], (int)rows,
                         (int)width, alias ? " alias" : "");
    c->in[0]    = ops_matrix(is_gated ? "gate" : "x", rows, width, OP_GRAD_SET);
    c->in[1]    = ops_matrix("up", rows, width, OP_GRAD_SET);
    c->out[0]   = ops_matrix("y", rows, width, OP_GRAD_NONE);
    c->ins      = is_gated ? 2 : 1;
    c->outs     = 1;
    c->range    = 6.0;
    c->apart    = act == PB_ACTIVATION_RELU ? 0.01 : 0.0;
    c->naive    = naive_activation;
    c->forward  = is_gated ? gated : activation;
    c->bytes    = (is_gated ? 12.0 : 8.0) * (double)(rows * width);
    c->slow     = rows > 1000;
    c->backward = is_gated ? (alias ? gated_backward_alias : gated_backward)
                           : (alias ? activation_backward_alias : activation_backward);
    c->backward_factor = is_gated ? 5.0 / 3.0 : 1.5;
    c->with.activation = act;
}

/* ---- columns: scale and bias ---- */

static void naive_scale(const op_case *c, double *const *in, double *const *out)
{
    int64_t n = c->in[0].columns;
    for (int64_t i = 0; i < c->in[0].rows * n; i++) {
        out[0][i] = in[0][i] * in[1][i % n];
    }
}

static pb_status column_scale(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    (void)c;
    return pb_column_scale_forward(be, &out[0], &in[0], &in[1]);
}

static pb_status column_scale_backward(const op_case *c, pb_backend *be, pb_tensor *in,
                                       pb_tensor *out, pb_tensor *dout, pb_tensor *din)
{
    (void)c;
    (void)out;
    PB_TRY(pb_copy(be, &din[0], &dout[0])); /* dx may alias dy */
    return pb_column_scale_backward(be, &din[0], &din[1], &din[0], &in[0], &in[1]);
}

static void naive_bias(const op_case *c, double *const *in, double *const *out)
{
    int64_t n = c->in[0].columns;
    for (int64_t i = 0; i < c->in[0].rows * n; i++) {
        out[0][i] = in[0][i] + in[1][i % n];
    }
}

static pb_status bias(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    (void)c;
    return pb_bias_forward(be, &out[0], &in[1]);
}

static pb_status bias_backward(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                               pb_tensor *dout, pb_tensor *din)
{
    (void)c;
    (void)in;
    (void)out;
    return pb_bias_backward(be, &din[1], &dout[0]);
}

static void add_columns(bool is_bias, int64_t rows, int64_t width)
{
    op_case *c  = ops_add(is_bias ? "bias" : "column_scale", "[%d, %d]", (int)rows, (int)width);
    c->in[0]    = ops_matrix("x", rows, width, is_bias ? OP_GRAD_NONE : OP_GRAD_SET);
    c->in[1]    = ops_vector(is_bias ? "bias" : "scale", width, OP_GRAD_ADD);
    c->out[0]   = ops_matrix("y", rows, width, OP_GRAD_NONE);
    c->ins      = 2;
    c->outs     = 1;
    c->in_place = is_bias;
    c->naive    = is_bias ? naive_bias : naive_scale;
    c->forward  = is_bias ? bias : column_scale;
    c->backward = is_bias ? bias_backward : column_scale_backward;
    c->bytes    = 8.0 * (double)(rows * width);
    c->slow     = rows > 1000;
}

/* ---- dropout ---- */

enum { DROPOUT_PASS = 6 };

static void naive_dropout(const op_case *c, double *const *in, double *const *out)
{
    const pb_mask *mask = &c->with.mask;
    pb_random stream =
        pb_random_stream(mask->seed, PB_RANDOM_DROPOUT, DROPOUT_PASS * mask->stride + mask->salt);
    for (int64_t i = 0; i < c->in[0].rows * c->in[0].columns; i++) {
        bool kept = pb_random_uniform(stream, (uint64_t)i) >= c->with.p;
        out[0][i] = kept ? in[0][i] / (1.0 - c->with.p) : 0.0;
    }
}

static pb_status dropout(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    PB_TRY(pb_page_begin(be, DROPOUT_PASS));
    PB_TRY(pb_page_end(be));
    return pb_dropout(be, &out[0], &in[0], c->with.p, &c->with.mask);
}

static pb_status dropout_backward(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                                  pb_tensor *dout, pb_tensor *din)
{
    (void)in;
    (void)out;
    PB_TRY(pb_copy(be, &din[0], &dout[0])); /* y may alias x */
    return pb_dropout(be, &din[0], &din[0], c->with.p, &c->with.mask);
}

static void add_dropout(int64_t rows, int64_t width, double p)
{
    op_case *c   = ops_add("dropout", "[%d, %d] p %g", (int)rows, (int)width, p);
    c->in[0]     = ops_matrix("x", rows, width, OP_GRAD_SET);
    c->out[0]    = ops_matrix("y", rows, width, OP_GRAD_NONE);
    c->ins       = 1;
    c->outs      = 1;
    c->naive     = naive_dropout;
    c->forward   = dropout;
    c->backward  = dropout_backward;
    c->bytes     = 8.0 * (double)(rows * width);
    c->slow      = rows > 1000;
    c->with.p    = p;
    c->with.mask = (pb_mask){.seed = 3, .stride = 50, .salt = (uint64_t)width};
}

/* ---- axpy ---- */

static void naive_axpy(const op_case *c, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < c->in[0].rows * c->in[0].columns; i++) {
        out[0][i] = in[0][i] + (double)c->with.alpha * in[1][i];
    }
}

static pb_status axpy(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    return pb_axpy(be, &out[0], c->with.alpha, &in[1]);
}

static void add_axpy(int64_t rows, int64_t width)
{
    op_case *c    = ops_add("axpy", "[%d, %d]", (int)rows, (int)width);
    c->in[0]      = ops_matrix("y before", rows, width, OP_GRAD_NONE);
    c->in[1]      = ops_matrix("x", rows, width, OP_GRAD_NONE);
    c->out[0]     = ops_matrix("y", rows, width, OP_GRAD_NONE);
    c->ins        = 2;
    c->outs       = 1;
    c->in_place   = true;
    c->naive      = naive_axpy;
    c->forward    = axpy;
    c->bytes      = 12.0 * (double)(rows * width);
    c->slow       = rows > 1000;
    c->with.alpha = -0.75f;
}

void ops_add_elementwise(void)
{
    static const int64_t shapes[][2] = {{1, 1}, {3, 7},    {5, 64},    {33, 100},
                                        {0, 8}, {70, 288}, {130, 257}, {2048, 2048}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int64_t rows  = shapes[i][0];
        int64_t width = shapes[i][1];
        add_columns(true, rows, width);
        add_columns(false, rows, width);
        add_dropout(rows, width, 0.1);
        add_axpy(rows, width);
        for (int act = PB_ACTIVATION_SILU; act <= PB_ACTIVATION_SIGMOID; act++) {
            add_activation(true, false, rows, width, (pb_activation)act);
            add_activation(false, false, rows, width, (pb_activation)act);
        }
    }
    for (int act = PB_ACTIVATION_SILU; act <= PB_ACTIVATION_SIGMOID; act++) {
        add_activation(true, true, 9, 70, (pb_activation)act);
        add_activation(false, true, 9, 70, (pb_activation)act);
    }
    add_dropout(9, 33, 0.0);
    add_dropout(9, 33, 0.9);
}
