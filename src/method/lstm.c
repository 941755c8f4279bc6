// SPDX-License-Identifier: Apache-2.0
/* A layer of a bidirectional LSTM (Hochreiter & Schmidhuber 1997; the gates as in torch), forward
 * and backward by hand. Each direction walks over the tokens from its own end, and s is the token
 * before t on its way:
 *
 *     z = x_t W_ihᵀ + b_ih + h_s W_hhᵀ + b_hh,   i, f, g, o the quarters of z
 *     c_t = σ(f) ⊙ c_s + σ(i) ⊙ tanh(g),   h_t = σ(o) ⊙ tanh(c_t)
 *
 * A gated product σ(a) ⊙ b is one operation of the backend, with its backward. */
#include "encoder.h"

#include <inttypes.h>
#include <math.h>

enum { WEIGHT_IH, WEIGHT_HH, BIAS_IH, BIAS_HH, TENSORS };
enum { INPUT, FORGET, CELL, OUTPUT, GATES };

static pb_trainable *parameter(const method_lstm *l, const pb_method *m, int direction, int which)
{
    return &m->trainables[l->first + direction * TENSORS + which];
}

static pb_status declare(method_lstm *l, pb_method *m, int64_t index, int direction, int which)
{
    static const char *const names[TENSORS] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    pb_trainable t                          = {.init = PB_INIT_UNIFORM};
    t.scale                                 = 1.0 / sqrt((double)l->hidden);
    t.ndim                                  = which < BIAS_IH ? 2 : 1;
    t.shape[0]                              = GATES * l->hidden;
    t.shape[1]                              = which == WEIGHT_IH ? l->in : l->hidden;
    PB_TRY(trainable_name(&t, "prompt_encoder.lstm_head.%s_l%" PRId64 "%s", names[which], index,
                          direction == 0 ? "" : "_reverse"));
    return pb_method_declare(m, &t, direction == 0 && which == 0 ? &l->first : NULL);
}

static pb_tensor take(float **next, int64_t rows, int64_t columns)
{
    pb_tensor t = pb_tensor_2d(*next, PB_DTYPE_F32, rows, columns);
    *next += rows * columns;
    return t;
}

static pb_status allocate(method_lstm *l, pb_method *m)
{
    int64_t n          = l->rows;
    int64_t hidden     = l->hidden;
    int64_t one_way    = n * (GATES + 2) * hidden + (n + 2) * hidden;
    int64_t both_ways  = (n + 2) * 2 * hidden + n * (2 + GATES) * hidden + n * l->in + 2 * hidden;
    size_t block_bytes = (size_t)(2 * one_way + both_ways) * sizeof(float);
    PB_TRY(pb_backend_alloc(m->backend, block_bytes, &l->block));

    float *next = l->block;
    for (int way = 0; way < 2; way++) {
        lstm_direction *d = &l->direction[way];
        d->z              = take(&next, n, GATES * hidden);
        d->g              = take(&next, n, hidden);
        d->c              = take(&next, n + 2, hidden);
        d->squashed       = take(&next, n, hidden);
    }
    l->h    = take(&next, n + 2, 2 * hidden);
    l->dx   = take(&next, n, l->in);
    l->dz   = take(&next, n, GATES * hidden);
    l->dh   = take(&next, n, 2 * hidden);
    l->dc   = take(&next, 1, hidden);
    l->part = take(&next, 1, hidden);
    return PB_OK;
}

pb_status lstm_plan(method_lstm *l, pb_method *m, int64_t index)
{
    for (int way = 0; way < 2; way++) {
        for (int which = 0; which < TENSORS; which++) {
            PB_TRY(declare(l, m, index, way, which));
        }
    }
    return m->backend != NULL ? allocate(l, m) : PB_OK;
}

pb_tensor lstm_output(const method_lstm *l)
{
    return pb_tensor_rows(&l->h, 1, l->rows);
}

/* Row t, columns of a direction or a gate. */
static pb_tensor part_of(const pb_tensor *t, int64_t row, int64_t which, int64_t width)
{
    pb_tensor one = pb_tensor_rows(t, row, 1);
    return pb_tensor_columns(&one, which * width, width);
}

/* What one step of a direction reads and writes: rows of its tensors at token t, and of the state
 * before it. */
typedef struct lstm_step {
    pb_tensor z, gates[GATES], g, squashed;
    pb_tensor c, c_before, h, h_before;
} lstm_step;

static lstm_step step_at(const method_lstm *l, int way, int64_t t)
{
    const lstm_direction *d = &l->direction[way];
    int64_t before          = way == 0 ? t : t + 2; /* with the zero row in front */
    lstm_step s             = {
                    .z        = pb_tensor_rows(&d->z, t, 1),
                    .g        = pb_tensor_rows(&d->g, t, 1),
                    .squashed = pb_tensor_rows(&d->squashed, t, 1),
                    .c        = pb_tensor_rows(&d->c, t + 1, 1),
                    .c_before = pb_tensor_rows(&d->c, before, 1),
                    .h        = part_of(&l->h, t + 1, way, l->hidden),
                    .h_before = part_of(&l->h, before, way, l->hidden),
    };
    for (int gate = 0; gate < GATES; gate++) {
        s.gates[gate] = part_of(&d->z, t, gate, l->hidden);
    }
    return s;
}

static pb_status step_forward(const method_lstm *l, pb_method *m, int way, int64_t t)
{
    pb_backend *be = m->backend;
    lstm_step s    = step_at(l, way, t);
    PB_TRY(pb_matmul(be, &s.z, &s.h_before, &parameter(l, m, way, WEIGHT_HH)->value,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f, .beta = 1.0f}));
    PB_TRY(pb_activation_forward(be, &s.g, &s.gates[CELL], PB_ACTIVATION_TANH));
    PB_TRY(pb_gated_forward(be, &s.squashed, &s.gates[INPUT], &s.g, PB_ACTIVATION_SIGMOID));
    PB_TRY(pb_gated_forward(be, &s.c, &s.gates[FORGET], &s.c_before, PB_ACTIVATION_SIGMOID));
    PB_TRY(pb_axpy(be, &s.c, 1.0f, &s.squashed));
    PB_TRY(pb_activation_forward(be, &s.squashed, &s.c, PB_ACTIVATION_TANH));
    return pb_gated_forward(be, &s.h, &s.gates[OUTPUT], &s.squashed, PB_ACTIVATION_SIGMOID);
}

/* The token that a direction reads at step i of n. */
static int64_t token_at(const method_lstm *l, int way, int64_t i)
{
    return way == 0 ? i : l->rows - 1 - i;
}

pb_status lstm_forward(method_lstm *l, pb_method *m, const pb_tensor *x)
{
    for (int way = 0; way < 2; way++) {
        pb_tensor *z = &l->direction[way].z;
        PB_TRY(pb_matmul(m->backend, z, x, &parameter(l, m, way, WEIGHT_IH)->value,
                         &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
        PB_TRY(pb_bias_forward(m->backend, z, &parameter(l, m, way, BIAS_IH)->value));
        PB_TRY(pb_bias_forward(m->backend, z, &parameter(l, m, way, BIAS_HH)->value));
        for (int64_t i = 0; i < l->rows; i++) {
            PB_TRY(step_forward(l, m, way, token_at(l, way, i)));
        }
    }
    return PB_OK;
}

/* On entry dh at t and dc hold the whole gradient of h_t, and of c_t through c of the next step; on
 * return dz at t is set and dc is the gradient of c_s. */
static pb_status step_backward(method_lstm *l, pb_method *m, int way, int64_t t)
{
    pb_backend *be = m->backend;
    lstm_step s    = step_at(l, way, t);
    pb_tensor dh   = part_of(&l->dh, t, way, l->hidden);
    pb_tensor dgates[GATES];
    for (int gate = 0; gate < GATES; gate++) {
        dgates[gate] = part_of(&l->dz, t, gate, l->hidden);
    }
    PB_TRY(pb_gated_backward(be, &dgates[OUTPUT], &l->part, &dh, &s.gates[OUTPUT], &s.squashed,
                             PB_ACTIVATION_SIGMOID));
    PB_TRY(pb_activation_backward(be, &l->part, &l->part, &s.c, PB_ACTIVATION_TANH));
    PB_TRY(pb_axpy(be, &l->dc, 1.0f, &l->part));
    PB_TRY(pb_gated_backward(be, &dgates[INPUT], &dgates[CELL], &l->dc, &s.gates[INPUT], &s.g,
                             PB_ACTIVATION_SIGMOID));
    PB_TRY(pb_activation_backward(be, &dgates[CELL], &dgates[CELL], &s.gates[CELL],
                                  PB_ACTIVATION_TANH));
    return pb_gated_backward(be, &dgates[FORGET], &l->dc, &l->dc, &s.gates[FORGET], &s.c_before,
                             PB_ACTIVATION_SIGMOID);
}

/* From the last step of a direction to its first: sets dz and completes dh of every token. */
static pb_status walk_back(method_lstm *l, pb_method *m, int way)
{
    PB_TRY(pb_zero(m->backend, &l->dc));
    for (int64_t i = l->rows - 1; i >= 0; i--) {
        PB_TRY(step_backward(l, m, way, token_at(l, way, i)));
        if (i > 0) {
            pb_tensor dz        = pb_tensor_rows(&l->dz, token_at(l, way, i), 1);
            pb_tensor dh_before = part_of(&l->dh, token_at(l, way, i - 1), way, l->hidden);
            PB_TRY(pb_matmul(m->backend, &dh_before, &dz, &parameter(l, m, way, WEIGHT_HH)->value,
                             &(pb_matmul_args){.alpha = 1.0f, .beta = 1.0f}));
        }
    }
    return PB_OK;
}

/* dW_ih += dzᵀ x, dW_hh += dzᵀ h_s, db += Σ dz for both biases; dx = or += dz W_ih. */
static pb_status parameters_backward(method_lstm *l, pb_method *m, int way, const pb_tensor *x)
{
    static const pb_matmul_args add = {.transpose_a = true, .alpha = 1.0f, .beta = 1.0f};
    pb_backend *be                  = m->backend;
    pb_tensor h_before              = pb_tensor_rows(&l->h, way == 0 ? 0 : 2, l->rows);
    h_before                        = pb_tensor_columns(&h_before, way * l->hidden, l->hidden);
    PB_TRY(pb_matmul(be, &parameter(l, m, way, WEIGHT_IH)->grad, &l->dz, x, &add));
    PB_TRY(pb_matmul(be, &parameter(l, m, way, WEIGHT_HH)->grad, &l->dz, &h_before, &add));
    PB_TRY(pb_bias_backward(be, &parameter(l, m, way, BIAS_IH)->grad, &l->dz));
    PB_TRY(pb_bias_backward(be, &parameter(l, m, way, BIAS_HH)->grad, &l->dz));
    return pb_matmul(be, &l->dx, &l->dz, &parameter(l, m, way, WEIGHT_IH)->value,
                     &(pb_matmul_args){.alpha = 1.0f, .beta = way == 0 ? 0.0f : 1.0f});
}

pb_status lstm_backward(method_lstm *l, pb_method *m, const pb_tensor *x, const pb_tensor *dy)
{
    PB_TRY(pb_copy(m->backend, &l->dh, dy));
    for (int way = 0; way < 2; way++) {
        PB_TRY(walk_back(l, m, way));
        PB_TRY(parameters_backward(l, m, way, x));
    }
    return PB_OK;
}
