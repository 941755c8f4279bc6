// SPDX-License-Identifier: Apache-2.0
/* Activations and the gated product, each by the value and the slope of one element, as in
 * cpu/activation.c. */
#include "map.cuh"

struct point {
    float value, slope;
};

static __device__ __forceinline__ float sigmoid(float x)
{
    return device_reciprocal(1.0f + expf(-x));
}

static __device__ __forceinline__ point logistic(float x)
{
    float s = sigmoid(x);
    return {s, s * (1.0f - s)};
}

static __device__ __forceinline__ point silu(float x)
{
    float s = sigmoid(x);
    float y = x * s;
    return {y, s + y * (1.0f - s)};
}

/* 0.5 x (1 + tanh u) = x · sigmoid(2u), u = sqrt(2/π) (x + 0.044715 x³) */
static __device__ __forceinline__ point gelu_tanh(float x)
{
    const float c = 1.59576912f; /* 2 sqrt(2/π) */
    float s       = sigmoid(c * (x + 0.044715f * x * x * x));
    float y       = x * s;
    return {y, s + y * (1.0f - s) * (c * (1.0f + 0.134145f * x * x))};
}

/* NaN stays. */
static __device__ __forceinline__ point relu(float x)
{
    return {x < 0.0f ? 0.0f : x, x > 0.0f ? 1.0f : (x <= 0.0f ? 0.0f : x)};
}

/* With t = e^-2|x|: tanh |x| = (1 - t) / (1 + t), its slope 4t / (1 + t)². Near zero Lambert's
 * continued fraction, as on the CPU. */
static __device__ __forceinline__ point hyperbolic(float x)
{
    float square = x * x;
    float near   = x * (945.0f + square * (105.0f + square)) *
                 device_reciprocal(945.0f + square * (420.0f + square * 15.0f));
    float t     = expf(x < 0.0f ? 2.0f * x : -2.0f * x);
    float below = device_reciprocal(1.0f + t);
    float far   = (1.0f - t) * below;
    return {square < 0.25f ? near : (x < 0.0f ? -far : far), 4.0f * t * below * below};
}

/* In the order of pb_activation. */
enum { SILU, GELU_TANH, RELU, TANH, SIGMOID };

template <int ACT> static __device__ __forceinline__ point at_point(float x)
{
    return ACT == SILU        ? silu(x)
           : ACT == GELU_TANH ? gelu_tanh(x)
           : ACT == RELU      ? relu(x)
           : ACT == TANH      ? hyperbolic(x)
                              : logistic(x);
}

/* One choice for a piece: step<ACT>(in, out, i) for its elements. */
template <typename F>
static __device__ __forceinline__ void each(const F &f, int act, const piece *in, piece *out)
{
#define EACH(which)                             \
    case which:                                 \
        UNROLL                                  \
        for (int i = 0; i < PIECE; i++) {       \
            f.template step<which>(in, out, i); \
        }                                       \
        break;
    switch (act) {
        EACH(SILU)
        EACH(GELU_TANH)
        EACH(RELU)
        EACH(TANH)
        EACH(SIGMOID)
    }
#undef EACH
}

struct activation_forward {
    int act;
    template <int ACT> __device__ void step(const piece *in, piece *out, int i) const
    {
        out->v[i] = at_point<ACT>(in->v[i]).value;
    }
    __device__ void operator()(const piece *in, piece *out, int64_t, int64_t) const
    {
        each(*this, act, in, out);
    }
};

/* in: dy, x */
struct activation_backward {
    int act;
    template <int ACT> __device__ void step(const piece *in, piece *out, int i) const
    {
        out->v[i] = in[0].v[i] * at_point<ACT>(in[1].v[i]).slope;
    }
    __device__ void operator()(const piece *in, piece *out, int64_t, int64_t) const
    {
        each(*this, act, in, out);
    }
};

/* in: gate, up */
struct gated_forward {
    int act;
    template <int ACT> __device__ void step(const piece *in, piece *out, int i) const
    {
        out->v[i] = at_point<ACT>(in[0].v[i]).value * in[1].v[i];
    }
    __device__ void operator()(const piece *in, piece *out, int64_t, int64_t) const
    {
        each(*this, act, in, out);
    }
};

/* in: dy, gate, up; out: dgate, dup */
struct gated_backward {
    int act;
    template <int ACT> __device__ void step(const piece *in, piece *out, int i) const
    {
        point at    = at_point<ACT>(in[1].v[i]);
        out[0].v[i] = in[0].v[i] * in[2].v[i] * at.slope;
        out[1].v[i] = in[0].v[i] * at.value;
    }
    __device__ void operator()(const piece *in, piece *out, int64_t, int64_t) const
    {
        each(*this, act, in, out);
    }
};

/* Types in use: all F32, all BF16. */
extern "C" cudaError_t launch_activation_forward(view y, view x, int act, extent shape,
                                                 cudaStream_t stream)
{
    return map<4, 0, 3>("activation forward", activation_forward{act}, matrices<1, 1>{{x, y}},
                        shape, stream);
}

extern "C" cudaError_t launch_activation_backward(view dx, view dy, view x, int act, extent shape,
                                                  cudaStream_t stream)
{
    return map<2, 0, 7>("activation backward", activation_backward{act},
                        matrices<2, 1>{{dy, x, dx}}, shape, stream);
}

extern "C" cudaError_t launch_gated_forward(view y, view gate, view up, int act, extent shape,
                                            cudaStream_t stream)
{
    return map<2, 0, 7>("gated forward", gated_forward{act}, matrices<2, 1>{{gate, up, y}}, shape,
                        stream);
}

extern "C" cudaError_t launch_gated_backward(view dgate, view dup, view dy, view gate, view up,
                                             int act, extent shape, cudaStream_t stream)
{
    return map<2, 0, 31>("gated backward", gated_backward{act},
                         matrices<3, 2>{{dy, gate, up, dgate, dup}}, shape, stream);
}
