// SPDX-License-Identifier: Apache-2.0
/* Cases of the matrix product: all transposes, alpha and beta, thin and empty shapes. */
#include "ops.h"

/* in: A, B, C before; out: C. */
static void naive_matmul(const op_case *c, double *const *in, double *const *out)
{
    const pb_matmul_args *args = &c->with.matmul;
    int64_t m                  = c->out[0].rows;
    int64_t n                  = c->out[0].columns;
    int64_t inner              = args->transpose_a ? c->in[0].rows : c->in[0].columns;
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < inner; k++) {
                double a = args->transpose_a ? in[0][k * m + i] : in[0][i * inner + k];
                double b = args->transpose_b ? in[1][j * inner + k] : in[1][k * n + j];
                sum += a * b;
            }
            out[0][i * n + j] = (double)args->alpha * sum +
                                (args->beta == 0.0f ? 0.0 : (double)args->beta * in[2][i * n + j]);
        }
    }
}

static pb_status matmul(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    if (c->with.matmul.beta != 0.0f) {
        PB_TRY(pb_copy(be, &out[0], &in[2]));
    }
    return pb_matmul(be, &out[0], &in[0], &in[1], &c->with.matmul);
}

static op_case *add(int64_t m, int64_t n, int64_t k, pb_matmul_args args)
{
    op_case *c     = ops_add("matmul", "%dx%dx%d a%c b%c alpha %g beta %g", (int)m, (int)n, (int)k,
                         args.transpose_a ? 't' : 'n', args.transpose_b ? 't' : 'n',
                             (double)args.alpha, (double)args.beta);
    c->in[0]       = args.transpose_a ? ops_matrix("A", k, m, OP_GRAD_NONE)
                                      : ops_matrix("A", m, k, OP_GRAD_NONE);
    c->in[1]       = args.transpose_b ? ops_matrix("B", n, k, OP_GRAD_NONE)
                                      : ops_matrix("B", k, n, OP_GRAD_NONE);
    c->in[2]       = ops_matrix("C before", m, n, OP_GRAD_NONE);
    c->out[0]      = ops_matrix("C", m, n, OP_GRAD_NONE);
    c->ins         = 3;
    c->outs        = 1;
    c->naive       = naive_matmul;
    c->forward     = matmul;
    c->flops       = 2.0 * (double)(m * n * k);
    c->with.matmul = args;
    return c;
}

void ops_add_products(void)
{
    static const int64_t shapes[][3] = {
        {1, 1, 1},   {1, 37, 64},  {2, 64, 33}, {4, 50, 100}, {5, 50, 100}, {64, 1, 17},
        {17, 33, 1}, {70, 40, 90}, {0, 5, 3},   {3, 0, 5},    {3, 4, 0},    {9, 16, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (int t = 0; t < 4; t++) {
            const int64_t *s = shapes[i];
            add(s[0], s[1], s[2],
                (pb_matmul_args){.transpose_a = t & 1, .transpose_b = t & 2, .alpha = 1.0f});
            add(s[0], s[1], s[2],
                (pb_matmul_args){
                    .transpose_a = t & 1, .transpose_b = t & 2, .alpha = -0.5f, .beta = 2.0f});
        }
    }
    /* More than one tile in each direction. */
    for (int t = 0; t < 4; t++) {
        add(700, 900, 70,
            (pb_matmul_args){.transpose_a = t & 1, .transpose_b = t & 2, .alpha = 1.0f});
    }
    static const int64_t large[][3] = {
        {1, 2048, 2048},    {2, 2048, 2048},   {4, 2048, 2048},   {8, 2048, 2048},
        {16, 2048, 2048},   {512, 2048, 2048}, {512, 8192, 2048}, {2048, 16, 2048},
        {2048, 2048, 16},   {512, 288, 288},   {256, 64, 64},     {2048, 2048, 2048},
        {8192, 1024, 1024},
    };
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        const int64_t *s = large[i];
        add(s[0], s[1], s[2], (pb_matmul_args){.transpose_b = true, .alpha = 1.0f})->slow = true;
    }
    add(512, 2048, 8192, (pb_matmul_args){.alpha = 1.0f})->slow                     = true;
    add(16, 2048, 2048, (pb_matmul_args){.transpose_a = true, .alpha = 1.0f})->slow = true;
}
