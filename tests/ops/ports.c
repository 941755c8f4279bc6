// SPDX-License-Identifier: Apache-2.0
/* See ports.h. */
#include "ports.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const float gap_value = 12352.0f; /* exact in BF16 */
static pb_backend *shared;               /* NULL: none */

void ops_share_backend(pb_backend *be)
{
    shared = be;
}

static double random_at(uint64_t salt, uint64_t index)
{
    pb_random stream = pb_random_stream(7, PB_RANDOM_TEST, salt);
    return 2.0 * pb_random_uniform(stream, index) - 1.0;
}

/* Cases take the same ones again and again. */
double bench_random(uint64_t salt, uint64_t index)
{
    enum { SALTS = 128, KEPT = 1 << 15 };
    static double kept[SALTS][KEPT];
    static bool known[SALTS];
    if (salt >= SALTS || index >= KEPT) {
        return random_at(salt, index);
    }
    for (uint64_t i = 0; !known[salt] && i < KEPT; i++) {
        kept[salt][i] = random_at(salt, i);
    }
    known[salt] = true;
    return kept[salt][index];
}

float *bench_at(const pb_tensor *t, int64_t row, int64_t column)
{
    return (float *)t->data + (t->ndim == 1 ? column : row * t->stride + column);
}

static bool is_bf16(const bench *b, const op_port *port)
{
    static const char *const always_f32[] = {"table",     "lse",       "logits",   "losses",
                                             "trained A", "trained B", "trained W"};
    bool between = !port->vector && strcmp(b->c->operation, "embedding") != 0;
    for (size_t i = 0; i < sizeof always_f32 / sizeof always_f32[0]; i++) {
        between = between && strcmp(port->name, always_f32[i]) != 0;
    }
    return between && b->variant != ALL_F32 && !(b->variant == INPUT_F32 && port == &b->c->in[0]) &&
           !(b->variant == OUTPUT_F32 && port == &b->c->out[0]);
}

pb_tensor bench_host_tensor(const bench *b, const op_port *port)
{
    int64_t width = port->columns + (port->vector ? 0 : b->pad);
    float *data   = calloc((size_t)(port->rows * width) + 1, sizeof *data);
    pb_tensor t   = port->vector ? pb_tensor_1d(data, PB_DTYPE_F32, port->columns)
                                 : pb_tensor_2d(data, PB_DTYPE_F32, port->rows, port->columns);
    t.stride      = port->vector ? 1 : width;
    for (int64_t i = 0; i < port->rows * width; i++) {
        data[i] = gap_value;
    }
    return t;
}

static int64_t elements(const pb_tensor *t)
{
    return pb_tensor_is_none(t) ? 0 : t->shape[0] * t->stride;
}

static pb_status make_tensor(bench *b, const op_port *port, pb_tensor *host, pb_tensor *device)
{
    *host   = bench_host_tensor(b, port);
    *device = *host;
    if (b->holds && is_bf16(b, port)) {
        device->dtype = PB_DTYPE_BF16;
    }
    return pb_backend_alloc(b->be, (size_t)elements(host) * pb_dtype_size(device->dtype),
                            &device->data);
}

/* Copies a whole tensor with its gaps, in either direction. */
static pb_status move_tensor(pb_backend *be, const pb_tensor *to, const pb_tensor *from)
{
    pb_tensor all         = pb_tensor_1d(to->data, to->dtype, elements(to));
    const pb_tensor other = pb_tensor_1d(from->data, from->dtype, elements(from));
    return elements(to) > 0 ? pb_copy(be, &all, &other) : PB_OK;
}

static pb_status move_all(pb_backend *be, const ports *to, const ports *from)
{
    for (int i = 0; i < OP_PORTS; i++) {
        PB_TRY(move_tensor(be, &to->in[i], &from->in[i]));
        PB_TRY(move_tensor(be, &to->out[i], &from->out[i]));
        PB_TRY(move_tensor(be, &to->din[i], &from->din[i]));
        PB_TRY(move_tensor(be, &to->dout[i], &from->dout[i]));
    }
    return PB_OK;
}

void bench_fill_port(const bench *b, const op_port *port, pb_tensor *t, double *dense, double range,
                     uint64_t salt)
{
    bool bf16 = is_bf16(b, port);
    for (int64_t i = 0; i < port->rows; i++) {
        for (int64_t j = 0; j < port->columns; j++) {
            int64_t n          = i * port->columns + j;
            float x            = (float)(range * bench_random(salt, (uint64_t)n));
            x                  = bf16 ? pb_bf16_to_f32(pb_f32_to_bf16(x)) : x;
            *bench_at(t, i, j) = x;
            if (dense != NULL) {
                dense[n] = (double)x;
            }
        }
    }
}

static void keep_apart(const op_port *port, pb_tensor *t, double *dense, double apart)
{
    for (int64_t n = 0; n < port->rows * port->columns; n++) {
        if (fabs(dense[n]) < apart) {
            dense[n]                                           = apart;
            *bench_at(t, n / port->columns, n % port->columns) = (float)apart;
        }
    }
}

void bench_close(bench *b)
{
    for (int i = 0; i < OP_PORTS; i++) {
        if (!(b->c->in_place && i == 0)) {
            pb_backend_free(b->be, b->device.out[i].data);
            free(b->host.out[i].data);
        }
        pb_backend_free(b->be, b->device.in[i].data);
        pb_backend_free(b->be, b->device.din[i].data);
        pb_backend_free(b->be, b->device.dout[i].data);
        free(b->host.in[i].data);
        free(b->host.din[i].data);
        free(b->host.dout[i].data);
        free(b->in64[i]);
        free(b->out64[i]);
    }
    if (b->be != shared) {
        pb_backend_close(b->be);
    }
}

double *bench_dense(const op_port *port)
{
    return calloc((size_t)(port->rows * port->columns) + 1, sizeof(double));
}

static pb_status bench_fill(bench *b)
{
    const op_case *c = b->c;
    double range     = c->range > 0 ? c->range : 1.0;
    ports *host      = &b->host;
    ports *device    = &b->device;
    for (int i = 0; i < c->ins; i++) {
        PB_TRY(make_tensor(b, &c->in[i], &host->in[i], &device->in[i]));
        b->in64[i] = bench_dense(&c->in[i]);
        bench_fill_port(b, &c->in[i], &host->in[i], b->in64[i], range, 10 + (uint64_t)i);
        keep_apart(&c->in[i], &host->in[i], b->in64[i], c->apart);
        if (c->in[i].gradient != OP_GRAD_NONE) {
            PB_TRY(make_tensor(b, &c->in[i], &host->din[i], &device->din[i]));
            bench_fill_port(b, &c->in[i], &host->din[i], NULL, 1.0, 20 + (uint64_t)i);
        }
    }
    for (int i = 0; i < c->outs; i++) {
        if (c->in_place && i == 0) {
            host->out[0]   = host->in[0];
            device->out[0] = device->in[0];
        } else {
            PB_TRY(make_tensor(b, &c->out[i], &host->out[i], &device->out[i]));
        }
        b->out64[i] = bench_dense(&c->out[i]);
        PB_TRY(make_tensor(b, &c->out[i], &host->dout[i], &device->dout[i]));
        bench_fill_port(b, &c->out[i], &host->dout[i], NULL, c->out[i].constant ? 0.0 : 1.0,
                        30 + (uint64_t)i);
        for (int64_t n = 0; c->same_dout && n < c->out[i].rows; n++) {
            *bench_at(&host->dout[i], n, 0) = (float)OP_SAME_DOUT;
        }
    }
    return move_all(b->be, device, host);
}

pb_status bench_forward(bench *b)
{
    return b->c->forward(b->c, b->be, b->device.in, b->device.out);
}

pb_status bench_backward(bench *b)
{
    return b->c->backward(b->c, b->be, b->device.in, b->device.out, b->device.dout, b->device.din);
}

pb_status bench_run(bench *b, bool with_backward)
{
    PB_TRY(bench_forward(b));
    if (with_backward && b->c->backward != NULL) {
        PB_TRY(bench_backward(b));
    }
    return move_all(b->be, &b->host, &b->device);
}

pb_status bench_open(const op_case *c, const char *backend, int threads, int64_t pad, variant how,
                     bench *b)
{
    *b         = (bench){.c = c, .pad = pad, .variant = how};
    bool bf16  = how != ALL_F32 && strcmp(backend, "cpu") != 0;
    bool share = shared != NULL && threads == 1 && strcmp(pb_backend_name(shared), backend) == 0;
    b->be      = share ? shared : NULL;
    if (!share) {
        PB_TRY(pb_backend_open(backend, 0, threads, &b->be));
    }
    pb_status status = pb_backend_use_dtype(b->be, bf16 ? PB_DTYPE_BF16 : PB_DTYPE_F32);
    b->holds         = pb_backend_activation(b->be) == PB_DTYPE_BF16;
    status           = status == PB_OK ? bench_fill(b) : status;
    if (status != PB_OK) {
        bench_close(b);
    }
    return status;
}

bool bench_gaps_hold(const op_port *port, const pb_tensor *t)
{
    for (int64_t i = 0; i < port->rows && !port->vector; i++) {
        for (int64_t j = port->columns; j < t->stride; j++) {
            if (*bench_at(t, i, j) != gap_value) {
                return false;
            }
        }
    }
    return true;
}
