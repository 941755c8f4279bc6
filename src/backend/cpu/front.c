// SPDX-License-Identifier: Apache-2.0
/* The product front: measures which library computes products of each transposition and shape
 * class, and takes a choice that was made before. Whatever it takes has first computed products
 * whose elements agree with plain sums in double precision, with beta 0 and 1. */
#include "cpu.h"
#include "kernels.h"
#include "onednn.h"
#include "panel.h"

#include "pb/log.h"
#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    M      = 192,
    N      = 512,
    K      = 512,
    TRIALS = 24,
    SAMPLE = 61 /* one element in so many is checked */
};

typedef struct sizes {
    int64_t m, n, k;
} sizes;

static const sizes examples[PRODUCT_SHAPES] = {[SHAPE_FULL] = {M, N, K}, [SHAPE_FEW] = {16, N, K}};

static const char *const form_names[]    = {"x W^T", "x W", "x^T y"};
static const char *const shape_names[]   = {"full", "few-row"};
static const char *const library_names[] = {"the CBLAS", "oneDNN", "oneDNN in BF16", "own kernels",
                                            "AMX"};

typedef struct bench {
    cpu *c;
    float *a, *b, *sums;      /* factors and product, each as large as any */
    float *exact_a, *exact_b; /* the factors as they are multiplied */
} bench;

typedef struct operands {
    sizes s;
    pb_tensor a, b, c;
    pb_matmul_args args;
} operands;

static operands operands_of(const bench *x, product_form form, const sizes *s)
{
    bool ta = form == FORM_TN;
    bool tb = form == FORM_NT;
    return (operands){.s    = *s,
                      .a    = pb_tensor_2d(x->a, PB_DTYPE_F32, ta ? s->k : s->m, ta ? s->m : s->k),
                      .b    = pb_tensor_2d(x->b, PB_DTYPE_F32, tb ? s->n : s->k, tb ? s->k : s->n),
                      .c    = pb_tensor_2d(x->sums, PB_DTYPE_F32, s->m, s->n),
                      .args = {.transpose_a = ta, .transpose_b = tb, .alpha = 1.0f}};
}

static double plain_element(const bench *x, const operands *o, int64_t row, int64_t column)
{
    double sum = 0.0;
    for (int64_t p = 0; p < o->s.k; p++) {
        int64_t a = o->args.transpose_a ? p * o->s.m + row : row * o->s.k + p;
        int64_t b = o->args.transpose_b ? column * o->s.k + p : p * o->s.n + column;
        sum += (double)x->exact_a[a] * (double)x->exact_b[b];
    }
    return sum;
}

/* beta 0 must not read what C held. */
static pb_status check(bench *x, operands *o, float beta, bool *right)
{
    const double largest = (double)o->s.k * (25.0 / 9.0); /* of a sum of products */
    int64_t count        = o->s.m * o->s.n;
    for (int64_t i = 0; i < count; i++) {
        x->sums[i] = beta == 0.0f ? NAN : 2.0f;
    }
    o->args.beta = beta;
    PB_TRY(cpu_matmul(&x->c->base, &o->c, &o->a, &o->b, &o->args));
    for (int64_t i = 0; i < count; i += SAMPLE) {
        double expected = plain_element(x, o, i / o->s.n, i % o->s.n) + 2.0 * (double)beta;
        *right          = *right && fabs((double)x->sums[i] - expected) <= 1e-5 * (largest + 2.0);
    }
    return PB_OK;
}

/* Whether a library, which then computes the class, is right; else it says so. */
static pb_status try_library(bench *x, product_form form, product_shape shape,
                             product_library library, bool *right)
{
    operands o                     = operands_of(x, form, &examples[shape]);
    x->c->products.by[form][shape] = (uint8_t)library;
    *right                         = true;
    PB_TRY(check(x, &o, 1.0f, right));
    PB_TRY(check(x, &o, 0.0f, right));
    if (!*right) {
        pb_log_warn("%s %s products by %s are wrong on this processor and not used",
                    shape_names[shape], form_names[form], library_names[library]);
    }
    return PB_OK;
}

/* The seconds of one product by each library that is right, without those in which other work had
 * the processor: the best of some, in turns. One that is far behind has no more turns. */
static pb_status measure(bench *x, product_form form, product_shape shape,
                         product_trial trials[PRODUCT_LIBRARIES])
{
    const double far = 3.0;
    operands o       = operands_of(x, form, &examples[shape]);
    double fastest   = INFINITY;
    for (int i = 0; i < TRIALS * PRODUCT_LIBRARIES; i++) {
        product_trial *t = &trials[i % PRODUCT_LIBRARIES];
        if (!t->right || t->seconds > far * fastest) {
            continue;
        }
        x->c->products.by[form][shape] = (uint8_t)(i % PRODUCT_LIBRARIES);
        double begin                   = kernels_thread_seconds();
        PB_TRY(cpu_matmul(&x->c->base, &o.c, &o.a, &o.b, &o.args));
        double seconds = kernels_thread_seconds() - begin;
        t->seconds     = t->seconds == 0.0 || seconds < t->seconds ? seconds : t->seconds;
        fastest        = t->seconds < fastest ? t->seconds : fastest;
    }
    return PB_OK;
}

/* Where AMX has a class, oneDNN, which would use it too, has no part in that. */
static bool has_amx(const cpu *c, product_form form, product_shape shape)
{
    return c->base.bf16 && form != FORM_TN && shape == SHAPE_FULL && panel_amx_is_here();
}

static bool offers(const cpu *c, product_form form, product_shape shape, product_library library)
{
    switch (library) {
    case BY_F32:
        return c->onednn != NULL && !c->base.bf16;
    case BY_BF16:
        return c->onednn != NULL && c->base.bf16 && !has_amx(c, form, shape);
    case BY_AMX:
        return has_amx(c, form, shape);
    default:
        return true;
    }
}

/* The class is then computed by the best of the libraries. */
static pb_status choose(bench *x, product_form form, product_shape shape)
{
    product_trial trials[PRODUCT_LIBRARIES] = {{0}};
    product_library best                    = BY_BLAS;
    for (product_library i = BY_BLAS; i < PRODUCT_LIBRARIES; i++) {
        if (offers(x->c, form, shape, i)) {
            PB_TRY(try_library(x, form, shape, i, &trials[i].right));
        }
    }
    PB_TRY(measure(x, form, shape, trials));
    if (!products_pick(trials, &best)) {
        return PB_FAIL(PB_ERR_NUMERIC, "cpu: no library computes %s %s products rightly",
                       shape_names[shape], form_names[form]);
    }
    x->c->products.by[form][shape] = (uint8_t)best;
    pb_log_debug("%s %s products by %s: CBLAS %.3f ms, oneDNN %.3f ms, own %.3f ms",
                 shape_names[shape], form_names[form], library_names[best],
                 1e3 * trials[BY_BLAS].seconds,
                 1e3 * (trials[BY_F32].seconds + trials[BY_BF16].seconds),
                 1e3 * (trials[BY_OWN].seconds + trials[BY_AMX].seconds));
    return PB_OK;
}

static pb_status choose_all(bench *x)
{
    for (int i = 0; i < PRODUCT_FORMS * PRODUCT_SHAPES; i++) {
        PB_TRY(choose(x, (product_form)(i / PRODUCT_SHAPES), (product_shape)(i % PRODUCT_SHAPES)));
    }
    return PB_OK;
}

/* Full x W^T stands for all products, or for those by AMX, and one of the others for these. */
static pb_status choose_bf16(bench *x)
{
    products *p = &x->c->products;
    PB_TRY(choose(x, FORM_NT, SHAPE_FULL));
    product_library full = (product_library)p->by[FORM_NT][SHAPE_FULL];
    product_library rest = full;
    if (full == BY_AMX) {
        PB_TRY(choose(x, FORM_NT, SHAPE_FEW));
        rest = (product_library)p->by[FORM_NT][SHAPE_FEW];
    }
    *p                         = products_all(rest);
    p->by[FORM_NT][SHAPE_FULL] = (uint8_t)full;
    p->by[FORM_NN][SHAPE_FULL] = (uint8_t)full;
    return PB_OK;
}

/* Every backend of the process has the choice of the first: their bits are the same. */
static pb_status choose_bf16_once(bench *x)
{
    static products chosen;
    static bool known;
    if (!known) {
        PB_TRY(choose_bf16(x));
        chosen = x->c->products;
        known  = true;
    }
    x->c->products = chosen;
    return PB_OK;
}

/* A choice made before, on this machine or another. */
static pb_status check_all(bench *x)
{
    products given = x->c->products;
    for (int i = 0; i < PRODUCT_FORMS * PRODUCT_SHAPES; i++) {
        product_form form       = (product_form)(i / PRODUCT_SHAPES);
        product_shape shape     = (product_shape)(i % PRODUCT_SHAPES);
        product_library library = (product_library)given.by[form][shape];
        bool right              = true;
        if (library != BY_BLAS) {
            PB_TRY(try_library(x, form, shape, library, &right));
        }
        if (!right) {
            return PB_FAIL(PB_ERR_NUMERIC,
                           "cpu: %s %s products by %s, as chosen for this work, are wrong on this "
                           "processor; choose products = \"blas\"",
                           shape_names[shape], form_names[form], library_names[library]);
        }
    }
    return PB_OK;
}

static pb_status bench_open(cpu *c, bench *x, float **numbers)
{
    enum { A = M * K, B = N * K };
    PB_TRY(PB_ALLOC(*numbers, 2 * (A + B) + M * N));
    *x = (bench){.c       = c,
                 .a       = *numbers,
                 .b       = *numbers + A,
                 .exact_a = *numbers + A + B,
                 .exact_b = *numbers + 2 * A + B,
                 .sums    = *numbers + 2 * (A + B)};
    for (int i = 0; i < A + B; i++) {
        x->a[i] = (float)(i % 11 - 5) / 3.0f;
    }
    memcpy(x->exact_a, x->a, (A + B) * sizeof(float));
    if (c->base.bf16) {
        pb_floats_round_bf16(x->exact_a, A + B);
    }
    return PB_OK;
}

static void describe(cpu *c)
{
    char *text    = c->base.describe + c->described;
    size_t room   = sizeof c->base.describe - c->described;
    products bf16 = products_all(BY_BF16);
    bool own      = products_have(&c->products, BY_OWN) || products_have(&c->products, BY_AMX);
    products_write(&c->products, c->base.products);
    text[0] = '\0';
    if (memcmp(&c->products, &bf16, sizeof bf16) == 0) {
        (void)snprintf(text, room, ", BF16 products by %s", onednn_name());
    } else if (c->onednn != NULL || own) {
        (void)snprintf(text, room, ", %s%s%s for %s", c->onednn != NULL ? onednn_name() : "",
                       c->onednn != NULL && own ? " and " : "", own ? "own kernels" : "",
                       c->base.products);
    }
}

/* Sets the front by `how`, on one thread; without the library where that has no part in it. */
static pb_status settle(cpu *c, pb_status (*how)(bench *x))
{
    bench x          = {0};
    float *numbers   = NULL;
    int threads      = c->base.threads;
    c->base.threads  = 1;
    pb_status status = bench_open(c, &x, &numbers);
    status           = status == PB_OK ? how(&x) : status;
    c->base.threads  = threads;
    pb_memory_free(numbers);
    if (status != PB_OK) {
        c->products = products_all(BY_BLAS);
    }
    if (!products_have(&c->products, BY_F32) && !products_have(&c->products, BY_BF16)) {
        onednn_close(c->onednn);
        c->onednn = NULL;
    }
    describe(c);
    return status;
}

static pb_status open_again(cpu *c, bool wanted)
{
    onednn_close(c->onednn);
    c->onednn   = NULL;
    c->products = products_all(BY_BLAS);
    return wanted ? onednn_open(c->base.bf16, &c->onednn) : PB_OK;
}

pb_status cpu_use_dtype(pb_backend *be, pb_dtype dtype)
{
    cpu *c = (cpu *)be;
    PB_TRY(open_again(c, dtype == PB_DTYPE_BF16));
    if (dtype == PB_DTYPE_BF16 && (c->onednn != NULL || panel_amx_is_here())) {
        return settle(c, choose_bf16_once);
    }
    describe(c);
    return PB_OK;
}

pb_status cpu_use_products(pb_backend *be, const char *text)
{
    cpu *c         = (cpu *)be;
    bool automatic = strcmp(text, "auto") == 0;
    products given = products_all(BY_BLAS);
    if (!automatic && strcmp(text, "blas") != 0 && !products_read(text, &given)) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "products = \"%s\": expected auto, blas, or a choice as in \"nt=bf nn=bf "
                       "tn=bb\", of letters b, f, h, p and a",
                       text);
    }
    bool amx  = products_have(&given, BY_AMX);
    bool bf16 = products_have(&given, BY_BF16);
    if ((bf16 || amx) && !be->bf16) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "products = \"%s\" has BF16 factors (h, a): only with dtype bf16", text);
    }
    PB_TRY(open_again(c, automatic || bf16 || products_have(&given, BY_F32)));
    if (amx && !panel_amx_is_here()) {
        describe(c);
        return PB_FAIL(PB_ERR_CONFIG,
                       "products = \"%s\" needs AMX, which this machine or this build does not "
                       "have; choose products = \"blas\"",
                       text);
    }
    c->products = given;
    if (!automatic && c->onednn == NULL && (bf16 || products_have(&given, BY_F32))) {
        c->products = products_all(BY_BLAS);
        describe(c);
        return PB_FAIL(
            PB_ERR_CONFIG,
            "products = \"%s\" needs oneDNN%s, which this machine or this build does not "
            "have; install it, or choose products = \"blas\"",
            text, bf16 ? " with BF16 products" : "");
    }
    return settle(c, automatic ? choose_all : check_all);
}
