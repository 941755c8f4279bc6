// SPDX-License-Identifier: Apache-2.0
/* Attention over the forests of training, and the operations that are bound by memory. */
#include "setup.h"

#include "pb/linear.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Attention ----------------------------------------------------------------------------------- */

/* `roots` segments without a parent, `branches` below each. */
typedef struct trees {
    const char *name;
    int64_t roots, root_rows, branches, branch_rows;
} trees;

typedef struct attention {
    pb_attention_plan plan;
    pb_tensor q, keys, values, out, lse;
    pb_tensor dq, dkeys, dvalues, dout;
} attention;

static pb_status make_forest(const trees *t, pb_forest *forest, pb_segment **segments)
{
    int64_t count = t->roots * (1 + t->branches);
    PB_TRY(PB_ALLOC(*segments, count));
    *forest = (pb_forest){.segments = *segments, .count = count};
    for (int64_t i = 0; i < count; i++) {
        bool root      = i % (1 + t->branches) == 0;
        int64_t rows   = root ? t->root_rows : t->branch_rows;
        (*segments)[i] = (pb_segment){.row      = forest->rows,
                                      .rows     = rows,
                                      .key      = forest->rows,
                                      .length   = rows,
                                      .position = root ? 0 : t->root_rows,
                                      .parent   = root ? -1 : (int32_t)(i - i % (1 + t->branches))};
        forest->rows += rows;
    }
    forest->keys = forest->rows;
    return PB_OK;
}

static pb_status open_attention(const bench *b, pb_backend *be, const pb_attention_args *args,
                                attention *a)
{
    pb_dtype act   = pb_backend_activation(be);
    int64_t rows   = args->forest->rows;
    int64_t width  = args->heads * args->head_dim;
    int64_t narrow = args->kv_heads * args->head_dim;
    PB_TRY(random_matrix(b, be, act, rows, width, 1, &a->q));
    PB_TRY(random_matrix(b, be, act, rows, narrow, 2, &a->keys));
    PB_TRY(random_matrix(b, be, act, rows, narrow, 3, &a->values));
    PB_TRY(random_matrix(b, be, act, rows, width, 4, &a->dout));
    PB_TRY(random_matrix(b, be, act, rows, width, 5, &a->out));
    PB_TRY(random_matrix(b, be, act, rows, width, 5, &a->dq));
    PB_TRY(random_matrix(b, be, act, rows, narrow, 5, &a->dkeys));
    PB_TRY(random_matrix(b, be, act, rows, narrow, 5, &a->dvalues));
    PB_TRY(random_matrix(b, be, PB_DTYPE_F32, rows, args->heads, 5, &a->lse));
    PB_TRY(pb_page_begin(be, 0));
    PB_TRY(pb_page_plan(be, args, &a->plan));
    return pb_page_end(be);
}

static void close_attention(pb_backend *be, attention *a)
{
    const pb_tensor all[] = {a->q,  a->keys,  a->values,  a->out, a->lse,
                             a->dq, a->dkeys, a->dvalues, a->dout};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        pb_backend_free(be, all[i].data);
    }
}

static pb_status call_forward(pb_backend *be, void *context)
{
    attention *a = context;
    return pb_attention_forward(be, &a->out, &a->lse, &a->q, &a->keys, &a->values, &a->plan);
}

static pb_status call_backward(pb_backend *be, void *context)
{
    attention *a = context;
    return pb_attention_backward(be, &a->dq, &a->dkeys, &a->dvalues, &a->dout, &a->out, &a->lse,
                                 &a->q, &a->keys, &a->values, &a->plan);
}

/* 2 products of the visible pairs forward, 5 backward, whatever is computed. */
static pb_status measure_attention(const bench *b, pb_backend *be, attention *a, const char *sizes)
{
    const pb_attention_args *args = &a->plan.args;
    double flops                  = 4.0 * a->plan.pairs * (double)(args->heads * args->head_dim);
    double seconds                = 0.0;
    PB_TRY(time_call(b, be, call_forward, a, &seconds));
    put_figure(b, "attention forward", sizes, flops / seconds * 1e-12, "TFLOP/s");
    PB_TRY(time_call(b, be, call_backward, a, &seconds));
    put_figure(b, "attention backward", sizes, 2.5 * flops / seconds * 1e-12, "TFLOP/s");
    return PB_OK;
}

static pb_status try_attention(const bench *b, pb_backend *be, const trees *t, int64_t width,
                               const char *sizes)
{
    int64_t heads        = b->tiny ? 4 : 32;
    attention a          = {0};
    pb_forest forest     = {0};
    pb_segment *segments = NULL;
    PB_TRY(make_forest(t, &forest, &segments));
    pb_attention_args args = {.forest   = &forest,
                              .heads    = heads,
                              .kv_heads = heads / 4,
                              .head_dim = width,
                              .scale    = 1.0f / sqrtf((float)width),
                              .backward = true};
    pb_status status       = open_attention(b, be, &args, &a);
    status                 = status == PB_OK ? measure_attention(b, be, &a, sizes) : status;
    close_attention(be, &a);
    pb_memory_free(segments);
    return PB_FRAME(status);
}

static void put_attention(const bench *b, pb_backend *be)
{
    static const trees large[] = {{"2 rows of 4096", 2, 4096, 0, 0},
                                  {"GLUE, 64 rows of 60 below a prefix of 48", 1, 48, 64, 60},
                                  {"4 rows of 110", 4, 110, 0, 0}};
    static const trees tiny[]  = {{"2 rows of 40", 2, 40, 0, 0},
                                  {"GLUE, 4 rows of 6 below a prefix of 8", 1, 8, 4, 6}};
    const trees *list          = b->tiny ? tiny : large;
    size_t count = b->tiny ? sizeof tiny / sizeof *tiny : sizeof large / sizeof *large;
    for (size_t i = 0; i < count; i++) {
        for (int64_t width = 128; width >= 64; width -= 64) {
            char sizes[BENCH_TEXT];
            (void)snprintf(sizes, sizeof sizes, "%s, E %" PRId64, list[i].name, width);
            if (!item_begin(b, "attention", sizes)) {
                continue;
            }
            pb_status status = try_attention(b, be, &list[i], width, sizes);
            if (status != PB_OK) {
                put_failure(b, "attention", sizes, status);
            }
        }
    }
}

/* Operations bound by memory ------------------------------------------------------------------ */

enum { WIDE = 5 };

/* Tensors that the operations share: x F32 [T, D] and act [T, F]. */
typedef struct streams {
    pb_tensor f32[WIDE]; /* [T, D] */
    pb_tensor act[WIDE]; /* [T, F] */
    pb_tensor weight;    /* [D] */
    pb_tensor rope;      /* [T, E] */
    pb_tensor logits;    /* [U, V] */
    pb_tensor losses;    /* F64 [U] */
    pb_tensor numbers, table;
    pb_tensor kept, room;
    pb_low_rank part; /* r 16, [D, D] */
    pb_list positions, ids, targets;
    int64_t heads, turn;
    void *memory[2];
} streams;

typedef struct memory_case {
    const char *name;
    timed_call *call;
    double reads_f32, writes_f32; /* of x [T, D] */
    double reads_act, writes_act; /* of [T, F] */
    bool half;                    /* act is counted as [T, D] */
} memory_case;

/* x of the type of activations, as wide as the residual stream: other columns at every call, so
 * that they do not come from the device's cache. */
static pb_tensor hidden(streams *s, int index)
{
    int64_t width = s->f32[0].shape[1];
    int64_t turn  = s->turn++ % (s->act[index].shape[1] / width);
    return pb_tensor_columns(&s->act[index], turn * width, width);
}

static pb_status call_norm(pb_backend *be, void *context)
{
    streams *s                 = context;
    pb_tensor y                = hidden(s, 0);
    const pb_rmsnorm_args args = {.eps = 1e-5f};
    return pb_rmsnorm_forward(be, &y, &s->f32[0], &s->weight, &args);
}

static pb_status call_norm_backward(pb_backend *be, void *context)
{
    streams *s                 = context;
    pb_tensor dy               = hidden(s, 0);
    const pb_rmsnorm_args args = {.eps = 1e-5f, .add = true};
    return pb_rmsnorm_backward(be, &s->f32[1], NULL, &dy, &s->f32[0], &s->weight, &args);
}

static pb_status call_rope(pb_backend *be, void *context)
{
    streams *s  = context;
    pb_tensor x = hidden(s, 1);
    return pb_rope(be, &x, &s->rope, &s->positions, s->heads, false);
}

static pb_status call_gated(pb_backend *be, void *context)
{
    streams *s = context;
    return pb_gated_forward(be, &s->act[0], &s->act[1], &s->act[2], PB_ACTIVATION_SILU);
}

static pb_status call_gated_backward(pb_backend *be, void *context)
{
    streams *s = context;
    return pb_gated_backward(be, &s->act[3], &s->act[4], &s->act[0], &s->act[1], &s->act[2],
                             PB_ACTIVATION_SILU);
}

static pb_status call_add(pb_backend *be, void *context)
{
    streams *s         = context;
    const pb_tensor dx = hidden(s, 0);
    return pb_axpy(be, &s->f32[1], 1.0f, &dx);
}

static pb_status call_dropout(pb_backend *be, void *context)
{
    streams *s         = context;
    const pb_mask mask = {.seed = 1, .stride = 1};
    pb_tensor y        = hidden(s, 1);
    const pb_tensor x  = hidden(s, 2);
    return pb_dropout(be, &y, &x, 0.05, &mask);
}

static pb_status call_embedding(pb_backend *be, void *context)
{
    streams *s = context;
    return pb_embedding_forward(be, &s->f32[2], &s->table, &s->ids, 1.0f);
}

static pb_status call_low_rank(pb_backend *be, void *context)
{
    streams *s        = context;
    pb_tensor y       = hidden(s, 0);
    const pb_tensor x = hidden(s, 1);
    return pb_low_rank_forward(be, &y, &x, &s->part, &s->kept, &s->room);
}

static pb_status call_low_rank_backward(pb_backend *be, void *context)
{
    streams *s         = context;
    pb_tensor dx       = hidden(s, 0);
    const pb_tensor dy = hidden(s, 1);
    const pb_tensor x  = hidden(s, 2);
    return pb_low_rank_backward(be, &dx, &dy, &x, &s->part, &s->kept, &s->room, true);
}

static const memory_case cases[] = {
    {"rmsnorm forward", call_norm, 1, 0, 0, 1, true},
    {"rmsnorm backward", call_norm_backward, 2, 1, 1, 0, true},
    {"rope", call_rope, 0, 0, 1, 1, true},
    {"gated forward", call_gated, 0, 0, 2, 1, false},
    {"gated backward", call_gated_backward, 0, 0, 3, 2, false},
    {"residual", call_add, 1, 1, 1, 0, true},
    {"dropout", call_dropout, 0, 0, 1, 1, true},
    {"embedding", call_embedding, 0, 1, 1, 0, true},
    {"low rank forward", call_low_rank, 0, 0, 2, 1, true},
    {"low rank backward", call_low_rank_backward, 0, 0, 3, 1, true},
};

static pb_status call_loss(pb_backend *be, void *context)
{
    streams *s      = context;
    pb_tensor scale = pb_tensor_rows(&s->weight, 0, 1);
    return pb_cross_entropy(be, &s->losses, &s->logits, &s->targets, &scale);
}

static pb_status call_adamw(pb_backend *be, void *context)
{
    streams *s                = context;
    const pb_adamw_tensor all = {.value  = s->f32[0],
                                 .first  = s->f32[1],
                                 .second = s->f32[2],
                                 .grad   = s->f32[3],
                                 .rate   = 1.0};
    const pb_adamw_args args  = {.lr = 1e-6, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1};
    return pb_adamw(be, &all, 1, &s->numbers, &args);
}

/* Lists of the page: 0, 1, 2, … below `limit`, again and again. */
static pb_status put_lists(pb_backend *be, streams *s, int64_t rows, int64_t vocabulary)
{
    int32_t *numbers = NULL;
    pb_status status = PB_OK;
    PB_TRY(PB_ALLOC(numbers, 2 * rows));
    for (int64_t i = 0; i < rows; i++) {
        numbers[i]        = (int32_t)i;
        numbers[rows + i] = (int32_t)(i * 7919 % vocabulary);
    }
    PB_TRY_GOTO(status, pb_list_open(be, "positions", numbers, rows, 0, rows, &s->positions), done);
    PB_TRY_GOTO(status, pb_list_open(be, "ids", numbers + rows, rows, -1, vocabulary, &s->ids),
                done);
    PB_TRY_GOTO(
        status,
        pb_list_open(be, "targets", numbers + rows, s->logits.shape[0], 0, vocabulary, &s->targets),
        done);
done:
    pb_memory_free(numbers);
    return status;
}

static pb_status put_rope(pb_backend *be, streams *s, int64_t rows, int64_t width)
{
    const pb_rope_config rope = {.theta = 1e4};
    float *values             = NULL;
    PB_TRY(PB_ALLOC(values, rows * width));
    const pb_tensor from = pb_tensor_2d(values, PB_DTYPE_F32, rows, width);
    pb_status status     = pb_model_rope_table(&rope, width, rows, values);
    status               = status == PB_OK ? pb_copy(be, &s->rope, &from) : status;
    pb_memory_free(values);
    return PB_FRAME(status);
}

static pb_status put_part(const bench *b, pb_backend *be, streams *s, int64_t rows, int64_t width)
{
    enum { R = 16 };
    pb_low_rank *part = &s->part;
    part->scale       = 1e-3f;
    PB_TRY(random_matrix(b, be, PB_DTYPE_F32, R, width, 40, &part->a));
    PB_TRY(random_matrix(b, be, PB_DTYPE_F32, width, R, 41, &part->b));
    PB_TRY(random_matrix(b, be, PB_DTYPE_F32, R, width, 42, &part->da));
    PB_TRY(random_matrix(b, be, PB_DTYPE_F32, width, R, 43, &part->db));
    PB_TRY(random_matrix(b, be, PB_DTYPE_F32, rows, R, 44, &s->kept));
    return random_matrix(b, be, PB_DTYPE_F32, rows, 2 * pb_low_rank_room(part), 45, &s->room);
}

static pb_status open_streams(const bench *b, pb_backend *be, streams *s)
{
    pb_dtype act       = pb_backend_activation(be);
    int64_t rows       = b->tiny ? 24 : 8192;
    int64_t width      = b->tiny ? 64 : 4096;
    int64_t wide       = b->tiny ? 128 : 14336;
    int64_t vocabulary = b->tiny ? 100 : 128256;
    s->heads           = b->tiny ? 4 : 32;
    for (int i = 0; i < WIDE; i++) {
        PB_TRY(random_matrix(b, be, PB_DTYPE_F32, rows, width, 10 + (uint64_t)i, &s->f32[i]));
        PB_TRY(random_matrix(b, be, act, rows, wide, 20 + (uint64_t)i, &s->act[i]));
    }
    pb_tensor row = {0};
    PB_TRY(random_matrix(b, be, PB_DTYPE_F32, 1, width, 30, &row));
    s->weight = pb_tensor_1d(row.data, PB_DTYPE_F32, width);
    PB_TRY(random_matrix(b, be, PB_DTYPE_F32, rows, width / s->heads, 31, &s->rope));
    PB_TRY(put_rope(be, s, rows, width / s->heads));
    PB_TRY(put_part(b, be, s, rows, width));
    PB_TRY(random_matrix(b, be, PB_DTYPE_F32, b->tiny ? 8 : 1024, vocabulary, 32, &s->logits));
    PB_TRY(random_matrix(b, be, act, vocabulary, width, 33, &s->table));
    int64_t outs = s->logits.shape[0];
    PB_TRY(pb_backend_alloc(be, (size_t)outs * sizeof(double), &s->memory[0]));
    PB_TRY(pb_backend_alloc(be, PB_NUMBERS * sizeof(double), &s->memory[1]));
    s->losses  = pb_tensor_1d(s->memory[0], PB_DTYPE_F64, outs);
    s->numbers = pb_tensor_1d(s->memory[1], PB_DTYPE_F64, PB_NUMBERS);
    PB_TRY(pb_zero(be, &s->f32[2]));
    return put_lists(be, s, rows, vocabulary);
}

static void close_streams(pb_backend *be, streams *s)
{
    pb_list_close(be, &s->positions);
    pb_list_close(be, &s->ids);
    pb_list_close(be, &s->targets);
    for (int i = 0; i < WIDE; i++) {
        pb_backend_free(be, s->f32[i].data);
        pb_backend_free(be, s->act[i].data);
    }
    const pb_tensor others[] = {s->weight, s->rope,   s->logits, s->table,   s->kept,
                                s->room,   s->part.a, s->part.b, s->part.da, s->part.db};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        pb_backend_free(be, others[i].data);
    }
    pb_backend_free(be, s->memory[0]);
    pb_backend_free(be, s->memory[1]);
}

static void put_rate(const bench *b, pb_backend *be, streams *s, const char *name, timed_call *call,
                     double bytes, double copy)
{
    char sizes[BENCH_TEXT];
    double seconds = 0.0;
    (void)snprintf(sizes, sizeof sizes, "%.1f MB read and written", bytes * 1e-6);
    if (!item_begin(b, name, sizes)) {
        return;
    }
    pb_status status = time_call(b, be, call, s, &seconds);
    if (status != PB_OK) {
        put_failure(b, name, sizes, status);
        return;
    }
    put_figure(b, name, sizes, bytes / seconds * 1e-9, "GB/s");
    char share[BENCH_TEXT];
    (void)snprintf(share, sizeof share, "%s, share of a copy", name);
    put_figure(b, share, sizes, bytes / seconds / copy, "");
}

static void put_memory_bound(const bench *b, pb_backend *be, streams *s, double copy)
{
    double x    = (double)pb_tensor_bytes(&s->f32[0]);
    double act  = (double)pb_tensor_bytes(&s->act[0]);
    double thin = x / 4.0 * (double)pb_dtype_size(s->act[0].dtype);
    /* AdamW first: its moments are zero, and later contents of these tensors do not matter. */
    put_rate(b, be, s, "adamw", call_adamw, 7.0 * x, copy);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const memory_case *c = &cases[i];
        double bytes         = (c->reads_f32 + c->writes_f32) * x +
                       (c->reads_act + c->writes_act) * (c->half ? thin : act);
        put_rate(b, be, s, c->name, c->call, bytes, copy);
    }
    put_rate(b, be, s, "cross entropy", call_loss, 3.0 * (double)pb_tensor_bytes(&s->logits), copy);
}

pb_status part_kernels(const bench *b)
{
    pb_backend *be = NULL;
    streams s      = {0};
    double copy    = 0.0;
    PB_TRY(open_device(b, PB_DTYPE_BF16, &be));
    put_attention(b, be);
    item_at("operations bound by memory", "their tensors");
    pb_status status = copy_rate(b, be, &copy);
    status           = status == PB_OK ? open_streams(b, be, &s) : status;
    if (status == PB_OK) {
        put_memory_bound(b, be, &s, copy);
    }
    close_streams(be, &s);
    pb_backend_close(be);
    return PB_FRAME(status);
}
