// SPDX-License-Identifier: Apache-2.0
/* Activations and the gated product act(gate) · up, forward and backward.
 *
 * Every activation is written as a value and a slope of one element, so that each loop over a piece
 * is one vectorised body per activation. */
#include "cpu.h"
#include "simd.h"

typedef struct point {
    float value, slope;
} point;

static inline float sigmoid(float x)
{
    return 1.0f / (1.0f + simd_exp(-x));
}

static inline point logistic(float x)
{
    float s = sigmoid(x);
    return (point){.value = s, .slope = s * (1.0f - s)};
}

static inline point silu(float x)
{
    float s = sigmoid(x);
    float y = x * s;
    return (point){.value = y, .slope = s + y * (1.0f - s)};
}

/* 0.5 x (1 + tanh u) = x · sigmoid(2u), u = sqrt(2/π) (x + 0.044715 x³): the second form loses no
 * digits where tanh u is near -1. */
static inline point gelu_tanh(float x)
{
    const float c = 1.59576912f; /* 2 sqrt(2/π) */
    float s       = sigmoid(c * (x + 0.044715f * x * x * x));
    float y       = x * s;
    return (point){.value = y, .slope = s + y * (1.0f - s) * (c * (1.0f + 0.134145f * x * x))};
}

static inline point relu(float x)
{
    /* NaN stays: it is neither above nor below zero. */
    return (point){.value = x < 0.0f ? 0.0f : x, .slope = x > 0.0f ? 1.0f : (x <= 0.0f ? 0.0f : x)};
}

/* With t = e^-2|x|: tanh |x| = (1 - t) / (1 + t), its slope 4t / (1 + t)². Near zero, where 1 - t
 * cancels, the continued fraction of Lambert cut after its fifth term: x (945 + 105 x² + x⁴) /
 * (945 + 420 x² + 15 x⁴), exact to 1e-9 for |x| ≤ 0.5. */
static inline point hyperbolic(float x)
{
    float square = x * x;
    float near =
        x * (945.0f + square * (105.0f + square)) / (945.0f + square * (420.0f + square * 15.0f));
    float t     = simd_exp(x < 0.0f ? 2.0f * x : -2.0f * x);
    float far   = (1.0f - t) / (1.0f + t);
    float value = x < 0.0f ? -far : far;
    return (point){.value = square < 0.25f ? near : value,
                   .slope = 4.0f * t / ((1.0f + t) * (1.0f + t))};
}

/* Runs `body` for i = 0 … n-1 with the function that `act` names. An output may be an input, but
 * then element by element, which `omp simd` says to the compiler. */
#define LOOP(function, body)                            \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) \
    {                                                   \
        body(function)                                  \
    }                                                   \
    break;

#define EACH_ACTIVATION(act, body) \
    switch (act) {                 \
    case PB_ACTIVATION_SILU:       \
        LOOP(silu, body)           \
    case PB_ACTIVATION_GELU_TANH:  \
        LOOP(gelu_tanh, body)      \
    case PB_ACTIVATION_RELU:       \
        LOOP(relu, body)           \
    case PB_ACTIVATION_TANH:       \
        LOOP(hyperbolic, body)     \
    case PB_ACTIVATION_SIGMOID:    \
        LOOP(logistic, body)       \
    }

static void gated_piece(float *y, const float *gate, const float *up, int64_t n, pb_activation act)
{
#define BODY(function) y[i] = function(gate[i]).value * up[i];
    EACH_ACTIVATION(act, BODY)
#undef BODY
}

/* Reads all of an element before writing it: dup or dgate may be dy. */
static void gated_piece_backward(float *dgate, float *dup, const float *dy, const float *gate,
                                 const float *up, int64_t n, pb_activation act)
{
#define BODY(function)                    \
    point at   = function(gate[i]);       \
    float grad = dy[i];                   \
    dgate[i]   = grad * up[i] * at.slope; \
    dup[i]     = grad * at.value;
    EACH_ACTIVATION(act, BODY)
#undef BODY
}

static void activation_piece(float *y, const float *x, int64_t n, pb_activation act)
{
#define BODY(function) y[i] = function(x[i]).value;
    EACH_ACTIVATION(act, BODY)
#undef BODY
}

static void activation_piece_backward(float *dx, const float *dy, const float *x, int64_t n,
                                      pb_activation act)
{
#define BODY(function) dx[i] = dy[i] * function(x[i]).slope;
    EACH_ACTIVATION(act, BODY)
#undef BODY
}

pb_status cpu_gated_forward(pb_backend *be, pb_tensor *y, const pb_tensor *gate,
                            const pb_tensor *up, pb_activation act)
{
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){y, gate, up}, 3);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(y) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        gated_piece(cpu_piece(y, &pieces, i), cpu_piece(gate, &pieces, i),
                    cpu_piece(up, &pieces, i), cpu_piece_width(&pieces, i), act);
    }
    return PB_OK;
}

pb_status cpu_gated_backward(pb_backend *be, pb_tensor *dgate, pb_tensor *dup, const pb_tensor *dy,
                             const pb_tensor *gate, const pb_tensor *up, pb_activation act)
{
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){dgate, dup, dy, gate, up}, 5);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(dy) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        gated_piece_backward(cpu_piece(dgate, &pieces, i), cpu_piece(dup, &pieces, i),
                             cpu_piece(dy, &pieces, i), cpu_piece(gate, &pieces, i),
                             cpu_piece(up, &pieces, i), cpu_piece_width(&pieces, i), act);
    }
    return PB_OK;
}

pb_status cpu_activation_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                 pb_activation act)
{
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){y, x}, 2);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(y) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        activation_piece(cpu_piece(y, &pieces, i), cpu_piece(x, &pieces, i),
                         cpu_piece_width(&pieces, i), act);
    }
    return PB_OK;
}

pb_status cpu_activation_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                  const pb_tensor *x, pb_activation act)
{
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){dx, dy, x}, 3);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        activation_piece_backward(cpu_piece(dx, &pieces, i), cpu_piece(dy, &pieces, i),
                                  cpu_piece(x, &pieces, i), cpu_piece_width(&pieces, i), act);
    }
    return PB_OK;
}
