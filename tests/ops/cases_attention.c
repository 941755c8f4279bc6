// SPDX-License-Identifier: Apache-2.0
/* Cases of attention over forests: every shape that occurs in training and generation. */
#include "ops.h"

#include <math.h>
#include <string.h>

/* Does the query at `index` of segment `of` see key `k` of segment `s`? */
static bool sees(const op_case *c, int32_t s, int32_t of, int64_t index, int64_t k)
{
    const pb_segment *segments = c->with.forest.segments;
    int64_t window             = c->with.attention.window;
    int64_t query_position     = segments[of].position + index;
    if (s == of && k > index) {
        return false;
    }
    return window == 0 || segments[s].position + k > query_position - window;
}

/* One query head: scores of the whole chain, their softmax, the sum of values. */
static void naive_query(const op_case *c, double *const *in, double *const *out, int64_t slot,
                        int32_t of, int64_t index, int64_t h)
{
    enum { MOST_KEYS = 8192 };
    static double scores[MOST_KEYS];
    static const double *values[MOST_KEYS];
    const pb_attention_args *a = &c->with.attention;
    const pb_segment *segments = c->with.forest.segments;
    int64_t e                  = a->head_dim;
    int64_t kv_width           = a->kv_heads * e;
    int64_t column             = h / (a->heads / a->kv_heads) * e;
    const double *q            = in[0] + slot * a->heads * e + h * e;
    double *y                  = out[0] + slot * a->heads * e + h * e;
    double max                 = -INFINITY;
    double sum                 = 0;
    int64_t count              = 0;
    for (int32_t s = of; s >= 0; s = segments[s].parent) {
        for (int64_t k = 0; k < segments[s].length; k++) {
            if (sees(c, s, of, index, k)) {
                int64_t at    = (segments[s].key + k) * kv_width + column;
                values[count] = in[2] + at;
                scores[count] = 0;
                for (int64_t i = 0; i < e; i++) {
                    scores[count] += q[i] * in[1][at + i];
                }
                scores[count] *= (double)a->scale;
                max = fmax(max, scores[count++]);
            }
        }
    }
    memset(y, 0, (size_t)e * sizeof *y);
    for (int64_t k = 0; k < count; k++) {
        double p = exp(scores[k] - max);
        sum += p;
        for (int64_t i = 0; i < e; i++) {
            y[i] += p * values[k][i];
        }
    }
    for (int64_t i = 0; i < e; i++) {
        y[i] /= sum;
    }
    out[1][slot * a->heads + h] = max + log(sum);
}

static void naive_attention(const op_case *c, double *const *in, double *const *out)
{
    const pb_attention_args *a = &c->with.attention;
    for (int64_t slot = 0; slot < c->in[0].rows; slot++) {
        int64_t row = a->only_rows != NULL ? a->only_rows[slot] : slot;
        for (int32_t i = 0; i < c->with.forest.count; i++) {
            const pb_segment *s = &c->with.forest.segments[i];
            if (row >= s->row && row < s->row + s->rows) {
                for (int64_t h = 0; h < a->heads; h++) {
                    naive_query(c, in, out, slot, i, row - s->row + s->length - s->rows, h);
                }
            }
        }
    }
}

static pb_status plan_of(const op_case *c, pb_backend *be, pb_attention_plan *plan)
{
    PB_TRY(pb_page_begin(be, 0));
    PB_TRY(pb_page_plan(be, &c->with.attention, plan));
    return pb_page_end(be);
}

static pb_status attention(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out)
{
    pb_attention_plan plan;
    PB_TRY(plan_of(c, be, &plan));
    return pb_attention_forward(be, &out[0], &out[1], &in[0], &in[1], &in[2], &plan);
}

static pb_status attention_backward(const op_case *c, pb_backend *be, pb_tensor *in, pb_tensor *out,
                                    pb_tensor *dout, pb_tensor *din)
{
    pb_attention_plan plan;
    PB_TRY(plan_of(c, be, &plan));
    return pb_attention_backward(be, &din[0], &din[1], &din[2], &dout[0], &out[0], &out[1], &in[0],
                                 &in[1], &in[2], &plan);
}

typedef struct shape {
    int64_t heads, kv_heads, width, window;
    int64_t only; /* every n-th row only; 0: all */
} shape;

/* {rows, length, parent} of each segment; keys and positions follow from the order. */
typedef struct branch {
    int64_t rows, length;
    int32_t parent;
} branch;

static void add(const char *what, const branch *branches, int64_t count, shape s)
{
    op_case *c = ops_add("attention", "%s h%d/%d e%d window %d only %d", what, (int)s.heads,
                         (int)s.kv_heads, (int)s.width, (int)s.window, (int)s.only);
    pb_segment *segments = ops_keep((size_t)count * sizeof *segments);
    pb_forest *forest    = &c->with.forest;
    double pairs         = 0;
    for (int64_t i = 0; i < count; i++) {
        const branch *b     = &branches[i];
        const pb_segment *p = b->parent >= 0 ? &segments[b->parent] : NULL;
        segments[i]         = (pb_segment){.row      = forest->rows,
                                           .rows     = b->rows,
                                           .key      = forest->keys + 1, /* a gap */
                                           .length   = b->length,
                                           .position = p != NULL ? p->position + p->length : 0,
                                           .parent   = b->parent};
        forest->rows += b->rows;
        forest->keys += b->length + 1;
        pairs += (double)b->rows *
                 ((double)segments[i].position + (double)b->length - 0.5 * (double)(b->rows - 1));
    }
    forest->segments        = segments;
    forest->count           = count;
    pb_attention_args *args = &c->with.attention;
    *args                   = (pb_attention_args){.forest   = forest,
                                                  .heads    = s.heads,
                                                  .kv_heads = s.kv_heads,
                                                  .head_dim = s.width,
                                                  .scale    = (float)(1.0 / sqrt((double)s.width)),
                                                  .window   = s.window,
                                                  .backward = true};
    int64_t queries         = forest->rows;
    if (s.only > 0) {
        int32_t *rows = ops_keep((size_t)forest->rows * sizeof *rows);
        queries       = 0;
        for (int64_t r = s.only / 2; r < forest->rows; r += s.only) {
            rows[queries++] = (int32_t)r;
        }
        args->only_rows  = rows;
        args->only_count = queries;
    }
    c->in[0]           = ops_matrix("q", queries, s.heads * s.width, OP_GRAD_SET);
    c->in[1]           = ops_matrix("keys", forest->keys + 2, s.kv_heads * s.width, OP_GRAD_SET);
    c->in[2]           = ops_matrix("values", forest->keys + 2, s.kv_heads * s.width, OP_GRAD_SET);
    c->out[0]          = ops_matrix("out", queries, s.heads * s.width, OP_GRAD_NONE);
    c->out[1]          = ops_matrix("lse", queries, s.heads, OP_GRAD_NONE);
    c->out[1].constant = true;
    c->ins             = 3;
    c->outs            = 2;
    c->range           = 2.0;
    c->naive           = naive_attention;
    c->forward         = attention;
    c->backward        = attention_backward;
    c->flops           = 4.0 * pairs * (double)(s.heads * s.width);
    c->backward_factor = 2.5;
    c->slow            = forest->rows > 400 || forest->keys > 4000;
}

#define COUNT(list) ((int64_t)(sizeof(list) / sizeof(list)[0]))

static void add_shapes(void)
{
    static const branch rows[]    = {{5, 5, -1}, {1, 1, -1}, {12, 12, -1}};
    static const branch shared[]  = {{6, 6, -1}, {3, 3, 0}, {1, 1, 0}, {7, 7, 0}};
    static const branch levels[]  = {{4, 4, -1}, {5, 5, 0}, {2, 2, 1},  {3, 3, 1},
                                     {4, 4, 0},  {2, 2, 4}, {3, 3, -1}, {2, 2, 6}};
    static const branch prefix[]  = {{0, 5, -1}, {4, 4, 0}, {6, 6, 0}};
    static const branch cached[]  = {{0, 9, -1}, {1, 4, 0}, {1, 1, 0}, {1, 12, 0}};
    static const branch several[] = {{0, 4, -1}, {3, 8, 0}, {5, 11, 0}};
    static const branch empty[]   = {{0, 0, -1}, {3, 3, 0}, {0, 0, 0}, {2, 2, 2}, {0, 0, -1}};
    static const branch mixed[]   = {{3, 3, -1}, {3, 3, -1}, {2, 2, 0}, {4, 4, 1}, {1, 1, 0}};
    static const struct {
        const char *name;
        const branch *list;
        int64_t count;
    } forests[] = {
        {"rows", rows, COUNT(rows)},       {"shared", shared, COUNT(shared)},
        {"levels", levels, COUNT(levels)}, {"prefix", prefix, COUNT(prefix)},
        {"cached", cached, COUNT(cached)}, {"several", several, COUNT(several)},
        {"empty", empty, COUNT(empty)},    {"interleaved", mixed, COUNT(mixed)},
    };
    for (size_t i = 0; i < sizeof forests / sizeof forests[0]; i++) {
        add(forests[i].name, forests[i].list, forests[i].count, (shape){2, 2, 8, 0, 0});
        add(forests[i].name, forests[i].list, forests[i].count, (shape){4, 2, 16, 0, 0});
        add(forests[i].name, forests[i].list, forests[i].count, (shape){4, 1, 8, 3, 0});
        add(forests[i].name, forests[i].list, forests[i].count, (shape){4, 2, 8, 0, 3});
        add(forests[i].name, forests[i].list, forests[i].count, (shape){8, 1, 8, 4, 2});
    }
}

void ops_add_attention(void)
{
    static const branch long_rows[] = {{80, 80, -1}, {70, 70, -1}};
    static const branch long_tree[] = {{66, 270, -1}, {10, 10, 0}, {66, 70, 0}, {1, 1, 2}};
    static const branch widths_of[] = {{4, 4, -1}, {5, 9, 0}, {6, 6, 1}};
    static const int64_t widths[]   = {8, 16, 32, 64, 128, 5, 20};
    static const int64_t groups[]   = {1, 2, 4, 8};
    add_shapes();
    for (int64_t i = 0; i < COUNT(widths); i++) {
        add("widths", widths_of, COUNT(widths_of), (shape){4, 2, widths[i], 0, 0});
    }
    for (int64_t i = 0; i < COUNT(groups); i++) {
        add("long rows", long_rows, COUNT(long_rows), (shape){groups[i], 1, 8, 0, 0});
    }
    add("long tree", long_tree, COUNT(long_tree), (shape){1, 1, 64, 0, 0});
    add("long tree", long_tree, COUNT(long_tree), (shape){2, 2, 8, 33, 0});
    add("long tree", long_tree, COUNT(long_tree), (shape){2, 2, 8, 260, 5});
    add("long tree", long_tree, COUNT(long_tree), (shape){100, 1, 8, 0, 25});

    /* Only timed: training with and without a shared prefix, generation. */
    static const branch train[]  = {{512, 512, -1}, {512, 512, -1}, {512, 512, -1}, {512, 512, -1}};
    static const branch prompt[] = {{200, 200, -1}, {60, 60, 0}, {60, 60, 0}, {60, 60, 0},
                                    {60, 60, 0},    {60, 60, 0}, {60, 60, 0}, {60, 60, 0}};
    static const branch long_one[] = {{4096, 4096, -1}};
    branch decode[33]              = {{0, 200, -1}};
    for (int64_t i = 1; i < COUNT(decode); i++) {
        decode[i] = (branch){1, 300, 0};
    }
    add("perf rows", train, COUNT(train), (shape){32, 8, 64, 0, 0});
    add("perf rows", train, COUNT(train), (shape){8, 8, 128, 0, 0});
    add("perf rows", train, COUNT(train), (shape){8, 4, 8, 0, 0});
    add("perf rows", train, COUNT(train), (shape){8, 2, 16, 0, 0});
    add("perf prompt", prompt, COUNT(prompt), (shape){32, 8, 64, 0, 0});
    add("perf prompt", prompt, COUNT(prompt), (shape){8, 2, 16, 0, 0});
    add("perf long", long_one, COUNT(long_one), (shape){4, 1, 64, 0, 0});
    add("perf decode", decode, COUNT(decode), (shape){32, 8, 64, 0, 0});
    add("perf decode", decode, COUNT(decode), (shape){8, 8, 8, 0, 0});
}
