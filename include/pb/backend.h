// SPDX-License-Identifier: Apache-2.0
/* A backend: memory and about 25 coarse operations on packed rows, forward and backward side by
 * side.
 *
 * `cpu` is the reference: plain loops, OpenMP and a CBLAS. Tensors live in the backend's memory and
 * are F32 unless said otherwise. Reductions have a fixed order: results do not depend on the number
 * of threads. The front (pb_<operation>) checks shapes. "+=" marks an output that is added to. */
#pragma once

#include "pb/forest.h"
#include "pb/random.h"
#include "pb/tensor.h"

typedef struct pb_backend pb_backend;

typedef enum pb_activation {
    PB_ACTIVATION_SILU,
    PB_ACTIVATION_GELU_TANH,
    PB_ACTIVATION_RELU,
    PB_ACTIVATION_TANH,
    PB_ACTIVATION_SIGMOID
} pb_activation;

typedef struct pb_matmul_args {
    bool transpose_a, transpose_b; /* op(A) [M, N'], op(B) [N', N] */
    float alpha, beta;             /* C = alpha op(A) op(B) + beta C; beta = 0 never reads C */
} pb_matmul_args;

/* Attention over a forest: query head h reads key head h / (heads / kv_heads). A query at position
 * p sees keys at positions p - window + 1 … p of its own chain (window 0: all). */
typedef struct pb_attention_args {
    const pb_forest *forest;
    int64_t heads, kv_heads, head_dim; /* H, K, E */
    float scale;                       /* on q·k, usually 1/sqrt(E) */
    int64_t window;
    /* Host: packed rows whose output is wanted, ascending, or NULL for all. q, out, lse then hold
     * just these, in order. */
    const int32_t *only_rows;
    int64_t only_count;
} pb_attention_args;

typedef struct pb_reserve_args {
    const pb_attention_args *attention;
    bool backward;
    int64_t norm_rows; /* most rows of a norm */
    int64_t factor;    /* most elements of a product's A */
    int64_t inner;     /* longest sum of a product */
    bool narrow_types; /* some weights are BF16 or F16 */
} pb_reserve_args;

typedef struct pb_rmsnorm_args {
    float eps;
    float offset; /* added to the weight: 1 where a checkpoint stores w of (1 + w), as gemma does */
} pb_rmsnorm_args;

typedef struct pb_adamw_args {
    double lr, beta1, beta2, eps, weight_decay;
    double grad_scale; /* clipping and averaging: g is multiplied by it first */
    int64_t step;      /* from 1 */
} pb_adamw_args;

typedef struct pb_backend_ops {
    const char *name;
    bool is_host; /* its memory is the host's: what lies there is used in place */
    /* required */
    pb_status (*open)(int device, int threads, pb_backend **out);
    void (*close)(pb_backend *be);
    pb_status (*alloc)(pb_backend *be, size_t bytes, void **data); /* zeroed, 64-byte aligned */
    void (*free)(pb_backend *be, void *data);
    pb_status (*reserve)(pb_backend *be, const pb_reserve_args *args);
    void (*trim)(pb_backend *be); /* frees what is kept between calls */
    pb_status (*copy)(pb_backend *be, pb_tensor *dst, const pb_tensor *src);
    pb_status (*zero)(pb_backend *be, pb_tensor *x);
    pb_status (*sync)(pb_backend *be);
    pb_status (*matmul)(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                        const pb_matmul_args *args);
    pb_status (*axpy)(pb_backend *be, pb_tensor *y, float alpha, const pb_tensor *x);
    pb_status (*embedding_forward)(pb_backend *be, pb_tensor *y, const pb_tensor *table,
                                   const int32_t *ids, float scale);
    pb_status (*embedding_backward)(pb_backend *be, pb_tensor *dtable, const pb_tensor *dy,
                                    const int32_t *ids, float scale);
    pb_status (*gather)(pb_backend *be, pb_tensor *y, const pb_tensor *x, const int32_t *rows);
    pb_status (*scatter_add)(pb_backend *be, pb_tensor *y, const pb_tensor *x, const int32_t *rows);
    pb_status (*rmsnorm_forward)(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                 const pb_tensor *weight, const pb_rmsnorm_args *args);
    pb_status (*rmsnorm_backward)(pb_backend *be, pb_tensor *dx, pb_tensor *dweight,
                                  const pb_tensor *dy, const pb_tensor *x, const pb_tensor *weight,
                                  const pb_rmsnorm_args *args);
    pb_status (*rope)(pb_backend *be, pb_tensor *x, const pb_tensor *table,
                      const int32_t *positions, int64_t heads, bool inverse);
    pb_status (*attention_forward)(pb_backend *be, pb_tensor *out, pb_tensor *lse,
                                   const pb_tensor *q, const pb_tensor *keys,
                                   const pb_tensor *values, const pb_attention_args *args);
    pb_status (*attention_backward)(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys,
                                    pb_tensor *dvalues, const pb_tensor *dout, const pb_tensor *out,
                                    const pb_tensor *lse, const pb_tensor *q, const pb_tensor *keys,
                                    const pb_tensor *values, const pb_attention_args *args);
    pb_status (*gated_forward)(pb_backend *be, pb_tensor *y, const pb_tensor *gate,
                               const pb_tensor *up, pb_activation act);
    pb_status (*gated_backward)(pb_backend *be, pb_tensor *dgate, pb_tensor *dup,
                                const pb_tensor *dy, const pb_tensor *gate, const pb_tensor *up,
                                pb_activation act);
    pb_status (*activation_forward)(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                    pb_activation act);
    pb_status (*activation_backward)(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                     const pb_tensor *x, pb_activation act);
    pb_status (*column_scale_forward)(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                      const pb_tensor *scale);
    pb_status (*column_scale_backward)(pb_backend *be, pb_tensor *dx, pb_tensor *dscale,
                                       const pb_tensor *dy, const pb_tensor *x,
                                       const pb_tensor *scale);
    pb_status (*bias_forward)(pb_backend *be, pb_tensor *y, const pb_tensor *bias);
    pb_status (*bias_backward)(pb_backend *be, pb_tensor *dbias, const pb_tensor *dy);
    pb_status (*dropout)(pb_backend *be, pb_tensor *y, const pb_tensor *x, double p,
                         pb_random stream);
    pb_status (*cross_entropy)(pb_backend *be, double *losses, pb_tensor *logits,
                               const int32_t *targets, float grad_scale);
    pb_status (*argmax)(pb_backend *be, int32_t *indices, float *largest, const pb_tensor *logits);
    pb_status (*sum_squares)(pb_backend *be, const pb_tensor *x, double *out);
    pb_status (*adamw)(pb_backend *be, pb_tensor *p, pb_tensor *m, pb_tensor *v, const pb_tensor *g,
                       const pb_adamw_args *args);
} pb_backend_ops;

/* "cpu", or "auto": the best there is. threads ≤ 0: all the process may use. */
pb_status pb_backend_open(const char *name, int device, int threads, pb_backend **out) PB_MUST_USE;
void pb_backend_close(pb_backend *be); /* accepts NULL */
/* BF16: both factors of every pb_matmul are rounded to it, sums are F32, attention and all else
 * stay F32; F32, as opened: nothing is rounded. Products are tried at once: PB_ERR_NUMERIC when
 * they are wrong, and nothing is rounded. Counted work starts at 0. */
pb_status pb_backend_use_dtype(pb_backend *be, pb_dtype dtype) PB_MUST_USE;
const char *pb_backend_name(const pb_backend *be);
bool pb_backend_is_host(const pb_backend *be); /* operations take any host memory */
int pb_backend_threads(const pb_backend *be);
/* One line: product library, its kernels, instruction sets, threads. */
const char *pb_backend_describe(const pb_backend *be);
void pb_backend_warn(const pb_backend *be); /* logs what makes it slow; for once in a run */

pb_status pb_backend_alloc(pb_backend *be, size_t bytes, void **data) PB_MUST_USE;
void pb_backend_free(pb_backend *be, void *data);
/* Takes the memory that operations need for themselves. */
pb_status pb_backend_reserve(pb_backend *be, const pb_reserve_args *args) PB_MUST_USE;

/* Same shape, any strides; between equal types, from a 16-bit float to F32, from F32 to BF16. */
pb_status pb_copy(pb_backend *be, pb_tensor *dst, const pb_tensor *src) PB_MUST_USE;
pb_status pb_zero(pb_backend *be, pb_tensor *x) PB_MUST_USE;
pb_status pb_sync(pb_backend *be) PB_MUST_USE; /* before reading a clock */

/* C [M, N] = alpha op(A) op(B) + beta C; C lies apart from A and B, which may be BF16 or F16 (a
 * frozen weight). cpu: with B transposed and M ≤ 4 a row's bits do not depend on the other rows;
 * beyond, they may depend on M. */
pb_status pb_matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                    const pb_matmul_args *args) PB_MUST_USE;
/* y += alpha x, same shape. */
pb_status pb_axpy(pb_backend *be, pb_tensor *y, float alpha, const pb_tensor *x) PB_MUST_USE;

/* y [T, D] = scale · table [V, D] at ids [T]; rows with id -1 (virtual rows) are left alone. The
 * table may be BF16 or F16. */
pb_status pb_embedding_forward(pb_backend *be, pb_tensor *y, const pb_tensor *table,
                               const int32_t *ids, float scale) PB_MUST_USE;
/* dtable += scale · dy */
pb_status pb_embedding_backward(pb_backend *be, pb_tensor *dtable, const pb_tensor *dy,
                                const int32_t *ids, float scale) PB_MUST_USE;

/* y [N, D] = x [T, D] at rows [N] (repeats allowed). */
pb_status pb_gather(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                    const int32_t *rows) PB_MUST_USE;
/* y [T, D] at rows [N] += x [N, D], in order. */
pb_status pb_scatter_add(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                         const int32_t *rows) PB_MUST_USE;

/* y = x / sqrt(mean(x²) + eps) · (offset + weight), by rows: x [T, D], weight [D] (Zhang & Sennrich
 * 2019). */
pb_status pb_rmsnorm_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                             const pb_tensor *weight, const pb_rmsnorm_args *args) PB_MUST_USE;
/* dx +=, dweight [D] += (may be NULL). dy may not alias dx. */
pb_status pb_rmsnorm_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dweight,
                              const pb_tensor *dy, const pb_tensor *x, const pb_tensor *weight,
                              const pb_rmsnorm_args *args) PB_MUST_USE;

/* Rotary embedding in place: x [T, heads·E]; table [P, E] holds per position E/2 cosines, then E/2
 * sines; dimension i is paired with i + E/2 (the HF convention). inverse: the backward. */
pb_status pb_rope(pb_backend *be, pb_tensor *x, const pb_tensor *table, const int32_t *positions,
                  int64_t heads, bool inverse) PB_MUST_USE;

/* out [T, H·E], lse [T, H] (log of the sum of exponentials), q [T, H·E], keys, values [S, K·E]. */
pb_status pb_attention_forward(pb_backend *be, pb_tensor *out, pb_tensor *lse, const pb_tensor *q,
                               const pb_tensor *keys, const pb_tensor *values,
                               const pb_attention_args *args) PB_MUST_USE;
/* dq =, dkeys +=, dvalues += : sums run over the segments in order. No two segments share keys. */
pb_status pb_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys, pb_tensor *dvalues,
                                const pb_tensor *dout, const pb_tensor *out, const pb_tensor *lse,
                                const pb_tensor *q, const pb_tensor *keys, const pb_tensor *values,
                                const pb_attention_args *args) PB_MUST_USE;

/* y = act(gate) · up, all [T, F]. */
pb_status pb_gated_forward(pb_backend *be, pb_tensor *y, const pb_tensor *gate, const pb_tensor *up,
                           pb_activation act) PB_MUST_USE;
/* dgate =, dup = ; dup may alias dy. */
pb_status pb_gated_backward(pb_backend *be, pb_tensor *dgate, pb_tensor *dup, const pb_tensor *dy,
                            const pb_tensor *gate, const pb_tensor *up,
                            pb_activation act) PB_MUST_USE;

/* Elementwise; y may alias x. */
pb_status pb_activation_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                pb_activation act) PB_MUST_USE;
/* dx = dy · act'(x); dx may alias dy. */
pb_status pb_activation_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                 const pb_tensor *x, pb_activation act) PB_MUST_USE;

/* y = x · scale by columns: x [T, N], scale [N]; y may alias x. */
pb_status pb_column_scale_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                  const pb_tensor *scale) PB_MUST_USE;
/* dx = dy · scale (may alias dy), dscale += sum over rows of dy · x. */
pb_status pb_column_scale_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dscale,
                                   const pb_tensor *dy, const pb_tensor *x,
                                   const pb_tensor *scale) PB_MUST_USE;

/* y [T, N] += bias [N]. */
pb_status pb_bias_forward(pb_backend *be, pb_tensor *y, const pb_tensor *bias) PB_MUST_USE;
/* dbias += sum over rows of dy. */
pb_status pb_bias_backward(pb_backend *be, pb_tensor *dbias, const pb_tensor *dy) PB_MUST_USE;

/* y = x · mask / (1 - p): element (row, column) stays where pb_random_uniform(stream, row · columns
 * + column) ≥ p; forward and backward alike. y may alias x. */
pb_status pb_dropout(pb_backend *be, pb_tensor *y, const pb_tensor *x, double p,
                     pb_random stream) PB_MUST_USE;

/* losses [N] (host) = -log softmax(logits)[target]; logits [N, V] become grad_scale · d loss / d
 * logits, or stay when grad_scale is 0. */
pb_status pb_cross_entropy(pb_backend *be, double *losses, pb_tensor *logits,
                           const int32_t *targets, float grad_scale) PB_MUST_USE;
/* indices [N] (host): the first largest of each row; a NaN counts as larger. largest [N] (host):
 * its value, so not finite for a row with a NaN, with +∞, or of -∞ alone. */
pb_status pb_argmax(pb_backend *be, int32_t *indices, float *largest,
                    const pb_tensor *logits) PB_MUST_USE;

pb_status pb_sum_squares(pb_backend *be, const pb_tensor *x, double *out) PB_MUST_USE; /* host */
/* AdamW (Loshchilov & Hutter 2019), as torch: p *= 1 - lr·wd; p -= lr · m̂ / (sqrt(v̂) + eps). */
pb_status pb_adamw(pb_backend *be, pb_tensor *p, pb_tensor *m, pb_tensor *v, const pb_tensor *g,
                   const pb_adamw_args *args) PB_MUST_USE;

const pb_backend_ops *const *pb_backend_registry(void); /* NULL-terminated */
pb_status pb_backend_find(const char *name, const pb_backend_ops **out) PB_MUST_USE;
