// SPDX-License-Identifier: Apache-2.0
/* A backend: memory and about 30 coarse operations on packed rows, forward and backward side by
 * side.
 *
 * `cpu` is the reference: plain loops, OpenMP and a CBLAS. Reductions have a fixed order: results
 * do not depend on the number of threads. The front of an operation (pb_<operation>, declared in
 * pb/operations.def) checks its arguments once and calls the table. */
#pragma once

#include "pb/linear.h"
#include "pb/random.h"
#include "pb/step.h"

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

typedef struct pb_rmsnorm_args {
    float eps;
    float offset; /* added to the weight: 1 where a checkpoint stores w of (1 + w), as gemma does */
    bool add;     /* the backward adds to dx */
} pb_rmsnorm_args;

/* One tensor of an AdamW step, its moments and its gradient: all of one shape. */
typedef struct pb_adamw_tensor {
    pb_tensor value, first, second, grad;
    double rate; /* times lr */
    double weight_decay;
} pb_adamw_tensor;

typedef struct pb_adamw_args {
    double lr, beta1, beta2, eps;
    double clip;  /* largest norm of the gradient; 0: none */
    int64_t step; /* from 1 */
} pb_adamw_args;

typedef struct pb_reserve_args {
    const pb_attention_plan *plan;
    int64_t norm_rows; /* most rows of a norm */
    int64_t factor;    /* most elements of a product's A */
    int64_t weight;    /* and of a B that is not of the type of pb_backend_activation */
    int64_t inner;     /* longest sum of a product */
    int64_t rank;      /* largest of a low-rank part */
    bool narrow_types; /* some weights are BF16 or F16 */
} pb_reserve_args;

/* Takes a fact about a device as name and value. */
typedef pb_status pb_backend_put(void *context, const char *name, const char *value);

typedef struct pb_backend_ops {
    const char *name;
    bool is_host; /* its memory is host memory, which is used in place */
    /* required */
    pb_status (*open)(int device, int threads, pb_backend **out);
    void (*close)(pb_backend *be);
    pb_status (*alloc)(pb_backend *be, size_t bytes, void **data); /* zeroed, 64-byte aligned */
    void (*free)(pb_backend *be, void *data);
    pb_status (*reserve)(pb_backend *be, const pb_reserve_args *args);
    void (*trim)(pb_backend *be); /* frees what is kept between calls, the page included */
    pb_status (*sync)(pb_backend *be);
    /* Lists and plans of a page, already checked; see pb/step.h. */
    pb_status (*page_list)(pb_backend *be, const int32_t *host, pb_list *list); /* sets data */
    pb_status (*page_plan)(pb_backend *be, int index, pb_attention_plan *plan); /* sets parts */
    pb_status (*post)(pb_backend *be, int slot, const pb_tensor *numbers);
    pb_status (*take)(pb_backend *be, int slot, double *values);
#define PB_OPERATION(name, ...) pb_status (*name)(pb_backend * be, __VA_ARGS__);
#include "pb/operations.def"
    /* optional */
    pb_status (*page_begin)(pb_backend *be); /* absent: a page needs no preparation … */
    pb_status (*page_end)(pb_backend *be);   /* … and is ready at once */
    pb_status (*repeat)(pb_backend *be, const void *key, size_t bytes, pb_repeated *run,
                        void *context);           /* absent: run is called each time */
    pb_dtype (*activation)(const pb_backend *be); /* absent: F32 */
    /* Prepares products of this type, and describes them. Absent: there is nothing to prepare. */
    pb_status (*use_dtype)(pb_backend *be, pb_dtype dtype);
    /* Absent: the backend has no choice of libraries. */
    pb_status (*use_products)(pb_backend *be, const char *text);
    /* Seconds of work that the backend measures itself: forgotten; added to be->work. Absent: the
     * fronts measure the time that a call takes. */
    void (*work_reset)(pb_backend *be);
    void (*work_collect)(pb_backend *be);
    /* See pb/usage.h; absent: there is no counter, no fact, no device. */
    double (*energy)(pb_backend *be, const char **why);
    pb_status (*facts)(pb_backend *be, pb_backend_put *put, void *context);
    pb_status (*list)(pb_backend_put *put, void *context);
#define PB_OPERATION(name, ...)
#define PB_COMPOSED(name, ...) pb_status (*name)(pb_backend * be, __VA_ARGS__);
#include "pb/operations.def"
} pb_backend_ops;

#define PB_OPERATION(name, ...) pb_status pb_##name(pb_backend *be, __VA_ARGS__) PB_MUST_USE;
#define PB_COMPOSED             PB_OPERATION
#include "pb/operations.def"

/* "cpu", "cuda", or "auto": the best available. A device below 0, -1 - n, is the one that process n
 * of a node takes: n modulo the devices there are. threads ≤ 0: all that the process may use. */
pb_status pb_backend_open(const char *name, int device, int threads, pb_backend **out) PB_MUST_USE;
void pb_backend_close(pb_backend *be); /* accepts NULL */
/* BF16: both factors of every pb_matmul are rounded to it, sums are F32, attention and all else
 * stay F32; F32, as opened: nothing is rounded. Products are tried at once: PB_ERR_NUMERIC when
 * they are wrong, and nothing is rounded. Counted work starts at 0. On the CPU the CBLAS computes
 * all products of F32, and oneDNN or AMX those of BF16 factors where it is well ahead. */
pb_status pb_backend_use_dtype(pb_backend *be, pb_dtype dtype) PB_MUST_USE;
/* Which library computes products of a transposition and shape class: "auto" measures, "blas" takes
 * the CBLAS for all, any other text is what pb_backend_products returned, here or on another
 * machine. PB_ERR_CONFIG when this machine cannot do as it says, PB_ERR_NUMERIC when it would be
 * wrong; the CBLAS computes everything then. Part of the description, since the last digits depend
 * on it. */
pb_status pb_backend_use_products(pb_backend *be, const char *text) PB_MUST_USE;
enum { PB_PRODUCTS_SIZE = 32 };
const char *pb_backend_products(const pb_backend *be); /* "" where there is no choice */
/* Whether work that recurs may be recorded once and replayed, where the backend can do that; on by
 * default. Results do not change. */
void pb_backend_use_graphs(pb_backend *be, bool graphs);
/* The type of what passes between operations: F32 or BF16. The residual stream, statistics, logits
 * and all that is trained are F32 on every backend. */
pb_dtype pb_backend_activation(const pb_backend *be);
/* The type in which frozen weights of `dtype` are held for products: their own, unless the backend
 * multiplies weights of its activations' type faster. */
pb_dtype pb_backend_weight_type(const pb_backend *be, pb_dtype dtype);
/* The width of the border for low-rank parts of frozen weights (see pb/weights.h) and of the rows
 * that their products read: PB_BORDER on a device, 0 on a backend that reads none. */
enum { PB_BORDER = 64 };
int64_t pb_backend_border(const pb_backend *be);
const char *pb_backend_name(const pb_backend *be);
/* Prefers batches of few different sizes: see pb_batch_options. */
bool pb_backend_pads(const pb_backend *be);
bool pb_backend_is_host(const pb_backend *be); /* operations take any host memory */
int pb_backend_threads(const pb_backend *be);
/* Tells the devices of all machines apart; zeros where there is none. */
typedef struct pb_device_id {
    int64_t parts[2];
} pb_device_id;
pb_device_id pb_backend_device_id(const pb_backend *be);
/* One line: product library, its kernels, instruction sets, threads. */
const char *pb_backend_describe(const pb_backend *be);
void pb_backend_warn(const pb_backend *be); /* logs what makes it slow; call it once per run */

pb_status pb_backend_alloc(pb_backend *be, size_t bytes, void **data) PB_MUST_USE;
/* A vector [n] in memory of its own, which pb_backend_free of its data frees; none for n = 0. */
pb_status pb_backend_vector(pb_backend *be, pb_dtype dtype, int64_t n, pb_tensor *out) PB_MUST_USE;
void pb_backend_free(pb_backend *be, void *data); /* data may be NULL, and then be too */
/* Takes the memory that operations need for themselves. */
pb_status pb_backend_reserve(pb_backend *be, const pb_reserve_args *args) PB_MUST_USE;
/* Writes or reads the values of t [n] (F32, backend memory; none: nothing). */
struct pb_archive;
pb_status pb_archive_tensor(struct pb_archive *archive, pb_backend *be, pb_tensor *t) PB_MUST_USE;
pb_status pb_sync(pb_backend *be) PB_MUST_USE; /* before reading a clock */

const pb_backend_ops *const *pb_backend_registry(void); /* NULL-terminated */
pb_status pb_backend_find(const char *name, const pb_backend_ops **out) PB_MUST_USE;
