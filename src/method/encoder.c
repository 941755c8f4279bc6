// SPDX-License-Identifier: Apache-2.0
/* The small network that makes p-tuning's rows and projected prefixes, forward and backward by
 * hand.
 *
 *     z_i = h_{i-1} W_iᵀ + b_i,   h_i = act(z_i),   out = z_last
 *     h_0 the embedding, or what layers of a bidirectional LSTM make of it
 *     dW_i += dz_iᵀ h_{i-1},   db_i += Σ_rows dz_i,   dh_{i-1} = dz_i W_i,   dz = act'(z) ⊙ dh */
#include "encoder.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>

static pb_trainable *weight(const method_encoder *e, const pb_method *m, int64_t layer)
{
    return &m->trainables[e->first + 2 * layer];
}

static pb_trainable *bias(const method_encoder *e, const pb_method *m, int64_t layer)
{
    return &m->trainables[e->first + 1 + 2 * layer];
}

static pb_status declare_layer(method_encoder *e, pb_method *m, const char *path, int64_t i)
{
    double bound   = 1.0 / sqrt((double)e->widths[i]);
    pb_trainable w = {
        .ndim  = 2,
        .shape = {e->widths[i + 1], e->widths[i]},
        .init  = PB_INIT_UNIFORM,
        .scale = bound,
    };
    pb_trainable b = {
        .ndim = 1, .shape = {e->widths[i + 1]}, .init = PB_INIT_UNIFORM, .scale = bound};
    /* torch numbers the activations between the layers too */
    PB_TRY(trainable_name(&w, "prompt_encoder.%s.%" PRId64 ".weight", path, 2 * i));
    PB_TRY(trainable_name(&b, "prompt_encoder.%s.%" PRId64 ".bias", path, 2 * i));
    PB_TRY(pb_method_declare(m, &w, i == 0 ? &e->first : NULL));
    return pb_method_declare(m, &b, NULL);
}

static pb_status plan_lstm(method_encoder *e, pb_method *m)
{
    if (e->lstm_layers > 0) {
        PB_TRY(PB_ALLOC(e->lstm, e->lstm_layers));
    }
    for (int64_t i = 0; i < e->lstm_layers; i++) {
        e->lstm[i] = (method_lstm){
            .rows = e->rows, .in = i == 0 ? e->embedded : e->widths[0], .hidden = e->widths[0] / 2};
        PB_TRY(lstm_plan(&e->lstm[i], m, i));
    }
    return PB_OK;
}

static pb_status allocate(method_encoder *e, pb_method *m)
{
    int64_t width = 0;
    for (int64_t i = 0; i < e->layers; i++) {
        width += 2 * e->widths[i + 1] + e->widths[i];
    }
    PB_TRY(pb_backend_alloc(m->backend, (size_t)(e->rows * width) * sizeof(float), &e->block));
    float *next = e->block;
    for (int64_t i = 0; i < e->layers; i++) {
        e->z[i] = pb_tensor_2d(next, PB_DTYPE_F32, e->rows, e->widths[i + 1]);
        next += e->rows * e->widths[i + 1];
        e->h[i] = pb_tensor_2d(next, PB_DTYPE_F32, e->rows, e->widths[i + 1]);
        next += e->rows * e->widths[i + 1];
        e->d[i] = pb_tensor_2d(next, PB_DTYPE_F32, e->rows, e->widths[i]);
        next += e->rows * e->widths[i];
    }
    return PB_OK;
}

pb_status encoder_rows(pb_method *m, const char *name, int64_t rows, int64_t columns)
{
    pb_trainable t = {.ndim = 2, .shape = {rows, columns}, .init = PB_INIT_NORMAL, .scale = 1.0};
    PB_TRY(trainable_name(&t, "%s", name));
    return pb_method_declare(m, &t, NULL);
}

pb_status encoder_plan(pb_method *m, const method_encoder *encoder, const char *path)
{
    method_encoder *e = NULL;
    PB_TRY(PB_ALLOC(e, 1));
    *e       = *encoder;
    m->state = e;
    PB_TRY(encoder_rows(m, "prompt_encoder.embedding.weight", e->rows, e->embedded));
    PB_TRY(plan_lstm(e, m));
    for (int64_t i = 0; i < e->layers; i++) {
        PB_TRY(declare_layer(e, m, path, i));
    }
    return m->backend != NULL ? allocate(e, m) : PB_OK;
}

void encoder_destroy(pb_method *m)
{
    method_encoder *e = m->state;
    if (e == NULL) {
        return;
    }
    pb_backend_free(m->backend, e->block);
    for (int64_t i = 0; i < e->lstm_layers && e->lstm != NULL; i++) {
        pb_backend_free(m->backend, e->lstm[i].block);
    }
    pb_memory_free(e->lstm);
    pb_memory_free(e);
}

/* What the first `count` layers of the LSTM make of the embedding. */
static pb_tensor recurrent(const method_encoder *e, const pb_method *m, int64_t count)
{
    return count == 0 ? m->trainables[0].value : lstm_output(&e->lstm[count - 1]);
}

/* The input of a linear layer: what the one before made. */
static pb_tensor input(const method_encoder *e, const pb_method *m, int64_t layer)
{
    return layer == 0 ? recurrent(e, m, e->lstm_layers) : e->h[layer - 1];
}

pb_status encoder_forward(pb_method *m, pb_tensor *out)
{
    method_encoder *e = m->state;
    if (e == NULL) {
        return pb_copy(m->backend, out, &m->trainables[0].value);
    }
    for (int64_t i = 0; i < e->lstm_layers; i++) {
        pb_tensor x = recurrent(e, m, i);
        PB_TRY(lstm_forward(&e->lstm[i], m, &x));
    }
    for (int64_t i = 0; i < e->layers; i++) {
        bool last    = i == e->layers - 1;
        pb_tensor *z = last ? out : &e->z[i];
        pb_tensor x  = input(e, m, i);
        PB_TRY(pb_matmul(m->backend, z, &x, &weight(e, m, i)->value,
                         &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
        PB_TRY(pb_bias_forward(m->backend, z, &bias(e, m, i)->value));
        if (!last) {
            PB_TRY(pb_activation_forward(m->backend, &e->h[i], z, e->activation));
        }
    }
    return PB_OK;
}

pb_status encoder_backward(pb_method *m, const pb_tensor *dout)
{
    method_encoder *e   = m->state;
    const pb_tensor *dz = dout;
    if (e == NULL) {
        return pb_axpy(m->backend, &m->trainables[0].grad, 1.0f, dout);
    }
    for (int64_t i = e->layers - 1; i >= 0; i--) {
        pb_tensor x = input(e, m, i);
        PB_TRY(pb_matmul(m->backend, &weight(e, m, i)->grad, dz, &x,
                         &(pb_matmul_args){.transpose_a = true, .alpha = 1.0f, .beta = 1.0f}));
        PB_TRY(pb_bias_backward(m->backend, &bias(e, m, i)->grad, dz));
        pb_tensor *dh = &e->d[i];
        PB_TRY(pb_matmul(m->backend, dh, dz, &weight(e, m, i)->value,
                         &(pb_matmul_args){.alpha = 1.0f}));
        if (i > 0) {
            PB_TRY(pb_activation_backward(m->backend, dh, dh, &e->z[i - 1], e->activation));
        }
        dz = dh;
    }
    for (int64_t i = e->lstm_layers - 1; i >= 0; i--) {
        pb_tensor x = recurrent(e, m, i);
        PB_TRY(lstm_backward(&e->lstm[i], m, &x, dz));
        dz = &e->lstm[i].dx;
    }
    return pb_axpy(m->backend, &m->trainables[0].grad, 1.0f, dz);
}
