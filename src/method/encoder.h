// SPDX-License-Identifier: Apache-2.0
/* The small networks that make p-tuning's rows and projected prefixes: an embedding, layers of a
 * bidirectional LSTM where there are any, and linear layers. All of it is computed by operations of
 * the backend, and its tensors live in backend memory. */
#pragma once

#include "internal.h"

enum { ENCODER_LAYERS = 3 };

/* One direction of an LSTM layer, in the forward pass. Row t + 1 of `c` is the state after token t;
 * the rows around them stay zero, the state before either end. */
typedef struct lstm_direction {
    pb_tensor z;        /* [n, 4H] gates before their activation: input, forget, cell, output */
    pb_tensor g;        /* [n, H] tanh of the third gate */
    pb_tensor c;        /* [n + 2, H] */
    pb_tensor squashed; /* [n, H] tanh of c */
} lstm_direction;

/* One bidirectional layer over n tokens, torch's LSTM. Its block is freed by encoder_destroy. */
typedef struct method_lstm {
    int64_t rows, in, hidden; /* n, width of the input, H of each direction */
    int64_t first; /* trainables: weight_ih, weight_hh, bias_ih, bias_hh; then the reverse ones */
    void *block;   /* backend memory of the tensors below */
    lstm_direction direction[2];
    pb_tensor h;          /* [n + 2, 2H] outputs of both directions between rows that stay zero */
    pb_tensor dx, dz, dh; /* [n, in], [n, 4H] of one direction, [n, 2H] */
    pb_tensor dc, part;   /* [1, H] */
} method_lstm;

/* Declares the trainables of layer `index` as U(±1/sqrt(H)) and allocates the tensors where the
 * method has a backend. The caller fills rows, in and hidden. */
pb_status lstm_plan(method_lstm *l, pb_method *m, int64_t index) PB_MUST_USE;
/* The output [n, 2H]. */
pb_tensor lstm_output(const method_lstm *l);
/* x [n, in] */
pb_status lstm_forward(method_lstm *l, pb_method *m, const pb_tensor *x) PB_MUST_USE;
/* After a forward with the same values; l->dx = the gradient of x. dy [n, 2H]. */
pb_status lstm_backward(method_lstm *l, pb_method *m, const pb_tensor *x,
                        const pb_tensor *dy) PB_MUST_USE;

/* Makes n rows: h_0 = what the LSTM makes of the embedding, or the embedding [n, w_0] itself;
 * z_i = h_{i-1} W_iᵀ + b_i, h_i = act(z_i), the last one without activation. */
typedef struct method_encoder {
    int64_t rows, layers;
    int64_t widths[ENCODER_LAYERS + 1];
    pb_activation activation;
    int64_t embedded;    /* width of the embedding */
    int64_t lstm_layers; /* 0: none; otherwise w_0 is twice their hidden width */
    method_lstm *lstm;
    int64_t first;               /* trainables: weight and bias of every layer */
    void *block;                 /* backend memory of the tensors below */
    pb_tensor z[ENCODER_LAYERS]; /* [n, w_i] before the activation, but for the last layer */
    pb_tensor h[ENCODER_LAYERS];
    pb_tensor d[ENCODER_LAYERS]; /* gradient of h, then of z */
} method_encoder;

/* Declares the trainables with torch's defaults (embedding N(0, 1), Linear U(±1/sqrt(fan in))) and
 * allocates the tensors where the method has a backend. `path`: of the linear layers, "mlp_head".
 * `encoder`, which is copied, has rows, layers, widths, activation, embedded and lstm_layers. */
pb_status encoder_plan(pb_method *m, const method_encoder *encoder, const char *path) PB_MUST_USE;

/* Slots of methods whose state is an encoder, or NULL where their one tensor goes before the tokens
 * as it is. */
void encoder_destroy(pb_method *m);
pb_status encoder_forward(pb_method *m, pb_tensor *out) PB_MUST_USE;
/* After a forward with the same values. */
pb_status encoder_backward(pb_method *m, const pb_tensor *dout) PB_MUST_USE;
/* Declares the first tensor, [rows, columns], which starts as N(0, 1). */
pb_status encoder_rows(pb_method *m, const char *name, int64_t rows, int64_t columns) PB_MUST_USE;
