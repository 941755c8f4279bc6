// SPDX-License-Identifier: Apache-2.0
/* Which bits depend on what: products on their number of rows, on padding, and on borders of zeros;
 * a training run on the gang that it is part of. */
#include "products.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Rows are rounded up as passes would be. */
static int64_t bucket_of(int64_t rows)
{
    int64_t step = rows <= 256 ? 32 : rows <= 1024 ? 64 : rows <= 4096 ? 128 : 256;
    return (rows + step - 1) / step * step;
}

static pb_status multiply(pb_backend *be, const product *p, pb_tensor *c, const pb_tensor *a)
{
    const pb_matmul_args args = {.transpose_b = p->transposed, .alpha = 1.0f};
    return pb_matmul(be, c, a, &p->b, &args);
}

/* Rows of `t` on the host, as F32. */
static pb_status read_rows(pb_backend *be, const pb_tensor *t, int64_t first, int64_t count,
                           float *values)
{
    pb_tensor from = pb_tensor_rows(t, first, count);
    pb_tensor to   = pb_tensor_2d(values, PB_DTYPE_F32, count, t->shape[1]);
    return pb_copy(be, &to, &from);
}

typedef struct comparison {
    float *alone, *other; /* [rows, columns] */
    size_t bytes;
} comparison;

/* c = a · b for rows first … first + rows of a, as part of a product of `all` rows from `begin`. */
static pb_status compare_rows(pb_backend *be, const product *p, int64_t begin, int64_t all,
                              int64_t first, int64_t rows, comparison *d, bool *same)
{
    pb_tensor a = pb_tensor_rows(&p->a, begin, all);
    pb_tensor c = pb_tensor_rows(&p->c, begin, all);
    PB_TRY(multiply(be, p, &c, &a));
    PB_TRY(read_rows(be, &p->c, first, rows, d->other));
    *same = memcmp(d->alone, d->other, d->bytes) == 0;
    return PB_OK;
}

/* The product has three times the rows: those of the cell are in the middle. */
static pb_status check_rows(const bench *b, pb_backend *be, const product *p, int64_t rows,
                            const char *what, const char *sizes)
{
    int64_t bucket = bucket_of(rows);
    int64_t total  = p->a.shape[0];
    comparison d   = {.bytes = (size_t)(rows * p->c.shape[1]) * sizeof(float)};
    bool padded    = false;
    bool among     = false;
    char name[BENCH_TEXT];
    pb_status status = PB_OK;
    pb_tensor a      = pb_tensor_rows(&p->a, bucket, rows);
    pb_tensor c      = pb_tensor_rows(&p->c, bucket, rows);
    PB_TRY_GOTO(status, PB_ALLOC(d.alone, rows * p->c.shape[1]), done);
    PB_TRY_GOTO(status, PB_ALLOC(d.other, rows * p->c.shape[1]), done);
    PB_TRY_GOTO(status, multiply(be, p, &c, &a), done);
    PB_TRY_GOTO(status, read_rows(be, &p->c, bucket, rows, d.alone), done);
    PB_TRY_GOTO(status, compare_rows(be, p, bucket, bucket, bucket, rows, &d, &padded), done);
    PB_TRY_GOTO(status, compare_rows(be, p, 0, total, bucket, rows, &d, &among), done);
    (void)snprintf(name, sizeof name, "%s: same in its bucket", what);
    put_verdict(b, name, sizes, padded, "");
    (void)snprintf(name, sizeof name, "%s: same among others", what);
    put_verdict(b, name, sizes, among, "");
done:
    pb_memory_free(d.alone);
    pb_memory_free(d.other);
    return status;
}

/* The block with zeros beside and below its matrix against the matrix alone. */
static pb_status check_border(const bench *b, pb_backend *be, const weight_shape *w, bool backward,
                              int64_t rows, const char *what, const char *sizes)
{
    enum { BORDER = 64 };
    product with = {0};
    comparison d = {0};
    bool same    = false;
    char name[BENCH_TEXT];
    pb_status status = PB_OK;
    PB_TRY(product_open(b, be, rows, w, backward, BORDER, 1, &with));
    int64_t columns = with.c.shape[1];
    d.bytes         = (size_t)(rows * columns) * sizeof(float);
    /* The border's share of the sum: columns of a and of W forward, rows of W backward. */
    pb_tensor beside = pb_tensor_columns(&with.block, w->in, BORDER);
    pb_tensor below  = pb_tensor_rows(&with.block, w->out, BORDER);
    product without  = with;
    int64_t inner    = backward ? w->out : w->in;
    pb_tensor a      = pb_tensor_columns(&with.a, 0, inner);
    without.b =
        backward ? pb_tensor_rows(&with.b, 0, w->out) : pb_tensor_columns(&with.b, 0, w->in);
    PB_TRY_GOTO(status, pb_zero(be, &beside), done);
    PB_TRY_GOTO(status, pb_zero(be, &below), done);
    PB_TRY_GOTO(status, PB_ALLOC(d.alone, rows * columns), done);
    PB_TRY_GOTO(status, PB_ALLOC(d.other, rows * columns), done);
    PB_TRY_GOTO(status, multiply(be, &without, &with.c, &a), done);
    PB_TRY_GOTO(status, read_rows(be, &with.c, 0, rows, d.alone), done);
    PB_TRY_GOTO(status, compare_rows(be, &with, 0, rows, 0, rows, &d, &same), done);
    (void)snprintf(name, sizeof name, "%s: same with a border of zeros", what);
    put_verdict(b, name, sizes, same, "");
done:
    pb_memory_free(d.alone);
    pb_memory_free(d.other);
    product_close(be, &with);
    return status;
}

static pb_status check_product(const bench *b, pb_backend *be, const weight_shape *w, int64_t rows,
                               bool backward, const char *sizes)
{
    const char *what = backward ? "dx" : "forward";
    product p;
    PB_TRY(product_open(b, be, 3 * bucket_of(rows), w, backward, 0, 1, &p));
    pb_status status = check_rows(b, be, &p, rows, what, sizes);
    product_close(be, &p);
    PB_TRY(status);
    return check_border(b, be, w, backward, rows, what, sizes);
}

static void check_products(const bench *b, pb_dtype type)
{
    static const int64_t rows[] = {440, 110, 1760};
    pb_backend *be              = NULL;
    pb_status status            = open_device(b, type, &be);
    if (status != PB_OK) {
        put_failure(b, "products", pb_dtype_name(type), status);
        return;
    }
    if (pb_backend_is_host(be)) {
        put_text(b, "products", "left out: on the CPU their bits may depend on their sizes");
        pb_backend_close(be);
        return;
    }
    for (size_t r = 0; r < (b->tiny ? 1 : sizeof rows / sizeof *rows); r++) {
        int64_t count = b->tiny ? rows[r] / 20 : rows[r];
        for (int i = 0; i < 2 * WEIGHT_SHAPES; i++) {
            const weight_shape *w = weight_shape_at(b, i / 2);
            char sizes[BENCH_TEXT];
            (void)snprintf(sizes, sizeof sizes, "%s, %" PRId64 " rows, %s", w->name, count,
                           pb_dtype_name(type));
            if (!item_begin(b, i % 2 == 1 ? "dx" : "forward", sizes)) {
                continue;
            }
            status = check_product(b, be, w, count, i % 2 == 1, sizes);
            if (status != PB_OK) {
                put_failure(b, "products", sizes, status);
            }
        }
    }
    pb_backend_close(be);
}

/* Gangs --------------------------------------------------------------------------------------- */

/* Losses [members][steps] of a gang, and the values of all its members. */
typedef struct gang_run {
    training curves;
    float *values[SETUP_MEMBERS];
    int64_t parameters;
} gang_run;

static void free_gang_run(gang_run *g)
{
    training_free(&g->curves);
    for (int m = 0; m < SETUP_MEMBERS; m++) {
        pb_memory_free(g->values[m]);
    }
}

/* Runs members 0 … count - 1 of a gang, or `only` alone; below 0: all of them. */
static pb_status run_gang(const bench *b, pb_dtype type, const made_rows *rows, int count, int only,
                          gang_run *out)
{
    const char *shape = b->tiny ? "tiny" : "smollm2-135m";
    setup s           = {0};
    pb_status status  = PB_OK;
    PB_TRY(setup_open(b, shape, type, "name = \"lora\"; r = 8;", count, NULL, &s));
    setup part = s;
    if (only >= 0) {
        part.nets[0]    = s.nets[only];
        part.methods[0] = s.methods[only];
        part.count      = 1;
    }
    PB_TRY_GOTO(status, train(&part, rows, 4, 0, b->tiny ? 2 : 5, &out->curves), done);
    out->parameters = part.methods[0]->parameters;
    for (int m = 0; m < part.count; m++) {
        PB_TRY_GOTO(status, PB_ALLOC(out->values[m], out->parameters), done);
        pb_tensor to = pb_tensor_1d(out->values[m], PB_DTYPE_F32, out->parameters);
        PB_TRY_GOTO(status, pb_copy(s.be, &to, &part.methods[m]->values), done);
    }
done:
    setup_close(&s);
    return status;
}

static pb_status compare_member(const bench *b, pb_dtype type, const made_rows *rows, int count,
                                int member, const gang_run *gang, bool *same)
{
    gang_run alone   = {0};
    pb_status status = run_gang(b, type, rows, count, member, &alone);
    if (status == PB_OK) {
        int64_t steps        = gang->curves.steps;
        const double *losses = gang->curves.losses + member * steps;
        size_t bytes         = (size_t)gang->parameters * sizeof(float);
        *same = memcmp(losses, alone.curves.losses, (size_t)steps * sizeof(double)) == 0 &&
                memcmp(gang->values[member], alone.values[0], bytes) == 0;
    }
    free_gang_run(&alone);
    return PB_FRAME(status);
}

/* The first member, and the last one, before whose rows are those of all others. */
static pb_status check_gang(const bench *b, pb_dtype type, const made_rows *rows, int count,
                            const char *sizes)
{
    gang_run gang    = {0};
    bool first       = false;
    bool last        = false;
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, run_gang(b, type, rows, count, -1, &gang), done);
    PB_TRY_GOTO(status, compare_member(b, type, rows, count, 0, &gang, &first), done);
    PB_TRY_GOTO(status, compare_member(b, type, rows, count, count - 1, &gang, &last), done);
    put_verdict(b, "member of a gang as if alone", sizes, first && last,
                first == last ? "losses and values of the first and the last"
                : first       ? "the last is not"
                              : "the first is not");
done:
    free_gang_run(&gang);
    return status;
}

static void check_gangs(const bench *b)
{
    static const int counts[]     = {2, 4};
    static const pb_dtype types[] = {PB_DTYPE_BF16, PB_DTYPE_F32};
    made_rows rows                = {0};
    pb_status status = rows_make(16, b->tiny ? 9 : 110, b->tiny ? 6 : 102, 500, 3, &rows);
    for (size_t i = 0; status == PB_OK && i < 4; i++) {
        char sizes[BENCH_TEXT];
        (void)snprintf(sizes, sizeof sizes, "gang of %d, %s", counts[i % 2],
                       pb_dtype_name(types[i / 2]));
        if (!item_begin(b, "member of a gang as if alone", sizes)) {
            continue;
        }
        pb_status one = check_gang(b, types[i / 2], &rows, counts[i % 2], sizes);
        if (one != PB_OK) {
            put_failure(b, "member of a gang as if alone", sizes, one);
        }
    }
    if (status != PB_OK) {
        put_failure(b, "gangs", "", status);
    }
    rows_free(&rows);
}

pb_status part_bits(const bench *b)
{
    check_gangs(b);
    check_products(b, PB_DTYPE_BF16);
    check_products(b, PB_DTYPE_F32);
    return operations_bits(b);
}
