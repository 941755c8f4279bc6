// SPDX-License-Identifier: Apache-2.0
/* The device and its ceilings; products of the shapes of training. */
#include "products.h"
#include "setup.h"

#include "pb/usage.h"

#include <inttypes.h>
#include <stdio.h>

/* Bytes that are more than a device keeps in its cache, several times. */
#define BEYOND_CACHE 300e6

static pb_status call_product(pb_backend *be, void *context)
{
    product *p                = context;
    const pb_matmul_args args = {.transpose_b = p->transposed, .alpha = 1.0f};
    pb_tensor c               = p->c;
    pb_tensor b               = p->b;
    size_t bytes              = pb_tensor_bytes(&p->block) / (size_t)p->copies;
    b.data                    = (char *)b.data + (size_t)(p->turn++ % p->copies) * bytes;
    return pb_matmul(be, &c, &p->a, &b, &args);
}

void product_close(pb_backend *be, product *p)
{
    pb_backend_free(be, p->a.data);
    pb_backend_free(be, p->block.data);
    pb_backend_free(be, p->c.data);
    *p = (product){0};
}

pb_status product_open(const bench *b, pb_backend *be, int64_t m, const weight_shape *w,
                       bool backward, int64_t border, int64_t copies, product *out)
{
    pb_dtype type    = pb_backend_activation(be);
    product p        = {.transposed = !backward, .copies = copies};
    int64_t inner    = backward ? w->out : w->in;
    int64_t columns  = backward ? w->in : w->out;
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, random_matrix(b, be, type, m, inner + border, 1, &p.a), err);
    PB_TRY_GOTO(status,
                random_matrix(b, be, type, copies * (w->out + border), w->in + border, 2, &p.block),
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

static int64_t copies_of(const weight_shape *w)
{
    return 1 + (int64_t)(BEYOND_CACHE / (2.0 * (double)(w->in * w->out)));
}

static pb_status measure(const bench *b, pb_backend *be, int64_t m, const weight_shape *w,
                         bool backward, int64_t border, double *tflops)
{
    product p;
    double seconds = 0.0;
    PB_TRY(product_open(b, be, m, w, backward, border, b->tiny ? 2 : copies_of(w), &p));
    pb_status status = time_call(b, be, call_product, &p, &seconds);
    *tflops          = p.flops / seconds * 1e-12;
    product_close(be, &p);
    return PB_FRAME(status);
}

/* 1: the device ------------------------------------------------------------------------------- */

/* For as long as it takes the device to reach the clock and the power of a training run. */
static pb_status put_lasting(const bench *b, pb_backend *be, product *p, const char *sizes)
{
    load l = {0};
    PB_TRY(measure_load(be, call_product, p, b->tiny ? 1.0 : 3.0, &l));
    put_figure(b, "product, lasting", sizes, p->flops / l.seconds * 1e-12, "TFLOP/s");
    put_load(b, sizes, &l);
    return PB_OK;
}

static pb_status put_square(const bench *b, pb_backend *be, pb_dtype type, const char *sizes)
{
    int64_t n      = b->tiny ? 32 : 8192;
    weight_shape w = {"square", n, n};
    double seconds = 0.0;
    product p;
    PB_TRY(pb_backend_use_dtype(be, type));
    PB_TRY(product_open(b, be, n, &w, false, 0, 1, &p));
    pb_status status = time_call(b, be, call_product, &p, &seconds);
    if (status == PB_OK) {
        put_figure(b, "product, random values", sizes, p.flops / seconds * 1e-12, "TFLOP/s");
        status = type == PB_DTYPE_BF16 ? put_lasting(b, be, &p, sizes) : PB_OK;
    }
    product_close(be, &p);
    return PB_FRAME(status);
}

static void put_squares(const bench *b, pb_backend *be)
{
    static const pb_dtype types[] = {PB_DTYPE_BF16, PB_DTYPE_F32};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char sizes[BENCH_TEXT];
        (void)snprintf(sizes, sizeof sizes, "%s %s",
                       b->tiny ? "32 x 32 x 32" : "8192 x 8192 x 8192", pb_dtype_name(types[i]));
        if (!item_begin(b, "product", sizes)) {
            continue;
        }
        pb_status status = put_square(b, be, types[i], sizes);
        if (status != PB_OK) {
            put_failure(b, "product", sizes, status);
        }
    }
}

static void put_copy(const bench *b, pb_backend *be)
{
    const char *sizes = b->tiny ? "64 KiB" : "1 GiB";
    double rate       = 0.0;
    if (!item_begin(b, "copy", sizes)) {
        return;
    }
    pb_status status = copy_rate(b, be, &rate);
    if (status == PB_OK) {
        put_figure(b, "copy, bytes read and written", sizes, rate * 1e-12, "TB/s");
    } else {
        put_failure(b, "copy", sizes, status);
    }
}

static pb_status put_fact(void *context, const char *name, const char *value)
{
    put_text(context, name, value);
    return PB_OK;
}

pb_status part_device(const bench *b)
{
    pb_backend *be = NULL;
    bench copy     = *b; /* for a context, which is not const */
    PB_TRY(open_device(b, PB_DTYPE_F32, &be));
    if (b->done == 0) {
        put_text(b, "device", pb_backend_describe(be));
        PB_TRY(pb_backend_facts(be, put_fact, &copy));
    }
    put_copy(b, be);
    put_squares(b, be);
    pb_backend_close(be);
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

static void put_products(const bench *b, pb_backend *be, int64_t m, const weight_shape *w)
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
        if (!item_begin(b, kinds[i].name, sizes)) {
            continue;
        }
        pb_status status = measure(b, be, m, w, kinds[i].backward, kinds[i].border, &tflops);
        if (status == PB_OK) {
            put_figure(b, kinds[i].name, sizes, tflops, "TFLOP/s");
        } else {
            put_failure(b, kinds[i].name, sizes, status);
        }
    }
}

pb_status part_products(const bench *b)
{
    static const int64_t rows[] = {8192, 440, 1760, 3520};
    pb_backend *be              = NULL;
    PB_TRY(open_device(b, PB_DTYPE_BF16, &be));
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (int i = 0; i < WEIGHT_SHAPES; i++) {
            put_products(b, be, b->tiny ? rows[r] / 110 : rows[r], weight_shape_at(b, i));
        }
    }
    pb_backend_close(be);
    return PB_OK;
}
