// SPDX-License-Identifier: Apache-2.0
/* One list of operation cases, run in several modes over every registered backend:
 *   test     the forward against a naive implementation in double
 *   grad     the backward against central differences of the naive forward
 *   mixed    rows in BF16, and some in F32, against the CPU in F32
 *   threads  the same bits with 1, 2 and 3 threads
 *   support  which operations a backend has
 *   perf     rates (by hand: ops_backend perf)
 * A case knows its ports (tensors in, tensors out), its naive forward on dense double arrays, and
 * how to call the operation. */
#pragma once

#include "pb/backend.h"

enum { OP_PORTS = 6, OP_NAME = 96 };

typedef enum op_gradient {
    OP_GRAD_NONE, /* of an input: none exists */
    OP_GRAD_SET,  /* the backward writes it */
    OP_GRAD_ADD   /* the backward adds to it */
} op_gradient;

typedef struct op_port {
    const char *name;
    int64_t rows, columns;
    bool vector;          /* [columns], contiguous */
    op_gradient gradient; /* of an input */
    bool constant;        /* an output with no gradient: zero flows in */
} op_port;

/* Arguments of operations besides tensors; each case sets those it needs. */
typedef struct op_parameters {
    pb_matmul_args matmul;
    pb_attention_args attention;
    pb_forest forest;
    pb_activation activation;
    const int32_t *indices;
    int64_t heads, parts;
    bool rides; /* the parts, in the border of the weight */
    pb_rmsnorm_args norm;
    float alpha, scale;
    double p;
    pb_mask mask;
} op_parameters;

typedef struct op_case op_case;

struct op_case {
    char name[OP_NAME];
    const char *operation; /* slot of the table */
    op_port in[OP_PORTS], out[OP_PORTS];
    int ins, outs;
    op_parameters with;
    /* Dense row-major double in and out. */
    void (*naive)(const op_case *c, double *const *in, double *const *out);
    pb_status (*forward)(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out);
    /* NULL if there is none. din[i] is "none" if in[i] has no gradient. */
    pb_status (*backward)(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                          pb_tensor *dout, pb_tensor *din);
    double range;        /* inputs are uniform in -range … range; 0: 1 */
    double apart;        /* inputs keep this distance from zero: a kink there has no slope */
    bool same_dout;      /* every output element has the gradient OP_SAME_DOUT */
    bool in_place;       /* out[0] is in place of in[0] */
    double tolerance;    /* of the forward, normalised; 0: 1e-6 */
    bool slow;           /* perf only: too large for the other modes */
    double flops, bytes; /* of a forward call, for perf; backward: flops times the factor */
    double backward_factor;
};

#define OP_SAME_DOUT 0.375

/* All cases; built once, freed by ops_cases_free. */
const op_case *ops_cases(int64_t *count);
void ops_cases_free(void);

/* Adds to the list. */
op_case *ops_add(const char *operation, const char *format, ...) PB_PRINTF(2, 3);
/* Memory that is freed with the list. */
void *ops_keep(size_t bytes);

void ops_add_rows(void);
void ops_add_elementwise(void);
void ops_add_products(void);
void ops_add_attention(void);
void ops_add_linear(void);
void ops_add_parameters(void);

op_port ops_matrix(const char *name, int64_t rows, int64_t columns, op_gradient gradient);
op_port ops_vector(const char *name, int64_t columns, op_gradient gradient);

/* Cases that are to run over the backend of this name, with one thread, then share this one, which
 * stays the caller's, instead of opening their own: opening a device takes long. NULL: no more. */
void ops_share_backend(pb_backend *be);

/* One case in one mode: false and a line on stderr when it fails. `pad`: elements between rows. */
bool ops_run_test(const op_case *c, const char *backend, int64_t pad);
bool ops_run_grad(const op_case *c, const char *backend, int64_t pad);
/* The same bits with one thread and with `threads`. */
bool ops_run_twice(const op_case *c, const char *backend, bool bf16, int threads);
/* Forward and backward with BF16 between operations, against the CPU in F32 on the same values. A
 * backend without such a type passes. */
bool ops_run_mixed(const op_case *c, const char *backend);
/* The largest relative error that the modes test and mixed have seen since the last call. */
double ops_take_worst_error(void);
void ops_run_perf(const op_case *c, const char *backend, int threads);
