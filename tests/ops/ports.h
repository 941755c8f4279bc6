// SPDX-License-Identifier: Apache-2.0
/* The bench of an operation case: the tensors of its ports on the host and on a device, with gaps
 * between rows that must stay untouched. */
#pragma once

#include "ops.h"

/* Tensors of all ports of a case, and their gradients. */
typedef struct ports {
    pb_tensor in[OP_PORTS], out[OP_PORTS], din[OP_PORTS], dout[OP_PORTS];
} ports;

/* Which of the ports that pass between operations hold BF16. */
typedef enum variant { ALL_F32, ALL_BF16, INPUT_F32, OUTPUT_F32, VARIANTS } variant;

typedef struct bench {
    pb_backend *be;
    const op_case *c;
    int64_t pad;
    variant variant;
    bool holds;         /* BF16 ports do so; else only their values are BF16 */
    ports host, device; /* the same, gaps included, after upload and after download */
    double *in64[OP_PORTS], *out64[OP_PORTS]; /* dense */
} bench;

/* Makes the tensors, `pad` elements between their rows, and fills them with random values. */
pb_status bench_open(const op_case *c, const char *backend, int threads, int64_t pad, variant how,
                     bench *b);
void bench_close(bench *b);
pb_status bench_forward(bench *b);
pb_status bench_backward(bench *b);
/* Runs forward, backward if it exists and is wanted, and brings their results to the host. */
pb_status bench_run(bench *b, bool with_backward);

float *bench_at(const pb_tensor *t, int64_t row, int64_t column);
/* Nothing was written between the rows. */
bool bench_gaps_hold(const op_port *port, const pb_tensor *t);
/* Zeros [rows, columns]; the caller frees them. */
double *bench_dense(const op_port *port);
/* A tensor of the port on the host that has only gaps; the caller frees its data. */
pb_tensor bench_host_tensor(const bench *b, const op_port *port);
double bench_random(uint64_t salt, uint64_t index);
/* Random values in -range … range, rounded to F32 so that both sides get the same; `dense` may be
 * NULL. */
void bench_fill_port(const bench *b, const op_port *port, pb_tensor *t, double *dense, double range,
                     uint64_t salt);
