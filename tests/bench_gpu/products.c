// SPDX-License-Identifier: Apache-2.0
/* The device and its ceilings; products of the shapes of training. */
#include "sensors.h"
#include "products.h"
#include "setup.h"

#include "pb/usage.h"

#include <inttypes.h>
#include <stdio.h>

static pb_status call_product(pb_backend *be, void *context)
{
    const product *p          = context;
    const pb_matmul_args args = {.transpose_b = p->transposed, .alpha = 1.0f};
    pb_tensor c               = p->c;
    return pb_matmul(be, &c, &p->a, &p->b, &args);
}

void product_close(pb_backend *be, product *p)
{
    pb_backend_free(be, p->a.data);
    pb_backend_free(be, p->block.data);
    pb_backend_free(be, p->c.data);
    *p = (product){0};
}

pb_status product_open(const bench *b, pb_backend *be, int64_t m, const weight_shape *w,
                       bool backward, int64_t border, product *out)
{
    pb_dtype type    = pb_backend_activation(be);
    product p        = {.transposed = !backward};
    int64_t inner    = backward ? w->out : w->in;
    int64_t columns  = backward ? w->in : w->out;
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, random_matrix(b, be, type, m, inner + border, 1, &p.a), err);
    PB_TRY_GOTO(status, random_matrix(b, be, type, w->out + border, w->in + border, 2, &p.block),
                err);
    PB_TRY_GOTO(status, random_matrix(b, be, type, m, columns, 3, &p.c), err);
    pb_tensor rows = pb_tensor_rows(&p.block, 0, backward ? w->out + border : w->out);
    p.b            = pb_tensor_columns(&rows, 0, backward ? w->in : w->in + border);
    p.flops        = 2.0 * (double)m * (double)w->in * (double)w->out;
    *out           = p;
    return PB_OK;
err:
    product_close(be, &p);
    return status;
}

static pb_status measure(const bench *b, pb_backend *be, int64_t m, const weight_shape *w,
                         bool backward, int64_t border, double *tflops)
{
    product p;
    double seconds = 0.0;
    PB_TRY(product_open(b, be, m, w, backward, border, &p));
    pb_status status = time_call(b, be, call_product, &p, &seconds);
    *tflops          = p.flops / seconds * 1e-12;
    product_close(be, &p);
    return PB_FRAME(status);
}

/* 1: the device ------------------------------------------------------------------------------- */

static void put_square(const bench *b, pb_dtype type)
{
    int64_t n      = b->tiny ? 32 : 8192;
    weight_shape w = {"square", n, n};
    double tflops  = 0.0;
    pb_backend *be = NULL;
    char sizes[BENCH_TEXT];
    (void)snprintf(sizes, sizeof sizes, "%" PRId64 " x %" PRId64 " x %" PRId64 " %s", n, n, n,
                   pb_dtype_name(type));
    pb_status status = open_device(b, type, &be);
    status           = status == PB_OK ? measure(b, be, n, &w, false, 0, &tflops) : status;
    if (status == PB_OK) {
        put_figure(b, "product, random values", sizes, tflops, "TFLOP/s");
    } else {
        put_failure(b, "product, random values", sizes, status);
    }
    pb_backend_close(be);
}

static void put_sensors(const bench *b)
{
    sensors s = read_sensors();
    if (!s.known) {
        put_text(b, "driver's management library", "absent: no power, no clocks");
        return;
    }
    put_text(b, "driver", s.driver);
    put_figure(b, "power cap", "", s.limit_watts, "W");
    put_figure(b, "power before work", "", s.watts, "W");
    put_figure(b, "clock of multiprocessors", "", s.mhz, "MHz");
    put_figure(b, "highest clock", "", s.most_mhz, "MHz");
}

pb_status part_device(const bench *b)
{
    pb_backend *be = NULL;
    double rate    = 0.0;
    PB_TRY(open_device(b, PB_DTYPE_F32, &be));
    put_text(b, "device", pb_backend_describe(be));
    put_sensors(b);
    pb_status status = copy_rate(b, be, &rate);
    pb_backend_close(be);
    if (status == PB_OK) {
        put_figure(b, "copy, bytes read and written", b->tiny ? "64 KiB" : "1 GiB", rate * 1e-12,
                   "TB/s");
    } else {
        put_failure(b, "copy", "", status);
    }
    put_square(b, PB_DTYPE_BF16);
    put_square(b, PB_DTYPE_F32);
    if (!b->tiny && read_sensors().known) {
        put_figure(b, "power after work", "", read_sensors().watts, "W");
    }
    return PB_OK;
}

/* 6: products --------------------------------------------------------------------------------- */

static const weight_shape large[] = {
    {"q,k,v", 4096, 6144}, {"o", 4096, 4096},      {"gate,up", 4096, 28672},
    {"down", 14336, 4096}, {"head", 4096, 128256},
};
static const weight_shape small[] = {
    {"q,k,v", 64, 96}, {"o", 64, 64}, {"gate,up", 64, 128}, {"down", 128, 64}, {"head", 64, 256},
};
_Static_assert(sizeof large / sizeof *large == WEIGHT_SHAPES, "one per kind");
_Static_assert(sizeof small / sizeof *small == WEIGHT_SHAPES, "one per kind");

const weight_shape *weight_shape_at(const bench *b, int index)
{
    return b->tiny ? &small[index] : &large[index];
}

static bool put_products(const bench *b, pb_backend *be, int64_t m, const weight_shape *w)
{
    static const struct {
        const char *name;
        bool backward;
        int64_t border;
    } kinds[] = {{"forward", false, 0},
                 {"dx", true, 0},
                 {"forward, border 64", false, 64},
                 {"dx, border 64", true, 64}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char sizes[BENCH_TEXT];
        double tflops = 0.0;
        (void)snprintf(sizes, sizeof sizes, "%s, %" PRId64 " rows, %" PRId64 " in, %" PRId64 " out",
                       w->name, m, w->in, w->out);
        if (!time_is_left(b, kinds[i].name, sizes)) {
            return false;
        }
        pb_status status = measure(b, be, m, w, kinds[i].backward, kinds[i].border, &tflops);
        if (status == PB_OK) {
            put_figure(b, kinds[i].name, sizes, tflops, "TFLOP/s");
        } else {
            put_failure(b, kinds[i].name, sizes, status);
        }
    }
    return true;
}

pb_status part_products(const bench *b)
{
    static const int64_t rows[] = {8192, 440, 1760, 3520};
    pb_backend *be              = NULL;
    PB_TRY(open_device(b, PB_DTYPE_BF16, &be));
    bool left = true;
    for (size_t r = 0; left && r < sizeof rows / sizeof *rows; r++) {
        for (int i = 0; left && i < WEIGHT_SHAPES; i++) {
            left = put_products(b, be, b->tiny ? rows[r] / 110 : rows[r], weight_shape_at(b, i));
        }
    }
    pb_backend_close(be);
    return PB_OK;
}
